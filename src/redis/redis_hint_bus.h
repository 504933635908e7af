#pragma once

// Hints over Redis Streams. docs/scale/redis.md says how it works.

#include <memory>
#include <mutex>
#include <string>

#include "core/hint_bus.h"
#include "core/hint_bus_kind.h"
#include "pawl/error.h"
#include "redis/answer_reader.h"
#include "redis/bus_state.h"
#include "redis/hint_reader.h"
#include "redis/hint_writer.h"
#include "redis/receipts.h"
#include "redis/redis_dialer.h"
#include "redis/redis_keys.h"

namespace pawl {

// What close() gives the server to take what is queued.
inline constexpr std::chrono::milliseconds kHintsCloseMax{500};

class RedisHintBus final : public HintBus {
 public:
  // Connects to nothing before start(). Fails with invalid_argument.
  static Result<std::unique_ptr<RedisHintBus>> open(const HintBusOptions& options);
  ~RedisHintBus() override;

  void start(HintSink& sink) override;
  void serve(std::vector<int> partitions) override;
  void publish(std::vector<Hint> hints) override;
  void publish_answers(std::vector<AnswerHint> answers) override;
  void publish_dead(DeadLetterNote letter) override;
  void acknowledge(std::vector<HintReceipt> receipts) override;
  HintBusCounters counters() const override;
  void close() override;

 private:
  RedisHintBus(const std::shared_ptr<RedisDialer>& dialer, const HintBusOptions& options);

  BusState state_;
  Receipts receipts_;
  HintWriter writer_;
  HintReader reader_;
  AnswerReader answers_;
  std::mutex close_mutex_;
};

}  // namespace pawl
