// Work for other workers, whose code is registered here; and what is lost of our own that others did.

#include <limits>
#include <utility>

#include "core/shard.h"
#include "core/shard_execution.h"

namespace pawl {
namespace {

Error code_went_away() {
  return Error{ErrorCode::outcome_unknown,
               "the worker that ran the code of this execution went away: what was asked for was "
               "not done, and can be "
               "asked for again",
               {}};
}

}  // namespace

// ---- for others

void Shard::on(LentWorkArrived input) {
  const std::string& worker = input.worker;
  if (auto* const run = std::get_if<RunCode>(&input.work)) {
    run_lent_code(worker, std::move(*run));
  } else if (const auto* const drop = std::get_if<DropInstance>(&input.work)) {
    const auto lent = lent_code_.find(drop->execution);
    if (lent != lent_code_.end() && lent->second.is(worker, drop->instance)) drop_lent_code(lent);
  } else if (auto* const attempt = std::get_if<RunAttempt>(&input.work)) {
    run_lent_attempt(worker, std::move(attempt->task));
  } else if (const auto* const abort = std::get_if<AbortAttempt>(&input.work)) {
    const auto lent = lent_attempts_.find({worker, abort->attempt});
    if (lent != lent_attempts_.end()) call_off(AttemptKey(lent->second));
  } else if (std::holds_alternative<AllLost>(input.work)) {
    drop_all_lent(worker);
  }
}

void Shard::run_lent_code(const std::string& worker, RunCode work) {
  const ExecutionRef ref = work.activation.execution;
  const auto* const start =
      work.activation.jobs.empty() ? nullptr : std::get_if<StartJob>(&work.activation.jobs.front());
  auto lent = lent_code_.find(ref);
  const Catalog::Workflow* const workflow =
      start == nullptr ? nullptr : catalog_.find_workflow(start->workflow, start->version);
  bool can_run = lent != lent_code_.end() && lent->second.is(worker, work.instance);
  if (start != nullptr) {
    // One that was run here for us, and whose results are still to come, is not to be taken for this one.
    can_run = workflow != nullptr && workflow->host != kOtherWorkers && !draining_ &&
              !is_owned(partition_of(ref)) && !orphaned_results_.contains(ref);
  }
  if (!can_run) {
    CodeRan answer{work.instance, {}};
    answer.result.execution = ref;
    answer.result.sequence = work.activation.sequence;
    answer.result.lost = true;
    return out_->lent.push_back({worker, std::move(answer)});
  }
  if (start != nullptr) {
    if (lent != lent_code_.end() && lent->second.host != workflow->host) drop_lent_code(lent);
    lent = lent_code_.insert_or_assign(ref, LentCode{worker, work.instance, workflow->host}).first;
  }
  lent_owed_[ref].emplace_back(worker, work.instance);
  out_->activations.push_back(Activate{lent->second.host, std::move(work.activation)});
}

// False: it is one of our own.
bool Shard::return_lent_result(ActivationResult& result) {
  const auto owed = lent_owed_.find(result.execution);
  if (owed == lent_owed_.end()) return false;
  const auto [worker, instance] = std::move(owed->second.front());
  owed->second.pop_front();
  if (owed->second.empty()) lent_owed_.erase(owed);
  const auto lent = lent_code_.find(result.execution);
  if (lent == lent_code_.end() || !lent->second.is(worker, instance)) {
    // Dropped meanwhile. Who does not know that has an answer all the same.
    ActivationResult lost;
    lost.execution = result.execution;
    lost.sequence = result.sequence;
    lost.lost = true;
    result = std::move(lost);
  } else if (result.violation) {
    drop_lent_code(lent);
  } else if (ends_code(result)) {
    lent_code_.erase(lent);
  }
  out_->lent.push_back({worker, CodeRan{instance, std::move(result)}});
  return true;
}

void Shard::drop_lent_code(const std::map<ExecutionRef, LentCode>::iterator lent) {
  out_->evictions.push_back(Evict{lent->second.host, lent->first});
  lent_code_.erase(lent);
}

void Shard::run_lent_attempt(const std::string& worker, ActionTask task) {
  const Catalog::Action* const registered =
      catalog_.find_action(task.in_place ? kInPlaceAction : std::string_view(task.name));
  const auto code = lent_code_.find(task.execution);
  const bool here = registered != nullptr && registered->host != kOtherWorkers && !draining_ &&
                    (task.execution == 0 || !is_owned(partition_of(task.execution))) &&
                    (!task.in_place || (code != lent_code_.end() && code->second.worker == worker));
  if (!here) {
    return out_->lent.push_back({worker, AttemptEnded{task.id, Payload{}, false, false}});
  }
  const std::pair<std::string, AttemptId> asked{worker, task.id};
  if (task.execution == 0) task.position = next_detached_--;
  const AttemptKey key{task.execution, task.position};
  // By a former owner, whose word that it is not wanted any more is still to come.
  call_off(key);
  hand_out(*registered, std::make_unique<ActionTask>(std::move(task)), registered->host);
  attempts_.at(key).lent_to = asked;
  lent_attempts_.emplace(asked, key);
}

void Shard::return_attempt(const AttemptKey key, std::variant<Payload, Failure> outcome,
                           const bool deferred) {
  const auto [worker, id] = attempts_.at(key).lent_to;
  end_attempt(key);
  out_->lent.push_back({worker, AttemptEnded{id, std::move(outcome), deferred}});
}

// Those that have not begun are for somebody else; true for one of others.
bool Shard::return_unbegun(const AttemptKey key) {
  const auto [worker, id] = attempts_.at(key).lent_to;
  if (worker.empty()) return false;
  end_attempt(key);
  out_->lent.push_back({worker, AttemptEnded{id, Payload{}, false, false}});
  return true;
}

void Shard::drop_all_lent(const std::string& worker) {
  for (auto lent = lent_code_.begin(); lent != lent_code_.end();) {
    const auto next = std::next(lent);
    if (lent->second.worker == worker) drop_lent_code(lent);
    lent = next;
  }
  // What he sent before he knew has an answer.
  std::vector<std::pair<AttemptId, AttemptKey>> attempts;
  for (auto at = lent_attempts_.lower_bound({worker, std::numeric_limits<AttemptId>::min()});
       at != lent_attempts_.end() && at->first.first == worker; ++at) {
    attempts.emplace_back(at->first.second, at->second);
  }
  for (const auto& [id, key] : attempts) {
    call_off(key);
    out_->lent.push_back({worker, AttemptEnded{id, Payload{}, false, false}});
  }
}

// It is ours now: its former owner has nothing to say there any more.
void Shard::drop_lent_of(const int partition) {
  const ExecutionRef first = execution_ref(partition, 0);
  auto lent = lent_code_.lower_bound(first);
  while (lent != lent_code_.end() && partition_of(lent->first) == partition) {
    drop_lent_code(lent++);
  }
  std::vector<AttemptKey> attempts;
  for (auto at = attempts_.lower_bound({first, 0});
       at != attempts_.end() && partition_of(at->first.first) == partition; ++at) {
    if (!at->second.lent_to.first.empty()) attempts.push_back(at->first);
  }
  for (const AttemptKey& key : attempts) call_off(key);
}

// ---- by others

void Shard::on(const WorkflowWithdrawn& input) {
  catalog_.withdraw_workflow(input.name, input.version);
}

void Shard::on(const ActionWithdrawn& input) { catalog_.withdraw_action(input.name); }

void Shard::on(const InstancesGone& input) {
  for (const ExecutionRef ref : input.executions) {
    Execution* const execution = find(ref);
    // Where it is asked for something, that has an answer.
    if (execution == nullptr || execution->host != kOtherWorkers || !execution->hosted) continue;
    if (execution->phase == Execution::Phase::idle) lose_instance(*execution);
  }
}

void Shard::on(const AttemptsGone& input) {
  for (const AttemptsGone::Attempt& gone : input.attempts) {
    const AttemptKey key{gone.execution, gone.position};
    const auto attempt = attempts_.find(key);
    if (attempt == attempts_.end() || attempt->second.id != gone.id) continue;
    end_attempt(key);
    if (key.first == 0) {
      const auto detached = detached_positions_.find(key.second);
      if (detached != detached_positions_.end()) try_detached(*detached_.at(detached->second));
    } else if (Execution* const execution = find(key.first)) {
      dispatch_once_durable(*execution, key.second);
      if (!execution->attempts_waiting.empty()) proceed(*execution);
    } else {
      load(key.first);
    }
  }
}

// Its code was run elsewhere, and is gone. It is loaded again, once the store has all that was decided; what was under
// way in its code is done again.
void Shard::lose_instance(Execution& execution) {
  execution.instance_lost = true;
  if (execution.results_owed > 0 || !is_durable(execution)) return;
  const ExecutionRecord& record = execution.fold.record();
  const ExecutionRef ref = record.ref;
  for (const Reply& answer : execution.effects.replies) reply(answer.request, code_went_away());
  reply(execution.start_request, code_went_away());
  take_up_steps(execution);
  for (const Job& job : execution.jobs) {
    if (const auto* const finished = std::get_if<ActionJob>(&job)) {
      take_back(execution, *finished);
    }
  }
  if (execution.event && !execution.event_in_inbox && execution.event->mail == 0) {
    execution.event->key_checked = false;
    execution.work.push_front(std::move(*execution.event));
    execution.event.reset();
  }
  return_mail_of(execution);
  Queue<Work> work = std::move(execution.work);
  const bool stored = execution.stored;
  const std::string tenant = record.tenant;
  const std::string execution_id = record.execution_id;
  execution.hosted = false;
  if (execution.retrying_stuck) retry_stuck_.insert(ref);
  forget(execution);
  for (Work& item : work) {
    // What lies in the inbox is found there again.
    if (std::holds_alternative<InboxEvent>(item)) continue;
    if (stored) {
      give(ref, std::move(item));
    } else {
      give(tenant, execution_id, std::move(item));
    }
  }
  if (stored) load(ref);
}

}  // namespace pawl
