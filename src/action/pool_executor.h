#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <map>
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

// Runs actions on threads of its own. Any thread may call it. Attempts beyond the threads wait in a
// queue, so that a thread that is done has the next one at hand; whoever hands them in bounds it
// (Limits::actions_in_flight_max).
class PoolExecutor final : public ActionHost {
 public:
  explicit PoolExecutor(std::size_t threads, const Limits& limits = {});
  // Closes.
  ~PoolExecutor() override;
  PoolExecutor(const PoolExecutor&) = delete;
  PoolExecutor& operator=(const PoolExecutor&) = delete;

  // Names that meet are one name; the latest handler counts.
  void register_action(std::string_view name, detail::ActionHandler handler);

  bool reports_begin() const override { return true; }
  void run(std::vector<ActionTask> tasks, const std::shared_ptr<ActionSink>& sink) override;
  void abort(AttemptId attempt) override;

  // Whether this is one of its threads: a handler's, or that of a sink it reports to.
  bool runs_this_thread() const;

  // Asks what runs to stop, answers what is queued, and from now on all else, with a failure, and waits
  // for the handlers. From within one it throws std::logic_error, and does nothing. Idempotent.
  void close();

 private:
  struct Job {
    ActionTask task;
    std::shared_ptr<ActionSink> sink;
    std::stop_source stop;
  };

  void work();
  std::variant<Payload, Failure> attempt(const Job& job);

  const Limits limits_;

  std::mutex mutex_;
  std::condition_variable wake_;
  // All guarded by mutex_.
  bool closing_ = false;
  std::deque<std::shared_ptr<Job>> queue_;
  std::unordered_map<AttemptId, std::stop_source> under_way_;  // queued or running
  std::unordered_map<std::string, std::shared_ptr<const detail::ActionHandler>> handlers_;

  std::once_flag closed_;
  std::vector<std::jthread> threads_;  // last: they use all of the above
};

}  // namespace pawl
