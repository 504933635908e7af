#pragma once

// The store without a disk, for unit tests and simulation: same port, same refusals, and the test
// decides when something becomes durable and what fails.

#include <cstddef>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <utility>

#include "core/store.h"
#include "store/stream_gate.h"

namespace pawl {

// What has been committed. Several stores, one after the other, can be opened on it: that is what a
// restart is.
struct MemoryStoreData {
  struct Execution {
    ExecutionRecord record;
    std::vector<HistoryEvent> history;
  };
  std::map<ExecutionRef, Execution> executions;
  std::map<std::pair<std::string, std::string>, ExecutionRef> by_id;  // tenant, execution id
  std::map<std::pair<ExecutionRef, Position>, TimerRecord> timers;
  // By execution, position and generation.
  std::map<std::tuple<ExecutionRef, Position, int>, ActionResultRecord> results;
  std::map<std::pair<std::string, std::string>, ActionResultRecord> results_by_key;  // tenant, key
  std::map<InboxId, InboxRecord> inbox;
  std::map<std::pair<ExecutionRef, std::int64_t>, StateSnapshot> snapshots;  // by sequence
  std::map<std::pair<ExecutionRef, Position>, GraphActionRecord> graph_actions;
  std::map<std::tuple<ExecutionRef, Position, std::string>, SyncPointRecord> sync_points;
};

class MemoryStore final : public Store {
 public:
  enum class Mode {
    automatic,  // commit() makes durable and reports before it returns
    manual,     // step() does
  };

  explicit MemoryStore(Mode mode = Mode::automatic,
                       std::shared_ptr<MemoryStoreData> data = std::make_shared<MemoryStoreData>());
  ~MemoryStore() override { close(); }

  // Commits up to `count` of what is queued as one batch and reports; in the caller's thread.
  // Returns how many left the queue.
  std::size_t step(std::size_t count = kCommitBatchMax);

  // The next batch fails as a whole with this error. With outcome_unknown, `applied` says what
  // really happened to it.
  void fail_next(Error error, bool applied = false);

  // As an action's own transaction does that is committed now. Nothing, if there is an outcome already.
  void write_ahead(ActionResultRecord result);

  // Forgets what is queued, and reports nothing more.
  void crash();

  // What a restart would find. The store must not be used while another is open on it.
  std::shared_ptr<MemoryStoreData> data() const { return data_; }

  void start(CommitSink& sink) override;
  bool commit_here(std::vector<CommitRequest>&) override { return false; }
  void commit(std::vector<CommitRequest> requests) override;
  std::size_t queued_commits() const override;
  ExecutionRef next_execution_ref(std::string_view tenant, std::string_view execution_id) override;
  InboxId next_inbox_id() override;
  Result<std::optional<StoredExecution>> find_execution(std::string_view tenant,
                                                        std::string_view execution_id,
                                                        HistoryBounds history) override;
  Result<std::optional<StoredExecution>> load_execution(ExecutionRef ref,
                                                        HistoryBounds history) override;
  Result<std::vector<HistoryEvent>> read_history(ExecutionRef ref, std::int64_t after,
                                                 HistoryBounds most) override;
  Result<std::vector<ExecutionRecord>> list_executions(const ExecutionQuery& query) override;
  Result<std::vector<ExecutionRef>> executions_to_resume(ExecutionRef after, int limit) override;
  Result<std::vector<TimerRecord>> timers_after(const TimerRecord& after, int limit) override;
  Result<std::optional<ActionResultRecord>> find_action_result(std::string_view tenant,
                                                               std::string_view user_key) override;
  Result<std::optional<InboxRecord>> find_inbox(ExecutionRef execution,
                                                std::string_view idempotency_key) override;
  Result<std::vector<InboxRecord>> mail_after(InboxId after, int limit) override;
  Result<std::vector<GraphActionRecord>> graph_actions(ExecutionRef execution) override;
  Result<std::vector<SyncPointRecord>> sync_points(ExecutionRef execution) override;
  Result<std::vector<ActionResultRecord>> action_results(ExecutionRef execution) override;
  void keep_snapshot(StateSnapshot snapshot) override;
  Result<std::optional<StateSnapshot>> find_snapshot(ExecutionRef execution,
                                                     std::int64_t at) override;
  void close() override;

 private:
  struct PlannedFailure {
    Error error;
    bool applied;
  };

  std::optional<Error> apply(const Transition& transition);

  const Mode mode_;
  CommitSink* sink_ = nullptr;

  mutable std::mutex mutex_;
  // Guarded by mutex_.
  std::shared_ptr<MemoryStoreData> data_;
  std::deque<CommitRequest> queue_;
  StreamGate gate_;
  std::optional<PlannedFailure> failure_;
  ExecutionRef next_execution_ = 1;
  InboxId next_inbox_ = 1;
  bool closed_ = false;
};

}  // namespace pawl
