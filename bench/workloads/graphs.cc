// Graphs of actions: what an action of a graph costs beside one that workflow code runs itself, and how near
// a graph with random dependencies comes to the best that its dependencies and its bound allow.

#include <algorithm>
#include <chrono>
#include <functional>
#include <queue>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <pawl/pawl.h>

#include "harness/durations.h"
#include "harness/give_up.h"
#include "harness/measurement.h"
#include "harness/process_usage.h"
#include "workloads/workloads.h"

namespace bench {

namespace {

constexpr std::int64_t kActionsMax = 20'000;  // of one graph: Limits::graph_actions_max

struct Pause {
  struct Parameters {
    int ms = 0;  // that it takes
  };
};
PAWL_DESCRIBE(Pause::Parameters, ms);

struct Plan {
  int n = 0;
  int edges = 0;  // each action depends on so many of those before it, at most
  int ms = 0;     // an action takes up to that
  int concurrency = 10;
};
PAWL_DESCRIBE(Plan, n, edges, ms, concurrency);

struct Node {
  std::vector<int> depends_on;
  int ms = 0;
};

// The same for the same plan.
std::vector<Node> nodes_of(const Plan& plan) {
  std::mt19937 random(42);
  std::vector<Node> nodes(static_cast<std::size_t>(plan.n));
  for (int index = 0; index < plan.n; ++index) {
    Node& node = nodes[static_cast<std::size_t>(index)];
    for (int edge = 0; edge < plan.edges && index > 0; ++edge) {
      node.depends_on.push_back(static_cast<int>(random() % static_cast<unsigned>(index)));
    }
    if (plan.ms > 0) node.ms = 1 + static_cast<int>(random() % static_cast<unsigned>(plan.ms));
  }
  return nodes;
}

pawl::Workflow<int> parallel(pawl::Context& ctx, Plan plan) {
  std::vector<pawl::ActionCall<void>> calls;
  calls.reserve(static_cast<std::size_t>(plan.n));
  for (int index = 0; index < plan.n; ++index) calls.push_back(ctx.run<Pause>({.ms = plan.ms}));
  int done = 0;
  for (const auto& result : co_await pawl::all(std::move(calls))) done += result ? 1 : 0;
  co_return done;
}

pawl::Workflow<int> graph(pawl::Context& ctx, Plan plan) {
  pawl::Graph all(plan.concurrency);
  const std::vector<Node> nodes = nodes_of(plan);
  for (std::size_t index = 0; index < nodes.size(); ++index) {
    pawl::GraphOptions options;
    for (const int other : nodes[index].depends_on)
      options.depends_on.push_back(std::to_string(other));
    all.add<Pause>(std::to_string(index), {nodes[index].ms}, options);
  }
  const pawl::GraphOutcomes outcomes = co_await ctx.execute_actions(all);
  int done = 0;
  for (const pawl::GraphOutcome& outcome : outcomes.all()) done += outcome.succeeded ? 1 : 0;
  co_return done;
}

// As the engine does it, the first that may begin first, but for nothing.
double ideal_ms(const Plan& plan) {
  const std::vector<Node> nodes = nodes_of(plan);
  std::vector<std::size_t> left(nodes.size());
  std::vector<std::vector<std::size_t>> after(nodes.size());
  for (std::size_t index = 0; index < nodes.size(); ++index) {
    std::vector<int> distinct = nodes[index].depends_on;
    std::sort(distinct.begin(), distinct.end());
    distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
    left[index] = distinct.size();
    for (const int other : distinct) after[static_cast<std::size_t>(other)].push_back(index);
  }
  std::priority_queue<std::size_t, std::vector<std::size_t>, std::greater<>> ready;
  for (std::size_t index = 0; index < nodes.size(); ++index) {
    if (left[index] == 0) ready.push(index);
  }
  using End = std::pair<int, std::size_t>;
  std::priority_queue<End, std::vector<End>, std::greater<>> running;
  int now = 0;
  while (!ready.empty() || !running.empty()) {
    while (!ready.empty() && running.size() < static_cast<std::size_t>(plan.concurrency)) {
      running.emplace(now + nodes[ready.top()].ms, ready.top());
      ready.pop();
    }
    now = running.top().first;
    for (const std::size_t next : after[running.top().second]) {
      if (--left[next] == 0) ready.push(next);
    }
    running.pop();
  }
  return now;
}

// One execution of the plan. Its figures are of its actions.
Figures run_one(const Run& run, pawl::WorkflowRuntime& runtime, std::string variant,
                const char* workflow, const Plan& plan) {
  const std::uint64_t syncs_before = runtime.engine().counters().commit_batches;
  const double cpu_before = cpu_seconds();
  const Stopwatch watch;
  const std::string id = runtime.start_workflow(workflow, plan, {.tenant = kTenant}).value();
  const auto ended = runtime.wait_for_workflow_completion<int>(id, {.tenant = kTenant}).value();
  const double ms = watch.ms();
  if (ended.result != plan.n) give_up(variant + " did not run all of its actions");
  Figures figures = figures_of(run, "actions");
  figures.variant = std::move(variant);
  figures.n = plan.n;
  figures.per_s = plan.n / ms * 1'000;
  figures.cpu_us = (cpu_seconds() - cpu_before) / plan.n * 1e6;
  figures.rss_mib = peak_rss_mib();
  figures.syncs = runtime.engine().counters().commit_batches - syncs_before;
  // And what a scheduler without any cost would need for the same durations in the same order.
  if (plan.ms > 0) figures.more = {{"ms", rounded(ms)}, {"ideal_ms", ideal_ms(plan)}};
  return figures;
}

void run(const Run& run) {
  constexpr int kRounds = 3;
  const StoreFile store(run);
  store.remove();
  auto runtime = store.open(64);
  runtime.register_workflow("Parallel", &parallel).value();
  runtime.register_workflow("Graph", &graph).value();
  runtime
      .register_action<Pause>([](const Pause::Parameters& parameters) {
        if (parameters.ms > 0) {
          std::this_thread::sleep_for(std::chrono::milliseconds(parameters.ms));
        }
      })
      .value();
  const int n = static_cast<int>(std::min(run.n, kActionsMax));
  std::vector<Figures> lines;
  // Alternating, so that what the machine does besides meets both.
  for (int round = 0; round < kRounds; ++round) {
    lines.push_back(run_one(run, runtime, "parallel", "Parallel", {.n = n}));
    lines.push_back(run_one(run, runtime, "graph_parallel", "Graph", {.n = n, .concurrency = n}));
  }
  lines.push_back(
      run_one(run, runtime, "graph_random", "Graph", {.n = n, .edges = 3, .concurrency = 64}));
  lines.push_back(run_one(run, runtime, "graph_schedule", "Graph",
                          {.n = std::max(1, n / 10), .edges = 3, .ms = 20, .concurrency = 32}));
  runtime.close();
  std::int64_t actions = 0;
  for (const Figures& line : lines) actions += line.n;
  const double bytes_each = store.bytes() / static_cast<double>(actions);
  store.check({.completed = static_cast<std::int64_t>(lines.size()), .actions = actions});
  store.remove();
  for (Figures& line : lines) {
    line.disk_bytes_each = bytes_each;
    report(line);
  }
}

}  // namespace

Workload graphs() {
  return {.name = "graphs",
          .about = "one graph of actions beside the same actions run by code",
          .cases = {{.concurrency = 1, .n = 10'000}},
          .run = &run};
}

}  // namespace bench
