// Actions that commit what they write together with what they come to: the history follows from that row,
// whichever of the two the engine learns of first, and whatever happens in between.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>

#include "tests/support/four_ways.h"
#include "tests/support/story_parts.h"

namespace pawl::testing {
namespace {

World::HostMaker runs_one(const ActionOptions& options = {}) {
  return host_with([options](Script& script) {
    const auto outcome = script.action(script.start_action("increment", "1", options));
    if (const auto* const failure = std::get_if<Failure>(&outcome))
      return '"' + failure->name + '"';
    return std::get<Payload>(outcome).bytes;
  });
}

// What its transactions have done, for each execution. It is as durable as the store is.
using Counters = std::map<std::string, int>;

// Another attempt that is run comes to something else, so that it shows which one the history follows.
ActionFunction increments(World& world, const std::shared_ptr<Counters>& counters,
                          const std::shared_ptr<int>& calls) {
  return [&world, counters, calls](const ActionTask& task) -> std::variant<Payload, Failure> {
    const Payload result = Payload::json(std::to_string(++*calls));
    if (world.write_ahead(task, result)) {
      ++(*counters)[task.execution_id];
      return result;
    }
    return world.data().results.at({task.execution, task.position, task.generation}).result;
  };
}

// rule: 14
TEST(DatabaseActions, AreDoneOnceWhicheverCommitIsTheLast) {
  // The story is told in many worlds: what was done is counted in each by itself.
  const auto counters = std::make_shared<std::map<const World*, Counters>>();
  tell_four_ways({runs_one(),
                  [counters](World& world) {
                    world.register_workflow("Story");
                    world.register_action("increment", [&world, counters](const ActionTask& task) {
                      const Payload result = Payload::json("7");
                      if (world.write_ahead(task, result)) ++(*counters)[&world][task.execution_id];
                      return std::variant<Payload, Failure>(result);
                    });
                  },
                  [](World& world) { start_until_told(world, start_of("a")); },
                  [counters](const World& world) {
                    EXPECT_EQ(world.state(kTenant, "a").result.bytes, "7");
                    EXPECT_EQ((*counters)[&world]["a"], 1);
                    counters->erase(&world);
                    for (const auto& [key, row] : world.data().results) EXPECT_FALSE(row.ahead);
                  }});
}

struct Told {
  WorldOptions options;
  ActionOptions action;
  bool answers = true;  // its first attempt
};

class DatabaseActionsLate : public ::testing::Test {
 protected:
  void tell(const Told& told) {
    world_ = std::make_unique<World>(told.options, runs_one(told.action));
    world_->register_workflow("Story");
    const ActionFunction function = increments(*world_, counters_, calls_);
    world_->register_action(
        "increment",
        [this, function,
         told](const ActionTask& task) -> std::optional<std::variant<Payload, Failure>> {
          if (told.answers || task.attempt > 1) return function(task);
          first_ = task;
          return std::nullopt;
        });
    ASSERT_TRUE(world_->start(start_of("a")));
  }
  std::string result() const { return world_->state(kTenant, "a").result.bytes; }

  std::unique_ptr<World> world_;
  const std::shared_ptr<Counters> counters_ = std::make_shared<Counters>();
  const std::shared_ptr<int> calls_ = std::make_shared<int>(0);
  ActionTask first_;
};

// rule: 14
TEST_F(DatabaseActionsLate, ARowThatAKilledProcessLeftIsTheOutcomeAndNothingRuns) {
  tell({.answers = false});
  world_->settle();
  ASSERT_TRUE(world_->write_ahead(first_, Payload::json("5")));
  world_->restart();
  world_->run_out();
  EXPECT_EQ(result(), "5");
  EXPECT_EQ(*calls_, 0);
}

// rule: 14
TEST_F(DatabaseActionsLate, ALateCommitOfAnAttemptThatTimedOutIsWhatTheNextOneFinds) {
  tell({.action = {.timeout = 100}, .answers = false});
  world_->settle();
  world_->advance(100);
  ASSERT_TRUE(world_->write_ahead(first_, Payload::json("5")));
  world_->run_out();
  EXPECT_EQ(result(), "5");
}

// rule: 14
TEST_F(DatabaseActionsLate, ALateCommitWinsOverTheLastTimeOutThatWasNotRecordedYet) {
  RetryPolicy once;
  once.max_attempts = 1;
  tell({.action = {.retry = once, .timeout = 100}, .answers = false});
  world_->settle();
  // Before the engine comes to record that the attempt ran out of time, and after nobody can be told.
  ASSERT_TRUE(world_->write_ahead(first_, Payload::json("5")));
  world_->advance(100);
  world_->run_out();
  EXPECT_EQ(result(), "5");
}

// rule: 14
TEST_F(DatabaseActionsLate, ATimeOutThatIsRecordedWinsOverALateCommit) {
  RetryPolicy once;
  once.max_attempts = 1;
  tell({.action = {.retry = once, .timeout = 100}, .answers = false});
  world_->settle();
  world_->advance(100);
  world_->run_out();
  EXPECT_FALSE(world_->write_ahead(first_, Payload::json("5")));
  EXPECT_EQ(result(), "\"TimeoutError\"");
}

// rules: 14, 22
TEST_F(DatabaseActionsLate, ARowThatWasLeftIsTakenByAPausedExecutionToo) {
  tell({.answers = false});
  world_->settle();
  ASSERT_TRUE(world_->control(ControlVerb::pause, "a"));
  ASSERT_TRUE(world_->write_ahead(first_, Payload::json("5")));
  world_->restart();
  world_->run_out();
  ASSERT_TRUE(world_->control(ControlVerb::resume, "a"));
  world_->run_out();
  EXPECT_EQ(result(), "5");
  EXPECT_EQ(*calls_, 0);
}

}  // namespace
}  // namespace pawl::testing
