#pragma once

// A part of the executions and everything that is decided about them: which code is woken with what,
// what its commands become, when an action is tried again, what a caller is told. It performs no I/O
// and sees no clock but `now`; the same inputs give the same outputs.
//
// Confined to one thread. What others can see is held back until the commit that caused it is
// reported durable.
//
// An execution in the cache:
//
//   Loading --ExecutionLoaded--> Idle --job--> Activating --ActivationCompleted--> Idle
//                                Idle --evicted--> (gone)
//   any     --commit failed--> (gone), and loaded again

#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <variant>
#include <vector>

#include "base/queue.h"
#include "core/catalog.h"
#include "core/execution_fold.h"
#include "core/hint_bus.h"
#include "core/history_reading.h"
#include "core/lent_work.h"
#include "core/ready_queue.h"
#include "core/replay.h"
#include "core/store.h"
#include "core/timer_queue.h"
#include "pawl/error.h"
#include "pawl/host.h"
#include "pawl/runtime.h"

namespace pawl {

// The runtime's number of a client's call; the reply carries it. 0: nobody waits.
using RequestId = std::uint64_t;

// ---- inputs

struct StartRequested {
  RequestId request = 0;
  StartRequest start;      // execution_id is set
  bool generated = false;  // by the runtime, so that it can't exist yet
  std::uint64_t seed = 0;
  InboxId mail = 0;    // where it came by mail
  std::string parent;  // execution id; empty: nobody waits for its outcome
  Position parent_position = 0;
};

struct EventSubmitted {
  RequestId request = 0;
  EventRequest event;
  std::string event_id;
  Timestamp accepted_at = 0;
  bool enqueue = false;      // reply as soon as it is durable
  bool key_checked = false;  // the store knows no event with its idempotency key
  InboxId mail = 0;          // where it came by mail
  std::optional<Timestamp> deadline = std::nullopt;  // after which the answer is a time-out
};

struct CompletionAwaited {
  RequestId request = 0;
  std::string tenant;
  std::string execution_id;
  std::optional<Timestamp> deadline;  // after which the answer is a time-out
};

struct ActionRequested {
  RequestId request = 0;
  ExecuteActionRequest action;
};

enum class ControlVerb { cancel, terminate, pause, resume, retry };

// An operator's hand on an execution, or its parent's.
struct ControlRequested {
  RequestId request = 0;
  ControlVerb verb = ControlVerb::cancel;
  ControlRequest control;
  InboxId mail = 0;  // where it came by mail
  // By mail: the parent that sent it; empty: anybody. Of a retry: whether it only asks for the outcome,
  // if there is one.
  std::string parent;
  Position parent_position = 0;
  bool only_tell = false;
};

// A fork, with what it begins with.
struct ForkPrepared {
  RequestId request = 0;
  ForkRequest fork;  // fork_id is set, and at_sequence to the last of the records
  ExecutionRecord source;
  std::vector<HistoryEvent> records;  // none: they are yet to be read
  InboxId mail = 0;                   // where it came by mail
  std::optional<Error> unreadable = {};
};

// What became of an action, told from elsewhere.
struct ActionCompletionGiven {
  RequestId request = 0;
  std::string tenant;
  ExecutionRef execution = 0;
  Position position = 0;
  int generation = 0;
  std::uint64_t seed = 0;  // of its execution
  std::variant<Payload, Failure> outcome;
  InboxId mail = 0;  // that it came by
};

struct ResumeExecutions {
  std::vector<ExecutionRef> executions;
};

// Of a store with several partitions: this one is owned here from now on. Executions of it that are to be
// resumed come by themselves.
struct PartitionTaken {
  PartitionLease lease;
};

// Another worker is to have it. Nothing new begins there; when nothing is under way, or at that time, it is left:
// see Outputs::partitions_left.
struct PartitionWanted {
  PartitionLease lease;
  Timestamp leave_by = 0;
};

// It may be another's already: nothing that was decided about it and is not committed counts.
struct PartitionLost {
  PartitionLease lease;
};

// An execution is asked for by its reference, or where that is 0 by tenant and id.
struct LoadExecution {
  std::uint64_t number = 0;  // never the same again
  ExecutionRef ref = 0;
  std::string tenant;
  std::string execution_id;
  HistoryBounds page;  // of its history, the first
};

struct ExecutionLoaded {
  LoadExecution asked;
  Result<std::optional<StoredExecution>> found = std::nullopt;
};

// The records after that one, of a history that is longer than a page.
struct LoadPage {
  std::uint64_t number = 0;  // never the same again
  ExecutionRef ref = 0;
  std::int64_t after = 0;
  HistoryBounds page;
  LoadExecution of;  // the load that it belongs to; by nothing: the code is rebuilt from it
};

struct PageLoaded {
  LoadPage asked;
  Result<std::vector<HistoryEvent>> records = std::vector<HistoryEvent>{};
};

// There may be mail in the store that nobody here knows of: after a start, or when another process
// wrote.
struct MailPosted {};

// The same, with for whom. Each is acknowledged when what it told of is settled for good, or soon, where that has to
// wait: see Outputs::hints_settled.
struct HintsArrived {
  std::vector<HintReceived> hints;
};

struct MailLoaded {
  Result<std::vector<InboxRecord>> mail = std::vector<InboxRecord>{};  // by id
};

struct TimersLoaded {
  Result<std::vector<TimerRecord>> timers = std::vector<TimerRecord>{};
};

struct InboxFound {
  ExecutionRef execution = 0;
  std::string idempotency_key;
  Result<std::optional<InboxRecord>> found = std::nullopt;
};

struct ActionResultFound {
  std::string tenant;
  std::string user_key;
  Result<std::optional<ActionResultRecord>> found = std::nullopt;
};

struct WorkflowRegistered {
  std::string name;
  std::string version;
  HostId host = 0;
};

struct ActionRegistered {
  std::string name;
  ActionOptions options;
  HostId host = 0;
  std::optional<std::size_t> host_capacity = std::nullopt;  // ActionHost::capacity()
  bool host_reports_begin = false;                          // ActionHost::reports_begin()
};

// Another worker asks for it, or for what it asked for to be dropped: of LentWork, what an owner sends.
struct LentWorkArrived {
  std::string worker;
  LentWork work;
};

// No other worker has it any more.
struct WorkflowWithdrawn {
  std::string name;
  std::string version;
};

struct ActionWithdrawn {
  std::string name;
};

// Instances of workflow code that another worker had.
struct InstancesGone {
  std::vector<ExecutionRef> executions;
};

// Attempts that another worker was to run: whether they began is not known. They are handed out again.
struct AttemptsGone {
  struct Attempt {
    AttemptId id = 0;
    ExecutionRef execution = 0;
    Position position = 0;
  };
  std::vector<Attempt> attempts;
};

// The engine closes: nothing new begins here any more, and what was promised is brought to its end.
// See Shard::drained().
struct DrainRequested {
  std::vector<AttemptId> withdrawn;  // handed over, and not going to begin: ActionHost::hold()
};

// Time has passed: something may be due.
struct Tick {};

using Input =
    std::variant<StartRequested, EventSubmitted, CompletionAwaited, ControlRequested, ForkPrepared,
                 ActionRequested, ResumeExecutions, ExecutionLoaded, PageLoaded, MailPosted,
                 MailLoaded, TimersLoaded, InboxFound, ActionResultFound, WorkflowRegistered,
                 ActionRegistered, DrainRequested, Tick, ActivationResult, ActionBegun,
                 ActionHeartbeat, ActionOutcome, CommitOutcome, ActionCompletionGiven,
                 PartitionTaken, PartitionWanted, PartitionLost, HintsArrived, LentWorkArrived,
                 WorkflowWithdrawn, ActionWithdrawn, InstancesGone, AttemptsGone>;

// ---- outputs

// At most kMailLoadedAtOnce rows.
struct LoadMail {
  InboxId after = 0;
};

// ForkPrepared is to follow, with what the fork begins with.
struct PrepareFork {
  ForkRequest fork;
  InboxId mail = 0;
};

struct FindInbox {
  ExecutionRef execution = 0;
  std::string idempotency_key;
};

struct FindActionResult {
  std::string tenant;
  std::string user_key;
};

struct Activate {
  HostId host = 0;
  Activation activation;
};

struct Evict {
  HostId host = 0;
  ExecutionRef execution = 0;
};

struct RunAction {
  HostId host = 0;
  std::unique_ptr<ActionTask> task;
};

struct AbortAction {
  HostId host = 0;
  AttemptId attempt = 0;
};

// The execution has ended. Where its state is not given, it is to be read from the store.
struct CompletionReached {
  std::string tenant;
  std::string execution_id;
  std::unique_ptr<ExecutionState> state = nullptr;
};

struct Reply {
  RequestId request = 0;
  std::variant<Error, std::string, EventReply, EnqueueReply, ControlReply, CompletionReached,
               Payload>
      answer;
};

// A call for an execution that is another worker's to run.
struct CallElsewhere {
  std::variant<StartRequested, EventSubmitted, CompletionAwaited, ControlRequested, ForkPrepared,
               ActionCompletionGiven>
      call;
};

// What came of work that another worker asked for.
struct LentWorkAnswer {
  std::string worker;
  LentWork work;
};

// Carried out in the order of the members.
struct Outputs {
  std::vector<Evict> evictions;
  std::vector<CommitRequest> commits;
  std::vector<LoadExecution> loads;
  std::vector<LoadPage> page_loads;
  std::vector<TimerRecord> timer_loads;  // at most one: load those after it
  std::vector<LoadMail> mail_loads;      // at most one is out at a time
  std::vector<PrepareFork> forks;
  std::vector<FindInbox> inbox_lookups;
  std::vector<FindActionResult> result_lookups;
  std::vector<Activate> activations;
  std::vector<RunAction> actions;
  std::vector<AbortAction> aborts;
  std::vector<Reply> replies;
  std::vector<CallElsewhere> elsewhere;
  std::vector<AnswerHint> answers;  // to those who sent mail from elsewhere, and wait
  std::vector<LentWorkAnswer> lent;
  std::vector<Hint> hints;  // mail was sent to executions of other workers
  std::vector<HintReceipt> hints_settled;
  std::vector<DeadLetterNote> dead_letters;
  std::vector<PartitionLease> partitions_left;
  std::vector<LogLine> logs;

  void clear();
};

// Adds what `step` has to the end of `batch`, and leaves `step` empty.
void append(Outputs& batch, Outputs& step);

inline constexpr int kMailLoadedAtOnce = 256;
// What more workers than that had, and ended before it was delivered, may be what ends them: it is set aside. Of several,
// the oldest, and then no other for a time: who was there by chance is delivered once the one that it was is gone.
inline constexpr int kOwnersLostMax = 5;
inline constexpr DurationMs kSetAsideMs = 10'000;

struct ShardOptions {
  // Of the store. All are owned from the beginning, or, where it is shared, those that are taken.
  int partitions = 1;
  Limits limits;
  bool shared = false;  // other workers have some of them
};

struct ShardCounters {
  std::uint64_t activations = 0;
  std::uint64_t replays = 0;
  std::uint64_t actions_started = 0;
  std::uint64_t executions_cached = 0;
  std::uint64_t actions_in_flight = 0;
  std::uint64_t actions_waiting = 0;
};

class Shard {
 public:
  // `next_ref` and `next_inbox_id` give numbers that were never used in the store.
  Shard(ShardOptions options,
        std::function<ExecutionRef(std::string_view, std::string_view)> next_ref,
        std::function<InboxId()> next_inbox_id);
  ~Shard();

  void handle(Input input, Timestamp now, Outputs& out);

  // When a Tick is due next.
  std::optional<Timestamp> next_tick() const;
  // Since a DrainRequested: whether every attempt under way has ended and its outcome is recorded, every
  // activation under way is committed, and every reply is given that does not wait for something that
  // would have to begin first. Timers, mail and retries are left for the next opening.
  bool drained() const;
  ShardCounters counters() const;

 private:
  struct Execution;
  struct DetachedAction;

  // What waits for its turn at an execution.
  struct TimerDue {
    TimerRecord timer;
  };
  // An event that lies in the inbox already.
  struct InboxEvent {
    InboxRecord row;
  };
  struct AttemptFinished {
    // Of what the outcome is.
    enum class Of : std::uint8_t {
      attempt,  // of that one: a failure may be followed by another attempt
      action,   // of the action as such, after `attempt` attempts
      limit,    // the same, since its time is up; not while its execution is paused
    };
    ExecutionRef execution = 0;
    Position position = 0;
    int attempt = 1;
    std::variant<Payload, Failure> outcome;
    Of of = Of::attempt;
    Payload progress = {};  // of an attempt
    bool deferred = false;  // what becomes of the action is told from elsewhere
    RequestId request = 0;  // of who has told it: to be answered when that is durable
    InboxId mail = 0;       // that has told it: settled with what comes of it
  };
  // A child has ended, says a row of the inbox.
  struct ChildEnded {
    InboxRecord row;
  };
  using Work = std::variant<EventSubmitted, InboxEvent, AttemptFinished, TimerDue, StartRequested,
                            CompletionAwaited, ControlRequested, ForkPrepared, ChildEnded,
                            ActionCompletionGiven>;

  // What a commit lets go once it is durable.
  struct Held {
    std::uint64_t commit = 0;
    ExecutionRef execution = 0;
    std::vector<Reply> replies;
    std::vector<Position> actions;  // to be run
    std::vector<LogLine> logs;
    std::vector<TimerRecord> timers;
    std::string detached;           // the action outside of an execution whose outcome this records
    std::vector<InboxRecord> mail;  // to be taken by those it is for
    std::vector<AnswerHint> answers;
    std::vector<InboxId> mail_settled;  // whose rows this completes
  };

  using InFlight = std::map<std::string, std::size_t>;  // by tenant

  struct Attempt {
    AttemptId id = 0;
    int attempt = 1;
    HostId host = 0;
    bool handed_out = false;
    DurationMs timeout = 0;
    DurationMs heartbeat_timeout = 0;
    Timestamp times_out_at = 0;  // 0: it has not begun
    Timestamp beat_by = 0;       // 0: it may be silent
    Timestamp deadline = 0;      // the sooner of the two
    Payload progress = {};       // what it has told last
    // The worker that it is run for, and its number there; none: it is our own.
    std::pair<std::string, AttemptId> lent_to = {};
    // Once it is handed out: what it counts for.
    InFlight::iterator tenant = {};
    const Catalog::Action* action = nullptr;
  };

  struct NameInFlight {
    int attempts = 0;
    RateLimiter rate;
  };

  // How long an action that is open may take, whatever its attempts do.
  struct ActionLimit {
    Timestamp ends_at = 0;        // its time-out over all attempts; 0: none
    Timestamp registered_by = 0;  // somebody has to have registered its handler; 0: no matter

    Timestamp due() const {
      if (ends_at == 0 || registered_by == 0) return std::max(ends_at, registered_by);
      return std::min(ends_at, registered_by);
    }
  };

  using AttemptKey = std::pair<ExecutionRef, Position>;

  // Attempts that wait for a place at their host, and those that have one.
  struct HostQueue {
    std::optional<std::size_t> capacity;
    bool reports_begin = false;
    std::set<AttemptId> unanswered;  // where there is a capacity: handed over, given up or not
    ReadyQueue ready;
  };

  void on(StartRequested input);
  void on(EventSubmitted input);
  void on(CompletionAwaited input);
  void on(ControlRequested input);
  void on(ForkPrepared input);
  void on(ActionRequested input);
  void on(ActionCompletionGiven input);
  void on(const PartitionTaken& input);
  void on(const PartitionWanted& input);
  void on(const PartitionLost& input);
  void on(ResumeExecutions input);
  void on(ExecutionLoaded input);
  void on(PageLoaded input);
  void on(const MailPosted& input);
  void on(const HintsArrived& input);
  void on(LentWorkArrived input);
  void on(const WorkflowWithdrawn& input);
  void on(const ActionWithdrawn& input);
  void on(const InstancesGone& input);
  void on(const AttemptsGone& input);
  void on(MailLoaded input);
  void on(TimersLoaded input);
  void on(InboxFound input);
  void on(ActionResultFound input);
  void on(WorkflowRegistered input);
  void on(ActionRegistered input);
  void on(const DrainRequested& input);
  void on(const Tick& input);
  void on(ActivationResult input);
  void on(ActionBegun input);
  void on(ActionHeartbeat input);
  void on(ActionOutcome input);
  void on(const CommitOutcome& input);

  // Finding an execution, or asking the store for it: see shard_loads.cc.
  struct Loading;
  Execution* find(std::string_view tenant, std::string_view execution_id);
  Execution* find(ExecutionRef ref);
  void give(std::string_view tenant, std::string_view execution_id, Work work);
  void give(ExecutionRef ref, Work work);
  void load(ExecutionRef ref);
  // Takes what actions did out of what waits, to be taken up when the execution is loaded again.
  void keep_outcomes(ExecutionRef ref, Queue<Work>& work);
  void fail_load(const LoadExecution& asked, Queue<Work> work, const Error& error);
  void resume_some();
  HistoryBounds page() const;
  Loading* find_loading(const LoadExecution& asked);
  Loading take_loading(const LoadExecution& asked);
  void load_again(const LoadExecution& asked, Loading stale);
  void read_on(const LoadExecution& asked, Result<std::vector<HistoryEvent>> page);
  void install(HistoryReading reading, Queue<Work> work);
  Queue<Work> in_order(StoredExecution& stored, Queue<Work> work);
  void take_ahead(Execution& execution, std::vector<ActionResultRecord> ahead);
  static bool starts_child(const Work& work);
  static HistoryReading::Wanted wanted_of(const Queue<Work>& work);
  void refuse(Queue<Work>& work, const Error& error);
  // Mail is not lost by it.
  void refuse(const Work& work, const Error& error);

  // Whose executions are run here: see shard_partitions.cc.
  struct Stream;
  Stream& stream_of(ExecutionRef ref);
  const Stream& stream_of(ExecutionRef ref) const;
  int partition_for(std::string_view tenant, std::string_view execution_id) const;
  bool is_owned(int partition) const;
  bool takes(int partition) const;  // owned, and not to be left
  bool is_draining(const Execution& execution) const;
  // It is not done here. Also where the number for a new execution turns out to be given already: then another worker
  // owns the partition, and that is still to be heard of.
  void leave(const Work& work);
  void lose(int partition);
  void lose(Execution& execution);
  void leave_partitions();
  bool is_at_rest(int partition) const;
  // Hands the transition to the store: the id of its commit.
  std::uint64_t commit(Stream& stream, Transition transition, Held held);

  // Closing: see shard_drain.cc.
  static bool is_promised(const Work& work);
  static bool promises(const Queue<Work>& work);

  // Working off what waits at an execution.
  void proceed(Execution& execution);
  bool take_urgent(Execution& execution);  // false: there is nothing of that kind
  bool can_run(const Execution& execution) const;
  void await_code(Execution& execution);
  std::string name_meant(const std::string& workflow) const;
  void take_event(Execution& execution, EventSubmitted event);
  // `ahead`: how much of what waits came before it.
  void accept_event(Execution& execution, EventSubmitted event, std::size_t ahead = 0);
  void deliver_event(Execution& execution, EventSubmitted event, InboxId inbox_id);
  void take_actions(Execution& execution, AttemptFinished finished);
  void take_timer(Execution& execution, const TimerRecord& timer);
  void take_start(Execution& execution, const StartRequested& start);
  void take_control(Execution& execution, const ControlRequested& control);
  void take_child(Execution& execution, const ChildEnded& ended);
  void refuse_retry(Execution& execution, const ControlRequested& control, Error error);
  void pause(Execution& execution);
  void end_without_code(Execution& execution);
  static bool is_retry(const Work& work);
  void revive(Execution& execution, const ControlRequested& control);
  void begin_again(Execution& execution, HistoryEvent start);
  struct Outcome {
    HistoryEvent event;
    std::optional<ActionResultRecord> result;  // none: there will be another attempt
  };
  void record_outcome(Execution& execution, AttemptFinished& finished, bool bookkeeping);
  void hold_outcome(Execution& execution, AttemptFinished finished);
  // Graphs: see shard_graphs.cc.
  void begin_steps(Execution& execution, Position graph);
  void begin_all_steps(Execution& execution);
  void deliver_graph(Execution& execution, Position position);
  static bool retries_step(const Execution& execution, const TimerRecord& timer);
  // Rows for operators.
  void show_graph(Execution& execution, Position graph);
  void show_reached(Execution& execution, Position graph, std::size_t shown);
  static void take_up_steps(Execution& execution);
  std::optional<Failure> too_large_for_graph(const Execution& execution,
                                             const AttemptFinished& finished) const;
  std::optional<Outcome> outcome_of(const Execution& execution, const AttemptFinished& finished);
  static InboxRecord inbox_row(const Execution& execution, const EventSubmitted& event, InboxId id);
  Error too_many_events(const Execution& execution) const;
  void add_to_inbox(Execution& execution, const EventSubmitted& event, std::size_t ahead);
  void answer_event(Execution& execution);
  EventReply event_reply(const Execution& execution, const std::string& event_id,
                         bool consumed) const;
  void begin(const StartRequested& start);
  void begin(ForkPrepared fork);
  void take_fork(Execution& execution, const ForkPrepared& fork);
  Execution& add(ExecutionRecord record);

  // Mail: see shard_mail.cc.
  void look_for_mail();
  // What was sent from here, and is durable now.
  void post(std::vector<InboxRecord> mail);
  void deliver_mail(InboxRecord row);
  // Whether it is to stay in the inbox, since its receiver has as many events as there may be.
  bool is_kept_back(const InboxRecord& row) const;
  // What a row asks for; an error where it can't be read.
  static Result<Work> work_of(InboxRecord row);
  void send(Execution& from, InboxRecord mail);
  void leave_child(Execution& parent, const PendingChild& child);
  void start_child(Execution& parent, const StartChildCommand& command);
  // Completes it in a commit of its own, with what follows from that.
  // Without a step of its execution. `answer` is for who waits for it; by nothing: the error, if there is one.
  void settle_mail(InboxId id, const std::optional<Error>& error, std::string answer = {},
                   std::vector<InboxRecord> sent = {});
  std::vector<AnswerHint> answers_in(const Transition& transition) const;
  void settle_hints(const std::string& key);
  void settle_old_hints();
  bool set_aside(const InboxRecord& row, const std::string& execution_id);
  // Whether somebody elsewhere waits for what comes of it.
  bool is_awaited(InboxId mail) const;
  void refuse_start(const StartRequested& start, const Error& error, std::string_view status);
  void reach_nobody(Work work, const Error& unknown);
  // What a parent is told of a child that has ended.
  InboxRecord outcome_mail(const ParentOfExecution& parent, const ExecutionRecord& child) const;
  // It is taken up again later.
  void return_mail(InboxId id);
  void return_mail_of(const Execution& execution);
  // Whether the event, which came by mail, is left in the inbox, with those behind it, since as many wait
  // as there may be. `blocked`: of those that wait, how many are not in the buffer.
  bool leave_in_inbox(Execution& execution, const EventSubmitted& event, std::size_t blocked);
  // Has the inbox looked through again where events were left there and there is room now.
  void make_room_known(const Execution& execution);
  static InboxId mail_of(const Work& work);
  std::vector<InboxId> mail_in(const Transition& transition) const;

  // Filters.
  void ask(Execution& execution, std::vector<EventOffer> offers);
  void take_answer(Execution& execution, const ActivationResult& result);
  void receive_event(Execution& execution, std::optional<Position> position);
  void deliver_buffered(Execution& execution, std::int64_t sequence, Position position);

  // Transitions.
  HistoryEvent& append(Execution& execution, HistoryEvent event);
  Timestamp activation_time(const Execution& execution) const;
  void move_timer(Execution& execution, Position position,
                  const std::optional<TimerRecord>& before);
  void set_all_timers(Execution& execution);
  void settle_timers(Execution& execution);
  void add_job(Execution& execution, HistoryEvent event, Job job);
  void activate(Execution& execution);
  void deliver_next(Execution& execution);
  void deliver_held(Execution& execution);
  void deliver_cancel(Execution& execution);
  void mend(Execution& execution);
  void start_scheduled(Execution& execution);
  void start_as_new(Execution& execution);
  void take_deadline(Execution& execution);
  std::string missing_code(const Execution& execution) const;
  void show_missing_code(Execution& execution);
  void finish_activation(Execution& execution, ActivationResult result);
  void apply_command(Execution& execution, Command& command, CallSite site);
  void close_execution(Execution& execution);
  static CompletionReached completion_of(const Execution& execution);
  void commit(Execution& execution);
  void get_stuck(Execution& execution, const std::string& report);

  // Its code, begun or rebuilt: see shard_replay.cc.
  void take_code(Execution& execution);
  void begin_code(Execution& execution);
  bool rebuild(Execution& execution);
  // True: its code is being rebuilt, since attempts wait for their handlers, which are written in it.
  bool build_for_attempts(Execution& execution);
  void begin_waiting_attempts(Execution& execution);
  void ask_for_page(Execution& execution);
  bool hand_over_page(Execution& execution);
  void finish_replay(Execution& execution);
  // To its host, behind what is replayed.
  void send_activation(Execution& execution, Activation activation);

  // Actions.
  void dispatch(Execution& execution, Position position, bool just_scheduled = false);
  void dispatch_all(Execution& execution);
  static bool outcome_waits(const Execution& execution, Position position);
  void dispatch_once_durable(Execution& execution, Position position);
  void run_ready();
  bool run_next(HostId host);
  bool may_begin(const std::string& tenant, const Catalog::Action& action);
  // Puts it in line for a host. The task's attempt and key are set.
  void hand_out(const Catalog::Action& registered, std::unique_ptr<ActionTask> task, HostId host);
  void finish_attempt(AttemptKey key, std::variant<Payload, Failure> outcome);
  void start_clock(AttemptKey key, Attempt& attempt);
  void await_beat(AttemptKey key, Attempt& attempt);
  void end_attempt(AttemptKey key);
  // Its handler is told to stop, and what it answers is ignored. Nothing, where there is no such attempt.
  void call_off(AttemptKey key);
  void abandon_attempts(ExecutionRef ref);
  void without_handler_erase(ExecutionRef ref);
  // How long an action may take: see shard_limits.cc.
  void limit(AttemptKey key, const PendingAction& action, const Catalog::Action* registered);
  void lift_limit(AttemptKey key);
  void lift_limits(ExecutionRef ref);
  void enforce_limits();
  bool ends_by_limit(Execution& execution, AttemptFinished& finished);
  void limit_detached(const DetachedAction& detached);
  void end_detached_by_limit(Position position);
  // Completed from elsewhere: see shard_completion.cc.
  void take_completion(Execution& execution, ActionCompletionGiven given);
  void defer(Execution& execution, const AttemptFinished& finished);
  void tell_completed(Execution& execution, AttemptFinished& finished);
  void refuse_completion(Execution& execution, RequestId request, InboxId mail);
  // For other workers, and by them: see shard_lent.cc.
  struct LentCode {
    std::string worker;  // that it runs for
    LentInstance instance = 0;
    HostId host = 0;

    bool is(const std::string& of, const LentInstance number) const {
      return worker == of && instance == number;
    }
  };
  void run_lent_code(const std::string& worker, RunCode work);
  bool return_lent_result(ActivationResult& result);
  void drop_lent_code(std::map<ExecutionRef, LentCode>::iterator lent);
  void run_lent_attempt(const std::string& worker, ActionTask task);
  void return_attempt(AttemptKey key, std::variant<Payload, Failure> outcome, bool deferred);
  bool return_unbegun(AttemptKey key);
  void drop_all_lent(const std::string& worker);
  void drop_lent_of(int partition);
  void lose_instance(Execution& execution);
  // Puts the outcome of an action, which the transition in the making records, back to what waits.
  static void take_back(Execution& execution, const ActionJob& finished);
  // Outside of executions, and under a key of the caller's: see shard_detached.cc.
  DetachedAction& add_detached(std::string key, ExecuteActionRequest action, std::string digest);
  void ask_keyed(Execution& execution, Position position, const PendingAction& action);
  void hand_keyed();
  void ask_keyed_again();
  void leave_keyed(ExecutionRef ref);
  void leave_keyed(std::map<AttemptKey, std::string>::iterator at);
  static bool is_wanted(const DetachedAction& detached);
  void rest_keyed(ExecutionRef ref);
  bool put_to_rest(const DetachedAction& detached);
  void forget_detached(const DetachedAction& detached);
  void finish_detached_attempt(Position position, std::variant<Payload, Failure> outcome,
                               Payload progress);
  void try_detached(DetachedAction& action);
  void retry_detached();
  void record_detached(DetachedAction& action);
  void refuse_other_parameters(RequestId request, const ExecuteActionRequest& action);
  void finish_detached(const std::string& key);
  void look_again(const std::string& key, const Error& error);
  void fail_detached(const std::string& key, const Error& error);
  void expire_attempts();
  void expire_waits();
  void settle_patience(std::size_t first_reply);

  // The cache.
  void touch(Execution& execution);
  void evict_surplus();
  static bool can_leave(const Queue<Work>& work);
  bool runs_own_code(const Execution& execution) const;
  void forget(Execution& execution);
  bool is_durable(const Execution& execution) const;
  void release(Held held);
  void drop_all_uncommitted(Stream& stream, const Error& error);
  void reload_later(const std::vector<ExecutionRef>& refs);
  void reload_page_later(LoadPage page);
  void put_off_reloads();
  // Answers those who wait for the end of an execution that has ended (`found`), or that never was.
  void answer_waiters(ExecutionRef ref, bool found);

  void reply(RequestId request, Error error);
  // Now, or once what the reply tells of is durable.
  void answer(Execution& execution, Reply reply);
  void log_engine(LogLevel level, std::string message, const ExecutionRecord& about);

  const ShardOptions options_;
  const std::function<ExecutionRef(std::string_view, std::string_view)> next_ref_;
  const std::function<InboxId()> next_inbox_id_;
  Catalog catalog_;

  bool draining_ = false;  // from DrainRequested on

  // Only during handle().
  Timestamp now_ = 0;
  Outputs* out_ = nullptr;

  std::unordered_map<std::string, std::unique_ptr<Execution>> executions_;  // by tenant and id
  std::unordered_map<ExecutionRef, Execution*> by_ref_;
  std::list<Execution*> recently_used_;  // the front is the latest
  // What waits for a load. An execution can be loaded by its id and by its reference at once: the
  // first to come installs it and takes all work; the other is then out of date.
  struct Loading {
    Queue<Work> work;
    std::uint64_t number = 0;  // of the load that is on its way
    bool stale = false;
    bool again = false;                       // wanted since it is stale
    std::unique_ptr<HistoryReading> reading;  // once its first page has come, if there are more
    std::uint64_t page = 0;                   // the number of the one that is on its way
  };
  std::unordered_map<std::string, Loading> loading_ids_;
  std::unordered_map<ExecutionRef, Loading> loading_refs_;
  // What actions did whose executions could not be read: until they can.
  std::unordered_map<ExecutionRef, Queue<Work>> outcomes_kept_;
  std::uint64_t next_page_ = 1;
  std::uint64_t next_load_ = 1;
  std::deque<ExecutionRef> to_resume_;
  // Stuck executions that are to be tried again when they are loaded.
  std::set<ExecutionRef> retry_stuck_;
  struct Waiter {
    RequestId request = 0;
    std::optional<Timestamp> deadline;
    std::string tenant;
    std::string execution_id;
  };
  std::unordered_map<ExecutionRef, std::vector<Waiter>> waiters_;  // for the end
  std::set<std::tuple<Timestamp, ExecutionRef, RequestId>> wait_deadlines_;
  // Events whose senders wait for so long and no longer, and the replies that then come too late.
  struct Patience {
    Timestamp deadline = 0;
    std::string event_id;
  };
  std::unordered_map<RequestId, Patience> patience_;
  std::set<std::pair<Timestamp, RequestId>> patience_ends_;
  std::unordered_set<RequestId> too_late_;
  // Results that a host still owes for instances that are gone: to be ignored.
  std::unordered_map<ExecutionRef, int> orphaned_results_;
  std::map<std::string, std::uint64_t> registrations_;  // how many, by workflow
  // Executions that wait for their workflow to be registered: (workflow, reference).
  std::set<std::pair<std::string, ExecutionRef>> without_code_;
  // Actions that wait to be registered: (meeting name, action), and the names by action.
  std::set<std::pair<std::string, AttemptKey>> without_handler_;
  std::map<AttemptKey, std::string> missing_handlers_;

  AttemptId next_attempt_;
  std::map<HostId, HostQueue> host_queues_;
  HostId last_served_ = 0;                  // the other hosts have their turn before it
  std::map<AttemptKey, Attempt> attempts_;  // ready or in flight
  std::size_t in_flight_ = 0;               // at the hosts here
  std::size_t in_flight_elsewhere_ = 0;     // of our own, at other workers
  InFlight tenants_in_flight_;
  std::unordered_map<const Catalog::Action*, NameInFlight> names_in_flight_;
  Timestamp rate_allows_at_ =
      0;  // then one more may begin of those that wait; 0: none waits for that
  std::set<std::pair<Timestamp, AttemptKey>> deadlines_;
  std::map<AttemptKey, ActionLimit> limits_;
  std::set<std::pair<Timestamp, AttemptKey>> limits_due_;
  TimerQueue timers_;
  Timestamp timer_load_at_ = 0;  // not before this, after a load that failed

  std::map<std::string, std::unique_ptr<DetachedAction>> detached_;  // by tenant and key
  std::map<Position, std::string> detached_positions_;
  Position next_detached_ = -1;
  std::set<std::pair<Timestamp, std::string>> detached_retries_;
  // Actions of executions that wait for one of these, under a key of their caller's: by map key.
  std::map<AttemptKey, std::string> keyed_;
  std::deque<AttemptFinished> keyed_ended_;                   // to be handed to them
  std::set<std::pair<Timestamp, AttemptKey>> keyed_retries_;  // to ask again then

  // For other workers: instances that live, results that are owed by the hosts here, in their order, and attempts.
  std::map<ExecutionRef, LentCode> lent_code_;
  std::unordered_map<ExecutionRef, std::deque<std::pair<std::string, LentInstance>>> lent_owed_;
  std::map<std::pair<std::string, AttemptId>, AttemptKey> lent_attempts_;

  // Mail that is known here and not yet settled for good. While a look into the store is out, what was
  // settled meanwhile is remembered, since the look may still show it.
  struct Mail {
    int partition = 0;
    std::string reply_to;  // the worker whose caller waits for the answer
    std::string receiver;  // by tenant and id
  };
  std::map<InboxId, Mail> mail_;
  void know_mail(const InboxRecord& row, int partition);
  std::map<InboxId, Mail>::iterator forget_mail(std::map<InboxId, Mail>::iterator mail);
  void forget_mail(InboxId id);
  // What hints told of that are not acknowledged, by receiver.
  struct Hinted {
    std::vector<HintReceipt> receipts;
    int mail = 0;         // known, and not settled
    bool looked = false;  // a look into the store was begun since the last came
  };
  std::unordered_map<std::string, Hinted> hinted_;
  std::deque<std::pair<Timestamp, std::string>> hinted_since_;  // oldest first
  std::set<InboxId> mail_settled_meanwhile_;
  std::optional<Timestamp> set_aside_at_;  // the last one
  bool mail_wanted_ = false;               // look from the first
  bool mail_look_out_ = false;
  std::optional<InboxId> mail_look_after_;  // where the look under way goes on
  Timestamp mail_look_at_ = 0;              // look again then; 0: no need
  // Receivers whose buffer is full, by tenant and id: their events stay in the inbox, unread.
  //
  // (none) --an event finds it full--> leaves --there is room--> has_room --a look begins--> takes
  // takes --an event finds it full--> leaves; takes --half is free--> (none)
  struct FullReceiver {
    enum class Stage : std::uint8_t { leaves, has_room, takes };
    Stage stage = Stage::leaves;
    std::string first_left;  // the name of the event that is to come first
  };
  std::map<std::string, FullReceiver> full_;

  // By partition; the last one is of what belongs to no execution. What is committed there comes in the order of
  // its stream, and fails by itself.
  //
  // (not owned) --PartitionTaken--> owned --PartitionWanted--> leaving --nothing under way--> (not owned)
  // any --PartitionLost--> (not owned)
  struct Stream {
    bool owned = false;
    bool leaving = false;
    Timestamp leave_by = 0;
    std::int64_t epoch = 0;
    std::uint32_t number = 0;
    Queue<Held> held;
    std::uint64_t next_commit = 1;
    std::uint64_t generation = 1;
  };
  std::vector<Stream> streams_;
  int leaving_ = 0;              // how many of them are
  Timestamp leave_look_at_ = 0;  // then it is looked whether they are at rest
  // After a failed commit: what to load again, and when.
  std::deque<ExecutionRef> to_reload_;
  std::vector<LoadPage> pages_to_reload_;  // of replays, which could not be read
  Timestamp reload_at_ = 0;
  DurationMs reload_delay_ = 0;

  ShardCounters counters_;
};

}  // namespace pawl
