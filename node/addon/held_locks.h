#pragma once

// The locks that JavaScript holds or waits for, by numbers of its own.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>

#include <pawl/lock.h>
#include <pawl/runtime.h>

namespace pawl::node {

// Any thread.
class HeldLocks {
 public:
  // None: it ended otherwise than by loss.
  using Ended = std::function<void(std::optional<Error>)>;

  // It is asked for. False: that number is in use.
  bool expect(std::int64_t number);
  // The call that waits for it, once that is known.
  void waits(std::int64_t number, LockWait wait);
  // It is held, unless it was released meanwhile: then that lock is released.
  void keep(std::int64_t number, Lock lock);
  // It was not got.
  void forget(std::int64_t number);
  // Calls back once, when it is lost or released; at once where it is neither held nor waited for.
  void when_ended(std::int64_t number, Ended ended);
  // Gives the call that still waits for it; 0: there is none.
  LockWait release(std::int64_t number);

 private:
  struct Entry {
    LockWait wait = 0;
    std::optional<Lock> lock;
    Ended ended;
    // The last of these members: gone first, before the lock that it listens to.
    std::optional<std::stop_callback<std::function<void()>>> on_loss;
  };

  std::mutex mutex_;
  std::map<std::int64_t, std::shared_ptr<Entry>> entries_;  // under mutex_
};

}  // namespace pawl::node
