#pragma once

// The engine as a C++ program uses it: typed workflows and actions, calls that wait for their answer.
//
//   auto runtime = pawl::WorkflowRuntime::open({.store = "sqlite:orders.db"}).value();
//   runtime.register_workflow("Checkout", &checkout).value();
//   runtime.register_action<ChargeCard>([](ChargeCard::Parameters p, const pawl::ActionContext& c) {
//     return ChargeCard::Result{bank.charge(p.order_id, c.idempotency_key)};
//   }).value();
//
//   std::string id = runtime.start_workflow("Checkout", order, {.tenant = "acme"}).value();
//   runtime.submit_event(id, "Approve", Approval{"ann"}, {.tenant = "acme"}).value();
//   auto done = runtime.wait_for_workflow_completion<Receipt>(id, {.tenant = "acme"});
//
// Every member may be called from any thread, but for two places, where waiting would wait for itself:
// workflow code (answered with invalid_argument) and the log callback. What a call reports as done is
// durable by then. Errors are as on pawl::Runtime, which this stands on.

#include <chrono>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <pawl/action.h>
#include <pawl/action_metadata.h>
#include <pawl/database_action.h>
#include <pawl/error.h>
#include <pawl/json.h>
#include <pawl/runtime.h>
#include <pawl/workflow.h>

namespace pawl {

struct WorkflowRuntimeOptions {
  std::string store = "sqlite:pawl.db";  // sqlite:FILE; postgresql://… after use_postgres_stores()
  std::size_t action_threads = 8;        // attempts of C++ actions that run at once; more wait
  // Threads put in place of those whose handlers go on though their attempts were given up (they ran
  // out of time, or their executions ended). Where there are that many, a line in the log says so, and
  // attempts wait until one of those handlers returns.
  std::size_t abandoned_threads_max = 64;
  Limits limits = {};
  // Where log lines of workflows, of actions and of the engine go: one at a time, on threads of the engine.
  // Absent: standard error.
  std::function<void(const LogLine&)> log = {};
  // How long close() and the destructor wait for what is under way, unless close() is told otherwise.
  std::chrono::milliseconds drain = std::chrono::seconds(5);
  // False: nothing is taken up before begin(), and calls are refused, so that all workflows are there when
  // the first is needed. A start that was left without a version has the highest of them.
  bool begin_at_once = true;
  // Of a store that several processes can open: so long after one was killed, or can't reach the store any more,
  // another one takes over what it had. At least 100 ms.
  std::chrono::milliseconds lease = std::chrono::seconds(10);
  // Of such a store: what wakes the others, redis://… after use_redis_hints(); see pawl/redis.h. Empty: PostgreSQL
  // itself, by NOTIFY. A server that is away costs time and nothing else.
  std::string redis = {};
  // Of such a store, where this call makes it: into how many parts its executions are spread, 1 to 1,024. So many
  // workers get work at most, and each commit costs more with more of them. One that is there keeps those it has.
  int partitions = 16;
};

struct StartOptions {
  std::string tenant;
  std::string execution_id = {};  // empty: a new UUIDv7
  std::string version = {};       // empty: the highest registered
  std::string user_id = {};
  std::string correlation_id = {};
  // The same again, for the same tenant and workflow: the same execution, whose id is made of it. With
  // another input: already_exists. Give it or execution_id, which does the same under a name of yours.
  std::string idempotency_key = {};
  // The workflow runs first at that time. Until then the execution exists with the condition
  // "scheduled": it takes events, and can be cancelled or terminated. Past or absent: at once.
  std::optional<std::chrono::sys_time<std::chrono::milliseconds>> start_at = std::nullopt;
  // When the execution is cancelled, with the reason "deadline", unless it has ended. After start_at.
  std::optional<std::chrono::sys_time<std::chrono::milliseconds>> deadline = std::nullopt;
};

struct EventOptions {
  std::string tenant;
  std::string user_id = {};
  std::string idempotency_key = {};  // the same again: the first answer, and no second effect
  // Of submit_event: after that it gives the error `timeout`, with the event's id as its subject. The
  // event is taken all the same, unless the process ends before it is durable: to know, ask again under
  // the same idempotency key. None: as long as it takes.
  std::optional<std::chrono::milliseconds> wait_max = std::nullopt;
};

struct StateOptions {
  std::string tenant;
  // The state as it was after that record of the history. Inside of an activation: at its start.
  std::optional<std::int64_t> at_sequence = std::nullopt;
};

struct WaitOptions {
  std::string tenant;
  std::optional<std::chrono::milliseconds> wait_max = std::nullopt;  // none: as long as it takes
};

struct ExecuteOptions {
  std::string tenant;
  std::string idempotency_key;    // the same again: the recorded result
  std::string execution_id = {};  // noted with the result; need not exist
  std::string event_id = {};
};

struct ForkOptions {
  std::string tenant;
  // The point of the other one's history; within an activation: its start. None: as it is now.
  std::optional<std::int64_t> at_sequence = std::nullopt;
  std::string execution_id = {};  // of the fork; empty: a new UUIDv7
  std::string reason = {};        // both go into the history
  std::string by = {};
};

struct ControlOptions {
  std::string tenant;
  std::string reason = {};  // goes into the history; a cancelled workflow sees it
  std::string by = {};      // who asks; goes into the history
};

struct LockOptions {
  std::string tenant;
  std::chrono::milliseconds ttl = std::chrono::seconds(30);  // as LockRequest::ttl
  std::chrono::milliseconds wait = std::chrono::minutes(1);  // as LockRequest::wait
  std::stop_token stop = {};                                 // gives the wait up
};

// How an execution ended.
template <class T>
struct Completion {
  std::string status;            // "completed", "failed" …
  std::optional<T> result;       // of a completed one
  std::optional<Failure> error;  // of a failed one
  ExecutionState state;
};

namespace detail {
class BuiltinRegistration;  // see builtin_actions.h
}  // namespace detail

class WorkflowRuntime {
 public:
  // Opens the store, and creates it where there is none. What was under way goes on as its workflows
  // and actions get registered. Errors: invalid_argument, store_in_use, store_invalid,
  // store_unavailable.
  static Result<WorkflowRuntime> open(WorkflowRuntimeOptions options);

  WorkflowRuntime(WorkflowRuntime&&) noexcept;
  WorkflowRuntime& operator=(WorkflowRuntime&&) noexcept;
  // Closes; where that is forbidden, the process ends with the message of close().
  ~WorkflowRuntime();

  // A function pawl::Workflow<T>(pawl::Context&, Input), or an object with such a const operator().
  // The same function again is no error and changes nothing.
  // Errors: invalid_argument; already_exists for another one of that name and version, without
  // `replace`.
  template <class F>
  Result<void> register_workflow(WorkflowDescription description, F function,
                                 bool replace = false) {
    const void* identity = nullptr;
    if constexpr (std::is_pointer_v<F>) identity = reinterpret_cast<const void*>(function);
    return add_workflow(std::move(description), detail::make_workflow_function(std::move(function)),
                        identity, replace);
  }
  template <class F>
  Result<void> register_workflow(std::string name, F function, bool replace = false) {
    WorkflowDescription description;
    description.name = std::move(name);
    return register_workflow(std::move(description), std::move(function), replace);
  }

  // The handler is called with (A::Parameters, const ActionContext&) or (A::Parameters), from several
  // threads at once, and returns A::Result, pawl::Result<A::Result, Failure> or pawl::Result<A::Result>;
  // or throws. It runs at least once: after a crash perhaps again, under the same idempotency key.
  // Errors: invalid_argument; already_exists where the name meets another's, without `replace`.
  template <class A, class F>
  Result<void> register_action(F handler, RunOptions defaults = {}, bool replace = false) {
    ActionDescription description;
    description.name = std::string(action_name<A>());
    description.options = action_options(defaults);
    description.check = detail::misfit_of<A>;
    return add_action(std::move(description), detail::metadata_of<A>(),
                      detail::make_action_handler<A>(std::move(handler)), replace);
  }

  // What became of an action whose handler called complete_later(), or has not returned yet: the first outcome
  // counts. Errors: see Runtime::complete_action.
  template <class T>
  Result<ControlReply> complete_action(std::string_view token, const T& result) {
    Result<Payload> payload = to_payload(result);
    if (!payload) return std::move(payload).error();
    return complete(token, std::move(*payload));
  }
  Result<ControlReply> complete_action(std::string_view token) {
    return complete(token, Payload{});
  }
  Result<ControlReply> fail_action(std::string_view token, Failure failure) {
    return complete(token, std::move(failure));
  }

  // A handler that writes to a database: it is called with (A::Parameters, Transaction&, const
  // ActionContext&) or (A::Parameters, Transaction&), and returns or throws as others do. What it writes
  // through the transaction and its result are one commit; a failure writes nothing. So it is done once,
  // although the handler may be called again. Where the database is not given it is the store's own;
  // pawl/postgres.h opens one in PostgreSQL. Errors: as register_action.
  template <class A, class F>
  Result<void> register_database_action(F handler, DatabaseActionOptions options = {},
                                        bool replace = false) {
    ActionDescription description;
    description.name = std::string(action_name<A>());
    description.options = action_options(options.run);
    description.check = detail::misfit_of<A>;
    if (options.database == nullptr) options.database = database();
    ActionMetadata metadata = detail::metadata_of<A>();
    metadata.isolation = options.isolation;
    return add_action(std::move(description), std::move(metadata),
                      detail::make_database_handler<A>(
                          std::move(handler), std::move(options.database), options.isolation),
                      replace);
  }

  // What is known of the action of that name, in any casing; nothing where none is registered.
  std::optional<ActionMetadata> action_metadata(std::string_view name) const;
  // Of all that are registered, or of those with exactly that category; by name.
  std::vector<ActionMetadata> actions(
      std::optional<std::string_view> category = std::nullopt) const;

  // What another attempt is worth after a failure of a handler in C++, by those who know better: none where it
  // has nothing to say of it. Those registered later are asked first, all of them before what the failure says
  // itself (Failure::failure_class), from several threads at once. One that throws has said nothing.
  void register_failure_classifier(FailureClassifier classifier);

  // The store's own database, where the tables of users stand beside Pawl's (whose names begin with
  // workflow_, and which can only be read).
  std::shared_ptr<Database> database() const;

  // Takes up what was under way, and calls from now on. Again: no effect. See
  // WorkflowRuntimeOptions::begin_at_once.
  void begin();

  // Gives the id of the execution.
  // Errors: invalid_argument, unknown_workflow, already_exists (that id, other input),
  // payload_refused, payload_too_large, overloaded.
  template <class T>
  Result<std::string> start_workflow(std::string_view workflow, const T& input,
                                     const StartOptions& options) {
    return with_payload(
        input, [&](Payload payload) { return start(workflow, std::move(payload), options); });
  }
  Result<std::string> start_workflow(std::string_view workflow, const StartOptions& options) {
    return start(workflow, Payload{}, options);
  }

  // Answers when the execution has taken the event and run up to its next wait, or when it is durable
  // that the event waits for its turn (consumed = false).
  // Errors: invalid_argument, unknown_execution, execution_ended, payload_refused, payload_too_large,
  // overloaded, timeout.
  template <class T>
  Result<EventReply> submit_event(std::string_view execution_id, std::string_view event_name,
                                  const T& payload, const EventOptions& options) {
    return with_payload(payload, [&](Payload bytes) {
      return submit(execution_id, event_name, std::move(bytes), options);
    });
  }
  Result<EventReply> submit_event(std::string_view execution_id, std::string_view event_name,
                                  const EventOptions& options) {
    return submit(execution_id, event_name, Payload{}, options);
  }
  // Answers as soon as the event is durable.
  template <class T>
  Result<EnqueueReply> enqueue_event(std::string_view execution_id, std::string_view event_name,
                                     const T& payload, const EventOptions& options) {
    return with_payload(payload, [&](Payload bytes) {
      return enqueue(execution_id, event_name, std::move(bytes), options);
    });
  }
  Result<EnqueueReply> enqueue_event(std::string_view execution_id, std::string_view event_name,
                                     const EventOptions& options) {
    return enqueue(execution_id, event_name, Payload{}, options);
  }

  // Errors: unknown_execution, timeout (after wait_max), closed; validation where the result is not a T.
  template <class T = Json>
  Result<Completion<T>> wait_for_workflow_completion(std::string_view execution_id,
                                                     const WaitOptions& options) {
    Result<ExecutionState> state = wait(execution_id, options);
    if (!state) return std::move(state).error();
    Completion<T> completion;
    if (state->status == "completed") {
      Result<T> result = from_payload<T>(state->result);
      if (!result) return std::move(result).error();
      completion.result = std::move(*result);
    }
    completion.status = state->status;
    completion.error = state->error;
    completion.state = std::move(*state);
    return completion;
  }

  // Asks the execution to end. Answers as soon as that is durable. All that its code waits for then
  // throws Cancelled, actions under way are asked to stop; what the code begins afterwards works as
  // ever, so that it can clean up. A paused or stuck one is told when it goes on. Again: no effect.
  // Errors of all four: invalid_argument, unknown_execution, execution_ended.
  Result<ControlReply> cancel_workflow(std::string_view execution_id,
                                       const ControlOptions& options);
  // Ends it at once, as "terminated"; its code is not told.
  Result<ControlReply> terminate_workflow(std::string_view execution_id,
                                          const ControlOptions& options);
  // From now on none of its code runs and no action begins. Actions under way end and are recorded,
  // events wait, timers fire when it is resumed. Errors: also wrong_status, where it is stuck.
  Result<ControlReply> pause_workflow(std::string_view execution_id, const ControlOptions& options);
  Result<ControlReply> resume_workflow(std::string_view execution_id,
                                       const ControlOptions& options);

  // A failed execution goes on from before the activation in which it failed: an action whose failure
  // woke it runs again, under a key of its own; everything else that woke it is delivered once more.
  // Errors: invalid_argument, unknown_execution, wrong_status (it has not failed), unknown_workflow.
  Result<ControlReply> retry_workflow(std::string_view execution_id, const ControlOptions& options);

  // Gives the id of a new execution that begins as this one was at a point of its history, and goes
  // on from there. Actions that were under way at that point run again, under keys of their own.
  // Errors: invalid_argument, unknown_execution, wrong_status (that point is its end),
  // already_exists.
  Result<std::string> fork_workflow(std::string_view execution_id, const ForkOptions& options);

  // Runs an action outside of any workflow, once per idempotency key. Parameters that its handler's
  // type does not take are refused before anything is recorded: mend them, and call again under that key.
  // Errors: validation; action_failed; already_exists (that key, other parameters); unknown_action.
  template <class A>
  Result<ActionResult<A>> execute_action(const typename A::Parameters& parameters,
                                         const ExecuteOptions& options) {
    assert_action_type<A>();
    Result<Payload> payload = to_payload(parameters);
    if (!payload) return std::move(payload).error();
    Result<Payload> result = execute(action_name<A>(), std::move(*payload), options);
    if (!result) return std::move(result).error();
    if constexpr (std::is_void_v<ActionResult<A>>) {
      return {};
    } else {
      return from_payload<ActionResult<A>>(*result);
    }
  }

  // Read from the store alone; they need no code. Errors: unknown_execution, invalid_argument.
  Result<ExecutionState> get_execution_state(std::string_view execution_id,
                                             const StateOptions& options);
  Result<std::vector<HistoryRecord>> get_history(std::string_view execution_id,
                                                 std::string_view tenant);
  Result<ListPage> list_executions(const ListQuery& query);

  // Waits for a lock of the tenant's; see pawl/lock.h. In a handler, hand on its stop token.
  // Errors: lock_timeout, overloaded, closed, invalid_argument.
  Result<Lock> lock(std::string_view key, const LockOptions& options);

  // What could not be delivered; see Runtime::list_dead_letters, retry_dead_letter, drop_dead_letter.
  Result<DeadLetterPage> list_dead_letters(const DeadLetterQuery& query);
  Result<DeadLetter> retry_dead_letter(std::string_view id, std::string_view tenant);
  Result<DeadLetter> drop_dead_letter(std::string_view id, std::string_view tenant);

  // Copies the store to a new file while all goes on; see Runtime::backup.
  Result<BackupReport> backup(std::string path);
  // Whether what lies in the store fits together; see check_store().
  Result<IntegrityReport> check_integrity(const IntegrityOptions& options = {});

  // How this process stands; see Runtime::health. Any thread.
  Health health() const;

  // The engine beneath, for calls that don't wait.
  Runtime& engine();

  // Takes no more calls (they get `closed`), begins no attempt of an action, and waits until the handlers
  // under way have returned and what they gave is recorded, and until what was asked before is answered:
  // for `drain` at most (none: WorkflowRuntimeOptions::drain; 0: not at all). Handlers that still run then
  // are asked to stop, and their attempts run again after the next open, under their keys. See
  // Runtime::close.
  //
  // It returns when the last handler has, also one that ignores its stop token: handlers use what the
  // program takes down next. A program that can't wait for such a one ends with std::_Exit; nothing is
  // lost by it. Idempotent; called again meanwhile, it waits too, and the shorter time counts.
  //
  // A handler, workflow code and the log callback must not call it: it would wait for them. In the first
  // two it throws std::logic_error, and nothing is closed.
  void close(std::optional<std::chrono::milliseconds> drain = std::nullopt);

 private:
  friend class detail::BuiltinRegistration;
  struct Impl;
  explicit WorkflowRuntime(std::unique_ptr<Impl> impl);

  template <class T, class F>
  auto with_payload(const T& value, F call) -> decltype(call(Payload{})) {
    Result<Payload> payload = to_payload(value);
    if (!payload) return std::move(payload).error();
    return call(std::move(*payload));
  }
  Result<void> add_workflow(WorkflowDescription description, detail::WorkflowFunction function,
                            const void* identity, bool replace);
  Result<void> add_action(ActionDescription description, ActionMetadata metadata,
                          detail::ActionHandler handler, bool replace);
  Result<std::string> start(std::string_view workflow, Payload input, const StartOptions& options);
  Result<EventReply> submit(std::string_view execution_id, std::string_view event_name,
                            Payload payload, const EventOptions& options);
  Result<EnqueueReply> enqueue(std::string_view execution_id, std::string_view event_name,
                               Payload payload, const EventOptions& options);
  Result<ExecutionState> wait(std::string_view execution_id, const WaitOptions& options);
  Result<ControlReply> complete(std::string_view token, std::variant<Payload, Failure> outcome);
  Result<Payload> execute(std::string_view action, Payload parameters,
                          const ExecuteOptions& options);

  std::unique_ptr<Impl> impl_;
};

}  // namespace pawl
