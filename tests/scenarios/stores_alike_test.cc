// A workflow with something of everything does the same, record by record, whichever store it is on, also where it
// is taken up again in between.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "pawl/graph.h"
#include "pawl/pawl.h"
#include "pawl/postgres.h"
#include "tests/support/postgres_server.h"
#include "tests/support/temporary_folder.h"

namespace stores_alike_shapes {

struct Charge {
  struct Parameters {
    std::string order;
    int cents = 0;
  };
  struct Result {
    std::string receipt;
  };
};
PAWL_DESCRIBE(Charge::Parameters, order, cents);
PAWL_DESCRIBE(Charge::Result, receipt);

struct Note {
  struct Parameters {
    std::string text;
  };
};
PAWL_DESCRIBE(Note::Parameters, text);

pawl::Workflow<int> parcel(pawl::Context& ctx, int weight) {
  co_await ctx.run<Note>({.text = "weighed \xc3\xa9"});
  co_return weight * 2;
}

pawl::Workflow<std::string> order(pawl::Context& ctx, std::string id) {
  using namespace std::chrono_literals;
  ctx.set_state("charging");
  ctx.data().set("id", id);
  const auto charged = co_await ctx.run<Charge>({.order = id, .cents = 1'299});
  co_await ctx.sleep(5ms);
  auto child = ctx.start_child<int>("Parcel", 21);
  ctx.set_state("waiting");
  const auto approved = co_await ctx.wait_for("Approved").within(1h);
  pawl::Graph graph;
  graph.add<Note>("first", {.text = "one"});
  graph.add<Note>("second", {.text = "two"}, {.depends_on = {"first"}, .sync_point = "noted"});
  graph.add<Charge>("third", {.order = id, .cents = 1}, {.depends_on = {"noted"}});
  const pawl::GraphOutcomes outcomes = co_await ctx.execute_actions(graph);
  const auto late = co_await ctx.wait_for("Never").within(10ms);
  const auto weight = co_await child;
  ctx.set_state("done");
  co_return fmt::format("{} {} {} {} {}", charged->receipt, approved.has_value(),
                        outcomes.succeeded(), late.has_value(), weight.has_value() ? *weight : -1);
}

}  // namespace stores_alike_shapes

namespace pawl {
namespace {

using namespace std::chrono_literals;
using namespace stores_alike_shapes;

constexpr const char* kTenant = "acme";

WorkflowRuntime open(const std::string& store) {
  WorkflowRuntimeOptions options;
  options.store = store;
  options.log = [](const LogLine&) {};
  WorkflowRuntime runtime = WorkflowRuntime::open(options).value();
  runtime.register_workflow("Order", &order).value();
  runtime.register_workflow("Parcel", &parcel).value();
  runtime
      .register_action<Charge>(
          [](Charge::Parameters p, const ActionContext& context) {
            // The first attempt at each fails: its retry is a timer.
            if (context.attempt == 1) throw std::runtime_error("the line is busy");
            return Charge::Result{fmt::format("{}-{}", p.order, p.cents)};
          },
          {.retry = {.initial_interval = 1ms, .jitter = 0}})
      .value();
  runtime.register_action<Note>([](Note::Parameters) {}).value();
  return runtime;
}

std::vector<std::string> history_of(WorkflowRuntime& runtime, const std::string& id) {
  std::promise<Result<std::vector<HistoryRecord>>> read;
  runtime.engine().get_history(kTenant, id,
                               [&](auto records) { read.set_value(std::move(records)); });
  std::vector<std::string> lines;
  for (const HistoryRecord& record : read.get_future().get().value()) {
    // Attributes have times and random numbers in them.
    lines.push_back(fmt::format("{} {} {} {} {} {}", record.sequence, record.type, record.name,
                                record.position, record.payload.bytes, record.ends_activation));
  }
  return lines;
}

struct Told {
  std::string result;
  std::vector<std::string> history;
};

Told tell(const std::string& store, const bool taken_up_again) {
  std::optional<WorkflowRuntime> runtime = open(store);
  runtime->start_workflow("Order", std::string("o-1"), {.tenant = kTenant, .execution_id = "o-1"})
      .value();
  const auto state = [&] {
    return runtime->get_execution_state("o-1", {.tenant = kTenant}).value().current_state;
  };
  while (state() != "waiting") std::this_thread::sleep_for(1ms);
  // What comes by itself comes before what is told: so its place in the history is the same.
  const auto outcome_is_there = [&] {
    const auto lines = history_of(*runtime, "o-1");
    return std::any_of(lines.begin(), lines.end(), [](const std::string& line) {
      return line.find("ChildOutcome") != std::string::npos ||
             line.find("ChildCompleted") != std::string::npos;
    });
  };
  while (!outcome_is_there()) std::this_thread::sleep_for(1ms);
  if (taken_up_again) {
    runtime.reset();
    runtime = open(store);
  }
  runtime->submit_event("o-1", "Approved", {.tenant = kTenant, .idempotency_key = "approval"})
      .value();
  Told told;
  told.result = runtime->wait_for_workflow_completion<std::string>("o-1", {.tenant = kTenant})
                    .value()
                    .result.value();
  told.history = history_of(*runtime, "o-1");
  return told;
}

TEST(StoresAlike, AWorkflowDoesTheSameOnEach) {
  use_postgres_stores();
  test::PostgresServer server;
  const TemporaryFolder folder;
  const Told plain = tell("sqlite:" + folder.file("plain.db"), false);
  EXPECT_EQ(plain.result, "o-1-1299 true true false 42");
  for (const bool taken_up_again : {false, true}) {
    const Told sqlite =
        tell("sqlite:" + folder.file(taken_up_again ? "again.db" : "once.db"), taken_up_again);
    const Told postgres = tell(server.new_database_address(), taken_up_again);
    EXPECT_EQ(sqlite.result, plain.result);
    EXPECT_EQ(postgres.result, plain.result);
    EXPECT_EQ(sqlite.history, plain.history);
    EXPECT_EQ(postgres.history, plain.history);
  }
}

}  // namespace
}  // namespace pawl
