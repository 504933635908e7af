#pragma once

// Locks of users in a store in PostgreSQL, by the clock of the server.

#include <mutex>
#include <string>

#include "core/lock_rows.h"
#include "postgres/store/side_pipeline.h"

namespace pawl {

class PostgresLocks final : public LockRows {
 public:
  explicit PostgresLocks(PostgresParameters parameters);

  Result<LockAnswer> acquire(const LockClaim& claim) override;
  Result<std::vector<bool>> renew(const std::vector<LockHeld>& locks) override;
  Result<void> release(const LockHeld& lock) override;
  std::string held_query() const override;
  void close() override { pipeline_.close(); }

 private:
  Result<void> find_schema();

  SidePipeline pipeline_;
  mutable std::mutex mutex_;
  std::string schema_;  // as it is written in statements; under mutex_. Empty: not known yet
};

}  // namespace pawl
