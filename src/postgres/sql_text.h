#pragma once

#include <string>
#include <string_view>

#include "pawl/database.h"

namespace pawl {

// A statement as PostgreSQL takes it.
struct SqlText {
  std::string text;               // its parameters are $1, $2 …
  int parameters = 0;             // the highest of them
  bool ends_transaction = false;  // or begins one
  bool changes_session = false;   // may leave something behind for whoever has the connection next
};

// Reads a statement as PostgreSQL's lexer does: what stands in strings, quoted names, comments and dollar quotes
// is left alone. A parameter is ?, ?1 or $1; ?? stands for the operator ?, and so does ? in a text that has $1.
// `backslashes`: also in strings without E, a backslash escapes (standard_conforming_strings is off).
SqlResult<SqlText> read_sql_text(std::string_view sql, bool backslashes = false);

}  // namespace pawl
