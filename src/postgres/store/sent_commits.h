#pragma once

// Database actions of this worker whose COMMIT may be on its way: whoever gives one of them up for good puts its row
// into the same commit, where it waits for what was sent. What has sent none is broken off, and leaves nothing.
//
//   (nothing) --its COMMIT is about to be sent--> here --answered, or looked up--> (nothing)
//                                                 here --it is given up, and its row is there--> (nothing)
//
// One whose answer was lost, and of which nobody could be asked, stays until one of the two.

#include <map>
#include <mutex>
#include <tuple>
#include <vector>

#include "model/execution_record.h"
#include "pawl/host.h"

namespace pawl {

// Any thread.
class SentCommits {
 public:
  // Of actions within executions: others are given up by nobody.
  void add(const ActionTask& task);
  // Only what that very attempt has added.
  void remove(const ActionTask& task);
  // The rows that say that they were given up.
  std::vector<ActionResultRecord> of(ExecutionRef execution) const;
  // Their rows are there.
  void forget(ExecutionRef execution);

 private:
  using Key = std::tuple<ExecutionRef, Position, int>;  // with the generation

  mutable std::mutex mutex_;
  std::map<Key, ActionTask> tasks_;  // under mutex_; without their parameters
};

}  // namespace pawl
