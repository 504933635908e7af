// The smallest useful workflow, three actions one after the other that do nothing, through the whole
// engine on SQLite with full sync: one at a time, and 256 at once. A figure counts only what was still
// there after the store was closed and opened again.
//
//   bench_three_step [--n N] [--concurrency C] [--folder DIR] [--out FILE]
//
// Appends one line of JSON per run to build/bench.jsonl: workload, host, store, concurrency, n, per_s,
// p50_ms, p99_ms, cpu_us (of all threads, per workflow), rss_mib, disk_bytes_each, syncs (transactions
// of the run; each is synced once), and, as the same disk's yardstick, runs of the workload raw_append:
// a block written and synced.

#include <pawl/pawl.h>

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>

namespace {

using Clock = std::chrono::steady_clock;

struct Step {
  struct Parameters {
    int number = 0;
  };
  struct Result {
    int number = 0;
  };
};
PAWL_DESCRIBE(Step::Parameters, number);
PAWL_DESCRIBE(Step::Result, number);

pawl::Workflow<int> three_step(pawl::Context& ctx, int input) {
  int sum = input;
  for (int i = 1; i <= 3; ++i) {
    const auto done = co_await ctx.run<Step>({.number = i});
    sum += done.value().number;
  }
  co_return sum;
}

struct Options {
  int n = 0;            // 0: by concurrency
  int concurrency = 0;  // 0: 1 and 256
  std::filesystem::path folder = "build/bench";
  std::filesystem::path out = "build/bench.jsonl";
};

[[noreturn]] void give_up(const std::string& why) {
  fmt::print(stderr, "bench_three_step: {}\n", why);
  std::exit(1);
}

double quantile(const std::vector<double>& sorted, double q) {
  return sorted[static_cast<std::size_t>(q * static_cast<double>(sorted.size() - 1))];
}

double rounded(double value) { return std::round(value * 1'000) / 1'000; }

void report(const Options& options, const pawl::Json& line) {
  const std::string text = line.dump().value();
  fmt::print("{}\n", text);
  std::fflush(stdout);
  std::ofstream(options.out, std::ios::app) << text << "\n";
}

// Of all threads of the process, so far.
double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double peak_rss_mib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::strtod(line.c_str() + 6, nullptr) / 1024;
  }
  return 0;
}

// Keeps so many executions under way until all have completed.
class Load {
 public:
  Load(pawl::Runtime& runtime, int n, int concurrency)
      : runtime_(runtime), n_(n), concurrency_(concurrency) {
    latencies_ms_.reserve(static_cast<std::size_t>(n));
  }

  std::vector<double> run() {
    for (int i = 0; i < std::min(concurrency_, n_); ++i) next();
    std::unique_lock lock(mutex_);
    finished_.wait(lock, [this] { return static_cast<int>(latencies_ms_.size()) == n_; });
    return std::move(latencies_ms_);
  }

 private:
  void next() {
    {
      const std::lock_guard lock(mutex_);
      if (started_ == n_) return;
      ++started_;
    }
    const Clock::time_point begun = Clock::now();
    pawl::StartRequest request;
    request.workflow = "ThreeStep";
    request.tenant = "bench";
    request.input = pawl::Payload::json("36");
    runtime_.start_workflow(std::move(request), [this, begun](pawl::Result<std::string> id) {
      if (!id) give_up(id.error().message);
      runtime_.wait_for_completion("bench", *id, std::nullopt,
                                   [this, begun](pawl::Result<pawl::ExecutionState> state) {
                                     if (!state) give_up(state.error().message);
                                     if (state->result.bytes != "42") give_up("a wrong result");
                                     next();
                                     note(begun);  // last: the load may be gone after it
                                   });
    });
  }

  void note(Clock::time_point begun) {
    const std::chrono::duration<double, std::milli> took = Clock::now() - begun;
    const std::lock_guard lock(mutex_);
    latencies_ms_.push_back(took.count());
    if (static_cast<int>(latencies_ms_.size()) == n_) finished_.notify_one();
  }

  pawl::Runtime& runtime_;
  const int n_;
  const int concurrency_;
  std::mutex mutex_;
  std::condition_variable finished_;
  int started_ = 0;
  std::vector<double> latencies_ms_;
};

std::int64_t count(const std::filesystem::path& file, const char* query) {
  sqlite3* database = nullptr;
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_open_v2(file.c_str(), &database, SQLITE_OPEN_READWRITE, nullptr) != SQLITE_OK ||
      sqlite3_prepare_v2(database, query, -1, &statement, nullptr) != SQLITE_OK ||
      sqlite3_step(statement) != SQLITE_ROW) {
    give_up(std::string("reading back: ") + sqlite3_errmsg(database));
  }
  const std::int64_t rows = sqlite3_column_int64(statement, 0);
  sqlite3_finalize(statement);
  sqlite3_close(database);
  return rows;
}

void run(const Options& options, int concurrency, int n) {
  const std::filesystem::path file = options.folder / fmt::format("three_step_{}.db", concurrency);
  for (const char* suffix : {"", "-wal", "-shm", "-lock"}) {
    std::filesystem::remove(file.string() + suffix);
  }
  pawl::WorkflowRuntimeOptions open;
  open.store = "sqlite:" + file.string();
  open.action_threads = 1;
  auto runtime = pawl::WorkflowRuntime::open(open).value();
  runtime.register_action<Step>([](Step::Parameters p) { return Step::Result{p.number}; }).value();
  runtime.register_workflow("ThreeStep", &three_step).value();

  Load(runtime.engine(), std::max(16, n / 20), concurrency).run();  // warm
  const std::int64_t warmed = std::max(16, n / 20);
  const std::uint64_t batches_before = runtime.engine().counters().commit_batches;
  const double cpu_before = cpu_seconds();
  const Clock::time_point begun = Clock::now();
  std::vector<double> latencies = Load(runtime.engine(), n, concurrency).run();
  const std::chrono::duration<double> took = Clock::now() - begun;
  const double cpu_us = (cpu_seconds() - cpu_before) / n * 1e6;
  const std::uint64_t batches = runtime.engine().counters().commit_batches - batches_before;
  runtime.close();

  const std::int64_t completed =
      count(file, "SELECT count(*) FROM workflow_executions WHERE status = 'completed'");
  const std::int64_t results =
      count(file, "SELECT count(*) FROM workflow_action_results WHERE status = 'succeeded'");
  if (completed != n + warmed || results != 3 * (n + warmed)) {
    give_up(fmt::format("{} executions and {} results are in the file, of {} and {}", completed,
                        results, n + warmed, 3 * (n + warmed)));
  }
  std::uintmax_t bytes = 0;
  for (const char* suffix : {"", "-wal"}) {
    const std::filesystem::path part = file.string() + suffix;
    if (std::filesystem::exists(part)) bytes += std::filesystem::file_size(part);
  }
  std::sort(latencies.begin(), latencies.end());
  report(options,
         pawl::Json::object({{"workload", "three_step"},
                             {"host", "cpp"},
                             {"store", "sqlite"},
                             {"concurrency", concurrency},
                             {"n", n},
                             {"per_s", rounded(n / took.count())},
                             {"p50_ms", rounded(quantile(latencies, 0.5))},
                             {"p99_ms", rounded(quantile(latencies, 0.99))},
                             {"cpu_us", std::round(cpu_us)},
                             {"rss_mib", rounded(peak_rss_mib())},
                             {"disk_bytes_each", bytes / static_cast<std::uintmax_t>(completed)},
                             {"syncs", batches}}));
}

// Appends blocks to a file, each synced before the next.
void raw_append(const Options& options, std::size_t block) {
  const std::filesystem::path file = options.folder / "raw_append";
  const int descriptor = open(file.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
  if (descriptor < 0) give_up("cannot write " + file.string());
  const std::string bytes(block, 'x');
  constexpr int kBlocks = 1'000;
  std::vector<double> latencies;
  const Clock::time_point begun = Clock::now();
  for (int i = 0; i < kBlocks; ++i) {
    const Clock::time_point before = Clock::now();
    if (write(descriptor, bytes.data(), block) != static_cast<ssize_t>(block) ||
        fdatasync(descriptor) != 0) {
      give_up("cannot write " + file.string());
    }
    latencies.push_back(std::chrono::duration<double, std::milli>(Clock::now() - before).count());
  }
  const std::chrono::duration<double> took = Clock::now() - begun;
  close(descriptor);
  std::filesystem::remove(file);
  std::sort(latencies.begin(), latencies.end());
  report(options, pawl::Json::object({{"workload", "raw_append"},
                                      {"block_bytes", block},
                                      {"n", kBlocks},
                                      {"per_s", rounded(kBlocks / took.count())},
                                      {"p50_ms", rounded(quantile(latencies, 0.5))},
                                      {"p99_ms", rounded(quantile(latencies, 0.99))}}));
}

// In a process of its own, so that memory is that of the one run.
template <class F>
void apart(const F& work) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    work();
    std::fflush(stdout);
    _exit(0);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child || status != 0) std::exit(1);
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; i += 2) {
    const std::string_view name = argv[i];
    if (i + 1 == argc) give_up("usage: [--n N] [--concurrency C] [--folder DIR] [--out FILE]");
    const char* const value = argv[i + 1];
    if (name == "--n") {
      options.n = std::atoi(value);
    } else if (name == "--concurrency") {
      options.concurrency = std::atoi(value);
    } else if (name == "--folder") {
      options.folder = value;
    } else if (name == "--out") {
      options.out = value;
    } else {
      give_up("unknown option " + std::string(name));
    }
  }
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  std::filesystem::create_directories(options.folder);
  if (options.out.has_parent_path()) std::filesystem::create_directories(options.out.parent_path());
  raw_append(options, 4'096);
  raw_append(options, 256 * 1'024);
  for (const int concurrency : {1, 256}) {
    if (options.concurrency != 0 && options.concurrency != concurrency) continue;
    const int n = options.n != 0 ? options.n : (concurrency == 1 ? 2'000 : 30'000);
    apart([&] { run(options, concurrency, n); });
  }
  if (options.concurrency > 1 && options.concurrency != 256) {
    apart([&] { run(options, options.concurrency, options.n != 0 ? options.n : 20'000); });
  }
  return 0;
}
