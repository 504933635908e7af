#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

// What one process measures.
struct Run {
  std::string workload;
  int concurrency = 1;       // clients, each of which waits for its answer before it asks again
  std::int64_t n = 0;        // in the workload's unit
  std::int64_t payload = 0;  // bytes; 0: that of the workload itself
  std::int64_t seconds = 0;  // that it lasts
  std::filesystem::path folder = "build/bench";
  // For the test of the suite: a row of this table is deleted before the rows are counted.
  std::string lose;
  // Of a workload that is made of several processes: which of them this one is. Empty: the first.
  std::string part;
};

struct Case {
  int concurrency = 1;
  std::int64_t n = 0;
};

struct Workload {
  std::string_view name;
  std::string_view about;        // a line of the help
  std::vector<Case> cases;       // that are run when nothing else is asked for
  bool any_concurrency = false;  // false: that of its cases is part of what it measures
  bool any_payload = false;      // --payload can be given
  std::int64_t seconds = 0;  // unless --seconds says another time; 0: it lasts as long as it takes
  void (*run)(const Run& run) = nullptr;
};

}  // namespace bench
