#include "action/wait_executor.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <variant>

#include "base/clock.h"
#include "pawl/action.h"
#include "pawl/builtin_actions.h"

namespace pawl {

namespace {

using actions::Wait;

// So that a clock that was set is noticed, and times far away fit the clock's type.
constexpr std::chrono::minutes kLookAgain{1};

void answer(const ActionTask& task, ActionSink& sink, std::variant<Payload, Failure> outcome) {
  std::vector<ActionOutcome> outcomes;
  outcomes.push_back(ActionOutcome{.id = task.id,
                                   .execution = task.execution,
                                   .position = task.position,
                                   .outcome = std::move(outcome)});
  sink.actions_finished(std::move(outcomes));
}

}  // namespace

WaitExecutor::~WaitExecutor() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void WaitExecutor::run(std::vector<ActionTask> tasks, const std::shared_ptr<ActionSink>& sink) {
  for (ActionTask& task : tasks) {
    auto parameters = from_payload<Wait::Parameters>(task.parameters, UnknownMembers::refuse);
    if (!parameters) {
      answer(task, *sink, *detail::misfit_of<Wait>(task.parameters));
      continue;
    }
    const std::int64_t ms = parameters->duration.ms().count();
    const std::lock_guard lock(mutex_);
    const AttemptId attempt = task.id;
    const Timestamp until = task.scheduled_at + ms;
    by_attempt_.emplace(attempt, waiting_.emplace(until, Waiting{std::move(task), sink, ms}));
    if (!thread_.joinable()) thread_ = std::thread([this] { work(); });
  }
  changed_.notify_all();
}

std::vector<AttemptId> WaitExecutor::hold() {
  const std::lock_guard lock(mutex_);
  std::vector<AttemptId> held;
  held.reserve(by_attempt_.size());
  for (const auto& [attempt, at] : by_attempt_) held.push_back(attempt);
  by_attempt_.clear();
  waiting_.clear();
  return held;
}

void WaitExecutor::abort(const AttemptId attempt) {
  std::optional<Waiting> given_up;
  {
    const std::lock_guard lock(mutex_);
    const auto found = by_attempt_.find(attempt);
    if (found == by_attempt_.end()) return;
    given_up = std::move(found->second->second);
    waiting_.erase(found->second);
    by_attempt_.erase(found);
  }
  answer(given_up->task, *given_up->sink,
         Failure{.name = "Aborted", .message = "the attempt was called off", .code = "aborted"});
}

void WaitExecutor::work() {
  std::unique_lock lock(mutex_);
  while (!closing_) {
    if (waiting_.empty()) {
      changed_.wait(lock);
      continue;
    }
    const Timestamp now = SystemClock().now();
    if (waiting_.begin()->first > now) {
      const std::chrono::milliseconds left(waiting_.begin()->first - now);
      changed_.wait_for(lock, std::min<std::chrono::milliseconds>(left, kLookAgain));
      continue;
    }
    const Waiting due = std::move(waiting_.begin()->second);
    by_attempt_.erase(due.task.id);
    waiting_.erase(waiting_.begin());
    lock.unlock();
    answer(due.task, *due.sink, to_payload(Wait::Result{due.waited}).value());
    lock.lock();
  }
}

}  // namespace pawl
