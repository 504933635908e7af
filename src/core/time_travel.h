#pragma once

// The state of an execution at any point of its history, from the records alone: no workflow code is
// run, so that it can be asked by anyone who can read the store.

#include <cstdint>
#include <optional>
#include <vector>

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

// What the row alone tells: no data.
ExecutionState describe(const ExecutionRecord& execution);

HistoryRecord describe(const HistoryEvent& event);

}  // namespace pawl
