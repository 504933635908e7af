// Conditions, told four ways with the production engine and the coroutine host: one is met where it
// was met, whatever happens around it.

#include <gtest/gtest.h>

#include <algorithm>

#include "host/coroutine_host.h"
#include "pawl/workflow.h"
#include "tests/support/four_ways.h"
#include "tests/support/story_parts.h"

namespace pawl::testing {
namespace {

using namespace std::chrono_literals;

template <class F>
World::HostMaker host_of(F workflow) {
  return [workflow] {
    auto host = std::make_unique<CoroutineHost>();
    host->register_workflow("Story", "1.0.0", detail::make_workflow_function(workflow));
    return host;
  };
}

void prepare(World& world) { world.register_workflow("Story"); }

Task<void> count(Context& ctx, int& approvals) {
  for (;;) {
    co_await ctx.wait_for("Approve");
    ++approvals;
  }
}

TEST(Conditions, AreMetByWhatEventsLeadTo) {
  const auto workflow = [](Context& ctx) -> Workflow<int> {
    int approvals = 0;
    const auto counting = count(ctx, approvals);
    co_await ctx.condition([&approvals] { return approvals >= 2; });
    ctx.set_state("approved");
    co_await ctx.wait_for("Close");
    co_return approvals;
  };
  tell_four_ways({host_of(workflow), prepare,
                  [](World& world) {
                    start_until_told(world, start_of("a"));
                    submit_until_told(world, event_of("a", "Approve", "1"));
                    submit_until_told(world, event_of("a", "Approve", "2"));
                    submit_until_told(world, event_of("a", "Approve", "3"));
                    submit_until_told(world, event_of("a", "Close", "4"));
                  },
                  [](const World& world) {
                    const ExecutionState state = world.state(kTenant, "a");
                    EXPECT_EQ(state.status, "completed");
                    EXPECT_EQ(state.current_state, "approved");
                    EXPECT_EQ(state.result.bytes, "3");
                  }});
}

TEST(Conditions, RunOutOfTimeAndLeaveNoTimerWhenMet) {
  const auto workflow = [](Context& ctx) -> Workflow<std::string> {
    const bool never = co_await ctx.condition([] { return false; }).within(50ms);
    auto late = ctx.condition([&ctx] { return ctx.current_state() == "done"; }).within(24h);
    co_await ctx.wait_for("Go");
    ctx.set_state("done");
    const bool met = co_await late;
    co_await ctx.wait_for("Close");
    co_return never ? "wrong" : met ? "right" : "late";
  };
  tell_four_ways({host_of(workflow), prepare,
                  [](World& world) {
                    start_until_told(world, start_of("a"));
                    world.advance(100);
                    submit_until_told(world, event_of("a", "Go", "1"));
                    EXPECT_TRUE(world.data().timers.empty()) << "the one of 24 hours is cleared";
                    submit_until_told(world, event_of("a", "Close", "2"));
                  },
                  [](const World& world) {
                    EXPECT_EQ(world.state(kTenant, "a").result.bytes, "\"right\"");
                    EXPECT_TRUE(world.data().timers.empty());
                  }});
}

TEST(Conditions, NoEventIsEverTheirs) {
  const auto workflow = [](Context& ctx) -> Workflow<std::string> {
    auto waits = ctx.condition([&ctx] { return ctx.current_state() == "done"; });
    const Event event = co_await ctx.wait_for("Go");
    ctx.set_state("done");
    co_await waits;
    co_return event.name;
  };
  World world({}, host_of(workflow));
  prepare(world);
  start_until_told(world, start_of("a"));
  EXPECT_FALSE(submit_until_told(world, event_of("a", "Other", "1")).consumed);
  EXPECT_EQ(world.state(kTenant, "a").condition, "waiting");
  EXPECT_TRUE(submit_until_told(world, event_of("a", "Go", "2")).consumed);
  EXPECT_EQ(world.state(kTenant, "a").result.bytes, "\"Go\"");
  const auto& history = world.history(kTenant, "a");
  EXPECT_TRUE(std::any_of(history.begin(), history.end(), [](const HistoryEvent& event) {
    return event.type == EventType::event_discarded && event.name == "Other";
  }));
}

}  // namespace
}  // namespace pawl::testing
