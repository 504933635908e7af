// Versions, patches and what a start can ask for, as a C++ program meets them: on a real file.

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <thread>

#include "pawl/pawl.h"
#include "pawl/workflow_runtime.h"
#include "tests/support/temporary_folder.h"

namespace starts_shapes {

struct Order {
  int n = 0;
};
PAWL_DESCRIBE(Order, n);

pawl::Workflow<std::string> tells_its_version(pawl::Context& ctx) {
  co_await ctx.wait_for("Go");
  co_return ctx.version();
}

pawl::Workflow<std::string> unpatched(pawl::Context& ctx) {
  ctx.set_state("packed");
  co_await ctx.wait_for("Go");
  co_return "by post";
}

pawl::Workflow<std::string> patched(pawl::Context& ctx) {
  if (ctx.patched("check-stock")) ctx.set_state("checked");
  ctx.set_state("packed");
  co_await ctx.wait_for("Go");
  if (ctx.patched("courier")) co_return "by courier";
  co_return "by post";
}

pawl::Workflow<> patient(pawl::Context& ctx, Order order) {
  ctx.data().set("ran", order.n);
  co_await ctx.wait_for("Never");
}

}  // namespace starts_shapes

namespace pawl {
namespace {

using namespace std::chrono_literals;
using starts_shapes::Order;

class TypedStarts : public ::testing::Test {
 protected:
  WorkflowRuntime open() {
    WorkflowRuntimeOptions options;
    options.store = "sqlite:" + (folder.path() / "pawl.db").string();
    options.log = [](const LogLine&) {};
    return WorkflowRuntime::open(options).value();
  }
  static std::chrono::sys_time<std::chrono::milliseconds> now() {
    return std::chrono::time_point_cast<std::chrono::milliseconds>(
        std::chrono::system_clock::now());
  }
  static std::vector<std::string> patches_in(WorkflowRuntime& runtime, const std::string& id) {
    std::vector<std::string> patches;
    for (const HistoryRecord& record : runtime.get_history(id, "acme").value()) {
      if (record.type == "Patched") patches.push_back(record.name);
    }
    return patches;
  }

  TemporaryFolder folder;
};

TEST_F(TypedStarts, TheHighestVersionIsTheDefaultAndEachExecutionStaysOnItsOwn) {
  WorkflowRuntime runtime = open();
  for (const char* const version : {"9.0.0", "10.0.0", "10.0.0-beta"}) {
    WorkflowDescription description;
    description.name = "Order";
    description.version = version;
    runtime.register_workflow(description, &starts_shapes::tells_its_version).value();
  }
  const std::string highest = runtime.start_workflow("Order", {.tenant = "acme"}).value();
  const std::string chosen =
      runtime.start_workflow("Order", {.tenant = "acme", .version = "9.0.0"}).value();
  for (const std::string& id : {highest, chosen}) {
    runtime.submit_event(id, "Go", {.tenant = "acme"}).value();
  }
  EXPECT_EQ(
      runtime.wait_for_workflow_completion<std::string>(highest, {.tenant = "acme"}).value().result,
      "10.0.0");
  EXPECT_EQ(
      runtime.wait_for_workflow_completion<std::string>(chosen, {.tenant = "acme"}).value().result,
      "9.0.0");
}

TEST_F(TypedStarts, WithoutItsVersionAnExecutionWaitsForIt) {
  std::string id;
  {
    WorkflowRuntime runtime = open();
    runtime.register_workflow("Order", &starts_shapes::tells_its_version).value();
    id = runtime.start_workflow("Order", {.tenant = "acme"}).value();
  }
  WorkflowRuntime runtime = open();
  WorkflowDescription second;
  second.name = "Order";
  second.version = "2.0.0";
  runtime.register_workflow(second, &starts_shapes::tells_its_version).value();
  EXPECT_FALSE(runtime.submit_event(id, "Go", {.tenant = "acme"}).value().consumed);
  ExecutionState state;
  do {
    std::this_thread::sleep_for(1ms);
    state = runtime.get_execution_state(id, {.tenant = "acme"}).value();
  } while (state.condition != "no_worker");
  EXPECT_EQ(state.condition_detail, "Order 1.0.0");
  runtime.register_workflow("Order", &starts_shapes::tells_its_version).value();
  EXPECT_EQ(
      runtime.wait_for_workflow_completion<std::string>(id, {.tenant = "acme"}).value().result,
      "1.0.0");
}

TEST_F(TypedStarts, APatchServesOldAndNewHistories) {
  std::string old;
  {
    WorkflowRuntime runtime = open();
    runtime.register_workflow("Ship", &starts_shapes::unpatched).value();
    old = runtime.start_workflow("Ship", {.tenant = "acme"}).value();
  }
  WorkflowRuntime runtime = open();
  runtime.register_workflow("Ship", &starts_shapes::patched).value();
  const std::string fresh = runtime.start_workflow("Ship", {.tenant = "acme"}).value();
  for (const std::string& id : {old, fresh}) {
    runtime.submit_event(id, "Go", {.tenant = "acme"}).value();
    EXPECT_EQ(
        runtime.wait_for_workflow_completion<std::string>(id, {.tenant = "acme"}).value().result,
        "by courier");
  }
  EXPECT_EQ(patches_in(runtime, old), (std::vector<std::string>{"courier"}));
  EXPECT_EQ(patches_in(runtime, fresh), (std::vector<std::string>{"check-stock", "courier"}));
}

TEST_F(TypedStarts, TheSameKeyIsTheSameExecution) {
  std::string id;
  {
    WorkflowRuntime runtime = open();
    runtime.register_workflow("Patient", &starts_shapes::patient).value();
    id = runtime
             .start_workflow("Patient", Order{1}, {.tenant = "acme", .idempotency_key = "order-17"})
             .value();
  }
  WorkflowRuntime runtime = open();
  runtime.register_workflow("Patient", &starts_shapes::patient).value();
  EXPECT_EQ(
      runtime.start_workflow("Patient", Order{1}, {.tenant = "acme", .idempotency_key = "order-17"})
          .value(),
      id);
  const auto other = runtime.start_workflow("Patient", Order{2},
                                            {.tenant = "acme", .idempotency_key = "order-17"});
  EXPECT_EQ(other.error().code, ErrorCode::already_exists);
  EXPECT_NE(other.error().message.find("order-17"), std::string::npos);
  const auto both = runtime.start_workflow(
      "Patient", Order{1}, {.tenant = "acme", .execution_id = "x", .idempotency_key = "y"});
  EXPECT_EQ(both.error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(runtime.list_executions({.tenant = "acme"}).value().executions.size(), 1U);
}

TEST_F(TypedStarts, LaterAndUntilADeadlineOverARestart) {
  std::string id;
  std::string scheduled;
  const auto start_at = now() + 300ms;
  {
    WorkflowRuntime runtime = open();
    runtime.register_workflow("Patient", &starts_shapes::patient).value();
    id = runtime
             .start_workflow("Patient", Order{1},
                             {.tenant = "acme", .start_at = start_at, .deadline = start_at + 100ms})
             .value();
    scheduled =
        runtime.start_workflow("Patient", Order{1}, {.tenant = "acme", .start_at = now() + 24h})
            .value();
    EXPECT_EQ(runtime.get_execution_state(scheduled, {.tenant = "acme"}).value().condition,
              "scheduled");
  }
  WorkflowRuntime runtime = open();
  runtime.register_workflow("Patient", &starts_shapes::patient).value();
  const auto done = runtime.wait_for_workflow_completion(id, {.tenant = "acme"}).value();
  EXPECT_EQ(done.status, "cancelled");
  EXPECT_EQ(done.error->message, "deadline");
  EXPECT_EQ(runtime.cancel_workflow(scheduled, {.tenant = "acme"}).value().status, "cancelled");
  const auto impossible = runtime.start_workflow(
      "Patient", Order{1}, {.tenant = "acme", .start_at = start_at, .deadline = start_at});
  EXPECT_EQ(impossible.error().code, ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace pawl
