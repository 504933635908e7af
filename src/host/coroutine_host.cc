#include "host/coroutine_host.h"

#include <fmt/format.h>

namespace pawl {

void CoroutineHost::register_workflow(std::string name, std::string version,
                                      detail::WorkflowFunction function) {
  auto shared = std::make_shared<const detail::WorkflowFunction>(std::move(function));
  const std::lock_guard lock(mutex_);
  functions_.insert_or_assign({std::move(name), std::move(version)}, std::move(shared));
}

std::shared_ptr<const detail::WorkflowFunction> CoroutineHost::find(
    const std::string& name, const std::string& version) const {
  const std::lock_guard lock(mutex_);
  const auto found = functions_.find({name, version});
  return found == functions_.end() ? nullptr : found->second;
}

void CoroutineHost::activate(std::vector<Activation> activations,
                             const std::shared_ptr<ActivationSink>& sink) {
  std::vector<ActivationResult> results;
  results.reserve(activations.size());
  for (Activation& activation : activations) {
    ActivationResult& result = results.emplace_back();
    result.execution = activation.execution;
    result.sequence = activation.sequence;
    activate_one(std::move(activation), result);
    // Nothing of it is recorded, so nobody should come to rely on it.
    if (result.violation) result.commands.clear();
  }
  sink->activations_completed(std::move(results));
}

void CoroutineHost::activate_one(Activation activation, ActivationResult& result) {
  const StartJob* start =
      activation.jobs.empty() ? nullptr : std::get_if<StartJob>(&activation.jobs.front());
  auto found = instances_.find(activation.execution);
  if (start != nullptr) {
    if (found != instances_.end()) instances_.erase(found);
    auto function = find(start->workflow, start->version);
    if (!function) {
      result.violation = fmt::format("workflow '{}' version '{}' is not registered in this process",
                                     start->workflow, start->version);
      return;
    }
    found = instances_
                .emplace(activation.execution,
                         std::make_unique<detail::Instance>(std::move(function), limits_))
                .first;
  } else if (found == instances_.end()) {
    result.violation =
        "an activation for an execution that has no instance here: it was evicted, has "
        "ended, or was never started";
    return;
  }
  if (!activation.offers.empty()) return found->second->ask(activation, result);
  found->second->activate(std::move(activation), result);
  if (found->second->ended()) instances_.erase(found);
}

void CoroutineHost::evict(ExecutionRef execution) { instances_.erase(execution); }

}  // namespace pawl
