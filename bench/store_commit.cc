// How many transitions a second the SQLite store makes durable, by the size of a transaction. The
// shape is a workflow of three actions: 10 records in 4 transitions.
//
//   bench_store_commit [workflows] [folder] [transitions a commit …]

#include <fmt/format.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "store/sqlite_store.h"

namespace {

using namespace pawl;

constexpr int kSteps = 4;

class Sink final : public CommitSink {
 public:
  void commits_finished(const std::vector<CommitOutcome>& outcomes) override {
    const std::lock_guard lock{mutex_};
    for (const auto& outcome : outcomes) {
      if (outcome.error) {
        fmt::print(stderr, "{}\n", outcome.error->message);
        std::exit(1);
      }
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

void measure(const std::filesystem::path& folder, std::size_t batch, int workflows) {
  const auto file = folder / fmt::format("bench-{}.db", batch);
  Sink sink;
  auto opened = open_sqlite_store({.path = file.string(), .batch_transitions_max = batch});
  if (!opened) {
    fmt::print(stderr, "{}\n", opened.error().message);
    std::exit(1);
  }
  auto& store = **opened;
  store.start(sink);

  // A wave of workflows goes through its steps together, half a wave ahead of the disk.
  const auto wave = std::max<std::size_t>(batch, 8);
  std::vector<std::vector<CommitRequest>> chunks;
  std::uint64_t id = 0;
  for (int first = 0; first < workflows; first += static_cast<int>(wave)) {
    const auto from = store.next_execution_ref();
    for (std::size_t index = 1; index < wave; ++index) {
      store.next_execution_ref();
    }
    for (int step = 0; step < kSteps; ++step) {
      std::vector<CommitRequest> chunk;
      chunk.reserve(wave);
      for (std::size_t index = 0; index < wave; ++index) {
        chunk.push_back({0, 0, ++id, step_of(from + static_cast<ExecutionRef>(index), step)});
      }
      chunks.push_back(std::move(chunk));
    }
  }
  const auto begun = std::chrono::steady_clock::now();
  std::uint64_t sent = 0;
  for (auto& chunk : chunks) {
    const auto size = chunk.size();
    store.commit(std::move(chunk));
    sent += size;
    if (sent > size) {
      sink.wait_for(sent - size);
    }
  }
  sink.wait_for(sent);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
  const auto per_second = static_cast<double>(sent) / took.count();
  fmt::print("{:>6} a commit: {:>9.0f} transitions/s {:>8.0f} workflows/s, {} commits, {} bytes\n",
             batch, per_second, per_second / kSteps, sink.batches(),
             std::filesystem::file_size(file));
  store.close();
}

}  // namespace

int main(int argc, char** argv) {
  const int workflows = argc > 1 ? std::atoi(argv[1]) : 100'000;
  const std::filesystem::path parent = argc > 2 ? argv[2] : ".";
  const auto folder = parent / "bench-store-commit";
  std::vector<std::size_t> batches{1, 64, 256, 1'024};
  if (argc > 3) {
    batches.clear();
    for (int index = 3; index < argc; ++index) {
      batches.push_back(static_cast<std::size_t>(std::atoi(argv[index])));
    }
  }
  for (const auto batch : batches) {
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
    measure(folder, batch, batch == 1 ? workflows / 20 : workflows);
  }
  std::filesystem::remove_all(folder);
  return 0;
}
