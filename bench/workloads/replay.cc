#include <algorithm>
#include <utility>
#include <vector>

#include "harness/give_up.h"
#include "harness/measurement.h"
#include "harness/process_usage.h"
#include "workloads/long_execution.h"
#include "workloads/workloads.h"

namespace bench {

namespace {

void run(const Run& run) {
  const StoreFile store(run);
  store.remove();
  const std::int64_t events = std::max<std::int64_t>(1, run.n / kRecordsOfTick);
  {
    auto runtime = open_long_execution(store);
    start_long_execution(runtime);
    grow_long_execution(runtime, events);
  }
  forget_peak_rss();
  auto runtime = open_long_execution(store);
  const auto end = runtime.get_execution_state("long", {.tenant = kTenant}).value().sequence;
  const double cpu_before = cpu_seconds();
  const double ms = replay_ms(runtime);
  Figures figures = figures_of(run, "records");
  figures.n = end;
  const auto records = static_cast<double>(end);
  figures.per_s = records / ms * 1'000;
  figures.cpu_us = (cpu_seconds() - cpu_before) / records * 1e6;
  figures.rss_mib = peak_rss_mib();
  figures.more = {{"replay_s", rounded(ms / 1'000)}};
  runtime.close();
  finish(store, {.running = 2, .events = events + 1}, records, std::move(figures));
}

}  // namespace

Workload replay() {
  return {.name = "replay",
          .about = "the code of one execution run again over a history of n records",
          .cases = {{.concurrency = 1, .n = 1'000'000}},
          .run = &run};
}

}  // namespace bench
