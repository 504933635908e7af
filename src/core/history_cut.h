#pragma once

// Which records of a history count: up to a point, and without those that a retry made void.

#include <cstdint>
#include <vector>

#include "core/store.h"
#include "model/history_event.h"
#include "pawl/error.h"

namespace pawl {

// The number of records, from the first, that make whole activations and end at or before `at`.
std::size_t whole_until(const std::vector<HistoryEvent>& history, std::int64_t at);

// What a fork begins with: the records of another execution up to a point, as they are.
// Errors: invalid_argument (there is no such point), wrong_status (it is the end).
Result<std::vector<HistoryEvent>> records_to_fork(const StoredExecution& source,
                                                  std::optional<std::int64_t> at);

}  // namespace pawl
