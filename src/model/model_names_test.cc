#include <gtest/gtest.h>

#include <set>
#include <string>

#include "model/execution_record.h"
#include "model/history_event.h"

namespace pawl {
namespace {

// The texts lie in databases: a changed one makes old rows unreadable.
TEST(ModelNames, EventTypesKeepTheirTextAndNumber) {
  EXPECT_EQ(to_string(EventType::execution_started), "ExecutionStarted");
  EXPECT_EQ(to_string(EventType::event_received), "EventReceived");
  EXPECT_EQ(to_string(EventType::action_scheduled), "ActionScheduled");
  EXPECT_EQ(to_string(EventType::event_discarded), "EventDiscarded");

  std::set<std::string> seen;
  for (int number = 0; number < 256; ++number) {
    const auto type = static_cast<EventType>(number);
    const auto text = to_string(type);
    if (text == "Unknown") {
      continue;
    }
    EXPECT_TRUE(seen.emplace(text).second) << text << " names two types";
    EXPECT_EQ(event_type_from(text), type);
  }
  EXPECT_EQ(seen.size(), 43u);
  EXPECT_EQ(event_type_from("Unknown"), std::nullopt);
  EXPECT_EQ(event_type_from(""), std::nullopt);
}

TEST(ModelNames, RolesFollowTheNumbers) {
  EXPECT_EQ(role_of(EventType::execution_started), RecordRole::job);
  EXPECT_EQ(role_of(EventType::action_failed), RecordRole::job);
  EXPECT_EQ(role_of(EventType::action_scheduled), RecordRole::command);
  EXPECT_EQ(role_of(EventType::execution_failed), RecordRole::command);
  EXPECT_EQ(role_of(EventType::action_attempt_failed), RecordRole::bookkeeping);
  EXPECT_EQ(role_of(EventType::event_discarded), RecordRole::bookkeeping);
}

template <class Enum, class From>
int round_trips(From from) {
  int count = 0;
  for (int number = 0; number < 256; ++number) {
    const auto value = static_cast<Enum>(number);
    if (to_string(value) == "unknown") {
      continue;
    }
    EXPECT_EQ(from(to_string(value)), value) << to_string(value);
    ++count;
  }
  EXPECT_EQ(from("unknown"), std::nullopt);
  EXPECT_EQ(from("Running"), std::nullopt) << "texts are exact";
  return count;
}

TEST(ModelNames, EveryNameReadsBack) {
  EXPECT_EQ(round_trips<ExecutionStatus>(execution_status_from), 7);
  EXPECT_EQ(round_trips<Condition>(condition_from), 5);
  EXPECT_EQ(round_trips<TimerKind>(timer_kind_from), 5);
  EXPECT_EQ(round_trips<InboxStatus>(inbox_status_from), 6);
  EXPECT_EQ(to_string(ExecutionStatus::stuck), "stuck");
  EXPECT_EQ(to_string(Condition::none), "");
  EXPECT_EQ(to_string(Condition::no_worker), "no_worker");
  EXPECT_EQ(to_string(TimerKind::retry), "retry");
  EXPECT_EQ(to_string(InboxStatus::retrying), "retrying");
}

TEST(ModelNames, TerminalStatusesTakeNoMoreEvents) {
  EXPECT_FALSE(is_terminal(ExecutionStatus::running));
  EXPECT_FALSE(is_terminal(ExecutionStatus::paused));
  EXPECT_FALSE(is_terminal(ExecutionStatus::stuck));
  EXPECT_TRUE(is_terminal(ExecutionStatus::completed));
  EXPECT_TRUE(is_terminal(ExecutionStatus::failed));
  EXPECT_TRUE(is_terminal(ExecutionStatus::cancelled));
  EXPECT_TRUE(is_terminal(ExecutionStatus::terminated));
}

}  // namespace
}  // namespace pawl
