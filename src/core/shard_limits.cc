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

Failure took_too_long(const DurationMs total) {
  Failure failure;
  failure.name = "TimeoutError";
  failure.code = "total_timeout";
  failure.message =
      fmt::format("the action did not come to an end within its time-out of {} over all attempts",
                  format_duration_ms(total));
  failure.failure_class = FailureClass::timeout;
  return failure;
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
  const std::string handler = handler_of(action);
  const Catalog::Action* const registered = catalog_.find_action(handler);
  std::optional<DurationMs> total = action.options.total_timeout;
  if (!total && registered != nullptr) total = registered->options.total_timeout;
  const std::optional<DurationMs>& wait_max = action.options.fail_after;
  if (total && now_ >= later(action.scheduled_at, *total)) {
    Failure failure = took_too_long(*total);
    if (!action.last_failure.is_none()) {
      failure.causes.push_back(decode_failure(action.last_failure.bytes));
    }
    finished.outcome = as_recorded(failure);
  } else if (registered == nullptr && wait_max && now_ >= later(action.scheduled_at, *wait_max)) {
    finished.outcome = not_registered(handler, *wait_max);
  } else {
    limit(key, action, registered);
    return false;
  }
  finished.of = AttemptFinished::Of::action;
  finished.attempt = action.attempts_failed;
  if (const auto attempt = attempts_.find(key); attempt != attempts_.end()) {
    ++finished.attempt;
    if (attempt->second.handed_out) {
      out_->aborts.push_back(AbortAction{attempt->second.host, attempt->second.id});
    }
    end_attempt(key);
  }
  if (const auto keyed = keyed_.find(key); keyed != keyed_.end()) leave_keyed(keyed);
  return true;
}

}  // namespace pawl
