// What the fold answers without looking at all that is open, against the naive reading of what is open.

#include "core/execution_fold.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "core/start_options.h"
#include "model/attributes.h"

namespace pawl {
namespace {

// Has an execution live at random, and asks the fold about it after each record.
class RandomLife {
 public:
  explicit RandomLife(const std::uint64_t seed) : random_(seed) {
    StartedAttributes started;
    if (one_in(3)) started.deadline = 200;
    append(EventType::execution_started, encode(started));
  }

  void live() {
    switch (below(14)) {
      case 0:
      case 1: return open_wait();
      case 2: return open_sleep();
      case 3: return open_action();
      case 4:
      case 5: return receive();
      case 6: return deliver();
      case 7: return refuse();
      case 8: return run_out();
      case 9: return withdraw();
      case 10:
      case 11: return end_action();
      case 12: return retry_action();
      case 13: return seldom();
      default: return;
    }
  }

  void expect_same() {
    for (const std::string& name : kNames) {
      const Takers told = fold_.takers_of(name);
      Takers naive;
      for (const auto& [position, wait] : fold_.waits()) {
        if (!takes(wait, name)) continue;
        if (!wait.filtered) {
          naive.position = position;
          break;
        }
        naive.to_ask.push_back(position);
      }
      EXPECT_EQ(told.position, naive.position);
      EXPECT_EQ(told.to_ask, naive.to_ask);
    }
    const auto delivery = fold_.next_delivery();
    const auto naive = naive_delivery();
    ASSERT_EQ(delivery.has_value(), naive.has_value());
    if (naive) {
      EXPECT_EQ(delivery->event, naive->event);
      EXPECT_EQ(delivery->position, naive->position);
      EXPECT_EQ(delivery->ask, naive->ask);
    }
    for (const auto& [position, wait] : fold_.waits()) {
      if (!wait.filtered) continue;
      std::vector<std::int64_t> events;
      for (const auto& [sequence, event] : fold_.buffer()) {
        if (sequence > asked_until_[position] && takes(wait, event.name))
          events.push_back(sequence);
      }
      EXPECT_EQ(fold_.to_ask_about(position), events);
    }
    const Timestamp then = below(300);
    std::optional<TimerRecord> first;
    for (const TimerRecord& timer : fold_.timers()) {
      if (timer.kind == TimerKind::retry || timer.fire_at > then) continue;
      const bool earlier = !first || std::pair{timer.fire_at, timer.position} <
                                         std::pair{first->fire_at, first->position};
      if (earlier) first = timer;
    }
    EXPECT_EQ(fold_.first_timer_until(then), first);
    bool moves = fold_.cancel_due() || fold_.continuation() || naive;
    std::map<std::string, std::size_t> names;
    for (const auto& [position, action] : fold_.actions()) {
      moves = moves || !action.retry_at || action.held;
      ++names[action.name];
    }
    EXPECT_EQ(fold_.in_flight(), moves);
    EXPECT_EQ(fold_.action_names(), names);
  }

 private:
  static inline const std::vector<std::string> kNames{"A", "B", "C", "D"};

  std::int64_t below(const std::int64_t end) {
    random_ = mix_bits(random_);
    return static_cast<std::int64_t>(random_ % static_cast<std::uint64_t>(end));
  }
  bool one_in(const std::int64_t many) { return below(many) == 0; }
  std::string a_name() { return kNames[static_cast<std::size_t>(below(4))]; }
  template <class Map>
  typename Map::const_iterator any_of(const Map& map) {
    return std::next(map.begin(), below(static_cast<std::int64_t>(map.size())));
  }
  static bool takes(const PendingWait& wait, const std::string& name) {
    return std::find(wait.names.begin(), wait.names.end(), name) != wait.names.end();
  }

  void append(const EventType type, std::string attributes = {}, const Position position = 0,
              std::string name = {}) {
    HistoryEvent event;
    event.sequence = fold_.last_sequence() + 1;
    event.type = type;
    event.at = ++now_;
    event.cause = event.sequence;
    event.position = position;
    event.name = std::move(name);
    event.attributes = std::move(attributes);
    const auto applied = fold_.apply(event);
    ASSERT_TRUE(applied) << applied.error().message;
  }

  std::optional<Delivery> naive_delivery() {
    for (const auto& [position, wait] : fold_.waits()) {
      for (const auto& [sequence, event] : fold_.buffer()) {
        if (sequence > asked_until_[position] && takes(wait, event.name)) {
          return Delivery{sequence, position, wait.filtered};
        }
      }
    }
    return std::nullopt;
  }

  void open_wait() {
    WaitAttributes attributes;
    for (auto more = below(4); more > 0; --more) attributes.names.push_back(a_name());
    if (one_in(3)) attributes.timeout = below(100);
    attributes.filtered = one_in(3) && !attributes.names.empty();
    append(EventType::wait_started, encode(attributes), fold_.next_position());
  }
  void open_sleep() {
    append(EventType::timer_started, encode(TimerAttributes{below(100)}), fold_.next_position());
  }
  void open_action() { append(EventType::action_scheduled, {}, fold_.next_position(), a_name()); }
  void receive() {
    const std::string name = a_name();
    const Takers takers = fold_.takers_of(name);
    Position position = takers.position.value_or(0);
    if (!takers.to_ask.empty() && one_in(2)) position = takers.to_ask.front();
    // Some go into the buffer though they could be delivered, as those that code sends itself.
    if (one_in(2)) position = 0;
    append(EventType::event_received, encode(ReceivedAttributes{"id", "", now_}), position, name);
  }
  void deliver() {
    if (fold_.buffer().empty()) return;
    const auto& [sequence, event] = *any_of(fold_.buffer());
    const Takers takers = fold_.takers_of(event.name);
    const auto attributes = encode(DeliveredAttributes{sequence});
    if (takers.position) {
      append(EventType::event_delivered, attributes, *takers.position);
    } else if (!takers.to_ask.empty()) {
      append(EventType::event_delivered, attributes, takers.to_ask.back());
    }
  }
  void refuse() {
    const auto delivery = fold_.next_delivery();
    if (!delivery || !delivery->ask) return;
    fold_.refused(delivery->position, delivery->event);
    asked_until_[delivery->position] = delivery->event;
  }
  void run_out() {
    if (!fold_.waits().empty() && one_in(2)) {
      append(EventType::wait_timed_out, {}, any_of(fold_.waits())->first);
    } else if (!fold_.sleeps().empty()) {
      append(EventType::timer_fired, {}, any_of(fold_.sleeps())->first);
    }
  }
  void withdraw() {
    if (fold_.next_position() == 1) return;
    const auto position = static_cast<Position>(1 + below(fold_.next_position() - 1));
    if (!fold_.actions().contains(position)) append(EventType::withdrawn, {}, position);
  }
  void end_action() {
    if (fold_.actions().empty()) return;
    const auto& [position, action] = *any_of(fold_.actions());
    if (!action.held && one_in(3)) {
      append(EventType::action_outcome_held, {}, position);
    } else {
      append(EventType::action_completed, {}, position);
    }
  }
  void retry_action() {
    if (fold_.actions().empty()) return;
    const auto& [position, action] = *any_of(fold_.actions());
    if (action.held) {
      RetriedAttributes retried;
      retried.actions = {position};
      append(EventType::execution_retried, encode(retried));
    } else {
      append(EventType::action_attempt_failed, encode(AttemptFailedAttributes{1, now_ + 10}),
             position);
    }
  }
  void seldom() {
    if (!one_in(10)) return;
    if (one_in(2)) {
      if (fold_.cancel_requested()) return;
      append(EventType::cancel_requested);
      append(EventType::cancel_delivered);
    } else {
      append(EventType::continued_as_new);
      expect_same();
      StartedAttributes started;
      started.first_position = fold_.next_position();
      append(EventType::execution_started, encode(started));
    }
  }

  ExecutionFold fold_;
  std::uint64_t random_;
  Timestamp now_ = 0;
  std::map<Position, std::int64_t> asked_until_;
};

TEST(ExecutionFold, AnswersAsWhoLooksAtAllThatIsOpen) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    RandomLife life(seed);
    for (int records = 0; records < 300; ++records) {
      life.live();
      life.expect_same();
      if (::testing::Test::HasFailure()) FAIL() << "seed " << seed << ", step " << records;
    }
  }
}

}  // namespace
}  // namespace pawl
