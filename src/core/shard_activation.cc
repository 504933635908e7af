// Transitions: the records of a step, the code that it wakes, and its commit.

#include <fmt/format.h>
#include <algorithm>
#include <array>

#include "core/command_check.h"
#include "core/shard.h"
#include "core/shard_execution.h"
#include "core/start_options.h"
#include "core/time_travel.h"
#include "model/attributes.h"
#include "model/failure_codec.h"

namespace pawl {
namespace {

constexpr std::size_t kRecordsExpected = 4;  // of most transitions

// The records that a command or job leaves follow from checked input; one that does not fit is a bug.
void require(const Result<void>& done) {
  if (!done) throw std::logic_error(done.error().message);
}

// What ends an execution whose code asks for more than there may be.
FailCommand over_limit(std::string code, std::string message) {
  Failure failure;
  failure.name = "LimitError";
  failure.code = std::move(code);
  failure.message = std::move(message);
  failure.failure_class = FailureClass::permanent;
  return FailCommand{std::move(failure)};
}

bool is_own(const EmitCommand& emit, const ExecutionRecord& execution) {
  return emit.execution_id.empty() || emit.execution_id == execution.execution_id;
}

bool moves_own_timers(const EventType type) {
  return type == EventType::execution_scheduled || type == EventType::execution_started ||
         type == EventType::cancel_requested || type == EventType::execution_forked ||
         type == EventType::execution_retried || type == EventType::continued_as_new;
}

std::string report_json(const std::string& report) {
  Failure failure;
  failure.name = "NonDeterminismError";
  failure.code = "not_deterministic";
  failure.message = report;
  failure.failure_class = FailureClass::consistency;
  return encode_failure(failure);
}

}  // namespace

Timestamp Shard::activation_time(const Execution& execution) const {
  return std::max(now_, execution.fold.last_at());
}

HistoryEvent& Shard::append(Execution& execution, HistoryEvent event) {
  event.sequence = execution.fold.last_sequence() + 1;
  event.at = activation_time(execution);
  if (event.cause == 0) event.cause = execution.cause;
  // Whose timer the record may set or clear.
  const std::array<Position, 3> places{event.position, kStartPosition, kDeadlinePosition};
  const std::size_t count = moves_own_timers(event.type) ? places.size() : 1;
  std::array<std::optional<TimerRecord>, 3> before;
  std::map<Position, PendingChild> left;
  if (execution.fold.closes_all(event.type)) {
    left = execution.fold.children();
    for (const TimerRecord& timer : execution.fold.timers())
      move_timer(execution, timer.position, timer);
  } else {
    for (std::size_t index = 0; index < count; ++index) {
      before[index] = execution.fold.timer(places[index]);
    }
  }
  require(execution.fold.apply(event));
  execution.data.add(event);
  for (std::size_t index = 0; index < count; ++index) {
    const auto after = execution.fold.timer(places[index]);
    if (before[index] != after) move_timer(execution, places[index], before[index]);
  }
  std::vector<HistoryEvent>& records = execution.open.records;
  if (records.empty()) records.reserve(kRecordsExpected);
  records.push_back(std::move(event));
  for (const auto& [position, child] : left) leave_child(execution, child);
  return execution.open.records.back();
}

// What becomes of it is in the fold; what the store is told of it follows from that, at the commit.
void Shard::move_timer(Execution& execution, const Position position,
                       const std::optional<TimerRecord>& before) {
  const auto [moved, fresh] = execution.timers_moved.try_emplace(position, before);
  if (fresh && before) timers_.disarm(*before);
}

// The timers that the transition has made another or none.
void Shard::settle_timers(Execution& execution) {
  for (const auto& [position, before] : execution.timers_moved) {
    const auto after = execution.fold.timer(position);
    if (after == before) {
      if (after) execution.effects.timers.push_back(*after);
    } else if (after) {
      execution.open.timers_set.push_back(*after);
      execution.effects.timers.push_back(*after);
    } else {
      execution.open.timers_cleared.push_back(position);
    }
  }
  execution.timers_moved.clear();
}

void Shard::add_job(Execution& execution, HistoryEvent event, Job job) {
  append(execution, std::move(event));
  if (execution.jobs.empty()) execution.first_job = execution.fold.last_sequence();
  execution.jobs.push_back(std::move(job));
}

void Shard::activate(Execution& execution) {
  if (!execution.hosted && !rebuild(execution)) return;
  execution.phase = Execution::Phase::activating;
  execution.wants_code = false;
  Activation activation;
  activation.execution = execution.fold.ref();
  activation.now = activation_time(execution);
  activation.sequence = execution.first_job;
  if (execution.fold.forked()) activation.execution_id = execution.fold.record().execution_id;
  activation.generation = execution.fold.generation();
  activation.jobs = execution.jobs;
  send_activation(execution, std::move(activation));
}

void Shard::finish_activation(Execution& execution, ActivationResult result) {
  if (result.violation) return get_stuck(execution, *result.violation);
  ++counters_.activations;
  std::vector<std::pair<std::string, Payload>> emitted;
  for (std::size_t index = 0; index < result.commands.size(); ++index) {
    Command& command = result.commands[index];
    const auto* const emit = std::get_if<EmitCommand>(&command);
    if (emit != nullptr && is_own(*emit, execution.fold.record())) {
      emitted.emplace_back(emit->name, emit->payload);
    }
    apply_command(execution, command, site_of(result, index));
    if (execution.fold.ended() || execution.fold.continuation()) break;
  }
  execution.open.records.back().ends_activation = true;
  execution.jobs.clear();
  if (execution.fold.ended()) {
    close_execution(execution);
  } else {
    for (const Position graph : execution.graphs_begun) {
      show_graph(execution, graph);
      begin_steps(execution, graph);
    }
    for (auto& [name, payload] : emitted) {
      HistoryEvent received;
      received.type = EventType::event_received;
      received.name = std::move(name);
      received.payload = std::move(payload);
      received.cause = execution.fold.last_sequence() + 1;
      received.attributes = encode(ReceivedAttributes{
          fmt::format("{}/{}", execution.fold.record().execution_id, received.cause),
          {},
          activation_time(execution)});
      append(execution, std::move(received));
    }
  }
  execution.graphs_begun.clear();
  if (execution.start_request != 0) {
    execution.effects.replies.push_back(
        Reply{execution.start_request, execution.fold.record().execution_id});
    execution.start_request = 0;
  }
  answer_event(execution);
  execution.phase = Execution::Phase::idle;
  commit(execution);
  proceed(execution);
}

void Shard::apply_command(Execution& execution, Command& command, const CallSite site) {
  const ExecutionRecord& record = execution.fold.record();
  if (const auto* const log = std::get_if<LogCommand>(&command)) {
    execution.effects.logs.push_back(LogLine{log->level, log->message, log->details, record.tenant,
                                             record.execution_id, record.workflow,
                                             record.correlation_id, activation_time(execution)});
    return;
  }
  // The hosts refuse it where the code asks for it; what slips by must not be recorded.
  if (const auto error = check_command(command, options_.limits)) {
    append(execution, *record_of(over_limit(std::string(to_string(error->code)), error->message)));
    return;
  }
  HistoryEvent recorded = *record_of(command, site);
  if (auto* const graph = std::get_if<StartGraphCommand>(&command)) {
    execution.graphs_begun.push_back(std::exchange(graph->position, 0));
    execution.fold.expect(std::move(*graph));
  }
  append(execution, std::move(recorded));
  if (const auto* const action = std::get_if<ScheduleActionCommand>(&command)) {
    execution.effects.actions.push_back(action->position);
  } else if (const auto* const child = std::get_if<StartChildCommand>(&command)) {
    start_child(execution, *child);
  } else if (const auto* const cancel = std::get_if<CancelChildCommand>(&command)) {
    const auto known = execution.fold.children().find(cancel->position);
    if (known != execution.fold.children().end()) {
      PendingChild asked = known->second;
      asked.parent_close = ParentClose::cancel;
      asked.left = false;
      leave_child(execution, asked);
    }
  } else if (const auto* const emitted = std::get_if<EmitCommand>(&command)) {
    if (!is_own(*emitted, record)) {
      InboxRecord mail;
      mail.execution_id = emitted->execution_id;
      mail.event_name = emitted->name;
      mail.payload = emitted->payload;
      mail.event_id = fmt::format("{}/{}", record.execution_id, execution.fold.last_sequence());
      send(execution, std::move(mail));
    }
  } else if (std::holds_alternative<ContinueAsNewCommand>(command)) {
    abandon_attempts(record.ref);
    without_handler_erase(record.ref);
    execution.effects.actions.clear();
  }
  if (execution.fold.awaitables() > options_.limits.awaitables_pending_max) {
    append(execution, *record_of(over_limit(
                          "awaitables_pending_max",
                          fmt::format("More than {} actions, waits and timers are open at once "
                                      "(awaitables_pending_max). Await some before starting more.",
                                      options_.limits.awaitables_pending_max))));
  }
}

// After the end: what nothing took is recorded as discarded, what runs is told to stop.
void Shard::close_execution(Execution& execution) {
  const ExecutionRef ref = execution.fold.ref();
  while (!execution.fold.buffer().empty()) {
    const ReceivedEvent& event = execution.fold.buffer().begin()->second;
    HistoryEvent discarded;
    discarded.type = EventType::event_discarded;
    discarded.name = event.name;
    discarded.cause = event.sequence;
    discarded.attributes = encode(DeliveredAttributes{event.sequence});
    append(execution, std::move(discarded));
  }
  abandon_attempts(ref);
  without_handler_erase(ref);
  execution.effects.actions.clear();
  if (const auto& parent = execution.fold.parent()) {
    InboxRecord mail = outcome_mail(*parent, execution.fold.record());
    execution.open.inbox_added.push_back(mail);
    execution.effects.mail.push_back(std::move(mail));
  }
  if (auto waiters = waiters_.extract(ref)) {
    for (const Waiter& waiter : waiters.mapped()) {
      if (waiter.deadline) wait_deadlines_.erase({*waiter.deadline, ref, waiter.request});
      execution.effects.replies.push_back(Reply{waiter.request, completion_of(execution)});
    }
  }
}

// What is told of one that has ended.
CompletionReached Shard::completion_of(const Execution& execution) {
  const ExecutionRecord& record = execution.fold.record();
  CompletionReached reached{record.tenant, record.execution_id};
  auto data = execution.data.text();
  if (!data) return reached;
  reached.state = std::make_unique<ExecutionState>(describe(record));
  ExecutionState& state = *reached.state;
  state.condition.clear();
  state.condition_detail.clear();
  state.data = Payload::json(std::move(*data));
  state.sequence = execution.fold.last_sequence();
  state.updated_at = execution.fold.last_at();
  return reached;
}

// What is recorded already and waits for code to run: outcomes of actions that ended meanwhile, a
// cancellation, events in the buffer.
void Shard::deliver_next(Execution& execution) {
  const auto delivery = execution.fold.next_delivery();
  const bool held = execution.fold.holds_outcomes();
  const auto graph = execution.fold.finished_graph();
  const bool as_new = execution.fold.continuation().has_value();
  if (!delivery && !held && !graph && !as_new && !execution.fold.cancel_due()) return;
  if (!can_run(execution)) return await_code(execution);
  if (as_new) return start_as_new(execution);
  if (held) return deliver_held(execution);
  if (graph && !execution.fold.cancel_due()) return deliver_graph(execution, *graph);
  if (execution.fold.cancel_due()) return deliver_cancel(execution);
  if (!delivery->ask) {
    return deliver_buffered(execution, delivery->event, delivery->position);
  }
  std::vector<EventOffer> offers;
  for (const std::int64_t event : execution.fold.to_ask_about(delivery->position)) {
    offers.push_back(EventOffer{delivery->position, execution.fold.buffer().at(event)});
  }
  ask(execution, std::move(offers));
}

void Shard::deliver_buffered(Execution& execution, const std::int64_t sequence,
                             const Position position) {
  const ReceivedEvent event = execution.fold.buffer().at(sequence);
  HistoryEvent delivered;
  delivered.type = EventType::event_delivered;
  delivered.name = event.name;
  delivered.position = position;
  delivered.cause = event.sequence;
  delivered.attributes = encode(DeliveredAttributes{event.sequence});
  execution.cause = event.sequence;
  add_job(execution, std::move(delivered), EventJob{position, event});
  activate(execution);
}

void Shard::deliver_held(Execution& execution) {
  for (const Position position : execution.fold.held_outcomes()) {
    if (const auto found = execution.fold.children().find(position);
        found != execution.fold.children().end()) {
      const PendingChild child = found->second;
      HistoryEvent event;
      event.type = child.held->failed ? EventType::child_failed : EventType::child_completed;
      event.name = child.workflow;
      event.position = position;
      event.cause = child.cause;
      event.payload = child.held->payload;
      if (execution.jobs.empty()) execution.cause = event.cause;
      ChildJob job{position, child.held->payload};
      if (child.held->failed) job.outcome = decode_failure(child.held->payload.bytes);
      add_job(execution, std::move(event), std::move(job));
      continue;
    }
    const PendingAction action = execution.fold.actions().at(position);
    HistoryEvent event;
    event.type = action.held->failed ? EventType::action_failed : EventType::action_completed;
    event.name = action.name;
    event.position = position;
    event.cause = action.cause;
    event.payload = action.held->payload;
    event.attributes = encode(OutcomeAttributes{action.held->attempts});
    if (execution.jobs.empty()) execution.cause = event.cause;
    ActionJob job{position, action.held->payload};
    if (action.held->failed) job.outcome = decode_failure(action.held->payload.bytes);
    add_job(execution, std::move(event), std::move(job));
  }
  activate(execution);
}

void Shard::deliver_cancel(Execution& execution) {
  const PendingCancel cancel = *execution.fold.cancel_due();
  HistoryEvent event;
  event.type = EventType::cancel_delivered;
  event.cause = cancel.sequence;
  OperatorAttributes attributes;
  if (auto asked = decode<OperatorAttributes>(cancel.attributes, kHistoryCodec))
    attributes = *asked;
  attributes.keeps_children = true;
  event.attributes = encode(attributes);
  execution.cause = cancel.sequence;
  abandon_attempts(execution.fold.ref());
  without_handler_erase(execution.fold.ref());
  add_job(execution, std::move(event), CancelJob{std::move(attributes.reason), true});
  activate(execution);
}

// Hands the transition over, with the columns of the row that differ from what it says.
void Shard::commit(Execution& execution) {
  settle_timers(execution);
  Transition transition = std::move(execution.open);
  execution.open = {};
  ExecutionRecord& record = execution.fold.record();
  transition.execution = record.ref;
  transition.tenant = record.tenant;
  const bool in_flight = execution.fold.in_flight();
  Condition condition = Condition::none;
  if (!execution.fold.ended() && record.status == ExecutionStatus::running && !in_flight) {
    condition = execution.fold.started() ? Condition::waiting : Condition::scheduled;
  }
  std::string detail;
  if (in_flight) {
    for (const auto& [name, count] : execution.fold.action_names()) {
      if (catalog_.find_action(name) != nullptr) continue;
      condition = Condition::no_action;
      detail = name;
      break;
    }
  }
  if (std::string missing = missing_code(execution); !missing.empty()) {
    condition = Condition::no_worker;
    detail = std::move(missing);
  }
  record.in_flight = in_flight;
  record.condition = condition;
  record.condition_detail = detail;
  record.last_sequence = execution.fold.last_sequence();
  if (!execution.stored) {
    transition.created = record;
    execution.stored = true;
  } else {
    ExecutionChange change;
    bool changed = false;
    if (record.status != execution.row_status) {
      change.status = record.status;
      change.error_json = record.error_json;
      if (record.status == ExecutionStatus::completed) change.result = record.result;
      changed = true;
    }
    if (record.version != execution.row_version) {
      change.version = record.version;
      changed = true;
    }
    if (record.state != execution.row_state) {
      change.state = record.state;
      changed = true;
    }
    if (condition != execution.row_condition || detail != execution.condition_detail) {
      change.condition = condition;
      change.condition_detail = detail;
      changed = true;
    }
    if (in_flight != execution.row_in_flight) {
      change.in_flight = in_flight;
      changed = true;
    }
    if (changed) {
      change.last_sequence = record.last_sequence;
      change.at = activation_time(execution);
      transition.changed = std::move(change);
    }
  }
  execution.row_status = record.status;
  execution.row_version = record.version;
  execution.row_state = record.state;
  execution.row_condition = condition;
  execution.condition_detail = detail;
  execution.row_in_flight = in_flight;

  if (!full_.empty()) make_room_known(execution);

  Held held = std::move(execution.effects);
  execution.effects = {};
  held.execution = record.ref;
  held.mail_settled = mail_in(transition);
  held.answers = answers_in(transition);
  execution.last_commit = commit(stream_of(record.ref), std::move(transition), std::move(held));
}

void Shard::take_back(Execution& execution, const ActionJob& finished) {
  const auto result = std::find_if(
      execution.open.results.begin(), execution.open.results.end(),
      [&](const ActionResultRecord& known) { return known.position == finished.position; });
  // One that was held is in the history, and found there again.
  if (result == execution.open.results.end()) return;
  execution.work.push_front(AttemptFinished{execution.fold.ref(), finished.position,
                                            result->attempts, finished.outcome,
                                            AttemptFinished::Of::action});
}

// Sets the execution aside as it was before this activation, with a report. What woke it is kept: an
// event in the inbox, an action's result in the queue, a timer in the store.
void Shard::get_stuck(Execution& execution, const std::string& report) {
  const ExecutionRecord& record = execution.fold.record();
  take_up_steps(execution);
  log_engine(LogLevel::error, report, record);
  if (!execution.stored) {
    // It never began: nothing is left of it.
    reply(execution.start_request,
          Error{ErrorCode::not_deterministic, report, record.execution_id});
    Queue<Work> work = std::move(execution.work);
    const std::string tenant = record.tenant;
    const std::string execution_id = record.execution_id;
    for (const InboxId id : mail_in(execution.open)) {
      StartRequested start;
      start.mail = id;
      start.start.tenant = tenant;
      start.start.execution_id = execution_id;
      start.start.workflow = record.workflow;
      if (const auto& parent = execution.fold.parent()) {
        start.parent = parent->execution_id;
        start.parent_position = parent->position;
      }
      refuse_start(start, Error{ErrorCode::not_deterministic, report, execution_id},
                   to_string(ExecutionStatus::failed));
    }
    forget(execution);
    for (Work& item : work) give(tenant, execution_id, std::move(item));
    return;
  }
  for (const Reply& answer : execution.effects.replies) {
    reply(answer.request, Error{ErrorCode::not_deterministic, report, record.execution_id});
  }
  if (is_terminal(execution.row_status)) {
    // A retry that did not get off the ground: it stays failed, as it is in the store.
    for (const InboxId id : mail_in(execution.open)) {
      std::vector<InboxRecord> answers;
      if (const auto& parent = execution.fold.parent()) {
        ExecutionRecord failed = record;
        failed.status = ExecutionStatus::failed;
        failed.error_json = report_json(report);
        answers.push_back(outcome_mail(*parent, failed));
      }
      settle_mail(id, Error{ErrorCode::not_deterministic, report, record.execution_id}, {},
                  std::move(answers));
    }
    Queue<Work> behind = std::move(execution.work);
    const ExecutionRef failed = record.ref;
    forget(execution);
    for (Work& item : behind) give(failed, std::move(item));
    return;
  }
  return_mail_of(execution);
  const ExecutionRef ref = record.ref;
  if (execution.results_owed > 0) {
    orphaned_results_[ref] += execution.results_owed;
    execution.results_owed = 0;
  }
  out_->evictions.push_back(Evict{execution.host, ref});
  execution.hosted = false;
  execution.retrying_stuck = false;
  execution.replay.clear();
  execution.rebuild.reset();
  abandon_attempts(ref);

  Transition transition;
  transition.execution = ref;
  transition.tenant = record.tenant;
  Held held;
  execution.offers.clear();
  execution.otherwise.reset();
  if (execution.event && !execution.event_in_inbox) {
    const EventSubmitted& event = *execution.event;
    InboxRecord row = inbox_row(execution, event, next_inbox_id_());
    row.payload = event.event.payload;
    transition.inbox_added.push_back(std::move(row));
    EventReply told = event_reply(execution, event.event_id, false);
    told.current_state = execution.row_state;
    told.status = to_string(ExecutionStatus::stuck);
    if (event.request != 0) held.replies.push_back(Reply{event.request, std::move(told)});
  }
  execution.event.reset();
  for (const Job& job : execution.jobs) {
    if (const auto* const finished = std::get_if<ActionJob>(&job)) take_back(execution, *finished);
  }
  ExecutionChange change;
  change.status = ExecutionStatus::stuck;
  change.error_json = report_json(report);
  change.condition = Condition::none;
  change.condition_detail = std::string{};
  change.last_sequence =
      execution.fold.last_sequence() - static_cast<std::int64_t>(execution.open.records.size());
  change.at = activation_time(execution);
  transition.changed = std::move(change);
  execution.open = {};
  execution.timers_moved.clear();
  execution.effects = {};
  execution.jobs.clear();
  execution.graphs_begun.clear();
  execution.phase = Execution::Phase::stuck;
  without_code_.emplace(record.workflow, ref);
  // What was registered since may be the mended code.
  if (registrations_[record.workflow] > execution.built_with) retry_stuck_.insert(ref);

  held.execution = ref;
  execution.last_commit = commit(stream_of(ref), std::move(transition), std::move(held));
}

}  // namespace pawl
