#include "store/sqlite_backup.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <stdio.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <memory>
#include <system_error>

#include "base/crash_point.h"
#include "store/sqlite_connection.h"
#include "store/store_file.h"

namespace pawl {
namespace {

// Between two steps the copy can be given up.
constexpr int kPagesAtOnce = 1'024;

Error already_there(const std::string& path) {
  return Error{ErrorCode::already_exists,
               fmt::format("{} is there already, and a backup overwrites nothing: give it another "
                           "name, or move that file away",
                           path),
               path};
}

// The file while it is not whole. Gone at the end, whatever it came to.
class Unfinished {
 public:
  explicit Unfinished(std::string path) : path_{std::move(path)} { remove(); }
  ~Unfinished() { remove(); }
  Unfinished(const Unfinished&) = delete;
  Unfinished& operator=(const Unfinished&) = delete;

  const std::string& path() const { return path_; }

 private:
  void remove() const {
    for (const char* const end : {"", "-journal", "-wal", "-shm"}) {
      ::unlink((path_ + end).c_str());
    }
  }

  const std::string path_;
};

Result<void> copy_pages(SqliteConnection& source, SqliteConnection& target,
                        const std::atomic<bool>& stop) {
  struct Finish {
    void operator()(sqlite3_backup* backup) const { sqlite3_backup_finish(backup); }
  };
  const std::unique_ptr<sqlite3_backup, Finish> backup{
      sqlite3_backup_init(target.handle(), "main", source.handle(), "main")};
  if (!backup) {
    return target.error(sqlite3_extended_errcode(target.handle()), "beginning the backup");
  }
  while (true) {
    if (stop.load(std::memory_order_relaxed)) {
      return Error{ErrorCode::closed, "the backup was given up: the runtime is being closed"};
    }
    const int code = sqlite3_backup_step(backup.get(), kPagesAtOnce);
    crash_point("store.backup_step");
    if (code == SQLITE_DONE) {
      return {};
    }
    if (code != SQLITE_OK) {
      // What SQLite says of it is said of the file that it was about.
      const bool reading = (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB ||
                           code == SQLITE_IOERR_READ || code == SQLITE_IOERR_SHORT_READ;
      return (reading ? source : target).error(code, "copying a page of the backup");
    }
  }
}

Result<void> sync_file(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  const bool synced = descriptor >= 0 && ::fsync(descriptor) == 0;
  const int why = errno;
  if (descriptor >= 0) {
    ::close(descriptor);
  }
  if (!synced) {
    return Error{ErrorCode::store_unavailable,
                 fmt::format("the backup {} cannot be synced: {}", path,
                             std::generic_category().message(why))};
  }
  return {};
}

// Gives the file its name, unless another one has it.
Result<void> give_name(const std::string& from, const std::string& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) {
    return {};
  }
  // Some file systems know links only, some renames.
  if (errno == EINVAL && ::link(from.c_str(), to.c_str()) == 0) {
    return {};
  }
  if (errno == EEXIST) {
    return already_there(to);
  }
  return Error{ErrorCode::store_unavailable,
               fmt::format("the backup {} can't be given its name: {}", to,
                           std::generic_category().message(errno))};
}

}  // namespace

Result<BackupReport> backup_sqlite(const SqliteStoreOptions& from, const std::string& to,
                                   const std::atomic<bool>& stop) {
  auto path = resolve_store_path(to);
  if (!path) {
    auto error = path.error();
    error.message = fmt::format("the backup can't be made: {}", error.message);
    return error;
  }
  std::error_code unseen;
  // The log or lock of another store under that name would become this one's.
  for (const char* const end : {"", "-wal", "-shm", "-journal"}) {
    if (std::filesystem::exists(*path + end, unseen)) {
      return already_there(*path + end);
    }
  }
  auto source =
      SqliteConnection::open(from.path, SqliteConnection::Mode::read_only, from.vfs, from.busy_ms);
  if (!source) {
    return source.error();
  }
  // One moment for all pages: without it, the copy would begin anew after each commit.
  if (auto begun = source->execute("BEGIN"); !begun) {
    return begun.error();
  }
  if (const auto seen = source->query_int("SELECT count(*) FROM sqlite_schema"); !seen) {
    return seen.error();
  }
  const auto pages = source->query_int("PRAGMA page_count");
  if (!pages) {
    return pages.error();
  }
  const auto page_bytes = source->query_int("PRAGMA page_size");
  if (!page_bytes) {
    return page_bytes.error();
  }
  const Unfinished unfinished{fmt::format("{}.unfinished-{}", *path, ::getpid())};
  {
    auto target = SqliteConnection::open(
        unfinished.path(), SqliteConnection::Mode::read_write_create, {}, from.busy_ms);
    if (!target) {
      return target.error();
    }
    // Nothing is there to be protected: it is synced once, when it is whole.
    if (auto set = target->execute("PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF"); !set) {
      return set.error();
    }
    if (auto copied = copy_pages(*source, *target, stop); !copied) {
      return copied.error();
    }
  }
  if (auto synced = sync_file(unfinished.path()); !synced) {
    return synced.error();
  }
  crash_point("store.before_backup_is_named");
  if (auto named = give_name(unfinished.path(), *path); !named) {
    return named.error();
  }
  if (auto synced = sync_store_folder(*path); !synced) {
    return synced.error();
  }
  return BackupReport{*path, static_cast<std::uint64_t>(*pages * *page_bytes)};
}

}  // namespace pawl
