#include "core/shard.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>

#include "base/digest.h"
#include "base/name.h"
#include "core/event_answer.h"
#include "core/history_cut.h"
#include "core/shard_execution.h"

namespace pawl {
namespace {

constexpr std::size_t kEvictionLooksMax = 16;  // at the oldest of the cache, per input
constexpr DurationMs kReloadDelayMinMs = 100;  // after a failed commit, doubled each time
constexpr DurationMs kReloadDelayMaxMs = 10'000;

}  // namespace

void Outputs::clear() {
  evictions.clear();
  commits.clear();
  loads.clear();
  page_loads.clear();
  timer_loads.clear();
  mail_loads.clear();
  forks.clear();
  inbox_lookups.clear();
  result_lookups.clear();
  activations.clear();
  actions.clear();
  aborts.clear();
  replies.clear();
  elsewhere.clear();
  answers.clear();
  lent.clear();
  hints.clear();
  hints_settled.clear();
  dead_letters.clear();
  partitions_left.clear();
  logs.clear();
}

void append(Outputs& batch, Outputs& step) {
  const auto move_over = [](auto& to, auto& from) {
    if (from.empty()) return;
    to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
    from.clear();
  };
  move_over(batch.evictions, step.evictions);
  move_over(batch.commits, step.commits);
  move_over(batch.loads, step.loads);
  move_over(batch.page_loads, step.page_loads);
  move_over(batch.timer_loads, step.timer_loads);
  move_over(batch.mail_loads, step.mail_loads);
  move_over(batch.forks, step.forks);
  move_over(batch.inbox_lookups, step.inbox_lookups);
  move_over(batch.result_lookups, step.result_lookups);
  move_over(batch.activations, step.activations);
  move_over(batch.actions, step.actions);
  move_over(batch.aborts, step.aborts);
  move_over(batch.replies, step.replies);
  move_over(batch.elsewhere, step.elsewhere);
  move_over(batch.answers, step.answers);
  move_over(batch.lent, step.lent);
  move_over(batch.hints, step.hints);
  move_over(batch.hints_settled, step.hints_settled);
  move_over(batch.dead_letters, step.dead_letters);
  move_over(batch.partitions_left, step.partitions_left);
  move_over(batch.logs, step.logs);
}

Shard::Shard(ShardOptions options,
             std::function<ExecutionRef(std::string_view, std::string_view)> next_ref,
             std::function<InboxId()> next_inbox_id)
    : options_(std::move(options)),
      next_ref_(std::move(next_ref)),
      next_inbox_id_(std::move(next_inbox_id)),
      next_attempt_(1),
      streams_(static_cast<std::size_t>(options_.partitions) + 1) {
  for (std::size_t at = 0; at < streams_.size(); ++at) {
    streams_[at].number = static_cast<std::uint32_t>(at);
    streams_[at].owned = !options_.shared;
  }
  streams_.back().owned = true;
  if (options_.shared) host_queues_[kOtherWorkers].reports_begin = true;
}

Shard::~Shard() = default;

void Shard::handle(Input input, const Timestamp now, Outputs& out) {
  now_ = now;
  out_ = &out;
  const std::size_t first_reply = out.replies.size();
  // First: its evictions go out before the activations of this step.
  leave_partitions();
  std::visit([this](auto&& value) { on(std::forward<decltype(value)>(value)); }, std::move(input));
  hand_keyed();
  run_ready();
  settle_old_hints();
  evict_surplus();
  look_for_mail();
  if (now_ >= timer_load_at_ && !draining_) {
    if (const auto after = timers_.want_load()) out_->timer_loads.push_back(*after);
  }
  settle_patience(first_reply);
  out_ = nullptr;
}

std::optional<Timestamp> Shard::next_tick() const {
  std::optional<Timestamp> next;
  const auto offer = [&next](const std::optional<Timestamp> at) {
    if (at && (!next || *at < *next)) next = at;
  };
  if (!deadlines_.empty()) offer(deadlines_.begin()->first);
  if (!wait_deadlines_.empty()) offer(std::get<0>(*wait_deadlines_.begin()));
  if (!patience_ends_.empty()) offer(patience_ends_.begin()->first);
  if (leaving_ > 0) offer(leave_look_at_);
  if (!hinted_since_.empty()) offer(hinted_since_.front().first + kHintKeptMs);
  if (draining_) return next;
  offer(timers_.next());
  if (!detached_retries_.empty()) offer(detached_retries_.begin()->first);
  if (!limits_due_.empty()) offer(limits_due_.begin()->first);
  if (rate_allows_at_ != 0) offer(rate_allows_at_);
  if (!keyed_retries_.empty()) offer(keyed_retries_.begin()->first);
  if (!to_reload_.empty() || !pages_to_reload_.empty()) offer(reload_at_);
  if (mail_look_at_ != 0) offer(mail_look_at_);
  if (timer_load_at_ > now_) offer(timer_load_at_);
  return next;
}

ShardCounters Shard::counters() const {
  ShardCounters counters = counters_;
  counters.executions_cached = executions_.size();
  counters.actions_in_flight = in_flight_ + in_flight_elsewhere_;
  for (const auto& [host, queue] : host_queues_) counters.actions_waiting += queue.ready.size();
  return counters;
}

// ---- calls of clients

void Shard::on(StartRequested input) {
  const StartRequest& start = input.start;
  if (input.mail == 0 && !takes(partition_for(start.tenant, start.execution_id))) {
    return leave(Work{std::move(input)});
  }
  // Who sent mail is not there to be told: it is an execution that waits for its code.
  if (input.mail == 0 && catalog_.find_workflow(start.workflow, start.version) == nullptr) {
    const auto versions = catalog_.versions_of(start.workflow);
    return reply(
        input.request,
        Error{ErrorCode::unknown_workflow,
              versions.empty()
                  ? fmt::format("No workflow '{}' is registered here{}. Register it before "
                                "starting one.",
                                start.workflow, name_meant(start.workflow))
                  : fmt::format("Workflow '{}' is registered here as {}, not as {}.",
                                start.workflow, fmt::join(versions, ", "), start.version),
              start.workflow});
  }
  if (input.generated) return begin(input);
  const std::string tenant = start.tenant;
  const std::string execution_id = start.execution_id;
  give(tenant, execution_id, std::move(input));
}

// "; did you mean …?", if there is something like it.
std::string Shard::name_meant(const std::string& workflow) const {
  const auto nearest = nearest_names(workflow, catalog_.workflow_names());
  if (nearest.empty()) return {};
  return fmt::format("; did you mean {}?", fmt::join(nearest, ", "));
}

void Shard::on(EventSubmitted input) {
  if (!takes(partition_for(input.event.tenant, input.event.execution_id))) {
    return leave(Work{std::move(input)});
  }
  if (input.deadline) {
    patience_.emplace(input.request, Patience{*input.deadline, input.event_id});
    patience_ends_.emplace(*input.deadline, input.request);
  }
  const std::string tenant = input.event.tenant;
  const std::string execution_id = input.event.execution_id;
  give(tenant, execution_id, std::move(input));
}

void Shard::on(CompletionAwaited input) {
  if (!takes(partition_for(input.tenant, input.execution_id))) return leave(Work{std::move(input)});
  const std::string tenant = input.tenant;
  const std::string execution_id = input.execution_id;
  give(tenant, execution_id, std::move(input));
}

void Shard::on(ControlRequested input) {
  if (!takes(partition_for(input.control.tenant, input.control.execution_id))) {
    return leave(Work{std::move(input)});
  }
  const std::string tenant = input.control.tenant;
  const std::string execution_id = input.control.execution_id;
  give(tenant, execution_id, std::move(input));
}

void Shard::on(ForkPrepared input) {
  if (input.mail != 0) {
    if (draining_ || !mail_.contains(input.mail)) return;  // it is another worker's by now
    if (input.unreadable) {
      const ErrorCode code = input.unreadable->code;
      const bool final = code == ErrorCode::unknown_execution ||
                         code == ErrorCode::invalid_argument || code == ErrorCode::wrong_status;
      return final ? settle_mail(input.mail, input.unreadable) : return_mail(input.mail);
    }
  } else if (!takes(partition_for(input.fork.tenant, input.fork.fork_id))) {
    return leave(Work{std::move(input)});
  }
  const std::string tenant = input.fork.tenant;
  const std::string execution_id = input.fork.fork_id;
  give(tenant, execution_id, std::move(input));
}

// ---- registrations

void Shard::on(WorkflowRegistered input) {
  if (!catalog_.add_workflow(input.name, input.version, input.host)) return;
  ++registrations_[input.name];
  const auto first = without_code_.lower_bound({input.name, 0});
  auto last = first;
  std::vector<ExecutionRef> waiting;
  for (; last != without_code_.end() && last->first == input.name; ++last) {
    waiting.push_back(last->second);
  }
  without_code_.erase(first, last);
  for (const ExecutionRef ref : waiting) {
    if (Execution* const execution = find(ref)) {
      if (execution->phase == Execution::Phase::idle) {
        execution->retrying_stuck = execution->fold.record().status == ExecutionStatus::stuck;
        proceed(*execution);
      } else {
        // If what is under way ends stuck, it has another turn.
        retry_stuck_.insert(ref);
      }
    } else {
      to_resume_.push_back(ref);
    }
  }
  resume_some();
}

void Shard::on(ActionRegistered input) {
  if (!catalog_.add_action(input.name, input.options, input.host)) return;
  host_queues_[input.host].capacity = input.host_capacity;
  host_queues_[input.host].reports_begin = input.host_reports_begin;
  const std::string meeting = meeting_name(input.name);
  const auto first = without_handler_.lower_bound({meeting, AttemptKey{}});
  auto last = first;
  std::vector<AttemptKey> waiting;
  for (; last != without_handler_.end() && last->first == meeting; ++last) {
    waiting.push_back(last->second);
    missing_handlers_.erase(last->second);
  }
  without_handler_.erase(first, last);
  for (const AttemptKey& key : waiting) {
    if (Execution* const execution = find(key.first)) {
      dispatch(*execution, key.second);
      if (!execution->attempts_waiting.empty()) proceed(*execution);
    } else {
      load(key.first);
    }
  }
}

void Shard::answer_waiters(const ExecutionRef ref, const bool found) {
  auto waiters = waiters_.extract(ref);
  if (!waiters) return;
  for (const Waiter& waiter : waiters.mapped()) {
    if (waiter.deadline) wait_deadlines_.erase({*waiter.deadline, ref, waiter.request});
    if (found) {
      out_->replies.push_back(
          Reply{waiter.request, CompletionReached{waiter.tenant, waiter.execution_id}});
    } else {
      reply(waiter.request, unknown_execution(waiter.tenant, waiter.execution_id));
    }
  }
}

void Shard::refuse(Queue<Work>& work, const Error& error) {
  for (const Work& item : work) refuse(item, error);
  work.clear();
}

void Shard::refuse(const Work& work, const Error& error) {
  if (const InboxId mail = mail_of(work); mail != 0) return return_mail(mail);
  if (const auto* const event = std::get_if<EventSubmitted>(&work)) reply(event->request, error);
  if (const auto* const start = std::get_if<StartRequested>(&work)) reply(start->request, error);
  if (const auto* const wait = std::get_if<CompletionAwaited>(&work)) reply(wait->request, error);
  if (const auto* const control = std::get_if<ControlRequested>(&work)) {
    reply(control->request, error);
  }
  if (const auto* const fork = std::get_if<ForkPrepared>(&work)) reply(fork->request, error);
  if (const auto* const given = std::get_if<ActionCompletionGiven>(&work)) {
    reply(given->request, error);
  }
  if (const auto* const ended = std::get_if<AttemptFinished>(&work)) reply(ended->request, error);
}

// ---- commits

void Shard::on(const CommitOutcome& input) {
  Stream& stream = streams_[input.stream];
  if (input.error) {
    if (stream.held.empty() || stream.held.front().commit > input.up_to) return;
    return drop_all_uncommitted(stream, *input.error);
  }
  reload_delay_ = 0;
  while (!stream.held.empty() && stream.held.front().commit <= input.up_to) {
    Held held = std::move(stream.held.front());
    stream.held.pop_front();
    release(std::move(held));
  }
}

void Shard::release(Held held) {
  for (Reply& answer : held.replies) out_->replies.push_back(std::move(answer));
  for (LogLine& line : held.logs) out_->logs.push_back(std::move(line));
  for (const TimerRecord& timer : held.timers) timers_.arm(timer);
  for (const InboxId id : held.mail_settled) {
    forget_mail(id);
    if (mail_look_out_) mail_settled_meanwhile_.insert(id);
  }
  for (AnswerHint& answer : held.answers) out_->answers.push_back(std::move(answer));
  post(std::move(held.mail));
  if (!held.detached.empty()) finish_detached(held.detached);
  if (held.execution == 0) return;
  Execution* const execution = find(held.execution);
  if (execution == nullptr) return;
  for (const Position position : held.actions) dispatch(*execution, position, true);
  if (!execution->steps_ended.empty() && held.commit >= execution->steps_after) {
    execution->steps_due = true;
    take_up_steps(*execution);
    if (execution->last_commit != held.commit && execution->phase == Execution::Phase::idle) {
      return proceed(*execution);
    }
  }
  if (execution->last_commit != held.commit) return;
  if (execution->phase == Execution::Phase::stuck) {
    Queue<Work> work = std::move(execution->work);
    const ExecutionRef ref = held.execution;
    forget(*execution);
    for (Work& item : work) {
      // What lies in the inbox is found there again.
      if (!std::holds_alternative<InboxEvent>(item)) give(ref, std::move(item));
    }
    if (retry_stuck_.contains(ref)) load(ref);
  } else if (execution->instance_lost) {
    lose_instance(*execution);
  } else if ((execution->fold.ended() || execution->steps_due ||
              !execution->attempts_waiting.empty()) &&
             execution->phase == Execution::Phase::idle) {
    proceed(*execution);
  }
}

void Shard::drop_all_uncommitted(Stream& stream, const Error& error) {
  ++stream.generation;
  Queue<Held> lost = std::exchange(stream.held, {});
  std::vector<ExecutionRef> touched;
  Queue<Work> refused;
  // What filled them may be lost too.
  for (auto& [key, full] : full_) {
    full.stage = FullReceiver::Stage::has_room;
    mail_look_at_ = now_ + kReloadDelayMinMs;
  }
  for (Held& held : lost) {
    for (const Reply& answer : held.replies) reply(answer.request, error);
    if (!held.detached.empty()) look_again(held.detached, error);
    for (const InboxId id : held.mail_settled) return_mail(id);
    // Whether it was sent, the store knows.
    if (!held.mail.empty()) mail_look_at_ = now_ + kReloadDelayMinMs;
    if (held.execution == 0) continue;
    Execution* const execution = find(held.execution);
    if (execution == nullptr) continue;
    touched.push_back(held.execution);
    for (const Reply& answer : execution->effects.replies) reply(answer.request, error);
    if (execution->event) reply(execution->event->request, error);
    reply(execution->start_request, error);
    return_mail_of(*execution);
    take_up_steps(*execution);
    Queue<Work> work = std::move(execution->work);
    keep_outcomes(held.execution, work);
    abandon_attempts(held.execution);
    forget(*execution);
    refuse(work, error);
  }
  reload_later(touched);
}

void Shard::reload_later(const std::vector<ExecutionRef>& refs) {
  if (refs.empty()) return;
  to_reload_.insert(to_reload_.end(), refs.begin(), refs.end());
  put_off_reloads();
}

void Shard::reload_page_later(LoadPage page) {
  pages_to_reload_.push_back(std::move(page));
  put_off_reloads();
}

void Shard::put_off_reloads() {
  reload_delay_ = std::clamp(reload_delay_ * 2, kReloadDelayMinMs, kReloadDelayMaxMs);
  reload_at_ = now_ + reload_delay_;
}

// ---- time

void Shard::on(const Tick&) {
  expire_attempts();
  expire_waits();
  if (draining_) return;
  retry_detached();
  ask_keyed_again();
  enforce_limits();
  if (now_ >= reload_at_) {
    std::move(pages_to_reload_.begin(), pages_to_reload_.end(),
              std::back_inserter(out_->page_loads));
    pages_to_reload_.clear();
    std::deque<ExecutionRef> refs = std::move(to_reload_);
    to_reload_.clear();
    for (const ExecutionRef ref : refs) {
      if (find(ref) == nullptr) load(ref);
    }
  }
  if (mail_look_at_ != 0 && now_ >= mail_look_at_) {
    mail_look_at_ = 0;
    mail_wanted_ = true;
  }
  while (const auto timer = timers_.take_due(now_)) {
    if (takes(partition_of(timer->execution))) give(timer->execution, TimerDue{*timer});
  }
}

void Shard::expire_waits() {
  while (!wait_deadlines_.empty() && std::get<0>(*wait_deadlines_.begin()) <= now_) {
    const auto [deadline, ref, request] = *wait_deadlines_.begin();
    wait_deadlines_.erase(wait_deadlines_.begin());
    const auto waiting = waiters_.find(ref);
    if (waiting != waiters_.end()) {
      std::erase_if(waiting->second,
                    [at = request](const Waiter& waiter) { return waiter.request == at; });
      if (waiting->second.empty()) waiters_.erase(waiting);
    }
    reply(request, Error{ErrorCode::timeout,
                         "The execution has not ended within the time given. It goes on.",
                         {}});
  }
}

// Of the replies from that one on: those that come in time end a wait, those that don't are dropped.
void Shard::settle_patience(const std::size_t first_reply) {
  if (patience_.empty() && too_late_.empty()) return;
  std::vector<Reply>& replies = out_->replies;
  const auto begin = replies.begin() + static_cast<std::ptrdiff_t>(first_reply);
  replies.erase(
      std::remove_if(begin, replies.end(),
                     [this](const Reply& reply) { return too_late_.erase(reply.request) != 0; }),
      replies.end());
  for (std::size_t index = first_reply; index < replies.size(); ++index) {
    if (const auto ended = patience_.extract(replies[index].request)) {
      patience_ends_.erase({ended.mapped().deadline, ended.key()});
    }
  }
  while (!patience_ends_.empty() && patience_ends_.begin()->first <= now_) {
    const RequestId request = patience_ends_.begin()->second;
    patience_ends_.erase(patience_ends_.begin());
    const auto ended = patience_.extract(request);
    too_late_.insert(request);
    reply(request, Error{ErrorCode::timeout,
                         fmt::format("The step that takes event {} was not durable within the time "
                                     "given. The event is taken all the same.",
                                     ended.mapped().event_id),
                         ended.mapped().event_id});
  }
}

void Shard::on(TimersLoaded input) {
  if (!input.timers) {
    timers_.load_failed();
    timer_load_at_ = now_ + kReloadDelayMaxMs;
    return;
  }
  const bool complete = input.timers->size() < static_cast<std::size_t>(kTimersLoadedAtOnce);
  timers_.loaded(*input.timers, complete);
}

// ---- the cache

void Shard::touch(Execution& execution) {
  recently_used_.splice(recently_used_.begin(), recently_used_, execution.used);
}

bool Shard::is_durable(const Execution& execution) const {
  const Queue<Held>& held = stream_of(execution.fold.ref()).held;
  return held.empty() || execution.last_commit < held.front().commit;
}

// Whether all that waits there is found in the store, when the execution can run again.
bool Shard::can_leave(const Queue<Work>& work) {
  return std::all_of(work.begin(), work.end(), [](const Work& item) {
    return std::holds_alternative<TimerDue>(item) || std::holds_alternative<InboxEvent>(item);
  });
}

void Shard::evict_surplus() {
  std::size_t looks = 0;
  auto at = recently_used_.end();
  while (executions_.size() > options_.limits.executions_cached_max &&
         at != recently_used_.begin() && looks++ < kEvictionLooksMax) {
    --at;
    Execution& execution = **at;
    if (execution.phase != Execution::Phase::idle || !can_leave(execution.work) ||
        (!execution.work.empty() && can_run(execution)) || !is_durable(execution) ||
        runs_own_code(execution)) {
      // Not now; it must not stand in the way of those behind it.
      const auto next = std::next(at);
      touch(execution);
      at = next;
      continue;
    }
    const auto next = std::next(at);
    if (!execution.work.empty()) {
      // Those that are due would have it loaded again at once. A load for its code arms them.
      for (const TimerRecord& timer : execution.fold.timers()) {
        if (timer.kind != TimerKind::deadline && timer.fire_at <= now_) timers_.disarm(timer);
      }
    }
    forget(execution);
    at = next;
  }
}

// Whether attempts are ready or in flight whose handlers are written in its code.
bool Shard::runs_own_code(const Execution& execution) const {
  if (!execution.fold.action_names().contains(std::string(kInPlaceAction))) return false;
  const ExecutionRef ref = execution.fold.ref();
  for (auto at = attempts_.lower_bound({ref, 0}); at != attempts_.end() && at->first.first == ref;
       ++at) {
    const auto action = execution.fold.actions().find(at->first.second);
    if (action != execution.fold.actions().end() && action->second.options.in_place) return true;
  }
  return false;
}

void Shard::forget(Execution& execution) {
  const ExecutionRef ref = execution.fold.ref();
  if (execution.results_owed > 0) orphaned_results_[ref] += execution.results_owed;
  if (execution.hosted || execution.results_owed > 0) {
    out_->evictions.push_back(Evict{execution.host, ref});
  }
  recently_used_.erase(execution.used);
  by_ref_.erase(ref);
  const ExecutionRecord& record = execution.fold.record();
  executions_.erase(execution_key(record.tenant, record.execution_id));
}

void Shard::reply(const RequestId request, Error error) {
  if (request != 0) out_->replies.push_back(Reply{request, std::move(error)});
}

void Shard::answer(Execution& execution, Reply reply) {
  if (reply.request == 0) return;
  if (is_durable(execution)) {
    out_->replies.push_back(std::move(reply));
  } else {
    Queue<Held>& held = stream_of(execution.fold.ref()).held;
    held[static_cast<std::size_t>(execution.last_commit - held.front().commit)].replies.push_back(
        std::move(reply));
  }
}

void Shard::log_engine(const LogLevel level, std::string message, const ExecutionRecord& about) {
  out_->logs.push_back(LogLine{level,
                               std::move(message),
                               {},
                               about.tenant,
                               about.execution_id,
                               about.workflow,
                               about.correlation_id,
                               now_});
}

}  // namespace pawl
