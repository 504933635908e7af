#include "store/sqlite_schema.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include "store/migration.h"

namespace pawl {
namespace {

// SQLite's file format: the first 100 bytes of the file.
constexpr int kHeaderBytes = 100;
constexpr std::string_view kMagic{"SQLite format 3\0", 16};
constexpr std::size_t kUserVersionOffset = 60;
constexpr std::size_t kApplicationIdOffset = 68;

using Header = std::array<unsigned char, kHeaderBytes>;

std::int64_t big_endian_32(const Header& header, const std::size_t offset) {
  std::int64_t value = 0;
  for (std::size_t byte = 0; byte < 4; ++byte) {
    value = (value << 8) | header[offset + byte];
  }
  return value;
}

int latest_version() { return static_cast<int>(sqlite_migrations().size()); }

Error from_a_newer_version(const std::string& path, const std::int64_t version) {
  return Error{ErrorCode::store_invalid,
               fmt::format("{} was written by a newer version of Pawl (its tables are at step {}, "
                           "this version knows {}): use that version, or another file",
                           path, version, latest_version())};
}

Result<void> expect(SqliteConnection& connection, const std::string& pragma,
                    const std::int64_t value) {
  const auto actual = connection.query_int("PRAGMA " + pragma);
  if (!actual) {
    return actual.error();
  }
  if (*actual != value) {
    return Error{ErrorCode::store_unavailable,
                 fmt::format("{}: SQLite does not accept {} = {}; it stays {}", connection.path(),
                             pragma, value, *actual)};
  }
  return {};
}

Result<void> set(SqliteConnection& connection, const std::string& pragma,
                 const std::int64_t value) {
  if (auto done = connection.execute(fmt::format("PRAGMA {} = {}", pragma, value)); !done) {
    return done.error();
  }
  return expect(connection, pragma, value);
}

// A new file becomes a store by its first write, before it holds anything.
Result<void> claim_if_new(SqliteConnection& connection) {
  const auto pages = connection.query_int("PRAGMA page_count");
  if (!pages) {
    return pages.error();
  }
  if (*pages == 0) {
    if (auto done = set(connection, "application_id", kSqliteApplicationId); !done) {
      return done.error();
    }
  }
  const auto id = connection.query_int("PRAGMA application_id");
  if (!id) {
    return id.error();
  }
  if (*id != kSqliteApplicationId) {
    return Error{
        ErrorCode::store_invalid,
        fmt::format("{} is an SQLite database, but not a store of Pawl's; use another file",
                    connection.path())};
  }
  return {};
}

}  // namespace

Result<void> check_sqlite_header(const std::string& path, const std::string& vfs_name) {
  sqlite3_vfs* vfs = sqlite3_vfs_find(vfs_name.empty() ? nullptr : vfs_name.c_str());
  if (vfs == nullptr) {
    return Error{ErrorCode::invalid_argument,
                 fmt::format("SQLite has no virtual file system named \"{}\"", vfs_name)};
  }
  const std::unique_ptr<const char, decltype(&sqlite3_free_filename)> name{
      sqlite3_create_filename(path.c_str(), "", "", 0, nullptr), sqlite3_free_filename};
  int exists = 0;
  if (vfs->xAccess(vfs, name.get(), SQLITE_ACCESS_EXISTS, &exists) != SQLITE_OK || exists == 0) {
    return {};
  }

  std::vector<std::max_align_t> memory(
      static_cast<std::size_t>(vfs->szOsFile) / sizeof(std::max_align_t) + 1);
  auto* file = reinterpret_cast<sqlite3_file*>(memory.data());
  int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_MAIN_DB;
  int code = vfs->xOpen(vfs, name.get(), file, flags, &flags);
  sqlite3_int64 size = 0;
  Header header{};
  if (code == SQLITE_OK) {
    code = file->pMethods->xFileSize(file, &size);
    if (code == SQLITE_OK && size >= kHeaderBytes) {
      code = file->pMethods->xRead(file, header.data(), kHeaderBytes, 0);
    }
  }
  if (file->pMethods != nullptr) {
    file->pMethods->xClose(file);
  }
  if (code != SQLITE_OK) {
    return Error{ErrorCode::store_unavailable, fmt::format("{} cannot be read: {} (SQLite code {})",
                                                           path, sqlite3_errstr(code), code)};
  }
  if (size == 0) {
    return {};
  }

  // The first sector is written as one. If it is missing, and the journal of its writing is there,
  // then the file was being created when the machine stopped, and SQLite will undo that.
  const bool blank = std::all_of(header.begin(), header.end(), [](auto byte) { return byte == 0; });
  int journal = 0;
  if (blank &&
      vfs->xAccess(vfs, (path + "-journal").c_str(), SQLITE_ACCESS_EXISTS, &journal) == SQLITE_OK &&
      journal != 0) {
    return {};
  }
  if (!std::equal(kMagic.begin(), kMagic.end(), header.begin())) {
    return Error{ErrorCode::store_invalid,
                 fmt::format("{} is not a database; use another file", path)};
  }
  if (big_endian_32(header, kApplicationIdOffset) != kSqliteApplicationId) {
    return Error{
        ErrorCode::store_invalid,
        fmt::format("{} is an SQLite database, but not a store of Pawl's; use another file", path)};
  }
  if (const auto version = big_endian_32(header, kUserVersionOffset); version > latest_version()) {
    return from_a_newer_version(path, version);
  }
  return {};
}

void wait_for_other_writers(SqliteConnection& connection, const int busy_ms) {
  // SQLite's own waiting gets longer and longer, so that a process which writes one thing after the other
  // could keep the engine out. Those leave a gap between their commits (kMailGap), which this meets.
  sqlite3_busy_handler(
      connection.handle(),
      [](void* most, const int tries) {
        constexpr std::chrono::microseconds kTryAgain{500};
        std::this_thread::sleep_for(kTryAgain);
        return tries * kTryAgain < std::chrono::milliseconds{static_cast<int>(
                                       reinterpret_cast<std::intptr_t>(most))}
                   ? 1
                   : 0;
      },
      reinterpret_cast<void*>(static_cast<std::intptr_t>(busy_ms)));
}

Result<void> configure_sqlite_writer(SqliteConnection& connection,
                                     const SqliteStoreOptions& options) {
  if (sqlite3_db_readonly(connection.handle(), "main") == 1) {
    return Error{ErrorCode::store_unavailable,
                 fmt::format("{} is read-only: this process must be able to write to it",
                             connection.path())};
  }
  wait_for_other_writers(connection, options.busy_ms);
  // A file from a newer version must not be touched by the checkpoint that closing it would do.
  sqlite3_db_config(connection.handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);

  const std::int64_t synchronous = options.synchronous == SqliteSynchronous::full     ? 2
                                   : options.synchronous == SqliteSynchronous::normal ? 1
                                                                                      : 0;
  const auto cache_kib = static_cast<std::int64_t>(options.writer_cache_bytes / 1024);
  // Before the first write: it creates the file, and that must be synced as all else.
  for (const auto& [pragma, value] : {std::pair<const char*, std::int64_t>{"page_size", 4096},
                                      {"synchronous", synchronous},
                                      {"secure_delete", 0},
                                      {"cache_size", -cache_kib},
                                      {"temp_store", 2}}) {
    if (auto done = set(connection, pragma, value); !done) {
      return done.error();
    }
  }
  if (auto done = connection.execute("PRAGMA mmap_size = 0; PRAGMA trusted_schema = OFF"); !done) {
    return done.error();
  }
  if (auto done = claim_if_new(connection); !done) {
    return done.error();
  }
  const auto version = connection.query_int("PRAGMA user_version");
  if (!version) {
    return version.error();
  }
  if (*version > latest_version()) {
    return from_a_newer_version(connection.path(), *version);
  }
  sqlite3_db_config(connection.handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, nullptr);

  const auto mode = connection.query_text("PRAGMA journal_mode = WAL");
  if (!mode) {
    return mode.error();
  }
  if (*mode != "wal") {
    return Error{ErrorCode::store_unavailable,
                 fmt::format("{}: SQLite keeps journal mode '{}'; a store needs 'wal', which works "
                             "on local disks only",
                             connection.path(), *mode)};
  }
  // The log is reused, never cut: a log that grows costs more per commit than one that is there. The
  // writer checkpoints by itself, after it has reported.
  if (auto done = set(connection, "journal_size_limit", -1); !done) {
    return done.error();
  }
  if (auto done = set(connection, "wal_autocheckpoint", 0); !done) {
    return done.error();
  }
  return expect(connection, "synchronous", synchronous);
}

Result<void> configure_sqlite_reader(SqliteConnection& connection,
                                     const SqliteStoreOptions& options) {
  const auto cache_kib = static_cast<std::int64_t>(options.reader_cache_bytes / 1024);
  if (auto done = set(connection, "cache_size", -cache_kib); !done) {
    return done.error();
  }
  if (auto done = set(connection, "query_only", 1); !done) {
    return done.error();
  }
  return connection.execute("PRAGMA mmap_size = 0; PRAGMA trusted_schema = OFF");
}

Result<void> confirm_sqlite_log(SqliteConnection& connection) {
  // Under the write lock: whoever else has the file open does not write to the log meanwhile.
  if (auto begun = connection.execute("BEGIN IMMEDIATE"); !begun) {
    return begun.error();
  }
  const int code = [&] {
    sqlite3_file* log = nullptr;
    int status =
        sqlite3_file_control(connection.handle(), "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
    sqlite3_int64 size = 0;
    if (log == nullptr || log->pMethods == nullptr) {
      return SQLITE_CANTOPEN;  // SQLite has gone back to another journal mode
    }
    if (status == SQLITE_OK) {
      status = log->pMethods->xFileSize(log, &size);
    }
    if (status != SQLITE_OK || size == 0) {
      return status;
    }
    // SQLite's own files take less than 128 KiB at once.
    constexpr sqlite3_int64 kChunk = 1 << 16;
    std::vector<char> bytes(static_cast<std::size_t>(std::min(size, kChunk)));
    for (sqlite3_int64 at = 0; status == SQLITE_OK && at < size; at += kChunk) {
      const auto count = static_cast<int>(std::min(size - at, kChunk));
      status = log->pMethods->xRead(log, bytes.data(), count, at);
      if (status == SQLITE_OK) {
        status = log->pMethods->xWrite(log, bytes.data(), count, at);
      }
    }
    return status == SQLITE_OK ? log->pMethods->xSync(log, SQLITE_SYNC_NORMAL) : status;
  }();
  auto ended = connection.execute("ROLLBACK");
  if (code != SQLITE_OK) {
    return connection.error(code, "making sure of the log");
  }
  return ended;
}

Result<void> check_readable_store(const SqliteStoreOptions& options) {
  std::error_code unseen;
  if (options.vfs.empty() && !std::filesystem::exists(options.path, unseen)) {
    return Error{
        ErrorCode::store_unavailable,
        fmt::format("there is no file {}: an engine makes it when it first opens it", options.path),
        options.path};
  }
  if (auto checked = check_sqlite_header(options.path, options.vfs); !checked) {
    return checked.error();
  }
  auto connection = SqliteConnection::open(options.path, SqliteConnection::Mode::read_only,
                                           options.vfs, options.busy_ms);
  if (!connection) {
    return connection.error();
  }
  const auto version = connection->query_int("PRAGMA user_version");
  if (!version) {
    return version.error();
  }
  if (*version > latest_version()) {
    return from_a_newer_version(options.path, *version);
  }
  if (*version < latest_version()) {
    return Error{
        ErrorCode::store_invalid,
        fmt::format("{} is of an older version of Pawl (its tables are at step {} of {}): open it "
                    "with an engine of this version once, which brings it up to date",
                    options.path, *version, latest_version())};
  }
  return {};
}

Result<void> migrate_sqlite(SqliteConnection& connection) {
  for (const auto& migration : sqlite_migrations()) {
    if (auto begun = connection.execute("BEGIN IMMEDIATE"); !begun) {
      return begun.error();
    }
    const auto migrated = [&]() -> Result<void> {
      const auto version = connection.query_int("PRAGMA user_version");
      if (!version) {
        return version.error();
      }
      if (*version >= migration.number) {
        return {};
      }
      if (auto done = connection.execute(migration.sql); !done) {
        return done.error();
      }
      return set(connection, "user_version", migration.number);
    }();
    const auto ended = migrated ? connection.execute("COMMIT") : migrated;
    if (!ended) {
      if (connection.in_transaction()) {
        [[maybe_unused]] const auto undone = connection.execute("ROLLBACK");
      }
      auto error = ended.error();
      error.message = fmt::format("migration {}: {}", migration.name, error.message);
      return error;
    }
  }
  return {};
}

}  // namespace pawl
