#pragma once

// Folds a history into what is told about it: state, data, status, result and error. The records are
// given one by one, so that a history of any length takes the memory of its data and of one
// activation.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/history_event.h"
#include "model/state_snapshot.h"
#include "pawl/error.h"
#include "pawl/runtime.h"

namespace pawl {

// A JSON object of those members, each JSON by its key.
std::string object_text(const std::map<std::string, std::string>& members);

// The commands of an activation take effect together: what is told is as of the end of the last whole
// one.
class StateFold {
 public:
  StateFold() = default;
  // Goes on from there. Errors: store_invalid.
  static Result<StateFold> from(const StateSnapshot& snapshot);

  // The record that follows. Errors: store_invalid, where it does not.
  Result<void> add(const HistoryEvent& event);

  std::int64_t last_sequence() const { return last_sequence_; }  // of what was added
  std::int64_t sequence() const { return known_.sequence; }      // up to which it tells
  bool ended() const { return is_terminal(known_.status); }
  std::size_t data_bytes() const { return known_.data_bytes; }

  // May be kept: no retry can make records void that are in it, since it ends before the activation
  // in which the execution failed.
  bool may_be_kept() const { return pending_.empty() && !ended() && known_.sequence > 0; }
  StateSnapshot snapshot(const ExecutionRecord& execution) const;

  // Sets all but what comes from the execution's row.
  void tell(ExecutionState& state) const;

 private:
  struct Known {
    std::int64_t sequence = 0;
    Timestamp at = 0;
    ExecutionStatus status = ExecutionStatus::running;
    std::string state = "initial";
    Payload result;
    std::optional<Failure> error;
    std::map<std::string, std::string> data;  // JSON by key
    std::size_t data_bytes = 0;
  };

  void set_data(std::string key, std::string value);
  void take_input(const Payload& input);
  Result<void> apply(const HistoryEvent& event);
  Result<void> apply_pending();

  Known known_;
  std::int64_t last_sequence_ = 0;
  std::vector<HistoryEvent> pending_;  // of an activation that has no end yet
  bool open_ = false;
  // As it was before the activation in which it failed: a retry goes back to that.
  std::optional<Known> before_failure_;
};

}  // namespace pawl
