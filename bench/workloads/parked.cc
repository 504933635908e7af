// Executions that wait, far more than are kept in memory. Each part is a process of its own:
//
//   park   starts them, and is killed
//   ready  opens the store and answers a first call, and is killed
//   wake   opens it again, and sends each the event that it waits for, in random order

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "harness/child_process.h"
#include "harness/durations.h"
#include "harness/give_up.h"
#include "harness/measurement.h"
#include "harness/process_usage.h"
#include "harness/requests.h"
#include "workloads/workloads.h"

namespace bench {

namespace {

pawl::Workflow<int> workflow(pawl::Context& ctx) {
  co_await ctx.wait_for("Wake");
  co_return 1;
}

std::string id_of(const std::int64_t number) { return fmt::format("parked-{}", number); }

pawl::WorkflowRuntime open(const StoreFile& store) {
  auto runtime = store.open();
  runtime.register_workflow("Parked", &workflow).value();
  return runtime;
}

// Until somebody ends this process.
[[noreturn]] void stay() {
  for (;;) pause();
}

void park(const Run& run, const StoreFile& store) {
  auto runtime = open(store);
  pawl::Runtime& engine = runtime.engine();
  report(measure_cold(run, engine, "starts", [&](std::int64_t number, std::function<void()> done) {
           start(engine, "Parked", id_of(number), {},
                 [done = std::move(done)](const std::string&) { done(); });
         }).figures);
  stay();
}

void ready(const StoreFile& store) {
  auto runtime = open(store);
  if (!runtime.submit_event(id_of(0), "Wake", {.tenant = kTenant})) give_up("no answer");
  print_line(pawl::Json::object({{"rss_mib", rounded(rss_mib())}}));
  stay();
}

void wake(const Run& run, const StoreFile& store) {
  auto runtime = open(store);
  pawl::Runtime& engine = runtime.engine();
  std::vector<std::int64_t> order(static_cast<std::size_t>(run.n - 1));
  std::iota(order.begin(), order.end(), 1);
  std::shuffle(order.begin(), order.end(), std::mt19937_64(1));
  Run others = run;
  others.n = run.n - 1;
  others.workload = "parked-woken";
  Figures figures =
      measure_cold(others, engine, "workflows",
                   [&](std::int64_t number, std::function<void()> done) {
                     const std::string id = id_of(order[static_cast<std::size_t>(number)]);
                     submit(engine, id, "Wake", [&engine, id, done = std::move(done)] {
                       await_completion(engine, id, "1", done);
                     });
                   })
          .figures;
  runtime.close();
  figures.disk_bytes_each = store.bytes() / static_cast<double>(run.n);
  report(figures);
}

void run(const Run& asked) {
  Run run = asked;
  run.n = std::max<std::int64_t>(2, run.n);  // one answers the first call, others are woken
  const StoreFile store(run);
  if (run.part == "park") return park(run, store);
  if (run.part == "ready") return ready(store);
  if (run.part == "wake") return wake(run, store);
  store.remove();
  pawl::Json parked;
  {
    ChildProcess process(run, "park");
    parked = process.answer();
    process.kill();
  }
  parked.set("disk_bytes_each", rounded(store.bytes() / static_cast<double>(run.n)));
  {
    const Stopwatch watch;
    ChildProcess process(run, "ready");
    const pawl::Json answer = process.answer();
    parked.set("ready_s", rounded(watch.seconds()));
    parked.set("rss_mib", *answer.find("rss_mib"));
    process.kill();
  }
  ChildProcess process(run, "wake");
  const pawl::Json woken = process.answer();
  process.wait();
  store.check({.completed = run.n, .events = run.n});
  store.remove();
  print_line(parked);
  print_line(woken);
}

}  // namespace

Workload parked() {
  return {
      .name = "parked",
      .about = "executions that wait: killed, ready again (ready_s), then woken in random order",
      .cases = {{.concurrency = 256, .n = 1'000'000}},
      .any_concurrency = true,
      .run = &run};
}

}  // namespace bench
