#pragma once

// What the benchmarks run: as coroutines, and as hosts that answer without any code, so that nothing is
// measured but who asks. This folder takes nothing from the rest of bench/: scripts/bench_check compiles it
// with other versions.

#include <pawl/pawl.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core_loop.h"
#include "host/coroutine_host.h"
#include "pawl/host.h"

namespace pawl::micro {

struct Step {
  struct Parameters {
    int number = 0;
  };
  struct Result {
    int number = 0;
  };
};
PAWL_DESCRIBE(Step::Parameters, number);
PAWL_DESCRIBE(Step::Result, number);

inline Workflow<int> three_steps(Context& ctx, int input) {
  int sum = input;
  for (int i = 1; i <= 3; ++i) {
    const auto done = co_await ctx.run<Step>({.number = i});
    sum += done.value().number;
  }
  co_return sum;
}

// For ever: four records each time.
inline Workflow<> counts_events(Context& ctx) {
  for (int n = 1;; ++n) {
    const auto event = co_await ctx.wait_for("Go");
    ctx.data().set("n", n);
    ctx.set_state(n % 2 == 0 ? "even" : "odd");
  }
}

template <class F>
CoroutineHost& define(CoroutineHost& host, F workflow) {
  host.register_workflow(std::string(kWorkflow), "1.0.0",
                         detail::make_workflow_function(std::move(workflow)));
  return host;
}

// Gives the commands that a function says.
class ScriptedHost final : public WorkflowHost {
 public:
  using Script = std::function<void(const Activation&, std::vector<Command>&)>;

  explicit ScriptedHost(Script script) : script_(std::move(script)) {}

  void activate(std::vector<Activation> activations,
                const std::shared_ptr<ActivationSink>& sink) override {
    std::vector<ActivationResult> results;
    results.reserve(activations.size());
    for (const Activation& activation : activations) {
      ActivationResult& result = results.emplace_back();
      result.execution = activation.execution;
      result.sequence = activation.sequence;
      script_(activation, result.commands);
    }
    sink->activations_completed(std::move(results));
  }
  void evict(ExecutionRef) override {}

 private:
  const Script script_;
};

inline ScheduleActionCommand step_command(const Position position) {
  ScheduleActionCommand command;
  command.position = position;
  command.name = "Step";
  command.parameters = Payload::json(R"({"number":1})");
  return command;
}

}  // namespace pawl::micro
