#include "core/history_cut.h"

#include <fmt/format.h>

#include <algorithm>

#include "model/attributes.h"

namespace pawl {

std::size_t whole_until(const std::vector<HistoryEvent>& history, const std::int64_t at) {
  std::size_t whole = 0;
  bool open = false;
  for (std::size_t index = 0; index < history.size() && history[index].sequence <= at; ++index) {
    const HistoryEvent& event = history[index];
    if (!stands_alone(event)) open = !event.ends_activation;
    if (!open) whole = index + 1;
  }
  return whole;
}

void VoidRecords::add(const std::span<const HistoryEvent> history) {
  for (const HistoryEvent& event : history) {
    if (event.type != EventType::execution_retried) continue;
    if (const auto attributes = decode<RetriedAttributes>(event.attributes, event.codec)) {
      ranges_.emplace_back(attributes->from, event.sequence);
    }
  }
}

bool VoidRecords::contains(const HistoryEvent& event) const {
  return std::any_of(ranges_.begin(), ranges_.end(), [&event](const auto& range) {
    return event.sequence >= range.first && event.sequence < range.second;
  });
}

Error history_cut_short(const ExecutionRecord& execution, const std::int64_t read,
                        const std::int64_t end) {
  return {ErrorCode::store_invalid,
          fmt::format("the history of execution {} should go to {}, and can't be read beyond {}",
                      execution.execution_id, end, read),
          execution.execution_id};
}

Result<void> fold_history(ExecutionFold& fold, const std::span<const HistoryEvent> history) {
  const VoidRecords none_of_these(history);
  for (const HistoryEvent& event : history) {
    if (none_of_these.contains(event)) {
      fold.skip(event);
    } else if (const auto applied = fold.apply(event); !applied) {
      return applied.error();
    }
  }
  return {};
}

namespace {

// What an activation emitted to its own execution is received behind its end, in the same commit: a cut
// there takes it along.
std::size_t with_own_events(const StoredExecution& source, const std::size_t whole) {
  const std::vector<HistoryEvent>& history = source.history;
  std::vector<std::string> ids{source.record.execution_id};
  for (const HistoryEvent& event : history) {
    if (event.type == EventType::execution_forked) ids.push_back(event.name);
  }
  std::size_t end = whole;
  for (std::size_t index = whole; index < history.size(); ++index) {
    const HistoryEvent& event = history[index];
    if (!stands_alone(event) || event.at != history[whole - 1].at) break;
    if (!is_buffered(event)) continue;
    const auto attributes = decode<ReceivedAttributes>(event.attributes, event.codec);
    if (!attributes) break;
    const bool own = std::any_of(ids.begin(), ids.end(), [&](const std::string& id) {
      return attributes->event_id == fmt::format("{}/{}", id, event.sequence);
    });
    if (own) end = index + 1;
  }
  return end;
}

}  // namespace

Result<std::vector<HistoryEvent>> records_to_fork(const StoredExecution& source,
                                                  const std::optional<std::int64_t> at) {
  const std::int64_t last = source.history.empty() ? 0 : source.history.back().sequence;
  if (at && (*at < 1 || *at > last)) {
    return Error{ErrorCode::invalid_argument,
                 fmt::format("The history of '{}' goes from sequence 1 to {}; there is no {} to "
                             "fork at.",
                             source.record.execution_id, last, *at),
                 source.record.execution_id};
  }
  const std::size_t whole = whole_until(source.history, at.value_or(last));
  if (whole == 0) {
    return Error{ErrorCode::invalid_argument,
                 fmt::format("Sequence {} of '{}' lies within its first activation; the earliest "
                             "point to fork at is the end of that.",
                             at.value_or(last), source.record.execution_id),
                 source.record.execution_id};
  }
  const std::size_t end = with_own_events(source, whole);
  std::vector<HistoryEvent> records(source.history.begin(),
                                    source.history.begin() + static_cast<std::ptrdiff_t>(end));
  const VoidRecords no_more(records);
  for (const HistoryEvent& event : records) {
    if (!ExecutionFold::ends(event.type) || no_more.contains(event)) continue;
    return Error{ErrorCode::wrong_status,
                 fmt::format("Execution '{}' ended with sequence {}. Fork it at a point before, to "
                             "go on from there.",
                             source.record.execution_id, event.sequence),
                 source.record.execution_id};
  }
  return records;
}

}  // namespace pawl
