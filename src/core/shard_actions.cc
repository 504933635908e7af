// Attempts of actions: handed out, timed out, given up.

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>

#include "base/digest.h"
#include "base/duration.h"
#include "base/name.h"
#include "core/retry.h"
#include "core/shard.h"
#include "core/shard_execution.h"
#include "model/failure_codec.h"
#include "model/limit_checks.h"

namespace pawl {

namespace {

// The key of an action in an execution follows from where it stands, so that it is the same on every
// attempt and after every restart. The seed makes it another one in every other store: the key may
// go to a payment provider that has seen those of a store that is gone.
std::string derived_key(const ExecutionRecord& execution, const Position position,
                        const std::uint64_t seed, const int generation) {
  std::string key = fmt::format("{}:{}:{:016x}", execution.ref, position, seed);
  if (generation > 0) key += fmt::format(":{}", generation);
  return key;
}

}  // namespace

void Shard::dispatch(Execution& execution, const Position position, const bool just_scheduled) {
  const auto found = execution.fold.actions().find(position);
  if (found == execution.fold.actions().end()) return;
  const ExecutionRecord& record = execution.fold.record();
  if (record.status != ExecutionStatus::running || stream_of(record.ref).leaving) return;
  const AttemptKey key{record.ref, position};
  const PendingAction& action = found->second;
  if (action.held) return;
  const std::string handler = handler_of(action);
  const Catalog::Action* const registered = catalog_.find_action(handler);
  limit(key, action, registered);
  if (action.deferred || attempts_.contains(key)) return;
  if (action.options.in_place && !execution.hosted) {
    execution.attempts_waiting.push_back(position);
    return;
  }
  if (registered == nullptr) {
    // After a restart the registrations are still to come: not worth a warning.
    if (just_scheduled) {
      const auto nearest = nearest_names(handler, catalog_.action_names());
      log_engine(LogLevel::warn,
                 fmt::format("Action '{}' is not registered here{}. It waits until it is.", handler,
                             nearest.empty()
                                 ? std::string{}
                                 : fmt::format("; the nearest are {}", fmt::join(nearest, ", "))),
                 record);
    }
    const std::string meeting = meeting_name(handler);
    if (missing_handlers_.emplace(key, meeting).second) without_handler_.emplace(meeting, key);
    return;
  }
  if (!action.options.idempotency_key.empty()) return ask_keyed(execution, position, action);
  auto made = std::make_unique<ActionTask>();
  ActionTask& task = *made;
  task.tenant = record.tenant;
  task.execution_id = record.execution_id;
  task.execution = record.ref;
  task.position = position;
  task.name = action.name;
  task.parameters = action.parameters;
  task.attempt = action.attempts_failed + 1;
  task.idempotency_key = derived_key(record, position, execution.fold.seed(), action.generation);
  task.event_id = execution.fold.event_id_of(action.cause);
  task.correlation_id = record.correlation_id;
  task.scheduled_at = action.scheduled_at;
  task.timeout = action.options.timeout.value_or(0);
  task.heartbeat_timeout = action.options.heartbeat_timeout.value_or(0);
  task.progress = action.progress;
  task.in_place = action.options.in_place;
  task.generation = action.generation;
  task.seed = execution.fold.seed();
  task.partition = partition_of(record.ref);
  task.epoch = stream_of(record.ref).epoch;
  // Its handler is where the instance is.
  const bool elsewhere = action.options.in_place && execution.host == kOtherWorkers;
  hand_out(*registered, std::move(made), elsewhere ? kOtherWorkers : registered->host);
}

void Shard::hand_out(const Catalog::Action& registered, std::unique_ptr<ActionTask> made,
                     const HostId host) {
  ActionTask& task = *made;
  task.id = next_attempt_++;
  if (task.timeout == 0) {
    task.timeout = registered.options.timeout.value_or(kActionTimeoutDefaultMs);
  }
  if (task.heartbeat_timeout == 0) {
    task.heartbeat_timeout = registered.options.heartbeat_timeout.value_or(0);
  }
  attempts_.emplace(AttemptKey{task.execution, task.position},
                    Attempt{task.id, task.attempt, host, 0});
  host_queues_[host].ready.push(registered, std::move(made));
}

// At once, or when the commit under way is durable that lets it run.
void Shard::dispatch_once_durable(Execution& execution, const Position position) {
  if (is_durable(execution)) return dispatch(execution, position);
  // It is under way: by the time that commit is durable it may have ended, and wait to be recorded.
  if (attempts_.contains({execution.fold.ref(), position})) return;
  Queue<Held>& held = stream_of(execution.fold.ref()).held;
  held[static_cast<std::size_t>(execution.last_commit - held.front().commit)].actions.push_back(
      position);
}

// Every action that is under way as far as the history tells, and whose outcome is not waiting already.
void Shard::dispatch_all(Execution& execution) {
  std::unordered_set<Position> finished;
  const auto note = [&finished](const Work& work) {
    const auto* const outcome = std::get_if<AttemptFinished>(&work);
    if (outcome != nullptr) finished.insert(outcome->position);
  };
  std::for_each(execution.work.begin(), execution.work.end(), note);
  std::for_each(execution.steps_ended.begin(), execution.steps_ended.end(), note);
  const bool running = execution.fold.record().status == ExecutionStatus::running;
  for (const auto& [position, action] : execution.fold.actions()) {
    if (finished.contains(position) || action.held) continue;
    if (!action.retry_at) dispatch_once_durable(execution, position);
    const AttemptKey key{execution.fold.ref(), position};
    // One that is under way, too: its execution may have been paused when its time was up.
    if (running && (action.retry_at || attempts_.contains(key))) {
      limit(key, action, catalog_.find_action(handler_of(action)));
    }
  }
}

// Whether an attempt has ended and its turn to be recorded is still to come.
bool Shard::outcome_waits(const Execution& execution, const Position position) {
  const auto is_its_own = [position](const Work& work) {
    const auto* const outcome = std::get_if<AttemptFinished>(&work);
    return outcome != nullptr && outcome->position == position;
  };
  return std::any_of(execution.work.begin(), execution.work.end(), is_its_own) ||
         std::any_of(execution.steps_ended.begin(), execution.steps_ended.end(), is_its_own);
}

// The hosts take turns, so that none waits for a place at another one.
void Shard::run_ready() {
  bool ran = !draining_;
  rate_allows_at_ = 0;
  while (ran) {
    ran = false;
    auto at = host_queues_.upper_bound(last_served_);
    for (std::size_t left = host_queues_.size(); left > 0; --left, ++at) {
      if (at == host_queues_.end()) at = host_queues_.begin();
      if (!run_next(at->first)) continue;
      last_served_ = at->first;
      ran = true;
    }
  }
}

// False: the host has no attempt ready, or no place for it.
bool Shard::run_next(const HostId host) {
  HostQueue& queue = host_queues_.at(host);
  while (queue.ready.size() > 0) {
    // What waits at others keeps nothing here from its place.
    std::size_t& in_flight = host == kOtherWorkers ? in_flight_elsewhere_ : in_flight_;
    if (in_flight >= options_.limits.actions_in_flight_max) return false;
    if (queue.capacity && queue.unanswered.size() >= *queue.capacity) return false;
    auto next = queue.ready.pop([&](const std::string& tenant, const Catalog::Action& action) {
      return host == kOtherWorkers || may_begin(tenant, action);
    });
    if (!next) return false;
    const ActionTask& task = *next->task;
    const AttemptKey key{task.execution, task.position};
    const auto attempt = attempts_.find(key);
    // It was given up while it waited.
    if (attempt == attempts_.end() || attempt->second.id != task.id) continue;
    attempt->second.handed_out = true;
    attempt->second.timeout = task.timeout;
    attempt->second.heartbeat_timeout = task.heartbeat_timeout;
    if (!queue.reports_begin) start_clock(key, attempt->second);
    if (queue.capacity) queue.unanswered.insert(task.id);
    ++in_flight;
    if (host != kOtherWorkers) {
      attempt->second.tenant = tenants_in_flight_.try_emplace(task.tenant).first;
      ++attempt->second.tenant->second;
      NameInFlight& name = names_in_flight_[next->action];
      ++name.attempts;
      const auto& rate = next->action->options.rate_limit;
      if (rate) name.rate.count(*rate, now_);
      attempt->second.action = next->action;
    }
    ++counters_.actions_started;
    out_->actions.push_back(RunAction{host, std::move(next->task)});
    return true;
  }
  return false;
}

// Whether its tenant and its name have a place for one more attempt.
bool Shard::may_begin(const std::string& tenant, const Catalog::Action& action) {
  const auto of_tenant = tenants_in_flight_.find(tenant);
  if (of_tenant != tenants_in_flight_.end() &&
      of_tenant->second >= options_.limits.actions_in_flight_per_tenant_max) {
    return false;
  }
  const ActionOptions& options = action.options;
  if (!options.concurrency_max && !options.rate_limit) return true;
  const NameInFlight& name = names_in_flight_[&action];
  if (options.concurrency_max && name.attempts >= *options.concurrency_max) return false;
  if (!options.rate_limit) return true;
  const Timestamp at = name.rate.allows_at(*options.rate_limit, now_);
  if (at <= now_) return true;
  rate_allows_at_ = rate_allows_at_ == 0 ? at : std::min(rate_allows_at_, at);
  return false;
}

// Its time-out counts from now on.
void Shard::start_clock(const AttemptKey key, Attempt& attempt) {
  attempt.times_out_at = later(now_, attempt.timeout);
  await_beat(key, attempt);
  if (const auto& [worker, id] = attempt.lent_to; !worker.empty()) {
    out_->lent.push_back({worker, AttemptBegan{id}});
  }
}

// From now on it may be silent for so long.
void Shard::await_beat(const AttemptKey key, Attempt& attempt) {
  if (attempt.deadline != 0) deadlines_.erase({attempt.deadline, key});
  attempt.deadline = attempt.times_out_at;
  if (attempt.heartbeat_timeout > 0) {
    attempt.beat_by = later(now_, attempt.heartbeat_timeout);
    attempt.deadline = std::min(attempt.deadline, attempt.beat_by);
  }
  deadlines_.emplace(attempt.deadline, key);
}

void Shard::on(ActionHeartbeat input) {
  const AttemptKey key{input.execution, input.position};
  const auto attempt = attempts_.find(key);
  if (attempt == attempts_.end() || attempt->second.id != input.id) return;
  if (const auto& [worker, id] = attempt->second.lent_to; !worker.empty()) {
    out_->lent.push_back({worker, AttemptAlive{id, input.progress}});
  }
  if (!input.progress.is_none() &&
      !check_payload("progress of the action", input.progress, options_.limits)) {
    attempt->second.progress = std::move(input.progress);
  }
  if (attempt->second.deadline != 0) await_beat(key, attempt->second);
}

void Shard::on(ActionBegun input) {
  const AttemptKey key{input.execution, input.position};
  const auto attempt = attempts_.find(key);
  if (attempt == attempts_.end() || attempt->second.id != input.id) return;
  if (attempt->second.deadline == 0) start_clock(key, attempt->second);
}

void Shard::end_attempt(const AttemptKey key) {
  const auto attempt = attempts_.find(key);
  if (attempt == attempts_.end()) return;
  if (attempt->second.deadline != 0) deadlines_.erase({attempt->second.deadline, key});
  if (attempt->second.handed_out && attempt->second.host == kOtherWorkers) {
    --in_flight_elsewhere_;
  } else if (attempt->second.handed_out) {
    --in_flight_;
    const auto tenant = attempt->second.tenant;
    if (--tenant->second == 0) tenants_in_flight_.erase(tenant);
    // Its rate is remembered.
    --names_in_flight_.at(attempt->second.action).attempts;
  }
  if (!attempt->second.lent_to.first.empty()) lent_attempts_.erase(attempt->second.lent_to);
  attempts_.erase(attempt);
}

void Shard::call_off(const AttemptKey key) {
  const auto attempt = attempts_.find(key);
  if (attempt == attempts_.end()) return;
  if (attempt->second.handed_out) {
    out_->aborts.push_back(AbortAction{attempt->second.host, attempt->second.id});
  }
  end_attempt(key);
}

// Tells the handlers of an execution's attempts to stop, and forgets them: their answers are ignored.
void Shard::abandon_attempts(const ExecutionRef ref) {
  auto at = attempts_.lower_bound({ref, 0});
  while (at != attempts_.end() && at->first.first == ref) {
    const AttemptKey key = at->first;
    ++at;
    call_off(key);
  }
  leave_keyed(ref);
  lift_limits(ref);
}

void Shard::without_handler_erase(const ExecutionRef ref) {
  const auto first = missing_handlers_.lower_bound({ref, 0});
  auto last = first;
  for (; last != missing_handlers_.end() && last->first.first == ref; ++last) {
    without_handler_.erase({last->second, last->first});
  }
  missing_handlers_.erase(first, last);
}

void Shard::on(ActionOutcome input) {
  const AttemptKey key{input.execution, input.position};
  const auto attempt = attempts_.find(key);
  for (auto& [host, queue] : host_queues_) queue.unanswered.erase(input.id);
  // Of one that was given up.
  if (attempt == attempts_.end() || attempt->second.id != input.id) return;
  if (!input.deferred) return finish_attempt(key, std::move(input.outcome));
  if (!attempt->second.lent_to.first.empty()) return return_attempt(key, Payload{}, true);
  if (input.execution == 0) {
    Failure failure;
    failure.name = "NotDeferrableError";
    failure.code = "not_deferrable";
    failure.message =
        "an action outside of a workflow, or under a key of its caller's, can't be completed from "
        "elsewhere";
    failure.failure_class = FailureClass::permanent;
    return finish_attempt(key, std::move(failure));
  }
  AttemptFinished finished;
  finished.execution = input.execution;
  finished.position = input.position;
  finished.attempt = attempt->second.attempt;
  finished.deferred = true;
  end_attempt(key);
  give(input.execution, std::move(finished));
}

void Shard::finish_attempt(const AttemptKey key, std::variant<Payload, Failure> outcome) {
  if (!attempts_.at(key).lent_to.first.empty()) {
    return return_attempt(key, std::move(outcome), false);
  }
  const auto [ref, position] = key;
  const int attempt = attempts_.at(key).attempt;
  Payload progress = std::move(attempts_.at(key).progress);
  end_attempt(key);
  if (const auto* const result = std::get_if<Payload>(&outcome)) {
    if (const auto error = check_payload("result of the action", *result, options_.limits)) {
      Failure failure;
      failure.name = "LimitError";
      failure.code = to_string(error->code);
      failure.message = error->message;
      failure.failure_class = FailureClass::permanent;
      outcome = std::move(failure);
    }
  }
  // From here on it is what code will see of it after a restart, too.
  if (auto* const failure = std::get_if<Failure>(&outcome)) *failure = as_recorded(*failure);
  if (ref == 0) {
    return finish_detached_attempt(position, std::move(outcome), std::move(progress));
  }
  give(ref, AttemptFinished{ref, position, attempt, std::move(outcome),
                            AttemptFinished::Of::attempt, std::move(progress)});
}

void Shard::expire_attempts() {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now_) {
    const AttemptKey key = deadlines_.begin()->second;
    const Attempt& attempt = attempts_.at(key);
    out_->aborts.push_back(AbortAction{attempt.host, attempt.id});
    Failure failure;
    failure.name = "TimeoutError";
    failure.code = "timeout";
    failure.message =
        now_ >= attempt.times_out_at
            ? fmt::format("attempt {} did not finish within its time-out", attempt.attempt)
            : fmt::format("attempt {} was silent for longer than its heartbeat time-out of {}",
                          attempt.attempt, format_duration_ms(attempt.heartbeat_timeout));
    failure.failure_class = FailureClass::timeout;
    finish_attempt(key, std::move(failure));
  }
}

}  // namespace pawl
