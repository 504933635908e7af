#pragma once

// Locks of users: who waits for which, what is held here, and the thread that keeps it so.
//
//   waiting --the row says yes--> held --release()--> (none)
//   waiting --its time is up, give_up(), close()--> (none)
//                                 held --not renewed for its ttl, another one has it, close()--> lost
//
// One thread asks the rows. A second one looks at the time, so that who has lost a lock is told on time though the
// first one waits for a server.

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/lock_rows.h"
#include "pawl/lock.h"
#include "pawl/runtime.h"

namespace pawl {

namespace detail {

// What a Lock is a handle of.
class HeldLock {
 public:
  HeldLock(LockHeld row, std::string query, std::weak_ptr<Locks> locks)
      : row_(std::move(row)), query_(std::move(query)), locks_(std::move(locks)) {}

  const LockHeld& row() const { return row_; }
  const std::string& query() const { return query_; }
  std::stop_token lost() const { return stop_.get_token(); }
  // Why it is not held; none: it is.
  std::optional<Error> loss() const;
  void lose(Error why);
  void release();

 private:
  const LockHeld row_;
  const std::string query_;
  const std::weak_ptr<Locks> locks_;
  std::stop_source stop_;
  mutable std::mutex mutex_;
  std::optional<Error> loss_;  // under mutex_
  bool released_ = false;      // under mutex_
};

}  // namespace detail

// Any thread.
class Locks : public std::enable_shared_from_this<Locks> {
 public:
  // `rows` outlives close(). `holder` is who has the locks of this process, for operators.
  Locks(LockRows& rows, std::string holder, Limits limits)
      : rows_(rows), holder_(std::move(holder)), limits_(limits) {}
  ~Locks() { close(); }

  // See Runtime::acquire_lock. `done` is called on a thread of this, or at once.
  LockWait acquire(LockRequest request, Callback<Lock> done);
  void give_up(LockWait wait);
  void release(const detail::HeldLock& held);
  // Who waits is answered `closed`, what is held is lost: it stays in its row until its time is up. What was released
  // before is freed, where the store can be reached. Idempotent; waits.
  void close();

 private:
  using SteadyTime = std::chrono::steady_clock::time_point;
  struct Waiter {
    LockWait number = 0;
    LockRequest request;
    Callback<Lock> done;
    std::string token;
    SteadyTime until;
    bool tried = false;
    bool unsure = false;  // it may have got the lock without knowing
    std::string told;     // why it has not got it, the last time
  };
  struct Key {
    std::deque<std::shared_ptr<Waiter>> waiters;  // the first one asks
    SteadyTime ask_at;
    std::chrono::milliseconds pause{};
  };
  struct Held {
    std::shared_ptr<detail::HeldLock> lock;
    SteadyTime valid_until;
    SteadyTime renew_at;
  };
  struct Released {
    LockHeld row;
    SteadyTime free_at;
    SteadyTime until;  // its time is up anyway
  };
  using Answer = std::pair<Callback<Lock>, Result<Lock>>;
  using Lost = std::pair<std::shared_ptr<detail::HeldLock>, Error>;

  static std::string key_of(const std::string& tenant, const std::string& key);
  void start_threads();

  void run();
  bool renew(std::unique_lock<std::mutex>& lock);
  bool free_released(std::unique_lock<std::mutex>& lock);
  bool ask(std::unique_lock<std::mutex>& lock);
  void settle(const std::string& key, const std::shared_ptr<Waiter>& waiter, SteadyTime sent,
              const Result<LockAnswer>& answer, std::vector<Answer>& answers);
  SteadyTime next_work() const;

  void watch();
  SteadyTime next_end() const;
  std::shared_ptr<Waiter> take(const std::string& key, LockWait number);
  void leave_row(const Waiter& waiter);
  void free_row(LockHeld row);
  static Error timed_out(const Waiter& waiter);

  LockRows& rows_;
  const std::string holder_;
  const Limits limits_;

  std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable ends_;
  // All guarded by mutex_.
  LockWait last_ = 0;
  std::map<std::string, Key> keys_;        // that somebody waits for, by tenant and key
  std::map<LockWait, std::string> waits_;  // where each is
  std::map<std::string, Held> held_;       // by token
  std::vector<Released> released_;         // to be freed
  bool closing_ = false;
  bool started_ = false;

  std::once_flag closed_;
  std::thread worker_;
  std::thread watcher_;
};

}  // namespace pawl
