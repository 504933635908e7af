#pragma once

// A connection to a PostgreSQL server, over libpq, whose waiting can be broken off by another thread.

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <libpq-fe.h>

#include "pawl/database.h"

namespace pawl {

struct PgConnDelete {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};
struct PgResultDelete {
  void operator()(PGresult* result) const { PQclear(result); }
};
using PgResult = std::unique_ptr<PGresult, PgResultDelete>;

// What the last statement was answered with, beside its rows.
struct PgAnswer {
  SqlRows rows;
  std::string command;  // "INSERT", "ROLLBACK"
};

using SteadyTime = std::chrono::steady_clock::time_point;

struct PostgresParameters {
  std::vector<std::string> keys;
  std::vector<std::string> values;
  std::chrono::milliseconds connect_max{10'000};
};

// One thread at a time, but for break_off().
class PostgresConnection {
 public:
  // No connection yet: connect() comes first.
  PostgresConnection();
  ~PostgresConnection();
  PostgresConnection(const PostgresConnection&) = delete;
  PostgresConnection& operator=(const PostgresConnection&) = delete;

  std::optional<Failure> connect(const PostgresParameters& parameters);

  // One statement, with parameters $1, $2 …, up to that time, after which it is cancelled.
  SqlResult<PgAnswer> run(const std::string& sql, const std::vector<SqlValue>& parameters,
                          std::optional<SteadyTime> until = std::nullopt);
  // COMMIT: it is not broken off any more.
  SqlResult<PgAnswer> commit();

  PGTransactionStatusType transaction() const { return PQtransactionStatus(connection_.get()); }
  // False: a connection that is not used any more says so by itself.
  bool is_usable() const;
  // For good; what is open is rolled back.
  void close();
  bool is_broken_off();
  // Nothing came while nobody listened: the server has not ended it.
  bool is_quiet();
  bool has_backslashes() const;

  // Any thread. What it waits for ends: a statement is cancelled, and where none runs the connection is cut,
  // with which the server rolls back. A COMMIT that was sent is let through. For good.
  void break_off();

 private:
  enum class Waited { ready, broken_off, too_late };

  // False: it is broken off.
  bool begin_use();
  void end_use();
  SqlResult<PgAnswer> run_in_use(const std::string& sql, const std::vector<SqlValue>& parameters,
                                 std::optional<SteadyTime> until, std::string_view sent);
  // For events of poll().
  Waited wait(short events, std::optional<SteadyTime> until);
  bool can_be_broken_off() const;
  std::optional<Failure> send(const std::string& sql, const std::vector<SqlValue>& parameters);
  std::optional<Failure> flush(std::optional<SteadyTime> until);
  SqlResult<PgAnswer> receive(const std::string& sql, std::optional<SteadyTime> until);
  SqlResult<PgAnswer> answer_of(const PGresult& result, std::string_view sql);
  void cancel();
  void cut();
  Failure lost() const;

  std::unique_ptr<PGconn, PgConnDelete> connection_;
  int wake_ = -1;           // an eventfd, which wakes whoever waits for an answer
  bool cancelled_ = false;  // the statement that runs
  // Somebody is about to tell the server so.
  std::shared_ptr<std::atomic<bool>> cancelling_ = std::make_shared<std::atomic<bool>>(false);
  bool committing_ = false;
  bool out_of_use_ = false;

  std::mutex mutex_;
  // Guarded by mutex_.
  bool broken_off_ = false;
  int idle_socket_ = -1;  // while libpq is not called
};

Failure postgres_failure(std::string message, std::string code, FailureClass failure_class);
// Of a connection that can't be had, or is lost.
Failure connection_failure(std::string message, std::string code);

}  // namespace pawl
