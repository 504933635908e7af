#pragma once

// All that a worker writes to Redis: one connection and one thread, which sends whatever is queued at once, and
// while it waits for the answers the next batch fills.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "core/hint_bus.h"
#include "redis/bus_state.h"
#include "redis/receipts.h"
#include "redis/redis_connection.h"
#include "redis/redis_dialer.h"
#include "redis/redis_keys.h"

namespace pawl {

inline constexpr std::size_t kHintsPerBatchMax = 1'024;
inline constexpr std::size_t kAnswersQueuedMax = 16'384;
inline constexpr std::size_t kDeadQueuedMax = 1'024;
inline constexpr std::size_t kDeadLettersMax = 10'000;  // in Redis, the newest
inline constexpr std::size_t kDeadErrorBytesMax = 4'096;

// Nobody takes a stream that is longer than this: its owner is gone or far behind. More hints would tell nothing
// new, for whoever comes reads the rows first. So a writer asks for the length along with the hints of a partition,
// each time it has sent kHintsBetweenLooks, and sends none while the stream is full, but asks again every
// kFullLookEvery. What is unread is never cut off. With W writers a stream has at most kStreamHintsMax +
// W * (kHintsBetweenLooks + kHintsPerBatchMax) entries.
inline constexpr std::int64_t kStreamHintsMax = 10'000;
inline constexpr int kHintsBetweenLooks = 256;
inline constexpr std::chrono::milliseconds kFullLookEvery{100};

// Any thread, and nothing waits for the server.
class HintWriter {
 public:
  // `interrupted` says which client (its number at the server) waits for hints that it should not wait for any
  // more; 0: none does.
  HintWriter(std::shared_ptr<RedisDialer> dialer, RedisKeys keys, Receipts& receipts,
             BusState& state, std::function<std::int64_t()> interrupted);
  ~HintWriter();

  void start();
  void publish(std::vector<Hint> hints);
  void publish_answers(std::vector<AnswerHint> answers);
  void publish_dead(DeadLetterNote letter);
  void acknowledge(const DoneByPartition& done);
  // Wakes `interrupted`.
  void interrupt();
  // Up to that time what is queued goes out; then it is dropped. Idempotent, one thread.
  void close(std::chrono::milliseconds most);

 private:
  struct Batch {
    std::vector<Hint> hints;
    std::vector<AnswerHint> answers;
    std::vector<DeadLetterNote> dead;
    DoneByPartition acknowledged;
    int tries = 0;

    bool is_empty() const {
      return hints.empty() && answers.empty() && dead.empty() && acknowledged.empty();
    }
    std::size_t messages() const { return hints.size() + answers.size() + dead.size(); }
  };
  enum class Sent { hint, length, answer, dead, removal, acknowledgement, interruption };
  struct Slot {
    Sent what;
    int partition = 0;
  };
  // How long a partition's stream is, as far as it is known.
  struct Fill {
    int sent = kHintsBetweenLooks;  // hints since the last look
    bool full = false;
    SteadyTime looked;
  };

  void run();
  bool has_work() const;  // with mutex_
  bool connect();
  void take_batch();
  void drop_messages();
  bool has_room(int partition);
  void encode_hints();
  void encode_acknowledged();
  void encode_rest();
  void encode_interruption();
  RedisOutcome<void> send_batch();
  void look_at(const Slot& slot, const RedisValue& answer);

  const std::shared_ptr<RedisDialer> dialer_;
  const RedisKeys keys_;
  Receipts& receipts_;
  BusState& state_;
  const std::function<std::int64_t()> interrupted_;

  // Of the thread only.
  RedisConnection connection_;
  RedisBackoff backoff_;
  bool connected_once_ = false;
  Batch batch_;
  RedisCommands commands_;
  std::vector<Slot> slots_;
  std::unordered_map<int, Fill> fills_;
  std::size_t refused_ = 0;
  std::string refusal_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  // All guarded by mutex_.
  std::deque<Hint> hints_;
  std::deque<AnswerHint> answers_;
  std::deque<DeadLetterNote> dead_;
  DoneByPartition acknowledged_;
  bool interrupt_ = false;
  bool closing_ = false;
  bool ended_ = false;

  std::thread thread_;
};

}  // namespace pawl
