#pragma once

// An SQLite file as a database of users: the store's own, beside its tables, or any other.

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "pawl/database.h"
#include "store/write_turn.h"

namespace pawl {

struct SqliteDatabaseOptions {
  std::string path;
  std::string vfs;      // of SQLite's virtual file systems; empty: the platform's
  int busy_ms = 5'000;  // how long a transaction waits for a foreign process
  bool off = false;     // nothing is synced. For tests
  // Whose file it is: the store's own has its turns, its tables that nobody may write to, and outcomes of
  // actions.
  bool store = false;
  // How long a transaction may have the write lock, from its first statement on.
  std::chrono::milliseconds transaction_max{5'000};
};

// Sessions that are given back are kept for the next one, so many at most.
inline constexpr std::size_t kSessionsKept = 8;

class SqliteSessionCore;

class SqliteDatabase final : public Database, public std::enable_shared_from_this<SqliteDatabase> {
 public:
  explicit SqliteDatabase(SqliteDatabaseOptions options) : options_(std::move(options)) {}

  SqlResult<std::unique_ptr<SqlSession>> connect(SessionUse use) override;
  std::variant<Payload, Failure> attempt(const DatabaseAttempt& attempt,
                                         const TransactionWork& work) override;

  WriteTurn& turn() { return turn_; }
  const SqliteDatabaseOptions& options() const { return options_; }
  // Rolls back what is open, and closes all connections. Whoever has a session is told at its next use.
  void close() override;

  // Of a session that is of no more use to whoever had it.
  void keep(std::shared_ptr<SqliteSessionCore> core, SessionUse use);

 private:
  const SqliteDatabaseOptions options_;
  WriteTurn turn_;

  std::mutex mutex_;
  // All guarded by mutex_.
  bool closed_ = false;
  std::vector<std::weak_ptr<SqliteSessionCore>> open_;
  std::vector<std::shared_ptr<SqliteSessionCore>> kept_[2];  // by SessionUse
};

}  // namespace pawl
