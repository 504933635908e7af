#pragma once

// The table that holds outcomes of actions in a PostgreSQL database, as node/src/knex_database.ts has it too.

#include <optional>
#include <string>

#include "pawl/database.h"
#include "postgres/postgres_session.h"

namespace pawl {

// Finds the table, or creates it. Gives its name as it is written in statements, with its schema: handlers may
// change where tables are looked for.
SqlResult<std::string> find_outcome_table(PostgresSession& session);

// The row of one action, within a transaction.
class OutcomeRow {
 public:
  OutcomeRow(PostgresSession& session, const std::string& table, const ActionTask& task)
      : session_(session), table_(table), task_(task) {}

  // Puts it there without a result; waits for a transaction that has done so and is still open. False: an attempt
  // has committed.
  SqlResult<bool> claim(std::optional<SteadyTime> until = std::nullopt);
  // In the row that this very transaction has claimed.
  SqlResult<void> record(const Payload& result);
  // What an attempt has committed.
  SqlResult<Payload> recorded();

 private:
  PostgresSession& session_;
  const std::string& table_;
  const ActionTask& task_;
};

}  // namespace pawl
