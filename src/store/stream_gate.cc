#include "store/stream_gate.h"

#include <fmt/format.h>

namespace pawl {

std::optional<Error> StreamGate::refusal(const CommitRequest& request) const {
  const auto found = failed_.find(request.stream);
  if (found == failed_.end() || request.generation > found->second.generation) {
    return std::nullopt;
  }
  return found->second.error;
}

void StreamGate::fail(const CommitRequest& request, const Error& error) {
  // What follows was not tried, so its outcome is never in doubt.
  const auto code =
      error.code == ErrorCode::outcome_unknown ? ErrorCode::store_unavailable : error.code;
  failed_.insert_or_assign(
      request.stream,
      Failed{request.generation,
             Error{code, fmt::format("not tried, since commit {} before it failed: {}", request.id,
                                     error.message)}});
}

void OutcomeList::add(const CommitRequest& request, const std::optional<Error>& error) {
  const auto [last, fresh] = last_.try_emplace(request.stream, outcomes_.size());
  if (!fresh) {
    auto& outcome = outcomes_[last->second];
    const bool same = outcome.error.has_value() == error.has_value() &&
                      (!error || (outcome.error->code == error->code &&
                                  outcome.error->message == error->message));
    if (same) {
      outcome.up_to = request.id;
      return;
    }
    last->second = outcomes_.size();
  }
  outcomes_.push_back({request.stream, request.id, error});
}

std::optional<Error> malformed(const Transition& transition) {
  const auto bug = [](std::string message) {
    return Error{ErrorCode::internal, "a commit is malformed: " + std::move(message)};
  };
  if (transition.created && transition.changed) {
    return bug("it both creates and changes an execution");
  }
  if (transition.created && transition.created->ref != transition.execution) {
    return bug(fmt::format("it belongs to execution {} and creates {}", transition.execution,
                           transition.created->ref));
  }
  const bool touches_execution =
      transition.created || transition.changed || !transition.records.empty() ||
      !transition.timers_set.empty() || !transition.timers_cleared.empty() ||
      !transition.graph_actions_added.empty() || !transition.graph_actions_changed.empty() ||
      !transition.sync_points_set.empty();
  if (touches_execution && transition.execution <= 0) {
    return bug("it has no execution, but changes one");
  }
  for (std::size_t index = 1; index < transition.records.size(); ++index) {
    if (transition.records[index].sequence != transition.records[index - 1].sequence + 1) {
      return bug(fmt::format("record {} of execution {} follows record {}",
                             transition.records[index].sequence, transition.execution,
                             transition.records[index - 1].sequence));
    }
  }
  for (const auto& timer : transition.timers_set) {
    if (timer.execution != transition.execution) {
      return bug(
          fmt::format("execution {} sets a timer of {}", transition.execution, timer.execution));
    }
  }
  return std::nullopt;
}

std::size_t size_in_bytes(const Transition& transition) {
  std::size_t bytes = size_in_bytes(transition.records);
  for (const ActionResultRecord& result : transition.results) {
    bytes += result.result.bytes.size() + result.error_json.size();
  }
  for (const InboxRecord& mail : transition.inbox_added) bytes += mail.payload.bytes.size();
  return bytes;
}

}  // namespace pawl
