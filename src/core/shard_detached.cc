// Actions outside of any execution, and those of executions that have a key of their caller's: one for each
// tenant and key, with one outcome.

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <limits>
#include <set>

#include "base/digest.h"
#include "base/duration.h"
#include "base/name.h"
#include "core/retry.h"
#include "core/shard.h"
#include "core/shard_execution.h"
#include "model/failure_codec.h"

namespace pawl {

namespace {

constexpr DurationMs kKeyedRetryMs = 1'000;  // after the store could not be asked, or written

std::string digest_of_call(const std::string& name, const Payload& parameters) {
  return digest_text(meeting_name(name) + '\0' + parameters.bytes);
}

Failure other_parameters(const std::string& key) {
  Failure failure;
  failure.name = "AlreadyExistsError";
  failure.code = to_string(ErrorCode::already_exists);
  failure.message = fmt::format(
      "The idempotency key '{}' was used for another action or with other parameters. Use a key of "
      "its own "
      "for each call.",
      key);
  failure.failure_class = FailureClass::permanent;
  return failure;
}

}  // namespace

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
  const std::string digest = digest_of_call(action.name, action.parameters);
  if (const auto found = detached_.find(key); found != detached_.end()) {
    if (found->second->parameters_digest != digest)
      return refuse_other_parameters(input.request, action);
    found->second->requests.push_back(input.request);
    return;
  }
  add_detached(std::move(key), std::move(input.action), digest).requests.push_back(input.request);
}

Shard::DetachedAction& Shard::add_detached(std::string key, ExecuteActionRequest action,
                                           std::string digest) {
  auto detached = std::make_unique<DetachedAction>();
  detached->map_key = key;
  detached->action = std::move(action);
  detached->parameters_digest = std::move(digest);
  detached->position = next_detached_--;
  detached->first_at = now_;
  out_->result_lookups.push_back(
      FindActionResult{detached->action.tenant, detached->action.idempotency_key});
  detached_positions_.emplace(detached->position, key);
  return *detached_.emplace(std::move(key), std::move(detached)).first->second;
}

void Shard::refuse_other_parameters(const RequestId request, const ExecuteActionRequest& action) {
  reply(request, Error{ErrorCode::already_exists, other_parameters(action.idempotency_key).message,
                       action.idempotency_key});
}

void Shard::on(ActionResultFound input) {
  const auto found = detached_.find(input.tenant + '\0' + input.user_key);
  if (found == detached_.end()) return;
  DetachedAction& detached = *found->second;
  detached.looking_up = false;
  if (!input.found) return fail_detached(detached.map_key, input.found.error());
  if (!*input.found) {
    if (detached.refused) {
      const Error refused = *detached.refused;
      return fail_detached(detached.map_key, refused);
    }
    if (is_wanted(detached)) return try_detached(detached);
    return forget_detached(detached);
  }
  const ActionResultRecord& recorded = **input.found;
  detached.attempt = recorded.attempts;
  if (recorded.parameters_digest != detached.parameters_digest) {
    for (const RequestId request : detached.requests) {
      refuse_other_parameters(request, detached.action);
    }
    detached.requests.clear();
    detached.outcome = other_parameters(detached.action.idempotency_key);
  } else if (recorded.succeeded) {
    detached.outcome = recorded.result;
  } else {
    detached.outcome = decode_failure(recorded.error_json);
  }
  finish_detached(detached.map_key);
}

void Shard::try_detached(DetachedAction& detached) {
  if (put_to_rest(detached)) return;
  limit_detached(detached);
  const Catalog::Action& registered = *catalog_.find_known_action(detached.action.name);
  const ActionOptions& options = detached.options;
  auto made = std::make_unique<ActionTask>();
  ActionTask& task = *made;
  task.tenant = detached.action.tenant;
  task.execution_id = detached.action.execution_id;
  task.position = detached.position;
  task.name = detached.action.name;
  task.parameters = detached.action.parameters;
  task.attempt = detached.attempt;
  task.idempotency_key = detached.action.idempotency_key;
  task.event_id = detached.action.event_id;
  task.correlation_id = detached.correlation_id;
  task.timeout = options.timeout.value_or(0);
  task.heartbeat_timeout = options.heartbeat_timeout.value_or(0);
  task.progress = detached.progress;
  task.scheduled_at = detached.first_at;
  task.parameters_digest = detached.parameters_digest;
  hand_out(registered, std::move(made), registered.host);
}

void Shard::finish_detached_attempt(const Position position, std::variant<Payload, Failure> outcome,
                                    Payload progress) {
  const auto known = detached_positions_.find(position);
  if (known == detached_positions_.end()) return;
  DetachedAction& detached = *detached_.at(known->second);
  if (const auto* const failure = std::get_if<Failure>(&outcome)) {
    const Catalog::Action* const registered = catalog_.find_known_action(detached.action.name);
    RetryPolicy policy = registered->options.retry.value_or(RetryPolicy{});
    if (detached.options.retry) policy = *detached.options.retry;
    const auto delay = retry_delay(policy, *failure, detached.attempt, digest64(detached.map_key));
    const DurationMs total =
        detached.options.total_timeout.value_or(registered->options.total_timeout.value_or(0));
    const bool in_time =
        total == 0 || (delay && later(now_, *delay) < later(detached.first_at, total));
    if (delay && in_time) {
      ++detached.attempt;
      detached.last_failure = *failure;
      if (!progress.is_none()) detached.progress = std::move(progress);
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
  held.detached = detached.map_key;
  commit(streams_.back(), std::move(transition), std::move(held));
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
  for (const auto& [execution, position] : detached.waiting) {
    keyed_.erase({execution, position});
    keyed_ended_.push_back(AttemptFinished{execution, position, detached.attempt, *detached.outcome,
                                           AttemptFinished::Of::action});
  }
  forget_detached(detached);
}

// ---- by an execution, under a key of its caller's

void Shard::ask_keyed(Execution& execution, const Position position, const PendingAction& action) {
  const AttemptKey waiter{execution.fold.ref(), position};
  const auto ended = [waiter](const AttemptFinished& known) {
    return AttemptKey{known.execution, known.position} == waiter;
  };
  if (const auto asked = keyed_.find(waiter); asked != keyed_.end()) {
    // It may have been paused meanwhile.
    detached_.at(asked->second)->resting.erase(waiter);
    return;
  }
  if (std::any_of(keyed_ended_.begin(), keyed_ended_.end(), ended)) return;
  const ExecutionRecord& record = execution.fold.record();
  const std::string& user_key = action.options.idempotency_key;
  const std::string key = record.tenant + '\0' + user_key;
  const std::string digest = digest_of_call(action.name, action.parameters);
  const auto found = detached_.find(key);
  if (found != detached_.end() && found->second->parameters_digest != digest) {
    keyed_ended_.push_back(AttemptFinished{waiter.first, position, 1, other_parameters(user_key),
                                           AttemptFinished::Of::action});
    return;
  }
  if (found != detached_.end()) {
    found->second->waiting.push_back(waiter);
  } else {
    ExecuteActionRequest asked;
    asked.tenant = record.tenant;
    asked.execution_id = record.execution_id;
    asked.event_id = execution.fold.event_id_of(action.cause);
    asked.idempotency_key = user_key;
    asked.name = action.name;
    asked.parameters = action.parameters;
    DetachedAction& detached = add_detached(key, std::move(asked), digest);
    detached.options = action.options;
    if (action.retries) {
      const Catalog::Action* const registered = catalog_.find_known_action(action.name);
      if (!detached.options.retry) detached.options.retry = registered->options.retry;
      RetryPolicy& policy =
          detached.options.retry ? *detached.options.retry : detached.options.retry.emplace();
      policy.max_attempts = 1 + *action.retries;
      policy.non_retryable.clear();
    }
    detached.correlation_id = record.correlation_id;
    detached.waiting.push_back(waiter);
  }
  keyed_.emplace(waiter, key);
}

// Outcomes that were made durable meanwhile, or were there.
void Shard::hand_keyed() {
  while (!keyed_ended_.empty()) {
    AttemptFinished finished = std::move(keyed_ended_.front());
    keyed_ended_.pop_front();
    const ExecutionRef ref = finished.execution;
    give(ref, std::move(finished));
  }
}

void Shard::ask_keyed_again() {
  while (!keyed_retries_.empty() && keyed_retries_.begin()->first <= now_) {
    const auto [ref, position] = keyed_retries_.begin()->second;
    keyed_retries_.erase(keyed_retries_.begin());
    if (Execution* const execution = find(ref)) {
      dispatch_once_durable(*execution, position);
    } else {
      load(ref);
    }
  }
}

// None of that execution's actions waits any more. What nobody waits for is called off.
void Shard::leave_keyed(const ExecutionRef ref) {
  auto at = keyed_.lower_bound({ref, std::numeric_limits<Position>::min()});
  while (at != keyed_.end() && at->first.first == ref) leave_keyed(at++);
}

void Shard::leave_keyed(const std::map<AttemptKey, std::string>::iterator at) {
  DetachedAction& detached = *detached_.at(at->second);
  std::erase(detached.waiting, at->first);
  detached.resting.erase(at->first);
  keyed_.erase(at);
  // What is being looked up, or recorded, comes to its end by itself.
  if (is_wanted(detached) || detached.looking_up || detached.outcome) return;
  call_off({0, detached.position});
  std::erase_if(detached_retries_,
                [&](const auto& retry) { return retry.second == detached.map_key; });
  forget_detached(detached);
}

// It is paused: what is out for it runs on to its end, and no attempt begins for its sake.
void Shard::rest_keyed(const ExecutionRef ref) {
  std::set<std::string> shared;
  auto at = keyed_.lower_bound({ref, std::numeric_limits<Position>::min()});
  for (; at != keyed_.end() && at->first.first == ref; ++at) {
    detached_.at(at->second)->resting.insert(at->first);
    shared.insert(at->second);
  }
  for (const std::string& key : shared) {
    const DetachedAction& detached = *detached_.at(key);
    const auto attempt = attempts_.find({0, detached.position});
    if (attempt != attempts_.end() && !attempt->second.handed_out) put_to_rest(detached);
  }
}

// True: nobody who wants it can go on, and it is gone. They ask again when they are resumed.
bool Shard::put_to_rest(const DetachedAction& detached) {
  if (!detached.requests.empty() || detached.waiting.empty()) return false;
  if (detached.resting.size() < detached.waiting.size()) return false;
  for (const AttemptKey& waiter : detached.waiting) keyed_.erase(waiter);
  end_attempt({0, detached.position});
  forget_detached(detached);
  return true;
}

bool Shard::is_wanted(const DetachedAction& detached) {
  return !detached.requests.empty() || !detached.waiting.empty();
}

void Shard::forget_detached(const DetachedAction& detached) {
  lift_limit({0, detached.position});
  detached_positions_.erase(detached.position);
  detached_.erase(std::string(detached.map_key));
}

// Of two workers that ran it under the same key, the first one's outcome counts.
void Shard::look_again(const std::string& key, const Error& error) {
  const auto found = detached_.find(key);
  if (found == detached_.end()) return;
  DetachedAction& detached = *found->second;
  detached.outcome.reset();
  detached.looking_up = true;
  detached.refused = error;
  out_->result_lookups.push_back(
      FindActionResult{detached.action.tenant, detached.action.idempotency_key});
}

void Shard::fail_detached(const std::string& key, const Error& error) {
  const auto found = detached_.find(key);
  if (found == detached_.end()) return;
  for (const RequestId request : found->second->requests) reply(request, error);
  // Executions are told of outcomes only: they ask again.
  for (const AttemptKey& waiter : found->second->waiting) {
    keyed_.erase(waiter);
    keyed_retries_.emplace(later(now_, kKeyedRetryMs), waiter);
  }
  forget_detached(*found->second);
}

}  // namespace pawl
