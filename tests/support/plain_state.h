#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/execution_record.h"
#include "model/history_event.h"
#include "pawl/runtime.h"

namespace pawl::testing {

// What there is to tell of an execution at a point of its history (from 1), or as of its end.
ExecutionState plain_state_at(const ExecutionRecord& execution,
                              const std::vector<HistoryEvent>& history,
                              std::optional<std::int64_t> at_sequence);

// All that a state tells, as text to compare.
std::string text_of(const ExecutionState& state);

// Has the engine tell the state at each point of that history while it grows and afterwards, with
// snapshots at every other record. None if all are as told the plain way, else the first that is not.
std::optional<std::string> find_untrue_state(const ExecutionRecord& execution,
                                             const std::vector<HistoryEvent>& history);

}  // namespace pawl::testing
