// Operators' hands: cancel, terminate, pause, resume, retry, fork. Each is a record that says who.

#include <fmt/format.h>
#include <algorithm>
#include <map>
#include <set>
#include <span>

#include "base/digest.h"
#include "core/event_answer.h"
#include "core/history_cut.h"
#include "core/shard.h"
#include "core/shard_execution.h"
#include "core/start_options.h"
#include "model/attributes.h"

namespace pawl {

void Shard::take_control(Execution& execution, const ControlRequested& input) {
  const ExecutionRecord& record = execution.fold.record();
  const auto now_is = [&] {
    return ControlReply{record.execution_id, std::string(to_string(record.status)), record.state};
  };
  // By mail, its row tells that it was done, or was done before.
  const bool of_operator = input.mail != 0 && input.parent.empty();
  if (input.mail != 0 && !of_operator) {
    execution.open.inbox_completed.push_back(
        InboxCompletion{input.mail, InboxStatus::completed, {}, {}});
    if (input.verb == ControlVerb::retry &&
        (record.status != ExecutionStatus::failed || input.only_tell)) {
      // Its parent waits for it again: if it has ended, it hears of that once more.
      if (execution.fold.ended()) {
        InboxRecord mail = outcome_mail({input.parent, input.parent_position}, record);
        execution.open.inbox_added.push_back(mail);
        execution.effects.mail.push_back(std::move(mail));
      }
      return commit(execution);
    }
    // One that goes by the id that a child was meant to have is none of the sender's.
    const auto& parent = execution.fold.parent();
    const bool stranger = input.verb != ControlVerb::retry && !input.parent.empty() &&
                          (!parent || parent->execution_id != input.parent);
    if (stranger) return commit(execution);
    if (input.verb != ControlVerb::retry &&
        (execution.fold.ended() ||
         (input.verb == ControlVerb::cancel && execution.fold.cancel_requested()))) {
      return commit(execution);
    }
  }
  const auto tell = [&] {
    if (input.mail != 0) {
      return settle_mail(input.mail, std::nullopt,
                         is_awaited(input.mail) ? encode_answer(now_is()) : std::string{});
    }
    answer(execution, Reply{input.request, now_is()});
  };
  const auto refuse_with = [&](const ErrorCode code, std::string message) {
    Error error{code, std::move(message), record.execution_id};
    if (input.mail != 0) return settle_mail(input.mail, error);
    answer(execution, Reply{input.request, std::move(error)});
  };
  if (input.verb == ControlVerb::retry) {
    if (record.status == ExecutionStatus::failed) {
      if (of_operator) {
        execution.open.inbox_completed.push_back(
            InboxCompletion{input.mail, InboxStatus::completed, {}, {}});
      }
      return revive(execution, input);
    }
    return refuse_with(ErrorCode::wrong_status,
                       fmt::format("Execution '{}' has not failed (it is {}); there is nothing to "
                                   "try again.",
                                   record.execution_id, to_string(record.status)));
  }
  if (execution.fold.ended()) {
    return refuse_with(ErrorCode::execution_ended,
                       fmt::format("Execution '{}' has ended ({}) already.", record.execution_id,
                                   to_string(record.status)));
  }
  HistoryEvent event;
  event.cause = execution.fold.last_sequence() + 1;
  event.attributes = encode(OperatorAttributes{input.control.by, input.control.reason});
  switch (input.verb) {
    case ControlVerb::cancel:
      if (execution.fold.cancel_requested()) return tell();
      event.type =
          execution.fold.started() ? EventType::cancel_requested : EventType::start_cancelled;
      break;
    case ControlVerb::terminate: event.type = EventType::execution_terminated; break;
    case ControlVerb::pause:
      if (record.status == ExecutionStatus::paused) return tell();
      if (record.status == ExecutionStatus::stuck) {
        return refuse_with(
            ErrorCode::wrong_status,
            fmt::format("Execution '{}' is stuck and does not move. Register a mended definition "
                        "with `replace`, cancel it, or terminate it.",
                        record.execution_id));
      }
      event.type = EventType::execution_paused;
      break;
    case ControlVerb::resume:
      if (record.status == ExecutionStatus::running) return tell();
      if (record.status == ExecutionStatus::stuck) {
        return refuse_with(
            ErrorCode::wrong_status,
            fmt::format("Execution '{}' is stuck, not paused: its code departed from its history. "
                        "Register a mended definition with `replace`, and it goes on.",
                        record.execution_id));
      }
      event.type = EventType::execution_resumed;
      break;
    case ControlVerb::retry: break;
  }
  append(execution, std::move(event));
  if (execution.fold.ended()) end_without_code(execution);
  if (input.verb == ControlVerb::resume) begin_all_steps(execution);
  if (input.verb == ControlVerb::pause) pause(execution);
  if (input.request != 0) execution.effects.replies.push_back(Reply{input.request, now_is()});
  if (of_operator) {
    execution.open.inbox_completed.push_back(
        InboxCompletion{input.mail,
                        InboxStatus::completed,
                        {},
                        is_awaited(input.mail) ? encode_answer(now_is()) : std::string{}});
  }
  commit(execution);
  if (input.verb == ControlVerb::resume) dispatch_all(execution);
}

// What is out runs on to its end; what has not begun does not begin.
void Shard::pause(Execution& execution) {
  const ExecutionRef ref = execution.fold.ref();
  for (auto at = attempts_.lower_bound({ref, 0});
       at != attempts_.end() && at->first.first == ref;) {
    const AttemptKey key = at->first;
    const bool begun = at->second.handed_out;
    ++at;
    if (!begun) end_attempt(key);
  }
  rest_keyed(ref);
}

// At that time the execution is asked to end, as if an operator had.
void Shard::take_deadline(Execution& execution) {
  HistoryEvent event;
  event.type = execution.fold.started() ? EventType::cancel_requested : EventType::start_cancelled;
  event.cause = execution.fold.last_sequence() + 1;
  event.attributes = encode(OperatorAttributes{{}, std::string(kDeadlineReason)});
  append(execution, std::move(event));
  if (execution.fold.ended()) end_without_code(execution);
  commit(execution);
}

// At once, without a word to the code.
void Shard::end_without_code(Execution& execution) {
  if (execution.hosted) {
    out_->evictions.push_back(Evict{execution.host, execution.fold.ref()});
    execution.hosted = false;
  }
  execution.retrying_stuck = false;
  close_execution(execution);
}

// ---- retries

bool Shard::is_retry(const Work& work) {
  const auto* const control = std::get_if<ControlRequested>(&work);
  return control != nullptr && control->verb == ControlVerb::retry;
}

namespace {

// The index of the first record of the activation that ends with that one.
std::size_t activation_of(const std::vector<HistoryEvent>& history, std::size_t index) {
  while (index > 0) {
    const HistoryEvent& before = history[index - 1];
    if (before.ends_activation || stands_alone(before)) break;
    --index;
  }
  return index;
}

}  // namespace

// Takes the execution back to before the activation in which it failed. Actions whose failure woke it
// run again; all else that woke it is delivered once more.
void Shard::revive(Execution& execution, const ControlRequested& input) {
  const std::vector<HistoryEvent> history = std::move(execution.history);
  const auto failed = std::find_if(history.rbegin(), history.rend(), [](const HistoryEvent& event) {
    return event.type == EventType::execution_failed;
  });
  const auto end = static_cast<std::size_t>(history.rend() - failed);
  const std::size_t first = activation_of(history, end - 1);

  ExecutionRecord record = execution.fold.record();
  if (history[first].type == EventType::execution_started &&
      catalog_.find_workflow(record.workflow, record.version) == nullptr) {
    return refuse_retry(
        execution, input,
        Error{ErrorCode::unknown_workflow,
              fmt::format("Execution '{}' failed as it started, and '{}' {} is not registered "
                          "here. Register it and try again.",
                          record.execution_id, record.workflow, record.version),
              record.workflow});
  }
  record.status = ExecutionStatus::running;
  record.state = "initial";
  record.error_json.clear();
  Transition open = std::move(execution.open);  // the row of a retry by mail
  ExecutionFold fold(std::move(record));
  const std::span<const HistoryEvent> all(history);
  if (const auto folded = fold_history(fold, all.first(first)); !folded) {
    execution.open = std::move(open);
    return refuse_retry(execution, input, folded.error());
  }
  for (const HistoryEvent& event : all.subspan(first)) fold.skip(event);
  execution.fold = std::move(fold);
  execution.open = std::move(open);
  set_all_timers(execution);

  const auto woken = [&](const EventType type) {
    std::vector<const HistoryEvent*> jobs;
    for (std::size_t index = first; index < end; ++index) {
      if (history[index].type == type) jobs.push_back(&history[index]);
    }
    return jobs;
  };
  RetriedAttributes attributes;
  attributes.from = history[first].sequence;
  attributes.by = input.control.by;
  attributes.reason = input.control.reason;
  attributes.generation = execution.fold.generation() + 1;
  for (const HistoryEvent* const job : woken(EventType::action_failed)) {
    attributes.actions.push_back(job->position);
  }
  for (const HistoryEvent* const job : woken(EventType::graph_completed)) {
    for (const auto step : execution.fold.graphs().at(job->position).actions.retriable()) {
      attributes.actions.push_back(job->position + 1 + static_cast<Position>(step));
    }
  }
  HistoryEvent retried;
  retried.type = EventType::execution_retried;
  retried.cause = execution.fold.last_sequence() + 1;
  retried.attributes = encode(attributes);
  append(execution, std::move(retried));
  for (const auto& [position, graph] : execution.fold.graphs()) {
    for (const ActionGraph::Step step : graph.actions.skipped()) {
      execution.open.graph_actions_changed.push_back(
          {position, position + 1 + static_cast<Position>(step), false});
    }
  }
  begin_all_steps(execution);
  for (const HistoryEvent* const job : woken(EventType::action_completed)) {
    if (execution.fold.actions().at(job->position).held) continue;
    HistoryEvent held = *job;
    held.type = EventType::action_outcome_held;
    held.ends_activation = false;
    const auto outcome = decode<OutcomeAttributes>(job->attributes, job->codec);
    held.attributes = encode(HeldAttributes{outcome ? outcome->attempts : 1, false});
    append(execution, std::move(held));
  }
  for (const HistoryEvent* const job : woken(EventType::child_completed)) {
    if (execution.fold.children().at(job->position).held) continue;
    HistoryEvent held = *job;
    held.type = EventType::child_outcome_held;
    held.ends_activation = false;
    append(execution, std::move(held));
  }
  // A child whose failure woke it is tried again itself. The others may have ended since; what they
  // told then was heard by nobody.
  std::set<Position> failed_children;
  for (const HistoryEvent* const job : woken(EventType::child_failed)) {
    failed_children.insert(job->position);
  }
  for (const auto& [position, child] : execution.fold.children()) {
    if (child.held) continue;
    InboxRecord mail;
    mail.kind = InboxKind::retry;
    mail.execution_id = child.execution_id;
    mail.attributes =
        encode(ChildEndedAttributes{position, execution.fold.record().execution_id,
                                    failed_children.contains(position) ? "failed" : ""});
    send(execution, std::move(mail));
  }
  for (const HistoryEvent* const job : woken(EventType::event_received)) {
    HistoryEvent received = *job;
    received.position = 0;
    received.ends_activation = false;
    received.cause = execution.fold.last_sequence() + 1;
    append(execution, std::move(received));
  }
  for (const auto& [position, action] : execution.fold.actions()) {
    if (!action.retry_at && !action.held) execution.effects.actions.push_back(position);
  }
  if (input.request != 0) {
    execution.effects.replies.push_back(
        Reply{input.request, ControlReply{execution.fold.record().execution_id,
                                          std::string(to_string(ExecutionStatus::running)),
                                          execution.fold.record().state}});
  }
  // For its code to be rebuilt from, whenever it is next woken.
  execution.history = history;
  execution.history.insert(execution.history.end(), execution.open.records.begin(),
                           execution.open.records.end());
  execution.replay_start = start_of_replay(execution.history);
  execution.hosted = false;
  if (history[first].type == EventType::execution_started) {
    begin_again(execution, history[first]);
  } else {
    commit(execution);
  }
}

// None of them is in the store.
void Shard::set_all_timers(Execution& execution) {
  for (const TimerRecord& timer : execution.fold.timers()) {
    move_timer(execution, timer.position, std::nullopt);
  }
}

void Shard::refuse_retry(Execution& execution, const ControlRequested& input, Error error) {
  if (input.mail == 0) return answer(execution, Reply{input.request, std::move(error)});
  if (input.parent.empty()) {
    execution.open.inbox_completed.clear();
    return settle_mail(input.mail, error);
  }
  log_engine(LogLevel::error, error.message, execution.fold.record());
  InboxRecord mail = outcome_mail({input.parent, input.parent_position}, execution.fold.record());
  execution.open.inbox_added.push_back(mail);
  execution.effects.mail.push_back(std::move(mail));
  commit(execution);
}

// It failed in its first activation: the start is delivered once more, in the same commit.
void Shard::begin_again(Execution& execution, HistoryEvent start) {
  start.ends_activation = false;
  start.cause = execution.fold.last_sequence() + 1;
  auto attributes = decode<StartedAttributes>(start.attributes, start.codec).value();
  if (attributes.deadline <= activation_time(execution)) attributes.deadline = 0;
  start.attributes = encode(attributes);
  auto job = job_of(execution.fold.record(), start, nullptr);
  execution.cause = start.cause;
  add_job(execution, std::move(start), std::move(*job));
  begin_code(execution);
  activate(execution);
}

// ---- forks

namespace {

// The row that belongs to the record of an outcome; none for other records.
std::optional<ActionResultRecord> result_of(const ExecutionRecord& execution,
                                            const std::uint64_t seed, const HistoryEvent& event) {
  const bool held = event.type == EventType::action_outcome_held;
  const bool failed =
      event.type == EventType::action_failed || event.type == EventType::graph_action_failed;
  if (!held && !failed && event.type != EventType::action_completed &&
      event.type != EventType::graph_action_completed) {
    return std::nullopt;
  }
  ActionResultRecord result;
  result.execution = execution.ref;
  result.position = event.position;
  result.seed = seed;
  result.tenant = execution.tenant;
  result.action = event.name;
  result.cause = event.cause;
  result.at = event.at;
  result.succeeded = !failed;
  if (held) {
    const auto attributes = decode<HeldAttributes>(event.attributes, event.codec).value();
    result.succeeded = !attributes.failed;
    result.attempts = attributes.attempts;
  } else if (const auto known = decode<OutcomeAttributes>(event.attributes, event.codec)) {
    result.attempts = known->attempts;
  }
  if (result.succeeded) {
    result.result = event.payload;
  } else {
    result.error_json = event.payload.bytes;
  }
  return result;
}

}  // namespace

void Shard::take_fork(Execution& execution, const ForkPrepared& fork) {
  const ExecutionRecord& record = execution.fold.record();
  const bool same = record.input_digest == fork_digest(fork.fork);
  if (fork.mail != 0) {
    return settle_mail(fork.mail, same ? std::nullopt : std::optional(fork_clash(fork.fork)));
  }
  if (same) return answer(execution, Reply{fork.request, record.execution_id});
  answer(execution, Reply{fork.request, fork_clash(fork.fork)});
}

void Shard::begin(ForkPrepared fork) {
  if (fork.records.empty()) {
    out_->forks.push_back(PrepareFork{std::move(fork.fork), fork.mail});
    return;
  }
  ExecutionRecord record = std::move(fork.source);
  record.ref = next_ref_(fork.fork.tenant, fork.fork.fork_id);
  if (find(record.ref) != nullptr) return leave(Work{std::move(fork)});
  record.execution_id = fork.fork.fork_id;
  record.status = ExecutionStatus::running;
  record.condition = Condition::none;
  record.condition_detail.clear();
  record.state = "initial";
  record.in_flight = false;
  record.result = {};
  record.error_json.clear();
  record.input_digest = fork_digest(fork.fork);
  record.created_at = now_;
  record.updated_at = now_;
  ExecutionFold fold(record);
  if (const auto folded = fold_history(fold, fork.records); !folded) {
    if (fork.mail != 0) return settle_mail(fork.mail, folded.error());
    return reply(fork.request, folded.error());
  }
  std::map<Position, ActionResultRecord> outcomes;
  Transition open;
  if (fork.mail != 0) {
    open.inbox_completed.push_back(InboxCompletion{fork.mail, InboxStatus::completed, {}, {}});
  }
  const VoidRecords no_more(fork.records);
  for (const HistoryEvent& event : fork.records) {
    if (no_more.contains(event)) continue;
    auto result = result_of(record, fold.seed(), event);
    if (!result) continue;
    // One that was held has a second record, of its delivery. In a graph, the second one counts: the first
    // was a failure, and it was tried again.
    if (stands_alone(event) && event.type != EventType::action_outcome_held) {
      outcomes.insert_or_assign(event.position, std::move(*result));
    } else {
      outcomes.try_emplace(event.position, std::move(*result));
    }
  }
  for (auto& [position, result] : outcomes) open.results.push_back(std::move(result));
  Execution& execution = add(std::move(record));
  execution.fold = std::move(fold);
  execution.open = std::move(open);
  execution.history = fork.records;
  execution.open.records = std::move(fork.records);
  set_all_timers(execution);
  for (const auto& [position, graph] : execution.fold.graphs()) {
    show_graph(execution, position);
    show_reached(execution, position, 0);
  }
  HistoryEvent event;
  event.type = EventType::execution_forked;
  event.name = fork.fork.execution_id;
  event.cause = execution.fold.last_sequence() + 1;
  event.attributes =
      encode(ForkedAttributes{execution.fold.last_sequence(), fork.fork.by, fork.fork.reason});
  execution.history.push_back(append(execution, std::move(event)));
  // The cut may lie between what let an action of a graph begin and its beginning.
  const std::size_t own = execution.open.records.size();
  begin_all_steps(execution);
  execution.history.insert(execution.history.end(),
                           execution.open.records.begin() + static_cast<std::ptrdiff_t>(own),
                           execution.open.records.end());
  execution.replay_start = start_of_replay(execution.history);
  // Held until the commit is durable, as what a workflow's own commands begin.
  for (const auto& [position, action] : execution.fold.actions()) {
    if (!action.retry_at) execution.effects.actions.push_back(position);
  }
  if (fork.request != 0) {
    execution.effects.replies.push_back(Reply{fork.request, execution.fold.record().execution_id});
  }
  commit(execution);
  proceed(execution);
}

}  // namespace pawl
