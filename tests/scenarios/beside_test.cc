// Readers beside an engine: they see what is committed, and are in nobody's way.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "pawl/client.h"
#include "pawl/pawl.h"
#include "pawl/workflow_runtime.h"
#include "tests/support/temporary_folder.h"

namespace beside_shapes {

pawl::Workflow<int> ticks(pawl::Context& ctx, int target) {
  for (int n = 1; n <= target; ++n) {
    co_await ctx.wait_for("Tick");
    ctx.data().set("n", n);
  }
  co_return target;
}

}  // namespace beside_shapes

namespace pawl {
namespace {

using beside_shapes::ticks;

constexpr const char* kTenant = "acme";

class Beside : public ::testing::Test {
 protected:
  WorkflowRuntime open_engine() {
    WorkflowRuntimeOptions options;
    options.store = store_;
    options.log = [](const LogLine&) {};
    options.limits.records_per_snapshot = 16;
    auto runtime = WorkflowRuntime::open(options).value();
    EXPECT_TRUE(runtime.register_workflow("Ticks", &ticks));
    return runtime;
  }
  static void start(WorkflowRuntime& runtime, const std::string& id, const int target) {
    StartOptions options;
    options.tenant = kTenant;
    options.execution_id = id;
    ASSERT_TRUE(runtime.start_workflow("Ticks", target, options));
  }
  static void tick(WorkflowRuntime& runtime, const std::string& id) {
    ASSERT_TRUE(runtime.submit_event(id, "Tick", {.tenant = kTenant}));
  }

  TemporaryFolder folder_;
  const std::string path_ = folder_.file("pawl.db");
  const std::string store_ = "sqlite:" + path_;
};

// rule: 21
TEST_F(Beside, AnEngineThatBeginsWhenItIsToldHasAllDefinitionsBeforeTheFirstIsNeeded) {
  open_engine().close();
  auto client = Client::open(store_).value();
  StartRequest start;
  start.workflow = "Ticks";
  start.tenant = kTenant;
  start.execution_id = "a";
  start.input = Payload::json("1");
  ASSERT_TRUE(client.start_workflow(start));

  WorkflowRuntimeOptions options;
  options.store = store_;
  options.log = [](const LogLine&) {};
  options.begin_at_once = false;
  auto runtime = WorkflowRuntime::open(options).value();
  for (const char* const version : {"1.0.0", "10.0.0", "9.0.0"}) {
    WorkflowDescription description;
    description.name = "Ticks";
    description.version = version;
    ASSERT_TRUE(runtime.register_workflow(description, &ticks));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // in which it could have begun
  }
  const auto early = runtime.submit_event("a", "Tick", {.tenant = kTenant});
  EXPECT_EQ(early.error().code, ErrorCode::invalid_argument) << "it has not begun";
  EXPECT_EQ(runtime.get_execution_state("a", {.tenant = kTenant}).error().code,
            ErrorCode::invalid_argument);
  runtime.begin();
  runtime.begin();
  while (!runtime.get_execution_state("a", {.tenant = kTenant})) std::this_thread::yield();
  tick(runtime, "a");
  const auto ended = runtime.wait_for_workflow_completion<int>("a", {.tenant = kTenant});
  ASSERT_TRUE(ended) << ended.error().message;
  EXPECT_EQ(ended->state.version, "10.0.0");
  runtime.close();

  auto never = WorkflowRuntime::open(options).value();
  never.close();
  never.begin();
  EXPECT_EQ(never.submit_event("a", "Tick", {.tenant = kTenant}).error().code, ErrorCode::closed);
}

TEST_F(Beside, AClientReadsWhatTheEngineWrites) {
  WorkflowRuntime runtime = open_engine();
  auto client = Client::open(store_).value();
  start(runtime, "a", 30);
  start(runtime, "b", 1);
  for (int n = 0; n < 29; ++n) tick(runtime, "a");
  tick(runtime, "b");
  const auto state = client.get_execution_state("a", kTenant);
  ASSERT_TRUE(state) << state.error().message;
  EXPECT_EQ(state->data.bytes, R"({"n":29})");
  EXPECT_EQ(state->status, "running");
  EXPECT_EQ(state->condition, "waiting");
  const auto history = client.get_history("a", kTenant);
  ASSERT_TRUE(history);
  EXPECT_EQ(static_cast<std::int64_t>(history->size()), state->sequence);
  for (std::int64_t at = 1; at <= state->sequence; at += 5) {
    const auto there = client.get_execution_state("a", kTenant, at);
    const auto here = runtime.get_execution_state("a", {.tenant = kTenant, .at_sequence = at});
    ASSERT_TRUE(there && here);
    EXPECT_EQ(there->data.bytes, here->data.bytes) << at;
    EXPECT_EQ(there->sequence, here->sequence) << at;
  }
  ListQuery query;
  query.tenant = kTenant;
  query.limit = 1;
  const auto newest = client.list_executions(query);
  ASSERT_TRUE(newest);
  ASSERT_EQ(newest->executions.size(), 1U);
  EXPECT_EQ(newest->executions[0].execution_id, "b");
  EXPECT_EQ(newest->executions[0].result.bytes, "1");
  query.cursor = newest->cursor;
  EXPECT_EQ(client.list_executions(query)->executions.at(0).execution_id, "a");

  EXPECT_EQ(client.get_execution_state("a", "other").error().code, ErrorCode::unknown_execution);
  EXPECT_EQ(client.get_history("none", kTenant).error().code, ErrorCode::unknown_execution);
  EXPECT_EQ(client.get_execution_state("a", kTenant, 0).error().code, ErrorCode::invalid_argument);
  query.limit = 0;
  EXPECT_EQ(client.list_executions(query).error().code, ErrorCode::invalid_argument);
  client.close();
  client.close();
  EXPECT_EQ(client.get_history("a", kTenant).error().code, ErrorCode::closed);
  tick(runtime, "a");
  EXPECT_TRUE(runtime.wait_for_workflow_completion<int>("a", {.tenant = kTenant}));
}

TEST_F(Beside, WhatManyReadersSeeOnlyGrows) {
  WorkflowRuntime runtime = open_engine();
  constexpr int kTicks = 300;
  start(runtime, "a", kTicks);
  std::atomic<bool> done = false;
  std::vector<std::thread> readers;
  for (int reader = 0; reader < 3; ++reader) {
    readers.emplace_back([&] {
      auto client = Client::open(store_).value();
      std::int64_t before = 0;
      while (!done) {
        const auto state = client.get_execution_state("a", kTenant);
        ASSERT_TRUE(state) << state.error().message;
        EXPECT_GE(state->sequence, before);
        before = state->sequence;
        // Started and WaitStarted, then three records for each tick but the last.
        const auto n = (state->sequence - 2) / 3;
        EXPECT_EQ(state->data.bytes, n == 0 ? "{}" : fmt::format(R"({{"n":{}}})", n));
      }
    });
  }
  for (int n = 0; n < kTicks; ++n) tick(runtime, "a");
  EXPECT_TRUE(runtime.wait_for_workflow_completion<int>("a", {.tenant = kTenant}));
  done = true;
  for (std::thread& reader : readers) reader.join();
}

TEST_F(Beside, AClientReadsWithoutAnEngineAndMakesNoFile) {
  EXPECT_EQ(Client::open(store_).error().code, ErrorCode::store_unavailable);
  EXPECT_FALSE(std::filesystem::exists(path_));
  EXPECT_EQ(Client::open("elsewhere").error().code, ErrorCode::invalid_argument);
  {
    WorkflowRuntime runtime = open_engine();
    start(runtime, "a", 2);
    tick(runtime, "a");
  }
  auto client = Client::open(store_).value();
  EXPECT_EQ(client.get_execution_state("a", kTenant)->data.bytes, R"({"n":1})");
  WorkflowRuntime runtime = open_engine();
  tick(runtime, "a");
  EXPECT_EQ(client.get_execution_state("a", kTenant)->result.bytes, "2");
}

}  // namespace
}  // namespace pawl
