#pragma once

// The port to the truth. Writes are asynchronous, ordered and grouped: whatever is queued while one
// transaction syncs goes into the next one. Reads are synchronous, from any thread, and see what is
// committed only.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/dead_letter_rows.h"
#include "core/lock_rows.h"
#include "core/partition.h"
#include "model/execution_record.h"
#include "model/history_event.h"
#include "model/state_snapshot.h"
#include "pawl/error.h"

namespace pawl {

class Database;

// The columns of an execution's row that a transition changes. What is absent stays.
struct ExecutionChange {
  std::optional<ExecutionStatus> status;
  std::optional<std::string> version;  // of one that began without its code, when that runs first
  std::optional<std::string> state;
  std::optional<Condition> condition;
  std::optional<std::string> condition_detail;
  std::optional<bool> in_flight;
  std::optional<Payload> result;
  std::optional<std::string> error_json;
  std::int64_t last_sequence = 0;  // written along whenever the row is written
  Timestamp at = 0;
};

struct InboxCompletion {
  InboxId id = 0;
  InboxStatus status = InboxStatus::completed;
  std::string last_error;
  std::string answer;
};

// Whether an action of a graph is not going to run.
struct GraphActionChange {
  Position graph = 0;
  Position position = 0;
  bool skipped = true;
};

// What one step changes. All of it or nothing is committed.
struct Transition {
  ExecutionRef execution = 0;  // 0: touches no execution (a result from outside of one)
  std::string tenant;
  std::optional<ExecutionRecord> created;  // insert; its status, state … are as given
  std::optional<ExecutionChange> changed;  // update; never with `created`
  std::vector<HistoryEvent> records;       // appended in order; sequences follow the last one
  std::vector<TimerRecord> timers_set;     // replaces one of the same execution and position
  std::vector<Position> timers_cleared;    // before timers_set
  std::vector<ActionResultRecord> results;
  std::vector<GraphActionRecord> graph_actions_added;
  std::vector<GraphActionChange> graph_actions_changed;
  std::vector<SyncPointRecord> sync_points_set;  // replaces one of the same graph and name
  std::vector<InboxRecord> inbox_added;
  // The payload of those that are in a history is dropped, that of those that failed stays. What was mail belongs to
  // the execution from then on, if there is one.
  std::vector<InboxCompletion> inbox_completed;
};

// A commit belongs to a stream: one partition's, in order. After a failure the store refuses everything
// of that stream that carries the old generation, since it builds upon what was lost; the shard drops
// what it had cached and goes on under the next generation.
struct CommitRequest {
  std::uint32_t stream = 0;  // a partition; or as many as there are: what belongs to no execution
  std::uint64_t generation = 0;
  std::uint64_t id = 0;  // rises by one within a stream
  Transition transition;
  std::int64_t epoch = 0;  // under which its partition is owned; 0: whichever
};

struct CommitOutcome {
  std::uint32_t stream = 0;
  // Everything of the stream up to this id, that was not reported before, has this outcome.
  std::uint64_t up_to = 0;
  std::optional<Error> error;  // none: durable. outcome_unknown: it may or may not be
};

// What workers of a store send each other. It is not durable: each comes once and in order, or the sink is told that
// something was lost.
struct Parcel {
  std::string worker;  // to whom, or from whom
  std::string body;
};

// Another worker that serves, with what it says that it has registered.
struct Peer {
  std::string worker;
  std::string offer;
};

// What these take, those that do something with it keep.
// NOLINTBEGIN(performance-unnecessary-value-param)

// Called on threads of the store; must only post.
class CommitSink {
 public:
  virtual ~CommitSink() = default;
  virtual void commits_finished(const std::vector<CommitOutcome>& outcomes) = 0;

  // Of a store with several partitions: this worker owns them from now on.
  virtual void partitions_taken(const std::vector<PartitionLease>& /*taken*/) {}
  // Another worker is to have it: what is under way there is to come to its end within that time, and then it
  // is given back; see Store::give_back().
  virtual void partition_wanted(PartitionLease /*wanted*/, std::chrono::milliseconds /*within*/) {}
  // It is another's, or may be.
  virtual void partition_lost(PartitionLease /*lost*/) {}

  // All others that serve: whenever that has changed, and now and then.
  virtual void peers_seen(std::vector<Peer> /*peers*/) {}
  virtual void parcels_arrived(std::vector<Parcel> /*parcels*/) {}
  // Something that this worker sent, or was to receive.
  virtual void parcels_lost(const std::string& /*worker*/) {}
};

struct StoreHealth {
  std::chrono::milliseconds silent_for{0};  // since it answered last
  std::string trouble;                      // why it does not, as far as that is known
};

// A row for the inbox of an execution that another worker may own.
struct MailRequest {
  InboxRecord row;  // the store gives it its number
  // Whether it is refused where there is no such execution, or one that has ended.
  bool to_known = true;
};

struct MailPut {
  InboxId id = 0;
  std::string event_id;
  bool fresh = true;  // false: there is one with that idempotency key, of which these are
  std::optional<std::string> answer;  // of one that is completed
  // Of a start: there is an execution of that id, which was started with this; nothing was put there.
  std::optional<std::string> known_digest;
};

// How much of a history is read at once: until either is reached.
struct HistoryBounds {
  int records = 0;
  std::size_t bytes = std::numeric_limits<std::size_t>::max();  // with the record that reaches it
};
inline constexpr HistoryBounds kNoHistory{0};
inline constexpr HistoryBounds kWholeHistory{std::numeric_limits<int>::max()};
// Of a page of a history, whatever its number of records.
inline constexpr std::size_t kHistoryPageBytesMax = std::size_t{8} * 1024 * 1024;

struct StoredExecution {
  ExecutionRecord record;
  std::vector<HistoryEvent>
      history;                   // its first records; the inbox is empty if none were asked for
  std::int64_t history_end = 0;  // sequence of its last record
  // The ExecutionRetried records behind those of `history`: what they make void comes before them.
  std::vector<HistoryEvent> retries;
  std::vector<InboxRecord> inbox;  // those not completed or failed, by id
  // Open rows that are addressed to it by its id, by id: the first kMailOfExecutionMax. None if no history
  // was asked for.
  std::vector<InboxRecord> mail;
  // Outcomes that actions have written in transactions of their own and that the history does not have yet,
  // by position. None if no history was asked for.
  std::vector<ActionResultRecord> ahead;
};
inline constexpr int kMailOfExecutionMax = 256;

struct ExecutionQuery {
  std::string tenant;
  std::string workflow;  // empty: any
  std::optional<ExecutionStatus> status;
  ExecutionRef before = 0;  // cursor: those with a smaller reference; 0: from the newest
  int limit = 100;
};

// Bounds of the store's write queue. A commit beyond them blocks nobody: the engine sees
// `queued_commits()` and stops taking requests.
inline constexpr std::size_t kCommitBatchMax = 1'024;
// Of what the records of a transaction carry, with the transition that reaches it.
inline constexpr std::size_t kCommitBatchBytesMax = std::size_t{8} * 1024 * 1024;
inline constexpr std::size_t kParcelsQueuedMax = 16'384;
// Snapshots that wait to be kept; more are dropped, and made again when they are next of use.
inline constexpr std::size_t kSnapshotsQueuedMax = 256;

// What states are told from. Any thread.
class HistorySource {
 public:
  virtual ~HistorySource() = default;

  // Records with sequence > after, by sequence.
  virtual Result<std::vector<HistoryEvent>> read_history(ExecutionRef ref, std::int64_t after,
                                                         HistoryBounds most) = 0;
  // The newest one at or before that sequence.
  virtual Result<std::optional<StateSnapshot>> find_snapshot(ExecutionRef execution,
                                                             std::int64_t at) = 0;
  // Keeps it with one of the next commits, or not at all: nobody is told.
  virtual void keep_snapshot(StateSnapshot snapshot) = 0;
};

class Store : public HistorySource {
 public:
  // Takes the sink for every later outcome. Before the first commit; once.
  virtual void start(CommitSink& sink) = 0;

  // Queues; outcomes of a stream arrive in order of id. Any thread, one at a time per stream.
  virtual void commit(std::vector<CommitRequest> requests) = 0;
  // Commits them on this thread and reports before it returns, where nothing is queued or under way and
  // nobody else writes: that spares who has nothing else to do two changes of threads. False: nothing was
  // done, they are to be queued.
  virtual bool commit_here(std::vector<CommitRequest>& requests) = 0;
  virtual std::size_t queued_commits() const = 0;
  // Of one that can be away. Any thread; asks nobody.
  virtual StoreHealth health() const { return {}; }

  // The next unused numbers. Unused after a crash or a failed commit, they are skipped. Where a store has
  // parts, that of an execution follows from its tenant and id.
  virtual ExecutionRef next_execution_ref(std::string_view tenant,
                                          std::string_view execution_id) = 0;
  virtual InboxId next_inbox_id() = 0;

  // The row by id, with the beginning of its history and its open inbox where asked for. None: unknown,
  // or of another tenant.
  virtual Result<std::optional<StoredExecution>> find_execution(std::string_view tenant,
                                                                std::string_view execution_id,
                                                                HistoryBounds history) = 0;
  virtual Result<std::optional<StoredExecution>> load_execution(ExecutionRef ref,
                                                                HistoryBounds history) = 0;
  virtual Result<std::vector<ExecutionRecord>> list_executions(const ExecutionQuery& query) = 0;

  // What has to be taken up after a start: running executions with in_flight set, or that are stuck,
  // or that have open rows in the inbox; by reference, after the given one.
  virtual Result<std::vector<ExecutionRef>> executions_to_resume(ExecutionRef after, int limit) = 0;
  // Timers of executions that are not paused, ordered by (fire_at, execution, position), those after
  // the given one.
  virtual Result<std::vector<TimerRecord>> timers_after(const TimerRecord& after, int limit) = 0;

  virtual Result<std::optional<ActionResultRecord>> find_action_result(
      std::string_view tenant, std::string_view user_key) = 0;
  virtual Result<std::optional<InboxRecord>> find_inbox(ExecutionRef execution,
                                                        std::string_view idempotency_key) = 0;
  // Open mail with id > after, by id.
  virtual Result<std::vector<InboxRecord>> mail_after(InboxId after, int limit) = 0;
  virtual Result<std::vector<ActionResultRecord>> action_results(ExecutionRef execution) = 0;
  // Of all its graphs, by position.
  virtual Result<std::vector<GraphActionRecord>> graph_actions(ExecutionRef execution) = 0;
  // Of all its graphs, by graph and name.
  virtual Result<std::vector<SyncPointRecord>> sync_points(ExecutionRef execution) = 0;

  // None: there is no such thing here.
  virtual LockRows* locks() { return nullptr; }
  virtual DeadLetterRows* dead_letters() { return nullptr; }

  // Where actions write in one commit with their outcomes. None: there is no such thing here.
  virtual std::shared_ptr<Database> database() { return nullptr; }

  // ---- what several workers share; a store of one process needs none of it

  // With one partition, whoever has the store open owns it.
  virtual int partitions() const { return 1; }
  // From now on this worker takes its part of the partitions; the sink is told. Before that it has none. While
  // `works`, which is asked on a thread of the store, says no, it renews nothing: who can't work keeps nothing.
  virtual void take_part(std::function<bool()> /*works*/) {}
  // Nothing of it is under way here any more.
  virtual void give_back(PartitionLease /*left*/) {}
  // Its name, unlike that of any other that lives.
  virtual std::string worker() const { return {}; }
  // What it has registered, for the others to know.
  virtual void offer(std::string /*offer*/) {}
  // Parcels are fetched from now on. Idempotent.
  virtual void fetch_parcels() {}
  // Each worker's in their order. More than kParcelsQueuedMax are lost.
  virtual void send_parcels(std::vector<Parcel> /*parcels*/) {}
  // How far its clock is ahead of that of this machine. Who shares a store goes by that one, so that what was to
  // happen at a time happens then, whoever has it by then.
  virtual DurationMs clock_ahead() const { return 0; }
  // Of the store: the same by whatever address it was opened.
  virtual std::string identity() const { return {}; }

  // Puts it into the inbox, synced, together with what else is put there meanwhile; calls back on a thread of
  // the store, which must not wait. Errors: unknown_execution, execution_ended, store_unavailable,
  // outcome_unknown.
  virtual void put_mail(MailRequest /*mail*/, std::function<void(Result<MailPut>)> done) {
    done(Error{ErrorCode::internal, "this store belongs to one process", {}});
  }
  // Of each, by tenant and id, running where its start waits in the inbox; none: unknown.
  virtual Result<std::vector<std::optional<ExecutionStatus>>> statuses(
      const std::vector<std::pair<std::string, std::string>>& executions) {
    return std::vector<std::optional<ExecutionStatus>>(executions.size());
  }
  // Those of the rows that are completed or failed.
  virtual Result<std::vector<InboxRecord>> settled_mail(const std::vector<InboxId>& /*rows*/) {
    return std::vector<InboxRecord>{};
  }

  // Waits for what is queued, reports it, stops. Further commits answer `closed`.
  virtual void close() = 0;
};

// NOLINTEND(performance-unnecessary-value-param)

}  // namespace pawl
