#pragma once

// The two ports of the engine, put onto the JavaScript thread.

#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include <pawl/host.h>

#include "js_thread.h"

namespace pawl::node {

// Workflow code in JavaScript. Any thread may call.
class NodeWorkflowHost final : public WorkflowHost {
 public:
  explicit NodeWorkflowHost(std::shared_ptr<JsThread> thread) : thread_(std::move(thread)) {}

  void activate(std::vector<Activation> activations,
                const std::shared_ptr<ActivationSink>& sink) override;
  void evict(ExecutionRef execution) override;

 private:
  std::shared_ptr<JsThread> thread_;
};

// Action handlers in JavaScript. Any thread may call.
class NodeActionHost final : public ActionHost {
 public:
  explicit NodeActionHost(std::shared_ptr<JsThread> thread) : thread_(std::move(thread)) {}

  void run(std::vector<ActionTask> tasks, const std::shared_ptr<ActionSink>& sink) override;
  void abort(AttemptId attempt) override;

  // What JavaScript reports. Each attempt is answered once; a second answer is ignored, and so is
  // one of an attempt that was aborted.
  void finished(std::vector<ActionOutcome> outcomes);
  void beat(ActionHeartbeat beat);
  // Somebody waits for its outcome.
  bool is_wanted(AttemptId attempt);

 private:
  std::shared_ptr<JsThread> thread_;
  std::mutex mutex_;
  // Attempts under way and where their outcome goes, until they are answered or aborted. Bounded by
  // Limits::actions_in_flight_max.
  std::unordered_map<AttemptId, std::shared_ptr<ActionSink>> sinks_;
};

}  // namespace pawl::node
