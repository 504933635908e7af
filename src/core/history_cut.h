#pragma once

// Which records of a history count: up to a point, and without those that a retry made void.

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "core/execution_fold.h"
#include "core/store.h"
#include "model/history_event.h"
#include "pawl/error.h"

namespace pawl {

// The number of records, from the first, that make whole activations and end at or before `at`.
std::size_t whole_until(const std::vector<HistoryEvent>& history, std::int64_t at);

// The records that retries made void.
class VoidRecords {
 public:
  VoidRecords() = default;
  explicit VoidRecords(std::span<const HistoryEvent> history) { add(history); }
  void add(std::span<const HistoryEvent> history);
  bool contains(const HistoryEvent& event) const;

 private:
  std::vector<std::pair<std::int64_t, std::int64_t>> ranges_;  // [from, until)
};

// Of one that should go to `end`.
Error history_cut_short(const ExecutionRecord& execution, std::int64_t read, std::int64_t end);

// Folds what counts of a history, from its first record.
Result<void> fold_history(ExecutionFold& fold, std::span<const HistoryEvent> history);

// What a fork begins with: the records of another execution up to a point, as they are.
// Errors: invalid_argument (there is no such point), wrong_status (it is the end).
Result<std::vector<HistoryEvent>> records_to_fork(const StoredExecution& source,
                                                  std::optional<std::int64_t> at);

}  // namespace pawl
