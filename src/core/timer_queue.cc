#include "core/timer_queue.h"

#include <tuple>

#include "core/partition.h"

namespace pawl {

bool TimerQueue::Earlier::operator()(const TimerRecord& left, const TimerRecord& right) const {
  return std::tie(left.fire_at, left.execution, left.position) <
         std::tie(right.fire_at, right.execution, right.position);
}

void TimerQueue::arm(const TimerRecord& timer) {
  // A load under way may have read before this one was committed, so it is held whatever its time.
  const bool within = complete_ || loading_ || !Earlier{}(window_end_, timer);
  if (!within) return;
  held_.insert(timer);
  if (held_.size() > kTimersHeldMax && !loading_) {
    held_.erase(std::prev(held_.end()));
    window_end_ = *held_.rbegin();
    complete_ = false;
  }
}

void TimerQueue::disarm(const TimerRecord& timer) { held_.erase(timer); }

std::optional<Timestamp> TimerQueue::next() const {
  if (held_.empty()) return std::nullopt;
  return held_.begin()->fire_at;
}

std::optional<TimerRecord> TimerQueue::take_due(const Timestamp now) {
  if (held_.empty() || held_.begin()->fire_at > now) return std::nullopt;
  const TimerRecord timer = *held_.begin();
  held_.erase(held_.begin());
  return timer;
}

std::optional<TimerRecord> TimerQueue::want_load() {
  if (loading_) return std::nullopt;
  if (from_start_) {
    from_start_ = false;
    window_end_ = {0, 0, TimerKind::sleep, 0};
  } else if (complete_ || !held_.empty()) {
    return std::nullopt;
  }
  loading_ = true;
  return window_end_;
}

void TimerQueue::load_again() {
  complete_ = false;
  from_start_ = true;
}

void TimerQueue::forget(const int partition) {
  std::erase_if(held_, [partition](const TimerRecord& timer) {
    return partition_of(timer.execution) == partition;
  });
}

void TimerQueue::loaded(const std::vector<TimerRecord>& timers, const bool complete) {
  loading_ = false;
  held_.insert(timers.begin(), timers.end());
  complete_ = complete;
  if (!timers.empty()) window_end_ = timers.back();
  // What was armed meanwhile and lies beyond is in the store; held, it would keep the next load away.
  if (!complete) held_.erase(held_.upper_bound(window_end_), held_.end());
}

}  // namespace pawl
