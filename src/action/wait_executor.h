#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "pawl/host.h"
#include "pawl/time.h"

namespace pawl {

// Runs the built-in action `wait`: all waits share one thread, which is there from the first on. Any thread may
// call it.
class WaitExecutor final : public ActionHost {
 public:
  WaitExecutor() = default;
  ~WaitExecutor() override;
  WaitExecutor(const WaitExecutor&) = delete;
  WaitExecutor& operator=(const WaitExecutor&) = delete;

  void run(std::vector<ActionTask> tasks, const std::shared_ptr<ActionSink>& sink) override;
  // All that wait: after the next opening they go on, to the same time.
  std::vector<AttemptId> hold() override;
  void abort(AttemptId attempt) override;

 private:
  struct Waiting {
    ActionTask task;
    std::shared_ptr<ActionSink> sink;
    std::int64_t waited = 0;
  };
  using ByTime = std::multimap<Timestamp, Waiting>;

  void work();

  std::mutex mutex_;
  std::condition_variable changed_;
  // All guarded by mutex_.
  ByTime waiting_;
  std::unordered_map<AttemptId, ByTime::iterator> by_attempt_;
  bool closing_ = false;
  std::thread thread_;
};

}  // namespace pawl
