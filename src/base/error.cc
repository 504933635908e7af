#include "pawl/error.h"

#include <utility>

namespace pawl {

std::string_view to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument: return "invalid_argument";
    case ErrorCode::payload_refused: return "payload_refused";
    case ErrorCode::payload_too_large: return "payload_too_large";
    case ErrorCode::unknown_workflow: return "unknown_workflow";
    case ErrorCode::unknown_execution: return "unknown_execution";
    case ErrorCode::execution_ended: return "execution_ended";
    case ErrorCode::already_exists: return "already_exists";
    case ErrorCode::unknown_action: return "unknown_action";
    case ErrorCode::validation: return "validation";
    case ErrorCode::overloaded: return "overloaded";
    case ErrorCode::timeout: return "timeout";
    case ErrorCode::store_unavailable: return "store_unavailable";
    case ErrorCode::store_in_use: return "store_in_use";
    case ErrorCode::store_invalid: return "store_invalid";
    case ErrorCode::outcome_unknown: return "outcome_unknown";
    case ErrorCode::closed: return "closed";
    case ErrorCode::not_deterministic: return "not_deterministic";
    case ErrorCode::action_failed: return "action_failed";
    case ErrorCode::internal: return "internal";
    case ErrorCode::wrong_status: return "wrong_status";
    case ErrorCode::lock_timeout: return "lock_timeout";
    case ErrorCode::lock_lost: return "lock_lost";
  }
  return "unknown_error";
}

std::string_view to_string(FailureClass failure_class) {
  switch (failure_class) {
    case FailureClass::transient: return "transient";
    case FailureClass::contention: return "contention";
    case FailureClass::external: return "external";
    case FailureClass::timeout: return "timeout";
    case FailureClass::permanent: return "permanent";
    case FailureClass::validation: return "validation";
    case FailureClass::consistency: return "consistency";
  }
  return "transient";
}

bool is_retryable(FailureClass failure_class) {
  switch (failure_class) {
    case FailureClass::transient:
    case FailureClass::contention:
    case FailureClass::external:
    case FailureClass::timeout: return true;
    case FailureClass::permanent:
    case FailureClass::validation:
    case FailureClass::consistency: return false;
  }
  return true;
}

ErrorException::ErrorException(Error error)
    : std::runtime_error(error.message), error_(std::move(error)) {}

FailureException::FailureException(Failure failure)
    : std::runtime_error(failure.message), failure_(std::move(failure)) {}

void throw_exception_from_error(const Error& error, const boost::source_location&) {
  throw ErrorException(error);
}

void throw_exception_from_error(const Failure& failure, const boost::source_location&) {
  throw FailureException(failure);
}

}  // namespace pawl
