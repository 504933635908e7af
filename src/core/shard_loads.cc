// Finding an execution in the cache, or reading it from the store: its row and inbox with the first page
// of its history, then the others, one at a time.

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

#include "core/completion_token.h"
#include "core/shard.h"
#include "core/shard_execution.h"
#include "model/failure_codec.h"

namespace pawl {
namespace {

constexpr std::size_t kLoadsAtOnceMax = 64;  // of executions to resume

}  // namespace

Error unknown_execution(const std::string_view tenant, const std::string_view execution_id) {
  return {ErrorCode::unknown_execution,
          fmt::format("There is no execution '{}' in tenant '{}'.", execution_id, tenant),
          std::string(execution_id)};
}

Shard::Execution* Shard::find(const std::string_view tenant, const std::string_view execution_id) {
  const auto found = executions_.find(execution_key(tenant, execution_id));
  return found == executions_.end() ? nullptr : found->second.get();
}

Shard::Execution* Shard::find(const ExecutionRef ref) {
  const auto found = by_ref_.find(ref);
  return found == by_ref_.end() ? nullptr : found->second;
}

void Shard::give(const std::string_view tenant, const std::string_view execution_id, Work work) {
  if (!is_owned(partition_for(tenant, execution_id))) return leave(work);
  if (Execution* const execution = find(tenant, execution_id)) {
    execution->work.push_back(std::move(work));
    return proceed(*execution);
  }
  auto [loading, fresh] = loading_ids_.try_emplace(execution_key(tenant, execution_id));
  loading->second.work.push_back(std::move(work));
  if (fresh) {
    loading->second.number = next_load_++;
    out_->loads.push_back(LoadExecution{loading->second.number, 0, std::string(tenant),
                                        std::string(execution_id), page()});
  }
}

void Shard::give(const ExecutionRef ref, Work work) {
  if (!is_owned(partition_of(ref))) return leave(work);
  if (Execution* const execution = find(ref)) {
    execution->work.push_back(std::move(work));
    return proceed(*execution);
  }
  load(ref);
  loading_refs_[ref].work.push_back(std::move(work));
}

void Shard::load(const ExecutionRef ref) {
  if (!is_owned(partition_of(ref))) return;
  const auto [loading, fresh] = loading_refs_.try_emplace(ref);
  if (fresh) {
    loading->second.number = next_load_++;
    out_->loads.push_back(LoadExecution{loading->second.number, ref, {}, {}, page()});
  }
  // What is on its way was read before somebody wanted it anew.
  if (loading->second.stale) loading->second.again = true;
}

void Shard::on(ResumeExecutions input) {
  to_resume_.insert(to_resume_.end(), input.executions.begin(), input.executions.end());
  resume_some();
}

void Shard::resume_some() {
  while (!draining_ && !to_resume_.empty() && loading_refs_.size() < kLoadsAtOnceMax) {
    const ExecutionRef ref = to_resume_.front();
    to_resume_.pop_front();
    if (Execution* const execution = find(ref)) {
      // Somebody asked for it before this did.
      const bool stuck = execution->fold.record().status == ExecutionStatus::stuck;
      if (stuck && execution->phase == Execution::Phase::idle) {
        execution->retrying_stuck = true;
        proceed(*execution);
      }
      continue;
    }
    if (!takes(partition_of(ref))) continue;
    retry_stuck_.insert(ref);
    load(ref);
  }
}

HistoryBounds Shard::page() const {
  constexpr std::size_t kRecordsMax = 1'000'000;
  const std::size_t records =
      std::clamp<std::size_t>(options_.limits.history_page_records_max, 1, kRecordsMax);
  return {static_cast<int>(records), kHistoryPageBytesMax};
}

Shard::Loading* Shard::find_loading(const LoadExecution& asked) {
  if (asked.ref != 0) {
    const auto found = loading_refs_.find(asked.ref);
    return found == loading_refs_.end() ? nullptr : &found->second;
  }
  const auto found = loading_ids_.find(execution_key(asked.tenant, asked.execution_id));
  return found == loading_ids_.end() ? nullptr : &found->second;
}

Shard::Loading Shard::take_loading(const LoadExecution& asked) {
  Loading loading = std::move(*find_loading(asked));
  if (asked.ref != 0) {
    loading_refs_.erase(asked.ref);
  } else {
    loading_ids_.erase(execution_key(asked.tenant, asked.execution_id));
  }
  resume_some();
  return loading;
}

// Another load was faster.
void Shard::load_again(const LoadExecution& asked, Loading stale) {
  for (Work& item : stale.work) {
    if (asked.ref != 0) {
      give(asked.ref, std::move(item));
    } else {
      give(asked.tenant, asked.execution_id, std::move(item));
    }
  }
  const bool again = stale.again || retry_stuck_.contains(asked.ref);
  if (asked.ref != 0 && again && find(asked.ref) == nullptr) load(asked.ref);
}

void Shard::on(ExecutionLoaded input) {
  const LoadExecution& asked = input.asked;
  Loading* const loading = find_loading(asked);
  if (loading == nullptr || loading->number != asked.number) return;
  if (loading->stale) return load_again(asked, take_loading(asked));
  if (input.found && *input.found) {
    StoredExecution& stored = **input.found;
    auto page = std::exchange(stored.history, {});
    loading->reading =
        std::make_unique<HistoryReading>(std::move(stored), wanted_of(loading->work));
    return read_on(asked, std::move(page));
  }
  Queue<Work> work = take_loading(asked).work;
  if (!input.found) return fail_load(asked, std::move(work), input.found.error());
  if (asked.ref != 0) {
    outcomes_kept_.erase(asked.ref);
    retry_stuck_.erase(asked.ref);
    without_handler_erase(asked.ref);
    answer_waiters(asked.ref, false);
  }
  while (!work.empty()) {
    Work next = std::move(work.front());
    work.pop_front();
    if (const auto* const start = std::get_if<StartRequested>(&next)) {
      begin(*start);
    } else if (auto* const fork = std::get_if<ForkPrepared>(&next)) {
      begin(std::move(*fork));
    } else {
      const bool by_token = std::holds_alternative<ActionCompletionGiven>(next);
      reach_nobody(std::move(next), by_token ? unknown_token()
                                             : unknown_execution(asked.tenant, asked.execution_id));
      continue;
    }
    for (Work& later : work) give(asked.tenant, asked.execution_id, std::move(later));
    break;
  }
}

void Shard::on(PageLoaded input) {
  const LoadPage& asked = input.asked;
  const bool for_load = asked.of.ref != 0 || !asked.of.execution_id.empty();
  if (for_load) {
    Loading* const loading = find_loading(asked.of);
    if (loading == nullptr || loading->page != asked.number) return;
    if (loading->stale) return load_again(asked.of, take_loading(asked.of));
    return read_on(asked.of, std::move(input.records));
  }
  Execution* const execution = find(asked.ref);
  if (execution == nullptr || !execution->rebuild || execution->rebuild->asked != asked.number) {
    return;
  }
  if (!input.records) {
    log_engine(LogLevel::error,
               fmt::format("Its history can't be read for its code to be rebuilt: {} It is tried "
                           "again.",
                           input.records.error().message),
               execution->fold.record());
    return reload_page_later(asked);
  }
  Execution::Rebuild& rebuild = *execution->rebuild;
  rebuild.asked = 0;
  rebuild.page = std::move(*input.records);
  if (!rebuild.page.empty()) rebuild.read = rebuild.page.back().sequence;
  if (execution->replay.size() <= kReplayStepsLeft) hand_over_page(*execution);
}

// A page of the history of an execution that is being loaded has come.
void Shard::read_on(const LoadExecution& asked, Result<std::vector<HistoryEvent>> page) {
  Loading& loading = *find_loading(asked);
  HistoryReading& reading = *loading.reading;
  const auto read = page ? reading.add(std::move(*page)) : page.error();
  if (read && !reading.is_complete()) {
    loading.page = next_page_++;
    out_->page_loads.push_back(LoadPage{loading.page, reading.stored().record.ref,
                                        reading.last_sequence(), this->page(), asked});
    return;
  }
  Loading done = take_loading(asked);
  if (read) return install(std::move(*done.reading), std::move(done.work));
  if (!page) return fail_load(asked, std::move(done.work), page.error());
  log_engine(LogLevel::error, read.error().message, done.reading->stored().record);
  refuse(done.work, read.error());
}

void Shard::keep_outcomes(const ExecutionRef ref, Queue<Work>& work) {
  for (Work& item : work) {
    if (std::holds_alternative<AttemptFinished>(item)) {
      outcomes_kept_[ref].push_back(std::move(item));
    }
  }
  erase_if(work, [](const Work& item) { return std::holds_alternative<AttemptFinished>(item); });
}

// It could not be read. What was asked for its number is read again later: what actions did, which would be
// done once more if it were forgotten, waits for that.
void Shard::fail_load(const LoadExecution& asked, Queue<Work> work, const Error& error) {
  if (asked.ref != 0) {
    keep_outcomes(asked.ref, work);
    reload_later({asked.ref});
  }
  refuse(work, error);
}

bool Shard::starts_child(const Work& work) {
  const auto* const start = std::get_if<StartRequested>(&work);
  return start != nullptr && !start->parent.empty();
}

HistoryReading::Wanted Shard::wanted_of(const Queue<Work>& work) {
  if (std::any_of(work.begin(), work.end(), is_retry)) return HistoryReading::Wanted::all;
  if (std::any_of(work.begin(), work.end(), starts_child)) return HistoryReading::Wanted::parent;
  return HistoryReading::Wanted::nothing;
}

// What waits for an execution that was loaded: what lies in the store, by the time at which it was accepted,
// whoever sent it; then what has come since.
Queue<Shard::Work> Shard::in_order(StoredExecution& stored, Queue<Work> work) {
  using Accepted = std::pair<Timestamp, Work>;
  std::vector<Accepted> own;
  std::vector<Accepted> sent;
  const std::string& execution_id = stored.record.execution_id;
  for (InboxRecord& row : stored.inbox) {
    if (set_aside(row, execution_id)) continue;
    const Timestamp at = row.accepted_at;
    own.emplace_back(at, InboxEvent{std::move(row)});
  }
  std::set<InboxId> brought;  // by mail, and handed on already
  for (const Work& item : work) {
    if (const InboxId id = mail_of(item); id != 0) brought.insert(id);
  }
  std::set<InboxId> placed;
  for (InboxRecord& row : stored.mail) {
    const InboxId id = row.id;
    const Timestamp at = row.accepted_at;
    const bool waits_here = brought.contains(id);
    const int partition = partition_of(stored.record.ref);
    const bool rests = draining_ || !takes(partition);
    if (!waits_here && (rests || mail_.contains(id) || is_kept_back(row))) continue;
    if (!waits_here && set_aside(row, execution_id)) continue;
    know_mail(row, partition);
    auto wanted = work_of(std::move(row));
    if (!wanted) {
      settle_mail(id, wanted.error());
      continue;
    }
    placed.insert(id);
    sent.emplace_back(at, std::move(*wanted));
  }
  // Each of the two stays in its own order, though clocks be set back.
  std::vector<Accepted> merged;
  std::merge(std::make_move_iterator(own.begin()), std::make_move_iterator(own.end()),
             std::make_move_iterator(sent.begin()), std::make_move_iterator(sent.end()),
             std::back_inserter(merged),
             [](const Accepted& one, const Accepted& other) { return one.first < other.first; });
  Queue<Work> ordered;
  for (auto& [at, item] : merged) ordered.push_back(std::move(item));
  for (Work& item : work) {
    if (const InboxId id = mail_of(item); id == 0 || !placed.contains(id)) {
      ordered.push_back(std::move(item));
    }
  }
  return ordered;
}

// What actions have done in transactions of their own, and the history has yet to follow.
void Shard::take_ahead(Execution& execution, std::vector<ActionResultRecord> ahead) {
  for (auto result = ahead.rbegin(); result != ahead.rend(); ++result) {
    const auto found = execution.fold.actions().find(result->position);
    if (found == execution.fold.actions().end()) continue;
    const PendingAction& action = found->second;
    if (action.generation != result->generation) continue;
    std::variant<Payload, Failure> outcome = std::move(result->result);
    if (!result->succeeded) outcome = decode_failure(result->error_json);
    // Whichever attempt it was: it may have ended after it was given up.
    execution.work.push_front(AttemptFinished{execution.fold.ref(), result->position,
                                              action.attempts_failed + 1, std::move(outcome),
                                              AttemptFinished::Of::action});
  }
}

void Shard::install(HistoryReading reading, Queue<Work> work) {
  StoredExecution& stored = reading.stored();
  const ExecutionRef ref = stored.record.ref;
  if (Execution* const present = find(ref)) {
    if (present->fold.record().execution_id != stored.record.execution_id) {
      // One that was begun here under a number that a new owner has given to this one.
      for (const Work& item : work) leave(item);
      return;
    }
    for (Work& item : work) present->work.push_back(std::move(item));
    return proceed(*present);
  }
  auto created = std::make_unique<Execution>(stored.record);
  Execution& execution = *created;
  execution.stored = true;
  execution.row_status = stored.record.status;
  execution.row_condition = stored.record.condition;
  execution.condition_detail = stored.record.condition_detail;
  execution.row_version = stored.record.version;
  execution.row_state = stored.record.state;
  execution.row_in_flight = stored.record.in_flight;
  execution.knows_parent = reading.knows_parent();
  execution.fold = reading.take_fold();
  execution.history = reading.take_history();
  execution.history_end = reading.last_sequence();
  execution.replay_start = reading.take_replay_start();
  execution.work = in_order(stored, std::move(work));
  take_ahead(execution, std::move(stored.ahead));
  if (auto kept = outcomes_kept_.extract(ref)) {
    for (Work& item : kept.mapped()) execution.work.push_back(std::move(item));
  }
  const auto take_from = [&execution](Loading& other) {
    for (Work& item : other.work) execution.work.push_back(std::move(item));
    other.work.clear();
    other.stale = true;
  };
  if (const auto other = loading_refs_.find(ref); other != loading_refs_.end()) {
    take_from(other->second);
  }
  const std::string key = execution_key(stored.record.tenant, stored.record.execution_id);
  if (const auto other = loading_ids_.find(key); other != loading_ids_.end()) {
    take_from(other->second);
  }
  recently_used_.push_front(&execution);
  execution.used = recently_used_.begin();
  by_ref_.emplace(ref, &execution);
  executions_.insert_or_assign(key, std::move(created));
  if (execution.fold.ended()) {
    answer_waiters(ref, true);
  }
  const bool retry_stuck = retry_stuck_.erase(ref) != 0;
  if (execution.fold.record().status == ExecutionStatus::stuck) {
    without_code_.emplace(stored.record.workflow, ref);
    if (retry_stuck) execution.retrying_stuck = true;
  } else if (!execution.fold.ended()) {
    for (const TimerRecord& timer : execution.fold.timers()) {
      // Of an attempt that has begun while it was in memory before: nothing is due, or it would be loaded for
      // that again and again.
      const bool begun =
          timer.kind == TimerKind::retry && attempts_.contains({ref, timer.position});
      if (!begun) timers_.arm(timer);
    }
    dispatch_all(execution);
  }
  proceed(execution);
}

}  // namespace pawl
