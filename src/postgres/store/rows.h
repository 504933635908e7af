#pragma once

// What a batch of transitions comes to, as the rows that PostgreSQL is given: of a row that several of them write
// only the last is left, since a statement writes each row once.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "core/partition.h"
#include "core/store.h"
#include "postgres/store/pipeline.h"

namespace pawl {

struct BatchStatement {
  const char* name;
  // How many rows it has to write; none: it does not matter.
  std::optional<std::int64_t> rows;
};

// One thread. Refers to the transitions that were added, which have to stay.
class BatchRows {
 public:
  // Into how many partitions the store is divided: for mail, which is put where its receiver is.
  explicit BatchRows(int partitions) : partitions_(partitions) {}

  void add(const Transition& transition);
  void add(const StateSnapshot& snapshot);
  // Of an action that this commit gives up, unless a transaction of its own has written its row.
  void give_up(ActionResultRecord row) { given_up_.push_back(std::move(row)); }
  // The actions of that execution that were given up are open again.
  void take_back(ExecutionRef execution);

  // Queues the statements that write all of it, and says which they are, in that order.
  std::vector<BatchStatement> queue(PgPipeline& pipeline) const;

  static const std::vector<PgStatement>& statements();

 private:
  struct ExecutionRow {
    std::optional<ExecutionRecord> created;
    std::optional<ExecutionChange> changed;
    const std::string* tenant = nullptr;
  };
  struct TimerRow {
    const TimerRecord* set = nullptr;  // null: cleared
    const std::string* tenant = nullptr;
  };
  struct InboxRow {
    const InboxRecord* added = nullptr;
    const InboxCompletion* completed = nullptr;
    ExecutionRef completed_by = 0;
  };
  struct GraphRow {
    const GraphActionRecord* added = nullptr;
    const std::string* tenant = nullptr;
    std::optional<bool> skipped;
  };
  struct PointRow {
    const SyncPointRecord* set = nullptr;
    const std::string* tenant = nullptr;
  };

  void queue_executions(PgPipeline& pipeline, std::vector<BatchStatement>& written) const;
  void queue_events(PgPipeline& pipeline, std::vector<BatchStatement>& written) const;
  void queue_timers(PgPipeline& pipeline, std::vector<BatchStatement>& written) const;
  void queue_results(PgPipeline& pipeline, std::vector<BatchStatement>& written) const;
  void queue_given_up(PgPipeline& pipeline, std::vector<BatchStatement>& written) const;
  void queue_graphs(PgPipeline& pipeline, std::vector<BatchStatement>& written) const;
  void queue_inbox(PgPipeline& pipeline, std::vector<BatchStatement>& written) const;
  void queue_snapshots(PgPipeline& pipeline, std::vector<BatchStatement>& written) const;

  const int partitions_;
  std::vector<const Transition*> transitions_;
  std::vector<const StateSnapshot*> snapshots_;
  std::vector<ActionResultRecord> given_up_;
  std::vector<ExecutionRef> taken_back_;
  std::map<ExecutionRef, ExecutionRow> executions_;
  std::map<std::pair<ExecutionRef, Position>, TimerRow> timers_;
  std::map<InboxId, InboxRow> inbox_;
  std::map<std::tuple<ExecutionRef, Position, Position>, GraphRow> graphs_;
  std::map<std::tuple<ExecutionRef, Position, std::string>, PointRow> points_;
};

}  // namespace pawl
