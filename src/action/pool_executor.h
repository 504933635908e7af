#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "pawl/action.h"
#include "pawl/host.h"
#include "pawl/runtime.h"

namespace pawl {

// Attempts that wait in a pool while all its threads are busy.
inline constexpr std::size_t kTakenAhead = 64;

struct PoolOptions {
  std::size_t threads = 8;  // attempts that run at once, those given up not counted; at least 1
  // Threads that are put in place of those whose handlers go on though they were given up.
  std::size_t abandoned_threads_max = 64;
  Limits limits = {};
  // Where it says so when there are as many. May be absent.
  std::function<void(std::string message)> warn = {};
  // Where handlers log, from several threads at once. May be absent.
  std::function<void(LogLine line)> log = {};
};

// Runs actions on threads of its own. Any thread may call it. Attempts beyond the threads wait in a
// queue, so that a thread that is done has the next one at hand; whoever hands them in bounds it
// (Limits::actions_in_flight_max).
//
// A thread, as its handler is called, given up (abort), and returns:
//
//   Free --run--> Busy --returns--> Free
//                 Busy --abort--> Given up --returns--> Free, or ended, where another has its place
class PoolExecutor final : public ActionHost {
 public:
  explicit PoolExecutor(PoolOptions options);
  // Closes.
  ~PoolExecutor() override;
  PoolExecutor(const PoolExecutor&) = delete;
  PoolExecutor& operator=(const PoolExecutor&) = delete;

  // Names that meet are one name; the latest handler counts.
  void register_action(std::string_view name, detail::ActionHandler handler);

  // The latest is asked first.
  void register_failure_classifier(FailureClassifier classifier);

  // Few attempts wait here beyond those that run, so that who is next is decided by the engine, which is fair.
  std::optional<std::size_t> capacity() const override {
    return options_.threads + options_.abandoned_threads_max + kTakenAhead;
  }
  bool reports_begin() const override { return true; }
  void run(std::vector<ActionTask> tasks, const std::shared_ptr<ActionSink>& sink) override;
  std::vector<AttemptId> hold() override;
  void abort(AttemptId attempt) override;

  // Whether this is one of its threads: a handler's, or that of a sink it reports to.
  bool runs_this_thread() const;

  // Asks what runs to stop, answers what is queued, and from now on all else, with a failure, and waits
  // for the handlers, also for those that were given up: they use what their program takes down next.
  // From within one it throws std::logic_error, and does nothing. Idempotent.
  void close();

 private:
  struct Job {
    ActionTask task;
    std::shared_ptr<ActionSink> sink;
    std::stop_source stop;
    bool begun = false;  // under mutex_
    bool given_up =
        false;  // under mutex_; its thread counts as abandoned until its handler returns
  };
  using Threads = std::list<std::thread>;

  void work(Threads::iterator self);
  std::variant<Payload, Failure> attempt(const Job& job, bool& deferred);
  std::variant<Payload, Failure> call_handler(const Job& job, bool& deferred);
  void classify(Failure& failure);
  void log(const ActionTask& task, LogLevel level, std::string message, Payload details) const;
  // Under mutex_.
  void add_thread();
  bool give_up(Job& job);
  bool has_thread_too_many() const;

  const PoolOptions options_;

  std::mutex mutex_;
  std::condition_variable wake_;
  // All guarded by mutex_.
  bool closing_ = false;
  std::deque<std::shared_ptr<Job>> queue_;
  std::unordered_map<AttemptId, std::shared_ptr<Job>> under_way_;  // queued or running
  std::unordered_map<std::string, std::shared_ptr<const detail::ActionHandler>> handlers_;
  std::vector<std::shared_ptr<const FailureClassifier>> classifiers_;
  std::size_t abandoned_ = 0;      // threads whose handlers were given up
  bool short_of_threads_ = false;  // and it was said
  Threads threads_;
  Threads ended_;  // to be joined, which takes no time

  std::once_flag closed_;
};

}  // namespace pawl
