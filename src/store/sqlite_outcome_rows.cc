#include "store/sqlite_outcome_rows.h"

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

#include "base/crash_point.h"
#include "base/name.h"

namespace pawl {

namespace {

constexpr std::string_view kCreate =
    "CREATE TABLE IF NOT EXISTS pawl_action_results (tenant TEXT NOT NULL, idempotency_key TEXT "
    "NOT NULL, action_name TEXT NOT NULL, execution_id TEXT NOT NULL, result TEXT, created_at TEXT "
    "NOT NULL DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (tenant, idempotency_key)) STRICT";
constexpr std::string_view kClaim =
    "INSERT INTO pawl_action_results(tenant, idempotency_key, action_name, execution_id) "
    "VALUES(?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
constexpr std::string_view kRecord =
    "UPDATE pawl_action_results SET result = ?3 "
    "WHERE tenant = ?1 AND idempotency_key = ?2 AND result IS NULL";
constexpr std::string_view kFind =
    "SELECT action_name, result FROM pawl_action_results WHERE tenant = ?1 AND idempotency_key = "
    "?2";

Failure permanent(std::string name, std::string code, std::string message) {
  Failure failure;
  failure.name = std::move(name);
  failure.code = std::move(code);
  failure.message = std::move(message);
  failure.failure_class = FailureClass::permanent;
  return failure;
}

std::variant<Payload, Failure> recorded(SqlSession& session, const ActionTask& task) {
  const auto found = session.run(kFind, {task.tenant, task.idempotency_key});
  if (!found) return found.error();
  const auto* const row = found->rows.empty() ? nullptr : &found->rows.front();
  const auto* const result = row == nullptr ? nullptr : std::get_if<std::string>(&(*row)[1]);
  if (result == nullptr) {
    return permanent("SqliteError", "outcome_deleted",
                     fmt::format("the outcome of '{}' in pawl_action_results was deleted, or "
                                 "changed, by somebody else",
                                 task.name));
  }
  const auto& action = std::get<std::string>((*row)[0]);
  if (meeting_name(action) != meeting_name(task.name)) {
    return permanent("AlreadyExistsError", "already_exists",
                     fmt::format("The idempotency key '{}' was used for the action '{}', as "
                                 "pawl_action_results says. Use a key of its own for each call.",
                                 task.idempotency_key, action));
  }
  return Payload::json(*result);
}

std::variant<Payload, Failure> attempt_within(SqlSession& session, const DatabaseAttempt& attempt,
                                              const TransactionWork& work) {
  const ActionTask& task = attempt.task;
  if (const auto begun = session.begin(attempt.isolation); !begun) return begun.error();
  if (const auto created = session.run(kCreate, {}); !created) return created.error();
  // Before the work is done: another attempt waits for this one, and finds it.
  const auto claimed =
      session.run(kClaim, {task.tenant, task.idempotency_key, task.name, task.execution_id});
  if (!claimed) return claimed.error();
  if (claimed->changed == 0) return recorded(session, task);
  Transaction transaction(session);
  std::variant<Payload, Failure> outcome = work(transaction);
  if (attempt.stop.stop_requested()) return attempt_given_up();
  const auto* const result = std::get_if<Payload>(&outcome);
  if (result == nullptr) return outcome;
  const auto kept = session.run(kRecord, {task.tenant, task.idempotency_key, result->bytes});
  if (!kept) return kept.error();
  if (kept->changed != 1) {
    return permanent(
        "SqliteError", "outcome_deleted",
        fmt::format("the handler of '{}' has changed its row in pawl_action_results", task.name));
  }
  crash_point("database.before_commit");
  if (const auto committed = session.commit(); !committed) return committed.error();
  crash_point("database.after_commit");
  return outcome;
}

}  // namespace

std::variant<Payload, Failure> attempt_with_outcome_row(SqlSession& session,
                                                        const DatabaseAttempt& attempt,
                                                        const TransactionWork& work) {
  const std::stop_callback on_stop(attempt.stop, [&session] { session.break_off(); });
  auto outcome = attempt_within(session, attempt, work);
  session.roll_back();
  return outcome;
}

}  // namespace pawl
