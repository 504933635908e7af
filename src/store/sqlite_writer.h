#pragma once

// The one connection that writes, and its thread: takes whatever is queued into one transaction, at
// once when idle; while that syncs, the next batch gathers.
//
//   queued --BEGIN, rows, COMMIT--> synced --> reported to the sink --> perhaps a checkpoint
//
// Where the thread is idle, another one may commit in its place. Whoever is at work has the connection.

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "core/store.h"
#include "store/sqlite_connection.h"
#include "store/sqlite_store.h"
#include "store/sqlite_transition.h"
#include "store/stream_gate.h"
#include "store/write_turn.h"

namespace pawl {

class SqliteWriter {
 public:
  // The connection is configured, its tables are up to date.
  // `turn` outlives it.
  static Result<std::unique_ptr<SqliteWriter>> create(SqliteConnection connection, WriteTurn& turn,
                                                      const SqliteStoreOptions& options);
  ~SqliteWriter() { stop(); }

  // See Store.
  void start(CommitSink& sink);
  void commit(std::vector<CommitRequest> requests);
  bool commit_here(std::vector<CommitRequest>& requests);
  void keep(StateSnapshot snapshot);
  std::size_t queued() const { return queued_.load(std::memory_order_relaxed); }
  // Waits for what is queued; later commits answer `closed`, after all earlier ones are reported.
  void stop();
  // Closes the connection, which writes the log back into the file. After stop() and after all other
  // connections are closed.
  void disconnect();

 private:
  SqliteWriter(SqliteConnection connection, SqliteTransitions transitions, WriteTurn& turn,
               const SqliteStoreOptions& options)
      : turn_{turn},
        connection_{std::move(connection)},
        transitions_{std::move(transitions)},
        batch_max_{options.batch_transitions_max},
        batch_bytes_max_{options.batch_bytes_max},
        checkpoint_pages_{options.checkpoint_pages},
        busy_ms_{options.busy_ms} {}

  using Batch = std::vector<CommitRequest>;
  // One for each request of the batch.
  using Answers = std::vector<std::optional<Error>>;

  void run();
  bool take(Batch& batch);
  bool keep_snapshots(const Batch& batch, Answers& answers);
  void refuse(const Batch& batch);
  Answers commit_batch(const Batch& batch);
  bool try_in_turn(const Batch& batch, Answers& answers, bool one_by_one);
  bool commit_at_once(const Batch& batch);
  void report(const Batch& batch, const Answers& answers);
  int begin();
  // BEGIN … COMMIT. With `one_by_one`, a refused transition is left out and its stream fails, while
  // the others go on. Without, false: nothing was committed, try one by one.
  bool try_batch(const Batch& batch, Answers& answers, bool one_by_one);
  // The same behind the BEGIN.
  bool write_batch(const Batch& batch, Answers& answers, bool one_by_one);
  void fail_rest(const Batch& batch, Answers& answers, const Error& error);
  void roll_back();
  // What a failure of the storage means for those that were in the transaction; stops the writer
  // after a failed sync.
  Error storage_failed(int code, Error error, bool while_committing);
  Error storage_failed(int code, std::string_view doing, bool while_committing = false) {
    return storage_failed(code, connection_.error(code, doing), while_committing);
  }
  bool checkpoint_is_due();
  void checkpoint_if_due();

  WriteTurn& turn_;
  // Used by who is at work.
  SqliteConnection connection_;
  SqliteTransitions transitions_;
  struct Statements {
    SqliteStatement begin, commit, rollback, savepoint, release, rollback_to;
  } statements_;
  StreamGate gate_;
  std::optional<Error> stopped_;  // by a failed sync; for good
  std::deque<CommitRequest> taken_;
  bool thread_at_work_ = false;           // used by the thread alone
  std::vector<StateSnapshot> snapshots_;  // of this batch
  int log_pages_ = 0;                     // of the log, after the last commit
  int checkpoint_next_ = 0;               // when the log has this many
  const std::size_t batch_max_;
  const std::size_t batch_bytes_max_;
  const int checkpoint_pages_;
  const int busy_ms_;

  CommitSink* sink_ = nullptr;
  std::thread thread_;
  std::atomic<std::size_t> queued_{0};  // not reported yet

  std::mutex mutex_;
  std::condition_variable wake_;
  // Guarded by mutex_.
  std::vector<std::vector<CommitRequest>> queue_;
  std::vector<StateSnapshot> to_keep_;  // at most kSnapshotsQueuedMax
  std::vector<CommitRequest> late_;     // came while closing: refused, in their turn
  bool at_work_ = false;                // the thread, or who commits in its place
  bool checkpoint_wanted_ = false;      // by who did
  bool closing_ = false;
  bool ended_ = false;  // all that was queued is reported
};

}  // namespace pawl
