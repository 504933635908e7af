#include "node_hosts.h"

namespace pawl::node {

void NodeWorkflowHost::activate(std::vector<Activation> activations,
                                const std::shared_ptr<ActivationSink>& sink) {
  std::vector<Item> items;
  items.reserve(activations.size());
  for (auto& activation : activations) {
    items.emplace_back(ActivationItem{std::move(activation), sink});
  }
  thread_->post(std::move(items));
}

void NodeWorkflowHost::evict(ExecutionRef execution) { thread_->post(EvictItem{execution}); }

void NodeActionHost::run(std::vector<ActionTask> tasks, const std::shared_ptr<ActionSink>& sink) {
  std::vector<Item> items;
  items.reserve(tasks.size());
  {
    std::lock_guard lock(mutex_);
    for (auto& task : tasks) {
      sinks_.emplace(task.id, sink);
      items.emplace_back(TaskItem{std::move(task)});
    }
  }
  thread_->post(std::move(items));
}

void NodeActionHost::abort(const AttemptId attempt) {
  {
    std::lock_guard lock(mutex_);
    sinks_.erase(attempt);
  }
  thread_->post(AbortItem{attempt});
}

void NodeActionHost::beat(ActionHeartbeat beat) {
  std::shared_ptr<ActionSink> sink;
  {
    const std::lock_guard lock(mutex_);
    const auto found = sinks_.find(beat.id);
    if (found == sinks_.end()) return;
    sink = found->second;
  }
  sink->action_heartbeat(std::move(beat));
}

bool NodeActionHost::is_wanted(const AttemptId attempt) {
  const std::lock_guard lock(mutex_);
  return sinks_.contains(attempt);
}

void NodeActionHost::finished(std::vector<ActionOutcome> outcomes) {
  // Neighbours usually share a sink.
  std::vector<std::pair<std::shared_ptr<ActionSink>, std::vector<ActionOutcome>>> batches;
  {
    std::lock_guard lock(mutex_);
    for (auto& outcome : outcomes) {
      const auto found = sinks_.find(outcome.id);
      if (found == sinks_.end()) continue;
      if (batches.empty() || batches.back().first != found->second) {
        batches.emplace_back(found->second, std::vector<ActionOutcome>());
      }
      sinks_.erase(found);
      batches.back().second.push_back(std::move(outcome));
    }
  }
  for (auto& [sink, batch] : batches) sink->actions_finished(std::move(batch));
}

}  // namespace pawl::node
