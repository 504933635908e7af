#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <pawl/json.h>

#include "harness/workload.h"

namespace bench {

// What became of a run: a line of JSON. What is not there is null in it.
struct Figures {
  std::string workload;
  std::string variant = {};  // where a workload has several lines; empty: it has one
  int concurrency = 1;
  std::int64_t n = 0;
  std::string unit;  // of n and per_s
  std::optional<double> per_s = {};
  std::optional<double> p50_ms = {};
  std::optional<double> p99_ms = {};
  std::optional<double> cpu_us = {};  // of all threads, for one
  std::optional<double> rss_mib = {};
  std::optional<double> disk_bytes_each = {};
  std::optional<std::uint64_t> syncs = {};
  std::vector<pawl::JsonMember> more = {};  // of this workload alone
};

Figures figures_of(const Run& run, std::string unit);
// Sets both quantiles; sorts the values.
void set_quantiles(Figures& figures, std::vector<double> latencies_ms);

void report(const Figures& figures);
void print_line(const pawl::Json& line);

// To the thousandth.
double rounded(double value);

}  // namespace bench
