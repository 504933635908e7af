#include "harness/closed_loop.h"

#include <algorithm>
#include <utility>

#include "harness/durations.h"

namespace bench {

ClosedLoop::ClosedLoop(const std::int64_t first, const std::int64_t n, const int concurrency,
                       const Operation& operation)
    : end_(first + n), n_(n), concurrency_(concurrency), operation_(operation), next_(first) {
  latencies_ms_.reserve(static_cast<std::size_t>(n));
}

std::vector<double> ClosedLoop::run() {
  for (std::int64_t i = 0; i < std::min<std::int64_t>(concurrency_, n_); ++i) next();
  std::unique_lock lock(mutex_);
  finished_.wait(lock, [this] { return static_cast<std::int64_t>(latencies_ms_.size()) == n_; });
  return std::move(latencies_ms_);
}

void ClosedLoop::next() {
  std::int64_t number = 0;
  {
    const std::lock_guard lock(mutex_);
    if (next_ == end_) return;
    number = next_++;
  }
  operation_(number, [this, watch = Stopwatch()] {
    const double ms = watch.ms();
    next();
    note(ms);  // last: the loop may be gone after it
  });
}

void ClosedLoop::note(const double ms) {
  const std::lock_guard lock(mutex_);
  latencies_ms_.push_back(ms);
  if (static_cast<std::int64_t>(latencies_ms_.size()) == n_) finished_.notify_one();
}

}  // namespace bench
