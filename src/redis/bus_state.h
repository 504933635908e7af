#pragma once

// What the threads of a bus count, and what is wrong with each.

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>

#include "core/hint_bus.h"

namespace pawl {

enum class BusPart { writer, reader, answers };

// Any thread.
class BusState {
 public:
  std::atomic<std::uint64_t> published = 0;
  std::atomic<std::uint64_t> dropped = 0;
  std::atomic<std::uint64_t> received = 0;
  std::atomic<std::uint64_t> acknowledged = 0;
  std::atomic<std::uint64_t> reconnects = 0;

  void set_trouble(const BusPart part, std::string text) {
    const std::lock_guard lock(mutex_);
    trouble_[static_cast<std::size_t>(part)] = std::move(text);
  }
  HintBusCounters counters() const {
    HintBusCounters counters{published, dropped, received, acknowledged, reconnects, {}};
    const std::lock_guard lock(mutex_);
    for (const std::string& text : trouble_) {
      if (counters.trouble.empty()) counters.trouble = text;
    }
    return counters;
  }

 private:
  mutable std::mutex mutex_;
  std::array<std::string, 3> trouble_;  // under mutex_
};

}  // namespace pawl
