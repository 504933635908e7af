#pragma once

// The shard with nothing around it that takes time: commits are durable at once, actions are done at once,
// and what is loaded lies ready. All that the benchmarks know of the engine's insides stands here.

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/shard.h"
#include "core/store.h"
#include "pawl/host.h"
#include "pawl/payload.h"
#include "pawl/runtime.h"

namespace pawl::micro {

inline constexpr std::string_view kTenant = "bench";
inline constexpr std::string_view kWorkflow = "Benched";

class CoreLoop {
 public:
  // With a store, commits go to it as well, and it must be durable when commit() returns.
  explicit CoreLoop(WorkflowHost& host, const Limits& limits = {}, Store* store = nullptr);

  void register_action(const std::string& name);

  // Each goes on until nothing is left to do, and aborts the program if the caller was not told well.
  void start(const std::string& execution_id, Payload input = {});
  void submit(const std::string& execution_id, const std::string& event, Payload payload);

  // What the next load is answered with.
  void lay_ready(StoredExecution stored) { ready_ = std::move(stored); }

  std::uint64_t transitions() const { return transitions_; }

 private:
  struct Results final : ActivationSink {
    void activations_completed(std::vector<ActivationResult> results) override {
      for (ActivationResult& result : results) collected.push_back(std::move(result));
    }
    std::vector<ActivationResult> collected;
  };

  void give(Input input) { shard_.handle(std::move(input), ++now_, outputs_[asking_]); }
  void settle(RequestId request);
  void commit(std::vector<CommitRequest> requests);
  void load(const LoadExecution& wanted);

  WorkflowHost& host_;
  Store* const store_;
  ExecutionRef last_ref_ = 0;
  InboxId last_inbox_id_ = 0;
  Shard shard_;
  Timestamp now_ = 1'700'000'000'000;
  RequestId last_request_ = 0;
  std::uint64_t transitions_ = 0;
  std::optional<StoredExecution> ready_;
  const std::shared_ptr<Results> results_ = std::make_shared<Results>();
  // What is asked goes into the one, while the other is carried out.
  std::array<Outputs, 2> outputs_;
  std::size_t asking_ = 0;
};

// An execution whose code has run, with the whole of its history.
StoredExecution stored_after_events(WorkflowHost& host, const std::string& execution_id,
                                    int records);

}  // namespace pawl::micro
