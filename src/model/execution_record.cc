#include "model/execution_record.h"

#include <array>
#include <cstddef>

namespace pawl {
namespace {

// The names of an enumeration whose numbers run 0, 1, 2 …; what the stores write, and permanent.
template <std::size_t N>
using Names = std::array<std::string_view, N>;

constexpr Names<7> kExecutionStatuses{"running", "paused",    "stuck",     "completed",
                                      "failed",  "cancelled", "terminated"};
constexpr Names<5> kConditions{"", "waiting", "no_worker", "no_action", "scheduled"};
constexpr Names<5> kTimerKinds{"sleep", "wait", "retry", "start", "deadline"};
constexpr Names<6> kInboxStatuses{"pending",   "published", "processing",
                                  "completed", "failed",    "retrying"};
constexpr Names<11> kInboxKinds{"event",  "start",       "cancel",     "terminate",
                                "retry",  "child_ended", "completion", "pause",
                                "resume", "try_again",   "fork"};

template <class Enum, std::size_t N>
std::string_view name_of(const Names<N>& names, const Enum value) {
  const auto index = static_cast<std::size_t>(value);
  return index < N ? names[index] : std::string_view{"unknown"};
}

template <class Enum, std::size_t N>
std::optional<Enum> value_of(const Names<N>& names, const std::string_view text) {
  for (std::size_t index = 0; index < N; ++index) {
    if (names[index] == text) {
      return static_cast<Enum>(index);
    }
  }
  return std::nullopt;
}

}  // namespace

std::string_view to_string(const ExecutionStatus status) {
  return name_of(kExecutionStatuses, status);
}

std::optional<ExecutionStatus> execution_status_from(const std::string_view text) {
  return value_of<ExecutionStatus>(kExecutionStatuses, text);
}

bool is_terminal(const ExecutionStatus status) {
  switch (status) {
    case ExecutionStatus::running:
    case ExecutionStatus::paused:
    case ExecutionStatus::stuck: return false;
    case ExecutionStatus::completed:
    case ExecutionStatus::failed:
    case ExecutionStatus::cancelled:
    case ExecutionStatus::terminated: return true;
  }
  return false;
}

std::string_view to_string(const Condition condition) { return name_of(kConditions, condition); }

std::optional<Condition> condition_from(const std::string_view text) {
  return value_of<Condition>(kConditions, text);
}

std::string_view to_string(const TimerKind kind) { return name_of(kTimerKinds, kind); }

std::optional<TimerKind> timer_kind_from(const std::string_view text) {
  return value_of<TimerKind>(kTimerKinds, text);
}

std::string_view to_string(const InboxStatus status) { return name_of(kInboxStatuses, status); }

std::optional<InboxStatus> inbox_status_from(const std::string_view text) {
  return value_of<InboxStatus>(kInboxStatuses, text);
}

std::string_view to_string(const InboxKind kind) { return name_of(kInboxKinds, kind); }

std::optional<InboxKind> inbox_kind_from(const std::string_view text) {
  return value_of<InboxKind>(kInboxKinds, text);
}

}  // namespace pawl
