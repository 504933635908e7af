#pragma once

// The port to the locks of users: a row for each key that was ever locked. It stays when the lock is released, so that
// its fence goes on rising. Who has it, and until when, is by the clock of the store.
//
//   (no row) --acquire--> held --release--> free --acquire--> held, under the next fence
//                         held --its time is up--> held, and free to whoever acquires it

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "pawl/error.h"
#include "pawl/time.h"

namespace pawl {

struct LockClaim {
  std::string tenant;
  std::string key;
  std::string token;   // of this acquisition alone: asked once more, it is the same one
  std::string holder;  // for operators: which process
  DurationMs ttl = 0;
};

struct LockAnswer {
  std::optional<std::int64_t> fence;  // none: another one has it
  std::string holder;                 // that one
  DurationMs free_in = 0;             // when its time is up, unless it is renewed
};

struct LockHeld {
  std::string tenant;
  std::string key;
  std::string token;
  std::int64_t fence = 0;
  DurationMs ttl = 0;
};

// One thread at a time, but for close(). What can't be reached is tried for some seconds at most.
class LockRows {
 public:
  virtual ~LockRows() = default;

  virtual Result<LockAnswer> acquire(const LockClaim& claim) = 0;
  // For each, whether it is held still; it is for its ttl from now on then.
  virtual Result<std::vector<bool>> renew(const std::vector<LockHeld>& locks) = 0;
  // One that another has by now is left to that one. A fence of 0: whichever the token has.
  virtual Result<void> release(const LockHeld& lock) = 0;
  // Gives a row while it is held, and keeps others from acquiring it until the transaction ends. Its parameters,
  // written ?, are tenant, key, fence and token. Any thread, after an acquire.
  virtual std::string held_query() const = 0;
  // Any thread. What is under way is given up, later calls answer `closed`. Idempotent.
  virtual void close() = 0;
};

}  // namespace pawl
