#pragma once

// Whether what lies in a store fits together.

#include <atomic>

#include "pawl/error.h"
#include "pawl/store_care.h"
#include "store/sqlite_store.h"

namespace pawl {

// See check_store(). Reads over a connection of its own. Ends with `closed` soon after `stop` is set.
// Any thread.
Result<IntegrityReport> check_sqlite(const SqliteStoreOptions& store,
                                     const IntegrityOptions& options,
                                     const std::atomic<bool>& stop);

}  // namespace pawl
