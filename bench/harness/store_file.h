#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include <pawl/pawl.h>

#include "harness/workload.h"

namespace bench {

inline constexpr const char* kTenant = "bench";

// What clients were told, and what therefore has to be in the file.
struct Acknowledged {
  std::int64_t completed = 0;  // executions
  std::int64_t running = 0;    // executions
  std::int64_t actions = 0;    // with a result
  std::int64_t events = 0;     // received by workflows
};

// The file of a run's store. Where a run fails it is left behind, to be looked at.
class StoreFile {
 public:
  explicit StoreFile(const Run& run);  // one from an earlier run is not deleted yet
  explicit StoreFile(std::filesystem::path path, std::string lose = {})
      : path_(std::move(path)), lose_(std::move(lose)) {}

  void remove() const;

  // Creates it where there is none.
  pawl::WorkflowRuntime open(std::size_t action_threads = 1) const;

  // Opens it again, counts its rows, and gives up where the two differ.
  void check(const Acknowledged& acknowledged) const;

  double bytes() const;  // with its log

  const std::filesystem::path& path() const { return path_; }

 private:
  void lose_a_row() const;

  std::filesystem::path path_;
  std::string lose_;  // see Run::lose
};

}  // namespace bench
