#include "redis/redis_hint_bus.h"

#include <utility>

#include "pawl/redis.h"

namespace pawl {

Result<std::unique_ptr<RedisHintBus>> RedisHintBus::open(const HintBusOptions& options) {
  auto dialer = RedisDialer::open(options.address);
  if (!dialer) return dialer.error();
  return std::unique_ptr<RedisHintBus>(new RedisHintBus(*dialer, options));
}

RedisHintBus::RedisHintBus(const std::shared_ptr<RedisDialer>& dialer,
                           const HintBusOptions& options)
    : writer_(dialer, RedisKeys(dialer->address().prefix, options.store), receipts_, state_,
              [this] { return reader_.interrupted(); }),
      reader_(dialer, RedisKeys(dialer->address().prefix, options.store), options.worker, receipts_,
              writer_, state_),
      answers_(dialer, RedisKeys(dialer->address().prefix, options.store), options.worker, state_) {
}

// The writer asks the reader, so it ends first.
RedisHintBus::~RedisHintBus() { close(); }

void RedisHintBus::start(HintSink& sink) {
  writer_.start();
  reader_.start(sink);
  answers_.start(sink);
}

void RedisHintBus::serve(std::vector<int> partitions) { reader_.serve(partitions); }

void RedisHintBus::publish(std::vector<Hint> hints) { writer_.publish(std::move(hints)); }

void RedisHintBus::publish_answers(std::vector<AnswerHint> answers) {
  writer_.publish_answers(std::move(answers));
}

void RedisHintBus::publish_dead(DeadLetterNote letter) { writer_.publish_dead(std::move(letter)); }

void RedisHintBus::acknowledge(std::vector<HintReceipt> receipts) {
  writer_.acknowledge(receipts_.acknowledge(receipts));
  reader_.acknowledged();
}

HintBusCounters RedisHintBus::counters() const { return state_.counters(); }

void RedisHintBus::close() {
  const std::lock_guard lock(close_mutex_);
  reader_.close();
  answers_.close();
  writer_.close(kHintsCloseMax);
}

void use_redis_hints() {
  const HintBusKind kind{"redis://HOST", [](const HintBusOptions& options) {
                           auto bus = RedisHintBus::open(options);
                           return bus ? Result<std::unique_ptr<HintBus>>(std::move(*bus))
                                      : Result<std::unique_ptr<HintBus>>(bus.error());
                         }};
  for (const char* const scheme : {"redis", "rediss", "redis+sentinel", "rediss+sentinel"}) {
    add_hint_bus_kind(scheme, kind);
  }
}

}  // namespace pawl
