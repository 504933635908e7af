// What an engine costs that has nothing to do: executions that wait for an event, and some more whose timers are
// not due for a month. It is left alone until what its beginning has left to be done is over, then watched.
//
// In its line: core_percent of one core (of all threads, the timer of this workload among them), rss_begin_mib and
// rss_end_mib, context_switches and their number per second, over `seconds`.

#include <chrono>
#include <string>
#include <thread>
#include <utility>

#include "harness/durations.h"
#include "harness/give_up.h"
#include "harness/measurement.h"
#include "harness/process_usage.h"
#include "harness/requests.h"
#include "workloads/workloads.h"

namespace bench {

namespace {

using namespace std::chrono_literals;

constexpr std::int64_t kTimers = 1'000;
constexpr int kAtOnce = 256;
constexpr auto kSettles = 2s;

pawl::Workflow<> parks(pawl::Context& ctx) { co_await ctx.wait_for("Wake"); }

pawl::Workflow<> sleeps(pawl::Context& ctx) { co_await ctx.sleep(std::chrono::days(30)); }

void start_all(pawl::Runtime& engine, const char* const workflow, const std::int64_t n) {
  const Operation one = [&](std::int64_t, std::function<void()> done) {
    start(engine, workflow, [done = std::move(done)](const std::string&) { done(); });
  };
  ClosedLoop(0, n, kAtOnce, one).run();
}

void run(const Run& run) {
  const StoreFile store(run);
  store.remove();
  auto runtime = store.open();
  runtime.register_workflow("Parks", &parks).value();
  runtime.register_workflow("Sleeps", &sleeps).value();
  pawl::Runtime& engine = runtime.engine();
  start_all(engine, "Parks", run.n);
  start_all(engine, "Sleeps", kTimers);
  std::this_thread::sleep_for(kSettles);

  const std::uint64_t syncs_before = engine.counters().commit_batches;
  const std::int64_t switches_before = context_switches();
  const double rss_before = rss_mib();
  const double cpu_before = cpu_seconds();
  const Stopwatch watch;
  std::this_thread::sleep_for(std::chrono::seconds(run.seconds));
  const double seconds = watch.seconds();
  const double cpu = cpu_seconds() - cpu_before;
  const std::int64_t switches = context_switches() - switches_before;
  Figures figures = figures_of(run, "executions");
  figures.n = run.n + kTimers;
  figures.rss_mib = peak_rss_mib();
  figures.syncs = engine.counters().commit_batches - syncs_before;
  figures.more = {{"seconds", rounded(seconds)},
                  {"core_percent", rounded(cpu / seconds * 100)},
                  {"rss_begin_mib", rounded(rss_before)},
                  {"rss_end_mib", rounded(rss_mib())},
                  {"context_switches", switches},
                  {"switches_per_s", rounded(static_cast<double>(switches) / seconds)}};
  runtime.close();
  const std::int64_t executions = figures.n;
  finish(store, {.running = executions}, static_cast<double>(executions), std::move(figures));
}

}  // namespace

Workload idle() {
  return {.name = "idle",
          .about = "n executions that wait and 1,000 timers that are not due, for a minute",
          .cases = {{.concurrency = 1, .n = 100'000}},
          .seconds = 60,
          .run = &run};
}

}  // namespace bench
