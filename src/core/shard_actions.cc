// Attempts of actions: handed out, timed out, tried again; and actions outside of any execution.

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
  if (record.status != ExecutionStatus::running) return;
  const AttemptKey key{record.ref, position};
  if (attempts_.contains(key)) return;
  const PendingAction& action = found->second;
  if (action.held) return;
  if (action.options.in_place && !execution.hosted) {
    execution.attempts_waiting.push_back(position);
    return;
  }
  const std::string handler = handler_of(action);
  const Catalog::Action* const registered = catalog_.find_action(handler);
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
  ActionTask task;
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
  task.in_place = action.options.in_place;
  task.generation = action.generation;
  task.seed = execution.fold.seed();
  hand_out(*registered, std::move(task));
}

void Shard::hand_out(const Catalog::Action& registered, ActionTask task) {
  task.id = next_attempt_++;
  if (task.timeout == 0) {
    task.timeout = registered.options.timeout.value_or(kActionTimeoutDefaultMs);
  }
  attempts_.emplace(AttemptKey{task.execution, task.position},
                    Attempt{task.id, task.attempt, registered.host, 0});
  host_queues_[registered.host].ready.push_back(std::move(task));
}

// At once, or when the commit under way is durable that lets it run.
void Shard::dispatch_once_durable(Execution& execution, const Position position) {
  if (is_durable(execution)) return dispatch(execution, position);
  // It is under way: by the time that commit is durable it may have ended, and wait to be recorded.
  if (attempts_.contains({execution.fold.ref(), position})) return;
  held_[static_cast<std::size_t>(execution.last_commit - held_.front().commit)].actions.push_back(
      position);
}

// Every action that is under way as far as the history tells, and whose outcome is not waiting already.
void Shard::dispatch_all(Execution& execution) {
  std::unordered_set<Position> finished;
  for (const std::deque<Work>* const waiting : {&execution.work, &execution.steps_ended}) {
    for (const Work& work : *waiting) {
      const auto* const outcome = std::get_if<AttemptFinished>(&work);
      if (outcome != nullptr) finished.insert(outcome->position);
    }
  }
  for (const auto& [position, action] : execution.fold.actions()) {
    if (!action.retry_at && !finished.contains(position))
      dispatch_once_durable(execution, position);
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
  while (!queue.ready.empty()) {
    if (in_flight_ >= options_.limits.actions_in_flight_max) return false;
    if (queue.capacity && queue.unanswered.size() >= *queue.capacity) return false;
    ActionTask task = std::move(queue.ready.front());
    queue.ready.pop_front();
    const AttemptKey key{task.execution, task.position};
    const auto attempt = attempts_.find(key);
    // It was given up while it waited.
    if (attempt == attempts_.end() || attempt->second.id != task.id) continue;
    attempt->second.handed_out = true;
    attempt->second.timeout = task.timeout;
    if (!queue.reports_begin) start_clock(key, attempt->second);
    if (queue.capacity) queue.unanswered.insert(task.id);
    ++in_flight_;
    ++counters_.actions_started;
    out_->actions.push_back(RunAction{host, std::move(task)});
    return true;
  }
  return false;
}

// Its time-out counts from now on.
void Shard::start_clock(const AttemptKey key, Attempt& attempt) {
  attempt.deadline = later(now_, attempt.timeout);
  deadlines_.emplace(attempt.deadline, key);
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
  if (attempt->second.handed_out) --in_flight_;
  attempts_.erase(attempt);
}

// Tells the handlers of an execution's attempts to stop, and forgets them: their answers are ignored.
void Shard::abandon_attempts(const ExecutionRef ref) {
  auto at = attempts_.lower_bound({ref, 0});
  while (at != attempts_.end() && at->first.first == ref) {
    const Attempt& attempt = at->second;
    if (attempt.handed_out) {
      out_->aborts.push_back(AbortAction{attempt.host, attempt.id});
    }
    const AttemptKey key = at->first;
    ++at;
    end_attempt(key);
  }
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
  finish_attempt(key, std::move(input.outcome));
}

void Shard::finish_attempt(const AttemptKey key, std::variant<Payload, Failure> outcome) {
  const auto [ref, position] = key;
  const int attempt = attempts_.at(key).attempt;
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
  if (ref == 0) return finish_detached_attempt(position, std::move(outcome));
  give(ref, AttemptFinished{ref, position, attempt, std::move(outcome)});
}

void Shard::expire_attempts() {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now_) {
    const AttemptKey key = deadlines_.begin()->second;
    const Attempt& attempt = attempts_.at(key);
    out_->aborts.push_back(AbortAction{attempt.host, attempt.id});
    Failure failure;
    failure.name = "TimeoutError";
    failure.code = "timeout";
    failure.message = fmt::format("attempt {} did not finish within its time-out", attempt.attempt);
    failure.failure_class = FailureClass::timeout;
    finish_attempt(key, std::move(failure));
  }
}

// ---- outside of any execution

void Shard::on(ActionRequested input) {
  const ExecuteActionRequest& action = input.action;
  if (catalog_.find_action(action.name) == nullptr) {
    const auto nearest = nearest_names(action.name, catalog_.action_names());
    return reply(input.request,
                 Error{ErrorCode::unknown_action,
                       fmt::format("No action '{}' is registered here{}.", action.name,
                                   nearest.empty() ? std::string{}
                                                   : fmt::format("; did you mean {}?",
                                                                 fmt::join(nearest, ", "))),
                       action.name});
  }
  std::string key = action.tenant;
  key.push_back('\0');
  key += action.idempotency_key;
  const std::string digest =
      digest_text(meeting_name(action.name) + '\0' + action.parameters.bytes);
  if (const auto found = detached_.find(key); found != detached_.end()) {
    if (found->second->parameters_digest != digest)
      return refuse_other_parameters(input.request, action);
    found->second->requests.push_back(input.request);
    return;
  }
  auto detached = std::make_unique<DetachedAction>();
  detached->map_key = key;
  detached->action = std::move(input.action);
  detached->parameters_digest = digest;
  detached->requests.push_back(input.request);
  detached->position = next_detached_--;
  detached->first_at = now_;
  out_->result_lookups.push_back(
      FindActionResult{detached->action.tenant, detached->action.idempotency_key});
  detached_positions_.emplace(detached->position, key);
  detached_.emplace(std::move(key), std::move(detached));
}

void Shard::refuse_other_parameters(const RequestId request, const ExecuteActionRequest& action) {
  reply(request, Error{ErrorCode::already_exists,
                       fmt::format("The idempotency key '{}' was used for another action or with "
                                   "other parameters. Use a key of its own for each call.",
                                   action.idempotency_key),
                       action.idempotency_key});
}

void Shard::on(ActionResultFound input) {
  const auto found = detached_.find(input.tenant + '\0' + input.user_key);
  if (found == detached_.end()) return;
  DetachedAction& detached = *found->second;
  detached.looking_up = false;
  if (!input.found) return fail_detached(detached.map_key, input.found.error());
  if (!*input.found) return try_detached(detached);
  const ActionResultRecord& recorded = **input.found;
  if (recorded.parameters_digest != detached.parameters_digest) {
    for (const RequestId request : detached.requests) {
      refuse_other_parameters(request, detached.action);
    }
    detached.requests.clear();
  } else if (recorded.succeeded) {
    detached.outcome = recorded.result;
  } else {
    detached.outcome = decode_failure(recorded.error_json);
  }
  finish_detached(detached.map_key);
}

void Shard::try_detached(DetachedAction& detached) {
  const Catalog::Action& registered = *catalog_.find_action(detached.action.name);
  ActionTask task;
  task.tenant = detached.action.tenant;
  task.execution_id = detached.action.execution_id;
  task.position = detached.position;
  task.name = detached.action.name;
  task.parameters = detached.action.parameters;
  task.attempt = detached.attempt;
  task.idempotency_key = detached.action.idempotency_key;
  task.event_id = detached.action.event_id;
  task.scheduled_at = detached.first_at;
  task.parameters_digest = detached.parameters_digest;
  hand_out(registered, std::move(task));
}

void Shard::finish_detached_attempt(const Position position,
                                    std::variant<Payload, Failure> outcome) {
  const auto known = detached_positions_.find(position);
  if (known == detached_positions_.end()) return;
  DetachedAction& detached = *detached_.at(known->second);
  if (const auto* const failure = std::get_if<Failure>(&outcome)) {
    const Catalog::Action* const registered = catalog_.find_action(detached.action.name);
    const RetryPolicy policy = registered->options.retry.value_or(RetryPolicy{});
    const auto delay = retry_delay(policy, *failure, detached.attempt, digest64(detached.map_key));
    if (delay) {
      ++detached.attempt;
      detached_retries_.emplace(later(now_, *delay), detached.map_key);
      return;
    }
  }
  detached.outcome = std::move(outcome);
  record_detached(detached);
}

void Shard::retry_detached() {
  while (!detached_retries_.empty() && detached_retries_.begin()->first <= now_) {
    const std::string key = detached_retries_.begin()->second;
    detached_retries_.erase(detached_retries_.begin());
    try_detached(*detached_.at(key));
  }
}

void Shard::record_detached(DetachedAction& detached) {
  ActionResultRecord result;
  result.tenant = detached.action.tenant;
  result.execution_id = detached.action.execution_id;
  result.action = detached.action.name;
  result.user_key = detached.action.idempotency_key;
  result.parameters_digest = detached.parameters_digest;
  result.attempts = detached.attempt;
  result.at = now_;
  if (const auto* const failure = std::get_if<Failure>(&*detached.outcome)) {
    result.succeeded = false;
    result.error_json = encode_failure(*failure);
  } else {
    result.result = std::get<Payload>(*detached.outcome);
  }
  Transition transition;
  transition.tenant = result.tenant;
  transition.results.push_back(std::move(result));
  Held held;
  held.commit = next_commit_++;
  held.detached = detached.map_key;
  out_->commits.push_back(
      CommitRequest{options_.stream, generation_, held.commit, std::move(transition)});
  held_.push_back(std::move(held));
}

void Shard::finish_detached(const std::string& key) {
  const auto found = detached_.find(key);
  if (found == detached_.end()) return;
  const DetachedAction& detached = *found->second;
  for (const RequestId request : detached.requests) {
    if (const auto* const failure = std::get_if<Failure>(&*detached.outcome)) {
      const bool misfit = failure->failure_class == FailureClass::validation;
      reply(request, Error{misfit ? ErrorCode::validation : ErrorCode::action_failed,
                           failure->message, encode_failure(*failure)});
    } else {
      out_->replies.push_back(Reply{request, std::get<Payload>(*detached.outcome)});
    }
  }
  detached_positions_.erase(detached.position);
  detached_.erase(found);
}

void Shard::fail_detached(const std::string& key, const Error& error) {
  const auto found = detached_.find(key);
  if (found == detached_.end()) return;
  for (const RequestId request : found->second->requests) reply(request, error);
  detached_positions_.erase(found->second->position);
  detached_.erase(found);
}

}  // namespace pawl
