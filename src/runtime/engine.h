#pragma once

// Puts a store, a shard and hosts together: the thread that decides, and the carrying out of what it
// decided. Knows no kind of store by name; Runtime::open does.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "core/hint_bus.h"
#include "core/shard.h"
#include "core/store.h"
#include "pawl/runtime.h"
#include "runtime/elsewhere.h"
#include "runtime/history_pages.h"
#include "runtime/locks.h"
#include "runtime/mailbox.h"
#include "runtime/other_workers.h"
#include "runtime/reader_pool.h"

namespace pawl {

class Engine final : public CommitSink {
 public:
  // Takes up what the store says was under way: at once, or with begin().
  // `bus`: of a store that several processes share; calls are taken from the beginning then, and begin() is to
  // take a part of the work.
  Engine(RuntimeOptions options, std::unique_ptr<Store> store, Clock& clock,
         std::unique_ptr<HintBus> bus = nullptr);
  ~Engine() override;

  Result<void> register_workflow(const WorkflowDescription& description, WorkflowHost& host,
                                 bool replace);
  Result<void> register_action(const ActionDescription& description, ActionHost& host,
                               bool replace);

  void begin();

  void start_workflow(StartRequest request, Callback<std::string> done);
  void submit_event(EventRequest request, Callback<EventReply> done);
  void enqueue_event(EventRequest request, Callback<EnqueueReply> done);
  void wait_for_completion(std::string tenant, std::string execution_id,
                           std::optional<DurationMs> wait_max, Callback<ExecutionState> done);
  void control(ControlVerb verb, ControlRequest request, Callback<ControlReply> done);
  void fork_workflow(ForkRequest request, Callback<std::string> done);
  void execute_action(ExecuteActionRequest request, Callback<Payload> done);
  void complete_action(CompleteActionRequest request, Callback<ControlReply> done);
  void get_execution_state(std::string tenant, std::string execution_id,
                           std::optional<std::int64_t> at_sequence, Callback<ExecutionState> done);
  void get_history(std::string tenant, std::string execution_id,
                   Callback<std::vector<HistoryRecord>> done);
  // Another process may have put something into the inbox.
  void look_for_mail();
  void list_executions(const ListQuery& query, Callback<ListPage> done);
  Health health() const;
  Runtime::Counters counters() const;
  std::shared_ptr<Database> database() const { return store_->database(); }
  LockWait acquire_lock(LockRequest request, Callback<Lock> done);
  void give_up_lock(LockWait wait);
  void list_dead_letters(const DeadLetterQuery& query, Callback<DeadLetterPage> done);
  void retry_dead_letter(const DeadLetterRequest& request, Callback<DeadLetter> done);
  void drop_dead_letter(const DeadLetterRequest& request, Callback<DeadLetter> done);
  // From now on calls are refused, and nothing begins; what is under way goes on, for that long. See
  // Runtime::close. Again, by any thread: the shorter time counts.
  void begin_close(std::optional<std::chrono::milliseconds> drain);
  // Waits until that is through, and ends.
  void close();

  void commits_finished(const std::vector<CommitOutcome>& outcomes) override;
  void partitions_taken(const std::vector<PartitionLease>& taken) override;
  void partition_wanted(PartitionLease wanted, std::chrono::milliseconds within) override;
  void partition_lost(PartitionLease lost) override;
  void peers_seen(std::vector<Peer> peers) override;
  void parcels_arrived(std::vector<Parcel> parcels) override;
  void parcels_lost(const std::string& worker) override;

 private:
  using Waiting = std::variant<Callback<std::string>, Callback<EventReply>, Callback<EnqueueReply>,
                               Callback<ControlReply>, Callback<ExecutionState>, Callback<Payload>>;

  template <class T>
  std::optional<RequestId> admit(Callback<T>& done);
  void run();
  void carry_out(Outputs& out);
  void carry_out_all(Outputs& batch);
  std::vector<AttemptId> hold_actions();
  void notice_drained();
  bool owes_replies() const;
  void start_thread();
  bool is_working() const;
  void resume(std::optional<int> partition);
  void show_offer();
  void send(std::vector<LentWorkAnswer> answers);
  WorkflowHost& workflow_host(HostId id) const;
  ActionHost& action_host(HostId id) const;
  void log(LogLevel level, std::string message) const;
  void own(const PartitionLease& lease, bool owned);
  // Reads what the fork begins with, and hands it on.
  void prepare(ForkPrepared fork);
  std::string new_execution_id(const std::string& tenant);
  void load(const LoadExecution& wanted);
  void watch_growth(const std::vector<CommitRequest>& commits);
  void keep_snapshots(const CommitOutcome& outcome);
  Result<ExecutionState> state_of(const std::string& tenant, const std::string& execution_id,
                                  std::optional<std::int64_t> at_sequence);
  void note_trouble(const CommitOutcome& outcome);
  void answer(Reply reply);
  void fail_waiting(const Error& error);
  Result<StoredExecution> read_execution(const std::string& tenant, const std::string& execution_id,
                                         HistoryBounds history);
  std::optional<Failure> check_parameters(const ExecuteActionRequest& request) const;
  enum class DeadLetterChange : std::uint8_t { retry, drop };
  void change_dead_letter(const DeadLetterRequest& request, DeadLetterChange change,
                          Callback<DeadLetter> done);
  bool is_closing() const;
  Error closed() const;

  const RuntimeOptions options_;
  const std::unique_ptr<Store> store_;
  // The store's, where several machines share it.
  class SharedClock final : public Clock {
   public:
    SharedClock(Clock& own, const Store& store) : own_(own), store_(store) {}
    Timestamp now() override { return own_.now() + store_.clock_ahead(); }

   private:
    Clock& own_;
    const Store& store_;
  };
  mutable SharedClock clock_;
  const std::unique_ptr<HintBus> bus_;
  const std::shared_ptr<Mailbox> mailbox_;
  HistoryPages pages_;
  std::size_t loads_ = 0;  // on thread_ only: of histories that are being read
  ReaderPool readers_;
  Shard shard_;  // on thread_ only

  // Commits that take a history over a multiple of records_per_snapshot, until they are durable.
  struct Growth {
    std::uint32_t stream = 0;
    std::uint64_t commit = 0;
    ExecutionRef execution = 0;
  };
  std::deque<Growth> growths_;  // on thread_ only

  mutable std::mutex mutex_;
  std::unordered_map<RequestId, Waiting> waiting_;            // under mutex_
  RequestId next_request_ = 1;                                // under mutex_
  std::vector<WorkflowHost*> workflow_hosts_;                 // under mutex_
  std::vector<ActionHost*> action_hosts_;                     // under mutex_
  std::unordered_map<std::string, WorkflowHost*> workflows_;  // under mutex_; by name and version
  struct RegisteredAction {
    std::string name;
    std::function<std::optional<Failure>(const Payload&)> check;
  };
  std::unordered_map<std::string, RegisteredAction> actions_;  // under mutex_; by meeting name
  WorkOffer offer_;                                            // under mutex_: what is registered
  bool begun_ = false;                                         // under mutex_
  bool works_ = false;                                         // under mutex_: begin() was called
  // Under mutex_: of the last commit; empty: none.
  std::string commit_trouble_;
  std::int64_t commit_failed_at_ = 0;  // under mutex_; of a steady clock
  std::set<int> owned_;                // under mutex_: partitions that new executions are put into
  bool closing_ = false;               // under mutex_
  bool drained_ = false;               // under mutex_
  // Under mutex_: when what is not drained is left.
  std::chrono::steady_clock::time_point drain_until_ = std::chrono::steady_clock::time_point::max();
  std::condition_variable closing_changed_;
  std::once_flag closed_;

  std::map<std::uint32_t, std::uint64_t>
      reported_;  // by stream, on the threads of the store, one at a time
  std::atomic<bool> commits_fail_ = false;
  std::atomic<std::uint64_t> commits_ = 0;
  std::atomic<std::uint64_t> commit_batches_ = 0;
  std::atomic<std::uint64_t> activations_ = 0;
  std::atomic<std::uint64_t> replays_ = 0;
  std::atomic<std::uint64_t> actions_started_ = 0;
  std::atomic<std::uint64_t> actions_in_flight_ = 0;
  std::atomic<std::uint64_t> actions_waiting_ = 0;
  std::atomic<std::uint64_t> executions_cached_ = 0;
  std::atomic<std::uint64_t> state_records_read_ = 0;
  std::atomic<std::uint64_t> snapshots_made_ = 0;

  // Since when the thread has been busy with what it took from the mailbox, and since when hosts owe the results of
  // activations without having given any, in milliseconds of a steady clock; 0: they are not.
  std::atomic<std::int64_t> busy_since_ = 0;
  std::atomic<std::int64_t> owed_since_ = 0;
  std::size_t activations_owed_ = 0;  // on thread_ only

  std::unique_ptr<Elsewhere> elsewhere_;         // where there is a bus
  std::unique_ptr<OtherWorkers> other_workers_;  // the same
  std::atomic<bool> exchanges_ = false;          // parcels are fetched
  std::shared_ptr<Locks> locks_;                 // where the store has some
  std::thread thread_;
};

}  // namespace pawl
