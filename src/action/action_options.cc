#include <fmt/format.h>

#include <cmath>
#include <stdexcept>

#include "pawl/action.h"

namespace pawl {

ActionOptions action_options(const RunOptions& options) {
  const auto refuse = [](bool wrong, const char* what) {
    if (wrong) throw std::invalid_argument(what);
  };
  const RetryOptions& given = options.retry;
  RetryPolicy policy;
  if (given.max_attempts) {
    policy.max_attempts = *given.max_attempts;
    refuse(policy.max_attempts < 1 || policy.max_attempts > 1'000'000,
           "retry.max_attempts must be 1 to 1,000,000");
  }
  if (given.initial_interval) {
    policy.initial_interval = given.initial_interval->count();
    refuse(policy.initial_interval < 0, "retry.initial_interval must not be negative");
  }
  if (given.backoff) {
    policy.backoff = *given.backoff;
    refuse(!(policy.backoff >= 1) || std::isinf(policy.backoff),
           "retry.backoff must be 1 or more, and finite");
  }
  if (given.max_interval) {
    policy.max_interval = given.max_interval->count();
    refuse(policy.max_interval < 0, "retry.max_interval must not be negative");
  }
  if (given.jitter) {
    policy.jitter = *given.jitter;
    refuse(!(policy.jitter >= 0 && policy.jitter <= 1), "retry.jitter must be 0 to 1");
  }
  for (const std::string_view name : given.non_retryable) {
    if (!name.empty()) policy.non_retryable.emplace_back(name);
  }
  ActionOptions result;
  if (policy != RetryPolicy{} || given.max_attempts || given.initial_interval || given.backoff ||
      given.max_interval || given.jitter) {
    result.retry = std::move(policy);
  }
  const auto duration = [&refuse](const std::optional<std::chrono::milliseconds>& of,
                                  const char* const what) -> std::optional<DurationMs> {
    if (!of) return std::nullopt;
    refuse(of->count() <= 0, what);
    return of->count();
  };
  result.timeout = duration(options.timeout, "timeout must be more than nothing");
  result.total_timeout = duration(options.total_timeout, "total_timeout must be more than nothing");
  result.heartbeat_timeout =
      duration(options.heartbeat_timeout, "heartbeat_timeout must be more than nothing");
  result.fail_after = duration(options.fail_after, "fail_after must be more than nothing");
  result.idempotency_key = options.idempotency_key;
  refuse(options.concurrency_max && *options.concurrency_max < 1,
         "concurrency_max must be 1 or more");
  result.concurrency_max = options.concurrency_max;
  refuse(options.rate_limit && (options.rate_limit->max < 1 || options.rate_limit->per < 1),
         "rate_limit must allow 1 or more within 1 ms or more");
  result.rate_limit = options.rate_limit;
  return result;
}

namespace detail {

Failure failure_of(const Error& error) {
  Failure failure;
  failure.name = "pawl::Error";
  failure.message = error.message;
  failure.code = std::string(to_string(error.code));
  switch (error.code) {
    case ErrorCode::overloaded: failure.failure_class = FailureClass::contention; break;
    case ErrorCode::timeout: failure.failure_class = FailureClass::timeout; break;
    case ErrorCode::store_unavailable:
    case ErrorCode::store_in_use:
    case ErrorCode::outcome_unknown:
    case ErrorCode::closed:
    case ErrorCode::lock_timeout:
    case ErrorCode::lock_lost:
    case ErrorCode::action_failed:
    case ErrorCode::internal: failure.failure_class = FailureClass::transient; break;
    case ErrorCode::invalid_argument:
    case ErrorCode::payload_refused:
    case ErrorCode::payload_too_large:
    case ErrorCode::validation: failure.failure_class = FailureClass::validation; break;
    case ErrorCode::unknown_workflow:
    case ErrorCode::unknown_execution:
    case ErrorCode::execution_ended:
    case ErrorCode::already_exists:
    case ErrorCode::unknown_action:
    case ErrorCode::store_invalid:
    case ErrorCode::wrong_status:
    case ErrorCode::not_deterministic: failure.failure_class = FailureClass::permanent; break;
  }
  return failure;
}

Failure validation_failure(std::string message) {
  return Failure{.name = "ValidationError",
                 .message = std::move(message),
                 .failure_class = FailureClass::validation};
}

}  // namespace detail

}  // namespace pawl
