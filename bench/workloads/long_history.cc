// One execution whose history grows: what an event costs at its beginning and at its end, what the state at any
// point costs after a restart, and what replay, the integrity check and a backup take.
//
// In its line: event_first_p50_ms and event_last_p50_ms (of up to a thousand events, one after the other),
// state_p50_ms and state_max_ms (of 200 random points), replay_per_s (records), replay_s, beside_p50_ms and
// beside_max_ms (of events of another execution during the replay), check_per_s (records), backup_mib_per_s;
// rss_mib is the most from the restart to the end of the replay.

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <random>
#include <utility>
#include <vector>

#include "harness/durations.h"
#include "harness/give_up.h"
#include "harness/measurement.h"
#include "harness/process_usage.h"
#include "workloads/long_execution.h"
#include "workloads/workloads.h"

namespace bench {

namespace {

constexpr int kStates = 200;

struct Spread {
  double median = 0;
  double max = 0;
};

Spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {rounded(quantile(values, 0.5)), rounded(values.back())};
}

double median_of_ticks(pawl::WorkflowRuntime& runtime, const std::int64_t events) {
  std::vector<double> taken;
  taken.reserve(static_cast<std::size_t>(events));
  for (std::int64_t i = 0; i < events; ++i) taken.push_back(tick_ms(runtime));
  return spread_of(std::move(taken)).median;
}

Spread states(pawl::WorkflowRuntime& runtime, const std::int64_t end) {
  std::mt19937_64 random(1);
  std::vector<double> taken;
  taken.reserve(kStates);
  for (int i = 0; i < kStates; ++i) {
    const auto at = static_cast<std::int64_t>(1 + random() % static_cast<std::uint64_t>(end));
    taken.push_back(milliseconds([&] {
      if (!runtime.get_execution_state("long", {.tenant = kTenant, .at_sequence = at})) {
        give_up("a state can't be read");
      }
    }));
  }
  return spread_of(std::move(taken));
}

void run(const Run& run) {
  const StoreFile store(run);
  const std::filesystem::path copy = store.path().string() + ".backup";
  store.remove();
  std::filesystem::remove(copy);
  const std::int64_t events = std::max<std::int64_t>(3, run.n / kRecordsOfTick);
  const std::int64_t alone = std::min<std::int64_t>(1'000, events / 3);
  double first = 0;
  double last = 0;
  {
    auto runtime = open_long_execution(store);
    start_long_execution(runtime);
    first = median_of_ticks(runtime, alone);
    grow_long_execution(runtime, events - 2 * alone);
    last = median_of_ticks(runtime, alone);
  }
  forget_peak_rss();
  auto runtime = open_long_execution(store);
  const auto end = runtime.get_execution_state("long", {.tenant = kTenant}).value().sequence;
  const Spread state = states(runtime, end);
  const ReplayBeside replayed = replay_beside(runtime);
  Figures figures = figures_of(run, "records");
  figures.n = end;
  figures.rss_mib = peak_rss_mib();
  const double check_ms = milliseconds([&] {
    const auto found = runtime.check_integrity();
    if (!found || !found->sound()) give_up("the store is not sound");
  });
  double copied_mib = 0;
  const double backup_ms = milliseconds([&] {
    const auto done = runtime.backup(copy.string());
    if (!done) give_up(done.error().message);
    copied_mib = static_cast<double>(done->bytes) / 1'048'576;
  });
  std::filesystem::remove(copy);
  const auto records_per_s = [&](const double ms) {
    return std::round(static_cast<double>(end) / ms * 1'000);
  };
  const Spread others = spread_of(replayed.beside_ms);
  figures.more = {{"event_first_p50_ms", first},
                  {"event_last_p50_ms", last},
                  {"state_p50_ms", state.median},
                  {"state_max_ms", state.max},
                  {"replay_per_s", records_per_s(replayed.ms)},
                  {"replay_s", rounded(replayed.ms / 1'000)},
                  {"beside_p50_ms", others.median},
                  {"beside_max_ms", others.max},
                  {"check_per_s", records_per_s(check_ms)},
                  {"backup_mib_per_s", rounded(copied_mib / backup_ms * 1'000)}};
  runtime.close();
  const auto received = events + 2 + static_cast<std::int64_t>(replayed.beside_ms.size());
  finish(store, {.running = 2, .events = received}, static_cast<double>(end), std::move(figures));
}

}  // namespace

Workload long_history() {
  return {.name = "long-history",
          .about = "events, states, replay, check and backup of one history of n records",
          .cases = {{.concurrency = 1, .n = 300'000}},
          .run = &run};
}

}  // namespace bench
