#include "harness/measurement.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "harness/durations.h"
#include "harness/process_usage.h"

namespace bench {

namespace {

constexpr std::int64_t kWarmUpMin = 16;
constexpr std::int64_t kWarmUpMax = 2'000;
constexpr int kWarmUpClients = 64;

Figures measure_from(const Run& run, pawl::Runtime& engine, std::string unit,
                     const Operation& operation, const std::int64_t first,
                     const std::int64_t operations, const std::int64_t units_each) {
  const std::uint64_t syncs_before = engine.counters().commit_batches;
  const double cpu_before = cpu_seconds();
  const Stopwatch watch;
  std::vector<double> latencies = ClosedLoop(first, operations, run.concurrency, operation).run();
  const double seconds = watch.seconds();
  Figures figures = figures_of(run, std::move(unit));
  figures.n = operations * units_each;
  const auto units = static_cast<double>(figures.n);
  figures.per_s = units / seconds;
  figures.cpu_us = (cpu_seconds() - cpu_before) / units * 1e6;
  figures.rss_mib = peak_rss_mib();
  figures.syncs = engine.counters().commit_batches - syncs_before;
  set_quantiles(figures, std::move(latencies));
  return figures;
}

}  // namespace

Measured measure(const Run& run, pawl::Runtime& engine, std::string unit,
                 const Operation& operation, const std::int64_t units_each) {
  const std::int64_t operations = (run.n + units_each - 1) / units_each;
  const std::int64_t warm = std::clamp(operations / 10, kWarmUpMin, kWarmUpMax);
  ClosedLoop(0, warm, std::max(run.concurrency, kWarmUpClients), operation).run();
  return {measure_from(run, engine, std::move(unit), operation, warm, operations, units_each),
          warm + operations};
}

Measured measure_cold(const Run& run, pawl::Runtime& engine, std::string unit,
                      const Operation& operation, const std::int64_t first) {
  return {measure_from(run, engine, std::move(unit), operation, first, run.n, 1), run.n};
}

void finish(const StoreFile& store, const Acknowledged& acknowledged, const double units,
            Figures figures) {
  if (!figures.disk_bytes_each) figures.disk_bytes_each = store.bytes() / units;
  store.check(acknowledged);
  store.remove();
  report(figures);
}

}  // namespace bench
