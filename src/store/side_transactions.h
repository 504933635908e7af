#pragma once

// Short transactions of the engine's own that belong to no execution, beside its writer: each waits for its turn, and
// is synced.

#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "pawl/error.h"
#include "store/sqlite_connection.h"
#include "store/sqlite_store.h"
#include "store/write_turn.h"

namespace pawl {

// Within BEGIN and COMMIT of that connection; rolled back where `work` gives an error. Errors: of `work`;
// store_unavailable; outcome_unknown, where a COMMIT has failed in a way that leaves it open.
Result<void> in_transaction(SqliteConnection& connection,
                            const std::function<Result<void>(SqliteConnection&)>& work);

// Any thread.
class SideTransactions {
 public:
  using Work = std::function<Result<void>(SqliteConnection&)>;

  // `turn` outlives it. Connects when it is first used.
  SideTransactions(SqliteStoreOptions options, WriteTurn& turn);
  ~SideTransactions() { close(); }

  Result<void> write(const Work& work);
  // Without a transaction, and without waiting for a turn.
  Result<void> read(const Work& work);
  // Waits for what is under way; later calls answer `closed`. Idempotent.
  void close();

 private:
  Result<void> connect();

  const SqliteStoreOptions options_;
  WriteTurn& turn_;
  const std::shared_ptr<TurnHolder> holder_;
  std::mutex mutex_;
  std::optional<SqliteConnection> connection_;  // under mutex_
  bool closed_ = false;                         // under mutex_
};

}  // namespace pawl
