// How fast hints pass through Redis: a sender and an owner in one process, and a server of their own on the
// loopback, or that of an address.
//
//   build/release/bin/hint_rates [--address redis://…] [--partitions 64] [--single 5000] [--batched 500000]

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "redis/redis_hint_bus.h"
#include "tests/support/redis_server.h"

namespace {

using namespace pawl;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kPerPublish = 64;
constexpr std::size_t kUnderWayMax = 8'192;  // a stream takes 10,000

// Acknowledges what comes.
class Owner final : public HintSink {
 public:
  explicit Owner(HintBus& bus) : bus_(bus) {}

  void hints_arrived(std::vector<HintReceived> hints) override {
    std::vector<HintReceipt> receipts;
    for (const HintReceived& one : hints) receipts.push_back(one.receipt);
    bus_.acknowledge(std::move(receipts));
    const std::lock_guard lock(mutex_);
    count_ += hints.size();
    changed_.notify_all();
  }
  void answers_arrived(std::vector<AnswerHint>) override {}
  void hints_missed() override {}
  void wait_for(const std::size_t count) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, std::chrono::seconds(60), [&] { return count_ >= count; })) {
      std::fprintf(stderr, "only %zu of %zu hints came\n", count_, count);
      std::exit(1);
    }
  }

 private:
  HintBus& bus_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t count_ = 0;  // under mutex_
};

std::string option(const int count, char** arguments, const std::string_view name,
                   std::string otherwise) {
  for (int at = 1; at + 1 < count; ++at) {
    if (arguments[at] == name) return arguments[at + 1];
  }
  return otherwise;
}

Hint hint(const std::size_t number, const int partitions) {
  return {static_cast<int>(number % static_cast<std::size_t>(partitions)), "acme",
          fmt::format("order-{}", number)};
}

double micros(const Clock::duration time) {
  return std::chrono::duration<double, std::micro>(time).count();
}

}  // namespace

int main(const int count, char** arguments) {
  std::string address = option(count, arguments, "--address", "");
  const int partitions = std::stoi(option(count, arguments, "--partitions", "64"));
  const std::size_t single = std::stoul(option(count, arguments, "--single", "5000"));
  const std::size_t batched = std::stoul(option(count, arguments, "--batched", "500000"));
  std::optional<test::RedisServer> server;
  if (address.empty()) address = server.emplace().address();

  const auto receiving = RedisHintBus::open({address, "rates", "owner"}).value();
  const auto sending = RedisHintBus::open({address, "rates", "sender"}).value();
  Owner owner(*receiving);
  Owner nobody(*sending);
  receiving->start(owner);
  sending->start(nobody);
  std::vector<int> all;
  for (int partition = 0; partition < partitions; ++partition) all.push_back(partition);
  receiving->serve(all);

  std::size_t sent = 0;
  std::vector<double> times;
  for (std::size_t at = 0; at < single; ++at) {
    const auto began = Clock::now();
    sending->publish({hint(sent++, partitions)});
    owner.wait_for(sent);
    times.push_back(micros(Clock::now() - began));
  }
  std::sort(times.begin(), times.end());
  if (!times.empty()) {
    fmt::print("one at a time, {} partitions: p50 {:.0f} us, p99 {:.0f} us\n", partitions,
               times[times.size() / 2], times[times.size() * 99 / 100]);
  }

  const auto began = Clock::now();
  const std::size_t before = sent;
  while (sent < before + batched) {
    std::vector<Hint> hints;
    for (std::size_t at = 0; at < kPerPublish; ++at) hints.push_back(hint(sent++, partitions));
    sending->publish(std::move(hints));
    if (sent > before + kUnderWayMax) owner.wait_for(sent - kUnderWayMax);
  }
  owner.wait_for(sent);
  const double seconds = micros(Clock::now() - began) / 1e6;
  fmt::print("batched, published to received and acknowledged: {:.0f} hints/s\n",
             static_cast<double>(sent - before) / seconds);
  receiving->close();
  sending->close();
  const HintBusCounters counters = sending->counters();
  fmt::print("published {}, dropped {}, acknowledged {}\n", counters.published, counters.dropped,
             receiving->counters().acknowledged);
  if (server) fmt::print("{}\n", server->ask({"INFO", "commandstats"}));
  return counters.dropped == 0 ? 0 : 1;
}
