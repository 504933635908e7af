#include "store/sqlite_store.h"

#include <fmt/format.h>

#include <atomic>
#include <optional>
#include <utility>

#include "store/mail_slot.h"
#include "store/side_transactions.h"
#include "store/sqlite_connection.h"
#include "store/sqlite_database.h"
#include "store/sqlite_dead_letters.h"
#include "store/sqlite_locks.h"
#include "store/sqlite_reader.h"
#include "store/sqlite_schema.h"
#include "store/sqlite_writer.h"
#include "store/store_file.h"

namespace pawl {
namespace {

class SqliteStore final : public Store {
 public:
  SqliteStore(StoreLock lock, std::shared_ptr<SqliteDatabase> database,
              std::unique_ptr<SqliteWriter> writer, SqliteStoreOptions options,
              ExecutionRef next_execution, InboxId next_inbox)
      : lock_{std::move(lock)},
        database_{std::move(database)},
        side_{options, database_->turn()},
        readers_{std::move(options)},
        writer_{std::move(writer)},
        next_execution_{next_execution},
        next_inbox_{next_inbox} {}

  ~SqliteStore() override { close(); }

  void start(CommitSink& sink) override { writer_->start(sink); }

  void commit(std::vector<CommitRequest> requests) override {
    writer_->commit(std::move(requests));
  }

  bool commit_here(std::vector<CommitRequest>& requests) override {
    return writer_->commit_here(requests);
  }

  std::size_t queued_commits() const override { return writer_->queued(); }

  ExecutionRef next_execution_ref(std::string_view, std::string_view) override {
    return next_execution_.fetch_add(1, std::memory_order_relaxed);
  }

  InboxId next_inbox_id() override { return next_inbox_.fetch_add(1, std::memory_order_relaxed); }

  Result<std::optional<StoredExecution>> find_execution(std::string_view tenant,
                                                        std::string_view execution_id,
                                                        HistoryBounds history) override {
    return readers_.with(
        [&](SqliteReader& reader) { return reader.find_execution(tenant, execution_id, history); });
  }

  Result<std::optional<StoredExecution>> load_execution(ExecutionRef ref,
                                                        HistoryBounds history) override {
    return readers_.with([&](SqliteReader& reader) { return reader.load_execution(ref, history); });
  }

  Result<std::vector<HistoryEvent>> read_history(ExecutionRef ref, std::int64_t after,
                                                 HistoryBounds most) override {
    return readers_.with(
        [&](SqliteReader& reader) { return reader.read_history(ref, after, most); });
  }

  Result<std::vector<ExecutionRecord>> list_executions(const ExecutionQuery& query) override {
    return readers_.with([&](SqliteReader& reader) { return reader.list_executions(query); });
  }

  Result<std::vector<ExecutionRef>> executions_to_resume(ExecutionRef after, int limit) override {
    return readers_.with(
        [&](SqliteReader& reader) { return reader.executions_to_resume(after, limit); });
  }

  Result<std::vector<TimerRecord>> timers_after(const TimerRecord& after, int limit) override {
    return readers_.with([&](SqliteReader& reader) { return reader.timers_after(after, limit); });
  }

  Result<std::optional<ActionResultRecord>> find_action_result(std::string_view tenant,
                                                               std::string_view user_key) override {
    return readers_.with(
        [&](SqliteReader& reader) { return reader.find_action_result(tenant, user_key); });
  }

  Result<std::optional<InboxRecord>> find_inbox(ExecutionRef execution,
                                                std::string_view idempotency_key) override {
    return readers_.with(
        [&](SqliteReader& reader) { return reader.find_inbox(execution, idempotency_key); });
  }

  Result<std::vector<InboxRecord>> mail_after(InboxId after, int limit) override {
    return readers_.with([&](SqliteReader& reader) { return reader.mail_after(after, limit); });
  }

  Result<std::vector<ActionResultRecord>> action_results(ExecutionRef execution) override {
    return readers_.with([&](SqliteReader& reader) { return reader.action_results(execution); });
  }

  Result<std::vector<GraphActionRecord>> graph_actions(ExecutionRef execution) override {
    return readers_.with([&](SqliteReader& reader) { return reader.graph_actions(execution); });
  }

  Result<std::vector<SyncPointRecord>> sync_points(ExecutionRef execution) override {
    return readers_.with([&](SqliteReader& reader) { return reader.sync_points(execution); });
  }

  void keep_snapshot(StateSnapshot snapshot) override { writer_->keep(std::move(snapshot)); }

  Result<std::optional<StateSnapshot>> find_snapshot(ExecutionRef execution,
                                                     std::int64_t at) override {
    return readers_.with([&](SqliteReader& reader) { return reader.find_snapshot(execution, at); });
  }

  std::shared_ptr<Database> database() override { return database_; }
  LockRows* locks() override { return &locks_; }
  DeadLetterRows* dead_letters() override { return &dead_letters_; }

  void close() override {
    if (lock_) {
      // First: a transaction that is open would keep the writer waiting.
      database_->close();
      writer_->stop();
      readers_.close();
      side_.close();
      writer_->disconnect();
      lock_.reset();
    }
  }

 private:
  // Released last: until the connections are closed, the file is in use.
  std::optional<StoreLock> lock_;
  std::shared_ptr<SqliteDatabase> database_;
  SideTransactions side_;
  SqliteLocks locks_{side_};
  SqliteDeadLetters dead_letters_{side_};
  SqliteReaderPool readers_;
  std::unique_ptr<SqliteWriter> writer_;
  std::atomic<ExecutionRef> next_execution_;
  std::atomic<InboxId> next_inbox_;
};

}  // namespace

Result<std::unique_ptr<Store>> open_sqlite_store(SqliteStoreOptions options) {
  auto path = resolve_store_path(options.path);
  if (!path) {
    return path.error();
  }
  options.path = std::move(*path);
  // Before the lock, so that nothing is left beside a file that is none of ours.
  if (auto checked = check_sqlite_header(options.path, options.vfs); !checked) {
    return checked.error();
  }
  auto lock = StoreLock::acquire(options.path);
  if (!lock) {
    return lock.error();
  }
  auto connection = SqliteConnection::open(options.path, SqliteConnection::Mode::read_write_create,
                                           options.vfs, options.busy_ms);
  if (!connection) {
    return connection.error();
  }
  if (auto configured = configure_sqlite_writer(*connection, options); !configured) {
    return configured.error();
  }
  if (auto confirmed = confirm_sqlite_log(*connection); !confirmed) {
    return confirmed.error();
  }
  if (auto migrated = migrate_sqlite(*connection); !migrated) {
    return migrated.error();
  }
  if (auto synced = sync_store_folder(options.path); !synced) {
    return synced.error();
  }
  // The last row of a table: no scan.
  const auto last_execution =
      connection->query_int("SELECT coalesce(max(execution), 0) FROM workflow_executions");
  if (!last_execution) {
    return last_execution.error();
  }
  const auto last_inbox = connection->query_int(
      fmt::format("SELECT coalesce(max(id), 0) FROM workflow_event_processing WHERE id < {}",
                  kMailSlotIdFirst));
  if (!last_inbox) {
    return last_inbox.error();
  }
  SqliteDatabaseOptions beside;
  beside.path = options.path;
  beside.vfs = options.vfs;
  beside.busy_ms = options.busy_ms;
  beside.off = options.synchronous == SqliteSynchronous::off;
  beside.store = true;
  beside.transaction_max = options.transaction_max;
  auto database = std::make_shared<SqliteDatabase>(std::move(beside));
  auto writer = SqliteWriter::create(std::move(*connection), database->turn(), options);
  if (!writer) {
    return writer.error();
  }
  return std::unique_ptr<Store>{
      std::make_unique<SqliteStore>(std::move(*lock), std::move(database), std::move(*writer),
                                    std::move(options), *last_execution + 1, *last_inbox + 1)};
}

}  // namespace pawl
