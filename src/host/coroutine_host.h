#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>

#include "host/instance.h"
#include "pawl/host.h"
#include "pawl/runtime.h"
#include "pawl/workflow.h"

namespace pawl {

// Runs workflows that are C++ coroutines, on the thread that calls activate().
class CoroutineHost final : public WorkflowHost {
 public:
  explicit CoroutineHost(const Limits& limits = {}) : limits_(limits) {}

  // From now on, new instances of that workflow run this function; live ones keep theirs. Any thread.
  void register_workflow(std::string name, std::string version, detail::WorkflowFunction function);

  void activate(std::vector<Activation> activations,
                const std::shared_ptr<ActivationSink>& sink) override;
  void evict(ExecutionRef execution) override;

  // Live ones. On the thread of activate().
  std::size_t instances() const { return instances_.size(); }

 private:
  std::shared_ptr<const detail::WorkflowFunction> find(const std::string& name,
                                                       const std::string& version) const;
  void activate_one(Activation activation, ActivationResult& result);

  const Limits limits_;

  mutable std::mutex mutex_;
  // By name and version; guarded by mutex_.
  std::map<std::pair<std::string, std::string>, std::shared_ptr<const detail::WorkflowFunction>>
      functions_;

  // Confined to the thread of activate().
  std::unordered_map<ExecutionRef, std::unique_ptr<detail::Instance>> instances_;
};

}  // namespace pawl
