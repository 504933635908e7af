// What operators do to an execution, told four ways: each is durable, visible in the history with who
// did it, and the same however often the engine crashes around it.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "core/time_travel.h"
#include "model/attributes.h"
#include "tests/support/four_ways.h"
#include "tests/support/story_parts.h"

namespace pawl::testing {
namespace {

const HistoryEvent* find_type(const std::vector<HistoryEvent>& history, const EventType type) {
  const auto found = std::find_if(history.begin(), history.end(),
                                  [type](const auto& event) { return event.type == type; });
  return found == history.end() ? nullptr : &*found;
}

std::string cleans_up(Script& script) {
  script.set_state("waiting");
  const Position sleep = script.start_sleep(86'400'000);
  try {
    script.wait_for({"Approve"});
  } catch (const Failure& cancelled) {
    if (cancelled.code != "cancelled") throw;
    script.set_data("reason", "\"" + cancelled.message + "\"");
    script.run("echo", "\"refund\"");
    script.set_state("refunded");
    throw;
  }
  script.slept(sleep);
  return "1";
}

// rule: 22
TEST(Operators, CancellingRejectsWhatIsOpenAndLetsTheCodeCleanUp) {
  tell_four_ways({host_with(cleans_up),
                  [](World& world) {
                    world.register_workflow("Story");
                    world.register_action("echo", echo);
                  },
                  [](World& world) {
                    start_until_told(world, start_of("a"));
                    control_until_told(world, ControlVerb::cancel, "a", "changed their mind");
                  },
                  [](const World& world) {
                    const ExecutionState state = world.state(kTenant, "a");
                    EXPECT_EQ(state.status, "cancelled");
                    EXPECT_EQ(state.current_state, "refunded");
                    EXPECT_EQ(state.data.bytes, R"({"reason":"changed their mind"})");
                    ASSERT_TRUE(state.error);
                    EXPECT_EQ(state.error->name, "CancelledError");
                    EXPECT_TRUE(world.data().timers.empty()) << "the sleep is gone too";
                    const auto& history = world.history(kTenant, "a");
                    const HistoryEvent* const asked =
                        find_type(history, EventType::cancel_requested);
                    ASSERT_NE(asked, nullptr);
                    const auto who = decode<OperatorAttributes>(asked->attributes, asked->codec);
                    EXPECT_EQ(who->by, "ann");
                    EXPECT_EQ(who->reason, "changed their mind");
                    const HistoryEvent* const scheduled =
                        find_type(history, EventType::action_scheduled);
                    ASSERT_NE(scheduled, nullptr);
                    EXPECT_EQ(scheduled->cause, asked->sequence);
                  }});
}

// rule: 22
TEST(Operators, ACancelledExecutionThatReturnsIsCompleted) {
  tell_four_ways({host_with([](Script& script) -> std::string {
                    try {
                      script.wait_for({"Approve"});
                    } catch (const Failure&) {
                      return "\"went on\"";
                    }
                    return "1";
                  }),
                  [](World& world) { world.register_workflow("Story"); },
                  [](World& world) {
                    start_until_told(world, start_of("a"));
                    control_until_told(world, ControlVerb::cancel, "a");
                    control_until_told(world, ControlVerb::cancel, "a");
                  },
                  [](const World& world) {
                    EXPECT_EQ(world.state(kTenant, "a").status, "completed");
                    EXPECT_EQ(world.state(kTenant, "a").result.bytes, "\"went on\"");
                  }});
}

// rule: 22
TEST(Operators, AnActionUnderWayIsToldToStopAndItsLateAnswerIsIgnored) {
  World world({}, host_with([](Script& script) { return script.run("slow", "1"); }));
  world.register_workflow("Story");
  world.register_action(
      "slow",
      [](const ActionTask&) -> std::optional<std::variant<Payload, Failure>> { return {}; });
  start_until_told(world, start_of("a"));
  control_until_told(world, ControlVerb::cancel, "a");
  EXPECT_EQ(world.state(kTenant, "a").status, "cancelled");
  ASSERT_EQ(world.aborts().size(), 1U);
  EXPECT_EQ(world.aborts()[0], world.actions_run()[0].id);
  world.answer(world.actions_run()[0], Payload::json("1"));
  EXPECT_EQ(world.state(kTenant, "a").status, "cancelled");
  EXPECT_TRUE(world.data().results.empty());
}

// rule: 22
TEST(Operators, TerminatingEndsAtOnce) {
  tell_four_ways({host_with(cleans_up),
                  [](World& world) {
                    world.register_workflow("Story");
                    world.register_action("echo", echo);
                  },
                  [](World& world) {
                    start_until_told(world, start_of("a"));
                    submit_until_told(world, event_of("a", "Unheard", "k-1"));
                    control_until_told(world, ControlVerb::terminate, "a", "runs amok");
                  },
                  [](const World& world) {
                    const ExecutionState state = world.state(kTenant, "a");
                    EXPECT_EQ(state.status, "terminated");
                    EXPECT_EQ(state.current_state, "waiting");
                    ASSERT_TRUE(state.error);
                    EXPECT_EQ(state.error->name, "TerminatedError");
                    EXPECT_EQ(state.error->message, "runs amok");
                    EXPECT_TRUE(world.data().timers.empty());
                    EXPECT_TRUE(world.actions_run().empty()) << "no clean-up";
                    const auto types = types_of(world.history(kTenant, "a"));
                    EXPECT_EQ(types[types.size() - 2], "ExecutionTerminated");
                    EXPECT_EQ(types.back(), "EventDiscarded");
                  }});
}

// rules: 10, 22
TEST(Operators, WhatIsPausedKeepsEverythingForLater) {
  tell_four_ways({host_with([](Script& script) {
                    const Position sleep = script.start_sleep(60'000);
                    script.slept(sleep);
                    script.set_state("slept");
                    const ReceivedEvent go = script.wait_for({"Go"});
                    return script.run("echo", "\"" + go.name + "\"");
                  }),
                  [](World& world) {
                    world.register_workflow("Story");
                    world.register_action("echo", echo);
                  },
                  [](World& world) {
                    start_until_told(world, start_of("a"));
                    control_until_told(world, ControlVerb::pause, "a", "an incident");
                    world.advance(120'000);
                    const EventReply reply = submit_until_told(world, event_of("a", "Go", "k-1"));
                    EXPECT_EQ(reply.status, "paused");
                    EXPECT_FALSE(reply.consumed);
                    EXPECT_EQ(world.state(kTenant, "a").status, "paused");
                    EXPECT_EQ(world.state(kTenant, "a").current_state, "initial")
                        << "the timer waits";
                    EXPECT_TRUE(world.actions_run().empty());
                    control_until_told(world, ControlVerb::resume, "a");
                    world.run_out();
                  },
                  [](const World& world) {
                    EXPECT_EQ(world.state(kTenant, "a").status, "completed");
                    EXPECT_EQ(world.state(kTenant, "a").result.bytes, "\"Go\"");
                  }});
}

// It ran, so it is not to run again: neither for the pause nor for a crash within it.
// rule: 22
TEST(Operators, AnActionThatEndsWhilePausedIsRecordedAndNotRunAgain) {
  World world({}, host_with([](Script& script) { return script.run("slow", "1"); }));
  world.register_workflow("Story");
  world.register_action(
      "slow",
      [](const ActionTask&) -> std::optional<std::variant<Payload, Failure>> { return {}; });
  start_until_told(world, start_of("a"));
  control_until_told(world, ControlVerb::pause, "a");
  world.answer(world.actions_run().at(0), Payload::json("\"paid\""));
  ASSERT_EQ(world.data().results.size(), 1U);
  EXPECT_EQ(world.state(kTenant, "a").status, "paused");
  world.restart();
  world.settle();
  EXPECT_EQ(world.actions_run().size(), 1U);
  control_until_told(world, ControlVerb::resume, "a");
  EXPECT_EQ(world.state(kTenant, "a").status, "completed");
  EXPECT_EQ(world.state(kTenant, "a").result.bytes, "\"paid\"");
  EXPECT_EQ(world.actions_run().size(), 1U);
}

TEST(Operators, AnActionThatEndsBeforeItsCodeIsDeployedIsRecordedToo) {
  World world({}, host_with([](Script& script) { return script.run("slow", "1"); }));
  const auto slow = [](const ActionTask&) -> std::optional<std::variant<Payload, Failure>> {
    return {};
  };
  world.register_workflow("Story");
  world.register_action("slow", slow);
  start_until_told(world, start_of("a"));
  world.forget_registrations();
  world.restart();
  world.register_action("slow", slow);
  world.settle();
  ASSERT_EQ(world.actions_run().size(), 2U) << "an attempt was lost with the crash";
  world.answer(world.actions_run()[1], Payload::json("\"paid\""));
  ASSERT_EQ(world.data().results.size(), 1U);
  world.restart();
  world.settle();
  EXPECT_EQ(world.actions_run().size(), 2U);
  world.register_workflow("Story");
  world.settle();
  EXPECT_EQ(world.state(kTenant, "a").result.bytes, "\"paid\"");
}

TEST(Operators, AFailedAttemptIsTriedAgainOnlyAfterThePause) {
  World world({}, host_with([](Script& script) { return script.run("shaky", "1"); }));
  world.register_workflow("Story");
  world.register_action(
      "shaky", [](const ActionTask& task) -> std::optional<std::variant<Payload, Failure>> {
        if (task.attempt == 1) return std::nullopt;
        return task.parameters;
      });
  start_until_told(world, start_of("a"));
  control_until_told(world, ControlVerb::pause, "a");
  Failure failure;
  failure.message = "try again";
  world.answer(world.actions_run().at(0), failure);
  world.advance(3'600'000);
  EXPECT_EQ(world.actions_run().size(), 1U);
  control_until_told(world, ControlVerb::resume, "a");
  world.run_out();
  EXPECT_EQ(world.actions_run().size(), 2U);
  EXPECT_EQ(world.state(kTenant, "a").status, "completed");
}

TEST(Operators, WhatIsCancelledWhilePausedIsToldWhenItGoesOn) {
  tell_four_ways({host_with(cleans_up),
                  [](World& world) {
                    world.register_workflow("Story");
                    world.register_action("echo", echo);
                  },
                  [](World& world) {
                    start_until_told(world, start_of("a"));
                    control_until_told(world, ControlVerb::pause, "a");
                    control_until_told(world, ControlVerb::cancel, "a", "late");
                    EXPECT_EQ(world.state(kTenant, "a").status, "paused");
                    control_until_told(world, ControlVerb::resume, "a");
                  },
                  [](const World& world) {
                    EXPECT_EQ(world.state(kTenant, "a").status, "cancelled");
                    EXPECT_EQ(world.state(kTenant, "a").current_state, "refunded");
                  }});
}

TEST(Operators, AStuckExecutionCanBeTerminatedAndNotPaused) {
  bool broken = false;
  World world({}, host_with([&broken](Script& script) -> std::string {
                if (broken) script.violate("the code is broken");
                script.wait_for({"Go"});
                script.wait_for({"Go"});
                return "1";
              }));
  world.register_workflow("Story");
  start_until_told(world, start_of("a"));
  broken = true;
  submit_until_told(world, event_of("a", "Go", "k-1"));
  ASSERT_EQ(world.state(kTenant, "a").status, "stuck");
  for (const ControlVerb verb : {ControlVerb::pause, ControlVerb::resume}) {
    const auto refused = world.control(verb, "a");
    ASSERT_TRUE(refused);
    EXPECT_EQ(refused->error().code, ErrorCode::wrong_status);
    EXPECT_NE(refused->error().message.find("stuck"), std::string::npos);
  }
  EXPECT_EQ((*world.control(ControlVerb::terminate, "a"))->status, "terminated");
  EXPECT_EQ(world.state(kTenant, "a").status, "terminated");
  EXPECT_EQ(world.control(ControlVerb::cancel, "a")->error().code, ErrorCode::execution_ended);
  EXPECT_EQ(world.control(ControlVerb::cancel, "b")->error().code, ErrorCode::unknown_execution);
  world.restart();
  world.settle();
  EXPECT_EQ(world.state(kTenant, "a").status, "terminated");
}

TEST(Operators, AStuckExecutionIsToldOfItsCancellationOnceMended) {
  bool broken = false;
  World world({}, host_with([&broken](Script& script) -> std::string {
                if (broken) script.violate("the code is broken");
                script.wait_for({"Go"});
                script.wait_for({"Go"});
                return "1";
              }));
  world.register_workflow("Story");
  start_until_told(world, start_of("a"));
  broken = true;
  submit_until_told(world, event_of("a", "Go", "k-1"));
  EXPECT_EQ((*world.control(ControlVerb::cancel, "a"))->status, "stuck");
  broken = false;
  world.restart();
  world.settle();
  EXPECT_EQ(world.state(kTenant, "a").status, "cancelled");
}

// ---- retries

// Succeeds from its second generation on.
std::variant<Payload, Failure> mended_later(const ActionTask& task) {
  const bool first = std::count(task.idempotency_key.begin(), task.idempotency_key.end(), ':') == 2;
  if (!first) return task.parameters;
  Failure failure;
  failure.message = "the account is closed";
  failure.failure_class = FailureClass::permanent;
  return failure;
}

// rule: 22
TEST(Operators, ARetriedExecutionGoesOnFromTheActionThatFailed) {
  tell_four_ways(
      {host_with([](Script& script) {
         const Position sleep = script.start_sleep(60'000);
         script.set_state("paying");
         const std::string told = script.run("echo", "\"once\"");
         script.wait_for({"Go"});
         const std::string paid = script.run("pay", "5");
         script.set_state("paid");
         script.slept(sleep);
         return "[" + told + "," + paid + "]";
       }),
       [](World& world) {
         world.register_workflow("Story");
         world.register_action("echo", echo);
         world.register_action("pay", mended_later);
       },
       [](World& world) {
         start_until_told(world, start_of("a"));
         submit_until_told(world, event_of("a", "Go", "k-1"));
         if (world.state(kTenant, "a").status != "failed") world.advance(5'000);
         EXPECT_EQ(world.state(kTenant, "a").status, "failed");
         control_until_told(world, ControlVerb::retry, "a", "the account is open again");
         world.run_out();
       },
       [](const World& world) {
         const ExecutionState state = world.state(kTenant, "a");
         EXPECT_EQ(state.status, "completed");
         EXPECT_EQ(state.current_state, "paid");
         EXPECT_FALSE(state.error);
         EXPECT_EQ(state.result.bytes, R"(["once",5])");
         std::set<std::string> keys;
         for (const ActionTask& task : world.actions_run()) {
           if (task.name == "pay") keys.insert(task.idempotency_key);
         }
         EXPECT_EQ(keys.size(), 2U) << "the retry has a key of its own";
         const auto& history = world.history(kTenant, "a");
         const HistoryEvent* const failed = find_type(history, EventType::execution_failed);
         const HistoryEvent* const retried = find_type(history, EventType::execution_retried);
         ASSERT_NE(failed, nullptr);
         ASSERT_NE(retried, nullptr);
         EXPECT_EQ(decode<RetriedAttributes>(retried->attributes, 1)->by, "ann");
         const ExecutionState then = state_at(world.data().executions.begin()->second.record,
                                              history, retried->sequence - 1)
                                         .value();
         EXPECT_EQ(then.status, "failed") << "what was, was";
       }});
}

TEST(Operators, ARetryDeliversOnceMoreWhatWokeTheCodeThatFailed) {
  bool broken = true;
  World world({}, host_with([&broken](Script& script) -> std::string {
                const Position quick = script.start_action("echo", "1");
                const Position other = script.start_action("echo", "2");
                script.action(quick);
                script.action(other);
                const ReceivedEvent go = script.wait_for({"Go"});
                if (broken) {
                  Failure failure;
                  failure.message = "a bug";
                  throw failure;
                }
                return go.payload.bytes;
              }));
  world.register_workflow("Story");
  world.register_action("echo", echo);
  start_until_told(world, start_of("a"));
  submit_until_told(world, event_of("a", "Go", "k-1"));
  ASSERT_EQ(world.state(kTenant, "a").status, "failed");
  EXPECT_EQ(world.control(ControlVerb::retry, "b")->error().code, ErrorCode::unknown_execution);
  broken = false;
  EXPECT_EQ((*world.control(ControlVerb::retry, "a"))->status, "running");
  EXPECT_EQ(world.state(kTenant, "a").status, "completed");
  EXPECT_EQ(world.state(kTenant, "a").result.bytes, "{}");
  EXPECT_EQ(world.actions_run().size(), 2U);
  EXPECT_EQ(find_fault(world.data()), std::nullopt);
  EXPECT_EQ(world.control(ControlVerb::retry, "a")->error().code, ErrorCode::wrong_status);
}

TEST(Operators, WhatFailedAsItStartedStartsAgain) {
  bool broken = true;
  World world({}, host_with([&broken](Script& script) -> std::string {
                if (broken) {
                  Failure failure;
                  failure.message = "a bug";
                  throw failure;
                }
                return script.run("echo", "7");
              }));
  world.register_workflow("Story");
  world.register_action("echo", echo);
  start_until_told(world, start_of("a"));
  ASSERT_EQ(world.state(kTenant, "a").status, "failed");
  EXPECT_EQ((*world.control(ControlVerb::retry, "a"))->status, "running");
  EXPECT_EQ(world.state(kTenant, "a").status, "failed") << "it is still broken";
  broken = false;
  EXPECT_EQ((*world.control(ControlVerb::retry, "a"))->status, "running");
  EXPECT_EQ(world.state(kTenant, "a").result.bytes, "7");
  EXPECT_EQ(find_fault(world.data()), std::nullopt);
}

TEST(Operators, ARetryWithCodeThatDepartsLeavesItFailed) {
  bool broken = false;
  World world({}, host_with([&broken](Script& script) -> std::string {
                if (broken) script.violate("the code is broken");
                Failure failure;
                failure.message = "a bug";
                throw failure;
              }));
  world.register_workflow("Story");
  start_until_told(world, start_of("a"));
  broken = true;
  const auto told = world.control(ControlVerb::retry, "a");
  ASSERT_TRUE(told);
  EXPECT_EQ(told->error().code, ErrorCode::not_deterministic);
  EXPECT_EQ(world.state(kTenant, "a").status, "failed");
}

// ---- forks

void fork_until_told(World& world, const std::string& of, const std::string& id,
                     const std::int64_t at) {
  std::string refused;
  for (int tries = 0; tries < 100; ++tries) {
    const auto told = world.fork(of, id, at);
    if (told && told->has_value()) return;
    if (told) refused = told->error().message;
    world.advance(1'000);
  }
  FAIL() << "never told: " << refused;
}

std::string approves(Script& script) {
  const std::string first = script.run("echo", "\"first\"");
  script.set_state("asked");
  const ReceivedEvent decision = script.wait_for({"Approve", "Reject"});
  script.set_state(decision.name);
  return script.run("echo", "\"" + decision.name + "\"");
}

// rule: 22
TEST(Operators, AForkGoesItsOwnWayFromAPointOfTheHistory) {
  tell_four_ways(
      {host_with(approves),
       [](World& world) {
         world.register_workflow("Story");
         world.register_action("echo", echo);
       },
       [](World& world) {
         start_until_told(world, start_of("a"));
         world.run_out();
         submit_until_told(world, event_of("a", "Reject", "k-1"));
         world.run_out();
         const auto& history = world.history(kTenant, "a");
         const auto asked = std::find_if(history.begin(), history.end(), [](const auto& event) {
           return event.type == EventType::event_received;
         });
         // Within the activation that the event began, so from before the event.
         fork_until_told(world, "a", "b", asked->sequence);
         EXPECT_EQ(world.state(kTenant, "b").current_state, "asked");
         submit_until_told(world, event_of("b", "Approve", "k-1"));
       },
       [](const World& world) {
         EXPECT_EQ(world.state(kTenant, "a").result.bytes, "\"Reject\"");
         EXPECT_EQ(world.state(kTenant, "b").result.bytes, "\"Approve\"");
         const auto first = std::count_if(
             world.actions_run().begin(), world.actions_run().end(),
             [](const ActionTask& task) { return task.parameters.bytes == "\"first\""; });
         EXPECT_GE(first, 1);
         for (const ActionTask& task : world.actions_run()) {
           if (task.execution_id == "b") {
             EXPECT_NE(task.parameters.bytes, "\"first\"") << "it is done already";
           }
         }
         const HistoryEvent* const forked =
             find_type(world.history(kTenant, "b"), EventType::execution_forked);
         ASSERT_NE(forked, nullptr);
         EXPECT_EQ(forked->name, "a");
         EXPECT_EQ(decode<ForkedAttributes>(forked->attributes, forked->codec)->by, "ann");
       }});
}

// What it emits to itself is received behind the end of the activation, in the same commit.
// rules: 11, 22
TEST(Operators, AForkAtAnyPointHasWhatTheCodeHadEmittedToItselfByThen) {
  World world({}, host_with([](Script& script) {
                script.wait_for({"Go"});
                script.emit_event("Self", "7");
                const std::string own = script.wait_for({"Self"}).payload.bytes;
                script.wait_for({"End"});
                return own;
              }));
  world.register_workflow("Story");
  start_until_told(world, start_of("a"));
  submit_until_told(world, event_of("a", "Go", "go"));
  const auto last = world.history(kTenant, "a").back().sequence;
  for (std::int64_t at = 2; at <= last; ++at) {
    const std::string fork = fmt::format("fork-{}", at);
    const std::string of_that = fork + "-again";
    fork_until_told(world, "a", fork, at);
    fork_until_told(world, fork, of_that,
                    std::min(at, world.history(kTenant, fork).back().sequence));
    for (const std::string& id : {fork, of_that}) {
      if (find_type(world.history(kTenant, id), EventType::event_emitted) == nullptr) {
        submit_until_told(world, event_of(id, "Go", "go"));
      }
      submit_until_told(world, event_of(id, "End", "end"));
      world.settle();
      EXPECT_EQ(world.state(kTenant, id).result.bytes, "7") << id;
    }
  }
}

// rule: 22
TEST(Operators, WhatWasUnderWayRunsInTheForkUnderItsOwnKey) {
  World world({}, host_with([](Script& script) {
                const Position sleep = script.start_sleep(60'000);
                const std::string paid = script.run("slow", "1");
                script.slept(sleep);
                return paid;
              }));
  world.register_workflow("Story");
  world.register_action(
      "slow",
      [](const ActionTask&) -> std::optional<std::variant<Payload, Failure>> { return {}; });
  start_until_told(world, start_of("a"));
  ASSERT_TRUE(world.fork("a", "b")->has_value());
  ASSERT_TRUE(world.fork("a", "b")->has_value()) << "the same fork again";
  ASSERT_EQ(world.actions_run().size(), 2U);
  const ActionTask of_a = world.actions_run()[0];
  const ActionTask of_b = world.actions_run()[1];
  EXPECT_NE(of_a.idempotency_key, of_b.idempotency_key);
  EXPECT_EQ(of_b.execution_id, "b");
  world.answer(of_b, Payload::json("2"));
  world.answer(of_a, Payload::json("1"));
  world.run_out();
  EXPECT_EQ(world.state(kTenant, "a").result.bytes, "1");
  EXPECT_EQ(world.state(kTenant, "b").result.bytes, "2");
  EXPECT_EQ(world.fork("a", "b")->error().code, ErrorCode::wrong_status) << "that is its end";
  EXPECT_EQ(world.fork("a", "c", 99)->error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(world.fork("b", "a", 4)->error().code, ErrorCode::already_exists);
}

TEST(Operators, NothingIsLeftOfTheTimersOfAnExecutionThatEnded) {
  tell_four_ways({host_with([](Script& script) {
                    script.start_sleep(86'400'000);
                    script.start_wait({"Never"}, 86'400'000);
                    script.wait_for({"Go"});
                    return std::string("1");
                  }),
                  [](World& world) { world.register_workflow("Story"); },
                  [](World& world) {
                    start_until_told(world, start_of("a"));
                    submit_until_told(world, event_of("a", "Go", "k-1"));
                  },
                  [](const World& world) {
                    EXPECT_EQ(world.state(kTenant, "a").status, "completed");
                    EXPECT_TRUE(world.data().timers.empty());
                  }});
}

}  // namespace
}  // namespace pawl::testing
