#include "store/side_transactions.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <chrono>
#include <utility>

#include "store/sqlite_schema.h"

namespace pawl {
namespace {

// These are short, whoever waits: nothing is given up.
class ShortHolder final : public TurnHolder {
 public:
  void give_up() override {}
};
constexpr std::chrono::hours kTurnMax(1);

}  // namespace

Result<void> in_transaction(SqliteConnection& connection,
                            const std::function<Result<void>(SqliteConnection&)>& work) {
  const auto roll_back = [&connection] {
    if (connection.in_transaction()) {
      [[maybe_unused]] const auto undone = connection.execute("ROLLBACK");
    }
  };
  if (auto begun = connection.execute("BEGIN IMMEDIATE"); !begun) return begun;
  if (auto done = work(connection); !done) {
    roll_back();
    return done;
  }
  auto committed = connection.execute("COMMIT");
  if (committed) return {};
  const int code = sqlite3_extended_errcode(connection.handle());
  roll_back();
  Error error = committed.error();
  if ((code & 0xff) == SQLITE_IOERR) {
    error.code = ErrorCode::outcome_unknown;
    error.message = "it is not known whether this is durable: " + error.message;
  }
  return error;
}

SideTransactions::SideTransactions(SqliteStoreOptions options, WriteTurn& turn)
    : options_(std::move(options)), turn_(turn), holder_(std::make_shared<ShortHolder>()) {}

Result<void> SideTransactions::connect() {
  if (closed_) return Error{ErrorCode::closed, "the store is closed", {}};
  if (connection_) return {};
  auto connection = SqliteConnection::open(options_.path, SqliteConnection::Mode::read_write,
                                           options_.vfs, options_.busy_ms);
  if (!connection) return connection.error();
  wait_for_other_writers(*connection, options_.busy_ms);
  // The log is the writer's to write back and to make sure of.
  sqlite3_db_config(connection->handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  const char* const synchronous = options_.synchronous == SqliteSynchronous::off ? "OFF" : "FULL";
  if (auto set =
          connection->execute(fmt::format("PRAGMA synchronous = {}; PRAGMA wal_autocheckpoint = 0; "
                                          "PRAGMA mmap_size = 0; PRAGMA trusted_schema = OFF",
                                          synchronous));
      !set) {
    return set;
  }
  connection_.emplace(std::move(*connection));
  return {};
}

Result<void> SideTransactions::write(const Work& work) {
  const std::lock_guard lock(mutex_);
  if (auto connected = connect(); !connected) return connected;
  turn_.take(holder_, kTurnMax);
  auto done = in_transaction(*connection_, work);
  turn_.give_back();
  return done;
}

Result<void> SideTransactions::read(const Work& work) {
  const std::lock_guard lock(mutex_);
  if (auto connected = connect(); !connected) return connected;
  return work(*connection_);
}

void SideTransactions::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  connection_.reset();
}

}  // namespace pawl
