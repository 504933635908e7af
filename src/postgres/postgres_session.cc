#include "postgres/postgres_session.h"

#include <fmt/format.h>

#include <utility>

#include "base/crash_point.h"
#include "postgres/postgres_database.h"
#include "postgres/sql_state.h"
#include "postgres/sql_text.h"

namespace pawl {

namespace {

using namespace std::chrono_literals;

// Of what is done to a connection before the next one has it.
constexpr auto kCleanUpMax = 5s;

std::string_view level_name(const IsolationLevel level) {
  switch (level) {
    case IsolationLevel::read_uncommitted:
    case IsolationLevel::read_committed: return "READ COMMITTED";
    case IsolationLevel::repeatable_read: return "REPEATABLE READ";
    case IsolationLevel::serializable: break;
  }
  return "SERIALIZABLE";
}

Failure broken_off() {
  return postgres_failure(
      "the statement was broken off, and its transaction rolled back: nobody waits for it any more",
      "transaction_lost", FailureClass::timeout);
}

Failure misuse(std::string message) {
  return postgres_failure(std::move(message), "25000", FailureClass::permanent);
}

}  // namespace

Failure transaction_ended(const std::string_view who) {
  Failure failure;
  failure.name = "TransactionEndedError";
  failure.message = fmt::format(
      "{} can't begin or end a transaction itself: it is committed when the handler has returned, "
      "together with "
      "the result, and rolled back when it fails",
      who);
  failure.code = "transaction_ended";
  failure.failure_class = FailureClass::permanent;
  return failure;
}

PostgresSession::~PostgresSession() {
  roll_back();
  if (changed_session_ && connection_->is_usable()) {
    const auto discarded =
        connection_->run("DISCARD ALL", {}, std::chrono::steady_clock::now() + kCleanUpMax);
    if (!discarded) connection_->close();
  }
  database_->release(connection_);
}

SqlResult<SqlRows> PostgresSession::run(const std::string_view sql,
                                        const std::vector<SqlValue>& parameters) {
  if (lost_because_) return *lost_because_;
  if (sql.find('\0') != std::string_view::npos) {
    return sql_misfit("there is a character NUL in the text of a statement");
  }
  auto text = read_sql_text(sql, connection_->has_backslashes());
  if (!text) return text.error();
  if (text->ends_transaction) {
    // Whoever wrote that may rely on it: nothing of this transaction is committed.
    if (phase_ != Phase::idle) lose(transaction_ended("A statement"));
    return transaction_ended("A statement");
  }
  if (static_cast<std::size_t>(text->parameters) != parameters.size()) {
    return sql_misfit(fmt::format(
        "{} parameters were given, the statement has {}: \"{}\" (the operator ? is written twice)",
        parameters.size(), text->parameters, sql.substr(0, 300)));
  }
  changed_session_ = changed_session_ || text->changes_session;
  return run_own(text->text, parameters);
}

SqlResult<SqlRows> PostgresSession::run_own(const std::string& sql,
                                            const std::vector<SqlValue>& parameters,
                                            const std::optional<SteadyTime> until) {
  if (lost_because_) return *lost_because_;
  if (phase_ == Phase::begun) {
    if (auto failed = open_transaction()) return *failed;
  }
  return note(connection_->run(sql, parameters, until));
}

SqlResult<void> PostgresSession::begin(const IsolationLevel isolation) {
  if (lost_because_) return *lost_because_;
  if (phase_ != Phase::idle) return misuse("a transaction is open in this session already");
  phase_ = Phase::begun;
  isolation_ = isolation;
  conflict_.reset();
  failed_first_.reset();
  unsure_ = false;
  return {};
}

std::optional<Failure> PostgresSession::open_transaction() {
  phase_ = Phase::open;
  const auto begun =
      note(connection_->run(fmt::format("BEGIN ISOLATION LEVEL {}", level_name(isolation_)), {}));
  crash_point("database.begun");
  if (!begun) return begun.error();
  return std::nullopt;
}

SqlResult<SqlRows> PostgresSession::note(SqlResult<PgAnswer> answer) {
  if (connection_->is_broken_off()) {
    lose(broken_off());
    return broken_off();
  }
  const PGTransactionStatusType status = connection_->transaction();
  if (!answer) {
    const Failure& failure = answer.error();
    if (is_conflict_state(failure.code) && !conflict_) conflict_ = failure;
    if (failure.code != kInFailedTransaction && status != PQTRANS_INTRANS) failed_first_ = failure;
  }
  if (!connection_->is_usable()) {
    lose(answer ? connection_failure("the connection is lost", "08006") : answer.error());
  } else if (phase_ == Phase::open && status == PQTRANS_IDLE) {
    lose(transaction_ended("A statement"));
  }
  if (!answer) return answer.error();
  return std::move(answer->rows);
}

// What is open is rolled back at once, and not when the handler has returned.
void PostgresSession::lose(Failure because) {
  phase_ = Phase::lost;
  lost_because_ = std::move(because);
  connection_->close();
}

SqlResult<void> PostgresSession::commit() {
  if (lost_because_) return *lost_because_;
  if (std::exchange(phase_, Phase::idle) != Phase::open) return {};
  const auto answer = connection_->commit();
  if (answer && answer->command == "COMMIT") return {};
  if (answer) return hidden_failure("this transaction");
  const Failure& failure = answer.error();
  if (is_conflict_state(failure.code)) conflict_ = failure;
  unsure_ = !refuses_commit(failure.code) && failure.code != attempt_given_up().code;
  return failure;
}

void PostgresSession::roll_back() {
  if (phase_ == Phase::open) {
    const auto done =
        connection_->run("ROLLBACK", {}, std::chrono::steady_clock::now() + kCleanUpMax);
    if (!done) connection_->close();
  }
  phase_ = lost_because_ ? Phase::lost : Phase::idle;
}

Failure PostgresSession::hidden_failure(const std::string_view of) const {
  Failure failure;
  failure.name = "HiddenFailureError";
  failure.message = fmt::format(
      "A statement of {} has failed, and the transaction with it, though its handler has not (hand "
      "its error on, or "
      "put a savepoint before what may fail): {}",
      of, failed_first_ ? failed_first_->message : "it is not known which");
  failure.failure_class = FailureClass::permanent;
  if (failed_first_) {
    failure.code = failed_first_->code;
    failure.failure_class = failed_first_->failure_class;
    failure.causes.push_back(*failed_first_);
  }
  return failure;
}

Failure PostgresSession::reason_for(Failure failure, const std::string_view action) const {
  if (conflict_) return *conflict_;
  if (failure.code == kInFailedTransaction && failed_first_) {
    return hidden_failure(fmt::format("'{}'", action));
  }
  return failure;
}

}  // namespace pawl
