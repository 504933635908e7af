#include "store/memory_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <tuple>

namespace pawl {
namespace {

Error clash(std::string what) { return Error{ErrorCode::internal, std::move(what)}; }

bool is_open(const InboxRecord& record) {
  return record.status != InboxStatus::completed && record.status != InboxStatus::failed;
}

void change(ExecutionRecord& record, const ExecutionChange& change) {
  record.status = change.status.value_or(record.status);
  record.version = change.version.value_or(record.version);
  record.state = change.state.value_or(record.state);
  record.condition = change.condition.value_or(record.condition);
  record.condition_detail = change.condition_detail.value_or(record.condition_detail);
  record.in_flight = change.in_flight.value_or(record.in_flight);
  record.result = change.result.value_or(record.result);
  record.error_json = change.error_json.value_or(record.error_json);
  record.last_sequence = change.last_sequence;
  record.updated_at = change.at;
}

// Whether the history can say so after what the action's own transaction has written.
bool follows(const ActionResultRecord& known, const ActionResultRecord& result) {
  return known.ahead && (result.overrides ||
                         (known.succeeded == result.succeeded && known.result == result.result));
}

// Everything that could be wrong with a transition, found before any of it is applied.
std::optional<Error> clash_of(const MemoryStoreData& data, const Transition& transition) {
  if (auto bug = malformed(transition)) {
    return bug;
  }
  const auto ref = transition.execution;
  const auto execution = data.executions.find(ref);
  if (transition.created) {
    const auto& record = *transition.created;
    if (execution != data.executions.end() ||
        data.by_id.contains({record.tenant, record.execution_id})) {
      return clash(fmt::format("execution {} ({}) is there already", ref, record.execution_id));
    }
  }
  if (transition.changed && execution == data.executions.end()) {
    return clash(fmt::format("there is no row of execution {} to change", ref));
  }
  if (!transition.records.empty()) {
    const auto stored =
        execution == data.executions.end() ? std::size_t{0} : execution->second.history.size();
    if (transition.records.front().sequence != static_cast<std::int64_t>(stored) + 1) {
      return clash(fmt::format("record {} of execution {} does not follow record {}",
                               transition.records.front().sequence, ref, stored));
    }
    if (execution == data.executions.end() && !transition.created) {
      return clash(fmt::format("there is no execution {} to append to", ref));
    }
  }
  std::set<std::pair<std::string, std::string>> keys;
  std::set<std::pair<Position, int>> positions;
  for (const auto& result : transition.results) {
    if (result.execution > 0) {
      const auto known = data.results.find({result.execution, result.position, result.generation});
      if ((known != data.results.end() && !follows(known->second, result)) ||
          !positions.emplace(result.position, result.generation).second) {
        return clash(fmt::format("execution {} has a result at position {} already",
                                 result.execution, result.position));
      }
    }
    if (!result.user_key.empty()) {
      const auto known = data.results_by_key.find({result.tenant, result.user_key});
      if ((known != data.results_by_key.end() && !follows(known->second, result)) ||
          !keys.emplace(result.tenant, result.user_key).second) {
        return clash(fmt::format("there is a result under the key '{}' already", result.user_key));
      }
    }
  }
  for (const auto& added : transition.inbox_added) {
    const auto same = [&](const auto& entry) {
      const InboxRecord& known = entry.second;
      const bool same_place = known.execution == added.execution &&
                              (added.execution != 0 || (known.tenant == added.tenant &&
                                                        known.execution_id == added.execution_id));
      return same_place && !added.idempotency_key.empty() &&
             known.idempotency_key == added.idempotency_key;
    };
    if (data.inbox.contains(added.id) || std::any_of(data.inbox.begin(), data.inbox.end(), same)) {
      return clash(fmt::format("the inbox of execution {} has row {} or its key '{}' already",
                               added.execution, added.id, added.idempotency_key));
    }
  }
  for (const auto& completed : transition.inbox_completed) {
    const auto just_added = [&](const InboxRecord& added) { return added.id == completed.id; };
    if (!data.inbox.contains(completed.id) &&
        std::none_of(transition.inbox_added.begin(), transition.inbox_added.end(), just_added)) {
      return clash(fmt::format("there is no inbox row {} to complete", completed.id));
    }
  }
  return std::nullopt;
}

}  // namespace

MemoryStore::MemoryStore(const Mode mode, std::shared_ptr<MemoryStoreData> data)
    : mode_{mode}, data_{std::move(data)} {
  if (!data_->executions.empty()) {
    next_execution_ = data_->executions.rbegin()->first + 1;
  }
  if (!data_->inbox.empty()) {
    next_inbox_ = data_->inbox.rbegin()->first + 1;
  }
}

std::optional<Error> MemoryStore::apply(const Transition& transition) {
  if (auto error = clash_of(*data_, transition)) {
    return error;
  }
  const auto ref = transition.execution;
  if (transition.created) {
    data_->by_id[{transition.created->tenant, transition.created->execution_id}] = ref;
    data_->executions[ref].record = *transition.created;
  }
  if (transition.changed) {
    change(data_->executions[ref].record, *transition.changed);
  }
  if (!transition.records.empty()) {
    auto& history = data_->executions[ref].history;
    history.insert(history.end(), transition.records.begin(), transition.records.end());
  }
  for (const auto position : transition.timers_cleared) {
    data_->timers.erase({ref, position});
  }
  for (const auto& timer : transition.timers_set) {
    data_->timers[{ref, timer.position}] = timer;
  }
  for (auto result : transition.results) {
    result.overrides = false;
    if (result.execution > 0) {
      result.execution_id.clear();
    }
    if (result.user_key.empty()) {
      result.parameters_digest.clear();
    } else {
      data_->results_by_key[{result.tenant, result.user_key}] = result;
    }
    if (result.execution > 0) {
      data_->results[{result.execution, result.position, result.generation}] = result;
    }
  }
  for (const auto& row : transition.graph_actions_added) {
    data_->graph_actions[{ref, row.position}] = row;
  }
  for (const auto& change : transition.graph_actions_changed) {
    data_->graph_actions.at({ref, change.position}).skipped = change.skipped;
  }
  for (const auto& point : transition.sync_points_set) {
    data_->sync_points[{ref, point.graph, point.name}] = point;
  }
  for (const auto& added : transition.inbox_added) {
    data_->inbox[added.id] = added;
  }
  for (const auto& completed : transition.inbox_completed) {
    auto& record = data_->inbox[completed.id];
    record.status = completed.status;
    record.last_error = completed.last_error;
    record.answer = completed.answer;
    if (completed.status != InboxStatus::failed) record.payload = {};
    if (record.execution == 0 && ref != 0) {
      record.execution = ref;
      record.execution_id.clear();
    }
  }
  return std::nullopt;
}

std::size_t MemoryStore::step(const std::size_t count) {
  OutcomeList outcomes;
  std::vector<CommitRequest> batch;
  {
    const std::lock_guard lock{mutex_};
    const auto end = queue_.begin() + static_cast<std::ptrdiff_t>(std::min(count, queue_.size()));
    batch.assign(std::move_iterator{queue_.begin()}, std::move_iterator{end});
    queue_.erase(queue_.begin(), end);
    if (batch.empty()) {
      return 0;
    }
    const auto failure = std::exchange(failure_, std::nullopt);
    for (const auto& request : batch) {
      auto error = gate_.refusal(request);
      if (!error) {
        if (!failure || failure->applied) {
          error = apply(request.transition);
        }
        if (error) {
          gate_.fail(request, *error);
        } else if (failure) {
          error = failure->error;
        }
      }
      outcomes.add(request, error);
    }
    if (failure) {
      for (const auto& request : batch) {
        if (!gate_.refusal(request)) {
          gate_.fail(request, failure->error);
        }
      }
    }
  }
  sink_->commits_finished(outcomes.outcomes());
  return batch.size();
}

void MemoryStore::fail_next(Error error, const bool applied) {
  const std::lock_guard lock{mutex_};
  failure_ = PlannedFailure{std::move(error), applied};
}

void MemoryStore::start(CommitSink& sink) { sink_ = &sink; }

void MemoryStore::commit(std::vector<CommitRequest> requests) {
  bool closed = false;
  {
    const std::lock_guard lock{mutex_};
    closed = closed_;
    if (!closed) {
      queue_.insert(queue_.end(), std::move_iterator{requests.begin()},
                    std::move_iterator{requests.end()});
    }
  }
  if (closed) {
    OutcomeList outcomes;
    for (const auto& request : requests) {
      outcomes.add(request, Error{ErrorCode::closed, "the store is closed"});
    }
    sink_->commits_finished(outcomes.outcomes());
    return;
  }
  if (mode_ == Mode::automatic) {
    step(requests.size());
  }
}

std::size_t MemoryStore::queued_commits() const {
  const std::lock_guard lock{mutex_};
  return queue_.size();
}

ExecutionRef MemoryStore::next_execution_ref(std::string_view, std::string_view) {
  const std::lock_guard lock{mutex_};
  return next_execution_++;
}

InboxId MemoryStore::next_inbox_id() {
  const std::lock_guard lock{mutex_};
  return next_inbox_++;
}

namespace {

// From the first record with sequence > after.
std::vector<HistoryEvent> page_of(const std::vector<HistoryEvent>& history,
                                  const std::int64_t after, const HistoryBounds most) {
  std::vector<HistoryEvent> page;
  std::size_t bytes = 0;
  auto next = std::upper_bound(
      history.begin(), history.end(), after,
      [](const std::int64_t sequence, const auto& event) { return sequence < event.sequence; });
  while (next != history.end() && page.size() < static_cast<std::size_t>(most.records) &&
         bytes < most.bytes) {
    bytes += size_in_bytes(*next);
    page.push_back(*next++);
  }
  return page;
}

}  // namespace

Result<std::optional<StoredExecution>> MemoryStore::find_execution(
    const std::string_view tenant, const std::string_view execution_id,
    const HistoryBounds history) {
  ExecutionRef ref = 0;
  {
    const std::lock_guard lock{mutex_};
    const auto found = data_->by_id.find({std::string{tenant}, std::string{execution_id}});
    if (found == data_->by_id.end()) {
      return std::optional<StoredExecution>{};
    }
    ref = found->second;
  }
  return load_execution(ref, history);
}

Result<std::optional<StoredExecution>> MemoryStore::load_execution(const ExecutionRef ref,
                                                                   const HistoryBounds most) {
  const std::lock_guard lock{mutex_};
  const auto found = data_->executions.find(ref);
  if (found == data_->executions.end()) {
    return std::optional<StoredExecution>{};
  }
  StoredExecution stored;
  stored.record = found->second.record;
  const auto& history = found->second.history;
  stored.history_end = history.empty() ? 0 : history.back().sequence;
  if (most.records == 0) {
    return std::optional<StoredExecution>{std::move(stored)};
  }
  stored.history = page_of(history, 0, most);
  for (std::size_t index = stored.history.size(); index < history.size(); ++index) {
    if (history[index].type == EventType::execution_retried) {
      stored.retries.push_back(history[index]);
    }
  }
  for (const auto& [id, record] : data_->inbox) {
    if (record.execution == ref && is_open(record)) {
      stored.inbox.push_back(record);
    }
    if (record.execution == 0 && record.tenant == stored.record.tenant &&
        record.execution_id == stored.record.execution_id && is_open(record) &&
        stored.mail.size() < std::size_t{kMailOfExecutionMax}) {
      stored.mail.push_back(record);
    }
  }
  for (auto entry = data_->results.lower_bound({ref, 0, 0});
       entry != data_->results.end() && std::get<0>(entry->first) == ref; ++entry) {
    if (entry->second.ahead) stored.ahead.push_back(entry->second);
  }
  return std::optional<StoredExecution>{std::move(stored)};
}

Result<std::vector<HistoryEvent>> MemoryStore::read_history(const ExecutionRef ref,
                                                            const std::int64_t after,
                                                            const HistoryBounds most) {
  const std::lock_guard lock{mutex_};
  const auto found = data_->executions.find(ref);
  if (found == data_->executions.end()) {
    return std::vector<HistoryEvent>{};
  }
  return page_of(found->second.history, after, most);
}

Result<std::vector<ExecutionRecord>> MemoryStore::list_executions(const ExecutionQuery& query) {
  const std::lock_guard lock{mutex_};
  std::vector<ExecutionRecord> records;
  for (auto entry = data_->executions.rbegin(); entry != data_->executions.rend(); ++entry) {
    const auto& record = entry->second.record;
    if (records.size() < static_cast<std::size_t>(query.limit) && record.tenant == query.tenant &&
        (query.before == 0 || record.ref < query.before) &&
        (query.workflow.empty() || record.workflow == query.workflow) &&
        (!query.status || record.status == *query.status)) {
      records.push_back(record);
    }
  }
  return records;
}

Result<std::vector<ExecutionRef>> MemoryStore::executions_to_resume(const ExecutionRef after,
                                                                    const int limit) {
  const std::lock_guard lock{mutex_};
  std::set<ExecutionRef> refs;
  for (const auto& [ref, execution] : data_->executions) {
    const auto status = execution.record.status;
    if (status == ExecutionStatus::stuck ||
        (status == ExecutionStatus::running && execution.record.in_flight)) {
      refs.insert(ref);
    }
  }
  for (const auto& [id, record] : data_->inbox) {
    if (is_open(record)) {
      refs.insert(record.execution);
    }
  }
  std::vector<ExecutionRef> page;
  for (auto ref = refs.upper_bound(after);
       ref != refs.end() && page.size() < static_cast<std::size_t>(limit); ++ref) {
    page.push_back(*ref);
  }
  return page;
}

Result<std::vector<TimerRecord>> MemoryStore::timers_after(const TimerRecord& after,
                                                           const int limit) {
  const auto key = [](const TimerRecord& timer) {
    return std::tuple{timer.fire_at, timer.execution, timer.position};
  };
  const std::lock_guard lock{mutex_};
  std::vector<TimerRecord> timers;
  for (const auto& [where, timer] : data_->timers) {
    const auto execution = data_->executions.find(timer.execution);
    const bool paused = execution != data_->executions.end() &&
                        execution->second.record.status == ExecutionStatus::paused;
    if (!paused && key(timer) > key(after)) {
      timers.push_back(timer);
    }
  }
  std::sort(timers.begin(), timers.end(),
            [&](const auto& left, const auto& right) { return key(left) < key(right); });
  if (timers.size() > static_cast<std::size_t>(limit)) {
    timers.resize(static_cast<std::size_t>(limit));
  }
  return timers;
}

Result<std::optional<ActionResultRecord>> MemoryStore::find_action_result(
    const std::string_view tenant, const std::string_view user_key) {
  const std::lock_guard lock{mutex_};
  const auto found = data_->results_by_key.find({std::string{tenant}, std::string{user_key}});
  return found == data_->results_by_key.end() ? std::optional<ActionResultRecord>{}
                                              : std::optional{found->second};
}

Result<std::optional<InboxRecord>> MemoryStore::find_inbox(const ExecutionRef execution,
                                                           const std::string_view idempotency_key) {
  const std::lock_guard lock{mutex_};
  for (const auto& [id, record] : data_->inbox) {
    if (record.execution == execution && execution > 0 && !idempotency_key.empty() &&
        record.idempotency_key == idempotency_key) {
      return std::optional{record};
    }
  }
  return std::optional<InboxRecord>{};
}

Result<std::vector<InboxRecord>> MemoryStore::mail_after(const InboxId after, const int limit) {
  const std::lock_guard lock{mutex_};
  std::vector<InboxRecord> mail;
  for (auto entry = data_->inbox.upper_bound(after);
       entry != data_->inbox.end() && mail.size() < static_cast<std::size_t>(limit); ++entry) {
    if (entry->second.execution == 0 && is_open(entry->second)) mail.push_back(entry->second);
  }
  return mail;
}

Result<std::vector<GraphActionRecord>> MemoryStore::graph_actions(const ExecutionRef execution) {
  const std::lock_guard lock{mutex_};
  std::vector<GraphActionRecord> rows;
  for (auto entry = data_->graph_actions.lower_bound({execution, 0});
       entry != data_->graph_actions.end() && entry->first.first == execution; ++entry) {
    rows.push_back(entry->second);
  }
  return rows;
}

Result<std::vector<SyncPointRecord>> MemoryStore::sync_points(const ExecutionRef execution) {
  const std::lock_guard lock{mutex_};
  std::vector<SyncPointRecord> rows;
  for (auto entry = data_->sync_points.lower_bound({execution, 0, {}});
       entry != data_->sync_points.end() && std::get<0>(entry->first) == execution; ++entry) {
    rows.push_back(entry->second);
  }
  return rows;
}

Result<std::vector<ActionResultRecord>> MemoryStore::action_results(const ExecutionRef execution) {
  const std::lock_guard lock{mutex_};
  std::vector<ActionResultRecord> results;
  for (auto entry = data_->results.lower_bound({execution, 0, 0});
       entry != data_->results.end() && std::get<0>(entry->first) == execution; ++entry) {
    results.push_back(entry->second);
  }
  return results;
}

void MemoryStore::write_ahead(ActionResultRecord result) {
  const std::lock_guard lock{mutex_};
  result.ahead = true;
  data_->results.try_emplace({result.execution, result.position, result.generation}, result);
}

void MemoryStore::keep_snapshot(StateSnapshot snapshot) {
  const std::lock_guard lock{mutex_};
  if (!closed_) {
    data_->snapshots.try_emplace({snapshot.execution, snapshot.sequence}, std::move(snapshot));
  }
}

Result<std::optional<StateSnapshot>> MemoryStore::find_snapshot(const ExecutionRef execution,
                                                                const std::int64_t at) {
  const std::lock_guard lock{mutex_};
  const auto after = data_->snapshots.upper_bound({execution, at});
  if (after == data_->snapshots.begin() || std::prev(after)->first.first != execution) {
    return std::optional<StateSnapshot>{};
  }
  return std::optional{std::prev(after)->second};
}

void MemoryStore::crash() {
  const std::lock_guard lock{mutex_};
  queue_.clear();
  closed_ = true;
}

void MemoryStore::close() {
  {
    const std::lock_guard lock{mutex_};
    if (closed_) {
      return;
    }
    closed_ = true;
  }
  while (step() > 0) {
  }
}

}  // namespace pawl
