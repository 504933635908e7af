#pragma once

// Which partitions this worker owns, under which epoch. A claim ends whatever its former owner has not
// committed: every commit of an owner looks at the row of its partition and keeps it until it is through, and a
// claim changes that row.

#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "postgres/store/pipeline.h"

namespace pawl {

struct Lease {
  int partition = 0;
  std::int64_t epoch = 0;
};

// Any thread.
class Leases {
 public:
  void add(const std::vector<Lease>& leases);
  void remove(int partition, std::int64_t epoch);
  std::optional<std::int64_t> epoch_of(int partition) const;
  std::vector<Lease> all() const;

 private:
  mutable std::mutex mutex_;
  std::map<int, std::int64_t> epochs_;  // under mutex_
};

// Over a connection of the caller's, with statements() prepared.
class LeaseRows {
 public:
  LeaseRows(PgPipeline& pipeline, std::string worker, std::chrono::milliseconds lease)
      : pipeline_(pipeline), worker_(std::move(worker)), lease_(lease) {}

  static const std::vector<PgStatement>& statements();

  // Those of the given ones that nobody holds, or nobody any more. One that a transaction looks at just now is
  // left for the next time.
  PgOutcome<std::vector<Lease>> claim(const std::vector<int>& partitions);
  // Those that are still held.
  PgOutcome<std::vector<Lease>> renew(const std::vector<Lease>& leases);
  PgOutcome<void> release(const std::vector<Lease>& leases);

 private:
  PgOutcome<std::vector<Lease>> run(const char* statement, const std::vector<Lease>& leases);

  PgPipeline& pipeline_;
  const std::string worker_;
  const std::chrono::milliseconds lease_;
};

}  // namespace pawl
