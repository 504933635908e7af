#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace pawl {

// A few threads that read from the store for the engine and its callers. What is queued is bounded
// by the calls and executions that are under way (requests_queued_max and the shard's own bounds).
class ReaderPool {
 public:
  explicit ReaderPool(int threads);
  ~ReaderPool();  // runs what is queued, then stops

  // Any thread. False, and nothing is done, once close() was called.
  bool post(std::function<void()> task);
  void close();

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;  // under mutex_
  bool closing_ = false;                     // under mutex_
  std::vector<std::thread> threads_;
};

}  // namespace pawl
