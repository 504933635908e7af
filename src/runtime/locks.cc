#include "runtime/locks.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/random.h"
#include "model/limit_checks.h"
#include "pawl/database.h"

namespace pawl {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// Between two looks at a row that another process has: doubled each time, and by chance down to half of it.
constexpr std::chrono::milliseconds kPauseMin = 10ms;
constexpr std::chrono::milliseconds kPauseMax = 250ms;
// Where a renewal has failed. A third of the ttl, where that is less.
constexpr std::chrono::milliseconds kRenewAgain = 200ms;
// A first answer is waited for beyond the caller's time, which may be none at all.
constexpr std::chrono::milliseconds kFirstAnswerMax = 10s;

Error closed() {
  return {ErrorCode::closed, "The runtime is closed. Open a new one to go on.", {}};
}

std::chrono::milliseconds by_chance(const std::chrono::milliseconds pause) {
  const auto half = static_cast<std::uint64_t>(pause.count()) / 2;
  return pause - std::chrono::milliseconds(half == 0 ? 0 : random_bits() % half);
}

std::string new_token() { return fmt::format("{:016x}{:016x}", random_bits(), random_bits()); }

}  // namespace

// ---- the handle

namespace detail {

std::optional<Error> HeldLock::loss() const {
  const std::lock_guard lock(mutex_);
  if (loss_ || !released_) return loss_;
  return Error{
      ErrorCode::lock_lost,
      fmt::format("Lock '{}' was released: what it protects has to be done before.", row_.key),
      row_.key};
}

void HeldLock::lose(Error why) {
  {
    const std::lock_guard lock(mutex_);
    if (released_ || loss_) return;
    loss_ = std::move(why);
  }
  stop_.request_stop();
}

void HeldLock::release() {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(released_, true)) return;
  }
  if (const auto locks = locks_.lock()) locks->release(*this);
}

}  // namespace detail

Lock::Lock(std::shared_ptr<detail::HeldLock> held) : held_(std::move(held)) {}
Lock::Lock(Lock&&) noexcept = default;
Lock& Lock::operator=(Lock&& other) noexcept {
  if (this != &other) {
    release();
    held_ = std::move(other.held_);
  }
  return *this;
}
Lock::~Lock() { release(); }

const std::string& Lock::tenant() const { return held_->row().tenant; }
const std::string& Lock::key() const { return held_->row().key; }
std::int64_t Lock::fence() const { return held_->row().fence; }
const std::string& Lock::token() const { return held_->row().token; }
std::string Lock::held_query() const { return held_->query(); }
std::stop_token Lock::lost() const { return held_->lost(); }
std::optional<Error> Lock::loss() const { return held_->loss(); }

Result<void, Failure> Lock::assert_held(Transaction& transaction) const {
  const auto failure = [](std::string message) {
    Failure lost;
    lost.name = "LockLostError";
    lost.message = std::move(message);
    lost.code = std::string(to_string(ErrorCode::lock_lost));
    lost.failure_class = FailureClass::transient;
    return lost;
  };
  if (const auto why = loss()) return failure(why->message);
  const LockHeld& row = held_->row();
  auto found = transaction.run(held_->query(), {row.tenant, row.key, row.fence, row.token});
  if (!found) {
    if (found.error().code != "42P01" &&
        found.error().message.find("no such table") == std::string::npos) {
      return found.error();
    }
    Failure elsewhere = found.error();
    elsewhere.failure_class = FailureClass::permanent;
    elsewhere.message = fmt::format(
        "Lock '{}' can only be asked for in a transaction on the store's own database, where its "
        "row is; elsewhere, compare its fence: {}",
        row.key, elsewhere.message);
    return elsewhere;
  }
  if (!found->rows.empty()) return {};
  return failure(fmt::format(
      "Lock '{}' is not held under fence {} any more: its holder was silent for more than {} ms, "
      "and another one has acquired it since.",
      row.key, row.fence, row.ttl));
}

void Lock::release() {
  if (held_) held_->release();
}

// ---- asking for one

std::string Locks::key_of(const std::string& tenant, const std::string& key) {
  return tenant + '\0' + key;
}

void Locks::start_threads() {
  if (std::exchange(started_, true)) return;
  worker_ = std::thread([this] { run(); });
  watcher_ = std::thread([this] { watch(); });
}

LockWait Locks::acquire(LockRequest request, Callback<Lock> done) {
  const auto refuse = [&done](Error error) -> LockWait {
    done(std::move(error));
    return 0;
  };
  if (auto error = check_text("tenant", request.tenant, limits_)) return refuse(std::move(*error));
  if (auto error = check_text("key of the lock", request.key, limits_)) {
    return refuse(std::move(*error));
  }
  if (request.ttl < kLockTtlMsMin || request.ttl > kLockTtlMsMax) {
    return refuse({ErrorCode::invalid_argument,
                   fmt::format("The ttl of lock '{}' is {} ms: it can be {} ms to {} ms.",
                               request.key, request.ttl, kLockTtlMsMin, kLockTtlMsMax),
                   request.key});
  }
  if (request.wait < 0 || request.wait > kLockWaitMsMax) {
    return refuse({ErrorCode::invalid_argument,
                   fmt::format("The wait for lock '{}' is {} ms: it can be 0 ms to {} ms.",
                               request.key, request.wait, kLockWaitMsMax),
                   request.key});
  }
  std::optional<Error> refused;
  LockWait number = 0;
  {
    const std::lock_guard lock(mutex_);
    if (closing_) {
      refused = closed();
    } else if (held_.size() + waits_.size() >= kLocksMax) {
      refused = Error{ErrorCode::overloaded,
                      fmt::format("{} locks are held or waited for in this process, the most that "
                                  "are kept. Try again later.",
                                  kLocksMax),
                      request.key};
    } else {
      number = ++last_;
      auto waiter = std::make_shared<Waiter>();
      waiter->number = number;
      waiter->until = Clock::now() + std::chrono::milliseconds(request.wait);
      waiter->token = new_token();
      const std::string at = key_of(request.tenant, request.key);
      waiter->request = std::move(request);
      waiter->done = std::move(done);
      Key& key = keys_[at];
      if (key.waiters.empty()) {
        key.ask_at = Clock::now();
        key.pause = kPauseMin;
      } else {
        waiter->tried = true;  // another one is asking
      }
      key.waiters.push_back(std::move(waiter));
      waits_.emplace(number, at);
      start_threads();
      work_.notify_all();
      ends_.notify_all();
    }
  }
  if (refused) return refuse(std::move(*refused));
  return number;
}

// Under mutex_. None: it is not there any more.
std::shared_ptr<Locks::Waiter> Locks::take(const std::string& key, const LockWait number) {
  const auto at = keys_.find(key);
  if (at == keys_.end()) return nullptr;
  std::deque<std::shared_ptr<Waiter>>& waiters = at->second.waiters;
  const auto found = std::find_if(waiters.begin(), waiters.end(), [number](const auto& waiter) {
    return waiter->number == number;
  });
  if (found == waiters.end()) return nullptr;
  std::shared_ptr<Waiter> waiter = std::move(*found);
  const bool was_first = found == waiters.begin();
  waiters.erase(found);
  waits_.erase(number);
  if (waiters.empty()) {
    keys_.erase(at);
  } else if (was_first) {
    at->second.ask_at = Clock::now();
    at->second.pause = kPauseMin;
  }
  return waiter;
}

// What it may have got and is not to keep.
void Locks::leave_row(const Waiter& waiter) {
  if (!waiter.unsure) return;
  const LockRequest& request = waiter.request;
  free_row({request.tenant, request.key, waiter.token, 0, request.ttl});
}

void Locks::free_row(LockHeld row) {
  const SteadyTime now = Clock::now();
  const std::chrono::milliseconds ttl(row.ttl);
  released_.push_back({std::move(row), now, now + ttl});
  work_.notify_all();
}

Error Locks::timed_out(const Waiter& waiter) {
  const LockRequest& request = waiter.request;
  std::string why = "others in this process were before it";
  if (!waiter.told.empty()) why = waiter.told;
  return Error{ErrorCode::lock_timeout,
               fmt::format("Lock '{}' of tenant '{}' was not free within {} ms: {}.", request.key,
                           request.tenant, request.wait, why),
               request.key};
}

void Locks::give_up(const LockWait wait) {
  std::shared_ptr<Waiter> waiter;
  {
    const std::lock_guard lock(mutex_);
    const auto at = waits_.find(wait);
    if (at == waits_.end()) return;
    waiter = take(std::string(at->second), wait);
    if (!waiter) return;
    leave_row(*waiter);
    work_.notify_all();
  }
  waiter->done(Error{ErrorCode::lock_timeout,
                     fmt::format("Lock '{}' is not waited for any more: who asked for it has given "
                                 "up.",
                                 waiter->request.key),
                     waiter->request.key});
}

void Locks::release(const detail::HeldLock& held) {
  const std::lock_guard lock(mutex_);
  const LockHeld& row = held.row();
  held_.erase(row.token);
  if (!closing_) free_row(row);
}

// ---- the thread that asks the rows

Locks::SteadyTime Locks::next_work() const {
  auto next = Clock::time_point::max();
  for (const Released& one : released_) next = std::min(next, one.free_at);
  for (const auto& [key, waited] : keys_) next = std::min(next, waited.ask_at);
  for (const auto& [token, held] : held_) next = std::min(next, held.renew_at);
  return next;
}

void Locks::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (renew(lock) || free_released(lock)) continue;
    if (closing_) return;
    if (ask(lock)) continue;
    const SteadyTime next = next_work();
    if (next == Clock::time_point::max()) {
      work_.wait(lock);
    } else {
      work_.wait_until(lock, next);
    }
  }
}

bool Locks::renew(std::unique_lock<std::mutex>& lock) {
  if (closing_) return false;
  const SteadyTime now = Clock::now();
  std::vector<std::shared_ptr<detail::HeldLock>> due;
  std::vector<LockHeld> rows;
  for (const auto& [token, held] : held_) {
    if (held.renew_at > now) continue;
    due.push_back(held.lock);
    rows.push_back(held.lock->row());
  }
  if (due.empty()) return false;
  lock.unlock();
  const auto renewed = rows_.renew(rows);
  lock.lock();
  std::vector<Lost> lost;
  for (std::size_t at = 0; at < due.size(); ++at) {
    const auto held = held_.find(rows[at].token);
    if (held == held_.end()) continue;
    const std::chrono::milliseconds ttl(rows[at].ttl);
    if (!renewed) {
      held->second.renew_at =
          Clock::now() + std::min<std::chrono::milliseconds>(kRenewAgain, ttl / 3);
    } else if (!(*renewed)[at]) {
      held_.erase(held);
      lost.emplace_back(
          due[at], Error{ErrorCode::lock_lost,
                         fmt::format("Lock '{}' was lost: it was not renewed in time, and another "
                                     "one has acquired it since fence {}.",
                                     rows[at].key, rows[at].fence),
                         rows[at].key});
    } else {
      held->second.valid_until = now + ttl;
      held->second.renew_at = now + ttl / 3;
      ends_.notify_all();
    }
  }
  if (lost.empty()) return true;
  lock.unlock();
  for (auto& [one, why] : lost) one->lose(std::move(why));
  lock.lock();
  return true;
}

bool Locks::free_released(std::unique_lock<std::mutex>& lock) {
  SteadyTime now = Clock::now();
  std::vector<Released> due;
  std::erase_if(released_, [&](Released& one) {
    if (one.free_at > now && !closing_) return false;
    due.push_back(std::move(one));
    return true;
  });
  if (due.empty()) return false;
  lock.unlock();
  std::vector<Released> left;
  for (Released& one : due) {
    const bool freed = left.empty() && rows_.release(one.row);
    if (!freed) left.push_back(one);
  }
  lock.lock();
  now = Clock::now();
  for (const Released& one : due) {
    const auto key = keys_.find(key_of(one.row.tenant, one.row.key));
    if (key == keys_.end()) continue;
    key->second.ask_at = now;
    key->second.pause = kPauseMin;
  }
  // The store can't be reached: tried again, until its time is up anyway.
  for (Released& one : left) {
    if (closing_ || one.until <= now) continue;
    one.free_at = now + kRenewAgain;
    released_.push_back(std::move(one));
  }
  return true;
}

bool Locks::ask(std::unique_lock<std::mutex>& lock) {
  const SteadyTime now = Clock::now();
  const auto due = std::min_element(keys_.begin(), keys_.end(), [](const auto& a, const auto& b) {
    return a.second.ask_at < b.second.ask_at;
  });
  if (due == keys_.end() || due->second.ask_at > now) return false;
  const std::string key = due->first;
  const std::shared_ptr<Waiter> waiter = due->second.waiters.front();
  const LockRequest& request = waiter->request;
  const LockClaim claim{request.tenant, request.key, waiter->token, holder_, request.ttl};
  const bool was_unsure = std::exchange(waiter->unsure, true);
  lock.unlock();
  const auto answer = rows_.acquire(claim);
  std::vector<Answer> answers;
  lock.lock();
  // What was not got is known not to be held; where an answer was lost, nobody knows before the next one.
  waiter->unsure = !answer && (was_unsure || answer.error().code == ErrorCode::outcome_unknown);
  settle(key, waiter, now, answer, answers);
  if (answers.empty()) return true;
  lock.unlock();
  for (auto& [done, result] : answers) done(std::move(result));
  answers.clear();
  lock.lock();
  return true;
}

// What came of it. Meanwhile it may have been given up, and others may have come.
void Locks::settle(const std::string& key, const std::shared_ptr<Waiter>& waiter,
                   const SteadyTime sent, const Result<LockAnswer>& answer,
                   std::vector<Answer>& answers) {
  const LockRequest& request = waiter->request;
  const bool waits = waits_.contains(waiter->number);
  const bool has_it = answer && answer->fence;
  waiter->tried = true;
  if (!waits) {
    waiter->unsure = waiter->unsure || has_it;
    return leave_row(*waiter);
  }
  if (has_it) {
    const std::shared_ptr<Waiter> taken = take(key, waiter->number);
    LockHeld row{request.tenant, request.key, waiter->token, *answer->fence, request.ttl};
    const std::chrono::milliseconds ttl(request.ttl);
    auto held = std::make_shared<detail::HeldLock>(row, rows_.held_query(), weak_from_this());
    held_.emplace(row.token, Held{held, sent + ttl, sent + ttl / 3});
    ends_.notify_all();
    answers.emplace_back(std::move(taken->done), Lock(std::move(held)));
    return;
  }
  if (!answer && answer.error().code == ErrorCode::closed) {
    answers.emplace_back(std::move(take(key, waiter->number)->done), closed());
    return;
  }
  waiter->told = answer ? fmt::format("{} has it", answer->holder) : answer.error().message;
  const SteadyTime now = Clock::now();
  if (now >= waiter->until) {
    leave_row(*waiter);
    const std::shared_ptr<Waiter> taken = take(key, waiter->number);
    answers.emplace_back(std::move(taken->done), timed_out(*taken));
    return;
  }
  Key& waited = keys_.at(key);
  std::chrono::milliseconds pause = by_chance(waited.pause);
  if (answer && answer->free_in > 0) {
    pause = std::min(pause, std::chrono::milliseconds(answer->free_in));
  }
  waited.ask_at = std::min(now + std::max(pause, 1ms), waiter->until);
  waited.pause = std::min(waited.pause * 2, kPauseMax);
}

// ---- the thread that looks at the time

Locks::SteadyTime Locks::next_end() const {
  auto next = Clock::time_point::max();
  for (const auto& [key, waited] : keys_) {
    for (const auto& waiter : waited.waiters) {
      next = std::min(next, waiter->tried ? waiter->until : waiter->until + kFirstAnswerMax);
    }
  }
  for (const auto& [token, held] : held_) next = std::min(next, held.valid_until);
  return next;
}

void Locks::watch() {
  std::unique_lock lock(mutex_);
  while (!closing_) {
    const SteadyTime next = next_end();
    if (next == Clock::time_point::max()) {
      ends_.wait(lock);
    } else if (next > Clock::now()) {
      ends_.wait_until(lock, next);
    }
    const SteadyTime now = Clock::now();
    std::vector<std::pair<std::string, LockWait>> late;
    for (const auto& [key, waited] : keys_) {
      for (const auto& waiter : waited.waiters) {
        const SteadyTime until = waiter->tried ? waiter->until : waiter->until + kFirstAnswerMax;
        if (until <= now) late.emplace_back(key, waiter->number);
      }
    }
    std::vector<Answer> answers;
    for (const auto& [key, number] : late) {
      const std::shared_ptr<Waiter> waiter = take(key, number);
      leave_row(*waiter);
      answers.emplace_back(std::move(waiter->done), timed_out(*waiter));
    }
    std::vector<Lost> lost;
    for (auto held = held_.begin(); held != held_.end();) {
      if (held->second.valid_until > now) {
        ++held;
        continue;
      }
      const LockHeld& row = held->second.lock->row();
      lost.emplace_back(
          held->second.lock,
          Error{ErrorCode::lock_lost,
                fmt::format("Lock '{}' was lost: it could not be renewed for {} ms, and another "
                            "one may have it.",
                            row.key, row.ttl),
                row.key});
      held = held_.erase(held);
    }
    if (answers.empty() && lost.empty()) continue;
    lock.unlock();
    for (auto& [done, result] : answers) done(std::move(result));
    for (auto& [one, why] : lost) one->lose(std::move(why));
    lock.lock();
  }
}

// ---- the end

void Locks::close() {
  std::call_once(closed_, [this] {
    std::map<std::string, Key> keys;
    std::map<std::string, Held> held;
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
      keys.swap(keys_);
      waits_.clear();
      held.swap(held_);
      for (const auto& [key, waited] : keys) {
        for (const auto& waiter : waited.waiters) leave_row(*waiter);
      }
      work_.notify_all();
      ends_.notify_all();
    }
    for (auto& [key, waited] : keys) {
      for (const auto& waiter : waited.waiters) waiter->done(closed());
    }
    for (auto& [token, one] : held) {
      one.lock->lose(Error{ErrorCode::lock_lost,
                           fmt::format("Lock '{}' is not renewed any more: the runtime is closed.",
                                       one.lock->row().key),
                           one.lock->row().key});
    }
    if (worker_.joinable()) worker_.join();
    if (watcher_.joinable()) watcher_.join();
  });
}

}  // namespace pawl
