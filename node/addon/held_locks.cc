#include "held_locks.h"

#include <utility>

namespace pawl::node {

bool HeldLocks::expect(const std::int64_t number) {
  const std::lock_guard lock(mutex_);
  return entries_.try_emplace(number, std::make_shared<Entry>()).second;
}

void HeldLocks::waits(const std::int64_t number, const LockWait wait) {
  const std::lock_guard lock(mutex_);
  const auto entry = entries_.find(number);
  if (entry != entries_.end()) entry->second->wait = wait;
}

void HeldLocks::keep(const std::int64_t number, Lock lock) {
  const std::lock_guard guard(mutex_);
  const auto entry = entries_.find(number);
  // Otherwise it goes with its handle.
  if (entry != entries_.end()) entry->second->lock.emplace(std::move(lock));
}

void HeldLocks::forget(const std::int64_t number) {
  const std::lock_guard lock(mutex_);
  entries_.erase(number);
}

void HeldLocks::when_ended(const std::int64_t number, Ended ended) {
  std::shared_ptr<Entry> entry;
  std::stop_token lost;
  {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(number);
    if (found != entries_.end() && found->second->lock) {
      entry = found->second;
      entry->ended = std::move(ended);
      lost = entry->lock->lost();
    }
  }
  if (!entry) return ended(std::nullopt);
  // Where it is lost already, this calls back here and now.
  entry->on_loss.emplace(lost, [this, number] {
    Ended told;
    std::optional<Error> why;
    {
      const std::lock_guard lock(mutex_);
      const auto found = entries_.find(number);
      if (found == entries_.end()) return;
      told = std::exchange(found->second->ended, {});
      why = found->second->lock->loss();
    }
    if (told) told(std::move(why));
  });
}

LockWait HeldLocks::release(const std::int64_t number) {
  std::shared_ptr<Entry> entry;
  Ended told;
  {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(number);
    if (found == entries_.end()) return 0;
    entry = std::move(found->second);
    entries_.erase(found);
    told = std::exchange(entry->ended, {});
  }
  if (told) told(std::nullopt);
  return entry->lock ? 0 : entry->wait;
}

}  // namespace pawl::node
