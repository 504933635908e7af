// What work costs in a store that holds n executions already, half of them ended and half of them waiting. Each part
// is a process of its own:
//
//   fill  starts them
//   work  opens the store, wakes some of those that wait, one at a time and in random order, then runs three steps
//         with new ones
//
// In the line of each variant: `stored`, the executions that were there before, and ready_s, what opening took until
// a first event was answered; in that of `wake` what an event to an execution costs that is in no cache.

#include <algorithm>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "harness/child_process.h"
#include "harness/durations.h"
#include "harness/give_up.h"
#include "harness/measurement.h"
#include "harness/process_usage.h"
#include "harness/requests.h"
#include "workloads/actions.h"
#include "workloads/workloads.h"

namespace bench {

namespace {

constexpr std::int64_t kWorkflows = 20'000;
constexpr std::int64_t kWakesMax = 1'000;

pawl::Workflow<int> parks(pawl::Context& ctx) {
  co_await ctx.wait_for("Wake");
  co_return 1;
}

pawl::Workflow<int> ends(pawl::Context&) { co_return 1; }

pawl::Workflow<int> three_steps(pawl::Context& ctx) {
  int sum = 36;
  for (int i = 1; i <= 3; ++i) {
    const auto done = co_await ctx.run<Step>({.number = i});
    sum += done.value().number;
  }
  co_return sum;
}

std::string id_of(const std::int64_t number) { return fmt::format("stored-{}", number); }

pawl::WorkflowRuntime open(const StoreFile& store) {
  auto runtime = store.open();
  register_step(runtime);
  runtime.register_workflow("Parks", &parks).value();
  runtime.register_workflow("Ends", &ends).value();
  runtime.register_workflow("ThreeSteps", &three_steps).value();
  return runtime;
}

// Those with an odd number wait.
std::int64_t waiting_of(const Run& run) { return run.n / 2; }

std::int64_t woken_of(const Run& run) { return std::min(kWakesMax, waiting_of(run) - 1); }

void fill(const Run& run, const StoreFile& store) {
  auto runtime = open(store);
  pawl::Runtime& engine = runtime.engine();
  const Operation one = [&](const std::int64_t number, std::function<void()> done) {
    start(engine, number % 2 == 0 ? "Ends" : "Parks", id_of(number), {},
          [done = std::move(done)](const std::string&) { done(); });
  };
  ClosedLoop(0, run.n, run.concurrency, one).run();
  runtime.close();
  print_line(pawl::Json::object({{"bytes", store.bytes()}}));
}

void wake(pawl::Runtime& engine, const std::int64_t number, std::function<void()> done) {
  const std::string id = id_of(number);
  submit(engine, id, "Wake",
         [&engine, id, done = std::move(done)] { await_completion(engine, id, "1", done); });
}

void work(const Run& run, const StoreFile& store) {
  const Stopwatch opened;
  auto runtime = open(store);
  pawl::Runtime& engine = runtime.engine();
  std::vector<std::int64_t> order(static_cast<std::size_t>(waiting_of(run)));
  for (std::size_t at = 0; at < order.size(); ++at)
    order[at] = 2 * static_cast<std::int64_t>(at) + 1;
  std::shuffle(order.begin(), order.end(), std::mt19937_64(1));
  const auto wake_one = [&](const std::int64_t number, std::function<void()> done) {
    wake(engine, order[static_cast<std::size_t>(number)], std::move(done));
  };
  measure_cold({.n = 1}, engine, "executions", wake_one);
  const double ready_s = rounded(opened.seconds());

  Run wakes = run;
  wakes.concurrency = 1;
  wakes.n = woken_of(run);
  Figures woken = measure_cold(wakes, engine, "wakes", wake_one, 1).figures;
  woken.variant = "wake";
  Run steps = run;
  steps.n = kWorkflows;
  Figures stepped =
      measure_cold(steps, engine, "workflows", [&](std::int64_t, std::function<void()> done) {
        start(engine, "ThreeSteps", [&engine, done = std::move(done)](const std::string& id) {
          await_completion(engine, id, "42", done);
        });
      }).figures;
  stepped.variant = "three-step";
  runtime.close();
  for (Figures* const figures : {&woken, &stepped}) {
    figures->more = {{"stored", run.n}, {"ready_s", ready_s}};
    report(*figures);
  }
}

void run(const Run& asked) {
  Run run = asked;
  run.n = std::max<std::int64_t>(4, run.n);  // of two that wait, one answers the first call
  const StoreFile store(run);
  if (run.part == "fill") return fill(run, store);
  if (run.part == "work") return work(run, store);
  store.remove();
  double filled_bytes = 0;
  {
    ChildProcess process(run, "fill");
    filled_bytes = process.answer().find("bytes")->as_double();
    process.wait();
  }
  ChildProcess process(run, "work");
  pawl::Json woken = process.answer();
  pawl::Json stepped = process.answer();
  process.wait();
  const std::int64_t wakes = woken_of(run) + 1;
  store.check({.completed = run.n - waiting_of(run) + wakes + kWorkflows,
               .running = waiting_of(run) - wakes,
               .actions = 3 * kWorkflows,
               .events = wakes});
  store.remove();
  for (pawl::Json* const line : {&woken, &stepped}) {
    line->set("disk_bytes_each", rounded(filled_bytes / static_cast<double>(run.n)));
    print_line(*line);
  }
}

}  // namespace

Workload full_store() {
  return {.name = "full-store",
          .about = "three steps, and single wakes, in a store that holds n executions already",
          .cases = {{.concurrency = 256, .n = 100'000}},
          .any_concurrency = true,
          .run = &run};
}

}  // namespace bench
