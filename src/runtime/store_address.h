#pragma once

#include <string>

#include "pawl/error.h"
#include "store/sqlite_store.h"

namespace pawl {

// What a store's address says: sqlite:FILE. Errors: invalid_argument.
Result<SqliteStoreOptions> sqlite_options_of(const std::string& address);

}  // namespace pawl
