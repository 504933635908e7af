// What the engine refuses, puts off and puts right.

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <set>

#include "model/attributes.h"
#include "tests/support/four_ways.h"
#include "tests/support/script_host.h"

namespace pawl::testing {
namespace {

constexpr const char* kTenant = "acme";

class Rules : public ::testing::Test {
 protected:
  // The code can be changed under the feet of a running world; a restart or an eviction picks it up.
  World make_world(WorldOptions options = {}) {
    return World(options, [this] {
      auto host = std::make_unique<ScriptHost>();
      host->define("Story", [this](Script& script) { return code_(script); });
      return host;
    });
  }

  static StartRequest start_of(const std::string& id, const std::string& input = "{}") {
    StartRequest request;
    request.workflow = "Story";
    request.tenant = kTenant;
    request.execution_id = id;
    request.input = Payload::json(input);
    return request;
  }
  static EventRequest event_of(const std::string& id, const std::string& name,
                               const std::string& key = "") {
    return EventRequest{kTenant, id, name, Payload::json("{}"), "", key};
  }
  static std::variant<Payload, Failure> echo(const ActionTask& task) { return task.parameters; }

  ScriptFunction code_ = [](Script& script) -> std::string {
    script.wait_for({"Go"});
    script.set_state("gone");
    return "1";
  };
};

TEST_F(Rules, AnUnknownWorkflowIsRefusedWithTheNearestName) {
  World world = make_world();
  world.register_workflow("Story");
  StartRequest request = start_of("a");
  request.workflow = "Stroy";
  const auto answer = world.start(request);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->error().code, ErrorCode::unknown_workflow);
  EXPECT_NE(answer->error().message.find("Story"), std::string::npos) << answer->error().message;
  request.workflow = "Story";
  request.version = "2.0.0";
  EXPECT_NE(world.start(request)->error().message.find("1.0.0"), std::string::npos);
  EXPECT_TRUE(world.data().executions.empty());
}

// rules: 9, 25
TEST_F(Rules, AnEventForNobodyLeavesNoTrace) {
  World world = make_world();
  world.register_workflow("Story");
  start_until_told(world, start_of("a"));
  const auto unknown = world.submit(event_of("b", "Go"));
  EXPECT_EQ(unknown->error().code, ErrorCode::unknown_execution);
  EventRequest foreign = event_of("a", "Go");
  foreign.tenant = "globex";
  const auto crossed = world.submit(foreign);
  EXPECT_EQ(crossed->error().code, ErrorCode::unknown_execution);
  EXPECT_TRUE(world.data().inbox.empty());
  submit_until_told(world, event_of("a", "Go"));
  const std::size_t rows = world.data().inbox.size();
  EXPECT_EQ(world.submit(event_of("a", "Go"))->error().code, ErrorCode::execution_ended);
  EXPECT_EQ(world.submit(event_of("a", "Go"), true)->error().code, ErrorCode::execution_ended);
  EXPECT_EQ(world.data().inbox.size(), rows);
}

// rule: 9
TEST_F(Rules, TheSameKeyHasTheSameAnswerAfterTheEndAndARestart) {
  World world = make_world();
  world.register_workflow("Story");
  start_until_told(world, start_of("a"));
  const EventReply first = submit_until_told(world, event_of("a", "Go", "k"));
  EXPECT_TRUE(first.is_complete);
  EXPECT_EQ(first.current_state, "gone");
  world.restart();
  const EventReply again = submit_until_told(world, event_of("a", "Go", "k"));
  EXPECT_EQ(again.event_id, first.event_id);
  EXPECT_EQ(again.is_complete, first.is_complete);
  EXPECT_EQ(again.consumed, first.consumed);
}

// rules: 24, 25
TEST_F(Rules, AStartIsIdempotentByItsId) {
  World world = make_world();
  world.register_workflow("Story");
  EXPECT_EQ(start_until_told(world, start_of("a", R"({"n":1})")), "a");
  EXPECT_EQ(start_until_told(world, start_of("a", R"({"n":1})")), "a");
  EXPECT_EQ(world.start(start_of("a", R"({"n":2})"))->error().code, ErrorCode::already_exists);
  world.restart();
  EXPECT_EQ(start_until_told(world, start_of("a", R"({"n":1})")), "a");
  EXPECT_EQ(world.data().executions.size(), 1U);
  // Another tenant's executions have ids of their own.
  StartRequest other = start_of("a", R"({"n":2})");
  other.tenant = "globex";
  EXPECT_EQ(start_until_told(world, other), "a");
  EXPECT_EQ(world.data().executions.size(), 2U);
}

// rule: 12
TEST_F(Rules, DueTimersAndEventsMergeByTheirTime) {
  code_ = [](Script& script) -> std::string {
    const Position event = script.start_wait({"Go"});
    const Position sleep = script.start_sleep(1'000);
    return script.first({event, sleep}) == sleep ? "\"timer\"" : "\"event\"";
  };
  World world = make_world();
  world.register_workflow("Story");
  start_until_told(world, start_of("before"));
  world.advance(999);
  submit_until_told(world, event_of("before", "Go"));
  EXPECT_EQ(world.state(kTenant, "before").result.bytes, "\"event\"");
  start_until_told(world, start_of("tie"));
  // The event is accepted at the very moment at which the timer is due.
  world.advance(1'000);
  EXPECT_EQ(world.state(kTenant, "tie").result.bytes, "\"timer\"");
}

TEST_F(Rules, TheLongestWaitsAndSleepsDoNotEnd) {
  code_ = [](Script& script) -> std::string {
    constexpr DurationMs never = std::numeric_limits<DurationMs>::max();
    const Position event = script.start_wait({"Go"}, never);
    const Position sleep = script.start_sleep(never);
    return script.first({event, sleep}) == event && script.event(event) ? "\"event\"" : "\"over\"";
  };
  World world = make_world();
  world.register_workflow("Story");
  start_until_told(world, start_of("a"));
  constexpr DurationMs kCentury = 100 * 365 * 24 * 3'600'000LL;
  world.advance(kCentury);
  world.restart();
  EXPECT_EQ(world.state(kTenant, "a").status, "running");
  submit_until_told(world, event_of("a", "Go"));
  EXPECT_EQ(world.state(kTenant, "a").result.bytes, "\"event\"");
}

// rules: 10, 20
TEST_F(Rules, CodeThatDepartsFromItsHistoryIsSetAsideAndGoesOnWhenMended) {
  const ScriptFunction right = [](Script& script) -> std::string {
    script.set_state("one");
    script.wait_for({"Go"});
    const std::string result = script.run("echo", "1");
    script.set_state("two");
    return result;
  };
  code_ = right;
  World world = make_world();
  world.register_workflow("Story");
  world.register_action("echo", echo);
  start_until_told(world, start_of("a"));
  const std::vector<HistoryEvent> before = world.history(kTenant, "a");

  code_ = [](Script& script) -> std::string {
    script.set_state("other");
    script.wait_for({"Go"});
    return "1";
  };
  world.restart();
  const EventReply set_aside = submit_until_told(world, event_of("a", "Go", "k"));
  EXPECT_EQ(set_aside.status, "stuck");
  EXPECT_FALSE(set_aside.consumed);
  EXPECT_EQ(world.history(kTenant, "a"), before) << "the history is untouched";
  const ExecutionState stuck = world.state(kTenant, "a");
  EXPECT_EQ(stuck.status, "stuck");
  ASSERT_TRUE(stuck.error);
  EXPECT_NE(stuck.error->message.find("StateChanged 'one'"), std::string::npos);
  EXPECT_NE(stuck.error->message.find("StateChanged 'other'"), std::string::npos);

  // Still wrong: it stays as it is, and takes events.
  world.restart();
  EXPECT_EQ(world.state(kTenant, "a").status, "stuck");

  code_ = right;
  world.register_workflow("Story");
  world.run_out();
  EXPECT_EQ(world.state(kTenant, "a").status, "completed");
  EXPECT_EQ(world.state(kTenant, "a").current_state, "two");
  EXPECT_FALSE(find_fault(world.data()));
}

// rule: 20
TEST_F(Rules, AViolationSeenByTheHostKeepsWhatWokeTheCode) {
  code_ = [](Script& script) -> std::string {
    const std::string result = script.run("echo", "1");
    script.violate("it awaits something foreign");
  };
  World world = make_world();
  world.register_workflow("Story");
  world.register_action("echo", echo);
  start_until_told(world, start_of("a"));
  world.settle();
  EXPECT_EQ(world.state(kTenant, "a").status, "stuck");
  EXPECT_EQ(world.state(kTenant, "a").error->message, "it awaits something foreign");
  const std::size_t ran = world.actions_run().size();
  EXPECT_EQ(ran, 1U);

  code_ = [](Script& script) -> std::string { return script.run("echo", "1"); };
  world.register_workflow("Story");
  world.run_out();
  EXPECT_EQ(world.state(kTenant, "a").status, "completed");
  EXPECT_EQ(world.actions_run().size(), ran) << "its result was kept, it need not run again";
}

// rules: 17, 21
TEST_F(Rules, WithoutItsCodeAnExecutionWaitsAndGoesOnWhenItIsThere) {
  code_ = [](Script& script) -> std::string {
    script.wait_for({"Go"});
    return script.run("echo", "1");
  };
  World world = make_world();
  world.register_workflow("Story");
  world.register_action("echo", echo);
  start_until_told(world, start_of("a"));
  world.forget_registrations();
  world.restart();
  const EventReply accepted = submit_until_told(world, event_of("a", "Go", "k"));
  EXPECT_FALSE(accepted.consumed);
  EXPECT_EQ(accepted.status, "running");
  EXPECT_EQ(world.data().inbox.size(), 1U) << "it is durable where it waits";
  world.restart();
  world.register_workflow("Story");
  world.settle();
  EXPECT_EQ(world.state(kTenant, "a").condition, "no_action");
  world.register_action("echo", echo);
  world.settle();
  EXPECT_EQ(world.state(kTenant, "a").status, "completed");
  EXPECT_FALSE(find_fault(world.data()));
}

// rule: 17
TEST_F(Rules, AnActionThatNobodyRegisteredWaitsUntilSomebodyDoes) {
  code_ = [](Script& script) { return script.run("sendNotification", "1"); };
  World world = make_world();
  world.register_workflow("Story");
  world.register_action("sendNotifications", echo);
  start_until_told(world, start_of("a"));
  const ExecutionState waiting = world.state(kTenant, "a");
  EXPECT_EQ(waiting.status, "running");
  EXPECT_EQ(waiting.condition, "no_action");
  ASSERT_EQ(world.logs().size(), 1U);
  EXPECT_NE(world.logs()[0].message.find("sendNotifications"), std::string::npos);
  world.register_action("send_notification", echo);
  world.settle();
  EXPECT_EQ(world.state(kTenant, "a").status, "completed");
}

// rules: 14, 15
TEST_F(Rules, AnAttemptThatTakesTooLongIsTriedAgain) {
  code_ = [](Script& script) -> std::string {
    ActionOptions options;
    options.timeout = 500;
    return std::get<Payload>(script.action(script.start_action("echo", "1", options))).bytes;
  };
  World world = make_world();
  world.register_workflow("Story");
  world.register_action(
      "echo", [](const ActionTask& task) -> std::optional<std::variant<Payload, Failure>> {
        EXPECT_EQ(task.timeout, 500);
        if (task.attempt == 1) return std::nullopt;
        return task.parameters;
      });
  start_until_told(world, start_of("a"));
  EXPECT_EQ(world.state(kTenant, "a").status, "running");
  world.run_out();
  EXPECT_EQ(world.state(kTenant, "a").status, "completed");
  ASSERT_EQ(world.actions_run().size(), 2U);
  EXPECT_EQ(world.actions_run()[0].idempotency_key, world.actions_run()[1].idempotency_key);
  const std::vector<HistoryEvent>& history = world.history(kTenant, "a");
  const bool recorded = std::any_of(history.begin(), history.end(), [](const HistoryEvent& event) {
    return event.type == EventType::action_attempt_failed &&
           event.payload.bytes.find("TimeoutError") != std::string::npos;
  });
  EXPECT_TRUE(recorded);
}

// A failed commit takes the execution back to what is durable, and its attempts with it. The action
// is handed out once more, as the same attempt under the same key; what the first one still says is
// not taken for the answer of the second.
// rule: 14
TEST_F(Rules, AnAttemptThatWasGivenUpDoesNotAnswerForItsTwin) {
  code_ = [](Script& script) -> std::string {
    const std::string charged = script.run("charge", "1");
    script.wait_for({"Never"});
    return charged;
  };
  WorldOptions options;
  options.fail_commit = 2;
  World world = make_world(options);
  world.register_workflow("Story");
  world.register_action(
      "charge",
      [](const ActionTask&) -> std::optional<std::variant<Payload, Failure>> { return {}; });
  start_until_told(world, start_of("a"));
  ASSERT_EQ(world.actions_run().size(), 1U);
  ASSERT_FALSE(world.submit(event_of("a", "Other"))->has_value()) << "its commit fails";
  world.advance(1'000);
  ASSERT_EQ(world.actions_run().size(), 2U);
  const ActionTask first = world.actions_run()[0];
  const ActionTask second = world.actions_run()[1];
  EXPECT_EQ(first.idempotency_key, second.idempotency_key);
  EXPECT_EQ(first.attempt, second.attempt);
  EXPECT_NE(first.id, second.id);
  Failure aborted;
  aborted.name = "AbortError";
  aborted.failure_class = FailureClass::permanent;
  world.answer(first, aborted);
  EXPECT_TRUE(world.data().results.empty());
  world.answer(second, Payload::json("\"paid\""));
  ASSERT_EQ(world.data().results.size(), 1U);
  EXPECT_EQ(world.data().results.begin()->second.result.bytes, "\"paid\"");
}

// rule: 14
TEST_F(Rules, AnActionOutsideOfAnExecutionRunsOncePerKey) {
  World world = make_world();
  int runs = 0;
  world.register_action("Charge",
                        [&runs](const ActionTask& task) -> std::variant<Payload, Failure> {
                          ++runs;
                          EXPECT_EQ(task.idempotency_key, "charge-1");
                          return Payload::json(std::to_string(runs));
                        });
  const ExecuteActionRequest request{kTenant,    "wf-123", "evt-456",
                                     "charge-1", "charge", Payload::json("{}")};
  EXPECT_EQ((*world.execute(request))->bytes, "1");
  EXPECT_EQ((*world.execute(request))->bytes, "1");
  world.restart();
  EXPECT_EQ((*world.execute(request))->bytes, "1");
  EXPECT_EQ(runs, 1);
  ExecuteActionRequest other = request;
  other.parameters = Payload::json("[]");
  EXPECT_EQ(world.execute(other)->error().code, ErrorCode::already_exists);
  other = request;
  other.name = "Chrage";
  other.idempotency_key = "charge-2";
  const auto unknown = world.execute(other);
  EXPECT_EQ(unknown->error().code, ErrorCode::unknown_action);
  EXPECT_NE(unknown->error().message.find("Charge"), std::string::npos);
}

// rule: 25
TEST_F(Rules, OneKeyOfTwoTenantsIsTwoActionsAtOnce) {
  World world = make_world();
  world.register_action(
      "Charge",
      [](const ActionTask&) -> std::optional<std::variant<Payload, Failure>> { return {}; });
  const ExecuteActionRequest request{kTenant, "", "", "charge-1", "charge", Payload::json("{}")};
  ExecuteActionRequest other = request;
  other.tenant = "globex";
  EXPECT_FALSE(world.execute(request));
  EXPECT_FALSE(world.execute(other));
  ASSERT_EQ(world.actions_run().size(), 2U) << "neither waits for the other";
  const std::vector<ActionTask> tasks = world.actions_run();
  world.answer(tasks[1], Payload::json("2"));
  world.answer(tasks[0], Payload::json("1"));
  EXPECT_EQ((*world.execute(request))->bytes, "1");
  EXPECT_EQ((*world.execute(other))->bytes, "2");
}

// A key made here may go to a payment provider that remembers those of a store that is gone.
TEST_F(Rules, AnotherStoreMakesOtherIdempotencyKeys) {
  code_ = [](Script& script) -> std::string { return script.run("echo", "1"); };
  std::set<std::string> keys;
  for (int store = 0; store < 2; ++store) {
    World world = make_world(WorldOptions{.seed = static_cast<std::uint64_t>(store) + 1});
    world.register_workflow("Story");
    world.register_action("echo", echo);
    start_until_told(world, start_of("a"));
    world.settle();
    keys.insert(world.actions_run().at(0).idempotency_key);
  }
  EXPECT_EQ(keys.size(), 2U);
}

TEST_F(Rules, AFailureOutsideOfAnExecutionIsTriedAgainAndThenRecorded) {
  World world = make_world();
  int runs = 0;
  world.register_action("Charge", [&runs](const ActionTask&) -> std::variant<Payload, Failure> {
    ++runs;
    Failure failure;
    failure.message = "declined";
    return failure;
  });
  const ExecuteActionRequest request{kTenant, "", "", "charge-1", "charge", Payload::json("{}")};
  EXPECT_FALSE(world.execute(request)) << "it is being tried again";
  world.run_out();
  EXPECT_EQ(runs, 4);
  const auto recorded = world.execute(request);
  ASSERT_TRUE(recorded);
  EXPECT_EQ(recorded->error().code, ErrorCode::action_failed);
  EXPECT_EQ(recorded->error().message, "declined");
  EXPECT_EQ(runs, 4);
}

// rule: 26
TEST_F(Rules, TheBufferOfAnExecutionIsBounded) {
  WorldOptions options;
  options.limits.events_buffered_max = 2;
  World world = make_world(options);
  world.register_workflow("Story");
  start_until_told(world, start_of("a"));
  submit_until_told(world, event_of("a", "Other"));
  submit_until_told(world, event_of("a", "Other"));
  const auto refused = world.submit(event_of("a", "Other"));
  EXPECT_EQ(refused->error().code, ErrorCode::overloaded);
  EXPECT_NE(refused->error().message.find("events_buffered_max"), std::string::npos);
}

// Else what nobody takes would keep an execution from going on for good.
// rules: 10, 26
TEST_F(Rules, AFullBufferKeepsOutNoEventThatTheCodeWaitsFor) {
  for (const bool enqueue : {false, true}) {
    WorldOptions options;
    options.limits.events_buffered_max = 2;
    code_ = [](Script& script) { return script.wait_for({"Go"}).payload.bytes; };
    World world = make_world(options);
    world.register_workflow("Story");
    start_until_told(world, start_of("a"));
    submit_until_told(world, event_of("a", "Other"));
    submit_until_told(world, event_of("a", "Other"));
    EXPECT_EQ(world.submit(event_of("a", "Other"), enqueue)->error().code, ErrorCode::overloaded);
    submit_until_told(world, event_of("a", "Go"), enqueue);
    world.settle();
    EXPECT_EQ(world.state(kTenant, "a").status, "completed");
  }
}

// rules: 10, 26
TEST_F(Rules, AFullBufferKeepsOutWhatAFilterSaysNoTo) {
  WorldOptions options;
  options.limits.events_buffered_max = 2;
  code_ = [](Script& script) {
    const Position third = script.start_filtered(
        "N", [](const ReceivedEvent& event) { return event.payload.bytes == "3"; });
    return script.event(third)->payload.bytes;
  };
  World world = make_world(options);
  world.register_workflow("Story");
  start_until_told(world, start_of("a"));
  const auto number = [](const std::string& n) {
    return EventRequest{kTenant, "a", "N", Payload::json(n), "", ""};
  };
  submit_until_told(world, number("1"));
  submit_until_told(world, number("1"));
  for (int again = 0; again < 3; ++again) {
    EXPECT_EQ(world.submit(number("2"))->error().code, ErrorCode::overloaded);
  }
  EXPECT_TRUE(submit_until_told(world, number("3")).consumed);
  world.settle();
  EXPECT_EQ(world.state(kTenant, "a").status, "completed");
}

// Sends 0 to 9 to "full", which takes them once it was told to, and 1 to "other".
std::string sends_many(Script& script) {
  for (int n = 0; n < 10; ++n) {
    script.emit_event("N", std::to_string(n), "full");
  }
  script.emit_event("N", "1", "other");
  return "1";
}

std::string takes_many(Script& script) {
  script.slept(script.start_sleep(10'000));
  std::string taken;
  for (int n = 0; n < 10; ++n) taken += script.wait_for({"N"}).payload.bytes;
  return '"' + taken + '"';
}

std::string takes_one(Script& script) { return script.wait_for({"N"}).payload.bytes; }

std::size_t in_inbox(const World& world, const std::string& id) {
  const auto& inbox = world.data().inbox;
  return static_cast<std::size_t>(
      std::count_if(inbox.begin(), inbox.end(), [&id](const auto& entry) {
        return entry.second.execution_id == id && entry.second.kind == InboxKind::event &&
               entry.second.status == InboxStatus::pending;
      }));
}

// rule: 26
TEST_F(Rules, EventsOfOthersWaitInTheInboxWhileTheBufferIsFull) {
  constexpr std::uint64_t kStarts = 3;  // commits, of which the test is told how they went
  for (std::uint64_t trouble = 0; trouble < 90; ++trouble) {
    SCOPED_TRACE(trouble);
    WorldOptions options;
    options.limits.events_buffered_max = 4;
    const std::uint64_t commit = trouble / 3;
    if (trouble % 3 == 0) options.crash_before_commit = commit;
    if (trouble % 3 == 1) options.crash_after_commit = commit;
    if (trouble % 3 == 2 && commit > kStarts) options.fail_commit = commit;
    World world(options, [] {
      auto host = std::make_unique<ScriptHost>();
      host->define("Story", takes_many);
      host->define("Sender", sends_many);
      host->define("Other", takes_one);
      return host;
    });
    for (const char* const name : {"Story", "Sender", "Other"}) world.register_workflow(name);
    start_until_told(world, start_of("full"));
    StartRequest other = start_of("other");
    other.workflow = "Other";
    start_until_told(world, other);
    StartRequest sender = start_of("sender");
    sender.workflow = "Sender";
    start_until_told(world, sender);
    world.advance(1'000);
    EXPECT_EQ(world.state(kTenant, "other").result.bytes, "1")
        << "it does not wait for the full one";
    EXPECT_EQ(in_inbox(world, "full"), 6U);
    const auto warned = [&world] {
      return std::count_if(world.logs().begin(), world.logs().end(), [](const LogLine& line) {
        return line.message.find("events_buffered_max") != std::string::npos;
      });
    };
    if (trouble == 0) {
      EXPECT_EQ(warned(), 1);
    }
    for (const ControlVerb verb : {ControlVerb::pause, ControlVerb::resume}) {
      for (bool done = false; !done;) {
        const auto told = world.control(verb, "full");
        done = told && (*told || told->error().code == ErrorCode::wrong_status);
      }
    }
    EXPECT_EQ(in_inbox(world, "full"), 6U);
    if (trouble == 0) {
      EXPECT_EQ(warned(), 1) << "once for each time that it is full";
    }
    world.advance(10'000);
    EXPECT_EQ(world.state(kTenant, "full").result.bytes, "\"0123456789\"");
    EXPECT_EQ(in_inbox(world, "full"), 0U);
    EXPECT_EQ(find_fault(world.data()), std::nullopt);
  }
}

// rule: 26
TEST_F(Rules, TooManyOpenAwaitablesFailTheExecution) {
  code_ = [](Script& script) -> std::string {
    for (int index = 0; index < 4; ++index) script.start_wait({"Go"});
    script.wait_for({"Never"});
    return "1";
  };
  WorldOptions options;
  options.limits.awaitables_pending_max = 3;
  World world = make_world(options);
  world.register_workflow("Story");
  start_until_told(world, start_of("a"));
  EXPECT_EQ(world.state(kTenant, "a").status, "failed");
  EXPECT_EQ(world.state(kTenant, "a").error->code, "awaitables_pending_max");
}

// rule: 6
TEST_F(Rules, EveryRecordNamesTheEventThatLedToIt) {
  code_ = [](Script& script) -> std::string {
    script.wait_for({"Go"});
    script.run("echo", "1");
    script.set_state("after");
    script.wait_for({"Go"});
    return "1";
  };
  World world = make_world();
  world.register_workflow("Story");
  world.register_action("echo", echo);
  start_until_told(world, start_of("a"));
  submit_until_told(world, event_of("a", "Go"));
  const std::vector<HistoryEvent>& history = world.history(kTenant, "a");
  std::int64_t received = 0;
  for (const HistoryEvent& event : history) {
    if (event.type == EventType::event_received) received = event.sequence;
  }
  ASSERT_GT(received, 0);
  for (const HistoryEvent& event : history) {
    EXPECT_EQ(event.cause, event.sequence < received ? 1 : received) << to_string(event.type);
  }
  EXPECT_EQ(world.actions_run().at(0).event_id, "event-1");
  EXPECT_EQ(world.data().results.begin()->second.cause, received);
}

}  // namespace
}  // namespace pawl::testing
