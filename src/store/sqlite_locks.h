#pragma once

// Locks of users in an SQLite store: one process has it open, whose callers contend; who comes after it, while a lock
// of its is not over, waits.

#include "core/lock_rows.h"
#include "store/side_transactions.h"

namespace pawl {

class SqliteLocks final : public LockRows {
 public:
  // `transactions` outlives it, and is closed with the store.
  explicit SqliteLocks(SideTransactions& transactions) : transactions_(transactions) {}

  Result<LockAnswer> acquire(const LockClaim& claim) override;
  Result<std::vector<bool>> renew(const std::vector<LockHeld>& locks) override;
  Result<void> release(const LockHeld& lock) override;
  std::string held_query() const override;
  void close() override {}

 private:
  SideTransactions& transactions_;
};

}  // namespace pawl
