#include "model/failure_from_exception.h"

#include <cxxabi.h>

#include <boost/core/demangle.hpp>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <typeinfo>
#include <utility>

namespace pawl {

namespace {

constexpr int kNestingMax = 16;

FailureClass class_of(const std::error_code& code) {
  using std::errc;
  const std::error_condition condition = code.default_error_condition();
  const auto is_one_of = [&](auto... each) { return ((condition == each) || ...); };
  if (is_one_of(errc::timed_out, errc::stream_timeout)) return FailureClass::timeout;
  if (is_one_of(errc::device_or_resource_busy, errc::resource_deadlock_would_occur,
                errc::text_file_busy, errc::no_lock_available)) {
    return FailureClass::contention;
  }
  if (is_one_of(errc::connection_refused, errc::connection_reset, errc::connection_aborted,
                errc::host_unreachable, errc::network_down, errc::network_reset,
                errc::network_unreachable, errc::not_connected, errc::broken_pipe)) {
    return FailureClass::external;
  }
  if (is_one_of(errc::no_such_file_or_directory, errc::permission_denied,
                errc::operation_not_permitted, errc::invalid_argument, errc::not_a_directory,
                errc::is_a_directory, errc::file_exists, errc::filename_too_long,
                errc::function_not_supported, errc::operation_not_supported, errc::not_supported,
                errc::read_only_file_system, errc::bad_file_descriptor, errc::bad_address,
                errc::argument_out_of_domain, errc::result_out_of_range)) {
    return FailureClass::permanent;
  }
  return FailureClass::transient;
}

Failure failure_from(const std::exception& thrown, int depth) {
  if (const auto* failure = dynamic_cast<const FailureException*>(&thrown)) {
    return failure->failure();
  }
  Failure failure;
  failure.name = boost::core::demangle(typeid(thrown).name());
  failure.message = thrown.what();
  if (const auto* refusal = dynamic_cast<const ErrorException*>(&thrown)) {
    failure.code = std::string(to_string(refusal->error().code));
    const ErrorCode code = refusal->error().code;
    if (code == ErrorCode::validation || code == ErrorCode::payload_refused ||
        code == ErrorCode::invalid_argument || code == ErrorCode::payload_too_large) {
      failure.failure_class = FailureClass::validation;
    }
  } else if (const auto* system = dynamic_cast<const std::system_error*>(&thrown)) {
    failure.code = std::string(system->code().category().name()) + ":" +
                   std::to_string(system->code().value());
    failure.failure_class = class_of(system->code());
  } else if (dynamic_cast<const std::invalid_argument*>(&thrown) != nullptr ||
             dynamic_cast<const std::domain_error*>(&thrown) != nullptr ||
             dynamic_cast<const std::length_error*>(&thrown) != nullptr ||
             dynamic_cast<const std::out_of_range*>(&thrown) != nullptr) {
    failure.failure_class = FailureClass::permanent;
  }
  const auto* outer = dynamic_cast<const std::nested_exception*>(&thrown);
  if (outer != nullptr && outer->nested_ptr() && depth < kNestingMax) {
    try {
      outer->rethrow_nested();
    } catch (const std::exception& inner) {
      failure.causes.push_back(failure_from(inner, depth + 1));
    } catch (...) {
      failure.causes.push_back(failure_from_current_exception());
    }
  }
  return failure;
}

}  // namespace

Failure failure_from_current_exception() {
  try {
    throw;
  } catch (const std::exception& thrown) {
    return failure_from(thrown, 0);
  } catch (const Failure& thrown) {
    return thrown;
  } catch (const std::string& thrown) {
    return Failure{.name = "std::string", .message = thrown};
  } catch (const char* thrown) {
    return Failure{.name = "const char*", .message = thrown};
  } catch (...) {
    const std::type_info* type = abi::__cxa_current_exception_type();
    Failure failure;
    if (type != nullptr) failure.name = boost::core::demangle(type->name());
    failure.message = "an exception of type " + failure.name;
    return failure;
  }
}

}  // namespace pawl
