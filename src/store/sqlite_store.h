#pragma once

// The store in one SQLite file: WAL, synced at every commit, one engine at a time, any number of
// readers (such as the sqlite3 shell) beside it.

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include "core/store.h"
#include "pawl/error.h"

namespace pawl {

enum class SqliteSynchronous {
  full,    // what is reported as durable survives a crash of the machine
  normal,  // it survives a crash of the process; a crash of the machine may lose the last commits
  off,     // as normal, and a crash of the machine may damage the file. For tests
};

struct SqliteStoreOptions {
  std::string path;
  SqliteSynchronous synchronous = SqliteSynchronous::full;
  std::size_t batch_transitions_max = kCommitBatchMax;
  std::size_t batch_bytes_max = kCommitBatchBytesMax;
  // The log is written back into the file when it has grown to this many pages (of 4 KiB).
  int checkpoint_pages = 4'000;
  std::size_t writer_cache_bytes = 64 * 1024 * 1024;
  std::size_t reader_cache_bytes = 8 * 1024 * 1024;  // each
  // Connections for reading, opened as they are needed; more reads at once wait for one another.
  int readers_max = 4;
  // How long a commit waits for the write lock when a foreign process has it.
  int busy_ms = 5'000;
  // How long a transaction of an action may keep the write lock.
  std::chrono::milliseconds transaction_max{5'000};
  std::string vfs;  // of SQLite's virtual file systems; empty: the platform's
};

// Opens the file, creating it where there is none, and brings its tables up to date.
// Errors: invalid_argument, store_in_use, store_invalid (the file is left as it was),
// store_unavailable.
Result<std::unique_ptr<Store>> open_sqlite_store(SqliteStoreOptions options);

}  // namespace pawl
