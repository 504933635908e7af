// The small parts of the core, each by itself.

#include <gtest/gtest.h>

#include <limits>
#include <set>

#include "core/catalog.h"
#include "core/execution_fold.h"
#include "core/replay.h"
#include "core/retry.h"
#include "core/time_travel.h"
#include "core/timer_queue.h"
#include "model/attributes.h"

namespace pawl {
namespace {

TEST(Versions, AreOrderedAsPeopleReadThem) {
  const std::vector<std::string> ascending = {
      "0.9", "1.0.0-alpha", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0", "1.0.1",
      "1.2", "1.10",        "2.0.0-rc.1",   "2.0.0",         "10"};
  for (std::size_t left = 0; left < ascending.size(); ++left) {
    for (std::size_t right = 0; right < ascending.size(); ++right) {
      EXPECT_EQ(version_less(ascending[left], ascending[right]), left < right)
          << ascending[left] << " " << ascending[right];
    }
  }
}

TEST(Catalog, GivesTheHighestVersionUnlessOneIsNamed) {
  Catalog catalog;
  catalog.add_workflow("Order", "1.10.0", 1);
  catalog.add_workflow("Order", "1.9.0", 2);
  ASSERT_NE(catalog.find_workflow("Order", ""), nullptr);
  EXPECT_EQ(catalog.find_workflow("Order", "")->version, "1.10.0");
  EXPECT_EQ(catalog.find_workflow("Order", "1.9.0")->host, 2U);
  EXPECT_EQ(catalog.find_workflow("Order", "2"), nullptr);
  EXPECT_EQ(catalog.find_workflow("order", ""), nullptr);
}

// Ids of children follow from it: those of histories that have no number of the retry stay.
TEST(Replay, TheGenerationIsWhatTheRetrySays) {
  for (const int generation : {0, 2}) {
    std::vector<HistoryEvent> history(3);
    history[0].type = EventType::execution_started;
    history[1].type = EventType::execution_retried;
    history[2].type = EventType::timer_fired;
    RetriedAttributes retried;
    retried.from = 2;
    retried.generation = generation;
    history[1].attributes = encode(retried);
    for (std::size_t index = 0; index < history.size(); ++index) {
      history[index].sequence = static_cast<std::int64_t>(index) + 1;
      history[index].ends_activation = index != 1;
    }
    const auto steps = split_into_activations({}, history);
    ASSERT_TRUE(steps) << steps.error().message;
    ASSERT_EQ(steps->size(), 2U);
    EXPECT_EQ(steps->front().activation.generation, 0);
    EXPECT_EQ(steps->back().activation.generation, generation);
  }
}

// Histories of builds that let go of children then don't have their outcomes.
TEST(Fold, ACancellationKeepsChildrenOpenWhereItsRecordSaysSo) {
  for (const bool keeps : {false, true}) {
    ExecutionFold fold;
    const auto fold_in = [&fold](const EventType type, std::string attributes,
                                 const Position position = 0) {
      HistoryEvent event;
      event.sequence = fold.last_sequence() + 1;
      event.type = type;
      event.position = position;
      event.attributes = std::move(attributes);
      const auto applied = fold.apply(event);
      EXPECT_TRUE(applied) << to_string(type);
    };
    fold_in(EventType::execution_started, {});
    fold_in(EventType::child_started,
            encode(ChildAttributes{"p/1", {}, {}, {}, ParentClose::cancel}), 1);
    fold_in(EventType::timer_started, encode(TimerAttributes{1'000}), 2);
    fold_in(EventType::cancel_requested, {});
    OperatorAttributes delivered;
    delivered.keeps_children = keeps;
    fold_in(EventType::cancel_delivered, encode(delivered));
    EXPECT_EQ(fold.children().size(), keeps ? 1U : 0U);
    EXPECT_TRUE(fold.sleeps().empty());
  }
}

// rule: 15
TEST(Retry, GrowsUpToItsCapAndEnds) {
  RetryPolicy policy;
  policy.jitter = 0;
  policy.max_attempts = 9;
  const Failure failure;
  std::vector<DurationMs> delays;
  for (int attempt = 1; attempt < 9; ++attempt) {
    delays.push_back(retry_delay(policy, failure, attempt, 1).value());
  }
  EXPECT_EQ(delays,
            (std::vector<DurationMs>{1'000, 2'000, 4'000, 8'000, 16'000, 30'000, 30'000, 30'000}));
  EXPECT_FALSE(retry_delay(policy, failure, 9, 1));
}

TEST(Retry, NoIntervalIsTooLongOrTooShort) {
  RetryPolicy policy;
  policy.max_attempts = 1'000'000;
  policy.initial_interval = std::numeric_limits<DurationMs>::max();
  policy.max_interval = std::numeric_limits<DurationMs>::max();
  EXPECT_GT(retry_delay(policy, Failure{}, 5, 1).value(), policy.max_interval / 4);
  policy.initial_interval = 0;
  EXPECT_EQ(retry_delay(policy, Failure{}, 5'000, 1).value(), 0) << "nothing, doubled for ever";
}

// rule: 15
TEST(Retry, JitterFollowsFromTheSeedAndStaysWithinItsShare) {
  const RetryPolicy policy;
  const Failure failure;
  std::set<DurationMs> seen;
  for (std::uint64_t seed = 0; seed < 1'000; ++seed) {
    const DurationMs delay = retry_delay(policy, failure, 1, seed).value();
    EXPECT_EQ(delay, retry_delay(policy, failure, 1, seed).value());
    EXPECT_GE(delay, 800);
    EXPECT_LE(delay, 1'200);
    seen.insert(delay);
  }
  EXPECT_GT(seen.size(), 200U);
}

// rule: 15
TEST(Retry, SomeFailuresAreFinal) {
  RetryPolicy policy;
  policy.non_retryable = {"CardDeclined"};
  Failure failure;
  failure.name = "CardDeclined";
  EXPECT_FALSE(retry_delay(policy, failure, 1, 1));
  failure.name = "Error";
  for (const FailureClass final :
       {FailureClass::permanent, FailureClass::validation, FailureClass::consistency}) {
    failure.failure_class = final;
    EXPECT_FALSE(retry_delay(policy, failure, 1, 1));
  }
}

TimerRecord timer_at(const Timestamp at, const ExecutionRef execution = 1) {
  return TimerRecord{execution, 1, TimerKind::sleep, at};
}

TEST(TimerQueue, LeavesToTheStoreWhatIsBeyondItsWindow) {
  TimerQueue queue;
  ASSERT_TRUE(queue.want_load());
  EXPECT_FALSE(queue.want_load()) << "one load at a time";
  // Committed while the load was under way: it may have missed this one.
  queue.arm(timer_at(500, 7));
  queue.loaded({timer_at(10), timer_at(20)}, false);
  EXPECT_FALSE(queue.take_due(9));
  EXPECT_EQ(queue.take_due(10)->fire_at, 10);
  queue.arm(timer_at(15, 2));
  queue.arm(timer_at(900, 3));  // beyond the window: the store has it
  EXPECT_EQ(queue.take_due(1'000)->fire_at, 15);
  EXPECT_EQ(queue.take_due(1'000)->fire_at, 20);
  EXPECT_FALSE(queue.take_due(1'000)) << "500 lies beyond what was loaded";
  const auto after = queue.want_load();
  ASSERT_TRUE(after);
  EXPECT_EQ(after->fire_at, 20);
  queue.loaded({timer_at(500, 7), timer_at(900, 3)}, true);
  queue.disarm(timer_at(500, 7));
  EXPECT_EQ(queue.next(), 900);
  queue.arm(timer_at(5'000, 4));
  EXPECT_EQ(queue.size(), 2U) << "all are held from here on";
}

class TimeTravel : public ::testing::Test {
 protected:
  HistoryEvent& add(const EventType type, const std::string& name = "",
                    const std::string& payload = "", const bool ends = false) {
    HistoryEvent event;
    event.sequence = static_cast<std::int64_t>(history_.size()) + 1;
    event.type = type;
    event.name = name;
    event.payload = Payload::json(payload);
    event.ends_activation = ends;
    return history_.emplace_back(std::move(event));
  }
  void SetUp() override {
    record_.status = ExecutionStatus::completed;
    add(EventType::execution_started, "Story", R"({"amount":500,"odd":"\u00e9"})");
    add(EventType::state_changed, "draft");
    add(EventType::wait_started, "Go", "", true).position = 1;
    add(EventType::event_received, "Other", "1");
    add(EventType::event_received, "Go", "2").position = 1;
    add(EventType::data_set, "amount", "700");
    add(EventType::state_changed, "gone", "", true);
    add(EventType::timer_fired).position = 2;
    add(EventType::data_deleted, "odd");
    add(EventType::execution_completed, "", "42", true);
  }
  ExecutionState at(const std::int64_t sequence) const {
    return state_at(record_, history_, sequence).value();
  }

  ExecutionRecord record_;
  std::vector<HistoryEvent> history_;
};

// rule: 4
TEST_F(TimeTravel, RoundsDownToTheStartOfAnActivation) {
  EXPECT_EQ(at(1).sequence, 0);
  EXPECT_EQ(at(1).current_state, "initial");
  EXPECT_EQ(at(1).data.bytes, R"({"amount":500,"odd":"\u00e9"})");
  EXPECT_EQ(at(2).sequence, 0);
  EXPECT_EQ(at(3).sequence, 3);
  EXPECT_EQ(at(3).current_state, "draft");
  EXPECT_EQ(at(4).sequence, 4);
  EXPECT_EQ(at(6).sequence, 4);
  EXPECT_EQ(at(6).data.bytes, at(3).data.bytes);
  EXPECT_EQ(at(7).current_state, "gone");
  EXPECT_EQ(at(7).data.bytes, R"({"amount":700,"odd":"\u00e9"})");
  EXPECT_EQ(at(9).status, "running");
  EXPECT_EQ(at(10).status, "completed");
  EXPECT_EQ(at(10).result.bytes, "42");
  EXPECT_EQ(at(10).data.bytes, R"({"amount":700})");
  EXPECT_EQ(at(99).sequence, 10);
}

TEST_F(TimeTravel, RefusesAPointBeforeTheBeginning) {
  EXPECT_EQ(state_at(record_, history_, 0).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(state_at(record_, history_, -3).error().code, ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace pawl
