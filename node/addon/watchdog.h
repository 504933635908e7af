#pragma once

// Notices workflow code that does not yield. Such code holds the JavaScript thread, and with it
// everything else of the process, so the report comes from a thread of its own and goes straight to
// standard error.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

#include <pawl/host.h>

namespace pawl::node {

class Watchdog {
 public:
  // Reports an activation that takes longer than `patience`, once.
  explicit Watchdog(std::chrono::milliseconds patience);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // On the JavaScript thread, around each activation.
  void begin(const Activation& activation);
  void end();

 private:
  void watch();

  const std::chrono::milliseconds patience_;
  // The activation that runs; 0: none. A number of its own for each, so that each is reported once.
  std::atomic<std::uint64_t> running_ = 0;
  std::atomic<ExecutionRef> execution_ = 0;  // whose it is
  std::uint64_t begun_ = 0;                  // JavaScript thread only

  std::mutex mutex_;
  // Guarded by mutex_: of the execution whose function was begun last. In its first activation its
  // row is not in the store yet, so a report has to name it.
  ExecutionRef begun_execution_ = 0;
  std::string begun_name_;
  std::condition_variable wake_;
  bool closing_ = false;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace pawl::node
