#include "harness/report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include <fmt/format.h>

#include "harness/durations.h"

namespace bench {

namespace {

pawl::Json figure(const std::optional<double>& value) {
  return value ? pawl::Json(rounded(*value)) : pawl::Json(nullptr);
}

}  // namespace

double rounded(const double value) { return std::round(value * 1'000) / 1'000; }

Figures figures_of(const Run& run, std::string unit) {
  return {.workload = run.workload,
          .concurrency = run.concurrency,
          .n = run.n,
          .unit = std::move(unit)};
}

void set_quantiles(Figures& figures, std::vector<double> latencies_ms) {
  if (latencies_ms.empty()) return;
  std::sort(latencies_ms.begin(), latencies_ms.end());
  figures.p50_ms = quantile(latencies_ms, 0.5);
  figures.p99_ms = quantile(latencies_ms, 0.99);
}

void report(const Figures& figures) {
  pawl::Json line = pawl::Json::object({{"workload", figures.workload}});
  if (!figures.variant.empty()) line.set("variant", figures.variant);
  line.set("host", "cpp");
  line.set("store", "sqlite");
  line.set("concurrency", figures.concurrency);
  line.set("n", figures.n);
  line.set("unit", figures.unit);
  line.set("per_s", figure(figures.per_s));
  line.set("p50_ms", figure(figures.p50_ms));
  line.set("p99_ms", figure(figures.p99_ms));
  line.set("cpu_us", figure(figures.cpu_us));
  line.set("rss_mib", figure(figures.rss_mib));
  line.set("disk_bytes_each", figure(figures.disk_bytes_each));
  line.set("syncs", figures.syncs ? pawl::Json(*figures.syncs) : pawl::Json(nullptr));
  for (const pawl::JsonMember& member : figures.more) line.set(member.key, member.value);
  print_line(line);
}

void print_line(const pawl::Json& line) {
  fmt::print("{}\n", line.dump().value());
  std::fflush(stdout);
}

}  // namespace bench
