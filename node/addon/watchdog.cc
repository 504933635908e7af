#include "watchdog.h"

#include <algorithm>
#include <cstdio>
#include <string>
#include <variant>

namespace pawl::node {

Watchdog::Watchdog(std::chrono::milliseconds patience)
    : patience_(patience), thread_([this] { watch(); }) {}

Watchdog::~Watchdog() {
  {
    std::lock_guard lock(mutex_);
    closing_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void Watchdog::begin(const Activation& activation) {
  if (!activation.jobs.empty()) {
    if (const auto* start = std::get_if<StartJob>(&activation.jobs.front())) {
      std::lock_guard lock(mutex_);
      begun_execution_ = activation.execution;
      begun_name_ = "execution '" + start->execution_id + "' of workflow '" + start->workflow +
                    "' (tenant '" + start->tenant + "')";
    }
  }
  execution_.store(activation.execution, std::memory_order_relaxed);
  running_.store(++begun_, std::memory_order_release);
}

void Watchdog::end() { running_.store(0, std::memory_order_release); }

void Watchdog::watch() {
  using Clock = std::chrono::steady_clock;
  // Looked at four times in the time of patience: no clock is read around an activation.
  const auto interval = std::max(patience_ / 4, std::chrono::milliseconds(1));
  std::uint64_t seen = 0;
  auto seen_since = Clock::now();
  bool reported = false;
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, interval, [this] { return closing_; })) {
    const auto running = running_.load(std::memory_order_acquire);
    const auto now = Clock::now();
    if (running != seen) {
      seen = running;
      seen_since = now;
      reported = false;
      continue;
    }
    if (running == 0 || reported || now - seen_since < patience_) continue;
    reported = true;
    const auto seconds = std::chrono::duration<double>(patience_).count();
    const auto execution = execution_.load(std::memory_order_relaxed);
    const auto number = std::to_string(execution);
    const bool named = execution == begun_execution_;
    const std::string who = named ? begun_name_ : "execution number " + number;
    const std::string where =
        named ? ""
              : " SELECT * FROM workflow_executions WHERE execution = " + number +
                    " tells which one it is.";
    std::fprintf(stderr,
                 "pawl: workflow code of %s has not yielded for %.1f s, and nothing else of this "
                 "process can run meanwhile. It is in an endless loop, or does work that belongs "
                 "into an action.%s\n",
                 who.c_str(), seconds, where.c_str());
  }
}

}  // namespace pawl::node
