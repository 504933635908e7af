#include "tests/support/store_driver.h"

#include <gtest/gtest.h>

#include <utility>

namespace pawl {

void StoreDriver::attach(Store& store, const std::optional<int> partitions) {
  store_ = &store;
  if (store.worker().empty()) return;
  store.take_part([] { return true; });
  wait_for_partitions(static_cast<std::size_t>(partitions.value_or(store.partitions())));
}

void StoreDriver::partitions_taken(const std::vector<PartitionLease>& taken) {
  const std::lock_guard lock(mutex_);
  for (const PartitionLease& lease : taken) partitions_.insert(lease.partition);
  changed_.notify_all();
}

void StoreDriver::partition_wanted(const PartitionLease wanted, std::chrono::milliseconds) {
  partition_lost(wanted);
  store_->give_back(wanted);
}

void StoreDriver::partition_lost(const PartitionLease lost) {
  const std::lock_guard lock(mutex_);
  partitions_.erase(lost.partition);
  changed_.notify_all();
}

std::set<int> StoreDriver::partitions() const {
  const std::lock_guard lock(mutex_);
  return partitions_;
}

void StoreDriver::wait_for_partitions(const std::size_t count) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return partitions_.size() == count; });
}

std::optional<Error> StoreDriver::commit_and_wait(std::vector<Transition> transitions) {
  std::vector<CommitRequest> requests;
  const auto first = next_id_;
  for (auto& transition : transitions) {
    requests.push_back({0, generation_, next_id_++, std::move(transition)});
  }
  const auto last = next_id_ - 1;
  commit(std::move(requests));
  wait_for(0, last);
  for (auto id = first; id <= last; ++id) {
    if (auto error = error_of(0, id)) {
      ++generation_;
      return error;
    }
  }
  return std::nullopt;
}

void StoreDriver::wait_for(const std::uint32_t stream, const std::uint64_t id) {
  std::unique_lock lock{mutex_};
  changed_.wait(lock, [&] {
    const auto& reported = outcomes_[stream];
    return !reported.empty() && reported.back().up_to >= id;
  });
}

std::vector<CommitOutcome> StoreDriver::outcomes(const std::uint32_t stream) const {
  const std::lock_guard lock{mutex_};
  const auto found = outcomes_.find(stream);
  return found == outcomes_.end() ? std::vector<CommitOutcome>{} : found->second;
}

std::optional<Error> StoreDriver::error_of(const std::uint32_t stream,
                                           const std::uint64_t id) const {
  for (const auto& outcome : outcomes(stream)) {
    if (outcome.up_to >= id) {
      return outcome.error;
    }
  }
  ADD_FAILURE() << "commit " << id << " of stream " << stream << " was never reported";
  return std::nullopt;
}

void StoreDriver::commits_finished(const std::vector<CommitOutcome>& outcomes) {
  const std::lock_guard lock{mutex_};
  for (const auto& outcome : outcomes) {
    outcomes_[outcome.stream].push_back(outcome);
  }
  changed_.notify_all();
}

Transition start_transition(const ExecutionRef ref, std::string tenant, std::string execution_id) {
  Transition transition;
  transition.execution = ref;
  transition.tenant = tenant;
  ExecutionRecord record;
  record.ref = ref;
  record.tenant = std::move(tenant);
  record.execution_id = std::move(execution_id);
  record.workflow = "Test";
  record.version = "1.0.0";
  record.condition = Condition::waiting;
  record.last_sequence = 1;
  record.input_digest = "digest";
  transition.created = std::move(record);
  HistoryEvent started;
  started.sequence = 1;
  started.type = EventType::execution_started;
  started.cause = 1;
  started.name = "Test";
  started.payload = Payload::json("{\"n\":1}");
  started.ends_activation = true;
  transition.records.push_back(std::move(started));
  return transition;
}

Transition append_transition(const ExecutionRef ref, std::string tenant,
                             const std::int64_t sequence, const int count) {
  Transition transition;
  transition.execution = ref;
  transition.tenant = std::move(tenant);
  for (int index = 0; index < count; ++index) {
    HistoryEvent record;
    record.sequence = sequence + index;
    record.type = EventType::data_set;
    record.cause = 1;
    record.name = "key";
    record.payload = Payload::json("\"" + std::to_string(record.sequence) + "\"");
    record.ends_activation = index == count - 1;
    transition.records.push_back(std::move(record));
  }
  return transition;
}

void expect_same(const ExecutionRecord& actual, const ExecutionRecord& expected) {
  EXPECT_EQ(actual.ref, expected.ref);
  EXPECT_EQ(actual.tenant, expected.tenant);
  EXPECT_EQ(actual.execution_id, expected.execution_id);
  EXPECT_EQ(actual.workflow, expected.workflow);
  EXPECT_EQ(actual.version, expected.version);
  EXPECT_EQ(actual.status, expected.status);
  EXPECT_EQ(actual.condition, expected.condition);
  EXPECT_EQ(actual.condition_detail, expected.condition_detail);
  EXPECT_EQ(actual.state, expected.state);
  EXPECT_EQ(actual.in_flight, expected.in_flight);
  EXPECT_EQ(actual.last_sequence, expected.last_sequence);
  EXPECT_EQ(actual.result, expected.result);
  EXPECT_EQ(actual.error_json, expected.error_json);
  EXPECT_EQ(actual.user_id, expected.user_id);
  EXPECT_EQ(actual.correlation_id, expected.correlation_id);
  EXPECT_EQ(actual.input_digest, expected.input_digest);
  EXPECT_EQ(actual.created_at, expected.created_at);
  EXPECT_EQ(actual.updated_at, expected.updated_at);
}

void expect_same(const InboxRecord& actual, const InboxRecord& expected) {
  EXPECT_EQ(actual.id, expected.id);
  EXPECT_EQ(actual.execution, expected.execution);
  EXPECT_EQ(actual.tenant, expected.tenant);
  EXPECT_EQ(actual.event_id, expected.event_id);
  EXPECT_EQ(actual.event_name, expected.event_name);
  EXPECT_EQ(actual.payload, expected.payload);
  EXPECT_EQ(actual.user_id, expected.user_id);
  EXPECT_EQ(actual.idempotency_key, expected.idempotency_key);
  EXPECT_EQ(actual.status, expected.status);
  EXPECT_EQ(actual.attempts, expected.attempts);
  EXPECT_EQ(actual.last_error, expected.last_error);
  EXPECT_EQ(actual.answer, expected.answer);
  EXPECT_EQ(actual.accepted_at, expected.accepted_at);
}

void expect_same(const ActionResultRecord& actual, const ActionResultRecord& expected) {
  EXPECT_EQ(actual.execution, expected.execution);
  EXPECT_EQ(actual.position, expected.position);
  EXPECT_EQ(actual.tenant, expected.tenant);
  EXPECT_EQ(actual.execution_id, expected.execution_id);
  EXPECT_EQ(actual.action, expected.action);
  EXPECT_EQ(actual.user_key, expected.user_key);
  EXPECT_EQ(actual.parameters_digest, expected.parameters_digest);
  EXPECT_EQ(actual.succeeded, expected.succeeded);
  EXPECT_EQ(actual.attempts, expected.attempts);
  EXPECT_EQ(actual.cause, expected.cause);
  EXPECT_EQ(actual.result, expected.result);
  EXPECT_EQ(actual.error_json, expected.error_json);
  EXPECT_EQ(actual.at, expected.at);
}

}  // namespace pawl
