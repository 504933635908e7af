// An execution that lives long: its history grows to a million records, and what it costs to go on, to
// come back after a restart and to look at it at any point does not grow with it.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "base/random.h"
#include "pawl/pawl.h"
#include "pawl/workflow_runtime.h"
#include "tests/support/temporary_folder.h"

namespace long_history_shapes {

std::string slot_of(const int n) { return fmt::format("slot{}", n % 7); }

pawl::Workflow<int> ticks(pawl::Context& ctx, int target) {
  for (int n = 1; n <= target; ++n) {
    co_await ctx.wait_for("Tick");
    ctx.data().set("n", n);
    if (n % 5 == 0 && n > 7) {
      ctx.data().erase(slot_of(n));
    } else {
      ctx.data().set(slot_of(n), n);
    }
  }
  co_return target;
}

}  // namespace long_history_shapes

namespace pawl {
namespace {

using long_history_shapes::slot_of;
using long_history_shapes::ticks;

constexpr const char* kTenant = "acme";
// ExecutionStarted, WaitStarted; then EventReceived, two of data and WaitStarted for each tick.
constexpr std::int64_t kRecordsFirst = 2;
constexpr std::int64_t kRecordsOfTick = 4;
constexpr int kTicksAfterwards = 100;

class LongHistory {
 public:
  explicit LongHistory(const std::int64_t records)
      : ticks_(static_cast<int>((records - kRecordsFirst) / kRecordsOfTick)),
        target_(ticks_ + kTicksAfterwards) {}

  void tell() {
    open();
    StartOptions start;
    start.tenant = kTenant;
    start.execution_id = "long";
    ASSERT_TRUE(runtime_->start_workflow("Ticks", target_, start));
    send(ticks_);
    EXPECT_EQ(counters().replays, 0U) << "it stays in memory, and goes on from there";
    EXPECT_EQ(counters().activations, static_cast<std::uint64_t>(ticks_) + 1);
    // Whatever snapshot is not made yet is made by this.
    expect_state(std::nullopt, ticks_);

    open();
    const std::uint64_t unread = counters().state_records_read;
    EXPECT_EQ(unread, 0U);
    std::uint64_t random = 42;
    for (int look = 0; look < 60; ++look) {
      const std::uint64_t before = counters().state_records_read;
      const std::int64_t end = kRecordsFirst + kRecordsOfTick * ticks_;
      random = mix_bits(random);
      const auto at = static_cast<std::int64_t>(1 + random % static_cast<std::uint64_t>(end));
      expect_state(at, at < kRecordsFirst ? 0 : static_cast<int>((at - kRecordsFirst) / 4));
      EXPECT_LE(counters().state_records_read - before,
                static_cast<std::uint64_t>(Limits{}.records_per_snapshot + kRecordsOfTick))
          << "at " << at;
    }
    EXPECT_EQ(counters().replays, 0U) << "looking takes no code";

    send(1);
    EXPECT_EQ(counters().replays, 1U);
    EXPECT_EQ(counters().activations, 1U);
    send(kTicksAfterwards - 1);
    EXPECT_EQ(counters().replays, 1U) << "and is in memory from then on";
    const auto completion =
        runtime_->wait_for_workflow_completion<int>("long", {.tenant = kTenant});
    ASSERT_TRUE(completion) << completion.error().message;
    EXPECT_EQ(completion->result, target_);
    const auto report = runtime_->check_integrity();
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_TRUE(report->sound()) << report->findings.front().what;
    EXPECT_EQ(report->records,
              static_cast<std::uint64_t>(kRecordsFirst + kRecordsOfTick * target_));
  }

 private:
  void open() {
    runtime_.reset();
    WorkflowRuntimeOptions options;
    options.store = "sqlite:" + folder_.file("pawl.db");
    options.log = [](const LogLine&) {};
    runtime_.emplace(WorkflowRuntime::open(options).value());
    ASSERT_TRUE(runtime_->register_workflow("Ticks", &ticks));
  }
  Runtime::Counters counters() { return runtime_->engine().counters(); }

  // Some at a time; each is delivered by the time this returns.
  void send(const int count) {
    constexpr int kAtOnce = 256;
    std::mutex mutex;
    std::condition_variable changed;
    int answered = 0;
    int under_way = 0;
    for (int sent = 0; sent < count; ++sent) {
      {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return under_way < kAtOnce; });
        ++under_way;
      }
      EventRequest event;
      event.tenant = kTenant;
      event.execution_id = "long";
      event.name = "Tick";
      runtime_->engine().submit_event(std::move(event), [&](Result<EventReply> reply) {
        EXPECT_TRUE(reply && reply->consumed);
        const std::lock_guard lock(mutex);
        ++answered;
        --under_way;
        changed.notify_one();
      });
    }
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return answered == count; });
  }

  void expect_state(const std::optional<std::int64_t> at, const int n) {
    const auto state =
        runtime_->get_execution_state("long", {.tenant = kTenant, .at_sequence = at});
    ASSERT_TRUE(state) << state.error().message;
    std::map<std::string, int> data;
    if (n > 0) data["n"] = n;
    for (int tick = std::max(1, n - 6); tick <= n; ++tick) {
      if (tick % 5 != 0 || tick <= 7) data[slot_of(tick)] = tick;
    }
    std::string text;
    for (const auto& [key, value] : data) {
      text += fmt::format("{}\"{}\":{}", text.empty() ? "" : ",", key, value);
    }
    EXPECT_EQ(state->data.bytes, "{" + text + "}") << "at " << at.value_or(-1);
  }

  const int ticks_;
  const int target_;
  TemporaryFolder folder_ = TemporaryFolder::in_memory();
  std::optional<WorkflowRuntime> runtime_;
};

// rule: 26
TEST(LongHistories, OfFiftyThousandRecordsAreNoBurden) { LongHistory(50'000).tell(); }
TEST(HistoriesLong, OfAMillionRecordsAreNoBurden) { LongHistory(1'000'000).tell(); }

}  // namespace
}  // namespace pawl
