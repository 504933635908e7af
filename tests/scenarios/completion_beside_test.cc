// Actions that end elsewhere, completed by processes beside the engine: by mail, which is durable before an engine
// takes it up.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "pawl/client.h"
#include "pawl/pawl.h"
#include "pawl/workflow_runtime.h"
#include "tests/support/temporary_folder.h"

namespace signing_shapes {

struct Sign {
  struct Parameters {
    std::string document;
  };
  struct Result {
    std::string by;
  };
};
PAWL_DESCRIBE(Sign::Parameters, document);
PAWL_DESCRIBE(Sign::Result, by);

std::string told(const pawl::Result<Sign::Result, pawl::Failure>& outcome) {
  return outcome ? outcome->by : outcome.error().name + ": " + outcome.error().message;
}

pawl::Workflow<std::string> one(pawl::Context& ctx, std::string document) {
  co_return told(co_await ctx.run<Sign>({.document = document}));
}

pawl::Workflow<std::string> graph(pawl::Context& ctx, std::string document) {
  pawl::Graph graph;
  graph.add<Sign>("first", {document});
  graph.add<Sign>("second", {document + " again"}, {.depends_on = {"first"}});
  const auto outcomes = co_await ctx.execute_actions(graph);
  std::string text;
  for (const auto& outcome : outcomes.all()) text += told(outcome.as<Sign>()) + ";";
  co_return text;
}

pawl::Workflow<std::string> after_go(pawl::Context& ctx, std::string document) {
  std::vector<pawl::ActionCall<Sign::Result>> calls;
  calls.push_back(ctx.run<Sign>({.document = document}));
  co_await ctx.wait_for("Go");
  const auto outcomes = co_await pawl::all(std::move(calls));
  co_return told(outcomes.front());
}

// Other code than what has run.
pawl::Workflow<std::string> departs(pawl::Context& ctx, std::string) {
  co_await ctx.wait_for("Go");
  co_return "";
}

}  // namespace signing_shapes

namespace pawl {
namespace {

using namespace std::chrono_literals;
using signing_shapes::Sign;
using ::testing::HasSubstr;

constexpr const char* kTenant = "acme";

class CompletionBeside : public ::testing::Test {
 protected:
  WorkflowRuntime open_engine(
      Workflow<std::string> (*const code)(Context&, std::string) = &signing_shapes::one) {
    WorkflowRuntimeOptions options;
    options.store = store_;
    options.log = [](const LogLine&) {};
    auto runtime = WorkflowRuntime::open(options).value();
    EXPECT_TRUE(runtime.register_workflow("Sign", code));
    EXPECT_TRUE(runtime.register_action<Sign>(
        [this](const Sign::Parameters& p, const ActionContext& context) {
          const std::lock_guard lock(mutex_);
          tokens_[p.document] = context.token;
          context.complete_later();
          changed_.notify_all();
          return Sign::Result{};
        }));
    return runtime;
  }
  Client client() { return Client::open(store_).value(); }
  static void start(WorkflowRuntime& runtime, const std::string& document) {
    ASSERT_TRUE(runtime.start_workflow("Sign", document,
                                       {.tenant = kTenant, .execution_id = "wf-" + document}));
  }
  std::string token_of(const std::string& document) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return tokens_.contains(document); });
    return tokens_[document];
  }
  static CompleteActionRequest by(const std::string& token, const std::string& name) {
    return {token, to_payload(Sign::Result{name}).value()};
  }
  static std::string result_of(WorkflowRuntime& runtime, const std::string& document) {
    const auto done = runtime.wait_for_workflow_completion<std::string>(
        "wf-" + document, {.tenant = kTenant, .wait_max = 60s});
    if (!done) return done.error().message;
    return done->result.value_or(done->status);
  }
  template <class Done>
  static void until(const Done& done) {
    while (!done()) std::this_thread::sleep_for(1ms);
  }

  TemporaryFolder folder_;
  const std::string store_ = "sqlite:" + folder_.file("pawl.db");
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::string> tokens_;
};

// rules: 14, 25
TEST_F(CompletionBeside, AClientTellsARunningEngineAndIsToldWhatCanNotBe) {
  auto runtime = open_engine();
  Client beside = client();
  start(runtime, "a");
  const std::string token = token_of("a");
  const auto told = beside.complete_action(by(token, "ann"));
  ASSERT_TRUE(told) << told.error().message;
  EXPECT_EQ(told->execution_id, "wf-a");
  EXPECT_EQ(told->status, "running");
  EXPECT_EQ(result_of(runtime, "a"), "ann");
  const auto refusal = [&](const std::string& with) {
    const auto refused = beside.complete_action(by(with, "ben"));
    return refused ? ErrorCode::internal : refused.error().code;
  };
  EXPECT_EQ(refusal(token), ErrorCode::execution_ended);
  EXPECT_EQ(refusal("nonsense"), ErrorCode::invalid_argument);
  EXPECT_EQ(refusal("99:1:ab@acme"), ErrorCode::unknown_execution);
  start(runtime, "b");
  const std::string other = token_of("b");
  EXPECT_EQ(refusal(other.substr(0, other.find('@')) + "@others"), ErrorCode::unknown_execution);
  std::string guessed = other;
  guessed[guessed.find('@') - 1] = guessed[guessed.find('@') - 1] == '0' ? '1' : '0';
  EXPECT_EQ(refusal(guessed), ErrorCode::unknown_execution);
  const auto large = beside.complete_action({other, Payload::json(std::string(3'000'000, '1'))});
  EXPECT_EQ(large.error().code, ErrorCode::payload_too_large);
  for (const char* const text : {"{bad", "1 2", "\"\xff\"", "nothing"}) {
    EXPECT_EQ(beside.complete_action({other, Payload::json(text)}).error().code,
              ErrorCode::payload_refused);
    EXPECT_EQ(beside
                  .enqueue_event({.tenant = kTenant,
                                  .execution_id = "wf-b",
                                  .name = "Go",
                                  .payload = Payload::json(text)})
                  .error()
                  .code,
              ErrorCode::payload_refused);
    StartRequest bad;
    bad.workflow = "Sign";
    bad.tenant = kTenant;
    bad.input = Payload::json(text);
    EXPECT_EQ(beside.start_workflow(bad).error().code, ErrorCode::payload_refused);
  }
  ASSERT_TRUE(beside.complete_action(
      {other, Failure{.name = "Refused", .message = "no pen", .failure_class = {}}}));
  EXPECT_EQ(result_of(runtime, "b"), "Refused: no pen");
}

// rules: 1, 14
TEST_F(CompletionBeside, WhatIsToldWhileNoEngineRunsIsTakenUpByTheNextAndTheFirstCounts) {
  {
    auto runtime = open_engine();
    start(runtime, "a");
    token_of("a");
    // It is recorded by then that nothing runs for it.
    start(runtime, "b");
    ASSERT_TRUE(runtime.complete_action(token_of("b"), Sign::Result{"ben"}));
    EXPECT_EQ(result_of(runtime, "b"), "ben");
  }
  Client beside = client();
  ASSERT_TRUE(beside.complete_action(by(token_of("a"), "ann")));
  ASSERT_TRUE(beside.complete_action(by(token_of("a"), "late")));
  auto runtime = open_engine();
  EXPECT_EQ(result_of(runtime, "a"), "ann");
  EXPECT_EQ(runtime.check_integrity().value().findings.size(), 0U);
  EXPECT_EQ(beside.complete_action(by(token_of("a"), "later")).error().code,
            ErrorCode::execution_ended);
}

// rules: 14, 16
TEST_F(CompletionBeside, ActionsOfGraphsAreCompletedToo) {
  auto runtime = open_engine(&signing_shapes::graph);
  Client beside = client();
  start(runtime, "a");
  const std::string first = token_of("a");
  ASSERT_TRUE(beside.complete_action(by(first, "ann")));
  const std::string second = token_of("a again");
  EXPECT_EQ(beside.complete_action(by(first, "late")).error().code, ErrorCode::wrong_status);
  ASSERT_TRUE(beside.complete_action(by(second, "ben")));
  EXPECT_EQ(result_of(runtime, "a"), "ann;ben;");
}

// rules: 14, 22
TEST_F(CompletionBeside, OneThatIsPausedHasItsOutcomeRecorded) {
  auto runtime = open_engine();
  Client beside = client();
  start(runtime, "a");
  const std::string token = token_of("a");
  ASSERT_TRUE(runtime.pause_workflow("wf-a", {.tenant = kTenant}));
  ASSERT_TRUE(beside.complete_action(by(token, "ann")));
  until([&] {
    const auto again = beside.complete_action(by(token, "late"));
    return !again && again.error().code == ErrorCode::wrong_status;
  });
  ASSERT_TRUE(runtime.resume_workflow("wf-a", {.tenant = kTenant}));
  EXPECT_EQ(result_of(runtime, "a"), "ann");
}

// rules: 14, 19
TEST_F(CompletionBeside, WhatIsToldWhileItsExecutionIsStuckIsKeptUntilItIsMended) {
  {
    auto runtime = open_engine(&signing_shapes::after_go);
    start(runtime, "a");
    token_of("a");
  }
  auto runtime = open_engine(&signing_shapes::departs);
  ASSERT_TRUE(runtime.enqueue_event("wf-a", "Go", {.tenant = kTenant}));
  until([&] {
    return runtime.get_execution_state("wf-a", {.tenant = kTenant}).value().status == "stuck";
  });
  Client beside = client();
  ASSERT_TRUE(beside.complete_action(by(token_of("a"), "ann")));
  std::this_thread::sleep_for(200ms);  // in which the engine takes it up
  EXPECT_EQ(runtime.get_execution_state("wf-a", {.tenant = kTenant}).value().status, "stuck");
  ASSERT_TRUE(runtime.register_workflow("Sign", &signing_shapes::after_go, true));
  EXPECT_EQ(result_of(runtime, "a"), "ann");
}

}  // namespace
}  // namespace pawl
