#pragma once

// What tests of stores need: a sink to wait on, transitions to commit, records to compare.

#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/store.h"

namespace pawl {

// Thread-safe.
class StoreDriver final : public CommitSink {
 public:
  // Where several workers share the store: with all partitions, unless others have some.
  void attach(Store& store, std::optional<int> partitions = std::nullopt);

  // Commits under the stream and generation of the requests.
  void commit(std::vector<CommitRequest> requests) { store_->commit(std::move(requests)); }
  // Commits to stream 0 in one call, waits, and returns the first error. A failure starts the next
  // generation.
  std::optional<Error> commit_and_wait(std::vector<Transition> transitions);

  // Waits until the stream's outcomes reach the id.
  void wait_for(std::uint32_t stream, std::uint64_t id);
  std::vector<CommitOutcome> outcomes(std::uint32_t stream) const;
  // Of a request that was reported.
  std::optional<Error> error_of(std::uint32_t stream, std::uint64_t id) const;

  void commits_finished(const std::vector<CommitOutcome>& outcomes) override;
  void partitions_taken(const std::vector<PartitionLease>& taken) override;
  // Given back at once.
  void partition_wanted(PartitionLease wanted, std::chrono::milliseconds within) override;
  void partition_lost(PartitionLease lost) override;
  std::set<int> partitions() const;
  void wait_for_partitions(std::size_t count);

 private:
  Store* store_ = nullptr;
  std::uint64_t next_id_ = 1;
  std::uint64_t generation_ = 0;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::uint32_t, std::vector<CommitOutcome>> outcomes_;
  std::set<int> partitions_;
};

// An execution with one record.
Transition start_transition(ExecutionRef ref, std::string tenant, std::string execution_id);
// `count` records from `sequence` on.
Transition append_transition(ExecutionRef ref, std::string tenant, std::int64_t sequence,
                             int count);

void expect_same(const ExecutionRecord& actual, const ExecutionRecord& expected);
void expect_same(const InboxRecord& actual, const InboxRecord& expected);
void expect_same(const ActionResultRecord& actual, const ActionResultRecord& expected);

}  // namespace pawl
