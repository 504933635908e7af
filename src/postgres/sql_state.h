#pragma once

#include <string_view>

#include "pawl/error.h"

namespace pawl {

// What another attempt is worth after an error with that SQLSTATE (appendix A of PostgreSQL's manual). As
// node/src/classification.ts has it.
FailureClass class_of_sql_state(std::string_view state);

// Two transactions that stood in each other's way: this one is rolled back, and can be done again.
bool is_conflict_state(std::string_view state);

// What the database itself says to COMMIT where it is sure not to have committed. All else may come from what
// stands in between.
bool refuses_commit(std::string_view state);

// A statement before has failed, and with it the transaction.
inline constexpr std::string_view kInFailedTransaction = "25P02";

}  // namespace pawl
