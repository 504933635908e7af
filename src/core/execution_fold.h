#pragma once

// What a history adds up to: the state that the engine needs to go on. The same function folds a
// record that was just made and one that was read back, so that live and loaded can't differ.

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/execution_record.h"
#include "model/history_event.h"
#include "pawl/error.h"
#include "pawl/host.h"

namespace pawl {

// Scheduled --ActionCompleted | ActionFailed--> (gone)
// Scheduled --ActionAttemptFailed--> Scheduled, with one more failed attempt and a time for the next
struct PendingAction {
  std::string name;
  Payload parameters;
  ActionOptions options;
  int attempts_failed = 0;
  std::optional<Timestamp> retry_at;  // of the next attempt; none before the first failed
  std::int64_t cause = 0;
  Timestamp scheduled_at = 0;
};

// Open --EventReceived with its position | EventDelivered | WaitTimedOut | Withdrawn--> (gone)
struct PendingWait {
  std::vector<std::string> names;
  std::optional<Timestamp> times_out_at;
  std::int64_t cause = 0;
};

// Open --TimerFired | Withdrawn--> (gone)
struct PendingSleep {
  Timestamp over_at = 0;
  std::int64_t cause = 0;
};

// The event at an index of the buffer and the wait that is to get it.
struct Delivery {
  std::size_t buffered = 0;
  Position position = 0;
};

class ExecutionFold {
 public:
  ExecutionFold() = default;
  explicit ExecutionFold(ExecutionRecord record) : record_(std::move(record)) {}

  // Fails where the record does not fit what came before: a gap, an unknown position, attributes
  // that can't be read. The fold is not to be used after that.
  Result<void> apply(const HistoryEvent& event);

  ExecutionRef ref() const { return record_.ref; }
  const ExecutionRecord& record() const { return record_; }
  ExecutionRecord& record() { return record_; }
  std::int64_t last_sequence() const { return last_sequence_; }
  Timestamp last_at() const { return last_at_; }
  Position next_position() const { return next_position_; }
  std::uint64_t seed() const { return seed_; }
  bool ended() const { return is_terminal(record_.status); }

  const std::map<Position, PendingAction>& actions() const { return actions_; }
  const std::map<Position, PendingWait>& waits() const { return waits_; }
  const std::map<Position, PendingSleep>& sleeps() const { return sleeps_; }
  const std::deque<ReceivedEvent>& buffer() const { return buffer_; }
  std::size_t awaitables() const { return actions_.size() + waits_.size() + sleeps_.size(); }

  // The wait that is first offered an event of that name: the oldest one that names it.
  std::optional<Position> wait_for(std::string_view event_name) const;
  // The oldest wait for which something is buffered, with the oldest such event.
  std::optional<Delivery> next_delivery() const;
  // Whether something other than an event or a timer will move it.
  bool in_flight() const;
  // The timer rows that belong to it right now, by position.
  std::vector<TimerRecord> timers() const;
  // The earliest sleep or time-out of a wait that is over by then.
  std::optional<TimerRecord> first_timer_until(Timestamp then) const;
  // The timer of that position, if there is one.
  std::optional<TimerRecord> timer(Position position) const;
  // The id of the event with that sequence, of those still known; "" for the start.
  std::string event_id_of(std::int64_t cause) const;

 private:
  Result<void> open(Position position);
  void remember_event(std::int64_t sequence, std::string id);
  Result<void> close_wait(Position position, const HistoryEvent& event);

  ExecutionRecord record_;
  std::int64_t last_sequence_ = 0;
  Timestamp last_at_ = 0;
  Position next_position_ = 1;
  std::uint64_t seed_ = 0;
  std::map<Position, PendingAction> actions_;
  std::map<Position, PendingWait> waits_;
  std::map<Position, PendingSleep> sleeps_;
  std::deque<ReceivedEvent> buffer_;
  // Ids of events by their sequence: those that something still pending was caused by, and others
  // until there are too many.
  std::map<std::int64_t, std::string> event_ids_;
};

}  // namespace pawl
