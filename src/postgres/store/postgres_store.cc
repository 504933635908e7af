#include "postgres/store/postgres_store.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <map>
#include <mutex>
#include <numeric>
#include <optional>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "base/random.h"
#include "postgres/conninfo.h"
#include "postgres/store/columns.h"
#include "postgres/store/leases.h"
#include "postgres/store/reader.h"
#include "postgres/store/rows.h"
#include "postgres/store/schema.h"
#include "postgres/store/writer.h"

namespace pawl {
namespace {

using namespace std::chrono_literals;

constexpr auto kAnswerMax = 30s;
// For how long it is waited for the lease of another worker to run out, beyond its time.
constexpr auto kClaimLonger = 1s;
constexpr auto kClaimPause = 100ms;
constexpr auto kTendPause = 200ms;  // where the server could not be reached
constexpr std::chrono::milliseconds kLeaseMin = 100ms;
constexpr std::chrono::milliseconds kLeaseMax = 1h;
constexpr std::int64_t kInboxIdsAtOnce = 10'000;  // as the sequence counts

constexpr PgStatement kLastExecutions{
    "last_executions",
    "SELECT p.partition, coalesce((SELECT max(execution) FROM workflow_executions x WHERE "
    "x.execution > (p.partition::bigint << 43) AND x.execution < ((p.partition + 1)::bigint << "
    "43)), "
    "p.partition::bigint << 43) FROM unnest($1::integer[]) AS p(partition)"};
constexpr PgStatement kEnter{
    "enter",
    "INSERT INTO workflow_workers AS w (worker) VALUES ($1::text) ON CONFLICT (worker) DO UPDATE "
    "SET "
    "last_commit = 0, started_at = clock_timestamp(), seen_at = clock_timestamp()"};
constexpr PgStatement kLeave{"leave", "DELETE FROM workflow_workers WHERE worker = $1::text"};
constexpr PgStatement kInboxIds{"inbox_ids", "SELECT nextval('workflow_event_processing_ids')"};

std::vector<PgStatement> own_statements() {
  std::vector<PgStatement> all = LeaseRows::statements();
  for (const PgStatement& one : {kLastExecutions, kEnter, kLeave, kInboxIds}) all.push_back(one);
  return all;
}

std::string name_of_worker() {
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  return fmt::format("{}/{}/{:08x}", host.data(), getpid(),
                     static_cast<std::uint32_t>(random_bits()));
}

// Numbers of inbox rows, in blocks that the database gives out.
class InboxIds {
 public:
  void add_block(const InboxId first) {
    const std::lock_guard lock(mutex_);
    if (next_ == end_) {
      next_ = first;
      end_ = first + kInboxIdsAtOnce;
    } else {
      spare_ = first;
    }
    changed_.notify_all();
  }
  bool needs_block() {
    const std::lock_guard lock(mutex_);
    return !spare_ && end_ - next_ < kInboxIdsAtOnce / 2;
  }
  // Waits where the database gives out none for now.
  InboxId take(std::condition_variable& wanted) {
    std::unique_lock lock(mutex_);
    if (next_ == end_ && spare_) {
      next_ = *std::exchange(spare_, std::nullopt);
      end_ = next_ + kInboxIdsAtOnce;
    }
    if (!spare_ && end_ - next_ < kInboxIdsAtOnce / 2) wanted.notify_all();
    if (next_ == end_) {
      wanted.notify_all();
      changed_.wait(lock, [this] { return next_ != end_ || closed_; });
    }
    return next_++;
  }
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  InboxId next_ = 0;
  InboxId end_ = 0;
  std::optional<InboxId> spare_;
  bool closed_ = false;
};

class PostgresStore final : public Store {
 public:
  PostgresStore(PostgresStoreOptions options, const PostgresParameters& parameters,
                std::unique_ptr<PgPipeline> pipeline, const int partitions)
      : options_(std::move(options)),
        partitions_(partitions),
        parameters_(parameters),
        pipeline_(std::move(pipeline)),
        lease_rows_(*pipeline_, options_.worker, options_.lease),
        readers_(parameters, options_.readers_max),
        writer_({parameters, options_.worker, partitions, options_.lease, options_.retry_max},
                leases_) {}

  ~PostgresStore() override { close(); }

  Result<void> claim_all();
  void start(CommitSink& sink) override { writer_.start(sink); }
  void commit(std::vector<CommitRequest> requests) override { writer_.commit(std::move(requests)); }
  // A commit is some round trips: there is always something better to do meanwhile.
  bool commit_here(std::vector<CommitRequest>&) override { return false; }
  std::size_t queued_commits() const override { return writer_.queued(); }

  ExecutionRef next_execution_ref(const std::string_view tenant,
                                  const std::string_view execution_id) override {
    const int partition = partition_of(tenant, execution_id, partitions_);
    const std::lock_guard lock(mutex_);
    return ++last_executions_[partition];
  }
  InboxId next_inbox_id() override { return inbox_ids_.take(wake_); }

  Result<std::optional<StoredExecution>> find_execution(const std::string_view tenant,
                                                        const std::string_view execution_id,
                                                        const HistoryBounds history) override {
    return readers_.with([&](PostgresReader& reader) {
      return reader.find_execution(tenant, execution_id, history);
    });
  }
  Result<std::optional<StoredExecution>> load_execution(const ExecutionRef ref,
                                                        const HistoryBounds history) override {
    return readers_.with(
        [&](PostgresReader& reader) { return reader.load_execution(ref, history); });
  }
  Result<std::vector<HistoryEvent>> read_history(const ExecutionRef ref, const std::int64_t after,
                                                 const HistoryBounds most) override {
    return readers_.with(
        [&](PostgresReader& reader) { return reader.read_history(ref, after, most); });
  }
  Result<std::vector<ExecutionRecord>> list_executions(const ExecutionQuery& query) override {
    return readers_.with([&](PostgresReader& reader) { return reader.list_executions(query); });
  }
  Result<std::vector<ExecutionRef>> executions_to_resume(const ExecutionRef after,
                                                         const int limit) override {
    return readers_.with([&](PostgresReader& reader) {
      return reader.executions_to_resume(leases_.all(), after, limit);
    });
  }
  Result<std::vector<TimerRecord>> timers_after(const TimerRecord& after,
                                                const int limit) override {
    return readers_.with(
        [&](PostgresReader& reader) { return reader.timers_after(leases_.all(), after, limit); });
  }
  Result<std::optional<ActionResultRecord>> find_action_result(
      const std::string_view tenant, const std::string_view user_key) override {
    return readers_.with(
        [&](PostgresReader& reader) { return reader.find_action_result(tenant, user_key); });
  }
  Result<std::optional<InboxRecord>> find_inbox(const ExecutionRef execution,
                                                const std::string_view key) override {
    return readers_.with([&](PostgresReader& reader) { return reader.find_inbox(execution, key); });
  }
  Result<std::vector<InboxRecord>> mail_after(const InboxId after, const int limit) override {
    return readers_.with(
        [&](PostgresReader& reader) { return reader.mail_after(leases_.all(), after, limit); });
  }
  Result<std::vector<ActionResultRecord>> action_results(const ExecutionRef execution) override {
    return readers_.with([&](PostgresReader& reader) { return reader.action_results(execution); });
  }
  Result<std::vector<GraphActionRecord>> graph_actions(const ExecutionRef execution) override {
    return readers_.with([&](PostgresReader& reader) { return reader.graph_actions(execution); });
  }
  Result<std::vector<SyncPointRecord>> sync_points(const ExecutionRef execution) override {
    return readers_.with([&](PostgresReader& reader) { return reader.sync_points(execution); });
  }
  void keep_snapshot(StateSnapshot snapshot) override { writer_.keep(std::move(snapshot)); }
  Result<std::optional<StateSnapshot>> find_snapshot(const ExecutionRef execution,
                                                     const std::int64_t at) override {
    return readers_.with(
        [&](PostgresReader& reader) { return reader.find_snapshot(execution, at); });
  }

  void close() override;

 private:
  void keep_leases();
  PgOutcome<void> tend();
  PgOutcome<void> take_inbox_ids();

  const PostgresStoreOptions options_;
  const int partitions_;
  const PostgresParameters parameters_;
  Leases leases_;
  // Of keeper_, once that runs.
  const std::unique_ptr<PgPipeline> pipeline_;
  LeaseRows lease_rows_;
  PostgresReaders readers_;
  PostgresWriter writer_;
  InboxIds inbox_ids_;

  std::mutex mutex_;
  std::condition_variable wake_;
  std::map<int, ExecutionRef> last_executions_;  // under mutex_; by partition
  bool closing_ = false;                         // under mutex_
  bool closed_ = false;
  std::thread keeper_;
};

// Those of a worker that was killed are free when their lease is over.
Result<void> PostgresStore::claim_all() {
  std::vector<int> all(static_cast<std::size_t>(partitions_));
  std::iota(all.begin(), all.end(), 0);
  const SteadyTime until = std::chrono::steady_clock::now() + options_.lease + kClaimLonger;
  std::vector<int> wanted = all;
  for (;;) {
    const auto claimed = lease_rows_.claim(wanted);
    if (!claimed) return error_of(claimed.error(), "claiming the partitions");
    leases_.add(*claimed);
    std::erase_if(wanted, [this](const int partition) { return leases_.epoch_of(partition); });
    if (wanted.empty()) break;
    if (std::chrono::steady_clock::now() > until) {
      [[maybe_unused]] const auto released = lease_rows_.release(leases_.all());
      return Error{ErrorCode::store_in_use,
                   fmt::format("{} of {} partitions belong to other workers, which are named in "
                               "workflow_partitions",
                               wanted.size(), all.size()),
                   {}};
    }
    [[maybe_unused]] const auto renewed = lease_rows_.renew(leases_.all());
    std::this_thread::sleep_for(kClaimPause);
  }
  PgColumn partitions(PgType::int4);
  for (const int partition : all) partitions.add(std::int32_t{partition});
  pipeline_->add(kLastExecutions.name, PgParameters().add_array(partitions.bytes()));
  pipeline_->add(kEnter.name, PgParameters().add_text(options_.worker));
  const auto answers = pipeline_->run();
  if (!answers) return error_of(answers.error(), "looking for the last executions");
  for (int row = 0; row < PQntuples(answers->front().get()); ++row) {
    const PgRow last(answers->front().get(), row);
    last_executions_[static_cast<int>(last.integer(0))] = last.integer(1);
  }
  if (auto taken = take_inbox_ids(); !taken) {
    return error_of(taken.error(), "taking numbers of inbox rows");
  }
  keeper_ = std::thread([this] { keep_leases(); });
  return {};
}

PgOutcome<void> PostgresStore::take_inbox_ids() {
  pipeline_->add(kInboxIds.name);
  const auto answers = pipeline_->run();
  if (!answers) return answers.error();
  inbox_ids_.add_block(PgRow(answers->front().get(), 0).integer(0));
  return {};
}

PgOutcome<void> PostgresStore::tend() {
  if (!pipeline_->is_connected()) {
    auto connected =
        pipeline_->connect(parameters_, {"SET jit = off"}, own_statements(), kAnswerMax);
    if (!connected) return connected;
  }
  if (inbox_ids_.needs_block()) {
    if (auto taken = take_inbox_ids(); !taken) return taken;
  }
  const std::vector<Lease> had = leases_.all();
  const auto renewed = lease_rows_.renew(had);
  if (!renewed) return renewed.error();
  for (const Lease& lease : had) {
    const bool kept = std::any_of(renewed->begin(), renewed->end(), [&](const Lease& one) {
      return one.partition == lease.partition;
    });
    if (!kept) leases_.remove(lease.partition, lease.epoch);
  }
  return {};
}

void PostgresStore::keep_leases() {
  std::unique_lock lock(mutex_);
  while (!closing_) {
    wake_.wait_for(lock, options_.lease / 3,
                   [this] { return closing_ || inbox_ids_.needs_block(); });
    if (closing_) break;
    lock.unlock();
    // What fails is tried again with the next turn; a lease that runs out meanwhile is another's to claim.
    const bool tended = tend().has_value();
    lock.lock();
    // It may be wanted again at once.
    if (!tended) wake_.wait_for(lock, kTendPause, [this] { return closing_; });
  }
}

void PostgresStore::close() {
  if (std::exchange(closed_, true)) return;
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    wake_.notify_all();
  }
  inbox_ids_.close();
  writer_.stop();
  readers_.close();
  if (keeper_.joinable()) keeper_.join();
  if (pipeline_->is_connected() && lease_rows_.release(leases_.all())) {
    pipeline_->add(kLeave.name, PgParameters().add_text(options_.worker));
    [[maybe_unused]] const auto left = pipeline_->run();
  }
  pipeline_->close();
}

}  // namespace

Result<std::unique_ptr<Store>> open_postgres_store(PostgresStoreOptions options) {
  if (options.partitions < 1 || options.partitions > kPartitionsMax) {
    return Error{
        ErrorCode::invalid_argument,
        fmt::format("a store has 1 to {} partitions, not {}", kPartitionsMax, options.partitions),
        {}};
  }
  if (options.lease < kLeaseMin || options.lease > kLeaseMax) {
    return Error{ErrorCode::invalid_argument,
                 fmt::format("a lease takes {} to {} ms, not {}", kLeaseMin.count(),
                             kLeaseMax.count(), options.lease.count()),
                 {}};
  }
  auto parameters = parameters_of(options.conninfo, {});
  if (!parameters) return parameters.error();
  parameters->connect_max = options.connect_max;
  if (options.worker.empty()) options.worker = name_of_worker();
  auto pipeline = std::make_unique<PgPipeline>();
  if (auto connected = pipeline->connect(*parameters, {"SET jit = off"}, {}, kAnswerMax);
      !connected) {
    return error_of(connected.error(), "connecting to the store");
  }
  const auto partitions = migrate_postgres(*pipeline, options.partitions);
  if (!partitions) return partitions.error();
  if (auto prepared = pipeline->prepare(own_statements()); !prepared) {
    return error_of(prepared.error(), "connecting to the store");
  }
  auto store = std::make_unique<PostgresStore>(std::move(options), *parameters, std::move(pipeline),
                                               *partitions);
  if (auto claimed = store->claim_all(); !claimed) return claimed.error();
  return store;
}

}  // namespace pawl
