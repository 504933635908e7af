#pragma once

// What an execution is taken up with, read page by page: what its history adds up to, and from where its
// code is rebuilt. A history of one page is kept for that; a longer one is read again when it is due, so
// that what is held of it at once is bounded.

#include <cstdint>
#include <vector>

#include "core/execution_fold.h"
#include "core/replay.h"
#include "core/store.h"
#include "pawl/error.h"

namespace pawl {

class HistoryReading {
 public:
  // What is wanted of the history of one that has ended, whose row tells all else: nothing but the first
  // page, whose child it was, or all of it, kept. One that goes on is always read to its end.
  enum class Wanted { nothing, parent, all };

  // `stored` without its history: that is the first page to add().
  HistoryReading(StoredExecution stored, Wanted wanted);

  // The records that follow. Fails where they don't fit what came before, or where there are none.
  Result<void> add(std::vector<HistoryEvent> page);
  bool is_complete() const { return complete_; }
  std::int64_t last_sequence() const { return last_; }

  const StoredExecution& stored() const { return stored_; }
  StoredExecution& stored() { return stored_; }
  bool knows_parent() const { return folds_; }

  // Once complete: of one that goes on, and the parent of one that has ended.
  ExecutionFold take_fold();
  ReplayStart take_replay_start() { return std::move(replay_); }
  // Empty if it takes more than a page, or nothing is to be done with it.
  std::vector<HistoryEvent> take_history() { return std::move(history_); }

 private:
  StoredExecution stored_;
  const bool ended_;
  const bool keeps_all_;
  const bool folds_;
  ExecutionFold fold_;
  ReplayStart replay_;
  std::vector<HistoryEvent> history_;
  std::int64_t last_ = 0;
  bool complete_ = false;
};

}  // namespace pawl
