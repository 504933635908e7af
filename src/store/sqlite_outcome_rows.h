#pragma once

// Outcomes of actions in an SQLite file of the application's, which is no store: in a table of its own, as
// node/src/knex_database.ts has it too.

#include <variant>

#include "pawl/database.h"

namespace pawl {

// See Database::attempt. `session` is one to that file, and has no transaction.
std::variant<Payload, Failure> attempt_with_outcome_row(SqlSession& session,
                                                        const DatabaseAttempt& attempt,
                                                        const TransactionWork& work);

}  // namespace pawl
