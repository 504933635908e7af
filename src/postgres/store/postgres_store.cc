#include "postgres/store/postgres_store.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/clock.h"
#include "base/random.h"
#include "postgres/conninfo.h"
#include "postgres/store/columns.h"
#include "postgres/store/leases.h"
#include "postgres/store/membership.h"
#include "postgres/store/numbers.h"
#include "postgres/store/parcel_post.h"
#include "postgres/store/postgres_dead_letters.h"
#include "postgres/store/postgres_locks.h"
#include "postgres/store/postman.h"
#include "postgres/store/reader.h"
#include "postgres/store/rows.h"
#include "postgres/store/schema.h"
#include "postgres/store/sent_commits.h"
#include "postgres/store/store_database.h"
#include "postgres/store/writer.h"

namespace pawl {
namespace {

using namespace std::chrono_literals;

constexpr auto kAnswerMax = 30s;
constexpr std::chrono::milliseconds kLeaseMin = 100ms;
constexpr std::chrono::milliseconds kLeaseMax = 1h;
// A transaction of an action that is silent for longer is ended by the server, whatever the lease.
constexpr std::chrono::milliseconds kIdleMin = 5s;

std::string name_of_worker() {
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  return fmt::format("{}/{}/{:08x}", host.data(), getpid(),
                     static_cast<std::uint32_t>(random_bits()));
}

class PostgresStore final : public Store {
 public:
  PostgresStore(PostgresStoreOptions options, const PostgresParameters& parameters,
                std::unique_ptr<PgPipeline> pipeline, const int partitions)
      : options_(std::move(options)),
        partitions_(partitions),
        readers_(parameters, options_.readers_max),
        membership_({parameters, options_.worker, partitions, options_.lease}, std::move(pipeline),
                    leases_, numbers_),
        writer_({parameters, options_.worker, partitions, options_.lease, options_.retry_max},
                leases_, *sent_, [this](const PartitionLease lost) { membership_.lose(lost); }),
        postman_(parameters, partitions, options_.retry_max),
        parcels_(parameters, options_.worker),
        locks_(parameters),
        dead_letters_(parameters),
        database_(std::make_shared<PostgresStoreDatabase>(
            options_.conninfo, PostgresDatabaseOptions{.connect_max = options_.connect_max},
            std::max(options_.lease / 2, kIdleMin), sent_)) {
    numbers_.when_block_is_needed([this] { membership_.hurry(); });
  }

  ~PostgresStore() override { close(); }

  Result<void> enter() { return membership_.enter(); }
  void start(CommitSink& sink) override {
    writer_.start(sink);
    parcels_.start(sink);
    membership_.start(sink);
    postman_.start();
    started_ = true;
  }
  void commit(std::vector<CommitRequest> requests) override { writer_.commit(std::move(requests)); }
  // A commit is some round trips: there is always something better to do meanwhile.
  bool commit_here(std::vector<CommitRequest>&) override { return false; }
  std::size_t queued_commits() const override { return writer_.queued(); }

  ExecutionRef next_execution_ref(const std::string_view tenant,
                                  const std::string_view execution_id) override {
    return numbers_.next_execution(partition_of(tenant, execution_id, partitions_));
  }
  InboxId next_inbox_id() override { return numbers_.next_inbox(); }

  int partitions() const override { return partitions_; }
  void take_part(std::function<bool()> works) override { membership_.take_part(std::move(works)); }
  void give_back(const PartitionLease left) override { membership_.give_back(left); }
  void offer(std::string offer) override { membership_.offer(std::move(offer)); }
  void fetch_parcels() override { parcels_.fetch(); }
  void send_parcels(std::vector<Parcel> parcels) override { parcels_.send(std::move(parcels)); }
  std::string worker() const override { return options_.worker; }
  DurationMs clock_ahead() const override { return membership_.clock_ahead(); }
  StoreHealth health() const override { return membership_.health(); }
  std::string identity() const override { return membership_.identity(); }
  void put_mail(MailRequest mail, std::function<void(Result<MailPut>)> done) override {
    postman_.put(std::move(mail), std::move(done));
  }
  Result<std::vector<std::optional<ExecutionStatus>>> statuses(
      const std::vector<std::pair<std::string, std::string>>& executions) override {
    return readers_.with([&](PostgresReader& reader) { return reader.statuses(executions); });
  }
  Result<std::vector<InboxRecord>> settled_mail(const std::vector<InboxId>& rows) override {
    return readers_.with([&](PostgresReader& reader) { return reader.settled_mail(rows); });
  }

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

  std::shared_ptr<Database> database() override { return database_; }
  LockRows* locks() override { return &locks_; }
  DeadLetterRows* dead_letters() override { return &dead_letters_; }

  void close() override {
    if (std::exchange(closed_, true)) return;
    // What it has open is rolled back: nothing of it is waited for by what is still to be written.
    database_->close();
    locks_.close();
    dead_letters_.close();
    numbers_.close();
    parcels_.close();
    if (started_) writer_.stop();
    postman_.close();
    readers_.close();
    membership_.close();
  }

 private:
  const PostgresStoreOptions options_;
  const int partitions_;
  Leases leases_;
  const std::shared_ptr<SentCommits> sent_ = std::make_shared<SentCommits>();
  PostgresNumbers numbers_;
  PostgresReaders readers_;
  Membership membership_;
  PostgresWriter writer_;
  PostgresPostman postman_;
  ParcelPost parcels_;
  PostgresLocks locks_;
  PostgresDeadLetters dead_letters_;
  const std::shared_ptr<PostgresStoreDatabase> database_;
  bool started_ = false;
  bool closed_ = false;
};

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
  if (auto prepared = pipeline->prepare(Membership::statements()); !prepared) {
    return error_of(prepared.error(), "connecting to the store");
  }
  auto store = std::make_unique<PostgresStore>(std::move(options), *parameters, std::move(pipeline),
                                               *partitions);
  if (auto entered = store->enter(); !entered) return entered.error();
  return store;
}

}  // namespace pawl
