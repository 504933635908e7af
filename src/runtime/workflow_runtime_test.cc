#include "pawl/workflow_runtime.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <stop_token>
#include <thread>

#include "pawl/pawl.h"
#include "tests/support/temporary_folder.h"

namespace runtime_shapes {

struct Order {
  std::string id;
  int lines = 0;
};
PAWL_DESCRIBE(Order, id, lines);

struct Approval {
  std::string by;
};
PAWL_DESCRIBE(Approval, by);

struct Pack {
  struct Parameters {
    std::string order_id;
    int line = 0;
  };
  struct Result {
    std::string parcel;
  };
};
PAWL_DESCRIBE(Pack::Parameters, order_id, line);
PAWL_DESCRIBE(Pack::Result, parcel);

pawl::Workflow<std::string> fulfil(pawl::Context& ctx, Order order) {
  ctx.set_state("waiting");
  const auto decision = co_await ctx.wait_for("Approve", "Reject");
  if (decision.name == "Reject") throw std::runtime_error("rejected");
  ctx.data().set("by", decision.payload_as<Approval>().value().by);
  ctx.set_state("packing");
  std::vector<pawl::ActionCall<Pack::Result>> calls;
  for (int line = 0; line < order.lines; ++line) {
    calls.push_back(ctx.run<Pack>({.order_id = order.id, .line = line}));
  }
  std::string parcels;
  for (const auto& packed : co_await pawl::all(std::move(calls))) {
    parcels += packed ? packed->parcel + " " : packed.error().name + " ";
  }
  ctx.set_state("packed");
  co_return parcels;
}

struct Unpack {
  struct Parameters {
    std::string parcel;
  };
};
PAWL_DESCRIBE(Unpack::Parameters, parcel);

// Packs two lines side by side, then the label, which may fail; then what was packed is unpacked.
pawl::Workflow<std::string> ship(pawl::Context& ctx, Order order) {
  pawl::Graph graph(2);
  for (int line = 0; line < order.lines; ++line) {
    graph.add<Pack>("line " + std::to_string(line), {order.id, line}, {.group = "lines"})
        .compensate_with<Unpack>({order.id});
  }
  pawl::GraphOptions last;
  last.depends_on = {"lines"};
  last.on_error = pawl::ErrorStrategy::compensate;
  last.run.retry.max_attempts = 1;
  graph.add<Pack>("label", {order.id, -1}, last);
  const pawl::GraphOutcomes outcomes = co_await ctx.execute_actions(graph);
  std::string text;
  for (const pawl::GraphOutcome& outcome : outcomes.all()) {
    const auto packed = outcome.as<Pack>();
    text += packed ? packed->parcel : packed.error().message;
    for (const auto& undone : outcome.compensations) {
      text += undone.succeeded ? " (undone)" : " (" + undone.error->message + ")";
    }
    text += "; ";
  }
  co_return text + (outcomes.succeeded() ? "shipped" : "not shipped");
}

// Ends elsewhere.
struct Sign {
  struct Parameters {
    std::string order_id;
  };
  struct Result {
    std::string by;
  };
};
PAWL_DESCRIBE(Sign::Parameters, order_id);
PAWL_DESCRIBE(Sign::Result, by);

pawl::Workflow<std::string> sign(pawl::Context& ctx, Order order) {
  const auto signed_by = co_await ctx.run<Sign>({.order_id = order.id});
  co_return signed_by ? signed_by->by : signed_by.error().message;
}

pawl::Workflow<std::string> circles(pawl::Context& ctx) {
  pawl::Graph graph;
  graph.add<Pack>("a", {"o", 1}, {.depends_on = {"a"}});
  co_await ctx.execute_actions(graph);
  co_return "";
}

}  // namespace runtime_shapes

namespace pawl {
namespace {

using namespace std::chrono_literals;
using runtime_shapes::Approval;
using runtime_shapes::fulfil;
using runtime_shapes::Order;
using runtime_shapes::Pack;
using testing::HasSubstr;

class WorkflowRuntimeTest : public testing::Test {
 protected:
  WorkflowRuntime open() {
    WorkflowRuntimeOptions options;
    options.action_threads = 4;
    options.log = [](const LogLine&) {};
    options.drain = 0ms;
    return open(std::move(options));
  }
  WorkflowRuntime open(WorkflowRuntimeOptions options) {
    options.store = "sqlite:" + (folder.path() / "pawl.db").string();
    return WorkflowRuntime::open(std::move(options)).value();
  }
  static Result<void> add_pack(WorkflowRuntime& runtime) {
    return runtime.register_action<Pack>(
        [](Pack::Parameters p) { return Pack::Result{p.order_id + "/" + std::to_string(p.line)}; });
  }

  TemporaryFolder folder;
};

// rule: 16
TEST_F(WorkflowRuntimeTest, AGraphRunsAndWhatFailsIsUndoneAndTold) {
  auto runtime = open({});
  ASSERT_TRUE(runtime.register_workflow("Ship", &runtime_shapes::ship));
  ASSERT_TRUE(runtime.register_workflow("Circles", &runtime_shapes::circles));
  ASSERT_TRUE(
      runtime.register_action<Pack>([](Pack::Parameters parameters) -> Result<Pack::Result> {
        if (parameters.line < 0 && parameters.order_id == "heavy") {
          return Error{ErrorCode::internal, "too heavy", {}};
        }
        return Pack::Result{parameters.order_id + " " + std::to_string(parameters.line)};
      }));
  std::atomic<int> unpacked = 0;
  ASSERT_TRUE(runtime.register_action<runtime_shapes::Unpack>(
      [&unpacked](const runtime_shapes::Unpack::Parameters&) { ++unpacked; }));
  const auto outcome = [&runtime](const std::string& id) {
    const auto started = runtime.start_workflow("Ship", Order{id, 2}, {.tenant = "acme"}).value();
    return *runtime.wait_for_workflow_completion<std::string>(started, {.tenant = "acme"})
                .value()
                .result;
  };
  EXPECT_EQ(outcome("light"), "light 0; light 1; light -1; shipped");
  EXPECT_EQ(unpacked, 0);
  EXPECT_EQ(outcome("heavy"), "heavy 0 (undone); heavy 1 (undone); too heavy; not shipped");
  EXPECT_EQ(unpacked, 2);

  const auto circling = runtime.start_workflow("Circles", {.tenant = "acme"}).value();
  const auto failed =
      runtime.wait_for_workflow_completion<std::string>(circling, {.tenant = "acme"}).value();
  EXPECT_EQ(failed.status, "failed");
  EXPECT_THAT(failed.error->message, HasSubstr("'a' waits for 'a'"));
}

TEST_F(WorkflowRuntimeTest, AnExecutionFromStartToResult) {
  WorkflowRuntime runtime = open();
  ASSERT_TRUE(runtime.register_workflow("Fulfil", &fulfil).has_value());
  ASSERT_TRUE(add_pack(runtime).has_value());
  const std::string id =
      runtime.start_workflow("Fulfil", Order{"o-1", 3}, {.tenant = "acme"}).value();
  const EventReply reply =
      runtime.submit_event(id, "Approve", Approval{"ann"}, {.tenant = "acme"}).value();
  EXPECT_TRUE(reply.consumed);
  EXPECT_EQ(reply.current_state, "packing");
  const auto done =
      runtime.wait_for_workflow_completion<std::string>(id, {.tenant = "acme"}).value();
  EXPECT_EQ(done.status, "completed");
  EXPECT_EQ(done.result, "o-1/0 o-1/1 o-1/2 ");
  EXPECT_EQ(done.state.data.bytes, R"({"by":"ann","id":"o-1","lines":3})");
  const auto history = runtime.get_history(id, "acme").value();
  EXPECT_EQ(history.front().type, "ExecutionStarted");
  EXPECT_EQ(history.back().type, "ExecutionCompleted");
  const auto early = runtime.get_execution_state(id, {.tenant = "acme", .at_sequence = 3}).value();
  EXPECT_EQ(early.current_state, "waiting");
  EXPECT_EQ(runtime.list_executions({.tenant = "acme"}).value().executions.size(), 1U);
}

TEST_F(WorkflowRuntimeTest, GoesOnAfterTheProcessThatBegan) {
  std::string id;
  {
    WorkflowRuntime runtime = open();
    runtime.register_workflow("Fulfil", &fulfil).value();
    id =
        runtime.start_workflow("Fulfil", Order{"o-2", 1}, {.tenant = "acme", .execution_id = "o-2"})
            .value();
    runtime.enqueue_event(id, "Approve", Approval{"ann"}, {.tenant = "acme"}).value();
  }
  WorkflowRuntime runtime = open();
  runtime.register_workflow("Fulfil", &fulfil).value();
  add_pack(runtime).value();
  const auto done =
      runtime.wait_for_workflow_completion<std::string>(id, {.tenant = "acme"}).value();
  EXPECT_EQ(done.result, "o-2/0 ");
}

// Closed while a handler runs, it runs again under the same key, and what it returns then counts.
// rule: 14
TEST_F(WorkflowRuntimeTest, AnInterruptedActionRunsAgainUnderItsKey) {
  std::mutex mutex;
  std::vector<std::string> keys;
  const auto note = [&](const ActionContext& context) {
    const std::lock_guard lock(mutex);
    keys.push_back(context.idempotency_key);
  };
  std::string id;
  {
    WorkflowRuntime runtime = open();
    std::promise<void> began;
    runtime
        .register_action<Pack>([&](Pack::Parameters, const ActionContext& context) {
          note(context);
          began.set_value();
          std::mutex own;
          std::condition_variable_any stopped;
          std::unique_lock lock(own);
          stopped.wait(lock, context.stop, [] { return false; });
          return Pack::Result{"too late"};
        })
        .value();
    runtime.register_workflow("Fulfil", &fulfil).value();
    id = runtime.start_workflow("Fulfil", Order{"o-3", 1}, {.tenant = "acme"}).value();
    runtime.submit_event(id, "Approve", Approval{"ann"}, {.tenant = "acme"}).value();
    began.get_future().wait();
  }
  WorkflowRuntime runtime = open();
  runtime
      .register_action<Pack>([&](Pack::Parameters, const ActionContext& context) {
        note(context);
        return Pack::Result{"in time"};
      })
      .value();
  runtime.register_workflow("Fulfil", &fulfil).value();
  EXPECT_EQ(
      runtime.wait_for_workflow_completion<std::string>(id, {.tenant = "acme"}).value().result,
      "in time ");
  ASSERT_EQ(keys.size(), 2U);
  EXPECT_EQ(keys[0], keys[1]);
}

// What runs when it is closed has its time; what only waits for a thread begins after the next opening.
// rule: 14
TEST_F(WorkflowRuntimeTest, ACloseLetsTheActionUnderWayEnd) {
  std::mutex mutex;
  std::vector<int> lines;
  const auto note = [&](const Pack::Parameters& p) {
    const std::lock_guard lock(mutex);
    lines.push_back(p.line);
    return Pack::Result{std::to_string(p.line)};
  };
  std::string id;
  {
    // As the destructor does it.
    WorkflowRuntime runtime =
        open({.action_threads = 1, .log = [](const LogLine&) {}, .drain = 1h});
    std::promise<void> began;
    std::promise<void> go_on;
    runtime
        .register_action<Pack>([&](Pack::Parameters p, const ActionContext& context) {
          began.set_value();
          go_on.get_future().wait();
          EXPECT_FALSE(context.stop.stop_requested());
          return note(p);
        })
        .value();
    runtime.register_workflow("Fulfil", &fulfil).value();
    id = runtime.start_workflow("Fulfil", Order{"o-5", 2}, {.tenant = "acme"}).value();
    runtime.submit_event(id, "Approve", Approval{"ann"}, {.tenant = "acme"}).value();
    began.get_future().wait();
    std::thread closer([&] { runtime.close(); });
    while (runtime.list_executions({.tenant = "acme"})) std::this_thread::yield();
    go_on.set_value();
    closer.join();
  }
  EXPECT_EQ(lines, std::vector<int>{0});
  WorkflowRuntime runtime = open();
  runtime.register_action<Pack>([&](Pack::Parameters p) { return note(p); }).value();
  runtime.register_workflow("Fulfil", &fulfil).value();
  EXPECT_EQ(
      runtime.wait_for_workflow_completion<std::string>(id, {.tenant = "acme"}).value().result,
      "0 1 ");
  EXPECT_EQ(lines, (std::vector<int>{0, 1}));
}

class ActionsThatEndElsewhere : public WorkflowRuntimeTest {
 protected:
  WorkflowRuntime open_signing() {
    auto runtime = open();
    runtime.register_workflow("Sign", &runtime_shapes::sign).value();
    runtime
        .register_action<runtime_shapes::Sign>(
            [this](const runtime_shapes::Sign::Parameters& p, const ActionContext& context) {
              const std::lock_guard lock(mutex_);
              tokens_[p.order_id] = context.token;
              context.complete_later();
              changed_.notify_all();
              return runtime_shapes::Sign::Result{};
            })
        .value();
    return runtime;
  }
  static std::string begin(WorkflowRuntime& runtime, const std::string& id) {
    return runtime
        .start_workflow("Sign", Order{id, 0}, {.tenant = "acme", .execution_id = "wf-" + id})
        .value();
  }
  std::string token_of(const std::string& id) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return tokens_.contains(id); });
    return tokens_[id];
  }
  static std::string result_of(WorkflowRuntime& runtime, const std::string& id) {
    return runtime.wait_for_workflow_completion<std::string>("wf-" + id, {.tenant = "acme"})
        .value()
        .result.value();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::string> tokens_;
};

// rule: 14
TEST_F(ActionsThatEndElsewhere, AreCompletedByWhoeverHasTheirToken) {
  auto runtime = open_signing();
  begin(runtime, "a");
  const std::string token = token_of("a");
  const auto told = runtime.complete_action(token, runtime_shapes::Sign::Result{"ann"});
  ASSERT_TRUE(told) << told.error().message;
  EXPECT_EQ(told->execution_id, "wf-a");
  EXPECT_EQ(result_of(runtime, "a"), "ann");
  const auto again = runtime.complete_action(token, runtime_shapes::Sign::Result{"ben"});
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::execution_ended);
  EXPECT_EQ(runtime.complete_action("nonsense").error().code, ErrorCode::invalid_argument);
}

// rules: 14, 15
TEST_F(ActionsThatEndElsewhere, FailWithoutAnotherAttemptWhereThatIsTold) {
  auto runtime = open_signing();
  begin(runtime, "a");
  ASSERT_TRUE(runtime.fail_action(token_of("a"), Failure{.name = "Refused", .message = "no pen"}));
  EXPECT_EQ(result_of(runtime, "a"), "no pen");
}

// rules: 1, 14
TEST_F(ActionsThatEndElsewhere, StayOpenOverARestart) {
  std::string token;
  {
    auto runtime = open_signing();
    begin(runtime, "a");
    token = token_of("a");
    // It is recorded that nothing runs for it before the runtime is closed.
    begin(runtime, "b");
    ASSERT_TRUE(runtime.complete_action(token_of("b"), runtime_shapes::Sign::Result{"ben"}));
    EXPECT_EQ(result_of(runtime, "b"), "ben");
  }
  auto runtime = open_signing();
  ASSERT_TRUE(runtime.complete_action(token, runtime_shapes::Sign::Result{"ann"}));
  EXPECT_EQ(result_of(runtime, "a"), "ann");
}

// rule: 15
TEST_F(WorkflowRuntimeTest, ANextAttemptIsToldWhatTheOneBeforeHadReached) {
  auto runtime = open();
  ASSERT_TRUE(runtime.register_action<Pack>(
      [](const Pack::Parameters& p, const ActionContext& context) {
        const int reached =
            context.progress.is_none() ? 0 : from_payload<int>(context.progress).value();
        context.heartbeat(reached + p.line);
        if (context.attempt < 3) throw std::runtime_error("dropped");
        return Pack::Result{std::to_string(reached)};
      },
      {.retry = {.initial_interval = 1ms}, .heartbeat_timeout = 60s}));
  const auto packed = runtime.execute_action<Pack>({.order_id = "o", .line = 5},
                                                   {.tenant = "acme", .idempotency_key = "pack"});
  ASSERT_TRUE(packed) << packed.error().message;
  EXPECT_EQ(packed->parcel, "10");
}

// rule: 15
TEST_F(WorkflowRuntimeTest, AnAttemptThatTellsNothingForTooLongIsGivenUp) {
  auto runtime = open();
  std::atomic<int> stopped = 0;
  ASSERT_TRUE(runtime.register_action<Pack>(
      [&stopped](const Pack::Parameters&, const ActionContext& context) {
        if (context.attempt > 1) return Pack::Result{"second"};
        context.heartbeat();
        std::mutex mutex;
        std::unique_lock lock(mutex);
        std::condition_variable_any().wait(lock, context.stop, [] { return false; });
        ++stopped;
        return Pack::Result{"first"};
      },
      {.retry = {.initial_interval = 1ms}, .heartbeat_timeout = 100ms}));
  const auto packed = runtime.execute_action<Pack>({.order_id = "o", .line = 5},
                                                   {.tenant = "acme", .idempotency_key = "pack"});
  ASSERT_TRUE(packed) << packed.error().message;
  EXPECT_EQ(packed->parcel, "second");
  runtime.close();
  EXPECT_EQ(stopped, 1);
}

// The only thread of the pool is lost to a handler that heeds nothing; the workflow goes on.
TEST_F(WorkflowRuntimeTest, AHandlerThatIgnoresItsTimeOutDoesNotStopTheOthers) {
  std::promise<void> release;
  {
    WorkflowRuntime runtime = open({.action_threads = 1, .log = [](const LogLine&) {}});
    runtime
        .register_action<Pack>([released = release.get_future().share()](Pack::Parameters p) {
          if (p.line == 0) released.wait();
          return Pack::Result{std::to_string(p.line)};
        })
        .value();
    const auto code = [](Context& ctx) -> Workflow<std::string> {
      std::string told;
      for (int line = 0; line < 2; ++line) {
        const auto packed = co_await ctx.run<Pack>(
            {.order_id = "o", .line = line},
            {.retry = {.max_attempts = 1}, .timeout = line == 0 ? 1ms : 600'000ms});
        told += packed ? packed->parcel + " " : packed.error().name + " ";
      }
      co_return told;
    };
    runtime.register_workflow("Late", code).value();
    const std::string id = runtime.start_workflow("Late", {.tenant = "acme"}).value();
    const auto done =
        runtime.wait_for_workflow_completion<std::string>(id, {.tenant = "acme", .wait_max = 60s});
    release.set_value();
    ASSERT_TRUE(done) << done.error().message;
    EXPECT_EQ(done->result, "TimeoutError 1 ");
  }
}

// A handler that is asked to stop may still call the runtime, which is there to refuse.
TEST_F(WorkflowRuntimeTest, AHandlerMayCallTheRuntimeWhileItIsDestroyed) {
  std::optional<ErrorCode> refused;
  {
    WorkflowRuntime runtime = open();
    std::promise<void> began;
    runtime
        .register_action<Pack>([&](Pack::Parameters, const ActionContext& context) {
          began.set_value();
          std::mutex own;
          std::condition_variable_any stopped;
          std::unique_lock lock(own);
          stopped.wait(lock, context.stop, [] { return false; });
          const auto listed = runtime.list_executions({.tenant = "acme"});
          if (!listed) refused = listed.error().code;
          return Pack::Result{};
        })
        .value();
    runtime.register_workflow("Fulfil", &fulfil).value();
    const std::string id =
        runtime.start_workflow("Fulfil", Order{"o-4", 1}, {.tenant = "acme"}).value();
    runtime.submit_event(id, "Approve", Approval{"ann"}, {.tenant = "acme"}).value();
    began.get_future().wait();
  }
  EXPECT_EQ(refused, ErrorCode::closed);
}

TEST_F(WorkflowRuntimeTest, AFailureEndsAsFailed) {
  WorkflowRuntime runtime = open();
  runtime.register_workflow("Fulfil", &fulfil).value();
  const std::string id =
      runtime.start_workflow("Fulfil", Order{"o", 1}, {.tenant = "acme"}).value();
  runtime.submit_event(id, "Reject", {.tenant = "acme"}).value();
  const auto done = runtime.wait_for_workflow_completion(id, {.tenant = "acme"}).value();
  EXPECT_EQ(done.status, "failed");
  EXPECT_EQ(done.error->name, "std::runtime_error");
  EXPECT_EQ(done.error->message, "rejected");
  EXPECT_FALSE(done.result.has_value());
  EXPECT_EQ(runtime.submit_event(id, "Approve", {.tenant = "acme"}).error().code,
            ErrorCode::execution_ended);
}

TEST_F(WorkflowRuntimeTest, RefusesWithAReason) {
  WorkflowRuntime runtime = open();
  runtime.register_workflow("Fulfil", &fulfil).value();
  const std::string id =
      runtime.start_workflow("Fulfil", Order{"o", 1}, {.tenant = "acme"}).value();
  EXPECT_EQ(runtime.start_workflow("Fulfill", Order{}, {.tenant = "acme"}).error().code,
            ErrorCode::unknown_workflow);
  EXPECT_EQ(runtime.start_workflow("Fulfil", Order{}, {.tenant = ""}).error().code,
            ErrorCode::invalid_argument);
  EXPECT_EQ(runtime.start_workflow("Fulfil", std::nan(""), {.tenant = "acme"}).error().code,
            ErrorCode::payload_refused);
  const auto elsewhere = runtime.submit_event(id, "Approve", {.tenant = "other"});
  EXPECT_EQ(elsewhere.error().code, ErrorCode::unknown_execution);
  EXPECT_EQ(runtime.get_history("none", "acme").error().code, ErrorCode::unknown_execution);
  const auto late = runtime.wait_for_workflow_completion(id, {.tenant = "acme", .wait_max = 10ms});
  EXPECT_EQ(late.error().code, ErrorCode::timeout);
  const auto impatient = runtime.submit_event(id, "Reject", {.tenant = "acme", .wait_max = 0ms});
  EXPECT_EQ(impatient.error().code, ErrorCode::timeout);
  const auto done = runtime.wait_for_workflow_completion(id, {.tenant = "acme"}).value();
  EXPECT_EQ(done.status, "failed") << "the event was taken all the same";
  const auto history = runtime.get_history(id, "acme").value();
  EXPECT_TRUE(std::any_of(history.begin(), history.end(), [&](const HistoryRecord& record) {
    return record.attributes_json.find(impatient.error().subject) != std::string::npos;
  }));
}

TEST_F(WorkflowRuntimeTest, RegisteringTwice) {
  WorkflowRuntime runtime = open();
  const auto other = +[](Context&) -> Workflow<> { co_return; };
  EXPECT_TRUE(runtime.register_workflow("Fulfil", &fulfil).has_value());
  EXPECT_TRUE(runtime.register_workflow("Fulfil", &fulfil).has_value());
  EXPECT_EQ(runtime.register_workflow("Fulfil", other).error().code, ErrorCode::already_exists);
  EXPECT_TRUE(runtime.register_workflow("Fulfil", other, true).has_value());
  EXPECT_EQ(runtime.register_workflow("", other).error().code, ErrorCode::invalid_argument);
  EXPECT_TRUE(add_pack(runtime).has_value());
  EXPECT_EQ(add_pack(runtime).error().code, ErrorCode::already_exists);
}

TEST_F(WorkflowRuntimeTest, AnActionByItself) {
  WorkflowRuntime runtime = open();
  std::atomic<int> calls = 0;
  runtime
      .register_action<Pack>([&](Pack::Parameters p) {
        ++calls;
        if (p.line < 0)
          throw FailureException(Failure{.name = "NoSuchLine",
                                         .message = "line -1",
                                         .failure_class = FailureClass::permanent});
        return Pack::Result{p.order_id};
      })
      .value();
  const ExecuteOptions options{.tenant = "acme", .idempotency_key = "k-1"};
  EXPECT_EQ(runtime.execute_action<Pack>({"o", 1}, options).value().parcel, "o");
  EXPECT_EQ(runtime.execute_action<Pack>({"o", 1}, options).value().parcel, "o");
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(runtime.execute_action<Pack>({"o", 2}, options).error().code,
            ErrorCode::already_exists);
  EXPECT_EQ(runtime.execute_action<Pack>({"o", -1}, {.tenant = "acme", .idempotency_key = "k-2"})
                .error()
                .code,
            ErrorCode::action_failed);
}

// Found before anything is begun, so that the call can be mended under its key.
// rule: 9
TEST_F(WorkflowRuntimeTest, ParametersThatAreRefusedUseUpNoKey) {
  WorkflowRuntime runtime = open();
  const ExecuteOptions options{.tenant = "acme", .idempotency_key = "k-1"};
  const auto execute = [&](const std::string& action, const std::string& parameters) {
    std::promise<Result<Payload>> told;
    ExecuteActionRequest request;
    request.tenant = "acme";
    request.idempotency_key = "k-1";
    request.name = action;
    request.parameters = Payload::json(parameters);
    runtime.engine().execute_action(
        request, [&told](Result<Payload> result) { told.set_value(std::move(result)); });
    return told.get_future().get();
  };
  EXPECT_EQ(runtime.execute_action<Pack>({"o", 1}, options).error().code,
            ErrorCode::unknown_action);
  add_pack(runtime).value();
  for (const char* const refused : {R"({"order_id":"o"})", R"({"order_id":5,"line":1})",
                                    R"({"order_id":"o","line":1,"lines":2})", "[1]", "null"}) {
    const Result<Payload> told = execute("pack", refused);
    ASSERT_FALSE(told) << refused;
    EXPECT_EQ(told.error().code, ErrorCode::validation) << refused;
    EXPECT_THAT(told.error().message, HasSubstr("parameters of Pack: ")) << refused;
  }
  const std::string long_id(3 * 1024 * 1024, 'x');
  EXPECT_EQ(runtime.execute_action<Pack>({long_id, 1}, options).error().code,
            ErrorCode::payload_too_large);
  EXPECT_EQ(runtime.execute_action<Pack>({"o", 1}, options).value().parcel, "o/1");
}

TEST_F(WorkflowRuntimeTest, WorkflowCodeCannotWaitForTheRuntime) {
  WorkflowRuntime runtime = open();
  const auto careless = [&runtime](Context&) -> Workflow<std::string> {
    co_return runtime.get_history("x", "acme").error().message;
  };
  runtime.register_workflow("Careless", careless).value();
  const std::string id = runtime.start_workflow("Careless", {.tenant = "acme"}).value();
  const auto done =
      runtime.wait_for_workflow_completion<std::string>(id, {.tenant = "acme"}).value();
  EXPECT_THAT(done.result.value_or(""), HasSubstr("called from workflow code"));
}

// Many executions at once, waits, parallel actions and timers among them.
TEST_F(WorkflowRuntimeTest, AHandlerAndWorkflowCodeCannotCloseIt) {
  WorkflowRuntime runtime = open();
  const auto refused = [&runtime] {
    try {
      runtime.close();
    } catch (const std::logic_error& refusal) {
      return std::string(refusal.what());
    }
    return std::string("closed");
  };
  runtime.register_action<Pack>([&](Pack::Parameters) { return Pack::Result{refused()}; }).value();
  const auto code = [&refused](Context& ctx) -> Workflow<std::string> {
    const std::string told = refused();
    const Result<Pack::Result, Failure> packed = co_await ctx.run<Pack>();
    co_return told + " / " + packed->parcel;
  };
  runtime.register_workflow("Closing", code).value();
  const std::string id = runtime.start_workflow("Closing", {.tenant = "acme"}).value();
  const auto done =
      runtime.wait_for_workflow_completion<std::string>(id, {.tenant = "acme"}).value();
  ASSERT_TRUE(done.result) << done.status;
  EXPECT_THAT(*done.result, HasSubstr("from workflow code, whose thread"));
  EXPECT_THAT(*done.result, HasSubstr("from an action's handler, for whose end"));
}

// Answers on a thread of its own, one by one, and counts what it was handed too much.
class NarrowHost final : public ActionHost {
 public:
  std::optional<std::size_t> capacity() const override { return 2; }
  void run(std::vector<ActionTask> tasks, const std::shared_ptr<ActionSink>& sink) override {
    const std::lock_guard lock(mutex_);
    for (ActionTask& task : tasks) {
      ++unanswered_;
      most_ = std::max(most_, unanswered_);
      queue_.push_back([this, sink, task = std::move(task)] {
        {
          const std::lock_guard answered(mutex_);
          --unanswered_;
        }
        std::vector<ActionOutcome> outcomes(1);
        outcomes[0].id = task.id;
        outcomes[0].execution = task.execution;
        outcomes[0].position = task.position;
        outcomes[0].outcome = Payload::json(R"({"parcel":"p"})");
        sink->actions_finished(std::move(outcomes));
      });
    }
    more_.notify_one();
  }
  void abort(AttemptId) override {}
  std::size_t most() const {
    const std::lock_guard lock(mutex_);
    return most_;
  }

 private:
  void work(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (more_.wait(lock, stop, [this] { return !queue_.empty(); })) {
      const std::function<void()> answer = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      answer();
      lock.lock();
    }
  }

  mutable std::mutex mutex_;
  std::condition_variable_any more_;
  std::deque<std::function<void()>> queue_;
  std::size_t unanswered_ = 0;
  std::size_t most_ = 0;
  std::jthread thread_{[this](const std::stop_token& stop) { work(stop); }};
};

TEST_F(WorkflowRuntimeTest, AHostIsHandedNoMoreThanItsCapacity) {
  NarrowHost host;
  WorkflowRuntime runtime = open();
  runtime.register_workflow("Fulfil", &fulfil).value();
  ActionDescription pack;
  pack.name = "Pack";
  runtime.engine().register_action(pack, host).value();
  const std::string id =
      runtime.start_workflow("Fulfil", Order{"o-1", 20}, {.tenant = "acme"}).value();
  runtime.submit_event(id, "Approve", Approval{"ann"}, {.tenant = "acme"}).value();
  const auto done =
      runtime.wait_for_workflow_completion<std::string>(id, {.tenant = "acme"}).value();
  EXPECT_EQ(done.status, "completed");
  EXPECT_EQ(host.most(), 2U);
  runtime.close();
}

TEST_F(WorkflowRuntimeTest, ManyAtOnce) {
  WorkflowRuntime runtime = open();
  runtime.register_workflow("Fulfil", &fulfil).value();
  add_pack(runtime).value();
  std::vector<std::string> ids;
  for (int i = 0; i < 200; ++i) {
    ids.push_back(
        runtime.start_workflow("Fulfil", Order{std::to_string(i), i % 5}, {.tenant = "acme"})
            .value());
    runtime.enqueue_event(ids.back(), "Approve", Approval{"ann"}, {.tenant = "acme"}).value();
  }
  for (int i = 0; i < 200; ++i) {
    std::string expected;
    for (int line = 0; line < i % 5; ++line) expected += fmt::format("{}/{} ", i, line);
    EXPECT_EQ(runtime
                  .wait_for_workflow_completion<std::string>(ids[static_cast<std::size_t>(i)],
                                                             {.tenant = "acme"})
                  .value()
                  .result,
              expected);
  }
}

}  // namespace
}  // namespace pawl
