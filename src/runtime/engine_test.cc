// The engine while it is being closed, and where its store or its clock are odd: what the test holds
// back is under way for as long as it likes.

#include "runtime/engine.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "store/memory_store.h"
#include "tests/support/script_host.h"
#include "tests/support/temporary_folder.h"

namespace pawl {
namespace {

using testing::Script;
using testing::ScriptHost;

constexpr const char* kTenant = "acme";
// What does not come by then does not come: a failure instead of a test that hangs.
constexpr std::chrono::seconds kNever(60);

// Those who come while it is shut wait until it is opened.
class Gate {
 public:
  void pass() {
    std::unique_lock lock(mutex_);
    ++arrivals_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
  }
  void shut() {
    const std::lock_guard lock(mutex_);
    open_ = false;
    arrivals_ = 0;
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  // Returns when so many have come since it was shut, or since the beginning.
  void wait_for_arrivals(const int count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, kNever, [this, count] { return arrivals_ >= count; }))
        << arrivals_ << " of " << count << " came";
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = true;
  int arrivals_ = 0;
};

// A store in memory with gates before it.
class GatedStore final : public Store {
 public:
  struct Gates {
    Gate reads;    // of executions and lists
    Gate commits;  // passed once they are queued
    Gate close;
    Gate resumes;  // passed by those that succeed
    std::atomic<int> resumes_to_fail = 0;
  };

  GatedStore(const std::shared_ptr<Gates>& gates, const MemoryStore::Mode mode)
      : gates_(gates), below_(mode) {}

  void start(CommitSink& sink) override { below_.start(sink); }
  bool commit_here(std::vector<CommitRequest>&) override { return false; }
  void commit(std::vector<CommitRequest> requests) override {
    below_.commit(std::move(requests));
    gates_->commits.pass();
  }
  std::size_t queued_commits() const override { return below_.queued_commits(); }
  ExecutionRef next_execution_ref(const std::string_view tenant,
                                  const std::string_view execution_id) override {
    return below_.next_execution_ref(tenant, execution_id);
  }
  InboxId next_inbox_id() override { return below_.next_inbox_id(); }
  Result<std::optional<StoredExecution>> find_execution(std::string_view tenant,
                                                        std::string_view execution_id,
                                                        HistoryBounds history) override {
    gates_->reads.pass();
    return below_.find_execution(tenant, execution_id, history);
  }
  Result<std::optional<StoredExecution>> load_execution(ExecutionRef ref,
                                                        HistoryBounds history) override {
    gates_->reads.pass();
    return below_.load_execution(ref, history);
  }
  Result<std::vector<HistoryEvent>> read_history(ExecutionRef ref, std::int64_t after,
                                                 HistoryBounds most) override {
    return below_.read_history(ref, after, most);
  }
  Result<std::vector<ExecutionRecord>> list_executions(const ExecutionQuery& query) override {
    gates_->reads.pass();
    return below_.list_executions(query);
  }
  Result<std::vector<ExecutionRef>> executions_to_resume(ExecutionRef after, int limit) override {
    if (gates_->resumes_to_fail > 0) {
      --gates_->resumes_to_fail;
      return Error{ErrorCode::store_unavailable, "the disk hums, says the test", {}};
    }
    gates_->resumes.pass();
    return below_.executions_to_resume(after, limit);
  }
  Result<std::vector<TimerRecord>> timers_after(const TimerRecord& after, int limit) override {
    return below_.timers_after(after, limit);
  }
  Result<std::optional<ActionResultRecord>> find_action_result(std::string_view tenant,
                                                               std::string_view key) override {
    return below_.find_action_result(tenant, key);
  }
  Result<std::optional<InboxRecord>> find_inbox(ExecutionRef execution,
                                                std::string_view key) override {
    return below_.find_inbox(execution, key);
  }
  Result<std::vector<InboxRecord>> mail_after(InboxId after, int limit) override {
    return below_.mail_after(after, limit);
  }
  Result<std::vector<GraphActionRecord>> graph_actions(ExecutionRef execution) override {
    return below_.graph_actions(execution);
  }
  Result<std::vector<SyncPointRecord>> sync_points(ExecutionRef execution) override {
    return below_.sync_points(execution);
  }
  Result<std::vector<ActionResultRecord>> action_results(ExecutionRef execution) override {
    return below_.action_results(execution);
  }
  void keep_snapshot(StateSnapshot snapshot) override { below_.keep_snapshot(snapshot); }
  Result<std::optional<StateSnapshot>> find_snapshot(ExecutionRef execution,
                                                     std::int64_t at) override {
    return below_.find_snapshot(execution, at);
  }
  void close() override {
    gates_->close.pass();
    below_.close();
  }

 private:
  const std::shared_ptr<Gates> gates_;
  MemoryStore below_;
};

// Keeps what it is given to do, and answers when the test says so, or never.
class SilentHost final : public WorkflowHost, public ActionHost {
 public:
  void activate(std::vector<Activation> activations,
                const std::shared_ptr<ActivationSink>& sink) override {
    activations_ = std::move(activations);
    activation_sink_ = sink;
    given.pass();
  }
  void evict(ExecutionRef) override {}
  void run(std::vector<ActionTask> tasks, const std::shared_ptr<ActionSink>& sink) override {
    tasks_ = std::move(tasks);
    action_sink_ = sink;
    given.pass();
  }
  void abort(AttemptId) override {}

  void answer_all() {
    std::vector<ActivationResult> results;
    for (const Activation& activation : activations_) {
      results.push_back({activation.execution, activation.sequence, commands, std::nullopt});
    }
    if (activation_sink_) activation_sink_->activations_completed(std::move(results));
    std::vector<ActionOutcome> outcomes;
    for (const ActionTask& task : tasks_) {
      outcomes.push_back({task.id, task.execution, task.position, Payload::json("1")});
    }
    if (action_sink_) action_sink_->actions_finished(std::move(outcomes));
  }

  Gate given;
  std::vector<Command> commands;  // of each activation

 private:
  std::vector<Activation> activations_;
  std::vector<ActionTask> tasks_;
  std::shared_ptr<ActivationSink> activation_sink_;
  std::shared_ptr<ActionSink> action_sink_;
};

class CountingClock final : public Clock {
 public:
  Timestamp now() override {
    ++looks;
    return system_.now() + ahead;
  }
  std::atomic<std::uint64_t> looks = 0;
  std::atomic<DurationMs> ahead = 0;

 private:
  SystemClock system_;
};

// A call's answer. A second one would throw on the engine's thread, and end the test.
template <class T>
class Answer {
 public:
  Callback<T> callback() {
    return [promise = promise_](Result<T> result) { promise->set_value(std::move(result)); };
  }
  Result<T> get() {
    if (future_.wait_for(kNever) == std::future_status::ready) return future_.get();
    ADD_FAILURE() << "there was no answer";
    return Error{ErrorCode::internal, "there was no answer", {}};
  }
  ErrorCode error() {
    const Result<T> result = get();
    EXPECT_FALSE(result) << "it succeeded";
    return result ? ErrorCode::internal : result.error().code;
  }

 private:
  std::shared_ptr<std::promise<Result<T>>> promise_ = std::make_shared<std::promise<Result<T>>>();
  std::future<Result<T>> future_ = promise_->get_future();
};

class EngineTest : public ::testing::Test {
 protected:
  std::unique_ptr<Engine> open(const MemoryStore::Mode mode = MemoryStore::Mode::automatic) {
    RuntimeOptions options;
    options.log = [this](const LogLine&) { lines.pass(); };
    options.drain = drain;
    auto engine = std::make_unique<Engine>(std::move(options),
                                           std::make_unique<GatedStore>(gates, mode), clock);
    host.define("Waits", [](Script& script) -> std::string {
      script.wait_for({"Go"});
      return "1";
    });
    EXPECT_TRUE(engine->register_workflow({.name = "Waits"}, host, false));
    EXPECT_TRUE(engine->register_workflow({.name = "Silent"}, silent, false));
    EXPECT_TRUE(engine->register_action({.name = "silent"}, silent, false));
    return engine;
  }
  static StartRequest start_of(const std::string& workflow, const std::string& id) {
    StartRequest request;
    request.workflow = workflow;
    request.tenant = kTenant;
    request.execution_id = id;
    return request;
  }
  static EventRequest event_of(const std::string& id, const std::string& name) {
    return EventRequest{kTenant, id, name, Payload::json("{}"), "", ""};
  }
  static ExecuteActionRequest action_of(const std::string& key) {
    return ExecuteActionRequest{kTenant, "", "", key, "silent", Payload::json("{}")};
  }
  static void start(Engine& engine, const std::string& id) {
    Answer<std::string> started;
    engine.start_workflow(start_of("Waits", id), started.callback());
    EXPECT_TRUE(started.get());
  }

  // Returns once calls are refused.
  static std::thread begin_to_close(Engine& engine) {
    std::thread closer([&engine] { engine.close(); });
    for (;;) {
      Answer<EnqueueReply> told;
      engine.enqueue_event(event_of("nobody", "Go"), told.callback());
      const Result<EnqueueReply> reply = told.get();
      if (!reply && reply.error().code == ErrorCode::closed) return closer;
    }
  }

  std::chrono::milliseconds drain{0};
  std::shared_ptr<GatedStore::Gates> gates = std::make_shared<GatedStore::Gates>();
  ScriptHost host;
  SilentHost silent;
  CountingClock clock;
  Gate lines;  // of the log
};

TEST_F(EngineTest, ReadsUnderWayAreAnsweredWhenItIsClosed) {
  const auto engine = open();
  start(*engine, "a");
  gates->reads.shut();
  gates->close.shut();
  // More than there are threads that read: some have begun, the others are queued.
  std::vector<Answer<std::vector<HistoryRecord>>> histories(3);
  std::vector<Answer<ExecutionState>> states(3);
  std::vector<Answer<ListPage>> lists(3);
  for (std::size_t index = 0; index < histories.size(); ++index) {
    engine->get_history(kTenant, "a", histories[index].callback());
    engine->get_execution_state(kTenant, "a", std::nullopt, states[index].callback());
    engine->list_executions({.tenant = kTenant}, lists[index].callback());
  }
  gates->reads.wait_for_arrivals(2);
  std::thread closer([&engine] { engine->close(); });
  gates->close.wait_for_arrivals(1);
  Answer<std::vector<HistoryRecord>> late;
  engine->get_history(kTenant, "a", late.callback());
  gates->close.open();
  gates->reads.open();
  closer.join();
  for (auto& answer : histories) EXPECT_TRUE(answer.get());
  for (auto& answer : states) EXPECT_TRUE(answer.get());
  for (auto& answer : lists) EXPECT_TRUE(answer.get());
  late.get();
}

TEST_F(EngineTest, WhatIsBeingCommittedWhenItIsClosedIsAnsweredAsDone) {
  const auto engine = open(MemoryStore::Mode::manual);
  Answer<std::string> started;
  engine->start_workflow(start_of("Waits", "a"), started.callback());
  gates->commits.wait_for_arrivals(1);
  engine->close();
  EXPECT_EQ(started.get().value(), "a");
}

TEST_F(EngineTest, WhatIsNotYetCommittedWhenItIsClosedIsAnsweredAsClosed) {
  const auto engine = open();
  start(*engine, "a");
  Answer<ExecutionState> ended;
  engine->wait_for_completion(kTenant, "a", std::nullopt, ended.callback());
  Answer<std::string> started;
  engine->start_workflow(start_of("Silent", "b"), started.callback());
  silent.given.wait_for_arrivals(1);
  engine->close();
  EXPECT_EQ(ended.error(), ErrorCode::closed);
  EXPECT_EQ(started.error(), ErrorCode::closed);
  silent.answer_all();  // to nobody
}

TEST_F(EngineTest, ActionsUnderWayWhenItIsClosedAreAnsweredAsClosed) {
  const auto engine = open();
  Answer<Payload> executed;
  engine->execute_action(action_of("k"), executed.callback());
  silent.given.wait_for_arrivals(1);
  engine->close();
  EXPECT_EQ(executed.error(), ErrorCode::closed);
  silent.answer_all();
}

TEST_F(EngineTest, ACloseWaitsForTheActionUnderWayAndItsOutcomeIsRecorded) {
  drain = kNever;
  const auto engine = open();
  Answer<Payload> executed;
  engine->execute_action(action_of("k"), executed.callback());
  silent.given.wait_for_arrivals(1);
  const std::uint64_t before = engine->counters().commits;
  std::thread closer = begin_to_close(*engine);
  silent.answer_all();
  EXPECT_EQ(executed.get().value(), Payload::json("1"));
  closer.join();
  EXPECT_EQ(engine->counters().commits, before + 1);
}

TEST_F(EngineTest, ACloseWaitsForTheActivationUnderWayAndItsCallerIsAnswered) {
  drain = kNever;
  silent.commands = {WaitCommand{1, {"Go"}, std::nullopt, false}};
  const auto engine = open();
  Answer<std::string> started;
  engine->start_workflow(start_of("Silent", "a"), started.callback());
  silent.given.wait_for_arrivals(1);
  silent.answer_all();
  ASSERT_TRUE(started.get());
  Answer<EventReply> submitted;
  engine->submit_event(event_of("a", "Go"), submitted.callback());
  Answer<ExecutionState> ended;
  engine->wait_for_completion(kTenant, "a", std::nullopt, ended.callback());
  silent.given.wait_for_arrivals(2);
  std::thread closer = begin_to_close(*engine);
  silent.commands = {SetStateCommand{"gone"}};
  silent.answer_all();
  const EventReply reply = submitted.get().value();
  EXPECT_TRUE(reply.consumed);
  EXPECT_EQ(reply.current_state, "gone");
  closer.join();
  EXPECT_EQ(ended.error(), ErrorCode::closed) << "which may be in a year";
}

TEST_F(EngineTest, ACloseWaitsForTheCommitUnderWay) {
  drain = kNever;
  const auto engine = open();
  start(*engine, "a");
  gates->commits.shut();
  Answer<EventReply> submitted;
  engine->submit_event(event_of("a", "Go"), submitted.callback());
  gates->commits.wait_for_arrivals(1);
  std::thread closer([&engine] { engine->close(); });
  gates->commits.open();
  closer.join();
  EXPECT_TRUE(submitted.get().value().is_complete);
}

TEST_F(EngineTest, ACloseWaitsForAForkThatIsBeingRead) {
  drain = kNever;
  const auto engine = open();
  start(*engine, "a");
  gates->reads.shut();
  Answer<std::string> forked;
  Answer<std::string> missing;
  engine->fork_workflow({.tenant = kTenant, .execution_id = "a", .fork_id = "b"},
                        forked.callback());
  engine->fork_workflow({.tenant = kTenant, .execution_id = "none", .fork_id = "c"},
                        missing.callback());
  gates->reads.wait_for_arrivals(2);
  std::thread closer([&engine] { engine->close(); });
  gates->reads.open();
  closer.join();
  EXPECT_EQ(forked.get().value(), "b");
  EXPECT_EQ(missing.error(), ErrorCode::unknown_execution);
}

// Timers that come due, mail that is put in, retries: all of it is in the store for the next opening.
TEST_F(EngineTest, NothingBeginsWhileItDrains) {
  constexpr DurationMs kHour = 3'600'000;
  drain = kNever;
  host.define("Sleeps", [](Script& script) -> std::string {
    script.slept(script.start_sleep(kHour));
    return "1";
  });
  host.define("Acts", [](Script& script) -> std::string {
    ActionOptions patient;
    patient.timeout = 24 * kHour;
    script.action(script.start_action("silent", "{}", patient));
    return script.run("silent", "{}");
  });
  const auto engine = open();
  ASSERT_TRUE(engine->register_workflow({.name = "Sleeps"}, host, false));
  ASSERT_TRUE(engine->register_workflow({.name = "Acts"}, host, false));
  for (const char* const name : {"Sleeps", "Acts"}) {
    Answer<std::string> started;
    engine->start_workflow(start_of(name, name), started.callback());
    ASSERT_TRUE(started.get());
  }
  silent.given.wait_for_arrivals(1);
  start(*engine, "a");  // by its answer, what came before is counted
  const Runtime::Counters before = engine->counters();
  std::thread closer = begin_to_close(*engine);
  clock.ahead = 2 * kHour;
  engine->look_for_mail();
  silent.answer_all();
  closer.join();
  const Runtime::Counters after = engine->counters();
  EXPECT_EQ(after.activations, before.activations + 1) << "that of the action which ended";
  EXPECT_EQ(after.actions_started, before.actions_started);
}

TEST_F(EngineTest, WhoClosesAtOnceEndsADrain) {
  drain = kNever * 60;
  const auto engine = open();
  Answer<Payload> executed;
  engine->execute_action(action_of("k"), executed.callback());
  silent.given.wait_for_arrivals(1);
  std::thread closer = begin_to_close(*engine);
  engine->begin_close(std::chrono::milliseconds(0));
  engine->close();
  closer.join();
  EXPECT_EQ(executed.error(), ErrorCode::closed);
  silent.answer_all();
}

TEST_F(EngineTest, ParametersThatDoNotFitLeaveNothingUnderTheirKey) {
  const auto engine = open();
  ActionDescription checked{.name = "checked"};
  checked.check = [](const Payload& parameters) -> std::optional<Failure> {
    if (parameters.bytes == "{}") return std::nullopt;
    return Failure{.name = "ValidationError",
                   .message = "not empty",
                   .failure_class = FailureClass::validation};
  };
  ASSERT_TRUE(engine->register_action(checked, silent, false));
  const std::uint64_t before = engine->counters().commits;
  ExecuteActionRequest request = action_of("k");
  request.name = "CHECKED";
  request.parameters = Payload::json("[1]");
  Answer<Payload> refused;
  engine->execute_action(request, refused.callback());
  EXPECT_EQ(refused.error(), ErrorCode::validation);
  request.name = "unheard";
  Answer<Payload> unknown;
  engine->execute_action(request, unknown.callback());
  EXPECT_EQ(unknown.error(), ErrorCode::unknown_action);
  EXPECT_EQ(engine->counters().commits, before);
  request.name = "checked";
  request.parameters = Payload::json("{}");
  Answer<Payload> executed;
  engine->execute_action(request, executed.callback());
  silent.given.wait_for_arrivals(1);
  silent.answer_all();
  EXPECT_EQ(executed.get().value(), Payload::json("1"));
}

TEST_F(EngineTest, EveryCallAfterTheCloseIsRefused) {
  const auto engine = open();
  start(*engine, "a");
  engine->close();
  Answer<std::string> started;
  engine->start_workflow(start_of("Waits", "b"), started.callback());
  EXPECT_EQ(started.error(), ErrorCode::closed);
  Answer<EventReply> submitted;
  engine->submit_event(event_of("a", "Go"), submitted.callback());
  EXPECT_EQ(submitted.error(), ErrorCode::closed);
  Answer<EnqueueReply> enqueued;
  engine->enqueue_event(event_of("a", "Go"), enqueued.callback());
  EXPECT_EQ(enqueued.error(), ErrorCode::closed);
  Answer<ExecutionState> ended;
  engine->wait_for_completion(kTenant, "a", 1'000, ended.callback());
  EXPECT_EQ(ended.error(), ErrorCode::closed);
  Answer<Payload> executed;
  engine->execute_action(action_of("k"), executed.callback());
  EXPECT_EQ(executed.error(), ErrorCode::closed);
  Answer<ExecutionState> state;
  engine->get_execution_state(kTenant, "a", std::nullopt, state.callback());
  EXPECT_EQ(state.error(), ErrorCode::closed);
  Answer<std::vector<HistoryRecord>> history;
  engine->get_history(kTenant, "a", history.callback());
  EXPECT_EQ(history.error(), ErrorCode::closed);
  Answer<ListPage> list;
  engine->list_executions({.tenant = kTenant}, list.callback());
  EXPECT_EQ(list.error(), ErrorCode::closed);
  EXPECT_EQ(engine->register_workflow({.name = "Other"}, host, false).error().code,
            ErrorCode::closed);
  EXPECT_EQ(engine->register_action({.name = "other"}, silent, false).error().code,
            ErrorCode::closed);
  engine->close();
}

TEST_F(EngineTest, WhatCannotBeReadAtTheStartIsReadLater) {
  gates->resumes_to_fail = 1;
  const auto engine = open();
  lines.wait_for_arrivals(1);  // it is told
  gates->resumes.wait_for_arrivals(1);
}

TEST_F(EngineTest, ClosesWhileTheStoreCannotBeRead) {
  gates->resumes_to_fail = 1'000'000;
  const auto engine = open();
  lines.wait_for_arrivals(1);
  engine->close();
  EXPECT_GT(gates->resumes_to_fail, 0);
}

// The wait of a thread can't express a thousand years; it must not take them for nothing.
TEST_F(EngineTest, ATimerInAThousandYearsDoesNotKeepItBusy) {
  constexpr DurationMs kMillennium = 1'000 * 365 * 24 * 3'600'000LL;
  host.define("Sleeps", [](Script& script) -> std::string {
    script.slept(script.start_sleep(kMillennium));
    return "1";
  });
  const auto engine = open();
  ASSERT_TRUE(engine->register_workflow({.name = "Sleeps"}, host, false));
  Answer<std::string> started;
  engine->start_workflow(start_of("Sleeps", "a"), started.callback());
  ASSERT_TRUE(started.get());
  constexpr std::uint64_t kCalls = 500;
  const std::uint64_t before = clock.looks;
  for (std::uint64_t call = 0; call < kCalls; ++call) {
    Answer<EventReply> told;
    engine->submit_event(event_of("a", "Other"), told.callback());
    ASSERT_TRUE(told.get());
  }
  // A few for each input; what turns round without one looks far more often.
  EXPECT_LT(clock.looks - before, 20 * kCalls);
}

TEST(ReaderPool, DoesWhatWasPostedBeforeTheCloseAndRefusesTheRest) {
  ReaderPool pool(1);
  Gate gate;
  gate.shut();
  std::atomic<int> done = 0;
  for (int task = 0; task < 5; ++task) {
    EXPECT_TRUE(pool.post([&] {
      gate.pass();
      ++done;
    }));
  }
  gate.wait_for_arrivals(1);
  std::thread closer([&pool] { pool.close(); });
  gate.open();
  closer.join();
  EXPECT_EQ(done, 5);
  EXPECT_FALSE(pool.post([&] { ++done; }));
  EXPECT_EQ(done, 5);
}

// Callers that go on until they are told that it is closed: whoever wins the race, each call is
// answered, and once.
TEST(RuntimeClose, AnswersEveryCallWhoeverWinsTheRace) {
  const TemporaryFolder folder = TemporaryFolder::in_memory();
  for (int round = 0; round < 20; ++round) {
    ScriptHost host;
    host.define("Waits", [](Script& script) -> std::string {
      script.wait_for({"Go"});
      return "1";
    });
    RuntimeOptions options;
    options.store = "sqlite:" + folder.file("pawl.db");
    options.log = [](const LogLine&) {};
    const auto runtime = Runtime::open(options).value();
    ASSERT_TRUE(runtime->register_workflow({.name = "Waits"}, host));

    std::atomic<int> answered = 0;
    const auto told = [&answered]<class T>(Answer<T>& answer) {
      const Result<T> result = answer.get();
      ++answered;
      answered.notify_all();
      if (!result) {
        EXPECT_EQ(result.error().code, ErrorCode::closed) << result.error().message;
      }
      return !result;
    };
    const auto writes = [&] {
      for (;;) {
        Answer<std::string> started;
        runtime->start_workflow({.workflow = "Waits", .tenant = kTenant}, started.callback());
        const Result<std::string> id = started.get();
        ++answered;
        answered.notify_all();
        if (!id) return;
        Answer<EventReply> submitted;
        runtime->submit_event({kTenant, *id, "Go", Payload::json("1"), "", "k"},
                              submitted.callback());
        Answer<ExecutionState> ended;
        runtime->wait_for_completion(kTenant, *id, std::nullopt, ended.callback());
        const bool refused = told(submitted);
        if (told(ended) || refused) return;
      }
    };
    const auto reads = [&] {
      for (;;) {
        Answer<ListPage> list;
        runtime->list_executions({.tenant = kTenant, .limit = 5}, list.callback());
        const Result<ListPage> page = list.get();
        ++answered;
        answered.notify_all();
        if (!page) return;
        if (page->executions.empty()) continue;
        const std::string id = page->executions[0].execution_id;
        Answer<std::vector<HistoryRecord>> history;
        runtime->get_history(kTenant, id, history.callback());
        Answer<ExecutionState> state;
        runtime->get_execution_state(kTenant, id, std::nullopt, state.callback());
        const bool refused = told(history);
        if (told(state) || refused) return;
      }
    };
    std::vector<std::thread> callers;
    for (int pair = 0; pair < 2; ++pair) {
      callers.emplace_back(writes);
      callers.emplace_back(reads);
    }
    for (int seen = answered; seen < 50; seen = answered) answered.wait(seen);
    runtime->close();
    for (std::thread& caller : callers) caller.join();
  }
}

}  // namespace
}  // namespace pawl
