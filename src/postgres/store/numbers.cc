#include "postgres/store/numbers.h"

#include <algorithm>
#include <utility>

#include "postgres/store/columns.h"

namespace pawl {
namespace {

constexpr std::int64_t kInboxIdsAtOnce = 10'000;  // as the sequence counts

constexpr PgStatement kLastExecutions{
    "last_executions",
    "SELECT p.partition, coalesce((SELECT max(execution) FROM workflow_executions x WHERE "
    "x.execution > (p.partition::bigint << 43) AND x.execution < ((p.partition + 1)::bigint << "
    "43)), "
    "p.partition::bigint << 43) FROM unnest($1::integer[]) AS p(partition)"};
constexpr PgStatement kInboxIds{"inbox_ids", "SELECT nextval('workflow_event_processing_ids')"};

}  // namespace

const std::vector<PgStatement>& PostgresNumbers::statements() {
  static const std::vector<PgStatement> all{kLastExecutions, kInboxIds};
  return all;
}

ExecutionRef PostgresNumbers::next_execution(const int partition) {
  const std::lock_guard lock(mutex_);
  return ++last_executions_.try_emplace(partition, execution_ref(partition, 0)).first->second;
}

bool PostgresNumbers::is_low() const { return !spare_ && end_ - next_ < kInboxIdsAtOnce / 2; }

bool PostgresNumbers::needs_block() const {
  const std::lock_guard lock(mutex_);
  return is_low();
}

InboxId PostgresNumbers::next_inbox() {
  std::unique_lock lock(mutex_);
  if (next_ == end_ && spare_) {
    next_ = *std::exchange(spare_, std::nullopt);
    end_ = next_ + kInboxIdsAtOnce;
  }
  if (is_low() && wanted_) {
    lock.unlock();
    wanted_();
    lock.lock();
  }
  changed_.wait(lock, [this] { return next_ != end_ || spare_ || closed_; });
  if (next_ == end_ && spare_) {
    next_ = *std::exchange(spare_, std::nullopt);
    end_ = next_ + kInboxIdsAtOnce;
  }
  return next_++;
}

PgOutcome<void> PostgresNumbers::learn(PgPipeline& pipeline,
                                       const std::vector<PartitionLease>& taken) {
  PgColumn partitions(PgType::int4);
  for (const PartitionLease& lease : taken) partitions.add(std::int32_t{lease.partition});
  pipeline.add(kLastExecutions.name, PgParameters().add_array(partitions.bytes()));
  const auto answers = pipeline.run();
  if (!answers) return answers.error();
  const std::lock_guard lock(mutex_);
  for (int row = 0; row < PQntuples(answers->front().get()); ++row) {
    const PgRow last(answers->front().get(), row);
    // Never back: what was given out here and is not committed is still in somebody's hands.
    ExecutionRef& known = last_executions_[static_cast<int>(last.integer(0))];
    known = std::max(known, ExecutionRef{last.integer(1)});
  }
  return {};
}

PgOutcome<void> PostgresNumbers::take_block(PgPipeline& pipeline) {
  pipeline.add(kInboxIds.name);
  const auto answers = pipeline.run();
  if (!answers) return answers.error();
  const InboxId first = PgRow(answers->front().get(), 0).integer(0);
  const std::lock_guard lock(mutex_);
  if (next_ == end_) {
    next_ = first;
    end_ = first + kInboxIdsAtOnce;
  } else {
    spare_ = first;
  }
  changed_.notify_all();
  return {};
}

void PostgresNumbers::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

}  // namespace pawl
