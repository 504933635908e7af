#include "postgres/outcome_rows.h"

#include <fmt/format.h>

#include <utility>

#include "base/name.h"

namespace pawl {

namespace {

const std::string kCreate =
    "CREATE TABLE IF NOT EXISTS pawl_action_results (tenant text NOT NULL, idempotency_key text "
    "NOT NULL, "
    "action_name text NOT NULL, execution_id text NOT NULL, result text, "
    "created_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (tenant, idempotency_key))";
// Of two processes at once, one creates it.
const std::string kLock = "SELECT pg_advisory_xact_lock(hashtext('pawl_action_results'))";
const std::string kFind =
    "SELECT pg_catalog.quote_ident(n.nspname) || '.pawl_action_results' FROM pg_catalog.pg_class c "
    "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.oid = to_regclass('pawl_action_results')";

SqlResult<std::string> table_name(std::string name) {
  return SqlResult<std::string>(boost::system::in_place_value, std::move(name));
}

SqlResult<std::optional<std::string>> find(PostgresSession& session) {
  auto found = session.run_own(kFind, {});
  if (!found) return found.error();
  if (found->rows.empty()) return std::optional<std::string>{};
  return std::optional(std::get<std::string>(found->rows.front().front()));
}

// Not allowed to, or no schema to do it in.
bool is_not_to_be_created(const Failure& failure) {
  return failure.code == "42501" || failure.code == "3F000";
}

SqlResult<std::string> create(PostgresSession& session) {
  if (auto begun = session.begin(IsolationLevel::read_committed); !begun) return begun.error();
  for (const std::string& sql : {kLock, kCreate}) {
    auto done = session.run_own(sql, {});
    if (done) continue;
    if (!is_not_to_be_created(done.error())) return done.error();
    Failure failure = done.error();
    failure.message = fmt::format(
        "Database actions keep their outcomes in the table pawl_action_results, which can not be "
        "created ({}). Have "
        "it created: {}; and let this user SELECT, INSERT and UPDATE it",
        failure.message, kCreate);
    failure.failure_class = FailureClass::permanent;
    return failure;
  }
  auto found = find(session);
  if (!found) return found.error();
  if (auto committed = session.commit(); !committed) return committed.error();
  if (*found) return table_name(std::move(**found));
  return postgres_failure("the table pawl_action_results was created and is not found", "42P01",
                          FailureClass::permanent);
}

}  // namespace

SqlResult<std::string> find_outcome_table(PostgresSession& session) {
  auto found = find(session);
  if (!found) return found.error();
  if (*found) return table_name(std::move(**found));
  auto created = create(session);
  session.roll_back();
  return created;
}

std::optional<Failure> used_for_another(const ActionTask& task, const std::string& action,
                                        const std::string_view where) {
  if (meeting_name(action) == meeting_name(task.name)) return std::nullopt;
  Failure failure;
  failure.name = "AlreadyExistsError";
  failure.message = fmt::format(
      "The idempotency key '{}' was used for the action '{}', as {} says. Use a key of its own "
      "for each call.",
      task.idempotency_key, action, where);
  failure.code = "already_exists";
  failure.failure_class = FailureClass::permanent;
  return failure;
}

Failure outcome_deleted(const ActionTask& task) {
  return postgres_failure(
      fmt::format("the outcome of '{}' was deleted while it was looked for", task.name),
      "outcome_deleted", FailureClass::transient);
}

namespace {

class ApplicationOutcomeRow final : public OutcomeRow {
 public:
  ApplicationOutcomeRow(PostgresSession& session, std::string table, const ActionTask& task)
      : session_(session), table_(std::move(table)), task_(task) {}

  SqlResult<RowClaim> claim(const std::optional<SteadyTime> until) override {
    auto inserted = session_.run_own(
        fmt::format("INSERT INTO {}(tenant, idempotency_key, action_name, execution_id) "
                    "VALUES($1, $2, $3, $4) ON CONFLICT (tenant, idempotency_key) DO NOTHING",
                    table_),
        {task_.tenant, task_.idempotency_key, task_.name, task_.execution_id}, until);
    if (!inserted) return inserted.error();
    return inserted->changed == 1 ? RowClaim::mine : RowClaim::taken;
  }

  SqlResult<void> record(const Payload& result) override {
    // Of the number of a transaction a row keeps the lower half.
    auto updated = session_.run_own(
        fmt::format("UPDATE {} SET result = $3 WHERE tenant = $1 AND idempotency_key = $2 "
                    "AND xmin::text = (txid_current() % 4294967296)::text",
                    table_),
        {task_.tenant, task_.idempotency_key, result.bytes});
    if (!updated) return updated.error();
    if (updated->changed != 1)
      return transaction_ended(fmt::format("The handler of '{}'", task_.name));
    return {};
  }

  SqlResult<Payload> recorded() override {
    auto found = session_.run_own(
        fmt::format("SELECT action_name, result FROM {} WHERE tenant = $1 AND idempotency_key = $2",
                    table_),
        {task_.tenant, task_.idempotency_key});
    if (!found) return found.error();
    if (found->rows.empty()) return outcome_deleted(task_);
    const std::vector<SqlValue>& row = found->rows.front();
    if (auto other =
            used_for_another(task_, std::get<std::string>(row[0]), "pawl_action_results")) {
      return *other;
    }
    // Committed by SQL of the handler's.
    const auto* const result = std::get_if<std::string>(&row[1]);
    if (result == nullptr) return transaction_ended(fmt::format("The handler of '{}'", task_.name));
    return Payload::json(*result);
  }

 private:
  PostgresSession& session_;
  const std::string table_;
  const ActionTask& task_;
};

}  // namespace

std::unique_ptr<OutcomeRow> application_outcome_row(PostgresSession& session, std::string table,
                                                    const ActionTask& task) {
  return std::make_unique<ApplicationOutcomeRow>(session, std::move(table), task);
}

}  // namespace pawl
