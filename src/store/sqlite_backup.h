#pragma once

// A copy of a store's file while it is in use.

#include <atomic>
#include <string>

#include "pawl/error.h"
#include "pawl/store_care.h"
#include "store/sqlite_store.h"

namespace pawl {

// Copies what is committed as of one moment to a new file, which is a store like any other; writers go
// on meanwhile. The file appears under its name when it is whole and synced, and not before. Ends with
// `closed` soon after `stop` is set. Any thread.
// Errors: invalid_argument; already_exists, where there is a file of that name; store_unavailable (no
// such folder, disk full); closed.
Result<BackupReport> backup_sqlite(const SqliteStoreOptions& from, const std::string& to,
                                   const std::atomic<bool>& stop);

}  // namespace pawl
