#include "tests/support/world.h"

#include <algorithm>
#include <stdexcept>

#include "base/name.h"
#include "base/random.h"
#include "core/completion_token.h"
#include "core/history_cut.h"
#include "core/time_travel.h"
#include "tests/support/plain_state.h"

namespace pawl::testing {

class World::Sinks final : public CommitSink, public ActivationSink {
 public:
  explicit Sinks(World& world) : world_(world) {}
  void commits_finished(const std::vector<CommitOutcome>& outcomes) override {
    for (const CommitOutcome& outcome : outcomes) world_.inputs_.emplace_back(outcome);
  }
  void activations_completed(std::vector<ActivationResult> results) override {
    for (ActivationResult& result : results) world_.inputs_.emplace_back(std::move(result));
  }

 private:
  World& world_;
};

World::World(WorldOptions options, HostMaker make_host)
    : options_(std::move(options)), make_host_(std::move(make_host)), random_(options_.seed) {
  boot();
}

World::~World() = default;

void World::boot() {
  inputs_.clear();
  sinks_ = std::make_shared<Sinks>(*this);
  store_ = std::make_unique<MemoryStore>(MemoryStore::Mode::manual, data_);
  store_->start(*sinks_);
  host_ = make_host_();
  shard_ = std::make_unique<Shard>(
      ShardOptions{1, options_.limits},
      [this](const std::string_view tenant, const std::string_view execution_id) {
        return store_->next_execution_ref(tenant, execution_id);
      },
      [this] { return store_->next_inbox_id(); });
  for (const auto& [name, version] : workflows_)
    inputs_.emplace_back(WorkflowRegistered{name, version, 0});
  for (const RegisteredAction& action : actions_) {
    inputs_.emplace_back(ActionRegistered{action.name, action.options, 0});
  }
  inputs_.emplace_back(ResumeExecutions{*store_->executions_to_resume(0, 1'000'000)});
  inputs_.emplace_back(MailPosted{});
}

void World::restart() {
  ++crashes_;
  deploy();
}

void World::deploy() {
  store_->crash();
  boot();
  settle();
}

void World::register_workflow(std::string name, std::string version) {
  inputs_.emplace_back(WorkflowRegistered{name, version, 0});
  workflows_.emplace_back(std::move(name), std::move(version));
}

void World::register_action(std::string name, ActionFunction function, ActionOptions options) {
  inputs_.emplace_back(ActionRegistered{name, options, 0});
  actions_.push_back(RegisteredAction{std::move(name), std::move(function), std::move(options)});
}

void World::register_deferred_action(std::string name,
                                     std::function<void(const ActionTask&)> handed_on) {
  const std::string known = name;
  register_action(std::move(name), [handed_on = std::move(handed_on)](const ActionTask& task) {
    handed_on(task);
    return std::nullopt;
  });
  for (RegisteredAction& action : actions_) action.defers = action.defers || action.name == known;
}

void World::forget_registrations() {
  workflows_.clear();
  actions_.clear();
}

void World::feed(Input input) {
  Outputs out;
  shard_->handle(std::move(input), now_, out);
  carry_out(out);
}

void World::carry_out(Outputs& out) {
  for (const Evict& evict : out.evictions) host_->evict(evict.execution);
  if (!out.commits.empty()) store_->commit(std::move(out.commits));
  for (const LoadExecution& wanted : out.loads) {
    ExecutionLoaded loaded{wanted, std::nullopt};
    loaded.found = wanted.ref != 0
                       ? store_->load_execution(wanted.ref, wanted.page)
                       : store_->find_execution(wanted.tenant, wanted.execution_id, wanted.page);
    inputs_.emplace_back(std::move(loaded));
  }
  for (const LoadPage& wanted : out.page_loads) {
    inputs_.emplace_back(
        PageLoaded{wanted, store_->read_history(wanted.ref, wanted.after, wanted.page)});
  }
  for (const TimerRecord& after : out.timer_loads) {
    inputs_.emplace_back(TimersLoaded{store_->timers_after(after, kTimersLoadedAtOnce)});
  }
  for (const LoadMail& wanted : out.mail_loads) {
    inputs_.emplace_back(MailLoaded{store_->mail_after(wanted.after, kMailLoadedAtOnce)});
  }
  for (PrepareFork& wanted : out.forks) {
    const auto source =
        store_->find_execution(wanted.fork.tenant, wanted.fork.execution_id, kWholeHistory).value();
    auto records = records_to_fork(*source, wanted.fork.at_sequence).value();
    inputs_.emplace_back(
        ForkPrepared{0, std::move(wanted.fork), source->record, std::move(records), wanted.mail});
  }
  for (const FindInbox& wanted : out.inbox_lookups) {
    inputs_.emplace_back(InboxFound{wanted.execution, wanted.idempotency_key,
                                    store_->find_inbox(wanted.execution, wanted.idempotency_key)});
  }
  for (const FindActionResult& wanted : out.result_lookups) {
    inputs_.emplace_back(
        ActionResultFound{wanted.tenant, wanted.user_key,
                          store_->find_action_result(wanted.tenant, wanted.user_key)});
  }
  std::vector<Activation> activations;
  for (Activate& activate : out.activations) activations.push_back(std::move(activate.activation));
  if (!activations.empty()) host_->activate(std::move(activations), sinks_);
  for (const RunAction& run : out.actions) {
    const ActionTask& task = *run.task;
    const std::string wanted = meeting_name(task.name);
    const auto action = std::find_if(actions_.begin(), actions_.end(), [&](const auto& known) {
      return meeting_name(known.name) == wanted;
    });
    actions_run_.push_back(task);
    if (auto outcome = action->function(task)) {
      inputs_.emplace_back(
          ActionOutcome{task.id, task.execution, task.position, std::move(*outcome)});
    } else if (action->defers) {
      ActionOutcome told{task.id, task.execution, task.position, Payload{}};
      told.deferred = true;
      inputs_.emplace_back(std::move(told));
    }
  }
  for (const AbortAction& abort : out.aborts) aborts_.push_back(abort.attempt);
  for (Reply& reply : out.replies) {
    const RequestId request = reply.request;
    if (const auto* const ended = std::get_if<CompletionReached>(&reply.answer);
        ended != nullptr && ended->state) {
      const std::string stored = text_of(state(ended->tenant, ended->execution_id));
      if (const std::string told = text_of(*ended->state); told != stored) {
        throw std::logic_error("who waited was told " + told + ", and the store says " + stored);
      }
      ++ends_told_;
    }
    if (!replies_.emplace(request, std::move(reply)).second) {
      throw std::logic_error("a request was answered twice");
    }
  }
  logs_.insert(logs_.end(), out.logs.begin(), out.logs.end());
}

bool World::step() {
  if (!inputs_.empty()) {
    // Only answers of hosts and actions may overtake one another; the store's stay in order.
    std::size_t index = 0;
    if (options_.seed != 0) {
      random_ = mix_bits(random_);
      const std::size_t wanted = random_ % inputs_.size();
      if (std::holds_alternative<ActionOutcome>(inputs_[wanted])) index = wanted;
    }
    Input input = std::move(inputs_[index]);
    inputs_.erase(inputs_.begin() + static_cast<std::ptrdiff_t>(index));
    feed(std::move(input));
    return true;
  }
  if (store_->queued_commits() > 0) {
    const std::uint64_t commit = commits_ + 1;
    if (commit == options_.crash_before_commit) {
      ++commits_;
      throw Crash{};
    }
    if (commit == options_.fail_commit) {
      const bool unknown = options_.unknown_applied.has_value();
      store_->fail_next(Error{unknown ? ErrorCode::outcome_unknown : ErrorCode::store_unavailable,
                              "the disk is full, says the test",
                              {}},
                        options_.unknown_applied.value_or(false));
    }
    commits_ += store_->step(1);
    if (commit == options_.crash_after_commit) throw Crash{};
    return true;
  }
  if (const auto tick = shard_->next_tick(); tick && *tick <= now_) {
    feed(Tick{});
    return true;
  }
  return false;
}

void World::answer(const ActionTask& task, std::variant<Payload, Failure> outcome) {
  feed(ActionOutcome{task.id, task.execution, task.position, std::move(outcome)});
  settle();
}

std::optional<Result<ControlReply>> World::complete(const std::string& token,
                                                    std::variant<Payload, Failure> outcome) {
  const auto given = read_completion_token(token);
  if (!given) return given.error();
  const RequestId id = ask_to_complete(token, std::move(outcome));
  settle();
  return told(id);
}

RequestId World::ask_to_complete(const std::string& token, std::variant<Payload, Failure> outcome) {
  ActionCompletionGiven given = read_completion_token(token).value();
  given.request = next_request_++;
  given.outcome = std::move(outcome);
  const RequestId id = given.request;
  inputs_.emplace_back(std::move(given));
  return id;
}

std::optional<Result<ControlReply>> World::told(const RequestId request) {
  return answer_of<ControlReply>(request);
}

void World::defer(const ActionTask& task) {
  ActionOutcome outcome{task.id, task.execution, task.position, Payload{}};
  outcome.deferred = true;
  feed(std::move(outcome));
  settle();
}

void World::beat(const ActionTask& task, Payload progress) {
  feed(ActionHeartbeat{task.id, task.execution, task.position, std::move(progress)});
  settle();
}

bool World::write_ahead(const ActionTask& task, const Payload& result) {
  ActionResultRecord row;
  row.execution = task.execution;
  row.position = task.position;
  row.generation = task.generation;
  row.seed = task.seed;
  row.tenant = task.tenant;
  row.action = task.name;
  row.attempts = task.attempt;
  row.result = result;
  row.at = now_;
  if (data_->results.contains({row.execution, row.position, row.generation})) return false;
  store_->write_ahead(std::move(row));
  return true;
}

void World::settle() {
  constexpr int kStepsMax = 1'000'000;
  try {
    for (int steps = 0; step(); ++steps) {
      if (steps > kStepsMax) throw std::logic_error("the world does not settle");
    }
  } catch (const Crash&) {
    restart();
  }
}

void World::advance(const DurationMs by) {
  const Timestamp until = now_ + by;
  settle();
  for (auto tick = shard_->next_tick(); tick && *tick <= until; tick = shard_->next_tick()) {
    now_ = std::max(now_, *tick);
    settle();
  }
  now_ = until;
  settle();
}

void World::run_out() {
  constexpr int kTicksMax = 10'000;
  settle();
  for (int ticks = 0; shard_->next_tick(); ++ticks) {
    if (ticks > kTicksMax) throw std::logic_error("time does not run out");
    now_ = std::max(now_, *shard_->next_tick());
    settle();
  }
}

template <class T>
std::optional<Result<T>> World::answer_of(const RequestId request) {
  const auto found = replies_.find(request);
  if (found == replies_.end()) return std::nullopt;
  if (const Error* const error = std::get_if<Error>(&found->second.answer)) {
    return Result<T>(*error);
  }
  return Result<T>(std::get<T>(found->second.answer));
}

std::optional<Result<std::string>> World::start(StartRequest request) {
  StartRequested input;
  input.request = next_request_++;
  input.seed = 7 + options_.seed;
  input.generated = false;
  input.start = std::move(request);
  const RequestId id = input.request;
  CompletionAwaited wait{next_request_++, input.start.tenant, input.start.execution_id,
                         std::nullopt};
  inputs_.emplace_back(std::move(input));
  inputs_.emplace_back(std::move(wait));
  settle();
  return answer_of<std::string>(id);
}

std::optional<Result<EventReply>> World::submit(EventRequest request, const bool enqueue) {
  EventSubmitted input;
  input.request = next_request_++;
  input.event_id = "event-" + std::to_string(next_event_++);
  input.accepted_at = now_;
  input.enqueue = enqueue;
  input.event = std::move(request);
  const RequestId id = input.request;
  inputs_.emplace_back(std::move(input));
  settle();
  if (!enqueue) return answer_of<EventReply>(id);
  const auto accepted = answer_of<EnqueueReply>(id);
  if (!accepted) return std::nullopt;
  if (!*accepted) return Result<EventReply>(accepted->error());
  EventReply reply;
  reply.event_id = (*accepted)->event_id;
  return Result<EventReply>(std::move(reply));
}

std::optional<Result<ControlReply>> World::control(const ControlVerb verb,
                                                   const std::string& execution_id,
                                                   const std::string& reason) {
  const RequestId id = next_request_++;
  inputs_.emplace_back(
      ControlRequested{id, verb, ControlRequest{"acme", execution_id, "ann", reason}});
  settle();
  return answer_of<ControlReply>(id);
}

void World::ask_for(const ControlVerb verb, const std::string& execution_id) {
  inputs_.emplace_back(
      ControlRequested{next_request_++, verb, ControlRequest{"acme", execution_id, "ann", ""}});
}

std::optional<Result<std::string>> World::fork(const std::string& execution_id,
                                               const std::string& fork_id,
                                               const std::optional<std::int64_t> at) {
  const auto stored = store_->find_execution("acme", execution_id, kWholeHistory).value();
  auto records = records_to_fork(*stored, at);
  if (!records) return Result<std::string>(records.error());
  const RequestId id = next_request_++;
  const std::int64_t last = records->back().sequence;
  inputs_.emplace_back(ForkPrepared{id,
                                    ForkRequest{"acme", execution_id, last, fork_id, "ann", "why"},
                                    stored->record, std::move(*records)});
  settle();
  return answer_of<std::string>(id);
}

std::optional<Result<Payload>> World::execute(ExecuteActionRequest request) {
  const RequestId id = next_request_++;
  inputs_.emplace_back(ActionRequested{id, std::move(request)});
  settle();
  return answer_of<Payload>(id);
}

ExecutionState World::state(const std::string& tenant, const std::string& execution_id) const {
  const auto& stored = data_->executions.at(data_->by_id.at({tenant, execution_id}));
  return state_at(stored.record, stored.history, std::nullopt).value();
}

const std::vector<HistoryEvent>& World::history(const std::string& tenant,
                                                const std::string& execution_id) const {
  return data_->executions.at(data_->by_id.at({tenant, execution_id})).history;
}

}  // namespace pawl::testing
