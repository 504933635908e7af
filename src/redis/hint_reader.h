#pragma once

// What a worker reads from Redis: the hints of the partitions that it serves, on one connection and one thread.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/hint_bus.h"
#include "redis/bus_state.h"
#include "redis/hint_writer.h"
#include "redis/receipts.h"
#include "redis/redis_connection.h"
#include "redis/redis_dialer.h"
#include "redis/redis_keys.h"

namespace pawl {

// Hints that were handed to the sink and not acknowledged; with more than that, nothing is read.
inline constexpr std::size_t kHintsTakenMax = 65'536;
// How long one call waits for hints. What nobody can tell the reader (its stream is gone, and so is the server)
// it finds within that.
inline constexpr std::chrono::milliseconds kReadMax{2'000};
// Of one partition with one call.
inline constexpr int kHintsPerReadMax = 128;
// A consumer that has nothing and was not heard of for that long is none any more.
inline constexpr std::chrono::minutes kConsumerIdleMax{10};

class HintReader {
 public:
  HintReader(std::shared_ptr<RedisDialer> dialer, RedisKeys keys, std::string worker,
             Receipts& receipts, HintWriter& writer, BusState& state);
  ~HintReader();

  void start(HintSink& sink);
  // Any thread, as are those below.
  void serve(const std::vector<int>& partitions);
  // Some hints were acknowledged: there may be room.
  void acknowledged();
  // See HintWriter.
  std::int64_t interrupted() const;
  // Idempotent, one thread.
  void close();

 private:
  using Hints = std::vector<HintReceived>;
  // Entries of partitions, as an answer has them.
  using Entries = std::vector<std::pair<int, RedisValue>>;

  void run();
  bool connect();
  RedisOutcome<void> step();
  bool wait_for_partitions();
  bool wait_for_room();
  std::set<int> take_up_served();
  RedisOutcome<void> make_groups(const std::set<int>& partitions);
  RedisOutcome<bool> claim(const std::set<int>& partitions);
  RedisOutcome<void> remove_consumers(const std::set<int>& partitions);
  RedisOutcome<void> read();
  void take_entries(int partition, const RedisValue& entries, Hints& hints);
  void hand_over(Hints hints);

  const std::shared_ptr<RedisDialer> dialer_;
  const RedisKeys keys_;
  const std::string worker_;
  Receipts& receipts_;
  HintWriter& writer_;
  BusState& state_;
  HintSink* sink_ = nullptr;

  // Of the thread only.
  RedisConnection connection_;
  RedisBackoff backoff_;
  bool connected_once_ = false;
  bool missed_ = false;  // hints, perhaps, and the sink does not know
  std::set<int> reading_;
  std::map<std::string, int, std::less<>> partition_of_key_;
  RedisCommands read_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  // All guarded by mutex_.
  std::set<int> served_;
  std::set<int> removed_;     // since the thread looked
  bool news_ = false;         // since the thread looked
  std::int64_t waiting_ = 0;  // the number of the connection, while it waits for hints
  bool closing_ = false;

  std::thread thread_;
};

}  // namespace pawl
