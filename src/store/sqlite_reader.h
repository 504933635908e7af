#pragma once

// Reading the store over a few connections, each used by one caller at a time. What is read is
// committed, and of one moment for each call.

#include <memory>
#include <vector>

#include "core/store.h"
#include "store/connection_pool.h"
#include "store/sqlite_connection.h"
#include "store/sqlite_store.h"

namespace pawl {

// One connection and its prepared statements. One thread at a time.
class SqliteReader {
 public:
  static Result<std::unique_ptr<SqliteReader>> open(const SqliteStoreOptions& options);

  // Everything between its beginning and its end sees the store as of the first read. Within another
  // one it is part of that.
  class Moment {
   public:
    explicit Moment(SqliteReader& reader);
    ~Moment();
    Moment(const Moment&) = delete;
    Moment& operator=(const Moment&) = delete;

    const Result<void>& begun() const { return begun_; }

   private:
    SqliteConnection& connection_;
    Result<void> begun_;
    bool own_ = false;
  };

  Result<std::optional<StoredExecution>> find_execution(std::string_view tenant,
                                                        std::string_view execution_id,
                                                        HistoryBounds most);
  Result<std::optional<StoredExecution>> load_execution(ExecutionRef ref, HistoryBounds most);
  Result<std::vector<HistoryEvent>> read_history(ExecutionRef ref, std::int64_t after,
                                                 HistoryBounds most);
  // Its ExecutionRetried records with sequence > after: their sequences, codecs and attributes.
  Result<std::vector<HistoryEvent>> read_retries(ExecutionRef ref, std::int64_t after);
  Result<std::vector<ExecutionRecord>> list_executions(const ExecutionQuery& query);
  Result<std::vector<ExecutionRef>> executions_to_resume(ExecutionRef after, int limit);
  Result<std::vector<TimerRecord>> timers_after(const TimerRecord& after, int limit);
  Result<std::optional<ActionResultRecord>> find_action_result(std::string_view tenant,
                                                               std::string_view user_key);
  Result<std::optional<InboxRecord>> find_inbox(ExecutionRef execution,
                                                std::string_view idempotency_key);
  Result<std::vector<InboxRecord>> mail_after(InboxId after, int limit);
  Result<std::vector<GraphActionRecord>> graph_actions(ExecutionRef execution);
  Result<std::vector<SyncPointRecord>> sync_points(ExecutionRef execution);
  Result<std::vector<ActionResultRecord>> action_results(ExecutionRef execution);
  Result<std::optional<StateSnapshot>> find_snapshot(ExecutionRef execution, std::int64_t at);

  // For reads of other kinds, by the same thread.
  SqliteConnection& connection() { return connection_; }

  // For tests: the text of every statement that this class may run.
  static std::vector<std::string> statements();

 private:
  explicit SqliteReader(SqliteConnection connection) : connection_{std::move(connection)} {}

  // Steps through the rows of a statement that has been bound; `row` turns one into a value.
  template <class T, class Row>
  Result<std::vector<T>> collect(SqliteStatement& statement, Row row);
  // Until there is no more, or `go_on` says no to what was just read.
  template <class T, class Row, class GoOn>
  Result<std::vector<T>> collect(SqliteStatement& statement, Row row, GoOn go_on);
  template <class T, class Row>
  Result<std::optional<T>> first(SqliteStatement& statement, Row row);
  Result<std::optional<StoredExecution>> with_rest(SqliteStatement& row, HistoryBounds most);
  // Prepared at their first use: a connection that only loads executions needs no others.
  Result<SqliteStatement*> statement(std::size_t which);

  SqliteConnection connection_;
  std::vector<SqliteStatement> statements_;
};

class SqliteReaderPool : public ConnectionPool<SqliteReader> {
 public:
  explicit SqliteReaderPool(const SqliteStoreOptions& options);
};

}  // namespace pawl
