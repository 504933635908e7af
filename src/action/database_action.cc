#include "pawl/database_action.h"

#include <fmt/format.h>

#include "model/limit_checks.h"

namespace pawl::detail {

namespace {

// Nobody waits for it: it ran out of time, or its execution ended.
Failure given_up() {
  return Failure{.name = "Aborted",
                 .message = "the attempt is no longer wanted: what it wrote is rolled back",
                 .code = "aborted"};
}

}  // namespace

std::variant<Payload, Failure> run_in_transaction(Database& database, const ActionContext& context,
                                                  const TransactionWork& work) {
  const ActionTask& task = *context.link.task;
  auto session = database.connect(SessionUse::actions);
  if (!session) return session.error();
  SqlSession& sql = **session;
  const std::stop_callback on_stop(context.stop, [&sql] { sql.break_off(); });
  if (task.attempt > 1) {
    auto before = sql.find_outcome(task);
    if (!before) return before.error();
    if (*before) return std::move(**before);
  }
  if (const auto begun = sql.begin(); !begun) return begun.error();
  std::variant<Payload, Failure> outcome;
  {
    Transaction transaction(sql);
    outcome = work(transaction);
  }
  if (const auto* const result = std::get_if<Payload>(&outcome)) {
    Limits limits;
    limits.payload_bytes_max = context.link.payload_bytes_max;
    if (const auto refused = check_payload("result", *result, limits)) {
      outcome = validation_failure("the result can't be recorded: " + refused->message);
    }
  }
  if (context.stop.stop_requested()) outcome = given_up();
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

}  // namespace pawl::detail
