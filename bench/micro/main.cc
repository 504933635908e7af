// What the parts of the engine cost, each by itself: time, memory asked for, instructions.
//
//   pawl_micro [--iterations=N] [--benchmark_filter=REGEX] [other options of Google Benchmark]
//
// With FOLDER in the environment, stores are made below that folder, else below build/.
// scripts/bench_check compares two versions.

#include <benchmark/benchmark.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "counting.h"
#include "suite.h"

namespace pawl::micro {

namespace {

class Registered final : public benchmark::internal::Benchmark {
 public:
  Registered(const std::string& name, Suite::Body body)
      : Benchmark(name.c_str()), body_(std::move(body)) {}

  void Run(benchmark::State& state) override { body_(state); }

 private:
  const Suite::Body body_;
};

}  // namespace

benchmark::internal::Benchmark& Suite::add(const std::string& name, Body body) {
  auto made = std::make_unique<Registered>(name, std::move(body));
  benchmark::internal::Benchmark& added = *made;
  benchmark::internal::RegisterBenchmarkInternal(made.release());
  if (options_.iterations > 0) added.Iterations(options_.iterations);
  return added;
}

void Suite::add_waiting(const std::string& name, Body body) {
  add(name, std::move(body)).MeasureProcessCPUTime()->UseRealTime();
}

namespace {

int run(int count, char** arguments) {
  begin_counting();
  SuiteOptions options;
  const char* const folder = std::getenv("FOLDER");
  options.folder = std::filesystem::path(folder != nullptr ? folder : "build") /
                   ("micro-" + std::to_string(getpid()));
  std::vector<char*> others;
  for (int i = 0; i < count; ++i) {
    const std::string_view argument = arguments[i];
    constexpr std::string_view kIterations = "--iterations=";
    if (argument.starts_with(kIterations)) {
      options.iterations = std::atoll(arguments[i] + kIterations.size());
    } else {
      others.push_back(arguments[i]);
    }
  }
  int left = static_cast<int>(others.size());
  benchmark::Initialize(&left, others.data());
  if (benchmark::ReportUnrecognizedArguments(left, others.data())) return 2;
  if (const char* const why = why_no_instructions()) {
    std::fprintf(stderr, "No instructions are counted: perf_event_open says '%s'.\n", why);
  }
  Suite suite(options);
  add_codecs(suite);
  add_matching(suite);
  add_shard(suite);
  add_host(suite);
  add_commits(suite);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  std::error_code ignored;
  std::filesystem::remove_all(options.folder, ignored);
  return 0;
}

}  // namespace

}  // namespace pawl::micro

int main(int count, char** arguments) { return pawl::micro::run(count, arguments); }
