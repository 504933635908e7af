#pragma once

// Locks that all processes of a store share. Who has one has it alone until it is released, or until its holder has
// been silent for its ttl: killed, stopped, cut off from the store. While it is held it is renewed.
//
//   pawl::Result<pawl::Lock> lock = runtime.lock("printer-3", {.tenant = "acme"});
//   if (!lock) return lock.error();          // lock_timeout: another one has it
//   print(document, lock->fence());          // and it is released at the end of the scope
//
// A holder that was stopped and goes on does not know at once that another one has the lock. Its fence tells: it rises
// with every acquisition of a key, for ever. Who is handed a fence with each request, and refuses one that is smaller
// than the last, refuses what a former holder still asks for. A transaction on the store's own database asks by
// assert_held(): behind it, the transaction is committed before another one has the lock, or not at all.

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include <pawl/error.h>
#include <pawl/time.h>

namespace pawl {

class Transaction;  // <pawl/database.h>
class Locks;

inline constexpr DurationMs kLockTtlMsMin = 100;
inline constexpr DurationMs kLockTtlMsMax = 24 * 60 * 60 * 1'000;
inline constexpr DurationMs kLockWaitMsMax = 24 * 60 * 60 * 1'000;
// Of a process: locks that are held, and calls that wait for one. More are refused as `overloaded`.
inline constexpr std::size_t kLocksMax = 10'000;

struct LockRequest {
  std::string tenant;
  std::string key;  // of the tenant's; any text of a name's length
  // After so long a silence of its holder another one gets it. It is renewed each third of that.
  DurationMs ttl = 30'000;
  // How long it is waited for while others have it. 0: it is asked for once.
  DurationMs wait = 60'000;
};

// Of a call that waits for a lock.
using LockWait = std::uint64_t;

namespace detail {
class HeldLock;
}  // namespace detail

// A lock that is held. Any thread, but for release, assignment and the destructor: one at a time, after all else.
class Lock {
 public:
  Lock(Lock&&) noexcept;
  Lock& operator=(Lock&&) noexcept;  // releases the one before
  ~Lock();                           // releases

  const std::string& tenant() const;
  const std::string& key() const;
  // One more than that of whoever had it before.
  std::int64_t fence() const;

  // Asked to stop when the lock is lost: it could not be renewed for its ttl, another one has it, or the runtime was
  // closed. Not by release().
  std::stop_token lost() const;
  // Why. None: it is not lost, as far as is known here.
  std::optional<Error> loss() const;

  // Within a transaction on the store's own database: holds until that transaction's end, since whoever acquires the
  // lock waits for it. Call it before what is to be protected is written, or behind it. A failure "lock_lost" where it
  // is not held any more, worth another attempt; those of the database.
  Result<void, Failure> assert_held(Transaction& transaction) const;
  // The same for a transaction over a connection of another library: it gives a row while the lock is held. Its
  // parameters, written ?, are tenant, key, fence and token.
  std::string held_query() const;
  const std::string& token() const;

  // Frees it, soon: does not wait. Again: no effect.
  void release();

 private:
  friend class Locks;
  explicit Lock(std::shared_ptr<detail::HeldLock> held);
  std::shared_ptr<detail::HeldLock> held_;
};

}  // namespace pawl
