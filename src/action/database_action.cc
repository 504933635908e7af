#include "pawl/database_action.h"

#include <fmt/format.h>

#include <stop_token>
#include <utility>

#include "model/failure_from_exception.h"
#include "model/limit_checks.h"

namespace pawl {

namespace {

Failure keeps_no_outcomes() {
  return Failure{.name = "SqlError",
                 .message = "outcomes of actions are not kept through sessions of this database",
                 .code = "outcomes_not_kept",
                 .failure_class = FailureClass::permanent};
}

// What the handler came to, as far as it can be kept.
std::variant<Payload, Failure> outcome_of_work(const TransactionWork& work,
                                               Transaction& transaction,
                                               const ActionContext& context) {
  std::variant<Payload, Failure> outcome;
  try {
    outcome = work(transaction);
  } catch (...) {
    return failure_from_current_exception();
  }
  if (std::exchange(*context.link.deferred, false)) {
    return Failure{
        .message = fmt::format("'{}' is a database action, whose outcome is committed with what it "
                               "writes: it can't be completed from elsewhere",
                               context.action),
        .failure_class = FailureClass::permanent};
  }
  if (const auto* const result = std::get_if<Payload>(&outcome)) {
    Limits limits;
    limits.payload_bytes_max = context.link.payload_bytes_max;
    if (const auto refused = check_payload("result", *result, limits)) {
      return detail::validation_failure("the result can't be recorded: " + refused->message);
    }
  }
  return outcome;
}

}  // namespace

Failure attempt_given_up() {
  return Failure{.name = "Aborted",
                 .message = "the attempt is no longer wanted: what it wrote is rolled back",
                 .code = "aborted"};
}

SqlResult<Payload> SqlSession::commit_outcome(const ActionTask&, const Payload&) {
  return keeps_no_outcomes();
}

SqlResult<std::optional<Payload>> SqlSession::find_outcome(const ActionTask&) {
  return keeps_no_outcomes();
}

std::variant<Payload, Failure> Database::attempt(const DatabaseAttempt& attempt,
                                                 const TransactionWork& work) {
  const ActionTask& task = attempt.task;
  auto session = connect(SessionUse::actions);
  if (!session) return session.error();
  SqlSession& sql = **session;
  const std::stop_callback on_stop(attempt.stop, [&sql] { sql.break_off(); });
  if (task.attempt > 1) {
    auto before = sql.find_outcome(task);
    if (!before) return before.error();
    if (*before) return std::move(**before);
  }
  if (const auto begun = sql.begin(attempt.isolation); !begun) return begun.error();
  Transaction transaction(sql);
  std::variant<Payload, Failure> outcome = work(transaction);
  if (attempt.stop.stop_requested()) outcome = attempt_given_up();
  if (std::holds_alternative<Failure>(outcome)) {
    sql.roll_back();
    if (task.attempt == 1) return outcome;
    // An attempt before it may have been given up and have committed all the same, meanwhile.
    auto before = sql.find_outcome(task);
    if (before && *before) return std::move(**before);
    return outcome;
  }
  auto committed = sql.commit_outcome(task, std::get<Payload>(outcome));
  if (!committed) return committed.error();
  return std::move(*committed);
}

namespace detail {

std::variant<Payload, Failure> run_in_transaction(Database& database,
                                                  const IsolationLevel isolation,
                                                  const ActionContext& context,
                                                  const TransactionWork& work) {
  return database.attempt(
      {*context.link.task, isolation, context.stop},
      [&](Transaction& transaction) { return outcome_of_work(work, transaction, context); });
}

}  // namespace detail

}  // namespace pawl
