#pragma once

// What a history adds up to: the state that the engine needs to go on. The same function folds a
// record that was just made and one that was read back, so that live and loaded can't differ.

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/action_graph.h"
#include "core/wait_index.h"
#include "model/attributes.h"
#include "model/execution_record.h"
#include "model/history_event.h"
#include "pawl/error.h"
#include "pawl/host.h"

namespace pawl {

// Of an action that ended while the execution could run no code.
struct HeldOutcome {
  std::int64_t sequence = 0;  // of the record
  bool failed = false;
  int attempts = 1;
  Payload payload;  // the result, or the failure as JSON
};

// Scheduled --ActionCompleted | ActionFailed--> (gone)
// Scheduled --ActionOutcomeHeld--> Held --ActionCompleted | ActionFailed--> (gone)
// Scheduled --ActionAttemptFailed--> Scheduled, with one more failed attempt and a time for the next
// Scheduled --ActionDeferred--> Deferred --ActionCompleted | ActionFailed | ActionOutcomeHeld--> …
// Deferred --ExecutionForked, in the fork; ExecutionRetried, where it had failed--> Scheduled
struct PendingAction {
  std::string name;
  Payload parameters;
  ActionOptions options;
  int attempts_failed = 0;
  std::optional<Timestamp> retry_at;  // of the next attempt; none before the first failed
  std::int64_t cause = 0;
  Timestamp scheduled_at = 0;  // or when its execution was retried or forked
  std::optional<HeldOutcome> held;
  int generation = 0;  // one more with each retry of the execution: another key
  // In a graph: attempts after the first that are made whatever the failure. None: as its policy says.
  std::optional<int> retries = std::nullopt;
  // Of the last attempt that failed: how, as JSON, and what it had told last.
  Payload last_failure = {};
  Payload progress = {};
  bool deferred = false;  // to be completed by its token: no attempt is made
};

// Open --GraphCompleted--> (gone). Its actions are among the pending ones while they run.
struct PendingGraph {
  ActionGraph actions;
  std::int64_t cause = 0;
};

// One step of a graph: which, and of which.
struct GraphStep {
  Position graph = 0;
  ActionGraph::Step step = 0;
};

// Of the registered action whose handler runs it.
inline std::string handler_of(const PendingAction& action) {
  return action.options.in_place ? std::string(kInPlaceAction) : action.name;
}

// A cancellation that was asked for and that the code has not been told of.
struct PendingCancel {
  std::int64_t sequence = 0;  // of its CancelRequested record
  std::string attributes;
};

// Open --EventReceived with its position | EventDelivered | WaitTimedOut | Withdrawn--> (gone)
struct PendingWait {
  std::vector<std::string> names;
  std::optional<Timestamp> times_out_at;
  std::int64_t cause = 0;
  bool filtered = false;
};

// Another execution, whose outcome is to come by mail.
//
// Open --ChildCompleted | ChildFailed--> (gone)
// Open --ChildOutcomeHeld | ExecutionForked--> Held --ChildCompleted | ChildFailed--> (gone)
struct PendingChild {
  std::string workflow;
  std::string execution_id;
  ParentClose parent_close = ParentClose::cancel;
  std::int64_t cause = 0;
  std::optional<HeldOutcome> held;
  bool left = false;  // it was told already that its parent was cancelled
};

// Who waits for the outcome of this execution.
struct ParentOfExecution {
  std::string execution_id;
  Position position = 0;
};

// A run that ended by going on as new, and the next one has not begun.
struct PendingContinuation {
  std::int64_t sequence = 0;  // of its ContinuedAsNew record
  Payload input;
};

// Open --TimerFired | Withdrawn--> (gone)
struct PendingSleep {
  Timestamp over_at = 0;
  std::int64_t cause = 0;
};

// What a parent is told when its child ended otherwise than with a result. `status` as stores write it.
Failure child_failure(const std::string& execution_id, const std::string& workflow,
                      std::string_view status, const std::string& error_json);

// What is stored as the error of an execution that an operator ended.
Failure termination_of(const OperatorAttributes& attributes);
Failure cancellation_of(const OperatorAttributes& attributes);

class ExecutionFold {
 public:
  ExecutionFold() = default;
  explicit ExecutionFold(ExecutionRecord record) : record_(std::move(record)) {}

  // Fails where the record does not fit what came before: a gap, an unknown position, attributes
  // that can't be read. The fold is not to be used after that.
  Result<void> apply(const HistoryEvent& event);
  // What the record says that is applied next: it is made of this, and need not be read.
  using Expected =
      std::variant<std::monostate, StartGraphCommand, StartedAttributes, ReceivedAttributes>;
  void expect(Expected content) { expected_ = std::move(content); }

  // A record that no longer counts: only its number does.
  void skip(const HistoryEvent& event);

  ExecutionRef ref() const { return record_.ref; }
  const ExecutionRecord& record() const { return record_; }
  ExecutionRecord& record() { return record_; }
  std::int64_t last_sequence() const { return last_sequence_; }
  Timestamp last_at() const { return last_at_; }
  Position next_position() const { return next_position_; }
  std::uint64_t seed() const { return seed_; }
  bool ended() const { return is_terminal(record_.status); }

  // Whether its code has run. None before: the record that says when and with what it will.
  bool started() const { return !scheduled_; }
  const std::optional<HistoryEvent>& scheduled() const { return scheduled_; }

  const std::map<Position, PendingAction>& actions() const { return actions_; }
  const std::map<Position, PendingWait>& waits() const { return waits_; }
  const std::map<Position, PendingSleep>& sleeps() const { return sleeps_; }
  // By sequence.
  const std::map<std::int64_t, ReceivedEvent>& buffer() const { return buffer_; }
  const std::map<Position, PendingChild>& children() const { return children_; }
  std::size_t awaitables() const {
    return actions_.size() + waits_.size() + sleeps_.size() + children_.size() + graphs_.size();
  }
  const std::map<Position, PendingGraph>& graphs() const { return graphs_; }
  // The step of a graph that has that position; none: it belongs to none that is open.
  std::optional<GraphStep> step_at(Position position) const;
  // Whose actions have all ended, the oldest first.
  std::optional<Position> finished_graph() const;
  bool forked() const { return forked_; }
  int generation() const { return generation_; }  // of ids of children: one more with each retry
  const std::optional<ParentOfExecution>& parent() const { return parent_; }
  // Of an execution that was loaded without its history.
  void set_parent(std::optional<ParentOfExecution> parent) { parent_ = std::move(parent); }
  const std::optional<PendingContinuation>& continuation() const { return continuation_; }
  Timestamp deadline() const { return deadline_; }

  const std::optional<PendingCancel>& cancel_due() const { return cancel_due_; }
  bool cancel_requested() const { return cancel_due_.has_value() || cancel_delivered_; }
  static bool ends(EventType type);
  // Whether such a record leaves nothing open, but for children after a cancellation.
  static bool closes_all(EventType type);
  bool holds_outcomes() const { return held_ > 0; }
  // Actions and children whose outcome is held, in the order in which they ended.
  std::vector<Position> held_outcomes() const;

  // The waits that are offered an event of that name, the oldest first.
  Takers takers_of(std::string_view event_name) const { return meetings_.takers_of(event_name); }
  // The filter of that wait said no to all it was asked about, up to that sequence. Not of the history:
  // it is asked again after the execution was put away in between.
  void refused(Position position, std::int64_t until) { meetings_.refused(position, until); }
  // The oldest wait for which something is buffered, with the oldest such event.
  std::optional<Delivery> next_delivery() const { return meetings_.next(); }
  // The buffered events that the filter of that wait was not asked about yet, the oldest first.
  std::vector<std::int64_t> to_ask_about(Position position) const {
    return meetings_.to_ask_about(position);
  }
  // What actions are pending: how many of each handler.
  const std::map<std::string, std::size_t>& action_names() const { return action_names_; }
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
  void close_all(bool goes_on = false);
  void close_all_but_children();
  void take_parent(const StartedAttributes& attributes);
  void remember_event(std::int64_t sequence, std::string id);
  void open_wait(Position position, PendingWait wait);
  bool drop_wait(Position position);  // false: there is none
  Result<void> close_wait(Position position, const HistoryEvent& event);
  void open_sleep(Position position, PendingSleep sleep);
  bool drop_sleep(Position position);
  void open_action(Position position, PendingAction action);
  Result<void> close_action(Position position, const HistoryEvent& event);
  void schedule_anew(Timestamp at);
  void retry_action(PendingAction& action, std::optional<Timestamp> at);
  template <class Attributes>
  Result<Attributes> attributes_of(const HistoryEvent& event);
  Result<void> open_graph(const HistoryEvent& event);
  Result<void> open_step(const HistoryEvent& event);
  Result<void> close_step(const HistoryEvent& event);
  void note_progress(Position graph);

  ExecutionRecord record_;
  std::int64_t last_sequence_ = 0;
  Timestamp last_at_ = 0;
  Position next_position_ = 1;
  std::uint64_t seed_ = 0;
  Expected expected_;
  std::map<Position, PendingAction> actions_;
  std::map<Position, PendingWait> waits_;
  std::map<Position, PendingSleep> sleeps_;
  std::map<Position, PendingChild> children_;
  std::map<Position, PendingGraph> graphs_;
  std::map<std::int64_t, ReceivedEvent> buffer_;
  std::optional<ParentOfExecution> parent_;
  std::optional<PendingContinuation> continuation_;
  std::optional<PendingCancel> cancel_due_;
  bool cancel_delivered_ = false;
  bool forked_ = false;
  int generation_ = 0;
  std::optional<HistoryEvent> scheduled_;  // until it starts
  Timestamp start_at_ = 0;                 // of that
  Timestamp deadline_ = 0;                 // 0: none, or it is to be cancelled anyhow
  // What follows from all of those, kept along so that nothing has to look at each of them.
  WaitIndex meetings_;                               // of waits_ and buffer_
  std::set<std::pair<Timestamp, Position>> due_;     // time-outs of waits, and sleeps
  std::map<std::string, std::size_t> action_names_;  // of actions_
  std::size_t retries_ = 0;                          // actions that wait for another attempt
  std::size_t held_ = 0;                             // actions and children whose outcome is held
  std::set<Position> finished_graphs_;
  // Ids of events by their sequence: those that something still pending was caused by, and others
  // until there are too many.
  std::map<std::int64_t, std::string> event_ids_;
};

}  // namespace pawl
