#pragma once

// The thread that commits to PostgreSQL: what is queued is the next transaction, in three round trips. It looks at
// the leases of the partitions that it writes to, writes all rows a column at a time, and commits.

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "core/store.h"
#include "postgres/store/leases.h"
#include "postgres/store/pipeline.h"
#include "postgres/store/rows.h"
#include "postgres/store/sent_commits.h"
#include "store/stream_gate.h"

namespace pawl {

struct PostgresWriterOptions {
  PostgresParameters parameters;
  std::string worker;
  int partitions = 1;
  std::chrono::milliseconds lease{10'000};
  // For how long a commit is tried again where the server can't be reached, before it fails.
  std::chrono::milliseconds retry_max{10'000};
};

class PostgresWriter {
 public:
  // `lost` is called, on the writer's thread, where a partition turns out to be another's.
  PostgresWriter(PostgresWriterOptions options, Leases& leases, SentCommits& sent,
                 std::function<void(PartitionLease)> lost);
  ~PostgresWriter() { stop(); }

  // See Store.
  void start(CommitSink& sink);
  void commit(std::vector<CommitRequest> requests);
  void keep(StateSnapshot snapshot);
  std::size_t queued() const { return queued_.load(std::memory_order_relaxed); }
  // Waits for what is queued; later commits answer `closed`, after all earlier ones are reported.
  void stop();

 private:
  using Batch = std::vector<CommitRequest>;
  using Answers = std::vector<std::optional<Error>>;
  // Of executions, under which they are written to.
  using Epochs = std::unordered_map<ExecutionRef, std::int64_t>;
  // Another ownership may have made it longer.
  struct KnownEnd {
    std::int64_t epoch = 0;
    std::int64_t sequence = 0;
  };
  // What became of a transaction.
  struct Tried {
    enum class End {
      settled,  // all that has no answer is committed
      refused,  // a row of it is; nothing was committed
      held_up,  // another transaction has a row of it for longer than is waited; nothing was committed
      again,   // nothing was committed, and it may go better next time
      failed,  // nothing was committed
    };
    End end = End::settled;
    Error error;
  };

  void run();
  bool take(Batch& batch);
  Answers commit_batch(const Batch& batch);
  void settle(const Batch& batch, Answers& answers, std::vector<std::size_t> wanted);
  Tried try_once(const Batch& batch, Answers& answers, const std::vector<std::size_t>& wanted);
  Tried look_up(std::int64_t marker);
  PgOutcome<void> connect();
  std::vector<std::size_t> keep_held(const Batch& batch, Answers& answers,
                                     const std::vector<std::size_t>& wanted, const PgResult& held);
  std::optional<Error> gap(const Batch& batch, const std::vector<std::size_t>& wanted,
                           const PgResult* ends, const Epochs& epochs);
  Tried after_failure(const PgFailure& failure, std::string_view doing);
  void roll_back();
  void add_rows(BatchRows& rows, const Transition& transition,
                std::vector<ExecutionRef>& given_up) const;
  void remember_ends(const Batch& batch, const std::vector<std::size_t>& written,
                     const Epochs& epochs);
  void fail(const CommitRequest& request, std::optional<Error>& answer, const Error& error);
  std::optional<std::int64_t> epoch_for(const CommitRequest& request) const;
  void report(const Batch& batch, const Answers& answers);
  bool pause(std::chrono::milliseconds time);

  const PostgresWriterOptions options_;
  Leases& leases_;
  SentCommits& sent_;
  const std::function<void(PartitionLease)> lost_;
  // Used by the thread alone.
  PgPipeline pipeline_;
  StreamGate gate_;
  std::deque<CommitRequest> taken_;
  std::vector<StateSnapshot> snapshots_;             // of this batch
  std::unordered_map<ExecutionRef, KnownEnd> ends_;  // of histories that grew lately
  std::int64_t last_marker_ = 0;

  CommitSink* sink_ = nullptr;
  std::thread thread_;
  std::atomic<std::size_t> queued_{0};

  std::mutex mutex_;
  std::condition_variable wake_;
  // Guarded by mutex_.
  std::vector<std::vector<CommitRequest>> queue_;
  std::vector<StateSnapshot> to_keep_;
  std::vector<CommitRequest> late_;
  bool closing_ = false;
  bool ended_ = false;
};

}  // namespace pawl
