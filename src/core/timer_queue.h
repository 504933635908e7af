#pragma once

// The timers of a shard that come due first. Only a window of them is held; the store has all.

#include <compare>
#include <cstddef>
#include <optional>
#include <set>
#include <vector>

#include "model/execution_record.h"

namespace pawl {

inline constexpr std::size_t kTimersHeldMax = 100'000;
inline constexpr int kTimersLoadedAtOnce = 10'000;

class TimerQueue {
 public:
  // Takes note of a timer that is in the store. Beyond the window it is left to a later load.
  void arm(const TimerRecord& timer);
  void disarm(const TimerRecord& timer);

  // When the earliest held one is due.
  std::optional<Timestamp> next() const;
  // Removes and returns the earliest one that is due at `now`.
  std::optional<TimerRecord> take_due(Timestamp now);

  // The point to load from, when nothing is held and the store may have more. It is given once per
  // load; `loaded` ends it.
  std::optional<TimerRecord> want_load();
  void loaded(const std::vector<TimerRecord>& timers, bool complete);
  void load_failed() { loading_ = false; }
  // The store has others now, which are to be held as well.
  void load_again();
  // Those of a partition that is another's.
  void forget(int partition);

  std::size_t size() const { return held_.size(); }

 private:
  struct Earlier {
    bool operator()(const TimerRecord& left, const TimerRecord& right) const;
  };

  std::set<TimerRecord, Earlier> held_;
  TimerRecord window_end_{0, 0, TimerKind::sleep, 0};  // everything up to here is held
  bool complete_ = false;                              // everything is
  bool loading_ = false;
  bool from_start_ = false;  // what is held may have gaps: load from the beginning
};

}  // namespace pawl
