// Graphs of actions through the whole engine on SQLite with full sync: what an action of a graph costs beside
// one that workflow code runs itself, and how near a graph with random dependencies comes to the best that its
// dependencies and its bound allow.
//
//   bench_graphs [--n N] [--only WORKLOAD] [--folder DIR] [--out FILE]
//
// Appends one line of JSON per run to build/bench.jsonl: workload (parallel, graph_parallel, graph_random,
// graph_schedule), n, ms, us_each; of graph_schedule also ideal_ms, what a scheduler without any cost would
// need for the same durations in the same order.

#include <pawl/pawl.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <queue>
#include <random>
#include <thread>

namespace {

using Clock = std::chrono::steady_clock;

struct Step {
  struct Parameters {
    int ms = 0;  // that it takes
  };
};
PAWL_DESCRIBE(Step::Parameters, ms);

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
  for (int index = 0; index < plan.n; ++index) calls.push_back(ctx.run<Step>({.ms = plan.ms}));
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
    all.add<Step>(std::to_string(index), {nodes[index].ms}, options);
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

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "bench_graphs: %s\n", why.c_str());
  std::exit(1);
}

double rounded(double value) { return std::round(value * 1'000) / 1'000; }

}  // namespace

int main(int count, char** arguments) {
  int n = 10'000;
  std::string_view only;
  std::filesystem::path folder = "build/bench";
  std::filesystem::path out = "build/bench.jsonl";
  for (int index = 1; index + 1 < count; index += 2) {
    const std::string_view name = arguments[index];
    if (name == "--n") n = std::atoi(arguments[index + 1]);
    if (name == "--only") only = arguments[index + 1];
    if (name == "--folder") folder = arguments[index + 1];
    if (name == "--out") out = arguments[index + 1];
  }
  std::filesystem::create_directories(folder);
  const std::filesystem::path file = folder / "graphs.db";
  for (const char* const end : {"", "-wal", "-shm", "-lock"}) {
    std::filesystem::remove(file.string() + end);
  }
  pawl::WorkflowRuntimeOptions options;
  options.store = "sqlite:" + file.string();
  options.action_threads = 64;
  auto runtime = pawl::WorkflowRuntime::open(options).value();
  runtime.register_workflow("Parallel", &parallel).value();
  runtime.register_workflow("Graph", &graph).value();
  runtime
      .register_action<Step>([](const Step::Parameters& parameters) {
        if (parameters.ms > 0) {
          std::this_thread::sleep_for(std::chrono::milliseconds(parameters.ms));
        }
      })
      .value();

  const auto run = [&](const char* workload, const char* workflow, const Plan& plan) {
    if (!only.empty() && only != workload) return;
    const Clock::time_point begun = Clock::now();
    const std::string id = runtime.start_workflow(workflow, plan, {.tenant = "bench"}).value();
    const auto ended = runtime.wait_for_workflow_completion<int>(id, {.tenant = "bench"}).value();
    const std::chrono::duration<double, std::milli> took = Clock::now() - begun;
    if (ended.result != plan.n) give_up(std::string(workload) + " did not run all of its actions");
    const pawl::Json line = pawl::Json::object(
        {{"workload", workload},
         {"n", plan.n},
         {"ms", rounded(took.count())},
         {"us_each", rounded(took.count() * 1'000 / plan.n)},
         {"ideal_ms", plan.ms > 0 ? pawl::Json(ideal_ms(plan)) : pawl::Json(nullptr)}});
    const std::string text = line.dump().value();
    std::printf("%s\n", text.c_str());
    std::fflush(stdout);
    std::ofstream(out, std::ios::app) << text << "\n";
  };
  // Alternating, so that what the machine does besides meets both.
  for (int round = 0; round < 3; ++round) {
    run("parallel", "Parallel", {.n = n});
    run("graph_parallel", "Graph", {.n = n, .concurrency = n});
  }
  run("graph_random", "Graph", {.n = n, .edges = 3, .concurrency = 64});
  run("graph_schedule", "Graph", {.n = n / 10, .edges = 3, .ms = 20, .concurrency = 32});
  runtime.close();
}
