// One execution whose history grows to a million records: what an event costs at its beginning and at
// its end, what the state at any point costs after a restart, and what it takes to run its code again
// from the first record.
//
//   bench_long_history [--n RECORDS] [--folder DIR] [--out FILE]
//
// Appends one line of JSON to build/bench.jsonl: workload, host, store, n (records), event_first_p50_ms
// and event_last_p50_ms (of a thousand events, one after the other, each synced), state_p50_ms and
// state_max_ms (of 200 random points), replay_per_s (records), replay_s, beside_p50_ms and beside_max_ms
// (of events of another execution during the replay), rss_mib (at the most, from the restart to the end of
// the replay), check_per_s (records, by the integrity check), backup_mib_per_s.

#include <pawl/pawl.h>
#include <pawl/workflow_runtime.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <mutex>
#include <random>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kTenant = "bench";
constexpr int kRecordsOfTick = 3;
constexpr int kEventsAlone = 1'000;

pawl::Workflow<> ticks(pawl::Context& ctx) {
  for (int n = 1;; ++n) {
    co_await ctx.wait_for("Tick");
    ctx.data().set("n", n);
  }
}

[[noreturn]] void give_up(const std::string& why) {
  fmt::print(stderr, "bench_long_history: {}\n", why);
  std::exit(1);
}

double milliseconds(const std::function<void()>& work) {
  const Clock::time_point begun = Clock::now();
  work();
  return std::chrono::duration<double, std::milli>(Clock::now() - begun).count();
}

double rounded(const double value) { return std::round(value * 1'000) / 1'000; }

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// From here on it is counted anew.
void forget_peak_rss() { std::ofstream("/proc/self/clear_refs") << "5"; }

double peak_rss_mib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::strtod(line.c_str() + 6, nullptr) / 1024;
  }
  return 0;
}

class LongHistory {
 public:
  explicit LongHistory(std::filesystem::path file) : file_(std::move(file)) {
    for (const char* suffix : {"", "-wal", "-shm", "-lock", ".backup"}) {
      std::filesystem::remove(file_.string() + suffix);
    }
  }

  pawl::WorkflowRuntime open() const {
    pawl::WorkflowRuntimeOptions options;
    options.store = "sqlite:" + file_.string();
    options.action_threads = 1;
    options.log = [](const pawl::LogLine&) {};
    auto runtime = pawl::WorkflowRuntime::open(options).value();
    runtime.register_workflow("Ticks", &ticks).value();
    return runtime;
  }

  static double event(pawl::WorkflowRuntime& runtime, const std::string& id = "long") {
    return milliseconds([&] {
      const auto reply = runtime.submit_event(id, "Tick", {.tenant = kTenant});
      if (!reply) give_up(reply.error().message);
    });
  }
  static double median_event(pawl::WorkflowRuntime& runtime) {
    std::vector<double> taken;
    for (int i = 0; i < kEventsAlone; ++i) taken.push_back(event(runtime));
    return median(std::move(taken));
  }

  static void send(pawl::WorkflowRuntime& runtime, std::function<void()> done) {
    pawl::EventRequest request;
    request.tenant = kTenant;
    request.execution_id = "long";
    request.name = "Tick";
    runtime.engine().submit_event(std::move(request),
                                  [done = std::move(done)](pawl::Result<pawl::EventReply> reply) {
                                    if (!reply) give_up(reply.error().message);
                                    done();
                                  });
  }

  // Many at once.
  static void grow(pawl::WorkflowRuntime& runtime, const int events) {
    constexpr int kAtOnce = 256;
    std::mutex mutex;
    std::condition_variable changed;
    int under_way = 0;
    for (int sent = 0; sent < events; ++sent) {
      {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return under_way < kAtOnce; });
        ++under_way;
      }
      send(runtime, [&] {
        const std::lock_guard lock(mutex);
        --under_way;
        changed.notify_one();
      });
    }
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return under_way == 0; });
  }

  // Has it replayed by an event, and sends others to another execution meanwhile.
  static double replay(pawl::WorkflowRuntime& runtime, std::vector<double>& beside) {
    event(runtime, "beside");
    std::atomic<bool> over = false;
    return milliseconds([&] {
      send(runtime, [&] { over = true; });
      while (!over) beside.push_back(event(runtime, "beside"));
    });
  }

  const std::filesystem::path& file() const { return file_; }

 private:
  const std::filesystem::path file_;
};

}  // namespace

int main(int argc, char** argv) {
  int n = 1'000'000;
  std::filesystem::path folder = "build/bench";
  std::filesystem::path out = "build/bench.jsonl";
  for (int i = 1; i < argc; i += 2) {
    const std::string_view name = argv[i];
    if (i + 1 == argc) give_up("usage: [--n RECORDS] [--folder DIR] [--out FILE]");
    if (name == "--n") {
      n = std::atoi(argv[i + 1]);
    } else if (name == "--folder") {
      folder = argv[i + 1];
    } else if (name == "--out") {
      out = argv[i + 1];
    } else {
      give_up("unknown option " + std::string(name));
    }
  }
  std::filesystem::create_directories(folder);
  if (out.has_parent_path()) std::filesystem::create_directories(out.parent_path());

  const LongHistory history(folder / "long_history.db");
  double first = 0;
  double last = 0;
  {
    auto runtime = history.open();
    pawl::StartOptions start;
    start.tenant = kTenant;
    start.execution_id = "long";
    if (!runtime.start_workflow("Ticks", start)) give_up("it does not start");
    start.execution_id = "beside";
    if (!runtime.start_workflow("Ticks", start)) give_up("it does not start");
    first = LongHistory::median_event(runtime);
    LongHistory::grow(runtime, std::max(0, n / kRecordsOfTick - 2 * kEventsAlone));
    last = LongHistory::median_event(runtime);
  }
  forget_peak_rss();
  auto runtime = history.open();
  const auto end = runtime.get_execution_state("long", {.tenant = kTenant}).value().sequence;
  std::mt19937_64 random(1);
  std::vector<double> states;
  for (int i = 0; i < 200; ++i) {
    const auto at = static_cast<std::int64_t>(1 + random() % static_cast<std::uint64_t>(end));
    states.push_back(milliseconds([&] {
      if (!runtime.get_execution_state("long", {.tenant = kTenant, .at_sequence = at})) {
        give_up("a state can't be read");
      }
    }));
  }
  std::vector<double> beside;
  const double replay_ms = LongHistory::replay(runtime, beside);
  if (runtime.engine().counters().replays != 2) give_up("it was not replayed");
  const double rss = peak_rss_mib();
  const double check_ms = milliseconds([&] {
    const auto report = runtime.check_integrity();
    if (!report || !report->sound()) give_up("the store is not sound");
  });
  std::uint64_t copied = 0;
  const double backup_ms = milliseconds([&] {
    const auto report = runtime.backup(history.file().string() + ".backup");
    if (!report) give_up(report.error().message);
    copied = report->bytes;
  });
  const auto per_second = [&](const double ms) {
    return std::round(static_cast<double>(end) / ms * 1'000);
  };
  const pawl::Json line = pawl::Json::object(
      {{"workload", "long_history"},
       {"host", "cpp"},
       {"store", "sqlite"},
       {"n", end},
       {"event_first_p50_ms", rounded(first)},
       {"event_last_p50_ms", rounded(last)},
       {"state_p50_ms", rounded(median(states))},
       {"state_max_ms", rounded(*std::max_element(states.begin(), states.end()))},
       {"replay_per_s", per_second(replay_ms)},
       {"replay_s", rounded(replay_ms / 1'000)},
       {"beside_p50_ms", rounded(median(beside))},
       {"beside_max_ms", rounded(*std::max_element(beside.begin(), beside.end()))},
       {"rss_mib", rounded(rss)},
       {"check_per_s", per_second(check_ms)},
       {"backup_mib_per_s", rounded(static_cast<double>(copied) / 1'048'576 / backup_ms * 1'000)}});
  const std::string text = line.dump().value();
  fmt::print("{}\n", text);
  std::ofstream(out, std::ios::app) << text << "\n";
  return 0;
}
