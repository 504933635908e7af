#pragma once

// Reading the store over a few connections, each used by one caller at a time. What is read is committed, and
// of one moment for each call. A connection that is lost is replaced once in each call.

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "core/store.h"
#include "postgres/store/leases.h"
#include "postgres/store/pipeline.h"
#include "store/connection_pool.h"

namespace pawl {

class PostgresReader {
 public:
  explicit PostgresReader(PostgresParameters parameters) : parameters_(std::move(parameters)) {}

  Result<std::optional<StoredExecution>> find_execution(std::string_view tenant,
                                                        std::string_view execution_id,
                                                        HistoryBounds most);
  Result<std::optional<StoredExecution>> load_execution(ExecutionRef ref, HistoryBounds most);
  Result<std::vector<HistoryEvent>> read_history(ExecutionRef ref, std::int64_t after,
                                                 HistoryBounds most);
  Result<std::vector<ExecutionRecord>> list_executions(const ExecutionQuery& query);
  Result<std::vector<ExecutionRef>> executions_to_resume(const std::vector<PartitionLease>& of,
                                                         ExecutionRef after, int limit);
  Result<std::vector<TimerRecord>> timers_after(const std::vector<PartitionLease>& of,
                                                const TimerRecord& after, int limit);
  Result<std::optional<ActionResultRecord>> find_action_result(std::string_view tenant,
                                                               std::string_view user_key);
  Result<std::optional<InboxRecord>> find_inbox(ExecutionRef execution,
                                                std::string_view idempotency_key);
  Result<std::vector<InboxRecord>> mail_after(const std::vector<PartitionLease>& of, InboxId after,
                                              int limit);
  Result<std::vector<std::optional<ExecutionStatus>>> statuses(
      const std::vector<std::pair<std::string, std::string>>& executions);
  Result<std::vector<InboxRecord>> settled_mail(const std::vector<InboxId>& rows_of);
  Result<std::vector<ActionResultRecord>> action_results(ExecutionRef execution);
  Result<std::vector<GraphActionRecord>> graph_actions(ExecutionRef execution);
  Result<std::vector<SyncPointRecord>> sync_points(ExecutionRef execution);
  Result<std::optional<StateSnapshot>> find_snapshot(ExecutionRef execution, std::int64_t at);

 private:
  template <class Queue>
  Result<std::vector<PgResult>> run(Queue queue, std::string_view doing);
  template <class T, class Row, class Queue>
  Result<std::vector<T>> rows(Queue queue, Row row);
  template <class T, class Row, class Queue>
  Result<std::optional<T>> first(Queue queue, Row row);
  Result<std::optional<StoredExecution>> stored(ExecutionRef ref, std::string_view tenant,
                                                std::string_view execution_id, HistoryBounds most);

  const PostgresParameters parameters_;
  PgPipeline pipeline_;
};

class PostgresReaders : public ConnectionPool<PostgresReader> {
 public:
  PostgresReaders(const PostgresParameters& parameters, int most);
};

}  // namespace pawl
