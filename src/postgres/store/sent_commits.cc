#include "postgres/store/sent_commits.h"

#include <limits>

#include "base/clock.h"
#include "model/failure_codec.h"
#include "pawl/database.h"

namespace pawl {
namespace {

// Where the rows of that execution begin.
std::tuple<ExecutionRef, Position, int> first_of(const ExecutionRef execution) {
  return {execution, std::numeric_limits<Position>::min(), 0};
}

}  // namespace

void SentCommits::add(const ActionTask& task) {
  if (task.execution <= 0) return;
  ActionTask kept;
  kept.id = task.id;
  kept.tenant = task.tenant;
  kept.execution = task.execution;
  kept.position = task.position;
  kept.name = task.name;
  kept.attempt = task.attempt;
  kept.generation = task.generation;
  kept.seed = task.seed;
  kept.partition = task.partition;
  kept.epoch = task.epoch;
  const std::lock_guard lock(mutex_);
  // Of a former ownership nothing can come any more: whoever claimed the partition has waited for that.
  std::erase_if(tasks_, [&task](const auto& known) {
    return known.second.partition == task.partition && known.second.epoch < task.epoch;
  });
  tasks_.insert_or_assign({task.execution, task.position, task.generation}, std::move(kept));
}

void SentCommits::remove(const ActionTask& task) {
  const std::lock_guard lock(mutex_);
  const auto found = tasks_.find({task.execution, task.position, task.generation});
  if (found != tasks_.end() && found->second.id == task.id) tasks_.erase(found);
}

std::vector<ActionResultRecord> SentCommits::of(const ExecutionRef execution) const {
  const std::lock_guard lock(mutex_);
  std::vector<ActionResultRecord> rows;
  for (auto at = tasks_.lower_bound(first_of(execution));
       at != tasks_.end() && std::get<0>(at->first) == execution; ++at) {
    const ActionTask& task = at->second;
    ActionResultRecord& row = rows.emplace_back();
    row.execution = task.execution;
    row.position = task.position;
    row.generation = task.generation;
    row.seed = task.seed;
    row.tenant = task.tenant;
    row.action = task.name;
    row.succeeded = false;
    row.attempts = task.attempt;
    row.error_json = encode_failure(attempt_given_up());
    row.at = SystemClock().now();
  }
  return rows;
}

void SentCommits::forget(const ExecutionRef execution) {
  const std::lock_guard lock(mutex_);
  tasks_.erase(tasks_.lower_bound(first_of(execution)),
               tasks_.lower_bound(first_of(execution + 1)));
}

}  // namespace pawl
