#include "action/pool_executor.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "base/clock.h"
#include "base/name.h"
#include "model/failure_from_exception.h"
#include "model/limit_checks.h"

namespace pawl {

namespace {

thread_local const PoolExecutor* pool_of_this_thread = nullptr;

Failure stopped(std::string message) {
  return Failure{.name = "Aborted", .message = std::move(message), .code = "aborted"};
}

void answer(const ActionTask& task, ActionSink& sink, std::variant<Payload, Failure> outcome,
            const bool deferred = false) {
  std::vector<ActionOutcome> outcomes;
  outcomes.push_back(ActionOutcome{.id = task.id,
                                   .execution = task.execution,
                                   .position = task.position,
                                   .outcome = std::move(outcome),
                                   .deferred = deferred});
  sink.actions_finished(std::move(outcomes));
}

}  // namespace

PoolExecutor::PoolExecutor(PoolOptions options)
    : options_([&options] {
        options.threads = std::max<std::size_t>(1, options.threads);
        return std::move(options);
      }()) {
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < options_.threads; ++i) add_thread();
}

PoolExecutor::~PoolExecutor() { close(); }

bool PoolExecutor::runs_this_thread() const { return pool_of_this_thread == this; }

void PoolExecutor::close() {
  if (runs_this_thread()) {
    throw std::logic_error(
        "the pool was closed from one of its handlers, for whose end that waits");
  }
  std::vector<std::stop_source> running;
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    for (auto& [id, job] : under_way_) running.push_back(job->stop);
  }
  for (std::stop_source& stop : running) stop.request_stop();
  wake_.notify_all();
  std::call_once(closed_, [this] {
    // From closing_ on threads neither come nor go.
    for (Threads* const threads : {&threads_, &ended_}) {
      for (std::thread& thread : *threads) thread.join();
    }
  });
}

void PoolExecutor::register_action(std::string_view name, detail::ActionHandler handler) {
  auto shared = std::make_shared<const detail::ActionHandler>(std::move(handler));
  const std::lock_guard lock(mutex_);
  handlers_.insert_or_assign(meeting_name(name), std::move(shared));
}

void PoolExecutor::register_failure_classifier(FailureClassifier classifier) {
  auto shared = std::make_shared<const FailureClassifier>(std::move(classifier));
  const std::lock_guard lock(mutex_);
  classifiers_.push_back(std::move(shared));
}

void PoolExecutor::run(std::vector<ActionTask> tasks, const std::shared_ptr<ActionSink>& sink) {
  const std::size_t count = tasks.size();
  {
    std::unique_lock lock(mutex_);
    if (closing_) {
      lock.unlock();
      for (const ActionTask& task : tasks) answer(task, *sink, stopped("the pool is closed"));
      return;
    }
    for (ActionTask& task : tasks) {
      auto job = std::make_shared<Job>(Job{std::move(task), sink, {}});
      under_way_.emplace(job->task.id, job);
      queue_.push_back(std::move(job));
    }
  }
  if (count == 1) {
    wake_.notify_one();
  } else {
    wake_.notify_all();
  }
}

std::vector<AttemptId> PoolExecutor::hold() {
  const std::lock_guard lock(mutex_);
  std::vector<AttemptId> held;
  for (const std::shared_ptr<Job>& job : queue_) {
    held.push_back(job->task.id);
    under_way_.erase(job->task.id);
  }
  queue_.clear();
  return held;
}

void PoolExecutor::abort(const AttemptId attempt) {
  std::stop_source stop(std::nostopstate);
  bool say_so = false;
  {
    const std::lock_guard lock(mutex_);
    const auto found = under_way_.find(attempt);
    if (found == under_way_.end()) return;
    stop = found->second->stop;
    say_so = give_up(*found->second);
  }
  stop.request_stop();  // not under the lock: it calls what handlers have hung on it
  if (!say_so || !options_.warn) return;
  options_.warn(fmt::format(
      "Handlers of actions go on though they ran out of time or their executions ended, and keep "
      "{} "
      "threads beyond those of the pool (abandoned_threads_max). Until one returns, other attempts "
      "wait for its thread. Have handlers look at context.stop, or bound what they wait for.",
      options_.abandoned_threads_max));
}

void PoolExecutor::add_thread() {
  const auto self = threads_.emplace(threads_.end());
  *self = std::thread([this, self] { work(self); });
}

// Has another thread in place of that job's, which may be lost. True: there is none, and it is to be
// said.
bool PoolExecutor::give_up(Job& job) {
  if (!job.begun || job.given_up) return false;
  job.given_up = true;
  ++abandoned_;
  if (closing_) return false;
  for (std::thread& thread : ended_) thread.join();
  ended_.clear();
  if (threads_.size() < options_.threads + options_.abandoned_threads_max) {
    add_thread();
    return false;
  }
  return !std::exchange(short_of_threads_, true);
}

// Of those whose handlers are wanted.
bool PoolExecutor::has_thread_too_many() const {
  return !closing_ && threads_.size() - abandoned_ > options_.threads;
}

void PoolExecutor::work(const Threads::iterator self) {
  pool_of_this_thread = this;
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return closing_ || !queue_.empty(); });
    if (queue_.empty()) return;
    const std::shared_ptr<Job> job = std::move(queue_.front());
    queue_.pop_front();
    job->begun = true;
    lock.unlock();
    job->sink->action_begun({job->task.id, job->task.execution, job->task.position});
    bool deferred = false;
    std::variant<Payload, Failure> outcome = attempt(*job, deferred);
    lock.lock();
    under_way_.erase(job->task.id);
    const bool given_up = job->given_up;
    lock.unlock();
    // One that failed is not to be completed by anybody.
    deferred = deferred && std::holds_alternative<Payload>(outcome);
    answer(job->task, *job->sink, std::move(outcome), deferred);
    lock.lock();
    if (!given_up) continue;
    --abandoned_;
    short_of_threads_ = false;
    if (!has_thread_too_many()) continue;
    ended_.splice(ended_.end(), threads_, self);
    return;
  }
}

void PoolExecutor::log(const ActionTask& task, const LogLevel level, std::string message,
                       Payload details) const {
  if (!options_.log) return;
  LogLine line;
  line.level = level;
  line.message = std::move(message);
  line.details = std::move(details);
  line.tenant = task.tenant;
  line.execution_id = task.execution_id;
  line.correlation_id = task.correlation_id;
  line.at = SystemClock().now();
  options_.log(std::move(line));
}

std::variant<Payload, Failure> PoolExecutor::attempt(const Job& job, bool& deferred) {
  auto outcome = call_handler(job, deferred);
  if (auto* const failure = std::get_if<Failure>(&outcome)) classify(*failure);
  return outcome;
}

void PoolExecutor::classify(Failure& failure) {
  std::vector<std::shared_ptr<const FailureClassifier>> classifiers;
  {
    const std::lock_guard lock(mutex_);
    classifiers = classifiers_;
  }
  for (auto at = classifiers.rbegin(); at != classifiers.rend(); ++at) {
    try {
      if (const auto found = (**at)(failure)) {
        failure.failure_class = *found;
        return;
      }
    } catch (...) {
      // It has nothing to say.
    }
  }
}

std::variant<Payload, Failure> PoolExecutor::call_handler(const Job& job, bool& deferred) {
  if (job.stop.stop_requested()) return stopped("the attempt was called off before it began");
  std::shared_ptr<const detail::ActionHandler> handler;
  {
    const std::lock_guard lock(mutex_);
    const auto found = handlers_.find(meeting_name(job.task.name));
    if (found != handlers_.end()) handler = found->second;
  }
  if (!handler) {
    return Failure{.name = "UnknownAction",
                   .message = "no handler for action '" + job.task.name + "' in this pool"};
  }
  ActionContext context;
  context.tenant = job.task.tenant;
  context.execution_id = job.task.execution_id;
  context.action = job.task.name;
  context.idempotency_key = job.task.idempotency_key;
  context.attempt = job.task.attempt;
  context.event_id = job.task.event_id;
  context.correlation_id = job.task.correlation_id;
  context.scheduled_at = std::chrono::sys_time<std::chrono::milliseconds>(
      std::chrono::milliseconds(job.task.scheduled_at));
  context.timeout = std::chrono::milliseconds(job.task.timeout);
  context.stop = job.stop.get_token();
  context.progress = job.task.progress;
  context.link = {&job.task, options_.limits.payload_bytes_max,
                  [&job](Payload progress) {
                    job.sink->action_heartbeat(
                        {job.task.id, job.task.execution, job.task.position, std::move(progress)});
                  },
                  &deferred,
                  [this, &job](LogLevel level, std::string message, Payload details) {
                    log(job.task, level, std::move(message), std::move(details));
                  }};
  context.token = completion_token(job.task);
  try {
    auto outcome = (*handler)(job.task.parameters, context);
    if (const auto* const result = std::get_if<Payload>(&outcome)) {
      if (const auto refused = check_payload("result", *result, options_.limits)) {
        return detail::validation_failure("the result can't be recorded: " + refused->message);
      }
    }
    return outcome;
  } catch (...) {
    return failure_from_current_exception();
  }
}

}  // namespace pawl
