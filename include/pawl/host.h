#pragma once

// The border between the engine and the code of a workflow, in values only. The engine hands a host
// one activation at a time; the host lets the workflow's code run until it has nothing more to do,
// and hands back the commands that the code gave. The C++ coroutine host and the Node.js host both
// stand behind it; so can a host for another language.
//
//   activation   what happened, handed to workflow code at once: start, event, action finished,
//                timer fired
//   job          one such happening
//   command      what workflow code asks for: run an action, wait, set state, complete …
//   position     the number of an awaitable of one execution (wait, timer, action): 1, 2, 3 … in
//                the order in which the code created them, across all kinds. Given by the host.
//                Commands without a future result (state, data, emit, log) have none.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <pawl/error.h>
#include <pawl/payload.h>
#include <pawl/time.h>

namespace pawl {

// The store's own number of an execution, unique in the store, never reused.
using ExecutionRef = std::int64_t;

using Position = std::int32_t;

// An event as workflow code sees it.
struct ReceivedEvent {
  std::string id;
  std::string name;
  Payload payload;
  std::string user_id;        // empty: none was given
  Timestamp timestamp = 0;    // when it was accepted
  std::int64_t sequence = 0;  // of its EventReceived record
};

// The first job of an execution, alone in its activation. There is another one where the code went on
// as new: it begins over, with nothing of what was before but the positions, which go on.
struct StartJob {
  std::string tenant;
  std::string execution_id;
  std::string workflow;
  std::string version;
  std::string user_id;         // empty: none
  std::string correlation_id;  // empty: none
  Payload input;
  std::uint64_t seed = 0;       // for random() and uuid(): the same on every replay
  Position first_position = 1;  // of the first awaitable that the code creates
};

// The wait at `position` got its event.
struct EventJob {
  Position position = 0;
  ReceivedEvent event;
};

// The wait at `position` ran out of time. It exists no longer.
struct WaitTimedOutJob {
  Position position = 0;
};

// The sleep at `position` is over.
struct TimerJob {
  Position position = 0;
};

struct ActionJob {
  Position position = 0;
  std::variant<Payload, Failure> outcome;
};

// The child execution at `position` has ended. A failure is a ChildFailedError whose cause is what the
// child ended with.
struct ChildJob {
  Position position = 0;
  std::variant<Payload, Failure> outcome;
};

// The execution is asked to end: everything that is open is so no longer, and rejects, in order of
// creation. Once at most. What the code begins afterwards works as ever, so that it can clean up.
struct CancelJob {
  std::string reason;
  // What awaits a child rejects, but the child stays open: its ChildJob still comes, and it can be
  // cancelled. False for histories of earlier builds.
  bool keeps_children = false;
};

using Job =
    std::variant<StartJob, EventJob, WaitTimedOutJob, TimerJob, ActionJob, CancelJob, ChildJob>;

// Would the filter of the wait at `position` take that event?
struct EventOffer {
  Position position = 0;
  ReceivedEvent event;
};

struct Activation {
  ExecutionRef execution = 0;
  Timestamp now = 0;  // what context.now() says all through it; never less than the one before
  std::int64_t sequence = 0;  // of the record of its first job
  bool replaying = false;     // it was delivered before: the code's commands are only compared
  // All are applied, in this order, before code runs.
  std::vector<Job> jobs;
  // What the execution goes by from here on; empty: as before. A fork's code sees the id of the execution
  // that it was forked from in what it has of that one's history.
  std::string execution_id;
  // One more with each retry of the execution: ids of children that are made from positions have it.
  int generation = 0;
  // When replaying: the change ids of the PatchedCommands that the code gave in it.
  std::vector<std::string> patches;
  // A question in place of jobs: no code runs but the filters, in this order, up to the first that
  // says yes; the answer is ActivationResult::taken. What was taken is delivered by an EventJob then,
  // which is recorded, so that a replay asks nothing.
  std::vector<EventOffer> offers;
};

struct RetryPolicy {
  int max_attempts = 4;  // in all, with the first
  DurationMs initial_interval = 1'000;
  double backoff = 2.0;
  DurationMs max_interval = 30'000;
  double jitter = 0.2;  // plus or minus this share of the interval
  // Failures whose name or code is listed here are not tried again.
  std::vector<std::string> non_retryable;

  friend bool operator==(const RetryPolicy&, const RetryPolicy&) = default;
};

// So many attempts begin within any stretch of that time, at most. After a restart it is counted anew.
struct RateLimit {
  int max = 1;
  DurationMs per = 1'000;

  friend bool operator==(const RateLimit&, const RateLimit&) = default;
};

// How an action is run: as registered, and, field by field, as overridden by a call.
struct ActionOptions {
  std::optional<RetryPolicy> retry;
  std::optional<DurationMs> timeout;  // of one attempt; the default is 60 s
  // Over all attempts and the pauses between them, from when it was scheduled. Then it has failed.
  std::optional<DurationMs> total_timeout;
  // An attempt that has not told that it is alive (ActionSink::action_heartbeat) for that long is given up.
  std::optional<DurationMs> heartbeat_timeout;
  // Of a registration: how many attempts at it run at once, and how many begin within a time, in this process.
  // Others wait, and keep no other action waiting.
  std::optional<int> concurrency_max;
  std::optional<RateLimit> rate_limit;
  // Of a call: how long it waits for somebody to register its handler. None: for ever.
  std::optional<DurationMs> fail_after;
  // Of a call: in place of the one that is made of execution and position. What has the same key, in
  // whichever execution of the tenant or outside of them, is one action, with one outcome.
  std::string idempotency_key;
  // Of a call: its handler is written in the workflow's code, so that an attempt needs the instance to be
  // live, and as far as the history. The action host of the action kInPlaceAction runs it.
  bool in_place = false;

  friend bool operator==(const ActionOptions&, const ActionOptions&) = default;
};

// Registered by a host that runs handlers which are written in workflow code. No name of a user's.
inline constexpr std::string_view kInPlaceAction = "pawl.run";

enum class LogLevel : std::uint8_t { debug = 0, info = 1, warn = 2, error = 3 };

struct ScheduleActionCommand {
  Position position = 0;
  std::string name;  // as the code wrote it; casing is resolved by the registry
  Payload parameters;
  ActionOptions options;
};

// What becomes of a graph when an action in it has failed for good.
enum class ErrorStrategy : std::uint8_t {
  stop = 0,   // what depends on it does not run, and nothing else begins; what runs ends
  go_on = 1,  // it counts as done ("continue")
  retry = 2,  // it is tried so many times more (`retries`), then as with `stop`
  compensate =
      3,  // as with `stop`; then the compensations of what had succeeded run, the last first
};

// What undoes an action.
struct Compensation {
  std::string name;
  Payload parameters;
  ActionOptions options;
};

struct GraphAction {
  std::string id;  // unique in the graph
  std::string name;
  Payload parameters;
  ActionOptions options;
  // Ids of actions, sync points and groups: it begins when all of them are done.
  std::vector<std::string> depends_on;
  std::string group;       // done when all actions in it are; empty: none
  std::string sync_point;  // the same, and kept visibly in the store; empty: none
  ErrorStrategy on_error = ErrorStrategy::stop;
  int retries = 0;  // with ErrorStrategy::retry: attempts after the first, whatever the failure
  std::vector<Compensation> compensations;  // one after the other
};

// Actions that run as their dependencies let them, without code in between. They have the positions behind
// that of the graph: first the actions, in order, then their compensations. The end comes as an ActionJob
// whose result is an array with what became of each, in order; it is never a failure:
//   {"actionId","actionName","success","result"?,"error"?,"attempts","compensations"?:[{"actionName", …}]}
struct StartGraphCommand {
  Position position = 0;
  std::vector<GraphAction> actions;  // at least one
  int concurrency_max = 10;          // so many run at once
};

// How many positions it takes, with its own.
Position positions_of(const StartGraphCommand& graph);

struct Limits;

// What is wrong with it, if anything is: for hosts, to be told to who asks before anything begins.
std::optional<Error> check_graph(const StartGraphCommand& graph, const Limits& limits);

// Events are offered in order of position. No timeout: for ever. No names: until it is withdrawn.
struct WaitCommand {
  Position position = 0;
  std::vector<std::string> names;
  std::optional<DurationMs> timeout;
  bool filtered = false;  // its events are offered first
};

// The wait, or the timer, at `position` is no longer of interest: it consumes nothing from here on.
struct WithdrawCommand {
  Position position = 0;
};

struct StartTimerCommand {
  Position position = 0;
  DurationMs duration = 0;
};

struct SetStateCommand {
  std::string state;
};

// A payload that is none deletes the key.
struct SetDataCommand {
  std::string key;
  Payload value;
};

// An event to this execution's own inbox, or to that of another one of the same tenant.
struct EmitCommand {
  std::string name;
  Payload payload;
  std::string execution_id;  // empty: this one
};

// What becomes of a child when its parent has ended, was cancelled or goes on as new.
enum class ParentClose : std::uint8_t { cancel = 0, terminate = 1, abandon = 2 };

// Another execution, of the same tenant, whose outcome comes as a ChildJob.
struct StartChildCommand {
  Position position = 0;
  std::string workflow;
  std::string version;  // empty: the highest that is registered where it starts
  std::string execution_id;
  Payload input;
  std::string user_id;         // empty: the parent's
  std::string correlation_id;  // empty: the parent's
  ParentClose parent_close = ParentClose::cancel;
};

// Asks the child at `position` to end. Its outcome still comes.
struct CancelChildCommand {
  Position position = 0;
};

// Written once the activation is durable. Not part of the history.
struct LogCommand {
  LogLevel level = LogLevel::info;
  std::string message;
  Payload details;  // a JSON array, or none
};

// The code asked for the first time whether it is patched, and was told that it is. Once per change id
// and execution, where it asked. Replaying, a host says so only in activations that list the id, and
// in others that the code is not patched, for good until one does; not replaying, it says that it is
// unless it has said the opposite.
struct PatchedCommand {
  std::string change_id;
};

struct CompleteCommand {
  Payload result;
};

struct FailCommand {
  Failure failure;
};

// The execution goes on under its id with a new run of its code: nothing of what is open remains but
// the events that nobody took.
struct ContinueAsNewCommand {
  Payload input;
};

// The code ended by the cancellation that it was told of, and by nothing else.
struct CancelCommand {
  Failure failure;
};

using Command =
    std::variant<ScheduleActionCommand, WaitCommand, WithdrawCommand, StartTimerCommand,
                 SetStateCommand, SetDataCommand, EmitCommand, LogCommand, CompleteCommand,
                 FailCommand, CancelCommand, PatchedCommand, StartChildCommand, CancelChildCommand,
                 ContinueAsNewCommand, StartGraphCommand>;

// Where in the source of a workflow something was asked for: "approval.cc:41:9", the file as far as it is
// below the working directory. For people: nothing depends on it. Empty: not known. The text lives as
// long as the process.
using CallSite = std::string_view;
inline constexpr std::size_t kCallSiteBytesMax = 255;

struct ActivationResult {
  ExecutionRef execution = 0;
  std::int64_t sequence = 0;  // that of the activation
  // In program order. A Complete, Fail, Cancel or ContinueAsNew is the last one.
  std::vector<Command> commands;
  // The code broke the rules in a way that only the host sees: it awaits something foreign, used the
  // context outside of an activation, has no definition any more. The execution is set aside as
  // stuck with this as its report; nothing of the activation is recorded.
  std::optional<std::string> violation;
  std::optional<std::size_t> taken = std::nullopt;  // index of the offer that a filter said yes to
  // The instance is gone, with the process that had it: nothing else here counts. The execution is loaded and its
  // code rebuilt as after a restart.
  bool lost = false;
  // Of the commands, by index; it may end before they do.
  std::vector<CallSite> sites = {};
};

// Where a host reports to. Any thread.
class ActivationSink {
 public:
  virtual ~ActivationSink() = default;
  virtual void activations_completed(std::vector<ActivationResult> results) = 0;
};

// Runs workflow code. Called on one thread only (the shard's). An execution's activations arrive in
// order; a StartJob makes a new instance, replacing any of the same reference. Each activation is
// answered exactly once, in order per execution, from any thread, also from within activate().
class WorkflowHost {
 public:
  virtual ~WorkflowHost() = default;
  virtual void activate(std::vector<Activation> activations,
                        const std::shared_ptr<ActivationSink>& sink) = 0;
  // Forget the instance: drop its closures, destroy its frame. Issues no command.
  virtual void evict(ExecutionRef execution) = 0;
};

// Tells an attempt that was handed out from all others that were, in this process: an attempt that
// is handed out again has another one.
using AttemptId = std::int64_t;

// One attempt of one action.
struct ActionTask {
  AttemptId id = 0;
  std::string tenant;
  std::string execution_id;
  ExecutionRef execution = 0;  // 0 for an action that runs outside of any execution
  Position position = 0;
  std::string name;  // as it was called; meet() it with the registered one
  Payload parameters;
  int attempt = 1;
  // The same on every attempt, across restarts. The caller's own, for an action outside of any
  // execution; else made of the execution, the position and the execution's seed, so that it is no
  // other action's anywhere.
  std::string idempotency_key;
  std::string event_id;  // of the event that led to it; empty: the start
  std::string correlation_id;
  Timestamp scheduled_at = 0;
  DurationMs timeout = 0;            // after this the engine gives up on the attempt
  DurationMs heartbeat_timeout = 0;  // after so much silence, too; 0: it may be silent
  Payload progress;                  // what an attempt before it told last, if that is known
  bool in_place = false;             // its handler is with the instance, under its position
  // What its row in the store is found by beside the others: of a database that keeps an action's outcome
  // together with its writes.
  int generation = 0;             // one more with each retry of its execution
  std::uint64_t seed = 0;         // of its execution
  std::string parameters_digest;  // of one that runs outside of any execution
  // Of a store that several workers share: in which partition the execution is, and in which epoch of that it was
  // handed out.
  int partition = 0;
  std::int64_t epoch = 0;
};

// The first three are those of the task.
struct ActionOutcome {
  AttemptId id = 0;
  ExecutionRef execution = 0;
  Position position = 0;
  std::variant<Payload, Failure> outcome;
  // The handler has done its part, and what becomes of the action is told from elsewhere: `outcome` says
  // nothing. See completion_token().
  bool deferred = false;
};

// What an action is completed by from elsewhere (Runtime::complete_action): who has it can do so. Empty for
// one that runs outside of executions, or under a key of its caller's.
std::string completion_token(const ActionTask& task);

// The handler of an attempt begins. As in the task.
struct ActionBegun {
  AttemptId id = 0;
  ExecutionRef execution = 0;
  Position position = 0;
};

// The handler of an attempt is alive, and so far. As in the task.
struct ActionHeartbeat {
  AttemptId id = 0;
  ExecutionRef execution = 0;
  Position position = 0;
  Payload progress;  // none: as before
};

class ActionSink {
 public:
  virtual ~ActionSink() = default;
  // NOLINTNEXTLINE(performance-unnecessary-value-param): who does something with it keeps it
  virtual void action_heartbeat(ActionHeartbeat /*beat*/) {}
  // Only from a host that says so: ActionHost::reports_begin().
  virtual void action_begun(ActionBegun begun) = 0;
  virtual void actions_finished(std::vector<ActionOutcome> outcomes) = 0;
};

// Runs actions. Called on the shard's thread and must not block. Each task is answered exactly once,
// from any thread.
class ActionHost {
 public:
  virtual ~ActionHost() = default;
  // How many attempts it works on at once; none: as many as there are. It is never handed more than
  // that, so that the time-out of an attempt, which counts from when it is handed over, is not used
  // up by waiting. What it has not answered counts, also what timed out. Read at each registration.
  // A host that lets attempts wait reports their beginning too: the time-out counts from there, and there is
  // always something for it to do next. Who is next among those that it was handed is up to it; before that,
  // tenants take turns.
  virtual std::optional<std::size_t> capacity() const { return std::nullopt; }
  virtual bool reports_begin() const { return false; }
  virtual void run(std::vector<ActionTask> tasks, const std::shared_ptr<ActionSink>& sink) = 0;
  // The engine closes, and hands nothing over any more. Gives back the attempts that have not begun,
  // which must not begin from now on and are not answered; those under way go on, and are.
  virtual std::vector<AttemptId> hold() { return {}; }
  // The attempt is no longer wanted (timed out, or its execution ended): tell the handler. It is
  // still answered; the answer is ignored.
  virtual void abort(AttemptId attempt) = 0;
};

}  // namespace pawl
