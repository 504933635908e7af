#pragma once

// The rows that hold outcomes of actions in a PostgreSQL database: the table in one of the application's, as
// node/src/application_outcomes.ts has it too. That of the store's own is in store/store_database.cc.

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "pawl/database.h"
#include "postgres/postgres_session.h"

namespace pawl {

// Finds the table, or creates it. Gives its name as it is written in statements, with its schema: handlers may
// change where tables are looked for.
SqlResult<std::string> find_outcome_table(PostgresSession& session);

enum class RowClaim {
  mine,       // it is there, without a result
  taken,      // there is one: an attempt has committed, or the action was given up
  not_owner,  // the execution is another worker's by now
};

// The row of one action, within a transaction.
class OutcomeRow {
 public:
  virtual ~OutcomeRow() = default;

  // Waits for a transaction that has put it there and is still open.
  virtual SqlResult<RowClaim> claim(std::optional<SteadyTime> until) = 0;
  // In the row that this very transaction has claimed.
  virtual SqlResult<void> record(const Payload& result) = 0;
  // Of one that is taken.
  virtual SqlResult<Payload> recorded() = 0;
};

std::unique_ptr<OutcomeRow> application_outcome_row(PostgresSession& session, std::string table,
                                                    const ActionTask& task);

// Whether the result of a key is that of the action that asks; none: it is.
std::optional<Failure> used_for_another(const ActionTask& task, const std::string& action,
                                        std::string_view where);
Failure outcome_deleted(const ActionTask& task);

}  // namespace pawl
