#pragma once

// The engine in one process: a store, shards that decide, hosts that run code. Everything is in
// values; the typed face for C++ workflows and actions is in <pawl/pawl.h>, the TypeScript one is the
// npm package. Both stand on this page.
//
// Threads: every member may be called from any thread. Callbacks run on a thread of the engine: they
// must be quick, must not throw, and may call back into the runtime but not wait for it. What a call
// reports as done is durable by then.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <pawl/error.h>
#include <pawl/host.h>
#include <pawl/lock.h>
#include <pawl/payload.h>
#include <pawl/store_care.h>
#include <pawl/time.h>

namespace pawl {

class Database;  // <pawl/database.h>

// Named bounds. What goes over one is refused with an error that names it.
struct Limits {
  std::size_t payload_bytes_max =
      2 * 1024 * 1024;                       // input, event payload, parameters, result, data value
  std::size_t name_bytes_max = 255;          // ids, names, tenants, states, keys
  std::size_t requests_queued_max = 65'536;  // client calls under way in the process
  std::size_t events_buffered_max = 10'000;  // of one execution: accepted and not yet consumed
  std::size_t executions_cached_max = 10'000;  // live instances kept; more are replayed on demand
  std::size_t awaitables_pending_max =
      100'000;  // of one execution: actions, waits and timers open at once
  std::size_t actions_in_flight_max = 10'000;  // attempts handed out at once; more wait their turn
  std::size_t actions_in_flight_per_tenant_max = 10'000;  // of one tenant; tenants take turns
  // Beside a history that is longer, what it adds up to is kept every so many records, so that the
  // state at any point is found by reading about so many. At least 1.
  std::int64_t records_per_snapshot = 4'096;
  // A history is read so many records at a time, and fewer where they are large (8 MiB), so that one that
  // is long takes no more memory than one that is short, and holds up no other execution. At least 1.
  std::size_t history_page_records_max = 4'096;
  std::size_t graph_actions_max = 20'000;  // of one graph: actions with their compensations
  // Of one graph: parameters, names and dependencies; and, by themselves, results and failures.
  std::size_t graph_bytes_max = 16 * 1024 * 1024;
  // How long a transaction on the store's own database may keep everything else from writing: from its
  // first statement to its end. One that takes longer is rolled back.
  DurationMs transaction_ms_max = 5'000;
};

struct LogLine {
  LogLevel level = LogLevel::info;
  std::string message;
  Payload details;  // a JSON array of what was given beside the message, or none
  std::string tenant;
  std::string execution_id;  // empty: a line of the engine itself
  std::string workflow;
  std::string correlation_id;
  Timestamp at = 0;
};

struct RuntimeOptions {
  std::string store = "sqlite:pawl.db";  // sqlite:FILE; postgresql://… after use_postgres_stores()
  Limits limits;
  // Where log lines of workflows and of the engine go. Absent: standard error.
  std::function<void(const LogLine&)> log;
  // How long close() and the destructor wait for what is under way, unless close() is told otherwise.
  std::chrono::milliseconds drain = std::chrono::seconds(5);
  // False: nothing is taken up before Runtime::begin(), and calls are refused, so that all definitions are
  // there when the first is needed. A start that was left without a version has the highest of them.
  bool begin_at_once = true;
  // Of a store that several processes can open: so long after one was killed, or can't reach the store any more,
  // another one takes over what it had. At least 100 ms.
  std::chrono::milliseconds lease = std::chrono::seconds(10);
  // Of such a store: what wakes the others, redis://… after use_redis_hints(); see pawl/redis.h. Empty: PostgreSQL
  // itself, by NOTIFY. A server that is away costs time and nothing else.
  std::string redis;
  // Of such a store, where this call makes it: into how many parts its executions are spread, 1 to 1,024. So many
  // workers get work at most, and each commit costs more with more of them. One that is there keeps those it has.
  int partitions = 16;
};

struct StartRequest {
  std::string workflow;
  std::string tenant;
  Payload input;
  std::string version;       // empty: the highest registered
  std::string execution_id;  // empty: a new UUIDv7
  std::string user_id;
  std::string correlation_id;
  // Empty: none. The same again, for the same tenant and workflow, is the same execution; so it can't
  // be given beside an execution id, which does that too.
  std::string idempotency_key;
  // The code runs first at that time; until then the execution is there, with the condition
  // "scheduled", takes events, and can be cancelled and terminated. Past or absent: at once.
  std::optional<Timestamp> start_at;
  // At that time the execution is cancelled, with the reason "deadline", unless it has ended. Later
  // than start_at.
  std::optional<Timestamp> deadline;
};

struct EventRequest {
  std::string tenant;
  std::string execution_id;
  std::string name;
  Payload payload;
  std::string user_id;
  std::string idempotency_key;  // empty: none
  // Of submit_event: after that the answer is `timeout`, with the event's id as its subject. The event is
  // taken all the same, unless the process ends before it is durable: to know, ask again under the same
  // idempotency key. None: as long as it takes.
  std::optional<DurationMs> wait_max;
};

struct EventReply {
  std::string execution_id;
  std::string event_id;
  std::string current_state;
  std::string status;  // "running", "completed" …
  bool is_complete = false;
  bool consumed = false;  // a wait took it
};

struct EnqueueReply {
  std::string event_id;
  std::string processing_id;
};

// What an operator does to an execution. Both texts go into its history.
struct ControlRequest {
  std::string tenant;
  std::string execution_id;
  std::string by;      // who asks; empty: not said
  std::string reason;  // for people; the code sees that of a cancellation
};

// A new execution that begins as another one was at a point of its history.
struct ForkRequest {
  std::string tenant;
  std::string execution_id;                 // of the other one
  std::optional<std::int64_t> at_sequence;  // within an activation: its start. None: as it is now
  std::string fork_id;                      // of the new one; empty: a new UUIDv7
  std::string by;
  std::string reason;
};

// How this process stands, for whoever probes it.
struct Health {
  // "ok"; "degraded": all is done, and something costs time; "down": nothing is done here just now, see `troubles`.
  std::string status;
  std::vector<std::string> troubles;  // for people, the worst first; no password is in them
  bool works = false;                 // it takes up executions: it has begun, see Runtime::begin()
  int partitions = 0;                 // of the store; 1 in a file
  int partitions_owned = 0;           // of them, whose executions are run here
  // Since a store in PostgreSQL answered last. Where that is longer than the lease, it is down.
  std::chrono::milliseconds store_silent_for{0};
  std::uint64_t calls_waiting = 0;      // for their answers
  std::uint64_t commits_waiting = 0;    // to be durable
  std::uint64_t actions_in_flight = 0;  // attempts handed out and not ended
  std::uint64_t actions_waiting = 0;    // attempts that wait for a place or for a limit
};

struct ControlReply {
  std::string execution_id;
  std::string status;  // from now on
  std::string current_state;
};

struct ExecutionState {
  std::string execution_id;
  std::string tenant;
  std::string workflow;
  std::string version;  // empty: to be chosen when its code is there, and runs first
  std::string status;
  std::string condition;  // "", "waiting", "no_worker", "no_action", "scheduled"
  std::string condition_detail;
  std::string current_state;
  Payload data;                  // a JSON object: the keys of data
  Payload result;                // none until completed
  std::optional<Failure> error;  // of a failed or stuck one
  bool is_complete = false;
  std::int64_t sequence = 0;  // of the record up to which this holds
  std::string user_id;
  std::string correlation_id;
  Timestamp created_at = 0;
  Timestamp updated_at = 0;
};

struct HistoryRecord {
  std::int64_t sequence = 0;
  std::string type;  // "ExecutionStarted", "EventReceived" …
  Timestamp at = 0;
  std::int64_t cause = 0;
  Position position = 0;
  bool ends_activation = false;
  std::string name;
  Payload payload;
  std::string attributes_json;  // an object, or empty
  std::string site;             // of a command: where its code stands, where that is known
};

struct ListQuery {
  std::string tenant;
  std::string workflow;  // empty: any
  std::string status;    // empty: any
  std::string cursor;    // as given with the last page; empty: from the newest
  int limit = 100;       // 1 to 1,000
};

struct ListPage {
  std::vector<ExecutionState> executions;  // without data
  std::string cursor;                      // empty: that was the last page
};

// What was sent to an execution, and could not be delivered: it had ended, it is not there, it ended one worker after
// the other. Its row keeps it until somebody retries or drops it.
struct DeadLetter {
  std::string id;  // of its row; of an event that was enqueued, its processing id
  std::string tenant;
  std::string execution_id;
  // What it is: "event"; "start" and "child_ended" of children; "completion" of an action; "cancel", "terminate",
  // "pause", "resume", "try_again", "retry" of operators and parents.
  std::string kind;
  std::string event_id;
  std::string name;  // of the event, or of the workflow that was to be started
  Payload payload;
  std::string user_id;
  std::string idempotency_key;
  int attempts = 0;   // how often it was retried
  std::string error;  // why it was not delivered, the last time
  Timestamp accepted_at = 0;
};

struct DeadLetterQuery {
  std::string tenant;
  std::string execution_id;  // empty: any
  std::string cursor;        // as given with the last page; empty: from the oldest
  int limit = 100;           // 1 to 1,000; a page has fewer where payloads are large (8 MiB)
};

struct DeadLetterPage {
  std::vector<DeadLetter> letters;  // the oldest first
  std::string cursor;               // empty: that was the last page
};

struct DeadLetterRequest {
  std::string tenant;
  std::string id;
};

// An action to run outside of any workflow.
struct ExecuteActionRequest {
  std::string tenant;
  std::string execution_id;  // noted with the result; need not exist
  std::string event_id;
  std::string idempotency_key;  // required: the same again gives the recorded outcome
  std::string name;
  Payload parameters;
};

// An action that ends elsewhere than in its handler.
struct CompleteActionRequest {
  std::string token;
  std::variant<Payload, Failure> outcome;  // a failure is not followed by another attempt
};

struct WorkflowDescription {
  std::string name;
  std::string version = "1.0.0";
  std::string description;
  std::string author;
  std::vector<std::string> tags;
};

struct ActionDescription {
  std::string name;
  std::string description;
  ActionOptions options;  // the defaults of its calls
  // What is wrong with parameters, if anything is: asked before an action outside of workflows is
  // begun, so that what does not fit leaves nothing behind. Absent: all is well until the handler looks.
  // Called on any thread.
  std::function<std::optional<Failure>(const Payload& parameters)> check = {};
};

template <class T>
using Callback = std::function<void(Result<T>)>;

class Runtime {
 public:
  // Opens the store (and creates it where there is none), and takes up what was under way as its
  // workflows and actions get registered.
  // Errors: invalid_argument, store_in_use, store_invalid, store_unavailable.
  static Result<std::unique_ptr<Runtime>> open(RuntimeOptions options);

  // Closes if close() was not called.
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  // The host runs activations of that workflow from now on. It must outlive close().
  // Errors: invalid_argument; already_exists without `replace`.
  Result<void> register_workflow(WorkflowDescription description, WorkflowHost& host,
                                 bool replace = false);
  // Names that meet (lower-cased, without '_' and '-') are one name.
  // Errors: invalid_argument; already_exists without `replace`.
  Result<void> register_action(ActionDescription description, ActionHost& host,
                               bool replace = false);

  // Takes up what was under way, and calls from now on. Again: no effect. See
  // RuntimeOptions::begin_at_once.
  void begin();

  // The store's own database, where the tables of users stand beside Pawl's (whose names begin with
  // workflow_, and which can only be read): writes of an action and its outcome are one commit there. In PostgreSQL
  // nothing keeps SQL from writing to Pawl's; parameters, types and conflicts there are as pawl/postgres.h says,
  // and a transaction that is silent for 5 s, or half of the lease where that is longer, is ended by the server.
  std::shared_ptr<Database> database() const;

  // Reports the execution id once the start is durable.
  // Errors: invalid_argument, unknown_workflow, already_exists (same id or idempotency key, other
  // input), payload_too_large.
  void start_workflow(StartRequest request, Callback<std::string> done);
  // Reports when the activation that delivers the event is durable, or when it is durable that the
  // event waits for its turn (consumed = false).
  // Errors: invalid_argument, unknown_execution, execution_ended, payload_too_large, overloaded.
  void submit_event(EventRequest request, Callback<EventReply> done);
  // Reports as soon as the event is durable. Errors as above.
  void enqueue_event(EventRequest request, Callback<EnqueueReply> done);
  // Reports the state of the execution once it has ended.
  // Errors: unknown_execution, timeout (after `wait_max`), closed.
  void wait_for_completion(std::string tenant, std::string execution_id,
                           std::optional<DurationMs> wait_max, Callback<ExecutionState> done);
  // Reports as soon as the wish is durable. The code is told when its turn comes (a paused or stuck
  // execution's: when it goes on): all that it waits for rejects with CancelledError, actions under
  // way are told to stop, and what it begins afterwards works as ever. If it ends by that error the
  // status is `cancelled`; if it returns, `completed`. Again: no effect.
  // Errors of all four: invalid_argument, unknown_execution, execution_ended.
  void cancel_workflow(ControlRequest request, Callback<ControlReply> done);
  // Ends it at once, as `terminated`; its code is not told, and runs no clean-up.
  void terminate_workflow(ControlRequest request, Callback<ControlReply> done);
  // From now on no code of it runs and no action begins. Actions under way end and are recorded,
  // events wait in the inbox, timers fire when it is resumed. Errors: also wrong_status (stuck).
  void pause_workflow(ControlRequest request, Callback<ControlReply> done);
  void resume_workflow(ControlRequest request, Callback<ControlReply> done);
  // A failed execution goes on from before the activation in which it failed: an action whose failure
  // woke it runs again, under a key of its own, and everything else that woke it is delivered once
  // more. For what was mended outside (an account, a service) or, with `replace`, in the code.
  // Errors: wrong_status where it has not failed; unknown_workflow.
  void retry_workflow(ControlRequest request, Callback<ControlReply> done);
  // Reports the id of the new execution. It has the other's history up to that point, its version,
  // input, user and correlation id, and goes on from there by itself: actions that were under way
  // run again under keys of its own, timers keep their times. The other one is not touched. The same
  // fork again, under the same id, is the same execution.
  // Errors: invalid_argument, unknown_execution, wrong_status (the point is its end), already_exists.
  void fork_workflow(ForkRequest request, Callback<std::string> done);
  // Reports the recorded result. Errors: unknown_action, validation, payload_too_large, of which nothing
  // is recorded where the action's check finds them, so that the call can be mended and made again under
  // its key; action_failed with the failure as JSON in `subject`; already_exists (same key, other
  // parameters).
  void execute_action(ExecuteActionRequest request, Callback<Payload> done);

  // Reports the execution once the outcome is durable. The first outcome of an action counts: an attempt that
  // is under way is called off.
  // Errors: invalid_argument (no such token), unknown_execution, execution_ended, wrong_status (the action
  // has an outcome already, or its execution is stuck), payload_too_large.
  void complete_action(CompleteActionRequest request, Callback<ControlReply> done);

  // Read from the store alone; need no code. `at_sequence`: a point inside an activation is rounded
  // down to its start. Errors: unknown_execution, invalid_argument.
  void get_execution_state(std::string tenant, std::string execution_id,
                           std::optional<std::int64_t> at_sequence, Callback<ExecutionState> done);
  void get_history(std::string tenant, std::string execution_id,
                   Callback<std::vector<HistoryRecord>> done);
  void list_executions(ListQuery query, Callback<ListPage> done);

  // Reports the lock once it is held. Those who wait in this process get it in the order in which they came; between
  // processes there is none. What is given up is answered at once with lock_timeout, and has no effect where it was
  // answered before. Errors: invalid_argument, lock_timeout, overloaded (kLocksMax), closed.
  LockWait acquire_lock(LockRequest request, Callback<Lock> done);
  void give_up_lock(LockWait wait);

  // Errors: invalid_argument.
  void list_dead_letters(DeadLetterQuery query, Callback<DeadLetterPage> done);
  // Puts it back into the inbox, as if it had never been tried: whoever owns its execution takes it up again, and what
  // becomes of it is in its row. Reports it as it was, with one attempt more. Errors: invalid_argument (there is no
  // such row in the tenant); wrong_status (it was delivered, waits to be, was dropped, or was sent once more under its
  // idempotency key).
  void retry_dead_letter(DeadLetterRequest request, Callback<DeadLetter> done);
  // It is listed no more, and its payload is gone. The row stays: what comes under its idempotency key is answered as
  // before. Reports it as it was. Errors: as above.
  void drop_dead_letter(DeadLetterRequest request, Callback<DeadLetter> done);

  // Copies the store to a new file while the engine goes on: whole, as of one moment between the call
  // and its report, synced, and a store like any other. Whoever opens it takes up what was under way
  // then, with the idempotency keys that the actions had.
  // Errors: invalid_argument; already_exists where there is such a file; store_unavailable (no such
  // folder, the disk is full); overloaded; closed, also where it is closed meanwhile.
  void backup(std::string path, Callback<BackupReport> done);
  // See check_store(), which does the same without an engine. Errors: as there; overloaded; closed.
  void check_integrity(IntegrityOptions options, Callback<IntegrityReport> done);

  // Any thread, at any time; waits for nobody.
  Health health() const;

  // What the engine holds right now; for tests and benchmarks.
  struct Counters {
    std::uint64_t commits = 0;         // transitions made durable
    std::uint64_t commit_batches = 0;  // transactions
    std::uint64_t activations = 0;
    std::uint64_t replays = 0;  // executions rebuilt from their history
    std::uint64_t actions_started = 0;
    std::uint64_t actions_in_flight = 0;  // attempts handed out and not ended
    std::uint64_t actions_waiting = 0;    // attempts that wait for a place or for a limit
    std::uint64_t executions_cached = 0;
    std::uint64_t state_records_read = 0;  // of histories, to tell states and to make snapshots
    std::uint64_t snapshots_made = 0;
  };
  Counters counters() const;

  // Takes no more calls (they get `closed`), begins no attempt of an action, fires no timer; waits until
  // the attempts under way have ended and their outcomes are recorded, activations under way are
  // committed, and what was asked before is answered. That takes `drain` at most (none: as
  // RuntimeOptions says; 0: nothing is waited for). Then the threads are stopped: what runs all the same
  // is abandoned, and runs again after the next open, under its key. wait_for_completion,
  // execute_action between two attempts, and backups and checks of the store are answered with `closed`.
  //
  // Called again while it drains, by another thread, it waits too; the shorter time counts. Idempotent.
  void close(std::optional<std::chrono::milliseconds> drain = std::nullopt);
  // The beginning of that, without its waiting: when this returns, no call is taken and nothing begins
  // any more. For a thread that must not wait; close() is to follow, on another one.
  void begin_close(std::optional<std::chrono::milliseconds> drain = std::nullopt);

 private:
  class Impl;
  explicit Runtime(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace pawl
