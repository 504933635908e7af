#pragma once

// A pool of connections to a PostgreSQL server, and attempts at actions whose outcomes are kept there.

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "pawl/postgres.h"
#include "postgres/postgres_connection.h"

namespace pawl {

class OutcomeRow;
class PostgresSession;

class PostgresDatabase : public Database, public std::enable_shared_from_this<PostgresDatabase> {
 public:
  PostgresDatabase(const std::string& conninfo, PostgresDatabaseOptions options);

  SqlResult<std::unique_ptr<SqlSession>> connect(SessionUse use) override;
  std::variant<Payload, Failure> attempt(const DatabaseAttempt& attempt,
                                         const TransactionWork& work) override;
  void close() override;

  // Of a session that has ended.
  void release(std::shared_ptr<PostgresConnection> connection);

 protected:
  // What the rows of outcomes need, before a session is taken for the attempt. Those of the application's are here.
  virtual SqlResult<void> prepare_outcomes(const std::stop_token& stop);
  virtual std::unique_ptr<OutcomeRow> outcome_row(PostgresSession& session, const ActionTask& task);
  // A table was not there: it may be that of the outcomes.
  virtual void look_for_outcomes_again();
  SqlResult<std::shared_ptr<PostgresConnection>> acquire(std::stop_token stop);

 private:
  // An attempt whose connection is given back.
  struct Tried {
    std::variant<Payload, Failure> outcome;
    bool conflict = false;  // with another transaction: worth to be done again at once
    bool unsure = false;    // whether it is committed
  };
  // What a commit came to whose answer was lost.
  struct LookedUp {
    std::variant<Payload, Failure> outcome;
    bool is_known = true;  // false: why it is not, is the outcome
  };

  SqlResult<std::shared_ptr<PostgresConnection>> connect_new(const std::stop_token& stop);
  SqlResult<std::shared_ptr<PostgresConnection>> take_place(const std::stop_token& stop);
  void drop_one();

  Tried try_once(const DatabaseAttempt& attempt, const TransactionWork& work);
  std::variant<Payload, Failure> run_attempt(const DatabaseAttempt& attempt,
                                             PostgresSession& session, OutcomeRow& row,
                                             const TransactionWork& work);
  std::variant<Payload, Failure> look_up(const DatabaseAttempt& attempt, Failure failure);
  LookedUp look_up_once(const DatabaseAttempt& attempt, const Failure& failure, SteadyTime until);
  bool pause(std::chrono::milliseconds time, const std::stop_token& stop);

  const PostgresDatabaseOptions options_;
  const std::size_t connections_max_;
  PostgresParameters parameters_;
  std::optional<Failure> wrong_;  // with what it was opened with

  std::mutex mutex_;
  std::condition_variable_any changed_;  // by the pool; those wait on it who pause, too
  // All guarded by mutex_.
  bool closed_ = false;
  std::size_t open_ = 0;  // in use, kept, or being connected
  std::vector<std::shared_ptr<PostgresConnection>> kept_;
  std::vector<std::weak_ptr<PostgresConnection>> known_;
  std::optional<std::string> outcome_table_;
};

}  // namespace pawl
