#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "host/coroutine_host.h"
#include "pawl/workflow.h"

namespace pawl::testing_support {

// Hands activations to a CoroutineHost as the engine would, and keeps them, so that they can be
// delivered again. One execution.
class CoroutineDriver {
 public:
  static constexpr ExecutionRef kRef = 7;

  template <class F>
  explicit CoroutineDriver(F workflow, std::string version = "1.0.0")
      : version_(std::move(version)) {
    host.register_workflow("Tested", version_, detail::make_workflow_function(std::move(workflow)));
  }

  template <class T>
  ActivationResult start(const T& input) {
    return start_with(to_payload(input).value());
  }
  ActivationResult start() { return start_with(Payload{}); }

  ActivationResult start_with(Payload input) {
    return deliver({StartJob{.tenant = "acme",
                             .execution_id = "wf-1",
                             .workflow = "Tested",
                             .version = version_,
                             .user_id = "ann",
                             .correlation_id = "corr",
                             .input = std::move(input),
                             .seed = 42}});
  }

  // One activation with these jobs.
  ActivationResult deliver(std::vector<Job> jobs) {
    Activation activation;
    activation.execution = kRef;
    activation.now = 1'700'000'000'000 + 1'000 * static_cast<Timestamp>(delivered.size());
    activation.sequence = 1 + 10 * static_cast<std::int64_t>(delivered.size());
    activation.jobs = std::move(jobs);
    delivered.push_back(activation);
    results.push_back(send(std::move(activation)));
    return results.back();
  }

  static Job event(Position position, std::string name, std::string payload = "") {
    return EventJob{position, ReceivedEvent{.id = "e-" + name,
                                            .name = std::move(name),
                                            .payload = Payload::json(std::move(payload)),
                                            .user_id = "bob",
                                            .timestamp = 5,
                                            .sequence = 9}};
  }
  static Job completed(Position position, std::string result = "") {
    return ActionJob{position, Payload::json(std::move(result))};
  }
  static Job failed(Position position, std::string message) {
    return ActionJob{position, Failure{.name = "Boom", .message = std::move(message)}};
  }
  static Job timed_out(Position position) { return WaitTimedOutJob{position}; }
  static Job fired(Position position) { return TimerJob{position}; }

  // Forgets the instance and delivers everything again; what the code then asked for, in order.
  std::vector<ActivationResult> replay(std::size_t activations) {
    host.evict(kRef);
    std::vector<ActivationResult> again;
    for (std::size_t i = 0; i < activations; ++i) {
      Activation activation = delivered[i];
      activation.replaying = true;
      for (const Command& command : results[i].commands) {
        if (const auto* const patched = std::get_if<PatchedCommand>(&command)) {
          activation.patches.push_back(patched->change_id);
        }
      }
      again.push_back(send(std::move(activation)));
    }
    return again;
  }

  ActivationResult send(Activation activation) {
    auto sink = std::make_shared<Sink>();
    host.activate({std::move(activation)}, sink);
    return std::move(sink->results.at(0));
  }

  CoroutineHost host;
  std::vector<Activation> delivered;
  std::vector<ActivationResult> results;

 private:
  struct Sink : ActivationSink {
    void activations_completed(std::vector<ActivationResult> completed) override {
      for (ActivationResult& result : completed) results.push_back(std::move(result));
    }
    std::vector<ActivationResult> results;
  };

  std::string version_;
};

// "run 1 ChargeCard {…}", "wait 2 Approve,Reject 1000", "complete {…}": commands as a reader compares
// them. Log lines are left out where `with_log` is not set, as they are on replay.
std::vector<std::string> describe(const ActivationResult& result, bool with_log = true);

}  // namespace pawl::testing_support
