#pragma once

// Numbers of executions and of rows of the inbox, given out from memory.

#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include "core/store.h"
#include "postgres/store/pipeline.h"

namespace pawl {

// Any thread; what takes a pipeline asks the database over it.
class PostgresNumbers {
 public:
  static const std::vector<PgStatement>& statements();

  // The number that follows the last one of that partition. It has to be this worker's.
  ExecutionRef next_execution(int partition);
  // Waits where the database gives out none for now.
  InboxId next_inbox();

  // Where the numbers of these partitions are, which were just taken over.
  PgOutcome<void> learn(PgPipeline& pipeline, const std::vector<PartitionLease>& taken);
  // Another block of numbers of rows.
  PgOutcome<void> take_block(PgPipeline& pipeline);
  bool needs_block() const;

  // Called, on the thread that took a number, when a block is needed. Before the first is taken.
  void when_block_is_needed(std::function<void()> wanted) { wanted_ = std::move(wanted); }
  // Whoever waits for a number is given one that is never used.
  void close();

 private:
  bool is_low() const;

  std::function<void()> wanted_;
  mutable std::mutex mutex_;
  // Guarded by mutex_.
  std::map<int, ExecutionRef> last_executions_;  // by partition
  std::condition_variable changed_;
  InboxId next_ = 0;
  InboxId end_ = 0;
  std::optional<InboxId> spare_;  // the first of a block
  bool closed_ = false;
};

}  // namespace pawl
