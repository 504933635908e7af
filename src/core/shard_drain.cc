// The end of an engine: what was begun is brought to where it can be left.
//
//   Working --DrainRequested--> Draining --nothing under way--> drained()

#include <algorithm>
#include <set>

#include "core/shard.h"
#include "core/shard_execution.h"

namespace pawl {

void Shard::on(const DrainRequested& input) {
  draining_ = true;
  const std::set<AttemptId> withdrawn(input.withdrawn.begin(), input.withdrawn.end());
  std::vector<AttemptKey> left;
  for (const auto& [key, attempt] : attempts_) {
    const bool begins_elsewhere = !attempt.handed_out && !attempt.lent_to.first.empty();
    if (withdrawn.contains(attempt.id) || begins_elsewhere) left.push_back(key);
  }
  for (const AttemptKey& key : left) {
    if (attempts_.at(key).handed_out) --counters_.actions_started;
    if (!return_unbegun(key)) end_attempt(key);
  }
}

// Whether somebody waits for what becomes of it, or it would be done again if it were dropped. The rest
// lies in the store.
bool Shard::is_promised(const Work& work) {
  if (std::holds_alternative<AttemptFinished>(work)) return true;
  if (std::holds_alternative<TimerDue>(work) || std::holds_alternative<InboxEvent>(work)) {
    return false;
  }
  return mail_of(work) == 0;
}

bool Shard::promises(const Queue<Work>& work) {
  return std::any_of(work.begin(), work.end(), is_promised);
}

bool Shard::drained() const {
  if (!draining_ || in_flight_ + in_flight_elsewhere_ > 0 || !lent_owed_.empty()) return false;
  const auto holds = [](const Stream& stream) { return !stream.held.empty(); };
  if (std::any_of(streams_.begin(), streams_.end(), holds)) return false;
  const auto promised = [](const auto& loading) { return promises(loading.second.work); };
  if (std::any_of(loading_ids_.begin(), loading_ids_.end(), promised)) return false;
  if (std::any_of(loading_refs_.begin(), loading_refs_.end(), promised)) return false;
  const auto looking_up = [](const auto& detached) { return detached.second->looking_up; };
  if (std::any_of(detached_.begin(), detached_.end(), looking_up)) return false;
  return std::all_of(executions_.begin(), executions_.end(), [](const auto& execution) {
    return execution.second->phase == Execution::Phase::idle;
  });
}

}  // namespace pawl
