// Database actions on the store's own file, beside actions that write nothing: what the transaction and its outcome
// cost, on SQLite with full sync.
//
//   bench_database_actions [--n N] [--at-once N] [--folder DIR] [--out FILE]
//
// Appends two lines of JSON to build/bench.jsonl: workload (simple_action, database_action), n, at_once, per_s. At the
// end what was written is counted.

#include <pawl/pawl.h>

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

namespace {

using Clock = std::chrono::steady_clock;

struct Increment {
  struct Parameters {
    int counter = 0;
  };
};
PAWL_DESCRIBE(Increment::Parameters, counter);

struct Nothing {
  struct Parameters {
    int counter = 0;
  };
};
PAWL_DESCRIBE(Nothing::Parameters, counter);

pawl::Workflow<void> increments(pawl::Context& ctx, int counter) {
  (co_await ctx.run<Increment>({.counter = counter})).value();
}

pawl::Workflow<void> does_nothing(pawl::Context& ctx, int counter) {
  (co_await ctx.run<Nothing>({.counter = counter})).value();
}

double measure(pawl::WorkflowRuntime& runtime, const char* workflow, const int n,
               const int at_once) {
  const auto begun = Clock::now();
  // Several callers, so that starts are committed together.
  std::vector<std::jthread> callers;
  std::atomic<int> next = 0;
  constexpr int kCallers = 16;
  for (int caller = 0; caller < kCallers; ++caller) {
    callers.emplace_back([&] {
      std::deque<std::string> mine;
      const auto wait_for_one = [&] {
        runtime.wait_for_workflow_completion(mine.front(), {.tenant = "bench"}).value();
        mine.pop_front();
      };
      while (next.fetch_add(1) < n) {
        mine.push_back(runtime.start_workflow(workflow, 1, {.tenant = "bench"}).value());
        if (static_cast<int>(mine.size()) >= std::max(1, at_once / kCallers)) wait_for_one();
      }
      while (!mine.empty()) wait_for_one();
    });
  }
  callers.clear();
  return n / std::chrono::duration<double>(Clock::now() - begun).count();
}

}  // namespace

int main(int argc, char** argv) {
  int n = 5'000;
  int at_once = 256;
  std::filesystem::path folder = std::filesystem::current_path();
  std::string out = "build/bench.jsonl";
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view option = argv[i];
    if (option == "--n") n = std::atoi(argv[i + 1]);
    if (option == "--at-once") at_once = std::atoi(argv[i + 1]);
    if (option == "--folder") folder = argv[i + 1];
    if (option == "--out") out = argv[i + 1];
  }
  const std::filesystem::path file = folder / fmt::format("bench-database-{}.db", getpid());
  std::int64_t counted = 0;
  {
    auto runtime = pawl::WorkflowRuntime::open({.store = "sqlite:" + file.string()}).value();
    auto session = runtime.database()->connect(pawl::SessionUse::application).value();
    session->run("CREATE TABLE counters(id INTEGER PRIMARY KEY, n INTEGER NOT NULL)", {}).value();
    session->run("INSERT INTO counters VALUES(1, 0)", {}).value();
    runtime.register_action<Nothing>([](const Nothing::Parameters&) {}).value();
    runtime
        .register_database_action<Increment>(
            [](const Increment::Parameters& p, pawl::Transaction& sql) {
              sql.execute("UPDATE counters SET n = n + 1 WHERE id = ?", p.counter).value();
            })
        .value();
    runtime.register_workflow("Increments", &increments).value();
    runtime.register_workflow("DoesNothing", &does_nothing).value();
    for (const auto& [workload, workflow] :
         {std::pair{"simple_action", "DoesNothing"}, {"database_action", "Increments"}}) {
      measure(runtime, workflow, n / 10, at_once);
      const double per_s = measure(runtime, workflow, n, at_once);
      const std::string line = fmt::format(
          R"({{"workload":"{}","n":{},"at_once":{},"per_s":{:.0f}}})", workload, n, at_once, per_s);
      std::cout << line << '\n';
      std::ofstream(out, std::ios::app) << line << '\n';
    }
    pawl::Transaction counters(*session);
    counted = counters.query_one<std::int64_t>("SELECT n FROM counters").value().value();
  }
  for (const char* const suffix : {"", "-wal", "-shm", "-lock"}) {
    std::filesystem::remove(file.string() + suffix);
  }
  if (counted != n + n / 10) {
    std::cerr << "counted " << counted << ", not " << n + n / 10 << '\n';
    return 1;
  }
  return 0;
}
