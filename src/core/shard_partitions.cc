// Which executions are run here, where a store has several partitions: one is taken, and left when it is at rest,
// or lost from one moment to the next. What is asked for elsewhere is passed on.

#include <algorithm>
#include <iterator>
#include <limits>
#include <set>
#include <utility>

#include "core/shard.h"
#include "core/shard_execution.h"

namespace pawl {
namespace {

constexpr DurationMs kLeaveLookMs = 10;

Error taken_over(const std::string_view what) {
  return Error{ErrorCode::outcome_unknown,
               "another worker took over while this was under way: " + std::string(what),
               {}};
}

}  // namespace

Shard::Stream& Shard::stream_of(const ExecutionRef ref) {
  return streams_[static_cast<std::size_t>(partition_of(ref))];
}

const Shard::Stream& Shard::stream_of(const ExecutionRef ref) const {
  return streams_[static_cast<std::size_t>(partition_of(ref))];
}

int Shard::partition_for(const std::string_view tenant, const std::string_view execution_id) const {
  return partition_of(tenant, execution_id, options_.partitions);
}

bool Shard::is_owned(const int partition) const {
  return partition >= 0 && partition < options_.partitions &&
         streams_[static_cast<std::size_t>(partition)].owned;
}

bool Shard::takes(const int partition) const {
  return is_owned(partition) && !streams_[static_cast<std::size_t>(partition)].leaving;
}

bool Shard::is_draining(const Execution& execution) const {
  return draining_ || stream_of(execution.fold.ref()).leaving;
}

std::uint64_t Shard::commit(Stream& stream, Transition transition, Held held) {
  held.commit = stream.next_commit++;
  const std::uint64_t id = held.commit;
  stream.held.push_back(std::move(held));
  out_->commits.push_back(
      CommitRequest{stream.number, stream.generation, id, std::move(transition), stream.epoch});
  return id;
}

// ---- taken

void Shard::on(const PartitionTaken& input) {
  Stream& stream = streams_[static_cast<std::size_t>(input.lease.partition)];
  if (stream.owned) lose(input.lease.partition);
  drop_lent_of(input.lease.partition);
  stream.owned = true;
  stream.epoch = input.lease.epoch;
  // What was sent under another epoch and is still to be answered is none of it.
  ++stream.generation;
  mail_wanted_ = true;
  timers_.load_again();
}

// ---- left

void Shard::on(const PartitionWanted& input) {
  const int partition = input.lease.partition;
  Stream& stream = streams_[static_cast<std::size_t>(partition)];
  if (!stream.owned || stream.epoch != input.lease.epoch || stream.leaving) return;
  stream.leaving = true;
  stream.leave_by = input.leave_by;
  ++leaving_;
  leave_look_at_ = now_;
  // What has not begun does not begin here.
  std::vector<AttemptKey> waiting;
  for (auto at = attempts_.lower_bound({execution_ref(partition, 0), 0});
       at != attempts_.end() && partition_of(at->first.first) == partition; ++at) {
    if (!at->second.handed_out) waiting.push_back(at->first);
  }
  for (const AttemptKey& key : waiting) end_attempt(key);
}

void Shard::leave_partitions() {
  if (leaving_ == 0 || now_ < leave_look_at_) return;
  leave_look_at_ = now_ + kLeaveLookMs;
  for (int partition = 0; partition < options_.partitions; ++partition) {
    Stream& stream = streams_[static_cast<std::size_t>(partition)];
    if (!stream.leaving || (now_ < stream.leave_by && !is_at_rest(partition))) continue;
    const PartitionLease left{partition, stream.epoch};
    lose(partition);
    out_->partitions_left.push_back(left);
  }
}

// Whether all that was begun there is recorded, and told to those who wait for it.
bool Shard::is_at_rest(const int partition) const {
  if (!streams_[static_cast<std::size_t>(partition)].held.empty()) return false;
  const auto attempt = attempts_.lower_bound({execution_ref(partition, 0), 0});
  if (attempt != attempts_.end() && partition_of(attempt->first.first) == partition) return false;
  for (const auto& [ref, loading] : loading_refs_) {
    if (partition_of(ref) == partition && promises(loading.work)) return false;
  }
  for (const auto& [ref, execution] : by_ref_) {
    if (partition_of(ref) != partition) continue;
    if (execution->phase != Execution::Phase::idle || promises(execution->work)) return false;
  }
  return true;
}

// ---- lost

void Shard::on(const PartitionLost& input) {
  const Stream& stream = streams_[static_cast<std::size_t>(input.lease.partition)];
  if (stream.owned && stream.epoch == input.lease.epoch) lose(input.lease.partition);
}

// Nothing is left of it in memory.
void Shard::lose(const int partition) {
  Stream& stream = streams_[static_cast<std::size_t>(partition)];
  stream.owned = false;
  if (std::exchange(stream.leaving, false)) --leaving_;
  ++stream.generation;
  Queue<Held> held = std::exchange(stream.held, {});
  for (Held& one : held) {
    for (const Reply& answer : one.replies) {
      reply(answer.request, taken_over("it may have been done, and can be asked for again"));
    }
  }
  std::vector<Execution*> gone;
  for (const auto& [ref, execution] : by_ref_) {
    if (partition_of(ref) == partition) gone.push_back(execution);
  }
  for (Execution* const execution : gone) lose(*execution);

  const auto of_it = [partition](const ExecutionRef ref) { return partition_of(ref) == partition; };
  std::vector<Work> left;
  const auto take_work = [&left](Queue<Work>& work) {
    for (Work& item : work) left.push_back(std::move(item));
  };
  for (auto at = loading_refs_.begin(); at != loading_refs_.end();) {
    if (!of_it(at->first)) {
      ++at;
      continue;
    }
    take_work(at->second.work);
    at = loading_refs_.erase(at);
  }
  for (auto at = loading_ids_.begin(); at != loading_ids_.end();) {
    const std::size_t end_of_tenant = at->first.find('\0');
    const std::string_view key = at->first;
    if (partition_for(key.substr(0, end_of_tenant), key.substr(end_of_tenant + 1)) != partition) {
      ++at;
      continue;
    }
    take_work(at->second.work);
    at = loading_ids_.erase(at);
  }
  for (const Work& item : left) leave(item);

  for (auto at = waiters_.begin(); at != waiters_.end();) {
    if (!of_it(at->first)) {
      ++at;
      continue;
    }
    for (const Waiter& waiter : at->second) {
      if (waiter.deadline) wait_deadlines_.erase({*waiter.deadline, at->first, waiter.request});
      out_->elsewhere.push_back(
          {CompletionAwaited{waiter.request, waiter.tenant, waiter.execution_id, waiter.deadline}});
    }
    at = waiters_.erase(at);
  }
  std::erase_if(outcomes_kept_, [&](const auto& kept) { return of_it(kept.first); });
  std::erase_if(to_resume_, of_it);
  std::erase_if(retry_stuck_, of_it);
  std::erase_if(to_reload_, of_it);
  std::erase_if(pages_to_reload_, [&](const LoadPage& page) { return of_it(page.ref); });
  std::erase_if(without_code_, [&](const auto& waiting) { return of_it(waiting.second); });
  std::erase_if(without_handler_, [&](const auto& waiting) { return of_it(waiting.second.first); });
  std::erase_if(missing_handlers_, [&](const auto& missing) { return of_it(missing.first.first); });
  std::erase_if(keyed_retries_, [&](const auto& retry) { return of_it(retry.second.first); });
  std::erase_if(keyed_ended_, [&](const AttemptFinished& end) { return of_it(end.execution); });
  // Of executions that are not in memory.
  std::set<ExecutionRef> others;
  for (const auto& [key, attempt] : attempts_) {
    if (key.first != 0 && of_it(key.first)) others.insert(key.first);
  }
  for (const auto& [key, limited] : limits_) {
    if (key.first != 0 && of_it(key.first)) others.insert(key.first);
  }
  for (const auto& [key, asked] : keyed_) {
    if (of_it(key.first)) others.insert(key.first);
  }
  for (const ExecutionRef ref : others) abandon_attempts(ref);
  timers_.forget(partition);
  std::erase_if(mail_,
                [partition](const auto& mail) { return mail.second.partition == partition; });
  std::erase_if(full_, [&](const auto& full) {
    const std::size_t end_of_tenant = full.first.find('\0');
    const std::string_view key = full.first;
    return partition_for(key.substr(0, end_of_tenant), key.substr(end_of_tenant + 1)) == partition;
  });
  resume_some();
}

void Shard::lose(Execution& execution) {
  for (const Reply& answer : execution.effects.replies) {
    reply(answer.request, taken_over("it was not done, and can be asked for again"));
  }
  reply(execution.start_request, taken_over("it was not started here, and can be started again"));
  if (execution.event) leave(Work{std::move(*execution.event)});
  for (const Work& item : execution.work) leave(item);
  abandon_attempts(execution.fold.ref());
  without_handler_erase(execution.fold.ref());
  forget(execution);
}

// Mail lies in the store, and so does what else nobody waits for.
void Shard::leave(const Work& work) {
  if (mail_of(work) != 0) return;
  const auto pass = [this](auto call) {
    if (call.request == 0) return;
    if constexpr (std::is_same_v<decltype(call), EventSubmitted>) {
      if (const auto waits = patience_.extract(call.request)) {
        patience_ends_.erase({waits.mapped().deadline, waits.key()});
      }
      call.key_checked = false;
    }
    out_->elsewhere.push_back({std::move(call)});
  };
  if (const auto* const event = std::get_if<EventSubmitted>(&work)) pass(*event);
  if (const auto* const start = std::get_if<StartRequested>(&work)) pass(*start);
  if (const auto* const wait = std::get_if<CompletionAwaited>(&work)) pass(*wait);
  if (const auto* const control = std::get_if<ControlRequested>(&work)) pass(*control);
  if (const auto* const fork = std::get_if<ForkPrepared>(&work)) pass(*fork);
  if (const auto* const given = std::get_if<ActionCompletionGiven>(&work)) pass(*given);
  if (const auto* const ended = std::get_if<AttemptFinished>(&work)) {
    reply(ended->request, taken_over("it was not recorded, and can be told again"));
  }
}

}  // namespace pawl
