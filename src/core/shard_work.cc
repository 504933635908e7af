// What waits for its turn at an execution, and what becomes of it.

#include <fmt/format.h>
#include <algorithm>

#include "base/digest.h"
#include "base/duration.h"
#include "base/random.h"
#include "core/event_answer.h"
#include "core/retry.h"
#include "core/shard.h"
#include "core/shard_execution.h"
#include "core/start_options.h"
#include "model/attributes.h"
#include "model/failure_codec.h"

namespace pawl {
namespace {

constexpr std::size_t kRecentKeysMax = 100;  // of an execution, beyond those not yet committed

EventSubmitted as_submitted(const ExecutionRecord& execution, const InboxRecord& row) {
  EventSubmitted event;
  event.event = EventRequest{execution.tenant, execution.execution_id, row.event_name, row.payload,
                             row.user_id,      row.idempotency_key};
  event.event_id = row.event_id;
  event.accepted_at = row.accepted_at;
  return event;
}

// As its code sees it, once it is the record of that sequence.
ReceivedEvent seen_as(const EventSubmitted& event, const std::int64_t sequence) {
  return ReceivedEvent{event.event_id,      event.event.name,  event.event.payload,
                       event.event.user_id, event.accepted_at, sequence};
}

// Why an event by mail went no further.
Error key_used(const std::string& key) {
  return {ErrorCode::already_exists, "an event with that idempotency key came before", key};
}

}  // namespace

bool Shard::can_run(const Execution& execution) const {
  const ExecutionRecord& record = execution.fold.record();
  if (record.status != ExecutionStatus::running) return false;
  return execution.hosted || catalog_.find_workflow(record.workflow, record.version) != nullptr;
}

// Until a definition of its workflow is registered, or it is resumed.
void Shard::await_code(Execution& execution) {
  without_code_.emplace(execution.fold.record().workflow, execution.fold.ref());
  execution.wants_code = true;
}

// Which code it would need to go on; empty where that is not what it waits for.
std::string Shard::missing_code(const Execution& execution) const {
  const ExecutionRecord& record = execution.fold.record();
  if (!execution.wants_code || record.status != ExecutionStatus::running || can_run(execution)) {
    return {};
  }
  if (record.version.empty()) return record.workflow;
  return fmt::format("{} {}", record.workflow, record.version);
}

// Its row says so, where operators look.
void Shard::show_missing_code(Execution& execution) {
  if (execution.phase != Execution::Phase::idle || execution.fold.ended()) return;
  const bool shown = execution.row_condition == Condition::no_worker;
  const bool missing = !missing_code(execution).empty();
  if (missing && !shown) commit(execution);
  if (!missing && shown && can_run(execution)) commit(execution);
}

// Another attempt of an action of a graph, which needs no code.
bool Shard::retries_step(const Execution& execution, const TimerRecord& timer) {
  return timer.kind == TimerKind::retry && execution.fold.step_at(timer.position) &&
         execution.fold.record().status == ExecutionStatus::running;
}

void Shard::proceed(Execution& execution) {
  touch(execution);
  if (execution.phase == Execution::Phase::idle && execution.retrying_stuck &&
      !is_draining(execution)) {
    const ExecutionRecord& record = execution.fold.record();
    if (catalog_.find_workflow(record.workflow, record.version) != nullptr) {
      if (execution.fold.started() && !execution.fold.continuation()) {
        rebuild(execution);
      } else {
        mend(execution);
      }
    }
  }
  std::vector<Work> blocked;
  while (execution.phase == Execution::Phase::idle) {
    // What is durable and promised to nobody is found again at the next opening.
    if (is_draining(execution) && !execution.fold.ended() && !promises(execution.work)) break;
    if (build_for_attempts(execution)) break;
    // An operator does not wait for code that always has something to do, nor who only wants to be heard.
    if (take_urgent(execution)) continue;
    // What is recorded and waits for code goes before all that came later.
    deliver_next(execution);
    if (execution.phase != Execution::Phase::idle || execution.work.empty()) break;
    Work work = std::move(execution.work.front());
    execution.work.pop_front();
    if (auto* const ended = std::get_if<AttemptFinished>(&work);
        ended != nullptr && ended->of == AttemptFinished::Of::limit &&
        !ends_by_limit(execution, *ended)) {
      continue;
    }
    if (auto* const given = std::get_if<ActionCompletionGiven>(&work)) {
      // Whoever put it into the inbox was told that it is durable.
      if (given->mail != 0 && execution.fold.record().status == ExecutionStatus::stuck) {
        blocked.push_back(std::move(work));
      } else {
        take_completion(execution, std::move(*given));
      }
      continue;
    }
    if (const auto* const told = std::get_if<AttemptFinished>(&work);
        told != nullptr && told->deferred) {
      defer(execution, *told);
      continue;
    }
    const auto* const timer = std::get_if<TimerDue>(&work);
    const auto* const attempt = std::get_if<AttemptFinished>(&work);
    // A graph goes on without code, but not where its execution is to be left as it is.
    const bool of_graph = attempt != nullptr && execution.fold.step_at(attempt->position) &&
                          execution.fold.record().status != ExecutionStatus::stuck;
    if (of_graph && !execution.steps_due && !is_durable(execution)) {
      if (execution.steps_ended.empty()) execution.steps_after = execution.last_commit;
      execution.steps_ended.push_back(std::move(work));
      continue;
    }
    const bool needs_code = std::holds_alternative<InboxEvent>(work) ||
                            (attempt != nullptr && !of_graph) ||
                            std::holds_alternative<ChildEnded>(work) ||
                            (std::holds_alternative<EventSubmitted>(work) && mail_of(work) != 0) ||
                            (timer != nullptr && timer->timer.kind != TimerKind::deadline &&
                             !retries_step(execution, timer->timer));
    const bool takes_history = is_retry(work) && execution.history.empty() &&
                               execution.fold.record().status == ExecutionStatus::failed;
    if (takes_history || (starts_child(work) && !execution.knows_parent)) {
      // An execution that has ended is loaded with its history for these only.
      blocked.push_back(std::move(work));
      continue;
    }
    const auto* const mailed = std::get_if<EventSubmitted>(&work);
    if (mailed != nullptr && leave_in_inbox(execution, *mailed, blocked.size())) continue;
    if (needs_code && !execution.fold.ended() && !can_run(execution)) {
      await_code(execution);
      if (attempt != nullptr && execution.fold.record().status != ExecutionStatus::stuck) {
        hold_outcome(execution, std::get<AttemptFinished>(std::move(work)));
      } else {
        blocked.push_back(std::move(work));
      }
      continue;
    }
    if (auto* const event = std::get_if<EventSubmitted>(&work)) {
      take_event(execution, std::move(*event));
    } else if (const auto* const inbox = std::get_if<InboxEvent>(&work)) {
      deliver_event(execution, as_submitted(execution.fold.record(), inbox->row), inbox->row.id);
    } else if (attempt != nullptr) {
      take_actions(execution, std::get<AttemptFinished>(std::move(work)));
    } else if (const auto* const ended = std::get_if<ChildEnded>(&work)) {
      take_child(execution, *ended);
    } else if (const auto* const due = std::get_if<TimerDue>(&work)) {
      take_timer(execution, due->timer);
    } else if (const auto* const start = std::get_if<StartRequested>(&work)) {
      take_start(execution, *start);
    } else if (const auto* const control = std::get_if<ControlRequested>(&work)) {
      take_control(execution, *control);
    } else if (const auto* const fork = std::get_if<ForkPrepared>(&work)) {
      take_fork(execution, *fork);
    } else if (const auto* const wait = std::get_if<CompletionAwaited>(&work)) {
      const ExecutionRecord& record = execution.fold.record();
      if (execution.fold.ended()) {
        answer(execution, Reply{wait->request, completion_of(execution)});
      } else {
        const ExecutionRef ref = execution.fold.ref();
        waiters_[ref].push_back(
            Waiter{wait->request, wait->deadline, record.tenant, record.execution_id});
        if (wait->deadline) wait_deadlines_.emplace(*wait->deadline, ref, wait->request);
      }
    }
  }
  const std::size_t kept = blocked.size();
  put_in_front(execution.work, std::move(blocked));
  if (execution.phase == Execution::Phase::looking_up && kept > 0) execution.ahead = kept;
  // One of those behind it was the resumption.
  if (kept > 0 && execution.phase == Execution::Phase::idle && can_run(execution)) {
    return proceed(execution);
  }
  show_missing_code(execution);
  if (execution.fold.ended() && execution.phase == Execution::Phase::idle &&
      is_durable(execution)) {
    const ExecutionRef ref = execution.fold.ref();
    Queue<Work> retries = std::move(execution.work);
    forget(execution);
    for (Work& work : retries) give(ref, std::move(work));
  }
}

bool Shard::take_urgent(Execution& execution) {
  // Where code waits for nothing that is recorded, all have their turn anyway.
  if (!execution.fold.continuation() && !execution.fold.next_delivery()) return false;
  // Events keep their order: only the first of those that came may go ahead of what is recorded.
  const auto urgent =
      std::find_if(execution.work.begin(), execution.work.end(), [](const Work& work) {
        return (std::holds_alternative<ControlRequested>(work) && !is_retry(work)) ||
               std::holds_alternative<EventSubmitted>(work);
      });
  if (urgent == execution.work.end()) return false;
  auto* const event = std::get_if<EventSubmitted>(&*urgent);
  if (event != nullptr && !event->enqueue) return false;
  Work work = std::move(*urgent);
  execution.work.erase(urgent);
  if (const auto* const control = std::get_if<ControlRequested>(&work)) {
    take_control(execution, *control);
  } else {
    take_event(execution, std::get<EventSubmitted>(std::move(work)));
  }
  return true;
}

// ---- starts

void Shard::begin(const StartRequested& input) {
  const StartRequest& start = input.start;
  const Catalog::Workflow* const workflow = catalog_.find_workflow(start.workflow, start.version);
  ExecutionRecord record;
  record.ref = next_ref_(start.tenant, start.execution_id);
  if (find(record.ref) != nullptr) return leave(Work{input});
  record.tenant = start.tenant;
  record.execution_id = start.execution_id;
  record.workflow = start.workflow;
  record.version = workflow != nullptr ? workflow->version : start.version;
  record.user_id = start.user_id;
  record.correlation_id = start.correlation_id;
  record.input_digest = start_digest(start);
  record.created_at = now_;
  record.updated_at = now_;
  Execution& execution = add(record);
  execution.start_request = input.request;
  if (input.mail != 0) {
    execution.open.inbox_completed.push_back(
        InboxCompletion{input.mail, InboxStatus::completed, {}, {}});
  }

  HistoryEvent event;
  event.type = EventType::execution_started;
  event.name = record.workflow;
  event.payload = start.input;
  StartedAttributes attributes;
  attributes.version = record.version;
  attributes.user_id = start.user_id;
  attributes.correlation_id = start.correlation_id;
  attributes.seed = input.seed;
  attributes.idempotency_key = start.idempotency_key;
  // 0 is none.
  attributes.deadline = start.deadline ? std::max<Timestamp>(*start.deadline, 1) : 0;
  attributes.parent = input.parent;
  attributes.parent_position = input.parent_position;
  execution.cause = 1;
  const bool later = start.start_at && *start.start_at > now_;
  if (later || workflow == nullptr) {
    attributes.start_at = later ? *start.start_at : now_;
    event.type = EventType::execution_scheduled;
    event.attributes = encode(attributes);
    execution.fold.expect(std::move(attributes));
    append(execution, std::move(event));
    if (execution.start_request != 0) {
      execution.effects.replies.push_back(Reply{execution.start_request, record.execution_id});
      execution.start_request = 0;
    }
    if (workflow == nullptr) {
      log_engine(
          LogLevel::warn,
          fmt::format("No workflow '{}'{} is registered here{}. The execution waits until it is.",
                      start.workflow,
                      start.version.empty() ? std::string{} : " version " + start.version,
                      name_meant(start.workflow)),
          record);
      if (!later) await_code(execution);
    }
    return commit(execution);
  }
  begin_code(execution);
  event.attributes = encode(attributes);
  execution.fold.expect(std::move(attributes));
  add_job(execution, std::move(event),
          StartJob{record.tenant, record.execution_id, record.workflow, record.version,
                   start.user_id, start.correlation_id, start.input, input.seed});
  activate(execution);
}

Shard::Execution& Shard::add(ExecutionRecord record) {
  std::string key = execution_key(record.tenant, record.execution_id);
  auto created = std::make_unique<Execution>(std::move(record));
  Execution& execution = *created;
  recently_used_.push_front(&execution);
  execution.used = recently_used_.begin();
  by_ref_.emplace(execution.fold.ref(), &execution);
  executions_.insert_or_assign(std::move(key), std::move(created));
  return execution;
}

// The time of a start that was given one has come.
void Shard::start_scheduled(Execution& execution) {
  const ExecutionRecord& record = execution.fold.record();
  HistoryEvent event = *execution.fold.scheduled();
  auto attributes = decode<StartedAttributes>(event.attributes, event.codec);
  if (!attributes) throw std::logic_error(attributes.error().message);
  // Where it was given none, the highest there is now.
  const Catalog::Workflow& workflow = *catalog_.find_workflow(record.workflow, record.version);
  attributes->version = workflow.version;
  if (!execution.fold.timer(kDeadlinePosition)) attributes->deadline = 0;
  event.attributes = encode(*attributes);
  event.type = EventType::execution_started;
  event.cause = execution.fold.last_sequence() + 1;
  execution.cause = event.cause;
  begin_code(execution);
  StartJob job{record.tenant,       record.execution_id,        record.workflow, workflow.version,
               attributes->user_id, attributes->correlation_id, event.payload,   attributes->seed};
  add_job(execution, std::move(event), std::move(job));
  activate(execution);
}

// Its code went on as new: another run of it begins.
void Shard::start_as_new(Execution& execution) {
  const ExecutionRecord& record = execution.fold.record();
  const PendingContinuation continuation = *execution.fold.continuation();
  StartedAttributes attributes;
  attributes.version = record.version;
  attributes.user_id = record.user_id;
  attributes.correlation_id = record.correlation_id;
  attributes.seed =
      mix_bits(execution.fold.seed() + static_cast<std::uint64_t>(continuation.sequence));
  attributes.deadline = execution.fold.deadline();
  if (const auto& parent = execution.fold.parent()) {
    attributes.parent = parent->execution_id;
    attributes.parent_position = parent->position;
  }
  attributes.first_position = execution.fold.next_position();
  HistoryEvent event;
  event.type = EventType::execution_started;
  event.name = record.workflow;
  event.payload = continuation.input;
  event.cause = execution.fold.last_sequence() + 1;
  event.attributes = encode(attributes);
  execution.cause = event.cause;
  begin_code(execution);
  StartJob job{record.tenant,      record.execution_id, record.workflow,
               record.version,     record.user_id,      record.correlation_id,
               continuation.input, attributes.seed,     attributes.first_position};
  add_job(execution, std::move(event), std::move(job));
  activate(execution);
}

void Shard::take_start(Execution& execution, const StartRequested& start) {
  const ExecutionRecord& record = execution.fold.record();
  if (record.input_digest == start_digest(start.start) && start.parent.empty()) {
    if (start.mail != 0) return settle_mail(start.mail, std::nullopt);
    return answer(execution, Reply{start.request, record.execution_id});
  }
  if (start.mail != 0) {
    // A parent that was retried starts it again, at the same place: it is that child.
    const auto& parent = execution.fold.parent();
    if (!start.parent.empty() && parent && parent->execution_id == start.parent &&
        parent->position == start.parent_position &&
        record.input_digest == start_digest(start.start)) {
      if (!execution.fold.ended()) return settle_mail(start.mail, std::nullopt);
      return settle_mail(start.mail, std::nullopt, {}, {outcome_mail(*parent, record)});
    }
    return refuse_start(
        start,
        start.parent.empty()
            ? start_clash(start.start)
            : Error{ErrorCode::already_exists,
                    fmt::format("There is an execution '{}' already.", record.execution_id),
                    record.execution_id},
        to_string(ExecutionStatus::failed));
  }
  answer(execution, Reply{start.request, start_clash(start.start)});
}

// ---- events

EventReply Shard::event_reply(const Execution& execution, const std::string& event_id,
                              const bool consumed) const {
  const ExecutionRecord& record = execution.fold.record();
  return EventReply{record.execution_id,    event_id,
                    record.state,           std::string(to_string(record.status)),
                    execution.fold.ended(), consumed};
}

void Shard::take_event(Execution& execution, EventSubmitted event) {
  const std::string& key = event.event.idempotency_key;
  if (!key.empty() && !event.key_checked) {
    const auto recent = std::find_if(execution.recent_keys.begin(), execution.recent_keys.end(),
                                     [&](const auto& answer) { return answer.key == key; });
    // What an operator puts back into the inbox is itself what came under its key.
    if (recent != execution.recent_keys.end() && event.mail != 0 &&
        recent->processing_id == std::to_string(event.mail)) {
      return accept_event(execution, std::move(event));
    }
    if (recent != execution.recent_keys.end()) {
      if (event.mail != 0) {
        return settle_mail(event.mail, key_used(key),
                           is_awaited(event.mail) ? encode_answer(recent->reply) : std::string{});
      }
      return answer(execution, event.enqueue
                                   ? Reply{event.request, EnqueueReply{recent->reply.event_id,
                                                                       recent->processing_id}}
                                   : Reply{event.request, recent->reply});
    }
    execution.phase = Execution::Phase::looking_up;
    out_->inbox_lookups.push_back(FindInbox{execution.fold.ref(), key});
    execution.event = std::move(event);
    return;
  }
  accept_event(execution, std::move(event));
}

void Shard::on(InboxFound input) {
  Execution* const execution = find(input.execution);
  if (execution == nullptr || execution->phase != Execution::Phase::looking_up) return;
  // An answer to a question of before a failed commit.
  if (execution->event->event.idempotency_key != input.idempotency_key) return;
  execution->phase = Execution::Phase::idle;
  EventSubmitted event = std::move(*execution->event);
  execution->event.reset();
  const std::size_t ahead = std::exchange(execution->ahead, 0);
  if (!input.found) {
    if (event.mail != 0) return_mail(event.mail);
    reply(event.request, input.found.error());
  } else if (*input.found) {
    const InboxRecord& row = **input.found;
    if (event.mail != 0) {
      const bool consumed = row.status == InboxStatus::completed;
      std::string told = row.answer;
      if (told.empty()) told = encode_answer(event_reply(*execution, row.event_id, consumed));
      settle_mail(event.mail, key_used(input.idempotency_key),
                  is_awaited(event.mail) ? std::move(told) : std::string{});
    } else if (event.enqueue) {
      answer(*execution, Reply{event.request, EnqueueReply{row.event_id, std::to_string(row.id)}});
    } else if (row.answer.empty()) {
      answer(*execution, Reply{event.request, event_reply(*execution, row.event_id,
                                                          row.status == InboxStatus::completed)});
    } else if (auto recorded = decode_answer(row.answer)) {
      answer(*execution, Reply{event.request, std::move(*recorded)});
    } else {
      reply(event.request, recorded.error());
    }
  } else {
    event.key_checked = true;
    accept_event(*execution, std::move(event), ahead);
  }
  proceed(*execution);
}

void Shard::accept_event(Execution& execution, EventSubmitted event, const std::size_t ahead) {
  const ExecutionRecord& record = execution.fold.record();
  if (event.mail != 0) {
    const InboxId id = event.mail;
    return deliver_event(execution, std::move(event), id);
  }
  if (execution.fold.ended()) {
    return answer(execution,
                  Reply{event.request,
                        Error{ErrorCode::execution_ended,
                              fmt::format("Execution '{}' has ended ({}) and takes no more events.",
                                          record.execution_id, to_string(record.status)),
                              record.execution_id}});
  }
  // What nobody takes must not keep out what the code waits for. A filter may still say no: then it is
  // refused after all, unless it lies in the inbox by then.
  const bool others_first =
      std::any_of(execution.work.begin(), execution.work.end(),
                  [](const Work& work) { return std::holds_alternative<InboxEvent>(work); });
  const Takers takers = execution.fold.takers_of(event.event.name);
  const bool awaited = can_run(execution) && !others_first &&
                       (takers.position || (!takers.to_ask.empty() && !event.enqueue));
  if (!awaited && execution.fold.buffer().size() + execution.work.size() >=
                      options_.limits.events_buffered_max) {
    return answer(execution, Reply{event.request, too_many_events(execution)});
  }
  if (event.enqueue || others_first || !can_run(execution)) {
    return add_to_inbox(execution, event, ahead);
  }
  deliver_event(execution, std::move(event), 0);
}

Error Shard::too_many_events(const Execution& execution) const {
  const std::string& id = execution.fold.record().execution_id;
  return {
      ErrorCode::overloaded,
      fmt::format("Execution '{}' has {} events that it has not consumed, the most that are kept "
                  "(events_buffered_max). Try again later.",
                  id, options_.limits.events_buffered_max),
      id};
}

// All but the payload, which one that is completed has in the history only.
InboxRecord Shard::inbox_row(const Execution& execution, const EventSubmitted& event,
                             const InboxId id) {
  InboxRecord row;
  row.id = id;
  row.execution = execution.fold.ref();
  row.tenant = execution.fold.record().tenant;
  row.event_id = event.event_id;
  row.event_name = event.event.name;
  row.user_id = event.event.user_id;
  row.idempotency_key = event.event.idempotency_key;
  row.accepted_at = event.accepted_at;
  return row;
}

// Makes the event durable where it waits, ahead of its turn.
void Shard::add_to_inbox(Execution& execution, const EventSubmitted& event,
                         const std::size_t ahead) {
  InboxRecord row = inbox_row(execution, event, next_inbox_id_());
  row.payload = event.event.payload;
  const EventReply submitted = event_reply(execution, event.event_id, false);
  if (event.request != 0) {
    const std::string processing_id = std::to_string(row.id);
    execution.effects.replies.push_back(
        event.enqueue ? Reply{event.request, EnqueueReply{event.event_id, processing_id}}
                      : Reply{event.request, submitted});
  }
  if (!row.idempotency_key.empty()) {
    execution.recent_keys.push_back({row.idempotency_key, submitted, std::to_string(row.id)});
  }
  execution.open.inbox_added.push_back(row);
  // Behind what came before it, and what lies in the inbox already; before all that came later.
  const auto last =
      std::find_if(execution.work.rbegin(), execution.work.rend(),
                   [](const Work& work) { return std::holds_alternative<InboxEvent>(work); });
  const auto before =
      std::max<std::ptrdiff_t>(execution.work.rend() - last, static_cast<std::ptrdiff_t>(ahead));
  execution.work.insert(execution.work.begin() + before, InboxEvent{std::move(row)});
  commit(execution);
}

void Shard::deliver_event(Execution& execution, EventSubmitted event, const InboxId inbox_id) {
  if (execution.fold.ended()) {
    // It was accepted before the end; its row is closed with the reason.
    if (event.mail != 0) {
      log_engine(LogLevel::warn,
                 fmt::format("Event '{}' ({}) reaches nobody: the execution has ended",
                             event.event.name, event.event_id),
                 execution.fold.record());
    }
    InboxCompletion closed{
        inbox_id, InboxStatus::failed, "the execution ended before its turn", {}};
    if (is_awaited(inbox_id)) {
      closed.answer = encode_answer(Error{ErrorCode::execution_ended, closed.last_error,
                                          execution.fold.record().execution_id});
    }
    execution.open.inbox_completed.push_back(std::move(closed));
    return commit(execution);
  }
  if (const auto earlier = execution.fold.first_timer_until(event.accepted_at)) {
    if (inbox_id != 0 && event.mail == 0) {
      InboxRecord row = inbox_row(execution, event, inbox_id);
      row.payload = std::move(event.event.payload);
      execution.work.push_front(InboxEvent{std::move(row)});
    } else {
      execution.work.push_front(std::move(event));
    }
    return take_timer(execution, *earlier);
  }
  const Takers takers = execution.fold.takers_of(event.event.name);
  execution.event_inbox = inbox_id;
  execution.event_in_inbox = inbox_id != 0;
  execution.event = std::move(event);
  if (takers.to_ask.empty()) return receive_event(execution, takers.position);
  std::vector<EventOffer> offers;
  for (const Position position : takers.to_ask) {
    offers.push_back(
        EventOffer{position, seen_as(*execution.event, execution.fold.last_sequence() + 1)});
  }
  execution.otherwise = takers.position;
  ask(execution, std::move(offers));
}

// The event under way is received by that wait, or, if by none, goes into the buffer.
void Shard::receive_event(Execution& execution, const std::optional<Position> wait) {
  const EventSubmitted& event = *execution.event;
  HistoryEvent received;
  received.type = EventType::event_received;
  received.name = event.event.name;
  received.payload = event.event.payload;
  received.cause = execution.fold.last_sequence() + 1;
  ReceivedAttributes attributes{event.event_id, event.event.user_id, event.accepted_at};
  received.attributes = encode(attributes);
  execution.fold.expect(std::move(attributes));
  if (execution.event_in_inbox) {
    execution.open.inbox_completed.push_back(
        InboxCompletion{execution.event_inbox, InboxStatus::completed, {}, {}});
  } else {
    InboxRecord row = inbox_row(execution, event, next_inbox_id_());
    row.status = InboxStatus::completed;
    row.attempts = 1;
    execution.event_inbox = row.id;
    execution.open.inbox_added.push_back(std::move(row));
  }
  execution.cause = received.cause;
  execution.event_consumed = wait.has_value();
  if (wait) {
    received.position = *wait;
    EventJob job{*wait, seen_as(event, received.cause)};
    add_job(execution, std::move(received), std::move(job));
    activate(execution);
  } else {
    append(execution, std::move(received));
    answer_event(execution);
    commit(execution);
  }
}

void Shard::answer_event(Execution& execution) {
  if (!execution.event) return;
  const EventSubmitted event = std::move(*execution.event);
  execution.event.reset();
  EventReply told = event_reply(execution, event.event_id, execution.event_consumed);
  const InboxId inbox_id = execution.event_inbox;
  const std::string& key = event.event.idempotency_key;
  if (!key.empty() || is_awaited(event.mail)) {
    // Among what the code has sent since.
    for (InboxCompletion& row : execution.open.inbox_completed) {
      if (row.id == inbox_id) row.answer = encode_answer(told);
    }
    for (InboxRecord& row : execution.open.inbox_added) {
      if (row.id == inbox_id) row.answer = encode_answer(told);
    }
  }
  if (!key.empty()) {
    const auto recent = std::find_if(execution.recent_keys.begin(), execution.recent_keys.end(),
                                     [&](const auto& answer) { return answer.key == key; });
    if (recent != execution.recent_keys.end()) {
      recent->reply = told;
    } else {
      execution.recent_keys.push_back({key, told, std::to_string(inbox_id)});
    }
    while (execution.recent_keys.size() > kRecentKeysMax && is_durable(execution)) {
      execution.recent_keys.pop_front();
    }
  }
  if (event.request != 0) {
    execution.effects.replies.push_back(Reply{event.request, std::move(told)});
  }
}

// ---- actions that finished

// What finished together is delivered together. Bookkeeping stands between activations, so it comes first.
void Shard::take_actions(Execution& execution, AttemptFinished finished) {
  std::vector<AttemptFinished> ended{std::move(finished)};
  execution.steps_due = false;
  while (!execution.work.empty()) {
    auto* const next = std::get_if<AttemptFinished>(&execution.work.front());
    // Those of graphs need no code, and may be all that can be recorded.
    if (next == nullptr) break;
    if (!can_run(execution) && !execution.fold.step_at(next->position)) break;
    ended.push_back(std::move(*next));
    execution.work.pop_front();
  }
  for (AttemptFinished& attempt : ended) record_outcome(execution, attempt, true);
  // In a transition of its own: it stands, whatever the code that is woken by the others does.
  if (!execution.open.records.empty()) commit(execution);
  if (ended.size() > 1) {
    execution.jobs.reserve(ended.size());
    execution.open.results.reserve(ended.size());
    execution.open.records.reserve(2 * ended.size());
  }
  for (AttemptFinished& attempt : ended) record_outcome(execution, attempt, false);
  for (const AttemptFinished& attempt : ended) {
    refuse_completion(execution, attempt.request, attempt.mail);
  }
  if (!execution.jobs.empty()) activate(execution);
}

// All outcomes of a graph are handed over at once: the one that goes beyond what there may be is a failure.
std::optional<Failure> Shard::too_large_for_graph(const Execution& execution,
                                                  const AttemptFinished& finished) const {
  const auto step = execution.fold.step_at(finished.position);
  if (!step) return std::nullopt;
  std::size_t bytes = execution.fold.graphs().at(step->graph).actions.outcome_bytes();
  if (const auto* const result = std::get_if<Payload>(&finished.outcome)) {
    bytes += result->bytes.size();
  } else {
    const Failure& failure = std::get<Failure>(finished.outcome);
    bytes += failure.message.size() + failure.stack.size() + failure.details_json.size();
  }
  if (bytes <= options_.limits.graph_bytes_max) return std::nullopt;
  Failure failure;
  failure.name = "LimitError";
  failure.code = "graph_bytes_max";
  failure.message = fmt::format(
      "The results of the graph would have {} bytes with this one's, the most is {} "
      "(graph_bytes_max). The action did its work; have it keep what it made, and give back where.",
      bytes, options_.limits.graph_bytes_max);
  failure.failure_class = FailureClass::permanent;
  return failure;
}

// What the end of an attempt makes of its action; none if nobody waits for it any more.
std::optional<Shard::Outcome> Shard::outcome_of(const Execution& execution,
                                                const AttemptFinished& finished) {
  const auto found = execution.fold.actions().find(finished.position);
  if (found == execution.fold.actions().end() || found->second.held) return std::nullopt;
  const PendingAction& action = found->second;
  const bool of_attempt = finished.of == AttemptFinished::Of::attempt;
  const int attempt = of_attempt ? action.attempts_failed + 1 : finished.attempt;
  if (finished.attempt != attempt) return std::nullopt;

  const ExecutionRecord& record = execution.fold.record();
  Outcome outcome;
  HistoryEvent& event = outcome.event;
  event.name = action.name;
  event.position = finished.position;
  event.cause = action.cause;
  const std::optional<Failure> too_large = too_large_for_graph(execution, finished);
  const Failure* const failure = too_large ? &*too_large : std::get_if<Failure>(&finished.outcome);
  if (failure != nullptr) {
    const Catalog::Action* const registered = catalog_.find_known_action(handler_of(action));
    RetryPolicy policy;
    if (action.options.retry) {
      policy = *action.options.retry;
    } else if (registered != nullptr && registered->options.retry) {
      policy = *registered->options.retry;
    }
    event.payload = Payload::json(encode_failure(*failure));
    const std::uint64_t seed =
        execution.fold.seed() + static_cast<std::uint64_t>(finished.position);
    Failure judged = *failure;
    if (action.retries && !too_large) {
      policy.max_attempts = 1 + *action.retries;
      policy.non_retryable.clear();
      if (judged.failure_class != FailureClass::validation) {
        judged.failure_class = FailureClass::transient;
      }
    }
    std::optional<DurationMs> total = action.options.total_timeout;
    if (!total && registered != nullptr) total = registered->options.total_timeout;
    const auto delay = retry_delay(policy, judged, attempt, seed);
    // One that would begin when its time is up is not waited for.
    const bool in_time =
        delay && (!total || later(now_, *delay) < later(action.scheduled_at, *total));
    if (of_attempt && in_time) {
      event.type = EventType::action_attempt_failed;
      event.attributes =
          encode(AttemptFailedAttributes{attempt, later(now_, *delay), finished.progress.bytes});
      return outcome;
    }
  }
  ActionResultRecord& result = outcome.result.emplace();
  result.execution = record.ref;
  result.position = finished.position;
  result.generation = action.generation;
  result.seed = execution.fold.seed();
  result.tenant = record.tenant;
  result.action = action.name;
  result.succeeded = failure == nullptr;
  result.attempts = attempt;
  result.cause = action.cause;
  result.at = activation_time(execution);
  result.overrides = too_large.has_value();
  if (execution.fold.step_at(finished.position)) {
    event.type =
        failure == nullptr ? EventType::graph_action_completed : EventType::graph_action_failed;
  } else {
    event.type = failure == nullptr ? EventType::action_completed : EventType::action_failed;
  }
  event.attributes = encode(OutcomeAttributes{attempt});
  if (failure == nullptr) {
    event.payload = std::get<Payload>(finished.outcome);
    result.result = event.payload;
  } else {
    result.error_json = event.payload.bytes;
  }
  return outcome;
}

// Of those that are bookkeeping, or of the others.
void Shard::record_outcome(Execution& execution, AttemptFinished& finished,
                           const bool bookkeeping) {
  std::optional<Outcome> outcome = outcome_of(execution, finished);
  if (!outcome || stands_alone(outcome->event) != bookkeeping) return;
  HistoryEvent event = std::move(outcome->event);
  if (outcome->result) {
    lift_limit({execution.fold.ref(), finished.position});
    execution.open.results.push_back(std::move(*outcome->result));
    tell_completed(execution, finished);
  }
  if (!bookkeeping) {
    if (execution.jobs.empty()) execution.cause = event.cause;
    return add_job(execution, std::move(event), ActionJob{finished.position, finished.outcome});
  }
  const auto step = execution.fold.step_at(event.position);
  if (!step) {
    append(execution, std::move(event));
    return;
  }
  const std::size_t reached = execution.fold.graphs().at(step->graph).actions.reached().size();
  append(execution, std::move(event));
  show_reached(execution, step->graph, reached);
  begin_steps(execution, step->graph);
}

// Nobody can run its code now (it is paused, or its code is missing), but what the action did is not
// to be done again.
void Shard::hold_outcome(Execution& execution, AttemptFinished finished) {
  std::optional<Outcome> outcome = outcome_of(execution, finished);
  if (!outcome) return refuse_completion(execution, finished.request, finished.mail);
  if (outcome->result) {
    lift_limit({execution.fold.ref(), finished.position});
    outcome->event.type = EventType::action_outcome_held;
    outcome->event.attributes =
        encode(HeldAttributes{outcome->result->attempts, !outcome->result->succeeded});
    execution.open.results.push_back(std::move(*outcome->result));
    tell_completed(execution, finished);
  }
  append(execution, std::move(outcome->event));
  commit(execution);
}

// ---- timers

void Shard::take_timer(Execution& execution, const TimerRecord& timer) {
  const auto current = execution.fold.timer(timer.position);
  if (!current || current->kind != timer.kind || current->fire_at != timer.fire_at) return;
  if (timer.kind == TimerKind::retry) {
    // It may come twice, where the execution was loaded in between. What it began may have ended by then:
    // begun again, that attempt would stand in the way of the next one.
    if (outcome_waits(execution, timer.position)) return;
    return dispatch_once_durable(execution, timer.position);
  }
  if (timer.kind == TimerKind::start) return start_scheduled(execution);
  if (timer.kind == TimerKind::deadline) return take_deadline(execution);
  HistoryEvent event;
  event.position = timer.position;
  if (timer.kind == TimerKind::sleep) {
    event.type = EventType::timer_fired;
    event.cause = execution.fold.sleeps().at(timer.position).cause;
    execution.cause = event.cause;
    add_job(execution, std::move(event), TimerJob{timer.position});
  } else {
    event.type = EventType::wait_timed_out;
    event.cause = execution.fold.waits().at(timer.position).cause;
    execution.cause = event.cause;
    add_job(execution, std::move(event), WaitTimedOutJob{timer.position});
  }
  activate(execution);
}

}  // namespace pawl
