// Graphs of actions, told four ways: what runs when, what becomes of the rest when something fails, and
// what operators and crashes do in the middle.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/four_ways.h"
#include "tests/support/story_parts.h"

namespace pawl::testing {
namespace {

GraphAction action(std::string id, std::string name, std::vector<std::string> depends_on = {}) {
  GraphAction made;
  made.id = std::move(id);
  made.name = std::move(name);
  made.parameters = Payload::json('"' + made.id + '"');
  made.depends_on = std::move(depends_on);
  return made;
}

GraphAction with(GraphAction made, const ErrorStrategy on_error, const int retries = 0) {
  made.on_error = on_error;
  made.retries = retries;
  return made;
}

std::variant<Payload, Failure> fails(const ActionTask& task) {
  Failure failure;
  failure.name = "NoStock";
  failure.message = "none left, " + task.parameters.bytes;
  failure.failure_class = FailureClass::permanent;
  return failure;
}

void register_all(World& world) {
  world.register_workflow("Story");
  world.register_action("echo", echo);
  world.register_action("fails", fails);
}

World::HostMaker runs(std::vector<GraphAction> actions, const int concurrency_max = 10) {
  return host_with([actions = std::move(actions), concurrency_max](Script& script) {
    return std::get<Payload>(script.action(script.start_graph(actions, concurrency_max))).bytes;
  });
}

Story story_of(World::HostMaker host, std::function<void(const World&)> check) {
  return {std::move(host), register_all,
          [](World& world) { start_until_told(world, start_of("a")); }, std::move(check)};
}

// Ids of the actions that succeeded, and those that failed in capitals, in the order in which they ended.
std::string ended(const World& world) {
  std::string text;
  for (const HistoryEvent& event : world.history(kTenant, "a")) {
    if (event.type == EventType::graph_action_completed) text += event.payload.bytes;
    if (event.type == EventType::graph_action_failed) text += " failed";
  }
  return text;
}

// rule: 16
TEST(Graphs, ActionsRunAsTheirDependenciesLetThemAndTheResultsComeInTheOrderGiven) {
  tell_four_ways(story_of(
      runs({action("d", "echo", {"b", "c"}), action("b", "echo", {"a"}), action("c", "echo", {"a"}),
            action("a", "echo")}),
      [](const World& world) {
        const std::string order = ended(world);
        EXPECT_TRUE(order == R"("a""b""c""d")" || order == R"("a""c""b""d")") << order;
        EXPECT_EQ(
            world.state(kTenant, "a").result.bytes,
            R"([{"actionId":"d","actionName":"echo","success":true,"result":"d","attempts":1},)"
            R"({"actionId":"b","actionName":"echo","success":true,"result":"b","attempts":1},)"
            R"({"actionId":"c","actionName":"echo","success":true,"result":"c","attempts":1},)"
            R"({"actionId":"a","actionName":"echo","success":true,"result":"a","attempts":1}])");
        EXPECT_EQ(world.data().results.size(), 4U);
        const auto activations =
            std::count_if(world.history(kTenant, "a").begin(), world.history(kTenant, "a").end(),
                          [](const HistoryEvent& event) { return event.ends_activation; });
        EXPECT_EQ(activations, 2) << "the start, and the end of the graph";
      }));
}

// rule: 16
TEST(Graphs, AfterAFailureNothingElseBegins) {
  tell_four_ways(story_of(
      runs({action("a", "echo"), action("b", "fails", {"a"}), action("c", "echo", {"b"})}),
      [](const World& world) {
        EXPECT_EQ(ended(world), "\"a\" failed");
        const std::string result = world.state(kTenant, "a").result.bytes;
        EXPECT_NE(result.find("none left"), std::string::npos) << result;
        EXPECT_NE(result.find("it did not run, since 'b' failed"), std::string::npos) << result;
      }));
}

// rule: 16
TEST(Graphs, AreSeenInTheStoreWithWhatWasReachedAndWhatDidNotRun) {
  GraphAction a = action("a", "echo");
  GraphAction b = action("b", "fails");
  a.sync_point = b.sync_point = "both";
  GraphAction c = action("c", "echo");
  c.sync_point = "alone";
  b.compensations = {{"echo", {}, {}}};
  tell_four_ways(story_of(runs({a, b, c, action("d", "echo", {"both"})}), [](const World& world) {
    std::vector<std::string> rows;
    for (const auto& [key, row] : world.data().graph_actions) {
      rows.push_back(fmt::format("{} {}{}{}", row.position, row.action_id,
                                 row.compensation ? " undone" : "", row.skipped ? " skipped" : ""));
    }
    EXPECT_EQ(rows,
              (std::vector<std::string>{"2 a", "3 b", "4 c", "5 d skipped", "6 b undone skipped"}));
    ASSERT_EQ(world.data().sync_points.size(), 2U);
    for (const auto& [key, point] : world.data().sync_points) {
      EXPECT_EQ(point.reached_at != 0, point.name == "alone") << point.name;
    }
  }));
}

// rule: 16
TEST(Graphs, AFailureThatIsToBePassedOverCountsAsDone) {
  tell_four_ways(
      story_of(runs({with(action("a", "fails"), ErrorStrategy::go_on), action("b", "echo", {"a"})}),
               [](const World& world) { EXPECT_EQ(ended(world), " failed\"b\""); }));
}

// rule: 16
TEST(Graphs, OneThatIsToBeRetriedIsTriedSoOftenWhateverTheFailure) {
  tell_four_ways(
      {runs({with(action("a", "fails"), ErrorStrategy::retry, 2)}), register_all,
       [](World& world) {
         start_until_told(world, start_of("a"));
         world.run_out();
       },
       [](const World& world) {
         EXPECT_EQ(ended(world), " failed");
         EXPECT_NE(world.state(kTenant, "a").result.bytes.find("\"attempts\":3"), std::string::npos)
             << world.state(kTenant, "a").result.bytes;
       }});
}

// rule: 16
TEST(Graphs, CompensationsOfWhatSucceededRunInReverseOrder) {
  const auto undoable = [](GraphAction made) {
    made.compensations = {{"echo", Payload::json("\"undo " + made.id + '"'), {}}};
    return made;
  };
  tell_four_ways(story_of(
      runs({undoable(action("a", "echo")), undoable(action("b", "echo", {"a"})),
            with(undoable(action("c", "fails", {"b"})), ErrorStrategy::compensate)}),
      [](const World& world) {
        EXPECT_EQ(ended(world), R"("a""b" failed"undo b""undo a")");
        EXPECT_NE(
            world.state(kTenant, "a")
                .result.bytes.find(
                    R"("compensations":[{"actionName":"echo","success":true,"result":"undo a")"),
            std::string::npos);
      }));
}

// rule: 16
TEST(Graphs, NoMoreRunAtOnceThanIsAllowed) {
  std::vector<GraphAction> actions;
  for (int n = 0; n < 7; ++n) actions.push_back(action(std::to_string(n), "slow"));
  World world({}, runs(actions, 3));
  world.register_workflow("Story");
  world.register_action(
      "slow",
      [](const ActionTask&) -> std::optional<std::variant<Payload, Failure>> { return {}; });
  start_until_told(world, start_of("a"));
  for (std::size_t done = 0; done < 7; ++done) {
    EXPECT_EQ(world.actions_run().size(), std::min<std::size_t>(done + 3, 7));
    world.answer(world.actions_run()[done], Payload::json("1"));
  }
  EXPECT_EQ(world.state(kTenant, "a").status, "completed");
}

// rules: 16, 22
TEST(Graphs, APausedOneLetsWhatRunsEndAndGoesOnWhenItIsResumed) {
  World world({}, runs({action("a", "slow"), action("b", "echo", {"a"})}));
  register_all(world);
  world.register_action(
      "slow",
      [](const ActionTask&) -> std::optional<std::variant<Payload, Failure>> { return {}; });
  start_until_told(world, start_of("a"));
  control_until_told(world, ControlVerb::pause, "a");
  world.answer(world.actions_run()[0], Payload::json("\"a\""));
  EXPECT_EQ(ended(world), "\"a\"");
  world.restart();
  world.settle();
  EXPECT_EQ(ended(world), "\"a\"") << "nothing begins";
  control_until_told(world, ControlVerb::resume, "a");
  EXPECT_EQ(ended(world), "\"a\"\"b\"");
  EXPECT_EQ(world.state(kTenant, "a").status, "completed");
}

// rules: 16, 22
TEST(Graphs, ACancellationEndsItAndItsActionsAreToldToStop) {
  World world({}, host_with([](Script& script) -> std::string {
                const auto outcome = script.action(
                    script.start_graph({action("a", "slow"), action("b", "echo", {"a"})}));
                if (const auto* const failure = std::get_if<Failure>(&outcome)) throw *failure;
                return "1";
              }));
  register_all(world);
  world.register_action(
      "slow",
      [](const ActionTask&) -> std::optional<std::variant<Payload, Failure>> { return {}; });
  start_until_told(world, start_of("a"));
  control_until_told(world, ControlVerb::cancel, "a");
  EXPECT_EQ(world.state(kTenant, "a").status, "cancelled");
  ASSERT_EQ(world.aborts().size(), 1U);
  world.answer(world.actions_run()[0], Payload::json("\"a\""));
  EXPECT_EQ(ended(world), "");
}

// rules: 16, 22
TEST(Graphs, ARetryOfTheExecutionRunsWhatFailedAgainUnderAnotherKey) {
  bool in_stock = false;
  World world({}, host_with([](Script& script) -> std::string {
                const std::string outcomes =
                    std::get<Payload>(script.action(script.start_graph(
                                          {action("a", "echo"), action("b", "stock", {"a"}),
                                           action("c", "echo", {"b"})})))
                        .bytes;
                if (outcomes.find("\"success\":false") != std::string::npos) {
                  throw Failure{.name = "OrderFailed", .message = "not all of it went well"};
                }
                return outcomes;
              }));
  register_all(world);
  world.register_action(
      "stock", [&in_stock](const ActionTask& task) { return in_stock ? echo(task) : fails(task); });
  start_until_told(world, start_of("a"));
  EXPECT_EQ(world.state(kTenant, "a").status, "failed");
  in_stock = true;
  control_until_told(world, ControlVerb::retry, "a");
  EXPECT_EQ(world.state(kTenant, "a").status, "completed")
      << world.state(kTenant, "a").result.bytes;
  EXPECT_EQ(ended(world), "\"a\" failed\"b\"\"c\"") << "what went well is not run again";
  ASSERT_EQ(world.actions_run().size(), 4U);
  EXPECT_NE(world.actions_run()[1].idempotency_key, world.actions_run()[2].idempotency_key);
}

// rules: 16, 22
TEST(Graphs, AForkHasWhatBecameOfItInTheEndAndRunsWhatIsOpen) {
  bool in_stock = false;
  World world(
      {}, host_with([](Script& script) -> std::string {
        const auto run = [&script](std::vector<GraphAction> actions) {
          return std::get<Payload>(script.action(script.start_graph(std::move(actions)))).bytes;
        };
        const std::string first = run({action("a", "stock")});
        if (first.find("\"success\":false") != std::string::npos) throw Failure{.name = "NoStock"};
        return run({action("b", "slow"), action("c", "echo"), action("d", "echo", {"b"})});
      }));
  register_all(world);
  world.register_action(
      "stock", [&in_stock](const ActionTask& task) { return in_stock ? echo(task) : fails(task); });
  world.register_action(
      "slow",
      [](const ActionTask&) -> std::optional<std::variant<Payload, Failure>> { return {}; });
  start_until_told(world, start_of("a"));
  in_stock = true;
  control_until_told(world, ControlVerb::retry, "a");
  EXPECT_EQ(world.state(kTenant, "a").status, "running");
  ASSERT_TRUE(world.fork("a", "f"));
  world.settle();
  const std::optional<std::string> fault = find_fault(world.data());
  EXPECT_FALSE(fault) << *fault;
  std::vector<ActionTask> slow;
  for (const ActionTask& task : world.actions_run()) {
    if (task.name == "slow") slow.push_back(task);
  }
  ASSERT_EQ(slow.size(), 2U) << "what was under way runs in the fork, too";
  EXPECT_EQ(slow[1].execution_id, "f");
  EXPECT_NE(slow[0].idempotency_key, slow[1].idempotency_key);
  for (const ActionTask& task : slow) world.answer(task, Payload::json("\"b\""));
  EXPECT_EQ(world.state(kTenant, "a").status, "completed");
  EXPECT_EQ(world.state(kTenant, "f").result, world.state(kTenant, "a").result);
  const auto last = find_fault(world.data());
  EXPECT_FALSE(last) << *last;
}

// rules: 16, 22
TEST(Graphs, AForkGoesOnFromEveryPoint) {
  World world({},
              runs({action("a", "echo"), action("b", "echo", {"a"}), action("c", "echo", {"b"})}));
  register_all(world);
  start_until_told(world, start_of("a"));
  const std::string result = world.state(kTenant, "a").result.bytes;
  const auto last = static_cast<std::int64_t>(world.history(kTenant, "a").size());
  for (std::int64_t at = 2; at < last - 1; ++at) {
    const std::string id = fmt::format("fork at {}", at);
    const auto forked = world.fork("a", id, at);
    ASSERT_TRUE(forked);
    if (!*forked) continue;  // within the first activation
    EXPECT_EQ(world.state(kTenant, id).status, "completed") << id;
    EXPECT_EQ(world.state(kTenant, id).result.bytes, result) << id;
  }
  const std::optional<std::string> fault = find_fault(world.data());
  EXPECT_FALSE(fault) << *fault;
}

// rules: 16, 26
TEST(Graphs, ResultsBeyondTheirBoundAreFailuresOfTheirActions) {
  WorldOptions options;
  options.limits.graph_bytes_max = 100;
  World world(options, runs({action("a", "large"),
                             with(action("b", "large", {"a"}), ErrorStrategy::retry, 3),
                             action("c", "echo", {"b"})}));
  register_all(world);
  world.register_action("large", [](const ActionTask&) {
    return std::variant<Payload, Failure>(Payload::json('"' + std::string(70, 'x') + '"'));
  });
  start_until_told(world, start_of("a"));
  const std::string result = world.state(kTenant, "a").result.bytes;
  EXPECT_NE(result.find("graph_bytes_max"), std::string::npos) << result;
  EXPECT_NE(result.find("did not run, since 'b' failed"), std::string::npos) << result;
  EXPECT_EQ(world.actions_run().size(), 2U) << "what did its work is not tried again";
}

// rule: 16
TEST(Graphs, WhatCanNotRunFailsTheWorkflowBeforeAnythingRuns) {
  World world({}, runs({action("a", "echo", {"b"}), action("b", "echo", {"a"})}));
  register_all(world);
  start_until_told(world, start_of("a"));
  EXPECT_EQ(world.state(kTenant, "a").status, "failed");
  EXPECT_NE(world.state(kTenant, "a").error->message.find("wait for one another"),
            std::string::npos);
  EXPECT_TRUE(world.actions_run().empty());
}

}  // namespace
}  // namespace pawl::testing
