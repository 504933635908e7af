// The SQLite store: so many transitions to one transaction, synced and not. The shape is a workflow of three
// actions, 10 records in 4 transitions.

#include <fmt/format.h>

#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "counting.h"
#include "store/sqlite_store.h"
#include "suite.h"

namespace pawl::micro {

namespace {

constexpr Timestamp kNow = 1'700'000'000'000;
constexpr int kSteps = 4;

class Sink final : public CommitSink {
 public:
  void commits_finished(const std::vector<CommitOutcome>& outcomes) override {
    const std::lock_guard lock(mutex_);
    for (const CommitOutcome& outcome : outcomes) {
      if (outcome.error) std::abort();
      up_to_ = outcome.up_to;
    }
    changed_.notify_one();
  }
  void wait_for(const std::uint64_t id) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return up_to_ >= id; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t up_to_ = 0;
};

// The transitions of many executions that go through their steps one after the other.
class Transitions {
 public:
  explicit Transitions(Store& store) : store_(store) {}

  CommitRequest next() {
    if (step_ == 0) {
      ref_ = store_.next_execution_ref({}, {});
      sequence_ = 0;
    }
    CommitRequest request;
    request.id = ++last_id_;
    Transition& transition = request.transition;
    transition.execution = ref_;
    transition.tenant = "acme";
    if (step_ == 0) {
      begin(transition);
    } else {
      go_on(transition);
    }
    transition.records.back().ends_activation = true;
    step_ = (step_ + 1) % kSteps;
    return request;
  }
  std::uint64_t last_id() const { return last_id_; }

 private:
  void add(Transition& transition, const EventType type, const Position position,
           const char* const name, const char* const payload) {
    HistoryEvent& event = transition.records.emplace_back();
    event.sequence = ++sequence_;
    event.type = type;
    event.at = kNow;
    event.cause = 1;
    event.position = position;
    event.name = name;
    event.payload = Payload::json(payload);
  }
  void begin(Transition& transition) {
    ExecutionRecord& row = transition.created.emplace();
    row.ref = ref_;
    row.tenant = "acme";
    row.execution_id = fmt::format("018c{:08x}-7000-8000-9000-00000000cafe", ref_);
    row.workflow = "ThreeStep";
    row.version = "1.0.0";
    row.in_flight = true;
    row.last_sequence = 3;
    row.input_digest = "0123456789abcdef";
    row.created_at = row.updated_at = kNow;
    add(transition, EventType::execution_started, 0, "ThreeStep", R"({"n":1})");
    add(transition, EventType::state_changed, 0, "working", "");
    add(transition, EventType::action_scheduled, 1, "step", R"({"value":1})");
  }
  void go_on(Transition& transition) {
    add(transition, EventType::action_completed, step_, "step", R"({"value":2})");
    ActionResultRecord& result = transition.results.emplace_back();
    result.execution = ref_;
    result.position = step_;
    result.tenant = "acme";
    result.action = "step";
    result.cause = 1;
    result.result = Payload::json(R"({"value":2})");
    result.at = kNow;
    if (step_ < kSteps - 1) {
      add(transition, EventType::action_scheduled, step_ + 1, "step", R"({"value":1})");
      return;
    }
    add(transition, EventType::state_changed, 0, "done", "");
    add(transition, EventType::execution_completed, 0, "", R"({"value":4})");
    ExecutionChange& change = transition.changed.emplace();
    change.status = ExecutionStatus::completed;
    change.state = "done";
    change.in_flight = false;
    change.result = Payload::json(R"({"value":4})");
    change.last_sequence = sequence_;
    change.at = kNow;
  }

  Store& store_;
  ExecutionRef ref_ = 0;
  int step_ = 0;
  std::int64_t sequence_ = 0;
  std::uint64_t last_id_ = 0;
};

void commit(benchmark::State& state, const SuiteOptions& options,
            const SqliteSynchronous synchronous, const int transitions) {
  std::filesystem::remove_all(options.folder);
  std::filesystem::create_directories(options.folder);
  Sink sink;
  SqliteStoreOptions opened;
  opened.path = (options.folder / "store.db").string();
  opened.synchronous = synchronous;
  const auto store = open_sqlite_store(opened).value();
  store->start(sink);
  Transitions source(*store);
  const auto prepare = [&] {
    std::vector<CommitRequest> requests;
    requests.reserve(static_cast<std::size_t>(transitions));
    for (int i = 0; i < transitions; ++i) requests.push_back(source.next());
    return requests;
  };
  const auto run = [&](std::vector<CommitRequest> requests) {
    store->commit(std::move(requests));
    sink.wait_for(source.last_id());
  };
  for (int i = 0; i < kSteps; ++i) run(prepare());
  {
    Meter meter(state);
    while (state.KeepRunning()) {
      meter.pause();
      std::vector<CommitRequest> requests = prepare();
      meter.resume();
      run(std::move(requests));
    }
  }
  store->close();
  std::filesystem::remove_all(options.folder);
}

}  // namespace

void add_commits(Suite& suite) {
  for (const int transitions : {1, 16, 256}) {
    for (const auto& [name, synchronous] : {std::pair{"synced", SqliteSynchronous::full},
                                            std::pair{"unsynced", SqliteSynchronous::off}}) {
      suite.add_waiting(fmt::format("commit/{}/{}", name, transitions),
                        [&suite, transitions, mode = synchronous](benchmark::State& state) {
                          commit(state, suite.options(), mode, transitions);
                        });
    }
  }
}

}  // namespace pawl::micro
