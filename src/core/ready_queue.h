#pragma once

// Attempts that wait for a place at their host, and which is next: tenants take turns, so that none waits for all
// that another one has asked for; within a tenant, the one that came first. Actions that may not begin now, by a
// limit of their name or of their tenant, keep nobody waiting but themselves.

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "pawl/host.h"

namespace pawl {

class ReadyQueue {
 public:
  // `action`: the name by which it is limited.
  void push(const std::string& action, ActionTask task);
  // None: nothing waits that may begin. The name comes along.
  using May = std::function<bool(const std::string& tenant, const std::string& action)>;
  std::optional<std::pair<std::string, ActionTask>> pop(const May& may);

  std::size_t size() const { return size_; }

 private:
  struct Waiting {
    std::uint64_t number = 0;  // in the order in which they came
    ActionTask task;
  };
  using Lanes = std::map<std::string, std::deque<Waiting>, std::less<>>;  // by action

  std::map<std::string, Lanes, std::less<>> tenants_;
  std::string last_tenant_;  // the others have their turn before it
  std::uint64_t next_number_ = 1;
  std::size_t size_ = 0;
};

// So many beginnings within a time, and no more within any stretch of that length.
class RateLimiter {
 public:
  // When the next one may begin.
  Timestamp allows_at(const RateLimit& limit, Timestamp now) const;
  // One begins, which may.
  void count(const RateLimit& limit, Timestamp now);

 private:
  // Those of one moment, or, where the time of the limit is long, of a small share of it.
  struct Slot {
    Timestamp first = 0;
    Timestamp last = 0;
    int begun = 0;
  };
  static constexpr DurationMs kSlotsMax = 1'000;

  std::deque<Slot> slots_;  // what is counted still
  int begun_ = 0;           // in all of them
};

}  // namespace pawl
