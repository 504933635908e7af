#include "core/ready_queue.h"

#include <algorithm>
#include <cmath>

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

double RateLimiter::full_with_one(const RateLimit& limit, const Timestamp now) const {
  return std::max(full_at_, static_cast<double>(now)) + static_cast<double>(limit.per) / limit.max;
}

Timestamp RateLimiter::allows_at(const RateLimit& limit, const Timestamp now) const {
  const double at = full_with_one(limit, now) - static_cast<double>(limit.per);
  // What is nearer than this is of the arithmetic.
  constexpr double kNear = 1e-6;
  return std::max(now, static_cast<Timestamp>(std::ceil(at - kNear)));
}

void RateLimiter::count(const RateLimit& limit, const Timestamp now) {
  full_at_ = full_with_one(limit, now);
}

}  // namespace pawl
