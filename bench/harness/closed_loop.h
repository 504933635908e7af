#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

namespace bench {

// Begins the operation of that number, and has `done` called once its client got the last answer that it
// waits for. Called from threads of the engine: it must not wait.
using Operation = std::function<void(std::int64_t number, std::function<void()> done)>;

// Clients that each begin an operation as soon as their last one is done.
class ClosedLoop {
 public:
  // Those from number `first` on.
  ClosedLoop(std::int64_t first, std::int64_t n, int concurrency, const Operation& operation);

  // Waits until all are done, and gives how long each took.
  std::vector<double> run();

 private:
  void next();
  void note(double ms);

  const std::int64_t end_;
  const std::int64_t n_;
  const int concurrency_;
  const Operation& operation_;
  std::mutex mutex_;
  std::condition_variable finished_;
  // Below: by mutex_.
  std::int64_t next_;
  std::vector<double> latencies_ms_;
};

}  // namespace bench
