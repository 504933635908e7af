#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pawl/compensations.h"

namespace pawl::detail {

struct Compensation {
  std::string action;
  Payload parameters;
  ActionOptions options;
  CallSite site;
};

// What one run() took, and what becomes of it. Shared by the list, which runs it, and the awaitable,
// which may be gone by then.
struct CompensationBatch {
  std::vector<Compensation> actions;  // in the order in which they run
  std::vector<FailedCompensation> failed;
  bool done = false;
  bool taken = false;
  std::uint64_t order = 0;  // of becoming done, within the execution
  Waiter* waiter = nullptr;
};

// The compensations of one instance, and the coroutine that runs them.
class CompensationList {
 public:
  explicit CompensationList(Instance& instance) : instance_(instance) {}

  void add(Compensation compensation) { added_.push_back(std::move(compensation)); }
  std::shared_ptr<CompensationBatch> run();
  // Ends what is under way where it stands.
  void stop() { worker_.reset(); }

 private:
  Task<void> work();

  Instance& instance_;
  std::vector<Compensation> added_;
  std::deque<std::shared_ptr<CompensationBatch>> batches_;  // the first one runs, the others wait
  std::optional<Task<void>> worker_;
};

}  // namespace pawl::detail
