#pragma once

#include <boost/system/result.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace pawl {

// What a call into Pawl can refuse with. The number of each is permanent: it crosses process and
// language borders.
enum class ErrorCode : int {
  invalid_argument = 1,    // a name, id, option or duration that can't be taken
  payload_refused = 2,     // a value that JSON can't carry; the message has the path to it
  payload_too_large = 3,   // over Limits::payload_bytes_max
  unknown_workflow = 4,    // no definition of that name (and version) is registered here
  unknown_execution = 5,   // no such execution in this tenant; a wrong tenant gets the same answer
  execution_ended = 6,     // completed, failed, cancelled or terminated: takes no more events
  already_exists = 7,      // same id with another input; a second definition under one name
  unknown_action = 8,      // nobody registered an action of that name
  validation = 9,          // parameters that don't fit their declaration
  overloaded = 10,         // a bounded queue is full: try again later
  timeout = 11,            // the caller's own wait ran out; what was asked for may still happen
  store_unavailable = 12,  // the database refused: disk full, I/O error, lock lost
  store_in_use = 13,       // another engine has the file open
  store_invalid = 14,      // not a database, not Pawl's, or from a newer version
  outcome_unknown =
      15,       // a commit failed in a way that leaves its effect open; look before repeating
  closed = 16,  // the runtime is closing or closed
  not_deterministic = 17,  // workflow code departed from its history
  action_failed = 18,      // the action ran and failed; failure() has what it threw
  internal = 19,           // an assertion of ours: please report it
  wrong_status = 20,       // the execution's status does not allow it; the message names it
  lock_timeout = 21,       // others had the lock for as long as it was waited for
  lock_lost = 22,          // the lock is not held any more
};

// The permanent, readable name of a code: "unknown_execution".
std::string_view to_string(ErrorCode code);

// How a failed attempt is treated. The first four are worth another attempt.
enum class FailureClass : int {
  transient = 0,
  contention = 1,
  external = 2,
  timeout = 3,
  permanent = 4,
  validation = 5,
  consistency = 6,
};

std::string_view to_string(FailureClass failure_class);
bool is_retryable(FailureClass failure_class);

// What an action or a workflow threw, as it is recorded and as other code sees it: class identity
// does not survive, these fields do. `details_json` is JSON text or empty.
struct Failure {
  std::string name = "Error";
  std::string message;
  std::string stack;
  std::string code;
  std::string details_json;
  std::vector<Failure> causes;
  FailureClass failure_class = FailureClass::transient;

  friend bool operator==(const Failure&, const Failure&) = default;
};

// The refusal of a call. `message` says what was wrong, where, and what to do.
struct Error {
  ErrorCode code = ErrorCode::internal;
  std::string message;
  // What the refusal is about beyond the message, where a program needs it: the id of an event
  // whose reply timed out. Empty otherwise.
  std::string subject;
};

// What `value()` throws on an error, for code that prefers exceptions. what() is the message.
class ErrorException : public std::runtime_error {
 public:
  explicit ErrorException(Error error);
  const Error& error() const { return error_; }

 private:
  Error error_;
};

// The same for a failure. A handler may throw it to say how its failure is to be treated; a workflow
// that lets it through fails with that very failure.
class FailureException : public std::runtime_error {
 public:
  explicit FailureException(Failure failure);
  const Failure& failure() const { return failure_; }

 private:
  Failure failure_;
};

// A value or the reason why there is none. Copyable if T is; `*r`, `r->`, `r.error()`,
// `if (r)`. `value()` on an error throws ErrorException or FailureException.
template <class T, class E = Error>
using Result = boost::system::result<T, E>;

[[noreturn]] void throw_exception_from_error(const Error& error, const boost::source_location&);
[[noreturn]] void throw_exception_from_error(const Failure& failure, const boost::source_location&);

}  // namespace pawl
