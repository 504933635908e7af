#pragma once

// The state of an execution at any point of its history, from the records alone: no workflow code is
// run, so that it can be asked by anyone who can read the store.

#include <cstdint>
#include <optional>
#include <vector>

#include "core/store.h"
#include "model/execution_record.h"
#include "model/history_event.h"
#include "pawl/error.h"
#include "pawl/runtime.h"

namespace pawl {

// State, data and status after the record `at_sequence`, or as of now. A point inside an activation
// is rounded down to its start, since its commands take effect together; beyond the end is the end.
// Error: invalid_argument for a point before the first record.
Result<ExecutionState> state_at(const ExecutionRecord& execution,
                                const std::vector<HistoryEvent>& history,
                                std::optional<std::int64_t> at_sequence);

// Of a long history so many records are folded at most, and a snapshot is kept every so many.
inline constexpr std::int64_t kSnapshotInterval = 4'096;

struct StateRead {
  ExecutionState state;
  std::int64_t records = 0;  // that were read for it
  int snapshots = 0;         // that were handed to the store to keep
};

// The same from the store, from the newest snapshot before that point on. `execution` comes without
// its history. What snapshots are missing on the way are made.
Result<StateRead> read_state(HistorySource& store, const StoredExecution& execution,
                             std::optional<std::int64_t> at_sequence,
                             std::int64_t interval = kSnapshotInterval);

// A history has grown over a multiple of the interval: has its newest snapshot made, if that is due.
Result<StateRead> keep_snapshots(HistorySource& store, const StoredExecution& execution,
                                 std::int64_t interval = kSnapshotInterval);

// What the row alone tells: no data.
ExecutionState describe(const ExecutionRecord& execution);

HistoryRecord describe(const HistoryEvent& event);

}  // namespace pawl
