// What a call says of its action beside its parameters: a key of its own, how long it may take over all its
// attempts, how long it may be silent, and how long it waits for somebody to register it.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/four_ways.h"
#include "tests/support/story_parts.h"

namespace pawl::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// The result, or the name of the failure and its message.
std::string told(const std::variant<Payload, Failure>& outcome) {
  if (const auto* const failure = std::get_if<Failure>(&outcome)) {
    return fmt::format("\"{}: {}\"", failure->name, failure->message);
  }
  return std::get<Payload>(outcome).bytes;
}

World::HostMaker runs(const ActionOptions& options, const std::string& name = "act") {
  return host_with([options, name](Script& script) {
    return told(script.action(script.start_action(name, "{}", options)));
  });
}

Failure failure(std::string name, const FailureClass of = FailureClass::transient) {
  Failure made;
  made.name = std::move(name);
  made.message = "it went wrong";
  made.failure_class = of;
  return made;
}

std::string result_of(const World& world, const std::string& id) {
  return world.state(kTenant, id).result.bytes;
}

// ---- failAfter

// rule: 17
TEST(ActionOptions, AnActionThatNobodyRegistersFailsAfterItsTimeWhateverHappensMeanwhile) {
  ActionOptions options;
  options.fail_after = 60'000;
  tell_four_ways({runs(options, "nobody"), [](World& world) { world.register_workflow("Story"); },
                  [](World& world) {
                    start_until_told(world, start_of("a"));
                    world.advance(50'000);
                    EXPECT_FALSE(world.state(kTenant, "a").is_complete);
                    world.advance(10'000);
                  },
                  [](const World& world) {
                    EXPECT_THAT(result_of(world, "a"), HasSubstr("UnknownActionError"));
                    EXPECT_THAT(result_of(world, "a"), HasSubstr("'nobody' within 1m"));
                  }});
}

// rule: 17
TEST(ActionOptions, OneThatIsRegisteredInTimeGoesOnAsEver) {
  ActionOptions options;
  options.fail_after = 60'000;
  World world({}, runs(options));
  world.register_workflow("Story");
  start_until_told(world, start_of("a"));
  world.advance(59'000);
  world.register_action("act", [](const ActionTask&) { return Payload::json("\"done\""); });
  world.settle();
  world.run_out();
  EXPECT_EQ(result_of(world, "a"), "\"done\"");
}

// ---- over all attempts

// rule: 15
TEST(ActionOptions, NoAttemptBeginsThatWouldBeTooLate) {
  ActionOptions options;
  options.total_timeout = 10'000;
  options.retry.emplace().jitter = 0;
  World world({}, runs(options));
  world.register_workflow("Story");
  world.register_action("act", [](const ActionTask&) { return failure("Broken"); });
  start_until_told(world, start_of("a"));
  world.run_out();
  // At 0, 1, 3, 7 s: all four attempts fit.
  EXPECT_EQ(world.actions_run().size(), 4U);
  EXPECT_THAT(result_of(world, "a"), HasSubstr("Broken"));

  options.total_timeout = 7'000;
  World shorter({}, runs(options));
  shorter.register_workflow("Story");
  shorter.register_action("act", [](const ActionTask&) { return failure("Broken"); });
  start_until_told(shorter, start_of("a"));
  const Timestamp begun = shorter.now();
  shorter.run_out();
  EXPECT_EQ(shorter.actions_run().size(), 3U);
  EXPECT_THAT(result_of(shorter, "a"), HasSubstr("Broken")) << "its own failure says more";
  EXPECT_EQ(shorter.now() - begun, 3'000) << "it is not waited for";
}

// rule: 15
TEST(ActionOptions, TheAttemptUnderWayIsGivenUpAndWhatWentWrongBeforeIsTheCause) {
  ActionOptions options;
  options.total_timeout = 5'000;
  World world({}, runs(options));
  world.register_workflow("Story");
  world.register_action(
      "act", [](const ActionTask& task) -> std::optional<std::variant<Payload, Failure>> {
        if (task.attempt == 1) return failure("Broken");
        return std::nullopt;
      });
  start_until_told(world, start_of("a"));
  world.advance(2'000);
  ASSERT_EQ(world.actions_run().size(), 2U);
  world.restart();
  world.settle();
  ASSERT_EQ(world.actions_run().size(), 3U) << "it counts from when it was scheduled";
  world.advance(3'000);
  EXPECT_THAT(result_of(world, "a"),
              HasSubstr("TimeoutError: the action did not come to an end within "
                        "its time-out of 5s"));
  EXPECT_EQ(world.aborts().size(), 1U);
  const auto& history = world.history(kTenant, "a");
  const auto failed = std::find_if(history.begin(), history.end(), [](const HistoryEvent& event) {
    return event.type == EventType::action_failed;
  });
  ASSERT_NE(failed, history.end());
  EXPECT_THAT(failed->payload.bytes, HasSubstr("Broken"));
}

// rules: 15, 22
TEST(ActionOptions, WhileItsExecutionIsPausedItsTimeEndsNothing) {
  ActionOptions options;
  options.total_timeout = 5'000;
  World world({}, runs(options));
  world.register_workflow("Story");
  world.register_action("act",
                        [](const ActionTask&) -> std::optional<std::variant<Payload, Failure>> {
                          return std::nullopt;
                        });
  start_until_told(world, start_of("a"));
  ASSERT_TRUE(world.control(ControlVerb::pause, "a"));
  world.advance(20'000);
  EXPECT_EQ(world.state(kTenant, "a").status, "paused");
  EXPECT_EQ(types_of(world.history(kTenant, "a")).back(), "ExecutionPaused");
  ASSERT_TRUE(world.control(ControlVerb::resume, "a"));
  world.settle();
  EXPECT_THAT(result_of(world, "a"), HasSubstr("within its time-out of 5s over all attempts"))
      << "the attempt that is under way all the time is given up";
}

// Each time the one that went wrong is called by a workflow that fails with it.
World::HostMaker fails_with(const ActionOptions& options) {
  return host_with([options](Script& script) {
    const auto outcome = script.action(script.start_action("act", "{}", options));
    if (const auto* const failure = std::get_if<Failure>(&outcome)) throw Failure(*failure);
    return std::get<Payload>(outcome).bytes;
  });
}

// rules: 15, 22
TEST(ActionOptions, ARetryOfTheExecutionGivesTheActionAllItsTimeAgain) {
  ActionOptions options;
  options.total_timeout = 5'000;
  World world({}, fails_with(options));
  ActionTask task;
  world.register_workflow("Story");
  world.register_action(
      "act", [&task](const ActionTask& given) -> std::optional<std::variant<Payload, Failure>> {
        task = given;
        return std::nullopt;
      });
  start_until_told(world, start_of("a"));
  world.beat(task, Payload::json("7"));
  world.advance(5'000);
  ASSERT_EQ(world.state(kTenant, "a").status, "failed");
  world.advance(60'000);
  ASSERT_TRUE(world.control(ControlVerb::retry, "a"));
  world.advance(4'000);
  ASSERT_EQ(world.state(kTenant, "a").status, "running");
  EXPECT_EQ(world.actions_run().size(), 2U);
  world.restart();
  world.settle();
  world.answer(task, Payload::json("1"));
  EXPECT_EQ(result_of(world, "a"), "1");
}

// rules: 17, 22
TEST(ActionOptions, ARetryOfTheExecutionWaitsAnewForTheRegistration) {
  ActionOptions options;
  options.fail_after = 60'000;
  World world({}, fails_with(options));
  world.register_workflow("Story");
  start_until_told(world, start_of("a"));
  world.advance(60'000);
  ASSERT_EQ(world.state(kTenant, "a").status, "failed");
  ASSERT_TRUE(world.control(ControlVerb::retry, "a"));
  world.advance(59'000);
  EXPECT_EQ(world.state(kTenant, "a").status, "running");
  world.register_action("act", [](const ActionTask&) { return Payload::json("1"); });
  world.settle();
  EXPECT_EQ(result_of(world, "a"), "1");
}

// rules: 15, 22
TEST(ActionOptions, AForkGivesTheActionAllItsTimeAgain) {
  ActionOptions options;
  options.total_timeout = 5'000;
  World world({}, runs(options));
  ActionTask task;
  world.register_workflow("Story");
  world.register_action(
      "act", [&task](const ActionTask& given) -> std::optional<std::variant<Payload, Failure>> {
        task = given;
        return std::nullopt;
      });
  start_until_told(world, start_of("a"));
  world.advance(60'000);
  ASSERT_TRUE(world.state(kTenant, "a").is_complete);
  const auto& history = world.history(kTenant, "a");
  const auto scheduled = std::find_if(
      history.begin(), history.end(),
      [](const HistoryEvent& event) { return event.type == EventType::action_scheduled; });
  ASSERT_TRUE(world.fork("a", "fork", scheduled->sequence));
  world.advance(4'000);
  ASSERT_FALSE(world.state(kTenant, "fork").is_complete);
  world.answer(task, Payload::json("1"));
  EXPECT_EQ(result_of(world, "fork"), "1");
}

// rule: 15
TEST(ActionOptions, OutsideOfWorkflowsTheTimeOverAllAttemptsEndsTheOneUnderWayToo) {
  ActionOptions options;
  options.total_timeout = 5'000;
  World world({}, runs({}));
  world.register_action(
      "act",
      [](const ActionTask& task) -> std::optional<std::variant<Payload, Failure>> {
        if (task.attempt == 1) return failure("Broken");
        return std::nullopt;
      },
      options);
  ExecuteActionRequest request;
  request.tenant = kTenant;
  request.idempotency_key = "k";
  request.name = "act";
  request.parameters = Payload::json("{}");
  ASSERT_FALSE(world.execute(request));
  const Timestamp begun = world.now();
  world.run_out();
  EXPECT_EQ(world.now() - begun, 5'000);
  EXPECT_EQ(world.aborts().size(), 1U);
  const auto told = world.execute(request);
  ASSERT_TRUE(told && !*told);
  EXPECT_THAT(told->error().message, HasSubstr("within its time-out"));
}

// rule: 15
TEST(ActionOptions, OneThatIsRegisteredAnewWithoutATimeOutGoesOn) {
  ActionOptions options;
  options.total_timeout = 5'000;
  World world({}, runs({}));
  ActionTask task;
  const auto silent =
      [&task](const ActionTask& given) -> std::optional<std::variant<Payload, Failure>> {
    task = given;
    return std::nullopt;
  };
  world.register_action("act", silent, options);
  ExecuteActionRequest request;
  request.tenant = kTenant;
  request.idempotency_key = "k";
  request.name = "act";
  request.parameters = Payload::json("{}");
  ASSERT_FALSE(world.execute(request));
  world.register_action("act", silent);
  world.advance(5'000);
  EXPECT_TRUE(world.aborts().empty());
  world.answer(task, Payload::json("1"));
  const auto told = world.execute(request);
  ASSERT_TRUE(told && *told);
}

// It was loaded for the time of its retry, which had come, again and again.
// rule: 15
TEST(ActionOptions, AnExecutionThatWasPutAwayWhileARetryRunsIsLeftInPeace) {
  WorldOptions options;
  options.limits.executions_cached_max = 0;
  World world(options, runs({}));
  ActionTask second;
  world.register_workflow("Story");
  world.register_action(
      "act", [&second](const ActionTask& task) -> std::optional<std::variant<Payload, Failure>> {
        if (task.attempt == 1) return failure("Broken");
        second = task;
        return std::nullopt;
      });
  start_until_told(world, start_of("a"));
  world.advance(2'000);
  ASSERT_EQ(world.actions_run().size(), 2U);
  world.submit(event_of("a", "Unwanted", "1"), true);  // which loads it
  world.answer(second, Payload::json("1"));
  EXPECT_EQ(result_of(world, "a"), "1");
}

// ---- heartbeats

class Heartbeats : public ::testing::Test {
 protected:
  void SetUp() override {
    options_.heartbeat_timeout = 1'000;
    options_.retry.emplace().initial_interval = 100;
    world_ = std::make_unique<World>(WorldOptions{}, runs(options_));
    world_->register_workflow("Story");
    world_->register_action(
        "act", [this](const ActionTask& task) -> std::optional<std::variant<Payload, Failure>> {
          task_ = task;
          return std::nullopt;
        });
    start_until_told(*world_, start_of("a"));
  }
  void beat(const std::string& progress = "") { world_->beat(task_, Payload::json(progress)); }

  ActionOptions options_;
  std::unique_ptr<World> world_;
  ActionTask task_;
};

// rule: 15
TEST_F(Heartbeats, AnAttemptIsGivenUpWhenItIsSilentForTooLong) {
  EXPECT_EQ(task_.heartbeat_timeout, 1'000);
  for (int i = 1; i <= 5; ++i) {
    world_->advance(900);
    beat(std::to_string(i));
  }
  EXPECT_EQ(task_.attempt, 1);
  EXPECT_TRUE(task_.progress.is_none());
  world_->advance(900);
  beat();  // alive, and no further
  world_->advance(1'000);
  world_->advance(200);
  EXPECT_EQ(world_->aborts().size(), 1U);
  ASSERT_EQ(task_.attempt, 2);
  EXPECT_EQ(task_.progress.bytes, "5") << "the next one begins where it was";
  const auto& history = world_->history(kTenant, "a");
  EXPECT_EQ(history.back().type, EventType::action_attempt_failed);
  EXPECT_THAT(history.back().payload.bytes,
              HasSubstr("silent for longer than its heartbeat time-out of 1s"));
  world_->answer(task_, Payload::json("\"done\""));
  world_->settle();
  EXPECT_EQ(result_of(*world_, "a"), "\"done\"");
}

// rule: 15
TEST_F(Heartbeats, WhatWasToldBeforeAFailureIsKnownAfterARestart) {
  beat(R"({"row":7})");
  world_->answer(task_, failure("Broken"));
  world_->advance(200);
  ASSERT_EQ(task_.attempt, 2);
  EXPECT_EQ(task_.progress.bytes, R"({"row":7})");
  beat("8");
  world_->restart();
  world_->settle();
  ASSERT_EQ(task_.attempt, 2);
  EXPECT_EQ(task_.progress.bytes, R"({"row":7})") << "the last that is recorded";
}

// ---- how many at once

class ActionsAtOnce : public ::testing::Test {
 protected:
  // Leaves all attempts without an answer, in the order in which they began.
  void open(const ActionOptions& registered, const Limits& limits = {}) {
    WorldOptions options;
    options.limits = limits;
    world_ =
        std::make_unique<World>(options, host_with([](Script& script) {
                                  const int count = std::stoi(script.started().input.bytes);
                                  std::vector<Position> all;
                                  for (int i = 0; i < count; ++i) {
                                    all.push_back(script.start_action("act", std::to_string(i)));
                                    all.push_back(script.start_action("free", std::to_string(i)));
                                  }
                                  for (const Position each : all) script.action(each);
                                  return std::string("null");
                                }));
    world_->register_workflow("Story");
    const ActionFunction keep =
        [this](const ActionTask& task) -> std::optional<std::variant<Payload, Failure>> {
      (task.name == "act" ? held_ : free_).push_back(task);
      return std::nullopt;
    };
    world_->register_action("act", keep, registered);
    world_->register_action("free", keep);
  }
  void start(const std::string& id, const int count, const std::string& tenant = kTenant) {
    StartRequest request = start_of(id, std::to_string(count));
    request.tenant = tenant;
    ASSERT_TRUE(world_->start(request));
    world_->settle();
  }

  std::unique_ptr<World> world_;
  std::vector<ActionTask> held_;
  std::vector<ActionTask> free_;
};

// rule: 26
TEST_F(ActionsAtOnce, ANameHasSoManyPlacesAndKeepsNoOtherWaiting) {
  ActionOptions two;
  two.concurrency_max = 2;
  open(two);
  start("a", 5);
  EXPECT_EQ(held_.size(), 2U);
  EXPECT_EQ(free_.size(), 5U);
  EXPECT_EQ(world_->shard().counters().actions_waiting, 3U);
  EXPECT_EQ(world_->shard().counters().actions_in_flight, 7U);
  world_->answer(held_[0], Payload{});
  EXPECT_EQ(held_.size(), 3U);
  EXPECT_EQ(held_[2].parameters.bytes, "2") << "in the order in which they came";
  // One that is given up gives its place back.
  ASSERT_TRUE(world_->control(ControlVerb::terminate, "a"));
  start("b", 3);
  EXPECT_EQ(held_.size(), 5U);
  for (std::size_t i = 3; i < held_.size(); ++i) world_->answer(held_[i], Payload{});
  EXPECT_EQ(held_.size(), 6U);
}

// rule: 26
TEST_F(ActionsAtOnce, SoManyBeginWithinATime) {
  ActionOptions limited;
  limited.rate_limit = RateLimit{3, 1'000};
  open(limited);
  start("a", 10);
  EXPECT_EQ(held_.size(), 3U);
  EXPECT_EQ(free_.size(), 10U);
  world_->advance(999);
  EXPECT_EQ(held_.size(), 3U);
  world_->advance(1);
  EXPECT_EQ(held_.size(), 6U);
  // Those that come later have their own time.
  world_->advance(600);
  EXPECT_EQ(held_.size(), 6U);
  world_->advance(400);
  EXPECT_EQ(held_.size(), 9U);
  world_->advance(1'000);
  EXPECT_EQ(held_.size(), 10U);
  world_->advance(700);
  start("b", 4);
  EXPECT_EQ(held_.size(), 12U) << "one of the last second";
  world_->advance(300);
  EXPECT_EQ(held_.size(), 13U) << "which is over";
  world_->advance(700);
  EXPECT_EQ(held_.size(), 14U);
  EXPECT_EQ(world_->shard().counters().actions_waiting, 0U);
}

// rule: 26
TEST_F(ActionsAtOnce, TenantsTakeTurnsWhateverOneOfThemHasAskedFor) {
  Limits limits;
  limits.actions_in_flight_max = 4;
  open({}, limits);
  start("a", 50);
  ASSERT_EQ(world_->actions_run().size(), 4U);
  start("b", 2, "other");
  start("c", 2, "third");
  EXPECT_EQ(world_->actions_run().size(), 4U);
  for (std::size_t i = 0; i < 6; ++i) world_->answer(world_->actions_run()[i], Payload{});
  std::vector<std::string> tenants;
  for (std::size_t i = 4; i < 10; ++i) tenants.push_back(world_->actions_run()[i].tenant);
  EXPECT_EQ(tenants,
            (std::vector<std::string>{"other", "third", "acme", "other", "third", "acme"}));
}

// rule: 26
TEST_F(ActionsAtOnce, ATenantHasSoManyPlaces) {
  Limits limits;
  limits.actions_in_flight_per_tenant_max = 3;
  open({}, limits);
  start("a", 5);
  EXPECT_EQ(world_->actions_run().size(), 3U);
  start("b", 5, "other");
  EXPECT_EQ(world_->actions_run().size(), 6U);
  world_->answer(world_->actions_run()[0], Payload{});
  EXPECT_EQ(world_->actions_run().size(), 7U);
  EXPECT_EQ(world_->actions_run()[6].tenant, "acme");
}

// ---- keys

constexpr const char* kKey = "charge-7";

// Their input is what they give it.
World::HostMaker runs_keyed() {
  return host_with([](Script& script) {
    ActionOptions options;
    options.idempotency_key = kKey;
    return told(script.action(script.start_action("act", script.started().input.bytes, options)));
  });
}

// Answers with how often it has been run.
ActionFunction counts(const std::shared_ptr<int>& runs) {
  return [runs](const ActionTask&) { return Payload::json(std::to_string(++*runs)); };
}

ExecuteActionRequest execute_under_key() {
  ExecuteActionRequest request;
  request.tenant = kTenant;
  request.idempotency_key = kKey;
  request.name = "act";
  request.parameters = Payload::json("{}");
  return request;
}

// rules: 14, 16
TEST(KeyedActions, HaveOneOutcomeForAllThatCallThem) {
  const auto count = std::make_shared<std::map<const World*, int>>();
  tell_four_ways({runs_keyed(),
                  [count](World& world) {
                    world.register_workflow("Story");
                    world.register_action("act", [](const ActionTask& task) {
                      EXPECT_EQ(task.idempotency_key, kKey);
                      return std::variant<Payload, Failure>(Payload::json("7"));
                    });
                  },
                  [](World& world) {
                    start_until_told(world, start_of("a"));
                    start_until_told(world, start_of("b"));
                  },
                  [](const World& world) {
                    EXPECT_EQ(result_of(world, "a"), "7");
                    EXPECT_EQ(result_of(world, "b"), "7");
                    EXPECT_EQ(world.data().results_by_key.size(), 1U);
                  }});
}

class KeyedActionsOf : public ::testing::Test {
 protected:
  void SetUp() override {
    world_ = std::make_unique<World>(WorldOptions{}, runs_keyed());
    world_->register_workflow("Story");
  }
  // Leaves its attempts without an answer, and keeps the latest.
  void hold() {
    world_->register_action(
        "act", [this](const ActionTask& task) -> std::optional<std::variant<Payload, Failure>> {
          task_ = task;
          return std::nullopt;
        });
  }

  const std::shared_ptr<int> count_ = std::make_shared<int>(0);
  std::unique_ptr<World> world_;
  ActionTask task_;
};

// rule: 14
TEST_F(KeyedActionsOf, TheSecondOneWaitsForTheFirstAndRunsNothing) {
  hold();
  start_until_told(*world_, start_of("a"));
  start_until_told(*world_, start_of("b"));
  world_->settle();
  EXPECT_EQ(world_->actions_run().size(), 1U);
  world_->answer(task_, Payload::json("5"));
  world_->settle();
  EXPECT_EQ(result_of(*world_, "a"), "5");
  EXPECT_EQ(result_of(*world_, "b"), "5");
  const auto outside = world_->execute(execute_under_key());
  ASSERT_TRUE(outside && *outside);
  EXPECT_EQ((*outside)->bytes, "5");
  EXPECT_EQ(world_->actions_run().size(), 1U);
}

// rule: 14
TEST_F(KeyedActionsOf, AfterARestartOneOfThemRunsForBoth) {
  hold();
  start_until_told(*world_, start_of("a"));
  start_until_told(*world_, start_of("b"));
  world_->settle();
  world_->restart();
  world_->settle();
  EXPECT_EQ(world_->actions_run().size(), 2U) << "one before the crash, one after it";
  world_->answer(task_, Payload::json("5"));
  world_->settle();
  EXPECT_EQ(result_of(*world_, "a"), "5");
  EXPECT_EQ(result_of(*world_, "b"), "5");
}

// rules: 14, 22
TEST_F(KeyedActionsOf, ItGoesOnWhileAnybodyWaitsForIt) {
  hold();
  start_until_told(*world_, start_of("a"));
  start_until_told(*world_, start_of("b"));
  world_->settle();
  ASSERT_TRUE(world_->control(ControlVerb::terminate, "a"));
  world_->settle();
  EXPECT_TRUE(world_->aborts().empty());
  world_->answer(task_, Payload::json("5"));
  world_->settle();
  EXPECT_EQ(result_of(*world_, "b"), "5");
}

// rules: 14, 22
TEST_F(KeyedActionsOf, WhatNobodyWaitsForIsCalledOffAndRunsForTheNextWhoAsks) {
  hold();
  start_until_told(*world_, start_of("a"));
  world_->settle();
  ASSERT_TRUE(world_->control(ControlVerb::terminate, "a"));
  world_->settle();
  EXPECT_EQ(world_->aborts().size(), 1U);
  start_until_told(*world_, start_of("b"));
  world_->settle();
  EXPECT_EQ(world_->actions_run().size(), 2U);
  world_->answer(task_, Payload::json("5"));
  world_->settle();
  EXPECT_EQ(result_of(*world_, "b"), "5");
}

// rule: 14
TEST_F(KeyedActionsOf, OtherParametersUnderTheKeyAreAnError) {
  hold();
  start_until_told(*world_, start_of("a"));
  start_until_told(*world_, start_of("b", R"({"other":1})"));
  world_->settle();
  EXPECT_THAT(result_of(*world_, "b"), HasSubstr("AlreadyExistsError")) << "while it runs";
  world_->answer(task_, Payload::json("5"));
  world_->settle();
  start_until_told(*world_, start_of("b2"));
  world_->settle();
  EXPECT_EQ(result_of(*world_, "b2"), "5");
  World other({}, runs_keyed());
  other.register_workflow("Story");
  other.register_action("act", counts(count_));
  ExecuteActionRequest before = execute_under_key();
  before.parameters = Payload::json(R"({"other":2})");
  ASSERT_TRUE(other.execute(before));
  start_until_told(other, start_of("a"));
  other.settle();
  EXPECT_THAT(result_of(other, "a"), HasSubstr("AlreadyExistsError")) << "when it is recorded";
}

// rules: 14, 15
TEST_F(KeyedActionsOf, FailuresAreTriedAgainAndStay) {
  world_->register_action("act", [this](const ActionTask& task) -> std::variant<Payload, Failure> {
    ++*count_;
    return failure("Broken", task.attempt < 3 ? FailureClass::transient : FailureClass::permanent);
  });
  start_until_told(*world_, start_of("a"));
  world_->run_out();
  EXPECT_THAT(result_of(*world_, "a"), HasSubstr("Broken"));
  EXPECT_EQ(*count_, 3);
  start_until_told(*world_, start_of("b"));
  world_->run_out();
  EXPECT_THAT(result_of(*world_, "b"), HasSubstr("Broken"));
  EXPECT_EQ(*count_, 3);
}

// rules: 14, 22
TEST_F(KeyedActionsOf, NoAttemptBeginsWhileAllThatWaitArePaused) {
  world_->register_action("act", [this](const ActionTask&) -> std::variant<Payload, Failure> {
    if (++*count_ < 3) return failure("Broken");
    return Payload::json("5");
  });
  start_until_told(*world_, start_of("a"));
  start_until_told(*world_, start_of("b"));
  world_->settle();
  EXPECT_EQ(*count_, 1);
  ASSERT_TRUE(world_->control(ControlVerb::pause, "a"));
  world_->advance(1'500);
  EXPECT_EQ(*count_, 2) << "the other one goes on";
  ASSERT_TRUE(world_->control(ControlVerb::pause, "b"));
  world_->advance(60'000);
  EXPECT_EQ(*count_, 2);
  ASSERT_TRUE(world_->control(ControlVerb::resume, "a"));
  ASSERT_TRUE(world_->control(ControlVerb::resume, "b"));
  world_->run_out();
  EXPECT_EQ(result_of(*world_, "a"), "5");
  EXPECT_EQ(result_of(*world_, "b"), "5");
  EXPECT_EQ(*count_, 3);
}

// rules: 14, 22
TEST_F(KeyedActionsOf, OneThatRunsWhenAllArePausedEndsAndIsRecorded) {
  hold();
  start_until_told(*world_, start_of("a"));
  world_->settle();
  ASSERT_TRUE(world_->control(ControlVerb::pause, "a"));
  world_->answer(task_, Payload::json("5"));
  world_->settle();
  EXPECT_EQ(world_->data().results_by_key.size(), 1U);
  EXPECT_EQ(world_->state(kTenant, "a").status, "paused");
  world_->restart();
  ASSERT_TRUE(world_->control(ControlVerb::resume, "a"));
  world_->settle();
  EXPECT_EQ(result_of(*world_, "a"), "5");
  EXPECT_EQ(world_->actions_run().size(), 1U);
}

// rules: 14, 22
TEST_F(KeyedActionsOf, AForkHasTheSameOutcomeAndSoHasARetry) {
  hold();
  start_until_told(*world_, start_of("a"));
  world_->settle();
  ASSERT_TRUE(world_->fork("a", "fork"));
  world_->settle();
  EXPECT_EQ(world_->actions_run().size(), 1U) << "the fork waits for the one that runs";
  world_->answer(task_, failure("Broken", FailureClass::permanent));
  world_->settle();
  EXPECT_THAT(result_of(*world_, "a"), HasSubstr("Broken"));
  EXPECT_THAT(result_of(*world_, "fork"), HasSubstr("Broken"));

  World failing({}, host_with([](Script& script) -> std::string {
                  ActionOptions options;
                  options.idempotency_key = kKey;
                  const auto outcome = script.action(script.start_action("act", "{}", options));
                  if (const auto* const known = std::get_if<Failure>(&outcome))
                    throw Failure(*known);
                  return std::get<Payload>(outcome).bytes;
                }));
  failing.register_workflow("Story");
  failing.register_action("act", [this](const ActionTask&) -> std::variant<Payload, Failure> {
    ++*count_;
    return failure("Broken", FailureClass::permanent);
  });
  start_until_told(failing, start_of("a"));
  failing.settle();
  ASSERT_EQ(failing.state(kTenant, "a").status, "failed");
  ASSERT_TRUE(failing.control(ControlVerb::retry, "a"));
  failing.run_out();
  EXPECT_EQ(failing.state(kTenant, "a").status, "failed") << "what is recorded under the key stays";
  EXPECT_EQ(*count_, 1);
}

// rules: 14, 16
TEST(KeyedActionsOfGraphs, AreOneActionWithThoseOfOtherGraphs) {
  GraphAction charge;
  charge.id = "charge";
  charge.name = "act";
  charge.parameters = Payload::json("{}");
  charge.options.idempotency_key = kKey;
  GraphAction again = charge;
  again.id = "again";
  const auto count = std::make_shared<int>(0);
  World world({}, host_with([charge, again](Script& script) {
                return std::get<Payload>(script.action(script.start_graph({charge, again}))).bytes;
              }));
  world.register_workflow("Story");
  world.register_action("act", counts(count));
  start_until_told(world, start_of("a"));
  start_until_told(world, start_of("b"));
  world.settle();
  EXPECT_EQ(*count, 1);
  for (const char* const id : {"a", "b"}) {
    EXPECT_EQ(result_of(world, id),
              R"([{"actionId":"charge","actionName":"act","success":true,"result":1,"attempts":1},)"
              R"({"actionId":"again","actionName":"act","success":true,"result":1,"attempts":1}])");
  }
}

// rule: 14
TEST(KeyedActionsOfFailingStores, AskAgainWhenACommitWasLost) {
  for (std::uint64_t commit = 1; commit <= 6; ++commit) {
    SCOPED_TRACE(commit);
    const auto count = std::make_shared<int>(0);
    WorldOptions options;
    options.fail_commit = commit;
    World world(options, runs_keyed());
    world.register_workflow("Story");
    world.register_action("act", counts(count));
    for (const char* const id : {"a", "b"}) {
      start_until_told(world, start_of(id));
    }
    world.run_out();
    EXPECT_EQ(result_of(world, "a"), result_of(world, "b"));
    EXPECT_THAT(result_of(world, "a"), Not(HasSubstr("Error")));
  }
}

}  // namespace
}  // namespace pawl::testing
