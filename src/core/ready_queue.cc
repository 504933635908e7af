#include "core/ready_queue.h"

#include <algorithm>

#include "base/duration.h"

namespace pawl {

void ReadyQueue::push(const std::string& action, ActionTask task) {
  Lanes& lanes = tenants_[task.tenant];
  lanes[action].push_back(Waiting{next_number_++, std::move(task)});
  ++size_;
}

std::optional<std::pair<std::string, ActionTask>> ReadyQueue::pop(const May& may) {
  auto tenant = tenants_.upper_bound(last_tenant_);
  for (std::size_t left = tenants_.size(); left > 0; --left, ++tenant) {
    if (tenant == tenants_.end()) tenant = tenants_.begin();
    Lanes& lanes = tenant->second;
    auto first = lanes.end();
    for (auto lane = lanes.begin(); lane != lanes.end(); ++lane) {
      const bool sooner =
          first == lanes.end() || lane->second.front().number < first->second.front().number;
      if (sooner && may(tenant->first, lane->first)) first = lane;
    }
    if (first == lanes.end()) continue;
    std::pair<std::string, ActionTask> next{first->first, std::move(first->second.front().task)};
    first->second.pop_front();
    if (first->second.empty()) lanes.erase(first);
    last_tenant_ = tenant->first;
    if (lanes.empty()) tenants_.erase(tenant);
    --size_;
    return next;
  }
  return std::nullopt;
}

Timestamp RateLimiter::allows_at(const RateLimit& limit, const Timestamp now) const {
  int begun = begun_;
  Timestamp at = now;
  for (const Slot& slot : slots_) {
    if (begun < limit.max) break;
    at = std::max(now, later(slot.last, limit.per));
    begun -= slot.begun;
  }
  return at;
}

void RateLimiter::count(const RateLimit& limit, const Timestamp now) {
  while (!slots_.empty() && later(slots_.front().last, limit.per) <= now) {
    begun_ -= slots_.front().begun;
    slots_.pop_front();
  }
  if (slots_.empty() || now - slots_.back().first > limit.per / kSlotsMax) {
    slots_.push_back(Slot{now, now, 0});
  }
  slots_.back().last = now;
  ++slots_.back().begun;
  ++begun_;
}

}  // namespace pawl
