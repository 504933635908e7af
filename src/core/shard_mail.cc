// Mail: what executions, and other processes, have for an execution that they know by its id only. It
// lies in the inbox from the commit that sent it until the one in which it is taken, so that it is
// taken once, whatever crashes in between. Children are started, ended and heard of by it.

#include <fmt/format.h>
#include <algorithm>
#include <limits>
#include <utility>

#include "base/random.h"
#include "core/event_answer.h"
#include "core/shard.h"
#include "core/shard_execution.h"
#include "model/attributes.h"
#include "model/failure_codec.h"

namespace pawl {
namespace {

constexpr std::size_t kMailKnownMax = 16'384;  // taken up from the store and not settled
constexpr DurationMs kMailLookAgainMs = 100;   // after something went wrong

}  // namespace

// ---- taking it up

void Shard::on(const MailPosted&) { mail_wanted_ = true; }

void Shard::on(const HintsArrived& input) {
  mail_wanted_ = true;
  for (const HintReceived& received : input.hints) {
    if (received.receipt == 0) continue;
    // It is another's by now: he has looked when he took it.
    if (!takes(received.hint.partition)) {
      out_->hints_settled.push_back(received.receipt);
      continue;
    }
    std::string key = execution_key(received.hint.tenant, received.hint.execution_id);
    Hinted& hinted = hinted_[key];
    hinted.receipts.push_back(received.receipt);
    hinted.looked = false;
    hinted_since_.emplace_back(now_, std::move(key));
  }
}

// What it told of is settled, or was never there.
void Shard::settle_hints(const std::string& key) {
  const auto hinted = hinted_.find(key);
  if (hinted == hinted_.end()) return;
  std::vector<HintReceipt>& receipts = hinted->second.receipts;
  out_->hints_settled.insert(out_->hints_settled.end(), receipts.begin(), receipts.end());
  hinted_.erase(hinted);
}

void Shard::settle_old_hints() {
  while (!hinted_since_.empty() && hinted_since_.front().first + kHintKeptMs <= now_) {
    settle_hints(hinted_since_.front().second);
    hinted_since_.pop_front();
  }
}

void Shard::know_mail(const InboxRecord& row, const int partition) {
  Mail mail{partition, row.reply_to, execution_key(row.tenant, row.execution_id)};
  const auto hinted = hinted_.find(mail.receiver);
  if (!mail_.try_emplace(row.id, std::move(mail)).second) return;
  if (hinted != hinted_.end()) ++hinted->second.mail;
}

std::map<InboxId, Shard::Mail>::iterator Shard::forget_mail(
    const std::map<InboxId, Mail>::iterator mail) {
  const auto hinted = hinted_.find(mail->second.receiver);
  if (hinted != hinted_.end() && hinted->second.mail > 0) {
    --hinted->second.mail;
    if (hinted->second.mail == 0 && hinted->second.looked) settle_hints(mail->second.receiver);
  }
  return mail_.erase(mail);
}

void Shard::forget_mail(const InboxId id) {
  if (const auto mail = mail_.find(id); mail != mail_.end()) forget_mail(mail);
}

// What may have ended the workers that had it. True: it is failed, with its payload kept for whoever looks into it.
bool Shard::set_aside(const InboxRecord& row, const std::string& execution_id) {
  if (row.owners_lost <= kOwnersLostMax) return false;
  if (set_aside_at_ && now_ < *set_aside_at_ + kSetAsideMs) return false;
  set_aside_at_ = now_;
  Error error{ErrorCode::internal,
              fmt::format("{} workers had it, one after the other, and ended before it was "
                          "delivered",
                          row.owners_lost),
              row.event_id};
  ExecutionRecord about;
  about.tenant = row.tenant;
  about.execution_id = execution_id;
  log_engine(LogLevel::error,
             fmt::format("Event '{}' ({}) is set aside as dead letter {}: {}. See whether it is "
                         "what ends them, and retry or drop it.",
                         row.event_name, row.event_id, row.id, error.message),
             about);
  const int partition = partition_for(row.tenant, execution_id);
  out_->dead_letters.push_back(DeadLetterNote{partition, row.id, row.tenant, execution_id,
                                              row.event_name, row.owners_lost, error.message});
  know_mail(row, partition);
  settle_mail(row.id, error);
  return true;
}

void Shard::look_for_mail() {
  if (draining_ || mail_look_out_ || mail_.size() >= kMailKnownMax) return;
  if (!mail_look_after_) {
    if (!mail_wanted_) return;
    mail_wanted_ = false;
    mail_look_after_ = std::numeric_limits<InboxId>::min();
    for (auto& [key, full] : full_) {
      if (full.stage == FullReceiver::Stage::has_room) full.stage = FullReceiver::Stage::takes;
    }
  }
  mail_look_out_ = true;
  for (auto& [key, hinted] : hinted_) hinted.looked = true;
  out_->mail_loads.push_back(LoadMail{*mail_look_after_});
}

void Shard::on(MailLoaded input) {
  mail_look_out_ = false;
  if (draining_) return;
  const std::set<InboxId> settled = std::exchange(mail_settled_meanwhile_, {});
  if (!input.mail) {
    mail_look_after_.reset();
    mail_look_at_ = now_ + kMailLookAgainMs;
    return;
  }
  const bool complete = input.mail->size() < static_cast<std::size_t>(kMailLoadedAtOnce);
  mail_look_after_.reset();
  if (!complete) mail_look_after_ = input.mail->back().id;
  for (InboxRecord& row : *input.mail) {
    if (!mail_.contains(row.id) && !settled.contains(row.id)) deliver_mail(std::move(row));
  }
  if (!complete) return;
  std::vector<std::string> without;
  for (const auto& [key, hinted] : hinted_) {
    if (hinted.looked && hinted.mail == 0) without.push_back(key);
  }
  for (const std::string& key : without) settle_hints(key);
}

void Shard::post(std::vector<InboxRecord> mail) {
  // It lies in the store, and may be for others.
  std::erase_if(mail, [this](const InboxRecord& row) {
    const int partition = partition_for(row.tenant, row.execution_id);
    if (takes(partition)) return false;
    out_->hints.push_back(Hint{partition, row.tenant, row.execution_id});
    return true;
  });
  if (mail.empty() || draining_) return;
  if (mail_look_at_ != 0 || mail_wanted_ || mail_look_out_ || mail_look_after_) {
    // It must not overtake what is still to be found: a start, say, and then its cancellation.
    mail_wanted_ = true;
    return;
  }
  for (InboxRecord& row : mail) deliver_mail(std::move(row));
}

bool Shard::is_kept_back(const InboxRecord& row) const {
  if (row.kind != InboxKind::event || full_.empty()) return false;
  const auto full = full_.find(execution_key(row.tenant, row.execution_id));
  return full != full_.end() && full->second.stage != FullReceiver::Stage::takes;
}

void Shard::deliver_mail(InboxRecord row) {
  const int partition = partition_for(row.tenant, row.execution_id);
  if (!takes(partition) || is_kept_back(row)) return;
  if (set_aside(row, row.execution_id)) return;
  const InboxId id = row.id;
  const std::string tenant = row.tenant;
  const std::string execution_id = row.execution_id;
  know_mail(row, partition);
  auto work = work_of(std::move(row));
  if (!work) return settle_mail(id, work.error());
  if (auto* const start = std::get_if<StartRequested>(&*work)) return on(std::move(*start));
  give(tenant, execution_id, std::move(*work));
}

Result<Shard::Work> Shard::work_of(InboxRecord row) {
  switch (row.kind) {
    case InboxKind::event: {
      EventSubmitted event;
      event.event = EventRequest{std::move(row.tenant),     std::move(row.execution_id),
                                 std::move(row.event_name), std::move(row.payload),
                                 std::move(row.user_id),    std::move(row.idempotency_key)};
      event.event_id = std::move(row.event_id);
      event.accepted_at = row.accepted_at;
      event.mail = row.id;
      return Work{std::move(event)};
    }
    case InboxKind::start: {
      auto attributes = decode<StartedAttributes>(row.attributes, kHistoryCodec);
      if (!attributes) return attributes.error();
      StartRequested start;
      start.start.workflow = std::move(row.event_name);
      start.start.tenant = std::move(row.tenant);
      start.start.input = std::move(row.payload);
      start.start.version = std::move(attributes->version);
      start.start.execution_id = std::move(row.execution_id);
      start.start.user_id = std::move(attributes->user_id);
      start.start.correlation_id = std::move(attributes->correlation_id);
      start.start.idempotency_key = std::move(attributes->idempotency_key);
      if (attributes->start_at != 0) start.start.start_at = attributes->start_at;
      if (attributes->deadline != 0) start.start.deadline = attributes->deadline;
      start.seed = attributes->seed;
      start.mail = row.id;
      start.parent = std::move(attributes->parent);
      start.parent_position = attributes->parent_position;
      return Work{std::move(start)};
    }
    case InboxKind::cancel:
    case InboxKind::terminate: {
      auto attributes = decode<OperatorAttributes>(row.attributes, kHistoryCodec);
      if (!attributes) return attributes.error();
      ControlRequested control;
      control.verb = row.kind == InboxKind::cancel ? ControlVerb::cancel : ControlVerb::terminate;
      control.control = ControlRequest{std::move(row.tenant), std::move(row.execution_id),
                                       std::move(attributes->by), std::move(attributes->reason)};
      control.mail = row.id;
      control.parent = std::move(attributes->parent);
      return Work{std::move(control)};
    }
    case InboxKind::pause:
    case InboxKind::resume:
    case InboxKind::try_again: {
      auto attributes = decode<OperatorAttributes>(row.attributes, kHistoryCodec);
      if (!attributes) return attributes.error();
      ControlRequested control;
      control.verb = row.kind == InboxKind::pause    ? ControlVerb::pause
                     : row.kind == InboxKind::resume ? ControlVerb::resume
                                                     : ControlVerb::retry;
      control.control = ControlRequest{std::move(row.tenant), std::move(row.execution_id),
                                       std::move(attributes->by), std::move(attributes->reason)};
      control.mail = row.id;
      return Work{std::move(control)};
    }
    case InboxKind::retry: {
      auto attributes = decode<ChildEndedAttributes>(row.attributes, kHistoryCodec);
      if (!attributes) return attributes.error();
      ControlRequested control;
      control.verb = ControlVerb::retry;
      control.control = ControlRequest{std::move(row.tenant), std::move(row.execution_id),
                                       fmt::format("execution {}", attributes->execution_id),
                                       "its parent was retried"};
      control.mail = row.id;
      control.parent = std::move(attributes->execution_id);
      control.parent_position = attributes->position;
      control.only_tell = attributes->status.empty();
      return Work{std::move(control)};
    }
    case InboxKind::completion: {
      const auto attributes = decode<CompletionAttributes>(row.attributes, kHistoryCodec);
      if (!attributes) return attributes.error();
      ActionCompletionGiven given;
      given.tenant = std::move(row.tenant);
      given.position = attributes->position;
      given.generation = attributes->generation;
      given.seed = attributes->seed;
      if (attributes->failed) {
        given.outcome = decode_failure(row.payload.bytes);
      } else {
        given.outcome = std::move(row.payload);
      }
      given.mail = row.id;
      return Work{std::move(given)};
    }
    case InboxKind::fork: {
      auto attributes = decode<ForkedAttributes>(row.attributes, kHistoryCodec);
      if (!attributes) return attributes.error();
      ForkPrepared fork;
      fork.fork.tenant = std::move(row.tenant);
      fork.fork.execution_id = std::move(row.event_name);
      fork.fork.at_sequence = attributes->at;
      fork.fork.fork_id = std::move(row.execution_id);
      fork.fork.by = std::move(attributes->by);
      fork.fork.reason = std::move(attributes->reason);
      fork.mail = row.id;
      return Work{std::move(fork)};
    }
    case InboxKind::child_ended: break;
  }
  return Work{ChildEnded{std::move(row)}};
}

// ---- what becomes of it

InboxId Shard::mail_of(const Work& work) {
  if (const auto* const event = std::get_if<EventSubmitted>(&work)) return event->mail;
  if (const auto* const start = std::get_if<StartRequested>(&work)) return start->mail;
  if (const auto* const control = std::get_if<ControlRequested>(&work)) return control->mail;
  if (const auto* const fork = std::get_if<ForkPrepared>(&work)) return fork->mail;
  if (const auto* const ended = std::get_if<ChildEnded>(&work)) return ended->row.id;
  if (const auto* const given = std::get_if<ActionCompletionGiven>(&work)) return given->mail;
  if (const auto* const told = std::get_if<AttemptFinished>(&work)) return told->mail;
  return 0;
}

std::vector<InboxId> Shard::mail_in(const Transition& transition) const {
  std::vector<InboxId> ids;
  if (mail_.empty()) return ids;
  for (const InboxCompletion& completion : transition.inbox_completed) {
    if (mail_.contains(completion.id)) ids.push_back(completion.id);
  }
  return ids;
}

void Shard::return_mail(const InboxId id) {
  const auto mail = mail_.find(id);
  if (mail == mail_.end()) return;
  mail_.erase(mail);  // its hint still counts
  mail_look_at_ = now_ + std::max(kMailLookAgainMs, reload_delay_);
}

void Shard::return_mail_of(const Execution& execution) {
  for (const InboxId id : mail_in(execution.open)) return_mail(id);
  if (execution.event && execution.event->mail != 0) return_mail(execution.event->mail);
}

// An operator's word, and how a child ended, are not left: what has too many events may wait for those.
bool Shard::leave_in_inbox(Execution& execution, const EventSubmitted& event,
                           const std::size_t blocked) {
  const ExecutionFold& fold = execution.fold;
  if (event.mail == 0 || fold.ended()) return false;
  if (fold.buffer().size() + blocked < options_.limits.events_buffered_max) return false;
  if (blocked == 0 && can_run(execution) && fold.takers_of(event.event.name).position) return false;
  const ExecutionRecord& record = fold.record();
  const auto [full, fresh] = full_.try_emplace(execution_key(record.tenant, record.execution_id));
  full->second.stage = FullReceiver::Stage::leaves;
  full->second.first_left = event.event.name;
  if (fresh) {
    log_engine(
        LogLevel::warn,
        fmt::format("Execution '{}' has {} events that it has not consumed, the most that are "
                    "kept (events_buffered_max). What other executions emit to it stays in "
                    "the inbox until it has taken some.",
                    record.execution_id, options_.limits.events_buffered_max),
        record);
  }
  forget_mail(event.mail);
  // Those behind it must not overtake it.
  erase_if(execution.work, [this](const Work& work) {
    const auto* const behind = std::get_if<EventSubmitted>(&work);
    if (behind == nullptr || behind->mail == 0) return false;
    forget_mail(behind->mail);
    return true;
  });
  return true;
}

// One that goes on taking events makes room for many before they are read.
void Shard::make_room_known(const Execution& execution) {
  const ExecutionFold& fold = execution.fold;
  const ExecutionRecord& record = fold.record();
  const auto full = full_.find(execution_key(record.tenant, record.execution_id));
  if (full == full_.end()) return;
  const std::size_t waiting = fold.buffer().size() + execution.work.size();
  const std::size_t max = options_.limits.events_buffered_max;
  const bool half_free = waiting <= max / 2;
  if (fold.ended()) {
    full_.erase(full);
    mail_wanted_ = true;
    return;
  }
  if (full->second.stage == FullReceiver::Stage::takes) {
    if (half_free) full_.erase(full);
    return;
  }
  const bool at_rest = !fold.next_delivery();
  const bool wanted = fold.takers_of(full->second.first_left).position.has_value();
  if (!half_free && !(at_rest && (waiting < max || wanted))) return;
  full->second.stage = FullReceiver::Stage::has_room;
  mail_wanted_ = true;
}

void Shard::settle_mail(const InboxId id, const std::optional<Error>& error, std::string answer,
                        std::vector<InboxRecord> sent) {
  const auto mail = mail_.find(id);
  if (mail == mail_.end()) return;
  if (error && answer.empty() && !mail->second.reply_to.empty()) answer = encode_answer(*error);
  Transition transition;
  transition.inbox_completed.push_back(
      InboxCompletion{id, error ? InboxStatus::failed : InboxStatus::completed,
                      error ? error->message : std::string{}, std::move(answer)});
  transition.inbox_added = sent;
  Held held;
  held.mail_settled.push_back(id);
  held.mail = std::move(sent);
  held.answers = answers_in(transition);
  commit(streams_[static_cast<std::size_t>(mail->second.partition)], std::move(transition),
         std::move(held));
}

// For those elsewhere who wait for what the rows come to.
bool Shard::is_awaited(const InboxId mail) const {
  const auto known = mail_.find(mail);
  return known != mail_.end() && !known->second.reply_to.empty();
}

std::vector<AnswerHint> Shard::answers_in(const Transition& transition) const {
  std::vector<AnswerHint> answers;
  if (mail_.empty()) return answers;
  for (const InboxCompletion& completion : transition.inbox_completed) {
    const auto mail = mail_.find(completion.id);
    if (mail == mail_.end() || mail->second.reply_to.empty()) continue;
    answers.push_back(AnswerHint{mail->second.reply_to, completion.id, completion.answer});
  }
  return answers;
}

// There is no execution that it is for.
void Shard::reach_nobody(Work work, const Error& unknown) {
  const InboxId id = mail_of(work);
  if (id == 0) return refuse(work, unknown);
  if (auto* const event = std::get_if<EventSubmitted>(&work)) {
    const EventRequest& request = event->event;
    ExecutionRecord about;
    about.tenant = request.tenant;
    log_engine(LogLevel::warn,
               fmt::format("Event '{}' ({}) reaches nobody: {}", request.name, event->event_id,
                           unknown.message),
               about);
  } else if (const auto* const control = std::get_if<ControlRequested>(&work)) {
    const ControlRequest& request = control->control;
    if (control->verb == ControlVerb::retry) {
      ExecutionRecord gone;
      gone.tenant = request.tenant;
      gone.execution_id = request.execution_id;
      gone.status = ExecutionStatus::failed;
      Failure failure;
      failure.message = unknown.message;
      gone.error_json = encode_failure(failure);
      if (control->parent.empty()) return settle_mail(id, unknown);
      return settle_mail(id, unknown, {},
                         {outcome_mail({control->parent, control->parent_position}, gone)});
    }
  }
  settle_mail(id, unknown);
}

// ---- sending

void Shard::send(Execution& from, InboxRecord mail) {
  mail.id = next_inbox_id_();
  mail.tenant = from.fold.record().tenant;
  mail.accepted_at = activation_time(from);
  from.open.inbox_added.push_back(mail);
  from.effects.mail.push_back(std::move(mail));
}

InboxRecord Shard::outcome_mail(const ParentOfExecution& parent,
                                const ExecutionRecord& child) const {
  InboxRecord mail;
  mail.id = next_inbox_id_();
  mail.kind = InboxKind::child_ended;
  mail.tenant = child.tenant;
  mail.execution_id = parent.execution_id;
  mail.event_name = child.workflow;
  mail.accepted_at = now_;
  const std::string status(to_string(child.status));
  mail.attributes = encode(ChildEndedAttributes{parent.position, child.execution_id, status});
  mail.payload = child.status == ExecutionStatus::completed
                     ? child.result
                     : Payload::json(encode_failure(child_failure(
                           child.execution_id, child.workflow, status, child.error_json)));
  return mail;
}

// ---- children

void Shard::start_child(Execution& parent, const StartChildCommand& command) {
  const ExecutionRecord& record = parent.fold.record();
  StartedAttributes attributes;
  attributes.version = command.version;
  attributes.user_id = command.user_id.empty() ? record.user_id : command.user_id;
  attributes.correlation_id =
      command.correlation_id.empty() ? record.correlation_id : command.correlation_id;
  attributes.seed = mix_bits(parent.fold.seed() + static_cast<std::uint64_t>(command.position));
  // It is not to draw what the one of the activation that failed has drawn.
  if (const int generation = parent.fold.generation(); generation > 0) {
    attributes.seed = mix_bits(attributes.seed + static_cast<std::uint64_t>(generation));
  }
  attributes.parent = record.execution_id;
  attributes.parent_position = command.position;
  InboxRecord mail;
  mail.kind = InboxKind::start;
  mail.execution_id = command.execution_id;
  mail.event_name = command.workflow;
  mail.payload = command.input;
  mail.attributes = encode(attributes);
  send(parent, std::move(mail));
}

// Its parent ends or was cancelled.
void Shard::leave_child(Execution& parent, const PendingChild& child) {
  if (child.held || child.left || child.parent_close == ParentClose::abandon) return;
  InboxRecord mail;
  mail.kind =
      child.parent_close == ParentClose::terminate ? InboxKind::terminate : InboxKind::cancel;
  mail.execution_id = child.execution_id;
  const std::string& id = parent.fold.record().execution_id;
  mail.attributes = encode(
      OperatorAttributes{fmt::format("execution {}", id), "its parent ended or was cancelled", id});
  send(parent, std::move(mail));
}

void Shard::take_child(Execution& execution, const ChildEnded& ended) {
  const InboxRecord& row = ended.row;
  const auto attributes = decode<ChildEndedAttributes>(row.attributes, kHistoryCodec);
  const auto child = attributes ? execution.fold.children().find(attributes->position)
                                : execution.fold.children().end();
  if (child == execution.fold.children().end() || child->second.held ||
      child->second.execution_id != attributes->execution_id) {
    execution.open.inbox_completed.push_back(
        InboxCompletion{row.id, InboxStatus::failed, "nobody awaits that child any more", {}});
    return commit(execution);
  }
  execution.open.inbox_completed.push_back(InboxCompletion{row.id, InboxStatus::completed, {}, {}});
  const bool completed = attributes->status == to_string(ExecutionStatus::completed);
  HistoryEvent event;
  event.type = completed ? EventType::child_completed : EventType::child_failed;
  event.name = child->second.workflow;
  event.position = attributes->position;
  event.cause = child->second.cause;
  event.payload = row.payload;
  ChildJob job{event.position, row.payload};
  if (!completed) job.outcome = decode_failure(row.payload.bytes);
  execution.cause = event.cause;
  add_job(execution, std::move(event), std::move(job));
  activate(execution);
}

void Shard::refuse_start(const StartRequested& start, const Error& error,
                         const std::string_view status) {
  std::vector<InboxRecord> answers;
  if (!start.parent.empty()) {
    ExecutionRecord never;
    never.tenant = start.start.tenant;
    never.execution_id = start.start.execution_id;
    never.workflow = start.start.workflow;
    never.status = execution_status_from(status).value_or(ExecutionStatus::failed);
    Failure failure;
    failure.code = to_string(error.code);
    failure.message = error.message;
    failure.failure_class = FailureClass::permanent;
    never.error_json = encode_failure(failure);
    answers.push_back(outcome_mail({start.parent, start.parent_position}, never));
  }
  settle_mail(start.mail, error, {}, std::move(answers));
}

}  // namespace pawl
