#include "store/sqlite_locks.h"

#include <sqlite3.h>

#include <algorithm>
#include <string_view>

#include "base/clock.h"

namespace pawl {
namespace {

constexpr std::string_view kLook =
    "SELECT token, holder, expires_at FROM workflow_locks WHERE tenant = ?1 AND key = ?2";
constexpr std::string_view kAcquire =
    "INSERT INTO workflow_locks(tenant, key, fence, token, holder, acquired_at, expires_at) "
    "VALUES(?1, ?2, 1, ?3, ?4, ?5, ?6) ON CONFLICT(tenant, key) DO UPDATE SET fence = fence + 1, "
    "token = excluded.token, holder = excluded.holder, acquired_at = excluded.acquired_at, "
    "expires_at = excluded.expires_at RETURNING fence";
constexpr std::string_view kRenew =
    "UPDATE workflow_locks SET expires_at = ?5 "
    "WHERE tenant = ?1 AND key = ?2 AND token = ?3 AND fence = ?4";
constexpr std::string_view kRelease =
    "UPDATE workflow_locks SET token = NULL, expires_at = 0 "
    "WHERE tenant = ?1 AND key = ?2 AND token = ?3 AND (?4 = 0 OR fence = ?4)";

}  // namespace

Result<LockAnswer> SqliteLocks::acquire(const LockClaim& claim) {
  LockAnswer answer;
  auto done = transactions_.write([&](SqliteConnection& connection) -> Result<void> {
    const Timestamp now = SystemClock().now();
    {
      auto look = connection.prepare(kLook);
      if (!look) return look.error();
      look->bind(1, std::string_view{claim.tenant});
      look->bind(2, std::string_view{claim.key});
      const int code = look->step();
      if (code != SQLITE_ROW && code != SQLITE_DONE) {
        return connection.error(code, "looking for a lock");
      }
      if (code == SQLITE_ROW) {
        const std::string_view token = look->column_view(0);
        answer.holder = look->column_text(1);
        answer.free_in = std::max<DurationMs>(0, look->column_int(2) - now);
        if (!token.empty() && token != claim.token && answer.free_in > 0) return {};
      }
    }
    auto acquire = connection.prepare(kAcquire);
    if (!acquire) return acquire.error();
    acquire->bind(1, std::string_view{claim.tenant});
    acquire->bind(2, std::string_view{claim.key});
    acquire->bind(3, std::string_view{claim.token});
    acquire->bind(4, std::string_view{claim.holder});
    acquire->bind(5, now);
    acquire->bind(6, now + claim.ttl);
    const int code = acquire->step();
    if (code != SQLITE_ROW) return connection.error(code, "acquiring a lock");
    answer.fence = acquire->column_int(0);
    return {};
  });
  if (!done) return done.error();
  return answer;
}

Result<std::vector<bool>> SqliteLocks::renew(const std::vector<LockHeld>& locks) {
  std::vector<bool> held;
  auto done = transactions_.write([&](SqliteConnection& connection) -> Result<void> {
    const Timestamp now = SystemClock().now();
    auto renew = connection.prepare(kRenew);
    if (!renew) return renew.error();
    for (const LockHeld& lock : locks) {
      renew->bind(1, std::string_view{lock.tenant});
      renew->bind(2, std::string_view{lock.key});
      renew->bind(3, std::string_view{lock.token});
      renew->bind(4, lock.fence);
      renew->bind(5, now + lock.ttl);
      if (const int code = renew->run(); code != SQLITE_DONE) {
        return connection.error(code, "renewing a lock");
      }
      held.push_back(connection.changed_rows() == 1);
    }
    return {};
  });
  if (!done) return done.error();
  return held;
}

Result<void> SqliteLocks::release(const LockHeld& lock) {
  return transactions_.write([&](SqliteConnection& connection) -> Result<void> {
    auto release = connection.prepare(kRelease);
    if (!release) return release.error();
    release->bind(1, std::string_view{lock.tenant});
    release->bind(2, std::string_view{lock.key});
    release->bind(3, std::string_view{lock.token});
    release->bind(4, lock.fence);
    if (const int code = release->run(); code != SQLITE_DONE) {
      return connection.error(code, "releasing a lock");
    }
    return {};
  });
}

// A transaction on the file keeps all others from writing.
std::string SqliteLocks::held_query() const {
  return "SELECT fence FROM workflow_locks WHERE tenant = ? AND key = ? AND fence = ? AND token = "
         "?";
}

}  // namespace pawl
