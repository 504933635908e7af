// The coroutine host by itself: activations in, commands out.

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/replay.h"
#include "core_loop.h"
#include "counting.h"
#include "sample_workflows.h"
#include "suite.h"

namespace pawl::micro {

namespace {

constexpr ExecutionRef kRef = 7;

struct Last final : ActivationSink {
  void activations_completed(std::vector<ActivationResult> results) override {
    result = std::move(results.back());
    if (result.violation) std::abort();
  }
  ActivationResult result;
};

Activation activation_of(Job job) {
  Activation activation;
  activation.execution = kRef;
  activation.now = 1'700'000'000'000;
  activation.sequence = 1;
  activation.jobs.push_back(std::move(job));
  return activation;
}

void activate(CoroutineHost& host, const std::shared_ptr<Last>& last, Activation activation) {
  std::vector<Activation> activations;
  activations.push_back(std::move(activation));
  host.activate(std::move(activations), last);
}

Job start_job() {
  StartJob job;
  job.tenant = kTenant;
  job.execution_id = "execution";
  job.workflow = kWorkflow;
  job.version = "1.0.0";
  job.input = Payload::json("1");
  job.seed = 42;
  return job;
}

void run_activation(benchmark::State& state) {
  CoroutineHost host;
  define(host, &counts_events);
  const auto last = std::make_shared<Last>();
  Job start = start_job();
  std::get<StartJob>(start).input = {};
  activate(host, last, activation_of(std::move(start)));
  Position position = 0;
  Meter meter(state);
  while (state.KeepRunning()) {
    EventJob job;
    job.position = ++position;
    job.event.id = "018c2f5e-7000-7000-8000-00000000cafe";
    job.event.name = "Go";
    job.event.payload = Payload::json(R"({"number":42})");
    activate(host, last, activation_of(std::move(job)));
    if (last->result.commands.size() != 3) std::abort();
  }
}

void run_three_steps(benchmark::State& state) {
  CoroutineHost host;
  define(host, &three_steps);
  const auto last = std::make_shared<Last>();
  Meter meter(state);
  while (state.KeepRunning()) {
    activate(host, last, activation_of(start_job()));
    for (Position position = 1; position <= 3; ++position) {
      ActionJob job;
      job.position = position;
      job.outcome = Payload::json(R"({"number":42})");
      activate(host, last, activation_of(std::move(job)));
    }
    if (!std::holds_alternative<CompleteCommand>(last->result.commands.back())) std::abort();
    host.evict(kRef);
  }
}

// As the shard does it: cut, run, compare.
void replay(benchmark::State& state, const int records) {
  CoroutineHost host;
  define(host, &counts_events);
  const StoredExecution stored = stored_after_events(host, "execution", records);
  const auto last = std::make_shared<Last>();
  Meter meter(state);
  while (state.KeepRunning()) {
    auto steps = split_into_activations(stored.record, stored.history).value();
    for (ReplayStep& step : steps) {
      activate(host, last, std::move(step.activation));
      if (find_departure(stored.record, step, std::move(last->result))) std::abort();
    }
    host.evict(stored.record.ref);
  }
}

}  // namespace

void add_host(Suite& suite) {
  suite.add("host/activation", &run_activation);
  suite.add("host/three_step", &run_three_steps);
  suite.add("host/replay/1000", [](benchmark::State& state) { replay(state, 1'000); });
}

}  // namespace pawl::micro
