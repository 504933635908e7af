#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <vector>

#include "core/shard.h"
#include "pawl/host.h"

namespace pawl {

// The way into a shard, from any thread. Outlives the shard where hosts still hold it: what comes
// after close() is dropped. Calls of clients are bounded before they get here (requests_queued_max),
// all else answers something that the shard asked for.
class Mailbox final : public ActivationSink, public ActionSink {
 public:
  void post(Input input);
  void activations_completed(std::vector<ActivationResult> results) override;
  void action_begun(ActionBegun begun) override { post(begun); }
  void action_heartbeat(ActionHeartbeat beat) override { post(std::move(beat)); }
  void actions_finished(std::vector<ActionOutcome> outcomes) override;

  // Waits for mail, for `milliseconds` at most where given. False once closed and empty.
  bool take(std::vector<Input>& inputs, std::optional<std::chrono::milliseconds> at_most);
  bool is_empty() const;
  void close();

 private:
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Input> inputs_;  // under mutex_
  bool closed_ = false;        // under mutex_
};

}  // namespace pawl
