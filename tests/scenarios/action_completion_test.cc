// Actions that end elsewhere than in their handlers: completed by their token, once, over restarts, pauses and forks.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/completion_token.h"
#include "tests/support/four_ways.h"
#include "tests/support/story_parts.h"

namespace pawl::testing {
namespace {

using ::testing::HasSubstr;

World::HostMaker runs_one(const ActionOptions& options = {}) {
  return host_with([options](Script& script) {
    const auto outcome = script.action(script.start_action("sign", "{}", options));
    if (const auto* const failure = std::get_if<Failure>(&outcome)) {
      return fmt::format("\"{}: {}\"", failure->name, failure->message);
    }
    return std::get<Payload>(outcome).bytes;
  });
}

class Completion : public ::testing::Test {
 protected:
  void SetUp() override { open({}, runs_one()); }
  void open(const WorldOptions& options, World::HostMaker host) {
    world_ = std::make_unique<World>(options, std::move(host));
    world_->register_workflow("Story");
    world_->register_action(
        "sign", [this](const ActionTask& task) -> std::optional<std::variant<Payload, Failure>> {
          task_ = task;
          return std::nullopt;
        });
    start_until_told(*world_, start_of("a"));
  }
  std::string token() const { return completion_token(task_); }
  ErrorCode refusal(const std::string& with, const char* const result = "2") {
    const auto told = world_->complete(with, Payload::json(result));
    EXPECT_TRUE(told && !*told);
    return told && !*told ? told->error().code : ErrorCode::internal;
  }
  void complete(const char* const result = "1") {
    const auto told = world_->complete(token(), Payload::json(result));
    ASSERT_TRUE(told && *told) << (told ? told->error().message : "not told");
    EXPECT_EQ((*told)->execution_id, "a");
  }
  std::string result(const std::string& id = "a") const {
    return world_->state(kTenant, id).result.bytes;
  }

  std::unique_ptr<World> world_;
  ActionTask task_;
};

// rule: 14
TEST_F(Completion, ByItsTokenIsTheActionsOutcomeAndOnlyTheFirstIs) {
  world_->defer(task_);
  EXPECT_EQ(world_->history(kTenant, "a").back().type, EventType::action_deferred);
  world_->advance(3'600'000);
  EXPECT_FALSE(world_->state(kTenant, "a").is_complete) << "no attempt's time-out counts";
  complete();
  EXPECT_EQ(result(), "1");
  EXPECT_EQ(refusal(token()), ErrorCode::execution_ended);
}

// rule: 14
TEST_F(Completion, NoAttemptIsMadeAfterARestart) {
  world_->defer(task_);
  const std::string before = token();
  world_->restart();
  world_->settle();
  EXPECT_EQ(world_->actions_run().size(), 1U);
  EXPECT_EQ(token(), before);
  complete();
  EXPECT_EQ(result(), "1");
}

// rule: 14
TEST_F(Completion, MayComeBeforeTheHandlerHasReturned) {
  complete();
  EXPECT_EQ(result(), "1");
  EXPECT_EQ(world_->aborts().size(), 1U);
  world_->defer(task_);
  world_->answer(task_, Payload::json("2"));
  EXPECT_EQ(result(), "1");
}

// rules: 14, 15
TEST_F(Completion, AFailureFromElsewhereIsNotTriedAgain) {
  world_->defer(task_);
  Failure failure;
  failure.name = "Declined";
  failure.message = "not this one";
  const auto told = world_->complete(token(), failure);
  ASSERT_TRUE(told && *told);
  world_->run_out();
  EXPECT_EQ(result(), "\"Declined: not this one\"");
  EXPECT_EQ(world_->actions_run().size(), 1U);
}

// rule: 15
TEST_F(Completion, TheTimeOverAllAttemptsGoesOn) {
  ActionOptions options;
  options.total_timeout = 60'000;
  open({}, runs_one(options));
  world_->defer(task_);
  world_->restart();
  world_->settle();
  world_->advance(60'000);
  EXPECT_THAT(result(), HasSubstr("TimeoutError"));
}

// rules: 14, 22
TEST_F(Completion, IsRecordedWhileItsExecutionIsPaused) {
  world_->defer(task_);
  ASSERT_TRUE(world_->control(ControlVerb::pause, "a"));
  complete();
  EXPECT_EQ(refusal(token()), ErrorCode::wrong_status) << "it has an outcome";
  world_->restart();
  ASSERT_TRUE(world_->control(ControlVerb::resume, "a"));
  world_->settle();
  EXPECT_EQ(result(), "1");
}

// rules: 14, 22
TEST_F(Completion, AForkRunsItItself) {
  world_->defer(task_);
  const std::string original = token();
  ASSERT_TRUE(world_->fork("a", "fork"));
  world_->settle();
  EXPECT_EQ(world_->actions_run().size(), 2U);
  EXPECT_NE(token(), original);
  const auto told = world_->complete(original, Payload::json("1"));
  ASSERT_TRUE(told && *told);
  EXPECT_EQ(result(), "1");
  EXPECT_FALSE(world_->state(kTenant, "fork").is_complete);
  world_->answer(task_, Payload::json("3"));
  EXPECT_EQ(result("fork"), "3");
}

// rules: 14, 22
TEST_F(Completion, OneThatFailedRunsAgainWhereItsExecutionIsRetried) {
  open({}, host_with([](Script& script) { return script.run("sign", "{}"); }));
  world_->defer(task_);
  const std::string original = token();
  ASSERT_TRUE(world_->complete(original, Failure{}));
  world_->settle();
  EXPECT_EQ(world_->state(kTenant, "a").status, "failed");
  const std::size_t before = world_->actions_run().size();
  ASSERT_TRUE(world_->control(ControlVerb::retry, "a"));
  world_->settle();
  EXPECT_EQ(world_->actions_run().size(), before + 1);
  EXPECT_NE(token(), original);
  EXPECT_EQ(refusal(original), ErrorCode::wrong_status);
  world_->defer(task_);
  world_->restart();
  complete();
  EXPECT_EQ(result(), "1");
}

// rule: 25
TEST_F(Completion, WhatIsNoTokenOfThisTenantIsRefused) {
  world_->defer(task_);
  const std::string own = token();
  EXPECT_EQ(refusal(own.substr(0, own.find('@')) + "@other"), ErrorCode::unknown_execution);
  std::string guessed = own;
  guessed[own.find('@') - 1] = guessed[own.find('@') - 1] == '0' ? '1' : '0';
  EXPECT_EQ(refusal(guessed), ErrorCode::unknown_execution);
  EXPECT_EQ(refusal("77" + own), ErrorCode::unknown_execution);
  for (const char* const text :
       {"", "1", "1:2", "1:2:zz@acme", "1:2:0af@", ":2:0a@acme", "0:1:a@acme", "1:2:a:@acme",
        "1:2:a:b@acme", "99999999999999999999:1:a@acme"}) {
    const auto told = world_->complete(text, Payload{});
    ASSERT_TRUE(told && !*told) << text;
    EXPECT_EQ(told->error().code, ErrorCode::invalid_argument) << text;
  }
  complete();
  EXPECT_EQ(result(), "1");
}

// rules: 1, 14
TEST(CompletionOfLostCommits, IsToldOnlyOnceItIsDurable) {
  for (std::uint64_t commit = 1; commit <= 5; ++commit) {
    for (const bool after : {false, true}) {
      SCOPED_TRACE(fmt::format("{} commit {}", after ? "after" : "before", commit));
      WorldOptions options;
      (after ? options.crash_after_commit : options.crash_before_commit) = commit;
      World world(options, runs_one());
      ActionTask task;
      world.register_workflow("Story");
      world.register_action(
          "sign",
          [&task](const ActionTask& given) -> std::optional<std::variant<Payload, Failure>> {
            task = given;
            return std::nullopt;
          });
      start_until_told(world, start_of("a"));
      world.settle();
      world.defer(task);
      world.settle();
      // Asked until it is told: that it is done, or that it was.
      for (;;) {
        const auto told = world.complete(completion_token(task), Payload::json("1"));
        world.settle();
        if (!told) continue;
        EXPECT_TRUE(*told || told->error().code == ErrorCode::execution_ended ||
                    told->error().code == ErrorCode::wrong_status);
        break;
      }
      world.run_out();
      EXPECT_EQ(world.state(kTenant, "a").result.bytes, "1");
    }
  }
}

// rules: 14, 16
TEST(CompletionOfGraphs, LetsTheirOthersBegin) {
  GraphAction sign;
  sign.id = "sign";
  sign.name = "sign";
  sign.parameters = Payload::json("{}");
  GraphAction send = sign;
  send.id = "send";
  send.name = "echo";
  send.depends_on = {"sign"};
  World world({}, host_with([sign, send](Script& script) {
                return std::get<Payload>(script.action(script.start_graph({sign, send}))).bytes;
              }));
  ActionTask task;
  world.register_workflow("Story");
  world.register_action("echo", echo);
  world.register_action(
      "sign", [&task](const ActionTask& given) -> std::optional<std::variant<Payload, Failure>> {
        task = given;
        return std::nullopt;
      });
  start_until_told(world, start_of("a"));
  world.defer(task);
  world.restart();
  world.settle();
  EXPECT_EQ(world.actions_run().size(), 1U);
  const auto told = world.complete(completion_token(task), Payload::json("\"ann\""));
  ASSERT_TRUE(told && *told);
  EXPECT_EQ(
      world.state(kTenant, "a").result.bytes,
      R"([{"actionId":"sign","actionName":"sign","success":true,"result":"ann","attempts":1},)"
      R"({"actionId":"send","actionName":"echo","success":true,"result":{},"attempts":1}])");
}

// A graph whose first action ends at once, so that its commit is under way when those of the second are completed.
class CompletionOfBusyGraphs : public ::testing::Test {
 protected:
  void tell(const std::function<void(World&, const std::string& token)>& meanwhile) {
    GraphAction quick;
    quick.id = "quick";
    quick.name = "echo";
    quick.parameters = Payload::json("{}");
    GraphAction sign = quick;
    sign.id = "sign";
    sign.name = "sign";
    world_ = std::make_unique<World>(
        WorldOptions{}, host_with([quick, sign](Script& script) {
          return std::get<Payload>(script.action(script.start_graph({quick, sign}))).bytes;
        }));
    world_->register_workflow("Story");
    world_->register_action("echo", echo);
    world_->register_deferred_action("sign", [this, meanwhile](const ActionTask& task) {
      meanwhile(*world_, completion_token(task));
    });
    start_until_told(*world_, start_of("a"));
    world_->settle();
  }

  std::unique_ptr<World> world_;
};

// rules: 14, 16
TEST_F(CompletionOfBusyGraphs, WhoeverComesSecondIsToldSo) {
  RequestId first = 0;
  RequestId second = 0;
  tell([&](World& world, const std::string& token) {
    first = world.ask_to_complete(token, Payload::json("1"));
    second = world.ask_to_complete(token, Payload::json("2"));
  });
  const auto told = world_->told(first);
  ASSERT_TRUE(told && *told);
  const auto refused = world_->told(second);
  ASSERT_TRUE(refused && !*refused);
  EXPECT_EQ(refused->error().code, ErrorCode::wrong_status);
  EXPECT_THAT(world_->state(kTenant, "a").result.bytes, HasSubstr(R"("result":1)"));
}

// rules: 14, 22
TEST_F(CompletionOfBusyGraphs, WhoeverComesBeforeAnEndThatGoesFirstIsToldSo) {
  RequestId asked = 0;
  tell([&](World& world, const std::string& token) {
    asked = world.ask_to_complete(token, Payload::json("1"));
    world.ask_for(ControlVerb::terminate, "a");
  });
  EXPECT_EQ(world_->state(kTenant, "a").status, "terminated");
  ASSERT_TRUE(world_->told(asked));
}

}  // namespace
}  // namespace pawl::testing
