#include "core/state_fold.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <utility>

#include "core/execution_fold.h"
#include "model/attributes.h"
#include "model/failure_codec.h"
#include "model/json_members.h"

namespace pawl {
namespace {

Error misfit(const HistoryEvent& event, const std::string_view why) {
  return {ErrorCode::store_invalid,
          fmt::format("history record {} ({}) does not follow from those before it: {}",
                      event.sequence, to_string(event.type), why),
          {}};
}

}  // namespace

std::string object_text(const std::map<std::string, std::string>& members) {
  std::string text = "{";
  for (const auto& [key, value] : members) {
    if (text.size() > 1) text += ',';
    text += boost::json::serialize(boost::json::string_view(key.data(), key.size()));
    text += ':';
    text += value;
  }
  text += '}';
  return text;
}

Result<StateFold> StateFold::from(const StateSnapshot& snapshot) {
  const auto members = json_members(snapshot.data_json);
  if (!members || is_terminal(snapshot.status) || snapshot.sequence < 1) {
    return Error{ErrorCode::store_invalid,
                 fmt::format("the snapshot of execution {} at sequence {} can't be read",
                             snapshot.execution, snapshot.sequence),
                 {}};
  }
  StateFold fold;
  fold.last_sequence_ = snapshot.sequence;
  fold.known_.sequence = snapshot.sequence;
  fold.known_.at = snapshot.at;
  fold.known_.status = snapshot.status;
  fold.known_.state = snapshot.state;
  for (const auto& member : *members) fold.set_data(member.key, std::string(member.value));
  return fold;
}

Result<void> StateFold::add(const HistoryEvent& event) {
  if (event.sequence != last_sequence_ + 1) {
    return misfit(event, fmt::format("the last one is {}", last_sequence_));
  }
  last_sequence_ = event.sequence;
  // What it begins with holds from before its first activation, and through a retry of that.
  if (event.sequence == 1) take_input(event.payload);
  const bool alone = stands_alone(event);
  if (alone && !open_) return apply(event);
  if (!alone) open_ = !event.ends_activation;
  pending_.push_back(event);
  return open_ ? Result<void>{} : apply_pending();
}

Result<void> StateFold::apply_pending() {
  const auto fails = [](const HistoryEvent& event) {
    return event.type == EventType::execution_failed;
  };
  if (std::any_of(pending_.begin(), pending_.end(), fails)) before_failure_ = known_;
  const std::vector<HistoryEvent> events = std::exchange(pending_, {});
  for (const HistoryEvent& event : events) {
    if (auto applied = apply(event); !applied) return applied;
  }
  return {};
}

void StateFold::set_data(std::string key, std::string value) {
  known_.data_bytes += value.size();
  const auto [entry, fresh] = known_.data.try_emplace(std::move(key));
  if (fresh) {
    known_.data_bytes += entry->first.size();
  } else {
    known_.data_bytes -= entry->second.size();
  }
  entry->second = std::move(value);
}

void StateFold::take_input(const Payload& input) {
  if (auto members = json_members(input.bytes)) {
    for (const auto& member : *members) set_data(member.key, std::string(member.value));
  }
}

Result<void> StateFold::apply(const HistoryEvent& event) {
  switch (event.type) {
    case EventType::execution_scheduled:
    case EventType::execution_started:
      known_.state = "initial";
      known_.data.clear();
      known_.data_bytes = 0;
      take_input(event.payload);
      break;
    case EventType::state_changed: known_.state = event.name; break;
    case EventType::data_set: set_data(event.name, event.payload.bytes); break;
    case EventType::data_deleted:
      if (const auto found = known_.data.find(event.name); found != known_.data.end()) {
        known_.data_bytes -= found->first.size() + found->second.size();
        known_.data.erase(found);
      }
      break;
    case EventType::execution_completed:
      known_.status = ExecutionStatus::completed;
      known_.result = event.payload;
      break;
    case EventType::execution_failed:
      known_.status = ExecutionStatus::failed;
      known_.error = decode_failure(event.payload.bytes);
      break;
    case EventType::execution_cancelled:
      known_.status = ExecutionStatus::cancelled;
      known_.error = decode_failure(event.payload.bytes);
      break;
    case EventType::start_cancelled:
    case EventType::execution_terminated: {
      const bool terminated = event.type == EventType::execution_terminated;
      known_.status = terminated ? ExecutionStatus::terminated : ExecutionStatus::cancelled;
      if (const auto by = decode<OperatorAttributes>(event.attributes, event.codec)) {
        known_.error = terminated ? termination_of(*by) : cancellation_of(*by);
      }
      break;
    }
    case EventType::execution_paused: known_.status = ExecutionStatus::paused; break;
    case EventType::execution_resumed: known_.status = ExecutionStatus::running; break;
    case EventType::execution_retried: {
      const auto attributes = decode<RetriedAttributes>(event.attributes, event.codec);
      if (!attributes) return attributes.error();
      if (!before_failure_ || attributes->from != before_failure_->sequence + 1) {
        return misfit(event,
                      fmt::format("no activation that failed begins at {}", attributes->from));
      }
      known_ = std::move(*before_failure_);
      before_failure_.reset();
      break;
    }
    default: break;
  }
  known_.sequence = event.sequence;
  known_.at = event.at;
  return {};
}

StateSnapshot StateFold::snapshot(const ExecutionRecord& execution) const {
  return StateSnapshot{execution.ref, known_.sequence,          execution.tenant, known_.status,
                       known_.state,  object_text(known_.data), known_.at};
}

void StateFold::tell(ExecutionState& state) const {
  state.current_state = known_.state;
  state.data = Payload::json(object_text(known_.data));
  state.result = known_.result;
  state.error = known_.error;
  state.status = to_string(known_.status);
  state.is_complete = ended();
  state.sequence = known_.sequence;
  if (known_.sequence > 0) state.updated_at = known_.at;
}

}  // namespace pawl
