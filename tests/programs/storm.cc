// The processes of the storm (tests/scenarios/storm_test.cc).
//
//   storm work STORE SEED [finish]  an engine under load, until it is killed; with `finish` it starts
//                                   nothing new, ends what is open and exits
//   storm serve STORE [code|actions]  a worker among others, that starts nothing; until it is killed, or
//                                   ends what is under way on SIGTERM. It has all, or the half of it
//   storm load STORE SEED COUNT     starts so many executions and sends them all of their events, and
//                                   takes no part in running them; says again what was not acknowledged
//                                   Both with hints over Redis, where PAWL_REDIS has its address.
//   storm record FILE               copies its standard input to the file, synced line by line, so
//                                   that what was acknowledged is known whatever becomes of the worker
//
// A worker writes a byte to its standard input, if that is a pipe's end for writing, when it is at
// work; and to its standard output one line for each thing that it was told:
//   started ID                 a start was acknowledged
//   accepted ID EVENT-KEY      an event was acknowledged
//   seen ID POSITION RESULT    the history that it read has this result
//   running N                  attempts of actions under way, when it changed
//   asked N                    calls that are not answered yet, when it changed

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <future>
#include <iostream>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "pawl/postgres.h"
#include "pawl/redis.h"
#include "pawl/runtime.h"
#include "tests/support/script_host.h"

namespace pawl::testing {
namespace {

constexpr const char* kTenant = "storm";
constexpr int kStepsPerExecution = 4;

// One write call a line: a pipe takes it whole.
void say(const std::string& line) {
  const std::string text = line + '\n';
  if (write(STDOUT_FILENO, text.data(), text.size()) < 0) std::_Exit(3);
}

void tell_that_work_begins() { [[maybe_unused]] const ssize_t told = write(STDIN_FILENO, "", 1); }

// Answers after a moment, with something that no other attempt answers with.
class SlowActions final : public ActionHost {
 public:
  SlowActions() : thread_([this] { run(); }) {}
  ~SlowActions() override {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
    }
    wake_.notify_one();
    thread_.join();
  }

  void run(std::vector<ActionTask> tasks, const std::shared_ptr<ActionSink>& sink) override {
    {
      const std::lock_guard lock(mutex_);
      for (ActionTask& task : tasks) waiting_.emplace_back(std::move(task), sink);
      say(fmt::format("running {}", waiting_.size()));
    }
    wake_.notify_one();
  }
  void abort(AttemptId) override {}

 private:
  void run() {
    std::mt19937_64 random{std::random_device{}()};
    for (;;) {
      std::deque<std::pair<ActionTask, std::shared_ptr<ActionSink>>> taken;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [this] { return closing_ || !waiting_.empty(); });
        if (closing_) return;
        taken.swap(waiting_);
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(random() % 4));
      for (auto& [task, sink] : taken) {
        ActionOutcome outcome{task.id, task.execution, task.position, {}};
        if (random() % 20 == 0) {
          Failure failure;
          failure.message = "one in twenty fails";
          outcome.outcome = std::move(failure);
        } else {
          outcome.outcome = Payload::json(fmt::format("\"{:016x}\"", random()));
        }
        sink->actions_finished({std::move(outcome)});
      }
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::pair<ActionTask, std::shared_ptr<ActionSink>>> waiting_;  // under mutex_
  bool closing_ = false;                                                    // under mutex_
  std::thread thread_;
};

// Steps of an event and two actions side by side, then the end. Its state tells how far it is.
std::string storm_workflow(Script& script) {
  std::string results = "[";
  for (int step = 0; step < kStepsPerExecution; ++step) {
    script.set_state(fmt::format("step-{}", step));
    const ReceivedEvent event = script.wait_for({fmt::format("Step{}", step)});
    const Position left = script.start_action("slow", event.payload.bytes);
    const Position right = script.start_action("slow", event.payload.bytes);
    for (const Position position : {left, right}) {
      const auto outcome = script.action(position);
      if (results.size() > 1) results += ',';
      results +=
          std::holds_alternative<Payload>(outcome) ? std::get<Payload>(outcome).bytes : "null";
    }
    script.slept(script.start_sleep(1));
  }
  script.set_state("done");
  return results + "]";
}

RuntimeOptions options_of(const std::string& store) {
  RuntimeOptions options;
  options.store = store;
  options.lease = std::chrono::milliseconds(500);
  options.limits.executions_cached_max = 50;  // so that some are replayed on each wake
  options.log = [](const LogLine&) {};
  if (const char* const redis = std::getenv("PAWL_REDIS")) options.redis = redis;
  return options;
}

void require(const Result<void>& done) {
  if (!done) {
    std::cerr << done.error().message << '\n';
    std::exit(2);
  }
}

// Again and again: the server may be away.
std::unique_ptr<Runtime> open_runtime(const RuntimeOptions& options) {
  for (int tries = 0;; ++tries) {
    auto opened = Runtime::open(options);
    if (opened) return std::move(*opened);
    if (opened.error().code != ErrorCode::store_unavailable || tries == 600) {
      std::cerr << opened.error().message << '\n';
      std::exit(2);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

void register_actions(Runtime& runtime, ActionHost& actions) {
  ActionDescription action;
  action.name = "slow";
  RetryPolicy policy;
  policy.initial_interval = 5;
  policy.max_attempts = 10;
  action.options.retry = policy;
  require(runtime.register_action(std::move(action), actions));
}

void register_code(Runtime& runtime, ScriptHost& host) {
  host.define("Storm", storm_workflow);
  WorkflowDescription workflow;
  workflow.name = "Storm";
  require(runtime.register_workflow(std::move(workflow), host));
}

int serve(const std::string& store, const std::string& what) {
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  ScriptHost host;
  SlowActions actions;
  RuntimeOptions options = options_of(store);
  options.begin_at_once = false;
  const auto runtime = open_runtime(options);
  if (what != "actions") register_code(*runtime, host);
  if (what != "code") register_actions(*runtime, actions);
  runtime->begin();
  tell_that_work_begins();
  int signal = 0;
  sigwait(&ends, &signal);
  runtime->close();
  return 0;
}

// One that knows nothing of the workflow, and asks until it is told.
class Load {
 public:
  Load(const std::string& store, std::uint64_t seed) : seed_(seed) {
    RuntimeOptions options = options_of(store);
    options.begin_at_once = false;
    runtime_ = open_runtime(options);
  }

  void run(const int count) {
    constexpr int kThreads = 64;
    std::vector<std::thread> clients;
    for (int at = 0; at < kThreads; ++at) {
      clients.emplace_back([this, count, at] {
        for (int number = next_++; number < count; number = next_++) {
          play(fmt::format("{:x}-{}", seed_, number), seed_ + static_cast<std::uint64_t>(at));
        }
      });
    }
    for (std::thread& client : clients) client.join();
    runtime_->close();
  }

 private:
  // Until it is acknowledged. What can't be right ends the load.
  template <class T, class Call>
  T ask(const Call& call) {
    for (;;) {
      say(fmt::format("asked {}", ++asked_));
      std::promise<Result<T>> promise;
      call([&promise](Result<T> told) { promise.set_value(std::move(told)); });
      Result<T> told = promise.get_future().get();
      say(fmt::format("asked {}", --asked_));
      if (told) return std::move(*told);
      switch (told.error().code) {
        case ErrorCode::store_unavailable:
        case ErrorCode::outcome_unknown:
        case ErrorCode::overloaded:
        case ErrorCode::timeout: break;
        default:
          std::cerr << to_string(told.error().code) << ": " << told.error().message << '\n';
          std::_Exit(4);
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }

  void play(const std::string& id, const std::uint64_t seed) {
    std::mt19937_64 random(seed);
    ask<std::string>([&](auto done) {
      StartRequest request;
      request.workflow = "Storm";
      request.tenant = kTenant;
      request.execution_id = id;
      request.input = Payload::json("{}");
      runtime_->start_workflow(std::move(request), std::move(done));
    });
    say("started " + id);
    for (int step = 0; step < kStepsPerExecution; ++step) {
      const std::string key = fmt::format("step-{}", step);
      const auto request = [&] {
        return EventRequest{
            kTenant,  id, fmt::format("Step{}", step), Payload::json(std::to_string(step)),
            "client", key};
      };
      if (random() % 2 == 0) {
        ask<EventReply>([&](auto done) {
          EventRequest event = request();
          event.wait_max = 10'000;
          runtime_->submit_event(std::move(event), std::move(done));
        });
      } else {
        ask<EnqueueReply>([&](auto done) { runtime_->enqueue_event(request(), std::move(done)); });
      }
      say(fmt::format("accepted {} {}", id, key));
    }
    const auto state = ask<ExecutionState>(
        [&](auto done) { runtime_->wait_for_completion(kTenant, id, 10'000, std::move(done)); });
    say(fmt::format("ended {} {}", id, state.status));
  }

  const std::uint64_t seed_;
  std::unique_ptr<Runtime> runtime_;
  std::atomic<int> next_ = 0;
  std::atomic<int> asked_ = 0;
};

class Worker {
 public:
  Worker(const std::string& store, const std::uint64_t seed, const bool finish)
      : random_(seed), seed_(seed), finish_(finish) {
    runtime_ = open_runtime(options_of(store));
    register_code(*runtime_, host_);
    register_actions(*runtime_, actions_);
  }

  ~Worker() { runtime_->close(); }

  void work() {
    open_ = list();
    if (finish_) {
      while (!open_.empty()) {
        push_all();
        look_at_some();
        open_ = list();
      }
      return;
    }
    for (int round = 0;; ++round) {
      constexpr std::size_t kOpenMax = 60;
      while (open_.size() < kOpenMax) {
        const std::string id = fmt::format("{:x}-{}", seed_, next_++);
        StartRequest request;
        request.workflow = "Storm";
        request.tenant = kTenant;
        request.execution_id = id;
        request.input = Payload::json("{}");
        asked(1);
        runtime_->start_workflow(std::move(request), [this, id](const Result<std::string>& done) {
          asked(-1);
          if (done) say("started " + id);
        });
        open_.push_back(id);
      }
      push_all();
      look_at_some();
      if (round % 10 == 9) open_ = list();
    }
  }

 private:
  void asked(const int change) { say(fmt::format("asked {}", asked_ += change)); }

  // Executions that have not ended.
  std::vector<std::string> list() {
    std::vector<std::string> ids;
    ListQuery query;
    query.tenant = kTenant;
    query.status = "running";
    query.limit = 1'000;
    do {
      std::promise<Result<ListPage>> promise;
      runtime_->list_executions(query,
                                [&](Result<ListPage> page) { promise.set_value(std::move(page)); });
      const Result<ListPage> page = promise.get_future().get();
      if (!page) break;
      for (const ExecutionState& state : page->executions) ids.push_back(state.execution_id);
      query.cursor = page->cursor;
    } while (!query.cursor.empty());
    return ids;
  }

  // Sends every open execution the event of a step, and waits until all are answered.
  void push_all() {
    std::vector<std::future<void>> answers;
    for (const std::string& id : open_) {
      const auto step = static_cast<int>(random_() % kStepsPerExecution);
      for (const int at : finish_ ? std::vector<int>{0, 1, 2, 3} : std::vector<int>{step}) {
        // The same key for the same step: however often it is sent, it counts once.
        const std::string key = fmt::format("step-{}", at);
        auto answered = std::make_shared<std::promise<void>>();
        answers.push_back(answered->get_future());
        EventRequest request{
            kTenant,  id, fmt::format("Step{}", at), Payload::json(std::to_string(at)),
            "client", key};
        asked(1);
        if (random_() % 2 == 0) {
          runtime_->submit_event(std::move(request), [=, this](const Result<EventReply>& done) {
            asked(-1);
            if (done) say(fmt::format("accepted {} {}", id, key));
            answered->set_value();
          });
        } else {
          runtime_->enqueue_event(std::move(request), [=, this](const Result<EnqueueReply>& done) {
            asked(-1);
            if (done) say(fmt::format("accepted {} {}", id, key));
            answered->set_value();
          });
        }
      }
    }
    for (std::future<void>& answer : answers) answer.wait();
  }

  // Reads back what is recorded of one execution.
  void look_at_some() {
    if (open_.empty()) return;
    const std::string id = open_[random_() % open_.size()];
    std::promise<void> read;
    runtime_->get_history(kTenant, id, [&](const Result<std::vector<HistoryRecord>>& history) {
      if (history) {
        for (const HistoryRecord& record : *history) {
          if (record.type == "ActionCompleted") {
            say(fmt::format("seen {} {} {}", id, record.position, record.payload.bytes));
          }
        }
      }
      read.set_value();
    });
    read.get_future().wait();
  }

  std::mt19937_64 random_;
  const std::uint64_t seed_;
  const bool finish_;
  int next_ = 0;
  std::atomic<int> asked_ = 0;
  ScriptHost host_;
  SlowActions actions_;
  std::unique_ptr<Runtime> runtime_;
  std::vector<std::string> open_;
};

int record(const char* const path) {
  const int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file < 0) return 2;
  char buffer[65'536];
  for (;;) {
    const ssize_t got = read(STDIN_FILENO, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return got == 0 ? 0 : 2;
    if (write(file, buffer, static_cast<std::size_t>(got)) != got) return 2;
    if (fdatasync(file) != 0) return 2;
  }
}

}  // namespace
}  // namespace pawl::testing

int main(const int argc, char** const argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() == 2 && arguments[0] == "record") return pawl::testing::record(argv[2]);
  if (arguments.size() >= 3 && arguments[0] == "work") {
    const bool finish = arguments.size() == 4 && arguments[3] == "finish";
    pawl::use_postgres_stores();
    pawl::use_redis_hints();
    pawl::testing::Worker worker(arguments[1], std::stoull(arguments[2]), finish);
    pawl::testing::tell_that_work_begins();
    worker.work();
    return 0;
  }
  if (arguments.size() >= 2 && arguments[0] == "serve") {
    pawl::use_postgres_stores();
    pawl::use_redis_hints();
    return pawl::testing::serve(arguments[1], arguments.size() == 3 ? arguments[2] : "all");
  }
  if (arguments.size() == 4 && arguments[0] == "load") {
    pawl::use_postgres_stores();
    pawl::use_redis_hints();
    pawl::testing::Load load(arguments[1], std::stoull(arguments[2]));
    load.run(std::stoi(arguments[3]));
    return 0;
  }
  std::cerr << "usage: storm work STORE SEED [finish] | storm record FILE\n";
  return 64;
}
