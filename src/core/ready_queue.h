#pragma once

// Attempts that wait for a place at their host, and which is next: tenants take turns, so that none waits for all
// that another one has asked for; within a tenant, the one that came first. Actions that may not begin now, by a
// limit of their name or of their tenant, keep nobody waiting but themselves.

#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "core/catalog.h"
#include "pawl/host.h"

namespace pawl {

class ReadyQueue {
 public:
  // A task is large, and goes through many hands: so it is passed on where it is.
  struct Ready {
    const Catalog::Action* action = nullptr;  // by which it is limited
    std::unique_ptr<ActionTask> task;
  };

  void push(const Catalog::Action& action, std::unique_ptr<ActionTask> task);
  // None: nothing waits that may begin.
  using May = std::function<bool(const std::string& tenant, const Catalog::Action& action)>;
  std::optional<Ready> pop(const May& may);

  std::size_t size() const { return size_; }

 private:
  struct Waiting {
    std::uint64_t number = 0;  // in the order in which they came
    std::unique_ptr<ActionTask> task;
  };
  using Lanes = std::map<const Catalog::Action*, std::list<Waiting>>;

  std::map<std::string, Lanes> tenants_;
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
