#pragma once

// What a worker is told of the events that it sent: a channel of its own, one connection and one thread. Nothing of it
// is kept by the server, so nothing is left of a worker that is gone; what is published while it does not listen is
// lost, and costs it a look at the row.

#include <chrono>
#include <memory>
#include <string>
#include <thread>

#include "core/hint_bus.h"
#include "redis/bus_state.h"
#include "redis/redis_connection.h"
#include "redis/redis_dialer.h"
#include "redis/redis_keys.h"

namespace pawl {

// A server that says nothing for that long is asked whether it is there.
inline constexpr std::chrono::milliseconds kSilenceMax{5'000};

class AnswerReader {
 public:
  AnswerReader(std::shared_ptr<RedisDialer> dialer, const RedisKeys& keys, std::string worker,
               BusState& state);
  ~AnswerReader();

  void start(HintSink& sink);
  // Idempotent, one thread.
  void close();

 private:
  void run();
  RedisOutcome<void> listen();
  void hand_over(const std::vector<RedisReply>& messages);

  const std::shared_ptr<RedisDialer> dialer_;
  const std::string worker_;
  const std::string channel_;
  BusState& state_;
  HintSink* sink_ = nullptr;
  RedisConnection connection_;  // of the thread
  std::thread thread_;
};

}  // namespace pawl
