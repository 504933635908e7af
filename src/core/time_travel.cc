#include "core/time_travel.h"

#include <fmt/format.h>
#include <algorithm>
#include <boost/json.hpp>
#include <map>

#include "core/execution_fold.h"
#include "core/history_cut.h"
#include "model/attributes.h"
#include "model/failure_codec.h"
#include "model/json_members.h"

namespace pawl {
namespace {

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

}  // namespace

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
  return HistoryRecord{event.sequence,  std::string(to_string(event.type)),
                       event.at,        event.cause,
                       event.position,  event.ends_activation,
                       event.name,      event.payload,
                       event.attributes};
}

Result<ExecutionState> state_at(const ExecutionRecord& execution,
                                const std::vector<HistoryEvent>& history,
                                const std::optional<std::int64_t> at_sequence) {
  if (at_sequence && *at_sequence < 1) {
    return Error{
        ErrorCode::invalid_argument,
        fmt::format("A history begins at sequence 1; there is no state at {}.", *at_sequence),
        execution.execution_id};
  }
  ExecutionState state = describe(execution);
  state.current_state = "initial";
  state.result = {};
  state.error.reset();
  state.status = to_string(ExecutionStatus::running);
  state.is_complete = false;
  state.sequence = 0;
  std::map<std::string, std::string> data;
  const std::int64_t last = history.empty() ? 0 : history.back().sequence;
  const std::size_t whole = whole_until(history, at_sequence.value_or(last));
  const VoidRecords no_more(std::span<const HistoryEvent>(history).first(whole));
  for (std::size_t index = 0; index < history.size(); ++index) {
    const HistoryEvent& event = history[index];
    if (no_more.contains(event)) continue;
    // What a workflow begins with holds from before its first activation.
    const bool begins =
        event.type == EventType::execution_started || event.type == EventType::execution_scheduled;
    if (index >= whole && !begins) break;
    switch (event.type) {
      case EventType::execution_scheduled:
      case EventType::execution_started:
        if (auto members = json_members(event.payload.bytes)) {
          for (const auto& member : *members)
            data.insert_or_assign(member.key, std::string(member.value));
        }
        break;
      case EventType::state_changed: state.current_state = event.name; break;
      case EventType::data_set: data.insert_or_assign(event.name, event.payload.bytes); break;
      case EventType::data_deleted: data.erase(event.name); break;
      case EventType::execution_completed:
        state.status = to_string(ExecutionStatus::completed);
        state.is_complete = true;
        state.result = event.payload;
        break;
      case EventType::execution_failed:
        state.status = to_string(ExecutionStatus::failed);
        state.is_complete = true;
        state.error = decode_failure(event.payload.bytes);
        break;
      case EventType::execution_cancelled:
        state.status = to_string(ExecutionStatus::cancelled);
        state.is_complete = true;
        state.error = decode_failure(event.payload.bytes);
        break;
      case EventType::start_cancelled:
        state.status = to_string(ExecutionStatus::cancelled);
        state.is_complete = true;
        if (const auto by = decode<OperatorAttributes>(event.attributes, event.codec)) {
          state.error = cancellation_of(*by);
        }
        break;
      case EventType::execution_terminated:
        state.status = to_string(ExecutionStatus::terminated);
        state.is_complete = true;
        if (const auto by = decode<OperatorAttributes>(event.attributes, event.codec)) {
          state.error = termination_of(*by);
        }
        break;
      case EventType::execution_paused: state.status = to_string(ExecutionStatus::paused); break;
      case EventType::execution_resumed: state.status = to_string(ExecutionStatus::running); break;
      default: break;
    }
    if (index < whole) {
      state.sequence = event.sequence;
      state.updated_at = event.at;
    }
  }
  state.data = Payload::json(object_text(data));
  const bool latest = whole == history.size();
  if (latest && !state.is_complete) {
    state.status = to_string(execution.status);
    if (!execution.error_json.empty()) state.error = decode_failure(execution.error_json);
  }
  if (!latest) {
    state.condition.clear();
    state.condition_detail.clear();
  }
  return state;
}

}  // namespace pawl
