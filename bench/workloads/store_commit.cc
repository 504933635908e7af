// How many transitions a second the SQLite store makes durable by itself, by the size of a transaction. The shape
// is a workflow of three actions: 10 records in 4 transitions.

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "harness/durations.h"
#include "harness/give_up.h"
#include "harness/measurement.h"
#include "harness/process_usage.h"
#include "store/sqlite_store.h"
#include "workloads/workloads.h"

namespace bench {

namespace {

using namespace pawl;

constexpr int kSteps = 4;

class Sink final : public CommitSink {
 public:
  void commits_finished(const std::vector<CommitOutcome>& outcomes) override {
    const std::lock_guard lock{mutex_};
    for (const auto& outcome : outcomes) {
      if (outcome.error) give_up(outcome.error->message);
      up_to_ = outcome.up_to;
    }
    ++batches_;
    changed_.notify_one();
  }
  void wait_for(std::uint64_t id) {
    std::unique_lock lock{mutex_};
    changed_.wait(lock, [&] { return up_to_ >= id; });
  }
  std::uint64_t batches() {
    const std::lock_guard lock{mutex_};
    return batches_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t up_to_ = 0;
  std::uint64_t batches_ = 0;
};

HistoryEvent record(std::int64_t sequence, EventType type, Position position, std::string name,
                    std::string payload, bool ends) {
  HistoryEvent event;
  event.sequence = sequence;
  event.type = type;
  event.at = 1'700'000'000'000;
  event.cause = 1;
  event.position = position;
  event.ends_activation = ends;
  event.name = std::move(name);
  event.payload = Payload::json(std::move(payload));
  return event;
}

Transition step_of(ExecutionRef ref, int step) {
  Transition transition;
  transition.execution = ref;
  transition.tenant = "acme";
  auto& records = transition.records;
  if (step == 0) {
    ExecutionRecord row;
    row.ref = ref;
    row.tenant = "acme";
    row.execution_id = fmt::format("018c{:08x}-7000-8000-9000-00000000cafe", ref);
    row.workflow = "ThreeStep";
    row.version = "1.0.0";
    row.in_flight = true;
    row.last_sequence = 3;
    row.input_digest = "0123456789abcdef";
    row.created_at = row.updated_at = 1'700'000'000'000;
    transition.created = std::move(row);
    records.push_back(record(1, EventType::execution_started, 0, "ThreeStep", "{\"n\":1}", false));
    records.push_back(record(2, EventType::state_changed, 0, "working", "", false));
    records.push_back(record(3, EventType::action_scheduled, 1, "step_one", "{\"value\":1}", true));
    return transition;
  }
  const auto sequence = 2 + 2 * step;
  records.push_back(
      record(sequence, EventType::action_completed, step, "step_one", "{\"value\":2}", false));
  ActionResultRecord result;
  result.execution = ref;
  result.position = step;
  result.tenant = "acme";
  result.action = "step_one";
  result.cause = 1;
  result.result = Payload::json("{\"value\":2}");
  result.at = 1'700'000'000'000;
  transition.results.push_back(std::move(result));
  if (step < kSteps - 1) {
    records.push_back(record(sequence + 1, EventType::action_scheduled, step + 1, "step_one",
                             "{\"value\":1}", true));
    return transition;
  }
  records.push_back(record(sequence + 1, EventType::state_changed, 0, "done", "", false));
  records.push_back(
      record(sequence + 2, EventType::execution_completed, 0, "", "{\"value\":4}", true));
  transition.changed.emplace();
  transition.changed->status = ExecutionStatus::completed;
  transition.changed->state = "done";
  transition.changed->in_flight = false;
  transition.changed->result = Payload::json("{\"value\":4}");
  transition.changed->last_sequence = 10;
  transition.changed->at = 1'700'000'000'001;
  return transition;
}

void run(const Run& run) {
  const StoreFile file(run);
  file.remove();
  Sink sink;
  const auto batch = static_cast<std::size_t>(run.concurrency);
  auto opened = open_sqlite_store({.path = file.path().string(), .batch_transitions_max = batch});
  if (!opened) give_up(opened.error().message);
  auto& store = **opened;
  store.start(sink);

  // A wave of workflows goes through its steps together, half a wave ahead of the disk.
  const auto wave = static_cast<std::int64_t>(std::max<std::size_t>(batch, 8));
  std::vector<std::vector<CommitRequest>> chunks;
  std::uint64_t id = 0;
  std::int64_t workflows = 0;
  for (; workflows * kSteps < run.n; workflows += wave) {
    const auto from = store.next_execution_ref({}, {});
    for (std::int64_t index = 1; index < wave; ++index) store.next_execution_ref({}, {});
    for (int step = 0; step < kSteps; ++step) {
      std::vector<CommitRequest> chunk;
      chunk.reserve(static_cast<std::size_t>(wave));
      for (std::int64_t index = 0; index < wave; ++index) {
        chunk.push_back({0, 0, ++id, step_of(from + static_cast<ExecutionRef>(index), step)});
      }
      chunks.push_back(std::move(chunk));
    }
  }
  const double cpu_before = cpu_seconds();
  const Stopwatch watch;
  std::uint64_t sent = 0;
  for (auto& chunk : chunks) {
    const auto size = chunk.size();
    store.commit(std::move(chunk));
    sent += size;
    if (sent > size) sink.wait_for(sent - size);
  }
  sink.wait_for(sent);
  const double seconds = watch.seconds();
  Figures figures = figures_of(run, "transitions");
  figures.n = static_cast<std::int64_t>(sent);
  const auto transitions = static_cast<double>(sent);
  figures.per_s = transitions / seconds;
  figures.cpu_us = (cpu_seconds() - cpu_before) / transitions * 1e6;
  figures.rss_mib = peak_rss_mib();
  figures.syncs = sink.batches();
  store.close();
  opened->reset();
  finish(file, {.completed = workflows, .actions = (kSteps - 1) * workflows}, transitions,
         std::move(figures));
}

}  // namespace

Workload store_commit() {
  return {.name = "store-commit",
          .about = "the store alone: transitions made durable, so many (--concurrency) a commit",
          .cases = {{.concurrency = 1, .n = 20'000},
                    {.concurrency = 64, .n = 200'000},
                    {.concurrency = 256, .n = 400'000},
                    {.concurrency = 1'024, .n = 400'000}},
          .any_concurrency = true,
          .run = &run};
}

}  // namespace bench
