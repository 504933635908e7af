#pragma once

// What makes an SQLite file a store of Pawl's: its application id, its settings, its tables.

#include <cstddef>
#include <cstdint>
#include <string>

#include "pawl/error.h"
#include "store/sqlite_connection.h"
#include "store/sqlite_store.h"

namespace pawl {

// "Pawl" in ASCII, in the header of the file.
inline constexpr std::int64_t kSqliteApplicationId = 0x5061776c;

// Reads the first bytes of the file, and changes nothing. Fine are: no file, an empty one, one whose
// creation was interrupted, a store. Errors: store_invalid (no database, not a store, from a newer
// version), store_unavailable.
Result<void> check_sqlite_header(const std::string& path, const std::string& vfs);

// How long a transaction of that connection waits for those of other processes.
void wait_for_other_writers(SqliteConnection& connection, int busy_ms);

// Settings of the connection that writes, read back one by one; makes a new file a store.
// Errors: store_unavailable (read-only …), store_invalid.
Result<void> configure_sqlite_writer(SqliteConnection& connection,
                                     const SqliteStoreOptions& options);
Result<void> configure_sqlite_reader(SqliteConnection& connection,
                                     const SqliteStoreOptions& options);

// After a process that did not close the file: its log may be in the operating system's memory only,
// and if a sync of it has failed, a second one would succeed without having written anything. Writes
// the log's own bytes to it once more and syncs them, so that what this engine reads is what a loss
// of power would leave. Errors: store_unavailable.
Result<void> confirm_sqlite_log(SqliteConnection& connection);

// For those who read a file without making it or bringing it up to date. Errors: store_unavailable
// (there is none), store_invalid (no store, or one of another version).
Result<void> check_readable_store(const SqliteStoreOptions& options);

// Runs the migrations that the file has not seen, each in a transaction of its own. The caller has
// the store's lock. Errors: store_invalid (from a newer version), store_unavailable.
Result<void> migrate_sqlite(SqliteConnection& connection);

}  // namespace pawl
