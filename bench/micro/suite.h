#pragma once

// The micro-benchmarks by name: "part/what/size".

#include <benchmark/benchmark.h>

#include <filesystem>
#include <functional>
#include <string>

namespace pawl::micro {

struct SuiteOptions {
  benchmark::IterationCount iterations = 0;  // of each; 0: for as long as --benchmark_min_time says
  std::filesystem::path folder;              // for files of stores
};

class Suite {
 public:
  using Body = std::function<void(benchmark::State&)>;

  explicit Suite(SuiteOptions options) : options_(std::move(options)) {}

  benchmark::internal::Benchmark& add(const std::string& name, Body body);
  // For what waits for a disk, or works on other threads: judged by the time on the clock.
  void add_waiting(const std::string& name, Body body);

  const SuiteOptions& options() const { return options_; }

 private:
  const SuiteOptions options_;
};

void add_codecs(Suite& suite);
void add_matching(Suite& suite);
void add_shard(Suite& suite);
void add_host(Suite& suite);
void add_commits(Suite& suite);

}  // namespace pawl::micro
