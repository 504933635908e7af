#include "model/history_event.h"

#include <array>
#include <utility>

namespace pawl {
namespace {

// What the stores write: permanent, like the numbers.
constexpr std::array kEventTypes{
    std::pair{EventType::execution_started, std::string_view{"ExecutionStarted"}},
    std::pair{EventType::event_received, std::string_view{"EventReceived"}},
    std::pair{EventType::event_delivered, std::string_view{"EventDelivered"}},
    std::pair{EventType::wait_timed_out, std::string_view{"WaitTimedOut"}},
    std::pair{EventType::timer_fired, std::string_view{"TimerFired"}},
    std::pair{EventType::action_completed, std::string_view{"ActionCompleted"}},
    std::pair{EventType::action_failed, std::string_view{"ActionFailed"}},
    std::pair{EventType::cancel_delivered, std::string_view{"CancelDelivered"}},
    std::pair{EventType::child_completed, std::string_view{"ChildCompleted"}},
    std::pair{EventType::child_failed, std::string_view{"ChildFailed"}},
    std::pair{EventType::action_scheduled, std::string_view{"ActionScheduled"}},
    std::pair{EventType::wait_started, std::string_view{"WaitStarted"}},
    std::pair{EventType::withdrawn, std::string_view{"Withdrawn"}},
    std::pair{EventType::timer_started, std::string_view{"TimerStarted"}},
    std::pair{EventType::state_changed, std::string_view{"StateChanged"}},
    std::pair{EventType::data_set, std::string_view{"DataSet"}},
    std::pair{EventType::data_deleted, std::string_view{"DataDeleted"}},
    std::pair{EventType::event_emitted, std::string_view{"EventEmitted"}},
    std::pair{EventType::execution_completed, std::string_view{"ExecutionCompleted"}},
    std::pair{EventType::execution_failed, std::string_view{"ExecutionFailed"}},
    std::pair{EventType::execution_cancelled, std::string_view{"ExecutionCancelled"}},
    std::pair{EventType::patched, std::string_view{"Patched"}},
    std::pair{EventType::child_started, std::string_view{"ChildStarted"}},
    std::pair{EventType::child_cancel_asked, std::string_view{"ChildCancelAsked"}},
    std::pair{EventType::continued_as_new, std::string_view{"ContinuedAsNew"}},
    std::pair{EventType::action_attempt_failed, std::string_view{"ActionAttemptFailed"}},
    std::pair{EventType::event_discarded, std::string_view{"EventDiscarded"}},
    std::pair{EventType::cancel_requested, std::string_view{"CancelRequested"}},
    std::pair{EventType::execution_terminated, std::string_view{"ExecutionTerminated"}},
    std::pair{EventType::execution_paused, std::string_view{"ExecutionPaused"}},
    std::pair{EventType::execution_resumed, std::string_view{"ExecutionResumed"}},
    std::pair{EventType::execution_retried, std::string_view{"ExecutionRetried"}},
    std::pair{EventType::execution_forked, std::string_view{"ExecutionForked"}},
    std::pair{EventType::action_deferred, std::string_view{"ActionDeferred"}},
    std::pair{EventType::action_outcome_held, std::string_view{"ActionOutcomeHeld"}},
    std::pair{EventType::execution_scheduled, std::string_view{"ExecutionScheduled"}},
    std::pair{EventType::start_cancelled, std::string_view{"StartCancelled"}},
    std::pair{EventType::child_outcome_held, std::string_view{"ChildOutcomeHeld"}},
    std::pair{EventType::graph_started, std::string_view{"GraphStarted"}},
    std::pair{EventType::graph_completed, std::string_view{"GraphCompleted"}},
    std::pair{EventType::graph_action_scheduled, std::string_view{"GraphActionScheduled"}},
    std::pair{EventType::graph_action_completed, std::string_view{"GraphActionCompleted"}},
    std::pair{EventType::graph_action_failed, std::string_view{"GraphActionFailed"}},
};

}  // namespace

RecordRole role_of(const EventType type) {
  const auto number = static_cast<int>(type);
  if (number < 32) {
    return RecordRole::job;
  }
  return number < 64 ? RecordRole::command : RecordRole::bookkeeping;
}

std::string_view to_string(const EventType type) {
  for (const auto& [known, text] : kEventTypes) {
    if (known == type) {
      return text;
    }
  }
  return "Unknown";
}

std::optional<EventType> event_type_from(const std::string_view text) {
  for (const auto& [type, known] : kEventTypes) {
    if (known == text) {
      return type;
    }
  }
  return std::nullopt;
}

bool is_buffered(const HistoryEvent& event) {
  return event.type == EventType::event_received && event.position == 0;
}

bool stands_alone(const HistoryEvent& event) {
  return role_of(event.type) == RecordRole::bookkeeping || is_buffered(event);
}

std::size_t size_in_bytes(const HistoryEvent& event) {
  return event.name.size() + event.payload.bytes.size() + event.attributes.size() +
         event.site.size();
}

std::size_t size_in_bytes(const std::vector<HistoryEvent>& history) {
  std::size_t bytes = 0;
  for (const HistoryEvent& event : history) bytes += size_in_bytes(event);
  return bytes;
}

}  // namespace pawl
