#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pawl/database.h"
#include "postgres/postgres_connection.h"

namespace pawl {

class PostgresDatabase;

// A connection of the pool, which goes back to it, with a transaction that knows what has failed in it.
class PostgresSession final : public SqlSession {
 public:
  PostgresSession(std::shared_ptr<PostgresDatabase> database,
                  std::shared_ptr<PostgresConnection> connection)
      : database_(std::move(database)), connection_(std::move(connection)) {}
  ~PostgresSession() override;

  SqlResult<SqlRows> run(std::string_view sql, const std::vector<SqlValue>& parameters) override;
  SqlResult<void> begin(IsolationLevel isolation) override;
  SqlResult<void> commit() override;
  void roll_back() override;
  void break_off() override { connection_->break_off(); }

  // A statement of ours, which is not looked through.
  SqlResult<SqlRows> run_own(const std::string& sql, const std::vector<SqlValue>& parameters,
                             std::optional<SteadyTime> until = std::nullopt);

  // What it has come to where something in it gave that failure.
  Failure reason_for(Failure failure, std::string_view action) const;
  // It met another transaction: to be done again as a whole.
  bool has_conflict() const { return conflict_.has_value(); }
  // Whether the last commit took place is not known.
  bool is_unsure() const { return unsure_; }

 private:
  //   Idle --begin()--> Begun --first statement--> Open --commit(), roll_back()--> Idle
  //                                                Open --connection lost, break_off()--> Lost, for good
  enum class Phase { idle, begun, open, lost };

  std::optional<Failure> open_transaction();
  SqlResult<SqlRows> note(SqlResult<PgAnswer> answer);
  void lose(Failure because);
  Failure hidden_failure(std::string_view of) const;

  const std::shared_ptr<PostgresDatabase> database_;
  const std::shared_ptr<PostgresConnection> connection_;
  Phase phase_ = Phase::idle;
  IsolationLevel isolation_ = IsolationLevel::serializable;
  std::optional<Failure> lost_because_;
  std::optional<Failure> conflict_;      // the first
  std::optional<Failure> failed_first_;  // with it the transaction, or a part of it
  bool unsure_ = false;
  bool changed_session_ = false;
};

// The handler has committed or rolled back by itself, or tried to.
Failure transaction_ended(std::string_view who);

}  // namespace pawl
