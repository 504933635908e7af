// How long an action that is open may take, over all its attempts and while nobody has registered it.
//
// Both times follow from the history, so that they count on over a restart.

#include <fmt/format.h>
#include <algorithm>
#include <limits>

#include "base/duration.h"
#include "core/shard.h"
#include "core/shard_execution.h"
#include "model/failure_codec.h"

namespace pawl {

namespace {

// `last`: how the attempt before went wrong, if there was one.
Failure took_too_long(const DurationMs total, const std::optional<Failure>& last) {
  Failure failure;
  failure.name = "TimeoutError";
  failure.code = "total_timeout";
  failure.message =
      fmt::format("the action did not come to an end within its time-out of {} over all attempts",
                  format_duration_ms(total));
  failure.failure_class = FailureClass::timeout;
  if (last) failure.causes.push_back(*last);
  return as_recorded(failure);
}

Failure not_registered(const std::string& handler, const DurationMs waited) {
  Failure failure;
  failure.name = "UnknownActionError";
  failure.code = to_string(ErrorCode::unknown_action);
  failure.message = fmt::format("nobody has registered the action '{}' within {} (failAfter)",
                                handler, format_duration_ms(waited));
  failure.failure_class = FailureClass::permanent;
  return failure;
}

}  // namespace

// Until it has ended: lift_limit().
void Shard::limit(const AttemptKey key, const PendingAction& action,
                  const Catalog::Action* const registered) {
  std::optional<DurationMs> total = action.options.total_timeout;
  if (!total && registered != nullptr) total = registered->options.total_timeout;
  ActionLimit limit;
  if (total) limit.ends_at = later(action.scheduled_at, *total);
  if (registered == nullptr && action.options.fail_after) {
    limit.registered_by = later(action.scheduled_at, *action.options.fail_after);
  }
  lift_limit(key);
  if (limit.ends_at == 0 && limit.registered_by == 0) return;
  limits_due_.emplace(limit.due(), key);
  limits_.emplace(key, limit);
}

void Shard::lift_limit(const AttemptKey key) {
  const auto limit = limits_.find(key);
  if (limit == limits_.end()) return;
  limits_due_.erase({limit->second.due(), key});
  limits_.erase(limit);
}

void Shard::lift_limits(const ExecutionRef ref) {
  auto at = limits_.lower_bound({ref, 0});
  while (at != limits_.end() && at->first.first == ref) lift_limit((at++)->first);
}

// The outcome is made where the action is, which may have to be loaded.
void Shard::enforce_limits() {
  while (!limits_due_.empty() && limits_due_.begin()->first <= now_) {
    const AttemptKey key = limits_due_.begin()->second;
    const auto [ref, position] = key;
    lift_limit(key);
    if (ref == 0) {
      end_detached_by_limit(position);
      continue;
    }
    AttemptFinished finished;
    finished.execution = ref;
    finished.position = position;
    finished.of = AttemptFinished::Of::limit;
    give(ref, std::move(finished));
  }
}

// Whether the time of an action has come to its end; then the outcome is that.
bool Shard::ends_by_limit(Execution& execution, AttemptFinished& finished) {
  const auto found = execution.fold.actions().find(finished.position);
  if (found == execution.fold.actions().end() || found->second.held) return false;
  // Its time goes on when it does.
  if (execution.fold.record().status != ExecutionStatus::running) return false;
  const PendingAction& action = found->second;
  const AttemptKey key{execution.fold.ref(), finished.position};
  const auto keyed = keyed_.find(key);
  const DetachedAction* const shared =
      keyed == keyed_.end() ? nullptr : detached_.at(keyed->second).get();
  const std::string handler = handler_of(action);
  const Catalog::Action* const registered = catalog_.find_action(handler);
  std::optional<DurationMs> total = action.options.total_timeout;
  if (!total && registered != nullptr) total = registered->options.total_timeout;
  const std::optional<DurationMs>& wait_max = action.options.fail_after;
  if (total && now_ >= later(action.scheduled_at, *total)) {
    std::optional<Failure> last;
    if (!action.last_failure.is_none()) last = decode_failure(action.last_failure.bytes);
    if (shared != nullptr) last = shared->last_failure;
    finished.outcome = took_too_long(*total, last);
  } else if (registered == nullptr && wait_max && now_ >= later(action.scheduled_at, *wait_max)) {
    finished.outcome = not_registered(handler, *wait_max);
  } else {
    // Its handler was registered meanwhile, by when this one waited for it to be loaded.
    if (action.retry_at || outcome_waits(execution, finished.position)) {
      limit(key, action, registered);
    } else {
      dispatch_once_durable(execution, finished.position);
    }
    return false;
  }
  finished.of = AttemptFinished::Of::action;
  finished.attempt = action.attempts_failed + (action.deferred ? 1 : 0);
  if (shared != nullptr && !shared->looking_up) finished.attempt = shared->attempt;
  if (attempts_.contains(key)) {
    ++finished.attempt;
    call_off(key);
  }
  if (keyed != keyed_.end()) leave_keyed(keyed);
  return true;
}

// By how it was registered. What a call says ends only its own waiting.
void Shard::limit_detached(const DetachedAction& detached) {
  const auto total = catalog_.find_known_action(detached.action.name)->options.total_timeout;
  const AttemptKey key{0, detached.position};
  if (!total || detached.options.total_timeout || limits_.contains(key)) return;
  const ActionLimit limit{later(detached.first_at, *total), 0};
  limits_due_.emplace(limit.due(), key);
  limits_.emplace(key, limit);
}

void Shard::end_detached_by_limit(const Position position) {
  DetachedAction& detached = *detached_.at(detached_positions_.at(position));
  const auto total = catalog_.find_known_action(detached.action.name)->options.total_timeout;
  // It may have been registered anew meanwhile, without one.
  if (detached.outcome || !total) return;
  call_off({0, position});
  std::erase_if(detached_retries_,
                [&](const auto& retry) { return retry.second == detached.map_key; });
  detached.outcome = took_too_long(*total, detached.last_failure);
  record_detached(detached);
}

}  // namespace pawl
