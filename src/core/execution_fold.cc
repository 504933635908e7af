#include "core/execution_fold.h"

#include <fmt/format.h>
#include <algorithm>
#include <set>
#include <utility>

#include "base/duration.h"
#include "core/start_options.h"
#include "model/attributes.h"
#include "model/failure_codec.h"
#include "model/graph_codec.h"

namespace pawl {
namespace {

Error misfit(const HistoryEvent& event, const std::string_view why) {
  return {ErrorCode::internal,
          fmt::format("history record {} ({}) does not follow from those before it: {}",
                      event.sequence, to_string(event.type), why),
          {}};
}

// What a fork is told of a child that runs for the execution it was forked from.
Failure left_behind(const PendingChild& child) {
  Failure failure;
  failure.name = "ChildFailedError";
  failure.code = "child_left_behind";
  failure.message = fmt::format(
      "Child execution '{}' ({}) belongs to the execution that this one was forked from",
      child.execution_id, child.workflow);
  failure.failure_class = FailureClass::permanent;
  return failure;
}

}  // namespace

Failure termination_of(const OperatorAttributes& attributes) {
  Failure failure;
  failure.name = "TerminatedError";
  failure.code = "terminated";
  failure.message = attributes.reason.empty() ? "The execution was terminated" : attributes.reason;
  failure.failure_class = FailureClass::permanent;
  return failure;
}

Failure cancellation_of(const OperatorAttributes& attributes) {
  Failure failure;
  failure.name = "CancelledError";
  failure.code = "cancelled";
  failure.message = attributes.reason.empty() ? "The execution was cancelled" : attributes.reason;
  failure.failure_class = FailureClass::permanent;
  return failure;
}

Failure child_failure(const std::string& execution_id, const std::string& workflow,
                      const std::string_view status, const std::string& error_json) {
  Failure failure;
  failure.name = "ChildFailedError";
  failure.code = fmt::format("child_{}", status);
  failure.message = fmt::format("Child execution '{}' ({}) {}", execution_id, workflow,
                                status == "failed" ? "failed" : fmt::format("was {}", status));
  failure.failure_class = FailureClass::permanent;
  if (!error_json.empty()) {
    failure.causes.push_back(decode_failure(error_json));
    failure.message += fmt::format(": {}", failure.causes.back().message);
  }
  return failure;
}

Result<void> ExecutionFold::open(const Position position) {
  if (position != next_position_) {
    return Error{
        ErrorCode::internal,
        fmt::format("position {} was given where {} is the next", position, next_position_),
        {}};
  }
  ++next_position_;
  return {};
}

void ExecutionFold::open_wait(const Position position, PendingWait wait) {
  meetings_.open(position, wait.names, wait.filtered);
  if (wait.times_out_at) due_.emplace(*wait.times_out_at, position);
  waits_.emplace_hint(waits_.end(), position, std::move(wait));
}

bool ExecutionFold::drop_wait(const Position position) {
  const auto found = waits_.find(position);
  if (found == waits_.end()) return false;
  const PendingWait& wait = found->second;
  meetings_.close(position, wait.names, wait.filtered);
  if (wait.times_out_at) due_.erase({*wait.times_out_at, position});
  waits_.erase(found);
  return true;
}

Result<void> ExecutionFold::close_wait(const Position position, const HistoryEvent& event) {
  if (!drop_wait(position)) return misfit(event, "there is no such wait");
  return {};
}

void ExecutionFold::open_sleep(const Position position, const PendingSleep sleep) {
  due_.emplace(sleep.over_at, position);
  sleeps_.emplace_hint(sleeps_.end(), position, sleep);
}

bool ExecutionFold::drop_sleep(const Position position) {
  const auto found = sleeps_.find(position);
  if (found == sleeps_.end()) return false;
  due_.erase({found->second.over_at, position});
  sleeps_.erase(found);
  return true;
}

void ExecutionFold::open_action(const Position position, PendingAction action) {
  ++action_names_[handler_of(action)];
  actions_.emplace_hint(actions_.end(), position, std::move(action));
}

Result<void> ExecutionFold::close_action(const Position position, const HistoryEvent& event) {
  const auto found = actions_.find(position);
  if (found == actions_.end()) return misfit(event, "there is no such action");
  PendingAction& action = found->second;
  if (action.held) --held_;
  retry_action(action, std::nullopt);
  const auto name = action_names_.find(handler_of(action));
  if (--name->second == 0) action_names_.erase(name);
  actions_.erase(found);
  return {};
}

// When its next attempt is due; none: there is one under way, or will be none.
void ExecutionFold::retry_action(PendingAction& action, const std::optional<Timestamp> at) {
  if (action.retry_at) --retries_;
  action.retry_at = at;
  if (action.retry_at) ++retries_;
}

// What the execution has gone without is not counted as time of theirs.
void ExecutionFold::schedule_anew(const Timestamp at) {
  for (auto& [position, action] : actions_) action.scheduled_at = at;
}

std::optional<GraphStep> ExecutionFold::step_at(const Position position) const {
  auto after = graphs_.lower_bound(position);
  if (after == graphs_.begin()) return std::nullopt;
  const auto& [graph, pending] = *std::prev(after);
  const auto step = static_cast<ActionGraph::Step>(position - graph - 1);
  if (step >= pending.actions.steps()) return std::nullopt;
  return GraphStep{graph, step};
}

std::optional<Position> ExecutionFold::finished_graph() const {
  if (finished_graphs_.empty()) return std::nullopt;
  return *finished_graphs_.begin();
}

void ExecutionFold::note_progress(const Position graph) {
  if (graphs_.at(graph).actions.is_done()) {
    finished_graphs_.insert(graph);
  } else {
    finished_graphs_.erase(graph);
  }
}

template <class Attributes>
Result<Attributes> ExecutionFold::attributes_of(const HistoryEvent& event) {
  auto* const expected = std::get_if<Attributes>(&expected_);
  if (expected == nullptr) return decode<Attributes>(event.attributes, event.codec);
  Result<Attributes> attributes(std::move(*expected));
  expected_ = {};
  return attributes;
}

Result<void> ExecutionFold::open_graph(const HistoryEvent& event) {
  auto* const expected = std::get_if<StartGraphCommand>(&expected_);
  auto command = expected != nullptr ? Result<StartGraphCommand>(std::move(*expected))
                                     : decode_graph(event.payload.bytes);
  expected_ = {};
  if (!command) return misfit(event, command.error().message);
  const Position positions = positions_of(*command);
  auto graph = ActionGraph::make(std::move(*command));
  if (!graph) return misfit(event, graph.error().message);
  if (auto opened = open(event.position); !opened) return opened;
  next_position_ += positions - 1;
  graphs_.emplace(event.position, PendingGraph{std::move(*graph), event.cause});
  return {};
}

Result<void> ExecutionFold::open_step(const HistoryEvent& event) {
  const auto at = step_at(event.position);
  if (!at) return misfit(event, "there is no graph with such an action");
  ActionGraph& graph = graphs_.at(at->graph).actions;
  if (graph.is_running(at->step)) return misfit(event, "it runs already");
  graph.begin(at->step);
  open_action(event.position,
              PendingAction{graph.name(at->step), graph.parameters(at->step),
                            graph.options(at->step), 0, std::nullopt, event.cause, event.at,
                            std::nullopt, graph.generation(at->step), graph.retries(at->step)});
  return {};
}

Result<void> ExecutionFold::close_step(const HistoryEvent& event) {
  const auto attributes = decode<OutcomeAttributes>(event.attributes, event.codec);
  if (!attributes) return attributes.error();
  const auto at = step_at(event.position);
  if (!at) return misfit(event, "there is no graph with such an action");
  if (auto closed = close_action(event.position, event); !closed) return closed;
  graphs_.at(at->graph).actions.end(at->step, {event.type == EventType::graph_action_completed,
                                               attributes->attempts, event.payload.bytes});
  note_progress(at->graph);
  return {};
}

void ExecutionFold::skip(const HistoryEvent& event) {
  last_sequence_ = event.sequence;
  last_at_ = std::max(last_at_, event.at);
}

Result<void> ExecutionFold::apply(const HistoryEvent& event) {
  if (event.sequence != last_sequence_ + 1) {
    return misfit(event, fmt::format("the last one is {}", last_sequence_));
  }
  if (ended() && event.type != EventType::event_discarded) {
    return misfit(event, "the execution has ended");
  }
  last_sequence_ = event.sequence;
  last_at_ = std::max(last_at_, event.at);
  switch (event.type) {
    case EventType::execution_started: {
      auto attributes = attributes_of<StartedAttributes>(event);
      if (!attributes) return attributes.error();
      if (attributes->first_position != next_position_) {
        return misfit(event, fmt::format("the next position is {}", next_position_));
      }
      seed_ = attributes->seed;
      deadline_ = attributes->deadline;
      take_parent(*attributes);
      scheduled_.reset();
      if (record_.version.empty()) record_.version = attributes->version;
      if (continuation_) record_.state = "initial";
      continuation_.reset();
      return {};
    }
    case EventType::execution_scheduled: {
      const auto attributes = attributes_of<StartedAttributes>(event);
      if (!attributes) return attributes.error();
      if (event.sequence != 1) return misfit(event, "it has begun already");
      seed_ = attributes->seed;
      start_at_ = attributes->start_at;
      deadline_ = attributes->deadline;
      take_parent(*attributes);
      scheduled_ = event;
      return {};
    }
    case EventType::event_received: {
      auto attributes = attributes_of<ReceivedAttributes>(event);
      if (!attributes) return attributes.error();
      remember_event(event.sequence, attributes->event_id);
      if (event.position != 0) return close_wait(event.position, event);
      meetings_.buffer(event.name, event.sequence);
      buffer_.emplace_hint(
          buffer_.end(), event.sequence,
          ReceivedEvent{std::move(attributes->event_id), event.name, event.payload,
                        std::move(attributes->user_id), attributes->accepted_at, event.sequence});
      return {};
    }
    case EventType::event_delivered:
    case EventType::event_discarded: {
      const auto attributes = decode<DeliveredAttributes>(event.attributes, event.codec);
      if (!attributes) return attributes.error();
      const auto found = buffer_.find(attributes->event);
      if (found == buffer_.end()) return misfit(event, "there is no such event in the buffer");
      remember_event(found->first, found->second.id);
      meetings_.unbuffer(found->second.name, found->first);
      buffer_.erase(found);
      if (event.type == EventType::event_discarded) return {};
      return close_wait(event.position, event);
    }
    case EventType::wait_timed_out: return close_wait(event.position, event);
    case EventType::timer_fired:
      if (!drop_sleep(event.position)) return misfit(event, "there is no such timer");
      return {};
    case EventType::action_completed:
    case EventType::action_failed: return close_action(event.position, event);
    case EventType::action_outcome_held: {
      const auto attributes = decode<HeldAttributes>(event.attributes, event.codec);
      if (!attributes) return attributes.error();
      const auto found = actions_.find(event.position);
      if (found == actions_.end()) return misfit(event, "there is no such action");
      if (found->second.held) return misfit(event, "its outcome is held already");
      found->second.held =
          HeldOutcome{event.sequence, attributes->failed, attributes->attempts, event.payload};
      retry_action(found->second, std::nullopt);
      ++held_;
      return {};
    }
    case EventType::cancel_requested:
      if (cancel_requested()) return misfit(event, "it was asked to end before");
      cancel_due_ = PendingCancel{event.sequence, event.attributes};
      deadline_ = 0;
      return {};
    case EventType::cancel_delivered: {
      const auto attributes = decode<OperatorAttributes>(event.attributes, event.codec);
      if (!attributes) return attributes.error();
      if (!cancel_due_) return misfit(event, "nobody asked it to end");
      cancel_due_.reset();
      cancel_delivered_ = true;
      if (attributes->keeps_children) {
        close_all_but_children();
      } else {
        close_all();
      }
      return {};
    }
    case EventType::execution_forked:
      // It was the original's: a fork is often made because that one was too late.
      deadline_ = 0;
      // So were its children, and it is nobody's child itself.
      forked_ = true;
      parent_.reset();
      // Whoever has the token completes the original's.
      for (auto& [position, action] : actions_) action.deferred = false;
      schedule_anew(event.at);
      for (auto& [position, child] : children_) {
        if (child.held) continue;
        child.held =
            HeldOutcome{event.sequence, true, 1, Payload::json(encode_failure(left_behind(child)))};
        ++held_;
      }
      return {};
    case EventType::child_started: {
      auto attributes = decode<ChildAttributes>(event.attributes, event.codec);
      if (!attributes) return attributes.error();
      if (auto opened = open(event.position); !opened) return opened;
      children_.emplace(event.position,
                        PendingChild{event.name, std::move(attributes->execution_id),
                                     attributes->parent_close, event.cause, std::nullopt});
      return {};
    }
    case EventType::child_completed:
    case EventType::child_failed: {
      const auto found = children_.find(event.position);
      if (found == children_.end()) return misfit(event, "there is no such child");
      if (found->second.held) --held_;
      children_.erase(found);
      return {};
    }
    case EventType::child_outcome_held: {
      const auto found = children_.find(event.position);
      if (found == children_.end()) return misfit(event, "there is no such child");
      if (found->second.held) return misfit(event, "its outcome is held already");
      found->second.held = HeldOutcome{event.sequence, false, 1, event.payload};
      ++held_;
      return {};
    }
    case EventType::continued_as_new:
      close_all(true);
      continuation_ = PendingContinuation{event.sequence, event.payload};
      // A cancellation that the run that ended has heard of was its own.
      cancel_delivered_ = false;
      return {};
    case EventType::execution_retried: {
      const auto attributes = decode<RetriedAttributes>(event.attributes, event.codec);
      if (!attributes) return attributes.error();
      for (const Position position : attributes->actions) {
        if (const auto at = step_at(position)) {
          graphs_.at(at->graph).actions.try_again(at->step);
          note_progress(at->graph);
          continue;
        }
        const auto found = actions_.find(position);
        if (found == actions_.end()) return misfit(event, "there is no such action");
        PendingAction& action = found->second;
        if (action.held) --held_;
        action.held.reset();
        action.attempts_failed = 0;
        action.last_failure = {};
        action.deferred = false;
        retry_action(action, std::nullopt);
        ++action.generation;
      }
      schedule_anew(event.at);
      generation_ = std::max(generation_, attributes->generation);
      // Who has it go on after its deadline means it to.
      if (deadline_ <= event.at) deadline_ = 0;
      return {};
    }
    case EventType::execution_paused: record_.status = ExecutionStatus::paused; return {};
    case EventType::execution_resumed: record_.status = ExecutionStatus::running; return {};
    case EventType::action_attempt_failed: {
      const auto attributes = decode<AttemptFailedAttributes>(event.attributes, event.codec);
      if (!attributes) return attributes.error();
      const auto found = actions_.find(event.position);
      if (found == actions_.end()) return misfit(event, "there is no such action");
      found->second.attempts_failed = attributes->attempt;
      found->second.last_failure = event.payload;
      if (!attributes->progress.empty()) {
        found->second.progress = Payload::json(attributes->progress);
      }
      retry_action(found->second, attributes->next_attempt_at);
      return {};
    }
    case EventType::action_deferred: {
      const auto found = actions_.find(event.position);
      if (found == actions_.end()) return misfit(event, "there is no such action");
      found->second.deferred = true;
      return {};
    }
    case EventType::action_scheduled: {
      auto attributes = decode<ScheduledAttributes>(event.attributes, event.codec);
      if (!attributes) return attributes.error();
      if (auto opened = open(event.position); !opened) return opened;
      open_action(event.position,
                  PendingAction{event.name, event.payload, std::move(attributes->options), 0,
                                std::nullopt, event.cause, event.at});
      return {};
    }
    case EventType::graph_started: return open_graph(event);
    case EventType::graph_completed:
      if (graphs_.erase(event.position) == 0) return misfit(event, "there is no such graph");
      finished_graphs_.erase(event.position);
      return {};
    case EventType::graph_action_scheduled: return open_step(event);
    case EventType::graph_action_completed:
    case EventType::graph_action_failed: return close_step(event);
    case EventType::wait_started: {
      auto attributes = decode<WaitAttributes>(event.attributes, event.codec);
      if (!attributes) return attributes.error();
      if (auto opened = open(event.position); !opened) return opened;
      PendingWait wait;
      wait.cause = event.cause;
      // One without a name waits for a condition, which the host looks after.
      if (attributes->names.empty()) {
        if (!event.name.empty()) wait.names.push_back(event.name);
      } else {
        wait.names = std::move(attributes->names);
      }
      if (attributes->timeout) wait.times_out_at = later(event.at, *attributes->timeout);
      wait.filtered = attributes->filtered;
      open_wait(event.position, std::move(wait));
      return {};
    }
    case EventType::timer_started: {
      const auto attributes = decode<TimerAttributes>(event.attributes, event.codec);
      if (!attributes) return attributes.error();
      if (auto opened = open(event.position); !opened) return opened;
      open_sleep(event.position, PendingSleep{later(event.at, attributes->duration), event.cause});
      return {};
    }
    case EventType::withdrawn:
      // What it names may be gone already: its job and the withdrawal can meet in one activation.
      if (!drop_wait(event.position)) drop_sleep(event.position);
      return {};
    case EventType::state_changed: record_.state = event.name; return {};
    case EventType::data_set:
    case EventType::data_deleted:
    case EventType::event_emitted:
    case EventType::child_cancel_asked:
    case EventType::patched: return {};
    case EventType::execution_completed:
      record_.status = ExecutionStatus::completed;
      record_.result = event.payload;
      break;
    case EventType::execution_failed:
      record_.status = ExecutionStatus::failed;
      record_.error_json = event.payload.bytes;
      break;
    case EventType::execution_cancelled:
      record_.status = ExecutionStatus::cancelled;
      record_.error_json = event.payload.bytes;
      break;
    case EventType::start_cancelled: {
      const auto attributes = decode<OperatorAttributes>(event.attributes, event.codec);
      if (!attributes) return attributes.error();
      if (started()) return misfit(event, "its code has run");
      record_.status = ExecutionStatus::cancelled;
      record_.error_json = encode_failure(cancellation_of(*attributes));
      break;
    }
    case EventType::execution_terminated: {
      const auto attributes = decode<OperatorAttributes>(event.attributes, event.codec);
      if (!attributes) return attributes.error();
      record_.status = ExecutionStatus::terminated;
      record_.error_json = encode_failure(termination_of(*attributes));
      break;
    }
  }
  close_all();
  return {};
}

bool ExecutionFold::closes_all(const EventType type) {
  return type == EventType::cancel_delivered || type == EventType::continued_as_new || ends(type);
}

bool ExecutionFold::ends(const EventType type) {
  switch (type) {
    case EventType::execution_completed:
    case EventType::execution_failed:
    case EventType::execution_cancelled:
    case EventType::start_cancelled:
    case EventType::execution_terminated: return true;
    default: return false;
  }
}

// A deadline is kept where the execution itself goes on.
void ExecutionFold::close_all(const bool goes_on) {
  actions_.clear();
  waits_.clear();
  sleeps_.clear();
  children_.clear();
  graphs_.clear();
  finished_graphs_.clear();
  meetings_.close_all();
  due_.clear();
  action_names_.clear();
  retries_ = 0;
  held_ = 0;
  start_at_ = 0;
  if (!goes_on) deadline_ = 0;
}

void ExecutionFold::close_all_but_children() {
  std::map<Position, PendingChild> kept = std::exchange(children_, {});
  close_all();
  children_ = std::move(kept);
  for (auto& [position, child] : children_) {
    child.left = true;
    if (child.held) ++held_;
  }
}

void ExecutionFold::take_parent(const StartedAttributes& attributes) {
  parent_.reset();
  if (attributes.parent.empty()) return;
  parent_ = ParentOfExecution{attributes.parent, attributes.parent_position};
}

std::vector<Position> ExecutionFold::held_outcomes() const {
  std::vector<Position> positions;
  if (held_ == 0) return positions;
  std::vector<std::pair<std::int64_t, Position>> ended;
  for (const auto& [position, action] : actions_) {
    if (action.held) ended.emplace_back(action.held->sequence, position);
  }
  for (const auto& [position, child] : children_) {
    if (child.held) ended.emplace_back(child.held->sequence, position);
  }
  std::sort(ended.begin(), ended.end());
  for (const auto& [sequence, position] : ended) positions.push_back(position);
  return positions;
}

bool ExecutionFold::in_flight() const {
  if (ended()) return false;
  const bool action_under_way = actions_.size() > retries_;
  return action_under_way || held_ > 0 || !finished_graphs_.empty() || continuation_.has_value() ||
         cancel_due_.has_value() || next_delivery().has_value();
}

std::optional<TimerRecord> ExecutionFold::timer(const Position position) const {
  if (position == kStartPosition) {
    if (started() || ended()) return std::nullopt;
    return TimerRecord{ref(), position, TimerKind::start, start_at_};
  }
  if (position == kDeadlinePosition) {
    if (deadline_ == 0) return std::nullopt;
    return TimerRecord{ref(), position, TimerKind::deadline, deadline_};
  }
  if (const auto wait = waits_.find(position); wait != waits_.end()) {
    if (!wait->second.times_out_at) return std::nullopt;
    return TimerRecord{ref(), position, TimerKind::wait, *wait->second.times_out_at};
  }
  if (const auto sleep = sleeps_.find(position); sleep != sleeps_.end()) {
    return TimerRecord{ref(), position, TimerKind::sleep, sleep->second.over_at};
  }
  if (const auto action = actions_.find(position); action != actions_.end()) {
    if (!action->second.retry_at) return std::nullopt;
    return TimerRecord{ref(), position, TimerKind::retry, *action->second.retry_at};
  }
  return std::nullopt;
}

std::vector<TimerRecord> ExecutionFold::timers() const {
  std::vector<TimerRecord> timers;
  for (const Position position : {kDeadlinePosition, kStartPosition}) {
    if (const auto own = timer(position)) timers.push_back(*own);
  }
  for (const auto& [position, wait] : waits_) {
    if (wait.times_out_at) {
      timers.push_back(TimerRecord{ref(), position, TimerKind::wait, *wait.times_out_at});
    }
  }
  for (const auto& [position, sleep] : sleeps_) {
    timers.push_back(TimerRecord{ref(), position, TimerKind::sleep, sleep.over_at});
  }
  for (const auto& [position, action] : actions_) {
    if (action.retry_at) {
      timers.push_back(TimerRecord{ref(), position, TimerKind::retry, *action.retry_at});
    }
  }
  return timers;
}

std::optional<TimerRecord> ExecutionFold::first_timer_until(const Timestamp then) const {
  std::optional<TimerRecord> first;
  if (!due_.empty()) first = timer(due_.begin()->second);
  // At the same time, its own go first.
  for (const Position position : {kStartPosition, kDeadlinePosition}) {
    const auto own = timer(position);
    if (own && (!first || own->fire_at <= first->fire_at)) first = own;
  }
  if (first && first->fire_at > then) first.reset();
  return first;
}

void ExecutionFold::remember_event(const std::int64_t sequence, std::string id) {
  constexpr std::size_t kEventIdsMax = 256;  // beyond those that may be in use, twice over
  event_ids_.insert_or_assign(sequence, std::move(id));
  if (event_ids_.size() <= kEventIdsMax + 2 * awaitables()) return;
  std::set<std::int64_t> used{sequence};
  for (const auto& [position, action] : actions_) used.insert(action.cause);
  for (const auto& [position, wait] : waits_) used.insert(wait.cause);
  for (const auto& [position, sleep] : sleeps_) used.insert(sleep.cause);
  for (const auto& [position, child] : children_) used.insert(child.cause);
  for (const auto& [position, graph] : graphs_) used.insert(graph.cause);
  std::erase_if(event_ids_, [&used](const auto& entry) { return !used.contains(entry.first); });
}

std::string ExecutionFold::event_id_of(const std::int64_t cause) const {
  const auto found = event_ids_.find(cause);
  return found == event_ids_.end() ? std::string{} : found->second;
}

}  // namespace pawl
