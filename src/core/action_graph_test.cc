#include "core/action_graph.h"

#include <gtest/gtest.h>

#include "model/graph_codec.h"

namespace pawl {
namespace {

GraphAction action(std::string id, std::vector<std::string> depends_on = {}) {
  GraphAction made;
  made.id = std::move(id);
  made.name = "echo";
  made.depends_on = std::move(depends_on);
  return made;
}

ActionGraph graph_of(std::vector<GraphAction> actions, const int concurrency_max = 10) {
  return ActionGraph::make({1, std::move(actions), concurrency_max}).value();
}

std::string refusal(std::vector<GraphAction> actions) {
  const auto made = ActionGraph::make({1, std::move(actions), 10});
  return made ? "none" : made.error().message;
}

// Runs all that may, one after the other, and tells in which order.
std::string run(ActionGraph& graph, const std::set<std::string>& failing = {}) {
  std::string order;
  for (auto next = graph.to_begin(); !next.empty(); next = graph.to_begin()) {
    const auto step = next.front();
    graph.begin(step);
    const bool compensation = step >= graph.command().actions.size();
    const std::string id = compensation ? graph.name(step) : graph.command().actions[step].id;
    order += id;
    graph.end(step, {!failing.contains(id), 1, failing.contains(id) ? "{}" : "1"});
  }
  return order;
}

TEST(ActionGraph, RefusesWhatCanNotRun) {
  EXPECT_EQ(refusal({}), "A graph needs an action at least.");
  EXPECT_EQ(refusal({action("")}), "Action 1 of the graph has no id.");
  EXPECT_EQ(refusal({action("a"), action("a")}), "Two actions of the graph have the id 'a'.");
  EXPECT_EQ(refusal({action("approve"), action("b", {"aprove"})}),
            "Action 'b' depends on 'aprove', which is no action, sync point or group of the graph; "
            "did you mean approve?");
  EXPECT_EQ(
      refusal({action("a", {"c"}), action("b", {"a"}), action("c", {"b"})}),
      "The actions of the graph wait for one another: 'a' waits for 'c', which waits for 'b', "
      "which waits for 'a'.");
  EXPECT_EQ(refusal({action("a", {"a"})}),
            "The actions of the graph wait for one another: 'a' waits for 'a'.");
  GraphAction joined = action("a", {"ready"});
  joined.sync_point = "ready";
  EXPECT_EQ(refusal({joined}),
            "The actions of the graph wait for one another: 'a' waits for 'ready', which waits for "
            "'a'.");
  joined.depends_on.clear();
  EXPECT_EQ(
      refusal({joined, action("ready")}),
      "'ready' is a sync point of the graph and something else, too: what depends on it could "
      "mean either.");
  EXPECT_NE(ActionGraph::make({1, {action("a")}, 0}).error().message.find("not 0"),
            std::string::npos);
}

TEST(ActionGraph, BeginsWhatItMayAndNoMoreThanThereIsRoomFor) {
  ActionGraph graph = graph_of({action("a"), action("b"), action("c"), action("d", {"a", "b"})}, 2);
  EXPECT_EQ(graph.to_begin(), (std::vector<std::size_t>{0, 1}));
  graph.begin(0);
  graph.begin(1);
  EXPECT_TRUE(graph.to_begin().empty());
  graph.end(1, {true, 1, "1"});
  EXPECT_EQ(graph.to_begin(), std::vector<std::size_t>{2});
  graph.end(0, {true, 1, "1"});
  EXPECT_EQ(graph.to_begin(), (std::vector<std::size_t>{2, 3}));
  EXPECT_EQ(run(graph), "cd");
  EXPECT_TRUE(graph.is_done());
}

TEST(ActionGraph, AChainOfAnyLengthIsWalkedWithoutRecursion) {
  constexpr int kLength = 20'000;
  std::vector<GraphAction> chain{action("0")};
  for (int n = 1; n < kLength; ++n)
    chain.push_back(action(std::to_string(n), {std::to_string(n - 1)}));
  ActionGraph graph = graph_of(chain);
  EXPECT_EQ(run(graph).size(), 88'890U);
  chain[0].depends_on = {std::to_string(kLength - 1)};
  EXPECT_NE(refusal(chain).find("wait for one another"), std::string::npos);
}

TEST(ActionGraph, GroupsAndSyncPointsAreDoneWhenAllInThemAre) {
  GraphAction a = action("a");
  GraphAction b = action("b");
  GraphAction c = action("c", {"packed"});
  a.sync_point = b.sync_point = "packed";
  a.group = c.group = "goods";
  ActionGraph graph = graph_of({action("last", {"goods"}), c, b, a});
  EXPECT_EQ(graph.sync_points(), std::vector<std::string>{"packed"});
  EXPECT_EQ(graph.joined_by("packed"), (std::vector<std::string>{"b", "a"}));
  EXPECT_TRUE(graph.reached().empty());
  EXPECT_EQ(run(graph), "baclast");
  EXPECT_EQ(graph.reached(), std::vector<std::string>{"packed"});
  EXPECT_TRUE(graph.skipped().empty());
}

TEST(ActionGraph, AFailureStopsWhatHasNotBegun) {
  ActionGraph graph =
      graph_of({action("a"), action("b", {"a"}), action("c", {"b"}), action("d", {"a"})});
  EXPECT_EQ(run(graph, {"b"}), "ab");
  EXPECT_EQ(
      graph.outcomes(),
      R"([{"actionId":"a","actionName":"echo","success":true,"result":1,"attempts":1},)"
      R"({"actionId":"b","actionName":"echo","success":false,"error":{},"attempts":1},)"
      R"({"actionId":"c","actionName":"echo","success":false,"error":{"name":"ActionSkippedError","message":"it did not run, since 'b' failed","code":"skipped","class":"permanent"},"attempts":0},)"
      R"({"actionId":"d","actionName":"echo","success":false,"error":{"name":"ActionSkippedError","message":"it did not run, since 'b' failed","code":"skipped","class":"permanent"},"attempts":0}])");
}

TEST(ActionGraph, AFailureThatIsToBePassedOverCountsAsDone) {
  GraphAction b = action("b", {"a"});
  b.on_error = ErrorStrategy::go_on;
  ActionGraph graph = graph_of({action("a"), b, action("c", {"b"})});
  EXPECT_EQ(run(graph, {"b"}), "abc");
  EXPECT_TRUE(graph.retriable().empty());
}

TEST(ActionGraph, CompensationsRunInReverseOrderOfWhatSucceededAndGoOnWhereOneFails) {
  const auto undoable = [](const std::string& id, std::vector<std::string> depends_on) {
    GraphAction made = action(id, std::move(depends_on));
    made.compensations = {{"-" + id, {}, {}}, {"=" + id, {}, {}}};
    return made;
  };
  GraphAction last = undoable("c", {"a", "b"});
  last.on_error = ErrorStrategy::compensate;
  ActionGraph graph = graph_of({undoable("a", {"b"}), undoable("b", {}), last});
  EXPECT_EQ(run(graph, {"c", "-a"}), "bac-a=a-b=b");
  const std::string outcomes = graph.outcomes();
  EXPECT_NE(outcomes.find(
                R"("compensations":[{"actionName":"-a","success":false,"error":{},"attempts":1},)"
                R"({"actionName":"=a","success":true,"result":1,"attempts":1}])"),
            std::string::npos)
      << outcomes;
  EXPECT_TRUE(graph.retriable().empty()) << "what was undone is not gone on with";
}

TEST(ActionGraph, WhatStoppedItCanBeTriedAgain) {
  ActionGraph graph = graph_of({action("a"), action("b", {"a"}), action("c", {"b"})});
  EXPECT_EQ(run(graph, {"b"}), "ab");
  ASSERT_EQ(graph.retriable(), std::vector<std::size_t>{1});
  graph.try_again(1);
  EXPECT_FALSE(graph.is_done());
  EXPECT_EQ(graph.generation(1), 1);
  EXPECT_EQ(run(graph), "bc");
}

TEST(ActionGraph, WhereThereWasNothingToUndoWhatFailedCanBeTriedAgain) {
  GraphAction b = action("b", {"a"});
  b.on_error = ErrorStrategy::compensate;
  ActionGraph graph = graph_of({action("a"), b});
  EXPECT_EQ(run(graph, {"b"}), "ab");
  EXPECT_TRUE(graph.is_done());
  ASSERT_EQ(graph.retriable(), std::vector<std::size_t>{1});
  graph.try_again(1);
  EXPECT_EQ(run(graph), "b");
}

TEST(GraphCodec, ReadsWhatItWrote) {
  StartGraphCommand graph{1, {action("a"), action("b", {"a", "goods"})}, 3};
  GraphAction& b = graph.actions[1];
  b.parameters = Payload::json(R"({"n": 1.0, "s":"]}\"," })");
  b.options.retry = RetryPolicy{.max_attempts = 2};
  b.options.timeout = 5;
  b.group = "goods";
  b.sync_point = "ready";
  b.on_error = ErrorStrategy::retry;
  b.retries = 7;
  b.compensations = {{"undo", Payload::json("[1]"), {}}, {"tell", {}, {}}};
  const auto read = decode_graph(encode_graph(graph));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(encode_graph(*read), encode_graph(graph));
  EXPECT_EQ(read->actions[1].parameters, b.parameters);
  EXPECT_EQ(read->actions[1].options, b.options);
  EXPECT_EQ(read->actions[1].compensations.size(), 2U);
  EXPECT_EQ(positions_of(*read), 5);
  for (const char* const text :
       {"", "[]", R"({"actions":{}})", R"({"actions":[1]})", R"({"actions":[{"id":1}]})",
        R"({"actions":[{"onError":9}]})", "{", "[", "{}", "{\"", "{\"actions\"",
        "{\"actions\":", "{\"actions\":[", "{\"actions\":[}", "{\"actions\":[{\"id\":}",
        "{\"actions\":[{},", "{\"actions\":[{}}", "{\"actions\":[{\"id\"", "{\"actions\":[\"}"}) {
    EXPECT_FALSE(decode_graph(text)) << text;
  }
}

}  // namespace
}  // namespace pawl
