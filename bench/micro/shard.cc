// Shard::handle by itself, for whole executions: no disk, no other thread.

#include <string>
#include <utility>
#include <vector>

#include "core_loop.h"
#include "counting.h"
#include "sample_workflows.h"
#include "suite.h"

namespace pawl::micro {

namespace {

void give_three_steps(const Activation& activation, std::vector<Command>& commands) {
  for (const Job& job : activation.jobs) {
    if (std::holds_alternative<StartJob>(job)) commands.emplace_back(step_command(1));
    if (const auto* const done = std::get_if<ActionJob>(&job)) {
      if (done->position < 3) {
        commands.emplace_back(step_command(done->position + 1));
      } else {
        commands.emplace_back(CompleteCommand{Payload::json("42")});
      }
    }
  }
}

// Completes with the end of the last one of so many.
class Parallel {
 public:
  explicit Parallel(const Position actions) : actions_(actions) {}

  void operator()(const Activation& activation, std::vector<Command>& commands) {
    for (const Job& job : activation.jobs) {
      if (std::holds_alternative<StartJob>(job)) {
        left_ = actions_;
        for (Position i = 1; i <= actions_; ++i) commands.emplace_back(step_command(i));
      }
      if (std::holds_alternative<ActionJob>(job) && --left_ == 0) {
        commands.emplace_back(CompleteCommand{});
      }
    }
  }

 private:
  Position actions_;
  Position left_ = 0;
};

void give_graph(const Activation& activation, std::vector<Command>& commands) {
  for (const Job& job : activation.jobs) {
    if (!std::holds_alternative<StartJob>(job)) {
      commands.emplace_back(CompleteCommand{});
      continue;
    }
    StartGraphCommand graph;
    graph.position = 1;
    for (int i = 0; i < 100; ++i) {
      GraphAction& action = graph.actions.emplace_back();
      action.id = std::to_string(i);
      action.name = "Step";
      action.parameters = Payload::json(R"({"number":1})");
      if (i > 0) action.depends_on = {std::to_string(i / 2)};
    }
    commands.emplace_back(std::move(graph));
  }
}

// Waits for "Go" again and again.
class Waits {
 public:
  void operator()(const Activation& activation, std::vector<Command>& commands) {
    for (const Job& job : activation.jobs) {
      Position position = 1;
      if (const auto* const event = std::get_if<EventJob>(&job)) position = event->position + 1;
      WaitCommand wait;
      wait.position = position;
      wait.names = {"Go"};
      commands.emplace_back(std::move(wait));
    }
  }
};

// Executions from their start to their end.
void run_whole(benchmark::State& state, WorkflowHost& host) {
  CoreLoop loop(host);
  loop.register_action("Step");
  std::uint64_t n = 0;
  const auto one = [&] { loop.start("execution-" + std::to_string(++n), Payload::json("1")); };
  one();
  const std::uint64_t before = loop.transitions();
  {
    Meter meter(state);
    while (state.KeepRunning()) one();
  }
  state.counters["transitions"] = benchmark::Counter(
      static_cast<double>(loop.transitions() - before), benchmark::Counter::kAvgIterations);
}

void run_events(benchmark::State& state, WorkflowHost& host) {
  CoreLoop loop(host);
  loop.start("execution");
  const auto one = [&] { loop.submit("execution", "Go", Payload::json(R"({"number":42})")); };
  one();
  Meter meter(state);
  while (state.KeepRunning()) one();
}

// An event to an execution that is in no memory: it is read, its code is rebuilt, takes the event, and is
// put away again.
void wake(benchmark::State& state, const int records) {
  CoroutineHost host;
  define(host, &counts_events);
  const StoredExecution stored = stored_after_events(host, "parked", records);
  Limits limits;
  limits.executions_cached_max = 0;
  CoreLoop loop(host, limits);
  Meter meter(state);
  while (state.KeepRunning()) {
    meter.pause();
    loop.lay_ready(stored);
    meter.resume();
    loop.submit("parked", "Go", Payload::json(R"({"number":42})"));
  }
}

}  // namespace

void add_shard(Suite& suite) {
  suite.add("shard/three_step", [](benchmark::State& state) {
    ScriptedHost host(&give_three_steps);
    run_whole(state, host);
  });
  suite.add("shard/three_step_coroutine", [](benchmark::State& state) {
    CoroutineHost host;
    run_whole(state, define(host, &three_steps));
  });
  suite.add("shard/parallel/100", [](benchmark::State& state) {
    ScriptedHost host{Parallel(100)};
    run_whole(state, host);
  });
  suite.add("shard/graph/100", [](benchmark::State& state) {
    ScriptedHost host(&give_graph);
    run_whole(state, host);
  });
  suite.add("shard/event", [](benchmark::State& state) {
    ScriptedHost host{Waits()};
    run_events(state, host);
  });
  suite.add("shard/event_coroutine", [](benchmark::State& state) {
    CoroutineHost host;
    run_events(state, define(host, &counts_events));
  });
  suite.add("shard/wake/10", [](benchmark::State& state) { wake(state, 10); });
  suite.add("shard/wake/1000", [](benchmark::State& state) { wake(state, 1'000); });
}

}  // namespace pawl::micro
