#include "core/time_travel.h"

#include <fmt/format.h>
#include <algorithm>
#include <bit>

#include "core/state_fold.h"
#include "model/failure_codec.h"

namespace pawl {
ExecutionState describe(const ExecutionRecord& execution) {
  ExecutionState state;
  state.execution_id = execution.execution_id;
  state.tenant = execution.tenant;
  state.workflow = execution.workflow;
  state.version = execution.version;
  state.status = to_string(execution.status);
  state.condition = to_string(execution.condition);
  state.condition_detail = execution.condition_detail;
  state.current_state = execution.state;
  state.result = execution.result;
  if (!execution.error_json.empty()) state.error = decode_failure(execution.error_json);
  state.is_complete = is_terminal(execution.status);
  state.sequence = execution.last_sequence;
  state.user_id = execution.user_id;
  state.correlation_id = execution.correlation_id;
  state.created_at = execution.created_at;
  state.updated_at = execution.updated_at;
  return state;
}

HistoryRecord describe(const HistoryEvent& event) {
  return HistoryRecord{event.sequence,   std::string(to_string(event.type)),
                       event.at,         event.cause,
                       event.position,   event.ends_activation,
                       event.name,       event.payload,
                       event.attributes, event.site};
}

namespace {

Error no_such_point(const ExecutionRecord& execution, const std::int64_t at) {
  return Error{ErrorCode::invalid_argument,
               fmt::format("A history begins at sequence 1; there is no state at {}.", at),
               execution.execution_id};
}

ExecutionState tell(const ExecutionRecord& execution, const StateFold& fold,
                    const std::int64_t history_end) {
  ExecutionState state = describe(execution);
  fold.tell(state);
  if (fold.sequence() < history_end) {
    state.condition.clear();
    state.condition_detail.clear();
  } else if (!state.is_complete) {
    // Whether it is stuck, and why, is no record.
    state.status = to_string(execution.status);
    if (!execution.error_json.empty()) state.error = decode_failure(execution.error_json);
  }
  return state;
}

// Data that is large is kept seldom, so that what is kept does not outgrow the history.
bool kept_at(const std::int64_t multiple, const std::size_t data_bytes) {
  constexpr std::size_t kBytesPerInterval = 512 * 1024;
  const auto stride = std::bit_ceil(data_bytes / kBytesPerInterval + 1);
  return multiple % static_cast<std::int64_t>(stride) == 0;
}

// Folds on to that point, and keeps what there is to keep on the way.
Result<void> fold_to(HistorySource& store, const ExecutionRecord& execution, const std::int64_t end,
                     const std::int64_t interval, StateFold& fold, StateRead& read) {
  constexpr int kRecordsAtOnce = 512;
  std::int64_t multiple = fold.sequence() / interval;
  while (fold.last_sequence() < end) {
    const auto limit = std::min<std::int64_t>(kRecordsAtOnce, end - fold.last_sequence());
    const auto page =
        store.read_history(execution.ref, fold.last_sequence(), {static_cast<int>(limit)});
    if (!page) return page.error();
    if (page->empty()) {
      return Error{ErrorCode::store_invalid,
                   fmt::format("the history of execution '{}' ends at {}, before {}",
                               execution.execution_id, fold.last_sequence(), end),
                   execution.execution_id};
    }
    read.records += static_cast<std::int64_t>(page->size());
    for (const HistoryEvent& event : *page) {
      if (auto added = fold.add(event); !added) return added;
      if (fold.sequence() / interval == multiple || !fold.may_be_kept()) continue;
      multiple = fold.sequence() / interval;
      if (!kept_at(multiple, fold.data_bytes())) continue;
      store.keep_snapshot(fold.snapshot(execution));
      ++read.snapshots;
    }
  }
  return {};
}

}  // namespace

Result<ExecutionState> state_at(const ExecutionRecord& execution,
                                const std::vector<HistoryEvent>& history,
                                const std::optional<std::int64_t> at_sequence) {
  if (at_sequence && *at_sequence < 1) return no_such_point(execution, *at_sequence);
  const std::int64_t last = history.empty() ? 0 : history.back().sequence;
  StateFold fold;
  for (const HistoryEvent& event : history) {
    if (event.sequence > at_sequence.value_or(last)) break;
    if (auto added = fold.add(event); !added) return added.error();
  }
  return tell(execution, fold, last);
}

Result<StateRead> read_state(HistorySource& store, const StoredExecution& execution,
                             const std::optional<std::int64_t> at_sequence,
                             const std::int64_t interval) {
  const ExecutionRecord& record = execution.record;
  if (at_sequence && *at_sequence < 1) return no_such_point(record, *at_sequence);
  const std::int64_t end =
      std::min(at_sequence.value_or(execution.history_end), execution.history_end);
  StateRead read;
  StateFold fold;
  const auto snapshot = store.find_snapshot(record.ref, end);
  if (!snapshot) return snapshot.error();
  if (*snapshot) {
    // One that can't be used costs time, and nothing else.
    auto from = StateFold::from(**snapshot);
    if (from && fold_to(store, record, end, interval, *from, read)) {
      read.state = tell(record, *from, execution.history_end);
      return read;
    }
  }
  if (auto folded = fold_to(store, record, end, interval, fold, read); !folded) {
    return folded.error();
  }
  read.state = tell(record, fold, execution.history_end);
  return read;
}

Result<StateRead> keep_snapshots(HistorySource& store, const StoredExecution& execution,
                                 const std::int64_t interval) {
  const auto snapshot = store.find_snapshot(execution.record.ref, execution.history_end);
  if (!snapshot) return snapshot.error();
  const std::int64_t multiple = execution.history_end / interval;
  if (*snapshot && !kept_at(multiple, (*snapshot)->data_json.size())) return StateRead{};
  return read_state(store, execution, std::nullopt, interval);
}

}  // namespace pawl
