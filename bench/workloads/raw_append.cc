#include "harness/raw_append.h"

#include <numeric>
#include <utility>
#include <vector>

#include "harness/report.h"
#include "workloads/workloads.h"

namespace bench {

namespace {

constexpr std::size_t kBlockBytes = 4'096;

void run(const Run& run) {
  std::vector<double> latencies_ms =
      append_synced(run.folder, kBlockBytes, static_cast<std::size_t>(run.n));
  Figures figures = figures_of(run, "appends");
  const double ms = std::accumulate(latencies_ms.begin(), latencies_ms.end(), 0.0);
  figures.per_s = static_cast<double>(run.n) / ms * 1'000;
  figures.disk_bytes_each = static_cast<double>(kBlockBytes);
  figures.syncs = static_cast<std::uint64_t>(run.n);
  set_quantiles(figures, std::move(latencies_ms));
  report(figures);
}

}  // namespace

Workload raw_append() {
  return {.name = "raw-append",
          .about = "no engine: 4 KiB appended to a file and synced, the disk's own price",
          .cases = {{.concurrency = 1, .n = 500}},
          .run = &run};
}

}  // namespace bench
