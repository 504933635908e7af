// Who takes an event, what a history adds up to, and whether code does what its history says.

#include <fmt/format.h>

#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "core/execution_fold.h"
#include "core/replay.h"
#include "core/wait_index.h"
#include "core_loop.h"
#include "counting.h"
#include "sample_workflows.h"
#include "suite.h"

namespace pawl::micro {

namespace {

constexpr int kRecords = 1'000;

std::vector<std::string> name_of(const Position position) {
  return {fmt::format("Approve-{}", position)};
}

// An event comes, its wait takes it and is opened again.
void take(benchmark::State& state, const Position waits) {
  WaitIndex index;
  for (Position i = 1; i <= waits; ++i) index.open(i, name_of(i), false);
  Position asked = waits / 2 + 1;
  Position next = waits + 1;
  const std::vector<std::string> names = name_of(asked);
  Meter meter(state);
  while (state.KeepRunning()) {
    const Takers takers = index.takers_of(names.front());
    if (takers.position != asked) std::abort();
    index.close(asked, names, false);
    asked = next++;
    index.open(asked, names, false);
  }
}

// A wait comes, and takes one of the events that lie there.
void take_buffered(benchmark::State& state, const int events) {
  WaitIndex index;
  for (int i = 1; i <= events; ++i) index.buffer(name_of(i).front(), i);
  std::int64_t sequence = events / 2 + 1;
  std::int64_t next = events + 1;
  Position position = 0;
  const std::vector<std::string> names = name_of(static_cast<Position>(sequence));
  Meter meter(state);
  while (state.KeepRunning()) {
    index.open(++position, names, false);
    const auto delivery = index.next();
    if (!delivery || delivery->event != sequence) std::abort();
    index.close(position, names, false);
    index.unbuffer(names.front(), sequence);
    sequence = next++;
    index.buffer(names.front(), sequence);
  }
}

StoredExecution sample() {
  CoroutineHost host;
  return stored_after_events(define(host, &counts_events), "execution", kRecords);
}

void fold(benchmark::State& state) {
  const StoredExecution stored = sample();
  Meter meter(state);
  while (state.KeepRunning()) {
    ExecutionFold fold(stored.record);
    for (const HistoryEvent& event : stored.history) {
      if (!fold.apply(event)) std::abort();
    }
    benchmark::DoNotOptimize(fold);
  }
}

void split(benchmark::State& state) {
  const StoredExecution stored = sample();
  Meter meter(state);
  while (state.KeepRunning()) {
    benchmark::DoNotOptimize(split_into_activations(stored.record, stored.history).value());
  }
}

// The commands of all activations with those of the history.
void compare(benchmark::State& state) {
  struct Results final : ActivationSink {
    void activations_completed(std::vector<ActivationResult> results) override {
      for (ActivationResult& result : results) collected.push_back(std::move(result));
    }
    std::vector<ActivationResult> collected;
  };
  CoroutineHost host;
  const StoredExecution stored =
      stored_after_events(define(host, &counts_events), "execution", kRecords);
  const auto steps = split_into_activations(stored.record, stored.history).value();
  std::vector<Activation> activations;
  for (const ReplayStep& step : steps) activations.push_back(step.activation);
  const auto results = std::make_shared<Results>();
  host.activate(std::move(activations), results);
  Meter meter(state);
  while (state.KeepRunning()) {
    meter.pause();
    std::vector<ActivationResult> taken = results->collected;
    meter.resume();
    for (std::size_t i = 0; i < steps.size(); ++i) {
      if (find_departure(stored.record, steps[i], std::move(taken[i]))) std::abort();
    }
  }
}

}  // namespace

void add_matching(Suite& suite) {
  suite.add("match/event_to_wait/1", [](benchmark::State& state) { take(state, 1); });
  suite.add("match/event_to_wait/1000", [](benchmark::State& state) { take(state, 1'000); });
  suite.add("match/wait_to_event/1000",
            [](benchmark::State& state) { take_buffered(state, 1'000); });
  suite.add("match/fold/1000", &fold);
  suite.add("match/split/1000", &split);
  suite.add("match/commands/1000", &compare);
}

}  // namespace pawl::micro
