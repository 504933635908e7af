// The state at a point, told the plain way: the whole history in memory, what a retry made void looked
// up, and every point folded from the first record. What the engine tells must be the same.

#include "tests/support/plain_state.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <map>
#include <memory>

#include "core/execution_fold.h"
#include "core/history_cut.h"
#include "core/time_travel.h"
#include "model/attributes.h"
#include "model/failure_codec.h"
#include "model/json_members.h"
#include "store/memory_store.h"

namespace pawl::testing {
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

ExecutionState plain_state_at(const ExecutionRecord& execution,
                              const std::vector<HistoryEvent>& history,
                              const std::optional<std::int64_t> at_sequence) {
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
  bool as_new = false;
  for (std::size_t index = 0; index < history.size(); ++index) {
    const HistoryEvent& event = history[index];
    if (no_more.contains(event)) continue;
    // What a workflow begins with holds from before its first activation.
    as_new = as_new || event.type == EventType::continued_as_new;
    const bool begins = !as_new && (event.type == EventType::execution_started ||
                                    event.type == EventType::execution_scheduled);
    if (index >= whole && !begins) break;
    switch (event.type) {
      case EventType::execution_scheduled:
      case EventType::execution_started:
        state.current_state = "initial";
        data.clear();
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

std::string text_of(const ExecutionState& state) {
  return fmt::format(
      "{} {} {} {}, {} ({} {}) '{}' data {} result {} error {} ended {} at {}, {} {} {} {}",
      state.tenant, state.execution_id, state.workflow, state.version, state.status,
      state.condition, state.condition_detail, state.current_state, state.data.bytes,
      state.result.bytes, state.error ? encode_failure(*state.error) : "none", state.is_complete,
      state.sequence, state.user_id, state.correlation_id, state.created_at, state.updated_at);
}

std::optional<std::string> find_untrue_state(const ExecutionRecord& execution,
                                             const std::vector<HistoryEvent>& history) {
  const auto data = std::make_shared<MemoryStoreData>();
  auto& grown = data->executions[execution.ref];
  grown.record = execution;
  MemoryStore store{MemoryStore::Mode::manual, data};
  const auto told = [&](const std::int64_t length, const std::optional<std::int64_t> at) {
    StoredExecution stored;
    stored.record = execution;
    stored.history_end = length;
    constexpr std::int64_t kInterval = 2;
    auto read = read_state(store, stored, at, kInterval);
    return read ? text_of(read->state) : read.error().message;
  };
  const auto compare = [&](const std::int64_t length,
                           const std::int64_t at) -> std::optional<std::string> {
    const std::string plain = text_of(plain_state_at(execution, grown.history, at));
    const std::string with_snapshots = told(length, at);
    if (plain == with_snapshots) return std::nullopt;
    return fmt::format("{} of {} records:\n  told:  {}\n  plain: {}", at, length, with_snapshots,
                       plain);
  };
  for (const HistoryEvent& event : history) {
    grown.history.push_back(event);
    if (auto untrue = compare(event.sequence, event.sequence)) return untrue;
  }
  for (const HistoryEvent& event : history) {
    if (auto untrue = compare(history.back().sequence, event.sequence)) return untrue;
  }
  return std::nullopt;
}

}  // namespace pawl::testing
