// What a start can ask for, told four ways: once per key, at a later time, with a deadline.

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "core/start_options.h"
#include "model/attributes.h"
#include "tests/support/four_ways.h"
#include "tests/support/story_parts.h"

namespace pawl::testing {
namespace {

constexpr Timestamp kBegin = 1'000'000;  // when a world begins
constexpr DurationMs kHour = 3'600'000;

using Texts = std::vector<std::string>;

StartRequest start_with_n(const std::string& id) { return start_of(id, R"({"n":1})"); }

std::string takes_an_event(Script& script) {
  script.set_data("early", script.now() < kBegin + kHour ? "true" : "false");
  return "\"" + script.wait_for({"Go"}).name + "\"";
}

// ---- later

// rule: 5
TEST(StartAt, TheCodeRunsFirstAtThatTimeAndTakesWhatCameBefore) {
  tell_four_ways({host_with(takes_an_event), [](World& world) { world.register_workflow("Story"); },
                  [](World& world) {
                    StartRequest start = start_with_n("a");
                    start.start_at = kBegin + kHour;
                    start_until_told(world, start);
                    EXPECT_EQ(world.state(kTenant, "a").status, "running");
                    EXPECT_EQ(world.state(kTenant, "a").condition, "scheduled");
                    EXPECT_EQ(world.state(kTenant, "a").data.bytes, R"({"n":1})");
                    EXPECT_FALSE(submit_until_told(world, event_of("a", "Go", "k-1")).consumed);
                    EXPECT_EQ(world.state(kTenant, "a").condition, "scheduled");
                  },
                  [](const World& world) {
                    const ExecutionState state = world.state(kTenant, "a");
                    EXPECT_EQ(state.status, "completed");
                    EXPECT_EQ(state.result.bytes, "\"Go\"");
                    EXPECT_EQ(state.data.bytes, R"({"early":false,"n":1})");
                    EXPECT_EQ(
                        types_of(world.history(kTenant, "a")),
                        (Texts{"ExecutionScheduled", "EventReceived", "ExecutionStarted", "DataSet",
                               "WaitStarted", "EventDelivered", "ExecutionCompleted"}));
                    EXPECT_TRUE(world.data().timers.empty());
                  }});
}

TEST(StartAt, ATimeThatHasPassedIsAtOnce) {
  tell_four_ways({host_with([](Script&) { return "1"; }),
                  [](World& world) { world.register_workflow("Story"); },
                  [](World& world) {
                    StartRequest start = start_with_n("a");
                    start.start_at = kBegin;
                    start_until_told(world, start);
                  },
                  [](const World& world) {
                    EXPECT_EQ(types_of(world.history(kTenant, "a")),
                              (Texts{"ExecutionStarted", "ExecutionCompleted"}));
                  }});
}

TEST(StartAt, CancelledOrTerminatedBeforeNoneOfItsCodeRuns) {
  tell_four_ways({host_with([](Script& script) {
                    script.set_state("ran");
                    return "1";
                  }),
                  [](World& world) { world.register_workflow("Story"); },
                  [](World& world) {
                    for (const char* const id : {"cancelled", "terminated"}) {
                      StartRequest start = start_with_n(id);
                      start.start_at = kBegin + kHour;
                      start_until_told(world, start);
                    }
                    control_until_told(world, ControlVerb::cancel, "cancelled", "not needed", 100);
                    control_until_told(world, ControlVerb::terminate, "terminated", "nor this",
                                       100);
                  },
                  [](const World& world) {
                    const ExecutionState cancelled = world.state(kTenant, "cancelled");
                    EXPECT_EQ(cancelled.status, "cancelled");
                    EXPECT_EQ(cancelled.current_state, "initial");
                    ASSERT_TRUE(cancelled.error);
                    EXPECT_EQ(cancelled.error->message, "not needed");
                    EXPECT_EQ(types_of(world.history(kTenant, "cancelled")),
                              (Texts{"ExecutionScheduled", "StartCancelled"}));
                    EXPECT_EQ(world.state(kTenant, "terminated").status, "terminated");
                    EXPECT_TRUE(world.data().timers.empty()) << "nothing is due any more";
                  }});
}

TEST(StartAt, PausedItStartsWhenItIsResumed) {
  tell_four_ways(
      {host_with([](Script&) { return "1"; }),
       [](World& world) { world.register_workflow("Story"); },
       [](World& world) {
         StartRequest start = start_with_n("a");
         start.start_at = kBegin + kHour;
         start_until_told(world, start);
         control_until_told(world, ControlVerb::pause, "a", "", 100);
         world.advance(2 * kHour);
         EXPECT_EQ(world.state(kTenant, "a").status, "paused");
         EXPECT_EQ(types_of(world.history(kTenant, "a")).back(), "ExecutionPaused");
         control_until_told(world, ControlVerb::resume, "a", "", 100);
       },
       [](const World& world) { EXPECT_EQ(world.state(kTenant, "a").status, "completed"); }});
}

// rule: 21
TEST(StartAt, WithoutItsCodeItWaitsForThatAndStartsThen) {
  World world({}, host_with([](Script&) { return "1"; }));
  world.register_workflow("Story");
  StartRequest start = start_with_n("a");
  start.start_at = kBegin + kHour;
  start_until_told(world, start);
  world.forget_registrations();
  world.deploy();
  world.advance(2 * kHour);
  EXPECT_EQ(world.state(kTenant, "a").condition, "no_worker");
  EXPECT_EQ(world.state(kTenant, "a").condition_detail, "Story 1.0.0");
  world.register_workflow("Story");
  world.settle();
  EXPECT_EQ(world.state(kTenant, "a").status, "completed");
}

TEST(StartAt, CodeThatGetsStuckAtItsFirstStepGoesOnWhenItIsMended) {
  const auto broken = std::make_shared<bool>(true);
  World world({}, host_with([broken](Script& script) -> std::string {
                if (*broken) script.violate("it awaits something foreign");
                return "1";
              }));
  world.register_workflow("Story");
  StartRequest start = start_with_n("a");
  start.start_at = kBegin + kHour;
  start_until_told(world, start);
  world.advance(2 * kHour);
  EXPECT_EQ(world.state(kTenant, "a").status, "stuck");
  *broken = false;
  world.register_workflow("Story");
  world.run_out();
  EXPECT_EQ(world.state(kTenant, "a").status, "completed");
}

// ---- the end, as who waits for it is told

TEST(EndOfExecution, IsToldWithoutALookAtTheStoreWhereTheExecutionWasFollowed) {
  World world({}, host_with([](Script& script) -> std::string {
                script.set_state("going");
                return "1";
              }));
  world.register_workflow("Story");
  start_until_told(world, start_with_n("a"));
  world.settle();
  EXPECT_EQ(world.state(kTenant, "a").status, "completed");
  EXPECT_EQ(world.ends_told(), 1u);
}

// ---- until

std::string waits_long(Script& script) {
  script.set_state("waiting");
  try {
    return "\"" + script.wait_for({"Go"}).name + "\"";
  } catch (const Failure& cancelled) {
    script.set_state("cleaned");
    throw;
  }
}

TEST(Deadline, ItIsCancelledThenAndCleansUp) {
  tell_four_ways(
      {host_with(waits_long), [](World& world) { world.register_workflow("Story"); },
       [](World& world) {
         StartRequest start = start_with_n("a");
         start.deadline = kBegin + kHour;
         start_until_told(world, start);
         EXPECT_EQ(world.state(kTenant, "a").status, "running");
       },
       [](const World& world) {
         const ExecutionState state = world.state(kTenant, "a");
         EXPECT_EQ(state.status, "cancelled");
         EXPECT_EQ(state.current_state, "cleaned");
         ASSERT_TRUE(state.error);
         EXPECT_EQ(state.error->message, "deadline");
         const auto& history = world.history(kTenant, "a");
         const auto asked = std::find_if(history.begin(), history.end(), [](const auto& event) {
           return event.type == EventType::cancel_requested;
         });
         ASSERT_NE(asked, history.end());
         EXPECT_GE(asked->at, kBegin + kHour);
         EXPECT_EQ(decode<OperatorAttributes>(asked->attributes, asked->codec)->reason, "deadline");
         EXPECT_TRUE(world.data().timers.empty());
       }});
}

TEST(Deadline, WhatEndsBeforeOrIsCancelledBeforeNeverMeetsIt) {
  tell_four_ways(
      {host_with(waits_long), [](World& world) { world.register_workflow("Story"); },
       [](World& world) {
         for (const char* const id : {"done", "cancelled"}) {
           StartRequest start = start_with_n(id);
           start.deadline = kBegin + kHour;
           start_until_told(world, start);
         }
         submit_until_told(world, event_of("done", "Go", "k-1"));
         control_until_told(world, ControlVerb::cancel, "cancelled", "changed their mind", 100);
       },
       [](const World& world) {
         EXPECT_EQ(world.state(kTenant, "done").status, "completed");
         EXPECT_EQ(world.state(kTenant, "cancelled").error->message, "changed their mind");
         EXPECT_TRUE(world.data().timers.empty());
         EXPECT_LT(world.now(), kBegin + kHour) << "nothing was left to wait for";
       }});
}

// rule: 12
TEST(Deadline, ItHoldsOverATimeWithoutAnEngineAndComesBeforeLaterEvents) {
  World world({}, host_with(waits_long));
  world.register_workflow("Story");
  StartRequest start = start_with_n("a");
  start.deadline = kBegin + kHour;
  start_until_told(world, start);
  world.forget_registrations();
  world.deploy();
  world.advance(2 * kHour);
  EXPECT_EQ(types_of(world.history(kTenant, "a")).back(), "CancelRequested")
      << "it takes no code to ask";
  EXPECT_EQ(world.state(kTenant, "a").condition, "no_worker");
  submit_until_told(world, event_of("a", "Go", "k-1"));
  world.register_workflow("Story");
  world.run_out();
  EXPECT_EQ(world.state(kTenant, "a").status, "cancelled");
}

TEST(Deadline, BeforeTheCodeHasRunItEndsWithoutIt) {
  World world({}, host_with(waits_long));
  world.register_workflow("Story");
  StartRequest start = start_with_n("a");
  start.start_at = kBegin + 1'000;
  start.deadline = kBegin + kHour;
  start_until_told(world, start);
  world.forget_registrations();
  world.deploy();
  world.advance(2 * kHour);
  EXPECT_EQ(world.state(kTenant, "a").status, "cancelled");
  EXPECT_EQ(world.state(kTenant, "a").error->message, "deadline");
}

TEST(Deadline, AnExecutionThatIsRetriedAfterItGoesOn) {
  World world({}, host_with([](Script& script) { return script.run("pay", "1"); }));
  world.register_workflow("Story");
  bool broken = true;
  world.register_action("pay", [&broken](const ActionTask& task) {
    std::variant<Payload, Failure> outcome = task.parameters;
    if (broken) {
      Failure failure;
      failure.name = "Broken";
      failure.failure_class = FailureClass::permanent;
      outcome = failure;
    }
    return std::optional(outcome);
  });
  StartRequest start = start_with_n("a");
  start.deadline = kBegin + kHour;
  start_until_told(world, start);
  EXPECT_EQ(world.state(kTenant, "a").status, "failed");
  world.advance(2 * kHour);
  broken = false;
  control_until_told(world, ControlVerb::retry, "a", "", 100);
  world.run_out();
  EXPECT_EQ(world.state(kTenant, "a").status, "completed");
  EXPECT_TRUE(world.data().timers.empty());
}

// ---- once

// rules: 24, 25
TEST(StartKeys, TheIdIsMadeOfTenantWorkflowAndKey) {
  const std::string id = keyed_execution_id("acme", "Story", "k-1");
  EXPECT_EQ(id, keyed_execution_id("acme", "Story", "k-1"));
  const std::set<std::string> others{
      id, keyed_execution_id("acme", "Story", "k-2"), keyed_execution_id("acme", "Other", "k-1"),
      keyed_execution_id("umbrella", "Story", "k-1"), keyed_execution_id("acme", "Stor", "yk-1")};
  EXPECT_EQ(others.size(), 5U);
  ASSERT_EQ(id.size(), 36U);
  EXPECT_EQ(id[14], '8');
  EXPECT_NE(std::string("89ab").find(id[19]), std::string::npos);
  // It is the key of what lies in databases: it can't change.
  EXPECT_EQ(id, "3e624051-6370-8036-95d6-403b49f5a3d4");
}

}  // namespace
}  // namespace pawl::testing
