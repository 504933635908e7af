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

#include "core/partition.h"
#include "postgres/store/pipeline.h"

namespace pawl {

// Any thread.
class Leases {
 public:
  void add(const std::vector<PartitionLease>& leases);
  // False: it is not held, or under another epoch.
  bool remove(int partition, std::int64_t epoch);
  std::optional<std::int64_t> epoch_of(int partition) const;
  std::vector<PartitionLease> all() const;

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

  // Of a partition that was claimed.
  struct Claimed {
    PartitionLease lease;
    bool was_left = true;  // false: its owner before ended, or was silent, without giving it back
  };
  // Those of the given ones that nobody holds, or nobody any more. One that a transaction looks at just now is
  // left for the next time.
  PgOutcome<std::vector<Claimed>> claim(const std::vector<int>& partitions);
  // Waits for the transactions that look at it.
  PgOutcome<std::vector<Claimed>> claim_waiting(int partition);
  // Those that are still held.
  PgOutcome<std::vector<PartitionLease>> renew(const std::vector<PartitionLease>& leases);
  PgOutcome<void> release(const std::vector<PartitionLease>& leases);

 private:
  PgOutcome<std::vector<PartitionLease>> run(const char* statement,
                                             const std::vector<PartitionLease>& leases);

  PgPipeline& pipeline_;
  const std::string worker_;
  const std::chrono::milliseconds lease_;
};

}  // namespace pawl
