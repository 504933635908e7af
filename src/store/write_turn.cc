#include "store/write_turn.h"

#include <algorithm>
#include <utility>

namespace pawl {

bool WriteTurn::engine_is_next() const {
  return !held_ && (users_.empty() || Clock::now() - engine_came_ >= kEngineWaits);
}

bool WriteTurn::user_is_next(const std::uint64_t ticket) const {
  if (held_ || users_.front() != ticket) return false;
  return !engine_waits_ || Clock::now() - engine_came_ < kEngineWaits;
}

void WriteTurn::wait(std::unique_lock<std::mutex>& lock, const Clock::time_point until) {
  if (!held_ || holder_ == nullptr || giving_up_) {
    changed_.wait_until(lock, until);
    return;
  }
  if (Clock::now() < deadline_) {
    changed_.wait_until(lock, std::min(until, deadline_));
    return;
  }
  giving_up_ = true;
  const std::shared_ptr<TurnHolder> holder = holder_;
  lock.unlock();
  holder->give_up();
  lock.lock();
  giving_up_ = false;
  changed_.notify_all();
}

void WriteTurn::take_for_engine() {
  std::unique_lock lock(mutex_);
  engine_waits_ = true;
  engine_came_ = Clock::now();
  while (!engine_is_next())
    wait(lock, held_ ? Clock::time_point::max() : engine_came_ + kEngineWaits);
  engine_waits_ = false;
  held_ = true;
  holder_.reset();
  deadline_ = Clock::time_point::max();
}

bool WriteTurn::try_take_for_engine() {
  const std::lock_guard lock(mutex_);
  if (held_ || !users_.empty() || engine_waits_) return false;
  held_ = true;
  holder_.reset();
  deadline_ = Clock::time_point::max();
  return true;
}

void WriteTurn::take(std::shared_ptr<TurnHolder> holder, const std::chrono::milliseconds most) {
  std::unique_lock lock(mutex_);
  const std::uint64_t ticket = next_ticket_++;
  users_.push_back(ticket);
  while (!user_is_next(ticket)) wait(lock, Clock::time_point::max());
  users_.pop_front();
  held_ = true;
  holder_ = std::move(holder);
  deadline_ = Clock::now() + most;
  // Others wait for the turn's end only, and have to know when that is at the latest.
  changed_.notify_all();
}

void WriteTurn::give_back() {
  {
    const std::lock_guard lock(mutex_);
    held_ = false;
    holder_.reset();
  }
  changed_.notify_all();
}

}  // namespace pawl
