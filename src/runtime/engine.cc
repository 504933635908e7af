#include "runtime/engine.h"

#include <fmt/format.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <unordered_set>

#include "base/duration.h"
#include "base/name.h"
#include "base/random.h"
#include "core/completion_token.h"
#include "core/history_cut.h"
#include "core/partition.h"
#include "core/start_options.h"
#include "core/time_travel.h"
#include "model/failure_codec.h"
#include "model/limit_checks.h"
#include "pawl/database.h"
#include "runtime/lent_work_codec.h"
#include "runtime/request_checks.h"
#include "runtime/standard_log.h"

namespace pawl {
namespace {

constexpr int kReaderThreads = 2;
constexpr int kResumePage = 1'000;
// What came of so many inputs is carried out before the next ones: the store has something to do meanwhile.
constexpr std::size_t kInputsPerTurn = 32;
// So few commits are made on the engine's own thread, where nothing else is to be done: one client at a time
// waits for no change of threads. With more of them the engine has something to do while the store writes.
constexpr std::size_t kCommitsHereMax = 4;
// So long after a commit failed, with none since, that is told of the store.
constexpr std::chrono::milliseconds kCommitTroubleLasts = std::chrono::minutes(1);
constexpr std::chrono::hours kDrainMax(24 * 365);  // as good as for ever, and far from overflows

std::int64_t steady_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// Whom operators find where a lock is held.
std::string holder_of(const Store& store) {
  if (std::string worker = store.worker(); !worker.empty()) return worker;
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  return fmt::format("{}/{}", host.data(), getpid());
}

Error invalid(std::string message) { return {ErrorCode::invalid_argument, std::move(message), {}}; }

}  // namespace

Engine::Engine(RuntimeOptions options, std::unique_ptr<Store> store, Clock& clock,
               std::unique_ptr<HintBus> bus)
    : options_([&options] {
        if (!options.log) options.log = log_to_standard_error;
        options.limits.records_per_snapshot =
            std::max<std::int64_t>(1, options.limits.records_per_snapshot);
        return std::move(options);
      }()),
      store_(std::move(store)),
      clock_(clock, *store_),
      bus_(std::move(bus)),
      mailbox_(std::make_shared<Mailbox>()),
      pages_(*store_, [this](PageLoaded page) { mailbox_->post(std::move(page)); }),
      readers_(kReaderThreads),
      shard_(
          ShardOptions{store_->partitions(), options_.limits, bus_ != nullptr},
          [this](const std::string_view tenant, const std::string_view execution_id) {
            return store_->next_execution_ref(tenant, execution_id);
          },
          [this] { return store_->next_inbox_id(); }) {
  if (bus_) {
    elsewhere_ = std::make_unique<Elsewhere>(
        *store_, *bus_, clock_,
        Elsewhere::Ways{[this](Reply reply) { answer(std::move(reply)); },
                        [this] { look_for_mail(); },
                        [this](std::vector<HintReceived> hints) {
                          mailbox_->post(HintsArrived{std::move(hints)});
                        }});
    OtherWorkers::Ways ways;
    ways.send = [this](std::vector<Parcel> parcels) { store_->send_parcels(std::move(parcels)); };
    ways.refuse = [this](const std::string& worker, const std::string& why) {
      log(LogLevel::error, fmt::format("What worker {} has registered: {}", worker, why));
    };
    ways.lent = [this](const ActionTask& task) {
      if (const auto own = store_->database()) own->commit_begins(task);
    };
    ways.answered = [this](const ActionTask& task) {
      if (const auto own = store_->database()) own->commit_ended(task);
    };
    other_workers_ = std::make_unique<OtherWorkers>(mailbox_, std::move(ways));
    start_thread();
  }
  if (LockRows* const rows = store_->locks()) {
    locks_ = std::make_shared<Locks>(*rows, holder_of(*store_), options_.limits);
  }
  store_->start(*this);
  if (bus_) bus_->start(*elsewhere_);
  if (options_.begin_at_once) begin();
}

void Engine::start_thread() {
  const std::lock_guard lock(mutex_);
  if (begun_ || closing_) return;
  begun_ = true;
  thread_ = std::thread([this] { run(); });
}

void Engine::begin() {
  {
    const std::lock_guard lock(mutex_);
    works_ = true;
  }
  if (bus_) return store_->take_part([this] { return is_working(); });
  start_thread();
  readers_.post([this] { resume(std::nullopt); });
}

// ---- whose executions are run here

// Workflow code that does not come back holds up this thread, or that of its host.
bool Engine::is_working() const {
  const std::int64_t patience = options_.lease.count() / 2;
  const std::int64_t now = steady_ms();
  const auto hangs = [&](const std::int64_t since) { return since != 0 && now - since > patience; };
  return !hangs(busy_since_) && !hangs(owed_since_);
}

void Engine::own(const PartitionLease& lease, const bool owned) {
  std::vector<int> all;
  {
    const std::lock_guard lock(mutex_);
    if (owned) {
      owned_.insert(lease.partition);
    } else {
      owned_.erase(lease.partition);
    }
    all.assign(owned_.begin(), owned_.end());
  }
  bus_->serve(std::move(all));
}

void Engine::partitions_taken(const std::vector<PartitionLease>& taken) {
  for (const PartitionLease& lease : taken) {
    mailbox_->post(PartitionTaken{lease});
    own(lease, true);
    readers_.post([this, partition = lease.partition] { resume(partition); });
  }
}

void Engine::partition_wanted(const PartitionLease wanted, const std::chrono::milliseconds within) {
  own(wanted, false);
  mailbox_->post(PartitionWanted{wanted, later(clock_.now(), within.count())});
}

void Engine::partition_lost(const PartitionLease lost) {
  own(lost, false);
  mailbox_->post(PartitionLost{lost});
}

// One whose execution is run here, where that can be chosen.
std::string Engine::new_execution_id(const std::string& tenant) {
  constexpr int kTriesMax = 64;
  std::string id;
  for (int tries = 0; tries < kTriesMax; ++tries) {
    id = uuid_v7(clock_.now(), random_bits(), random_bits());
    if (!bus_) break;
    const int partition = partition_of(tenant, id, store_->partitions());
    const std::lock_guard lock(mutex_);
    if (owned_.empty() || owned_.contains(partition)) break;
  }
  return id;
}

// ---- work for others, and by them

void Engine::show_offer() {
  if (!bus_) return;
  // Under the lock, so that the last word is the last one that is shown.
  const std::lock_guard lock(mutex_);
  store_->offer(encode_offer(closing_ ? WorkOffer{} : offer_));
}

void Engine::peers_seen(std::vector<Peer> peers) {
  for (const std::string& worker : other_workers_->see(peers, exchanges_)) {
    mailbox_->post(LentWorkArrived{worker, AllLost{}});
  }
  const WorkOffer own = [this] {
    const std::lock_guard lock(mutex_);
    return offer_;
  }();
  if (!other_workers_->differ(own)) return;
  exchanges_ = true;
  store_->fetch_parcels();
}

void Engine::parcels_arrived(std::vector<Parcel> parcels) {
  for (const Parcel& parcel : parcels) {
    auto work = decode_lent_work(parcel.body);
    if (!work) {
      log(LogLevel::error, work.error().message);
      parcels_lost(parcel.worker);
      continue;
    }
    for (LentWork& each : *work) {
      const bool asked =
          std::holds_alternative<RunCode>(each) || std::holds_alternative<DropInstance>(each) ||
          std::holds_alternative<RunAttempt>(each) || std::holds_alternative<AbortAttempt>(each);
      if (std::holds_alternative<AllLost>(each)) other_workers_->lose(parcel.worker, false);
      if (asked || std::holds_alternative<AllLost>(each)) {
        mailbox_->post(LentWorkArrived{parcel.worker, std::move(each)});
      } else {
        other_workers_->take(parcel.worker, std::move(each));
      }
    }
  }
}

void Engine::parcels_lost(const std::string& worker) {
  mailbox_->post(LentWorkArrived{worker, AllLost{}});
  other_workers_->lose(worker, true);
}

void Engine::send(std::vector<LentWorkAnswer> answers) {
  std::map<std::string, std::vector<LentWork>> by_worker;
  for (LentWorkAnswer& answer : answers) {
    by_worker[answer.worker].push_back(std::move(answer.work));
  }
  std::vector<Parcel> parcels;
  parcels.reserve(by_worker.size());
  for (const auto& [worker, work] : by_worker) parcels.push_back({worker, encode_lent_work(work)});
  store_->send_parcels(std::move(parcels));
}

WorkflowHost& Engine::workflow_host(const HostId id) const {
  if (id == kOtherWorkers) return *other_workers_;
  const std::lock_guard lock(mutex_);
  return *workflow_hosts_[id];
}

ActionHost& Engine::action_host(const HostId id) const {
  if (id == kOtherWorkers) return *other_workers_;
  const std::lock_guard lock(mutex_);
  return *action_hosts_[id];
}

void Engine::log(const LogLevel level, std::string message) const {
  LogLine line;
  line.level = level;
  line.message = std::move(message);
  line.at = clock_.now();
  options_.log(line);
}

Engine::~Engine() { close(); }

Error Engine::closed() const {
  return {ErrorCode::closed, "The runtime is closed. Open a new one to go on.", {}};
}

bool Engine::is_closing() const {
  const std::lock_guard lock(mutex_);
  return closing_;
}

// ---- registrations

Result<void> Engine::register_workflow(const WorkflowDescription& description, WorkflowHost& host,
                                       const bool replace) {
  if (auto error = check_text("workflow name", description.name, options_.limits)) return *error;
  if (auto error = check_text("workflow version", description.version, options_.limits))
    return *error;
  HostId id = 0;
  {
    const std::lock_guard lock(mutex_);
    if (closing_) return closed();
    const std::string key = description.name + '\0' + description.version;
    if (!replace && workflows_.contains(key)) {
      return Error{ErrorCode::already_exists,
                   fmt::format("Workflow '{}' version '{}' is registered already. Give the new one "
                               "another version, or register it with replace.",
                               description.name, description.version),
                   description.name};
    }
    workflows_.insert_or_assign(key, &host);
    std::erase_if(offer_.workflows, [&description](const OfferedWorkflow& offered) {
      return offered.name == description.name && offered.version == description.version;
    });
    offer_.workflows.push_back(
        {description.name, description.version, fmt::format("{:016x}", random_bits())});
    const auto known = std::find(workflow_hosts_.begin(), workflow_hosts_.end(), &host);
    id = static_cast<HostId>(known - workflow_hosts_.begin());
    if (known == workflow_hosts_.end()) workflow_hosts_.push_back(&host);
  }
  mailbox_->post(WorkflowRegistered{description.name, description.version, id});
  show_offer();
  return {};
}

Result<void> Engine::register_action(const ActionDescription& description, ActionHost& host,
                                     const bool replace) {
  if (auto error = check_text("action name", description.name, options_.limits)) return *error;
  const std::string meeting = meeting_name(description.name);
  if (meeting.empty()) {
    return invalid(
        fmt::format("The action name '{}' has nothing but '_' and '-'.", description.name));
  }
  HostId id = 0;
  {
    const std::lock_guard lock(mutex_);
    if (closing_) return closed();
    const auto [known, fresh] =
        actions_.try_emplace(meeting, RegisteredAction{description.name, description.check});
    RegisteredAction& action = known->second;
    if (!fresh && !replace) {
      return Error{
          ErrorCode::already_exists,
          fmt::format("Action '{}' is registered already{}. Names that differ only in case, "
                      "'_' and '-' are one name.",
                      description.name,
                      action.name == description.name ? std::string{}
                                                      : fmt::format(", as '{}'", action.name)),
          description.name};
    }
    action = RegisteredAction{description.name, description.check};
    const auto known_host = std::find(action_hosts_.begin(), action_hosts_.end(), &host);
    id = static_cast<HostId>(known_host - action_hosts_.begin());
    if (known_host == action_hosts_.end()) action_hosts_.push_back(&host);
    std::erase_if(offer_.actions, [&meeting](const OfferedAction& offered) {
      return meeting_name(offered.name) == meeting;
    });
    offer_.actions.push_back({description.name, description.options});
  }
  mailbox_->post(ActionRegistered{description.name, description.options, id, host.capacity(),
                                  host.reports_begin()});
  if (other_workers_) other_workers_->registered_here(meeting);
  show_offer();
  return {};
}

// ---- calls

template <class T>
std::optional<RequestId> Engine::admit(Callback<T>& done) {
  std::optional<Error> refused;
  {
    const std::lock_guard lock(mutex_);
    if (closing_) {
      refused = closed();
    } else if (!begun_) {
      refused = invalid("The runtime has not begun: register what it runs, then call begin().");
    } else if (waiting_.size() >= options_.limits.requests_queued_max) {
      refused = Error{ErrorCode::overloaded,
                      fmt::format("{} calls are under way, the most that are taken at once "
                                  "(requests_queued_max). Try again later.",
                                  waiting_.size()),
                      {}};
    } else {
      const RequestId request = next_request_++;
      waiting_.emplace(request, std::move(done));
      return request;
    }
  }
  done(*refused);
  return std::nullopt;
}

void Engine::start_workflow(StartRequest request, Callback<std::string> done) {
  if (auto error = check_start(request, options_.limits)) return done(*error);
  if (!request.idempotency_key.empty()) {
    request.execution_id =
        keyed_execution_id(request.tenant, request.workflow, request.idempotency_key);
  }
  StartRequested input;
  input.start = std::move(request);
  input.seed = random_bits();
  if (input.start.execution_id.empty()) {
    input.generated = true;
    input.start.execution_id = new_execution_id(input.start.tenant);
  }
  if (const auto id = admit(done)) {
    input.request = *id;
    mailbox_->post(std::move(input));
  }
}

void Engine::submit_event(EventRequest request, Callback<EventReply> done) {
  if (auto error = check_event(request, options_.limits)) return done(*error);
  const Timestamp now = clock_.now();
  EventSubmitted input{
      0, std::move(request), uuid_v7(now, random_bits(), random_bits()), now, false, false};
  if (const auto wait_max = input.event.wait_max) {
    input.deadline = later(now, std::max<DurationMs>(0, *wait_max));
  }
  if (const auto id = admit(done)) {
    input.request = *id;
    mailbox_->post(std::move(input));
  }
}

void Engine::enqueue_event(EventRequest request, Callback<EnqueueReply> done) {
  if (auto error = check_event(request, options_.limits)) return done(*error);
  const Timestamp now = clock_.now();
  EventSubmitted input{
      0, std::move(request), uuid_v7(now, random_bits(), random_bits()), now, true, false};
  if (const auto id = admit(done)) {
    input.request = *id;
    mailbox_->post(std::move(input));
  }
}

void Engine::wait_for_completion(std::string tenant, std::string execution_id,
                                 const std::optional<DurationMs> wait_max,
                                 Callback<ExecutionState> done) {
  if (auto error = check_text("tenant", tenant, options_.limits)) return done(*error);
  if (auto error = check_text("execution id", execution_id, options_.limits)) return done(*error);
  CompletionAwaited input{0, std::move(tenant), std::move(execution_id), std::nullopt};
  if (wait_max) input.deadline = later(clock_.now(), std::max<DurationMs>(0, *wait_max));
  if (const auto id = admit(done)) {
    input.request = *id;
    mailbox_->post(std::move(input));
  }
}

void Engine::fork_workflow(ForkRequest request, Callback<std::string> done) {
  auto error = check_operator(request.tenant, request.execution_id, request.by, request.reason,
                              options_.limits);
  if (!error) error = check_text("id of the fork", request.fork_id, options_.limits, true);
  if (error) return done(*error);
  ForkPrepared input;
  if (request.fork_id.empty()) {
    request.fork_id = new_execution_id(request.tenant);
  }
  input.fork = std::move(request);
  const auto id = admit(done);
  if (!id) return;
  input.request = *id;
  prepare(std::move(input));
}

void Engine::prepare(ForkPrepared fork) {
  readers_.post([this, fork = std::move(fork)]() mutable {
    const auto refuse = [&](const Error& reason) {
      if (fork.mail != 0) {
        fork.unreadable = reason;
        return mailbox_->post(std::move(fork));
      }
      answer(Reply{fork.request, reason});
      mailbox_->post(Tick{});  // a drain may have waited for that
    };
    auto source = read_execution(fork.fork.tenant, fork.fork.execution_id, kWholeHistory);
    if (!source) return refuse(source.error());
    auto records = records_to_fork(*source, fork.fork.at_sequence);
    if (!records) return refuse(records.error());
    fork.fork.at_sequence = records->back().sequence;
    fork.source = std::move(source->record);
    fork.records = std::move(*records);
    mailbox_->post(std::move(fork));
  });
}

void Engine::control(const ControlVerb verb, ControlRequest request, Callback<ControlReply> done) {
  const auto error = check_operator(request.tenant, request.execution_id, request.by,
                                    request.reason, options_.limits);
  if (error) return done(*error);
  ControlRequested input{0, verb, std::move(request)};
  if (const auto id = admit(done)) {
    input.request = *id;
    mailbox_->post(std::move(input));
  }
}

std::optional<Failure> Engine::check_parameters(const ExecuteActionRequest& request) const {
  std::function<std::optional<Failure>(const Payload&)> check;
  {
    const std::lock_guard lock(mutex_);
    if (closing_) return std::nullopt;
    const auto known = actions_.find(meeting_name(request.name));
    if (known != actions_.end()) check = known->second.check;
  }
  return check ? check(request.parameters) : std::nullopt;
}

void Engine::execute_action(ExecuteActionRequest request, Callback<Payload> done) {
  const Limits& limits = options_.limits;
  std::optional<Error> error = check_text("tenant", request.tenant, limits);
  if (!error) error = check_text("action name", request.name, limits);
  if (!error) error = check_text("idempotency key", request.idempotency_key, limits);
  if (!error) error = check_text("execution id", request.execution_id, limits, true);
  if (!error) error = check_text("event id", request.event_id, limits, true);
  if (!error) error = check_payload("parameters", request.parameters, limits);
  if (error) return done(*error);
  // Before anything is recorded under the key, so that the call can be mended under it.
  if (const auto misfit = check_parameters(request)) {
    return done(Error{ErrorCode::validation, misfit->message, encode_failure(*misfit)});
  }
  ActionRequested input{0, std::move(request)};
  if (const auto id = admit(done)) {
    input.request = *id;
    mailbox_->post(std::move(input));
  }
}

void Engine::complete_action(CompleteActionRequest request, Callback<ControlReply> done) {
  auto input = read_completion_token(request.token);
  if (!input) return done(input.error());
  if (const auto* const result = std::get_if<Payload>(&request.outcome)) {
    const auto error = check_payload("result of the action", *result, options_.limits);
    if (error) return done(*error);
  }
  input->outcome = std::move(request.outcome);
  if (const auto id = admit(done)) {
    input->request = *id;
    mailbox_->post(std::move(*input));
  }
}

// ---- reads

Result<StoredExecution> Engine::read_execution(const std::string& tenant,
                                               const std::string& execution_id,
                                               const HistoryBounds history) {
  auto found = store_->find_execution(tenant, execution_id, history);
  if (!found) return found.error();
  if (!*found) {
    return Error{ErrorCode::unknown_execution,
                 fmt::format("There is no execution '{}' in tenant '{}'.", execution_id, tenant),
                 execution_id};
  }
  return std::move(**found);
}

Result<ExecutionState> Engine::state_of(const std::string& tenant, const std::string& execution_id,
                                        const std::optional<std::int64_t> at_sequence) {
  const auto stored = read_execution(tenant, execution_id, kNoHistory);
  if (!stored) return stored.error();
  auto read = read_state(*store_, *stored, at_sequence, options_.limits.records_per_snapshot);
  if (!read) return read.error();
  state_records_read_ += static_cast<std::uint64_t>(read->records);
  snapshots_made_ += static_cast<std::uint64_t>(read->snapshots);
  return std::move(read->state);
}

void Engine::watch_growth(const std::vector<CommitRequest>& commits) {
  const std::int64_t interval = options_.limits.records_per_snapshot;
  for (const CommitRequest& commit : commits) {
    const std::vector<HistoryEvent>& records = commit.transition.records;
    if (records.empty()) continue;
    if ((records.front().sequence - 1) / interval == records.back().sequence / interval) continue;
    growths_.push_back({commit.stream, commit.id, commit.transition.execution});
  }
}

// Off the path of events: they wait for nothing that happens here.
void Engine::keep_snapshots(const CommitOutcome& outcome) {
  // What was to grow did not, or did so in a way that is not known; it will again.
  if (outcome.error) growths_.clear();
  for (auto growth = growths_.begin(); growth != growths_.end();) {
    if (growth->stream != outcome.stream || growth->commit > outcome.up_to) {
      ++growth;
      continue;
    }
    const ExecutionRef grown = growth->execution;
    growth = growths_.erase(growth);
    readers_.post([this, ref = grown] {
      const auto stored = store_->load_execution(ref, kNoHistory);
      if (!stored || !*stored) return;
      const auto kept =
          pawl::keep_snapshots(*store_, **stored, options_.limits.records_per_snapshot);
      if (!kept) return;  // whoever asks for the state is told why
      state_records_read_ += static_cast<std::uint64_t>(kept->records);
      snapshots_made_ += static_cast<std::uint64_t>(kept->snapshots);
    });
  }
}

void Engine::get_execution_state(std::string tenant, std::string execution_id,
                                 const std::optional<std::int64_t> at_sequence,
                                 Callback<ExecutionState> done) {
  if (auto error = check_text("tenant", tenant, options_.limits)) return done(*error);
  if (auto error = check_text("execution id", execution_id, options_.limits)) return done(*error);
  const auto request = admit(done);
  if (!request) return;
  readers_.post([this, at_sequence, tenant = std::move(tenant), id = std::move(execution_id),
                 request = *request] {
    Callback<ExecutionState> callback;
    {
      const std::lock_guard lock(mutex_);
      auto node = waiting_.extract(request);
      if (node.empty()) return;
      callback = std::get<Callback<ExecutionState>>(std::move(node.mapped()));
    }
    callback(state_of(tenant, id, at_sequence));
  });
}

void Engine::get_history(std::string tenant, std::string execution_id,
                         Callback<std::vector<HistoryRecord>> done) {
  if (auto error = check_text("tenant", tenant, options_.limits)) return done(*error);
  if (auto error = check_text("execution id", execution_id, options_.limits)) return done(*error);
  if (is_closing()) return done(closed());
  const bool posted = readers_.post(
      [this, tenant = std::move(tenant), id = std::move(execution_id), callback = done] {
        const auto stored = read_execution(tenant, id, kWholeHistory);
        if (!stored) return callback(stored.error());
        std::vector<HistoryRecord> records;
        records.reserve(stored->history.size());
        for (const HistoryEvent& event : stored->history) records.push_back(describe(event));
        callback(std::move(records));
      });
  if (!posted) done(closed());
}

void Engine::list_executions(const ListQuery& query, Callback<ListPage> done) {
  auto wanted = list_query_of(query, options_.limits);
  if (!wanted) return done(wanted.error());
  if (is_closing()) return done(closed());
  const bool posted = readers_.post([this, wanted = std::move(*wanted), callback = done] {
    const auto records = store_->list_executions(wanted);
    if (!records) return callback(records.error());
    callback(list_page_of(*records, wanted));
  });
  if (!posted) done(closed());
}

// ---- locks of users

LockWait Engine::acquire_lock(LockRequest request, Callback<Lock> done) {
  if (!locks_) {
    done(invalid("This store keeps no locks."));
    return 0;
  }
  if (is_closing()) {
    done(closed());
    return 0;
  }
  return locks_->acquire(std::move(request), std::move(done));
}

void Engine::give_up_lock(const LockWait wait) {
  if (locks_) locks_->give_up(wait);
}

// ---- what could not be delivered

void Engine::list_dead_letters(const DeadLetterQuery& query, Callback<DeadLetterPage> done) {
  auto search = dead_letter_search_of(query, options_.limits);
  if (!search) return done(search.error());
  DeadLetterRows* const rows = store_->dead_letters();
  if (rows == nullptr) return done(invalid("This store keeps no dead letters."));
  if (is_closing()) return done(closed());
  const bool posted = readers_.post([rows, search = std::move(*search), callback = done] {
    auto page = rows->list(search);
    if (!page) return callback(page.error());
    callback(dead_letter_page_of(std::move(*page)));
  });
  if (!posted) done(closed());
}

void Engine::change_dead_letter(const DeadLetterRequest& request, const DeadLetterChange change,
                                Callback<DeadLetter> done) {
  const auto id = dead_letter_id_of(request, options_.limits);
  if (!id) return done(id.error());
  DeadLetterRows* const rows = store_->dead_letters();
  if (rows == nullptr) return done(invalid("This store keeps no dead letters."));
  if (is_closing()) return done(closed());
  const bool posted =
      readers_.post([this, rows, change, id = *id, tenant = request.tenant, callback = done] {
        const bool again = change == DeadLetterChange::retry;
        auto letter = again ? rows->retry(tenant, id) : rows->drop(tenant, id);
        if (letter && again) {
          if (bus_) {
            const int partition = partition_of(tenant, letter->execution_id, store_->partitions());
            bus_->publish({Hint{partition, tenant, letter->execution_id}});
          }
          look_for_mail();
        }
        callback(std::move(letter));
      });
  if (!posted) done(closed());
}

void Engine::retry_dead_letter(const DeadLetterRequest& request, Callback<DeadLetter> done) {
  change_dead_letter(request, DeadLetterChange::retry, std::move(done));
}

void Engine::drop_dead_letter(const DeadLetterRequest& request, Callback<DeadLetter> done) {
  change_dead_letter(request, DeadLetterChange::drop, std::move(done));
}

void Engine::look_for_mail() {
  const std::lock_guard lock(mutex_);
  if (begun_) mailbox_->post(MailPosted{});
}

Health Engine::health() const {
  Health health;
  std::vector<std::string> down;
  std::vector<std::string> slow;
  const StoreHealth store = store_->health();
  if (!is_working()) {
    // It keeps nothing, and asks the store for nothing.
    down.push_back(
        fmt::format("Workflow code has not come back for more than {} ms, half of the lease.",
                    options_.lease.count() / 2));
  } else if (store.silent_for > options_.lease) {
    down.push_back(fmt::format("The store has not answered for {} ms. {}", store.silent_for.count(),
                               store.trouble));
  } else if (!store.trouble.empty()) {
    slow.push_back(fmt::format("The store did not answer. {}", store.trouble));
  }
  if (bus_) {
    if (std::string trouble = bus_->counters().trouble; !trouble.empty()) {
      slow.push_back(fmt::format("Hints are not carried. {}", trouble));
    }
  }
  {
    const std::lock_guard lock(mutex_);
    if (closing_) down.insert(down.begin(), "It is closed, or about to be.");
    if (!commit_trouble_.empty() && steady_ms() - commit_failed_at_ < kCommitTroubleLasts.count()) {
      down.push_back(fmt::format("The last commit failed. {}", commit_trouble_));
    }
    health.works = works_ && !closing_;
    health.partitions_owned = static_cast<int>(owned_.size());
    health.calls_waiting = waiting_.size();
  }
  health.partitions = store_->partitions();
  if (!bus_) health.partitions_owned = health.works ? health.partitions : 0;
  health.store_silent_for = store.silent_for;
  health.commits_waiting = store_->queued_commits();
  health.actions_in_flight = actions_in_flight_;
  health.actions_waiting = actions_waiting_;
  health.status = !down.empty() ? "down" : !slow.empty() ? "degraded" : "ok";
  health.troubles = std::move(down);
  health.troubles.insert(health.troubles.end(), slow.begin(), slow.end());
  return health;
}

Runtime::Counters Engine::counters() const {
  return {commits_,         commit_batches_,    activations_,
          replays_,         actions_started_,   actions_in_flight_,
          actions_waiting_, executions_cached_, state_records_read_,
          snapshots_made_};
}

// ---- the thread that decides

void Engine::run() {
  std::vector<Input> inputs;
  Outputs step;
  Outputs batch;
  std::size_t handled = 0;
  for (;;) {
    std::optional<std::chrono::milliseconds> at_most;
    if (const auto tick = shard_.next_tick()) {
      // A timer beyond what a wait can express is met at a later look.
      constexpr DurationMs kSleepMaxMs = 3'600'000;
      at_most =
          std::chrono::milliseconds(std::clamp<DurationMs>(*tick - clock_.now(), 0, kSleepMaxMs));
    }
    busy_since_ = 0;
    if (!mailbox_->take(inputs, at_most)) return;
    busy_since_ = steady_ms();
    const std::size_t owed_before = activations_owed_;
    for (Input& input : inputs) {
      if (const auto* const outcome = std::get_if<CommitOutcome>(&input)) keep_snapshots(*outcome);
      if (std::holds_alternative<ExecutionLoaded>(input) ||
          std::holds_alternative<PageLoaded>(input)) {
        --loads_;
      }
      if (std::holds_alternative<ActivationResult>(input)) --activations_owed_;
      if (auto* const drain = std::get_if<DrainRequested>(&input)) {
        carry_out(batch);  // the hosts have all that they are ever handed
        drain->withdrawn = hold_actions();
      }
      shard_.handle(std::move(input), clock_.now(), step);
      // An eviction must not overtake the activations of the same instance.
      if (!step.evictions.empty()) carry_out(batch);
      append(batch, step);
      if (++handled % kInputsPerTurn == 0) carry_out(batch);
    }
    const Timestamp now = clock_.now();
    if (const auto tick = shard_.next_tick(); tick && *tick <= now) {
      shard_.handle(Tick{}, now, step);
      if (!step.evictions.empty()) carry_out(batch);
      append(batch, step);
    }
    if (activations_owed_ < owed_before) owed_since_ = 0;
    carry_out_all(batch);
    // What others owe says nothing about this worker.
    if (activations_owed_ <= (other_workers_ ? other_workers_->owed() : 0)) {
      owed_since_ = 0;
    } else if (owed_since_ == 0) {
      owed_since_ = steady_ms();
    }
    const ShardCounters counters = shard_.counters();
    activations_ = counters.activations;
    replays_ = counters.replays;
    actions_started_ = counters.actions_started;
    executions_cached_ = counters.executions_cached;
    actions_in_flight_ = counters.actions_in_flight;
    actions_waiting_ = counters.actions_waiting;
    notice_drained();
  }
}

// With nothing else at hand. A history that is about to come is not to wait for the disk.
void Engine::carry_out_all(Outputs& batch) {
  if (batch.commits.empty() || batch.commits.size() > kCommitsHereMax) return carry_out(batch);
  std::vector<CommitRequest> commits = std::exchange(batch.commits, {});
  watch_growth(commits);
  carry_out(batch);
  if (loads_ > 0 || !mailbox_->is_empty() || !store_->commit_here(commits)) {
    store_->commit(std::move(commits));
  }
}

std::vector<AttemptId> Engine::hold_actions() {
  std::vector<ActionHost*> hosts;
  {
    const std::lock_guard lock(mutex_);
    hosts = action_hosts_;
  }
  std::vector<AttemptId> withdrawn;
  if (other_workers_) hosts.push_back(other_workers_.get());
  for (ActionHost* const host : hosts) {
    const std::vector<AttemptId> held = host->hold();
    withdrawn.insert(withdrawn.end(), held.begin(), held.end());
  }
  return withdrawn;
}

// Whether a call is on its way to the shard, or a fork is being read for it. The ends of executions and
// actions that wait for another attempt don't come while it drains; of those under way the shard knows.
// States are read until the end.
bool Engine::owes_replies() const {
  return std::any_of(waiting_.begin(), waiting_.end(), [](const auto& waiting) {
    return !std::holds_alternative<Callback<ExecutionState>>(waiting.second) &&
           !std::holds_alternative<Callback<Payload>>(waiting.second);
  });
}

void Engine::notice_drained() {
  if (!shard_.drained()) return;
  {
    const std::lock_guard lock(mutex_);
    if (drained_ || owes_replies()) return;
    drained_ = true;
  }
  closing_changed_.notify_all();
}

void Engine::carry_out(Outputs& out) {
  for (const Evict& evict : out.evictions) workflow_host(evict.host).evict(evict.execution);
  // What is given up is broken off before the commit that says so: its row may be waited for there, and no COMMIT
  // of its own is to follow. What begins with this very batch is told behind its begin.
  std::unordered_set<AttemptId> begin_here;
  if (!out.aborts.empty()) {
    for (const RunAction& run : out.actions) begin_here.insert(run.task->id);
  }
  for (const AbortAction& abort : out.aborts) {
    if (!begin_here.contains(abort.attempt)) action_host(abort.host).abort(abort.attempt);
  }
  if (!out.commits.empty()) {
    watch_growth(out.commits);
    store_->commit(std::move(out.commits));
  }
  for (const LoadExecution& wanted : out.loads) readers_.post([this, wanted] { load(wanted); });
  for (const LoadPage& wanted : out.page_loads) {
    readers_.post([this, wanted] { pages_.read(wanted); });
  }
  loads_ += out.loads.size() + out.page_loads.size();
  for (const TimerRecord& after : out.timer_loads) {
    readers_.post([this, after] {
      mailbox_->post(TimersLoaded{store_->timers_after(after, kTimersLoadedAtOnce)});
    });
  }
  for (const LoadMail& wanted : out.mail_loads) {
    readers_.post([this, wanted] {
      mailbox_->post(MailLoaded{store_->mail_after(wanted.after, kMailLoadedAtOnce)});
    });
  }
  for (PrepareFork& wanted : out.forks) {
    ForkPrepared fork;
    fork.fork = std::move(wanted.fork);
    fork.mail = wanted.mail;
    prepare(std::move(fork));
  }
  for (const FindInbox& wanted : out.inbox_lookups) {
    readers_.post([this, wanted] {
      mailbox_->post(InboxFound{wanted.execution, wanted.idempotency_key,
                                store_->find_inbox(wanted.execution, wanted.idempotency_key)});
    });
  }
  for (const FindActionResult& wanted : out.result_lookups) {
    readers_.post([this, wanted] {
      mailbox_->post(ActionResultFound{wanted.tenant, wanted.user_key,
                                       store_->find_action_result(wanted.tenant, wanted.user_key)});
    });
  }
  activations_owed_ += out.activations.size();
  // In order, in runs of one host.
  for (std::size_t from = 0; from < out.activations.size();) {
    const HostId host = out.activations[from].host;
    std::vector<Activation> run;
    for (; from < out.activations.size() && out.activations[from].host == host; ++from) {
      run.push_back(std::move(out.activations[from].activation));
    }
    workflow_host(host).activate(std::move(run), mailbox_);
  }
  for (std::size_t from = 0; from < out.actions.size();) {
    const HostId host = out.actions[from].host;
    std::vector<ActionTask> run;
    run.reserve(out.actions.size() - from);
    for (; from < out.actions.size() && out.actions[from].host == host; ++from) {
      run.push_back(std::move(*out.actions[from].task));
    }
    action_host(host).run(std::move(run), mailbox_);
  }
  for (const AbortAction& abort : out.aborts) {
    if (begin_here.contains(abort.attempt)) action_host(abort.host).abort(abort.attempt);
  }
  for (Reply& reply : out.replies) answer(std::move(reply));
  for (CallElsewhere& call : out.elsewhere) elsewhere_->take(std::move(call));
  if (!out.lent.empty()) send(std::exchange(out.lent, {}));
  if (!out.hints.empty()) bus_->publish(std::move(out.hints));
  if (!out.answers.empty()) bus_->publish_answers(std::move(out.answers));
  if (!out.hints_settled.empty()) bus_->acknowledge(std::move(out.hints_settled));
  for (DeadLetterNote& letter : out.dead_letters) bus_->publish_dead(std::move(letter));
  for (const PartitionLease& left : out.partitions_left) store_->give_back(left);
  for (const LogLine& line : out.logs) options_.log(line);
  out.clear();
}

void Engine::answer(Reply reply) {
  Waiting waiting;
  {
    const std::lock_guard lock(mutex_);
    auto node = waiting_.extract(reply.request);
    if (node.empty()) return;
    waiting = std::move(node.mapped());
  }
  std::visit(
      [&](auto& callback) {
        using Answer = std::decay_t<decltype(callback)>;
        if (Error* const error = std::get_if<Error>(&reply.answer)) {
          callback(std::move(*error));
        } else if constexpr (std::is_same_v<Answer, Callback<ExecutionState>>) {
          auto& reached = std::get<CompletionReached>(reply.answer);
          if (reached.state) return callback(std::move(*reached.state));
          readers_.post(
              [this, done = std::move(callback), tenant = std::move(reached.tenant),
               id = std::move(reached.execution_id)] { done(state_of(tenant, id, std::nullopt)); });
        } else if constexpr (std::is_same_v<Answer, Callback<std::string>>) {
          callback(std::get<std::string>(std::move(reply.answer)));
        } else if constexpr (std::is_same_v<Answer, Callback<EventReply>>) {
          callback(std::get<EventReply>(std::move(reply.answer)));
        } else if constexpr (std::is_same_v<Answer, Callback<EnqueueReply>>) {
          callback(std::get<EnqueueReply>(std::move(reply.answer)));
        } else if constexpr (std::is_same_v<Answer, Callback<ControlReply>>) {
          callback(std::get<ControlReply>(std::move(reply.answer)));
        } else {
          callback(std::get<Payload>(std::move(reply.answer)));
        }
      },
      waiting);
}

void Engine::load(const LoadExecution& wanted) {
  ExecutionLoaded loaded{wanted, std::nullopt};
  loaded.found = wanted.ref != 0
                     ? store_->load_execution(wanted.ref, wanted.page)
                     : store_->find_execution(wanted.tenant, wanted.execution_id, wanted.page);
  ExecutionRef goes_on = 0;
  std::int64_t read = 0;
  if (loaded.found && *loaded.found) {
    const StoredExecution& stored = **loaded.found;
    if (!stored.history.empty() && !is_terminal(stored.record.status)) {
      read = stored.history.back().sequence;
      if (read < stored.history_end) goes_on = stored.record.ref;
    }
  }
  mailbox_->post(std::move(loaded));
  if (goes_on != 0) pages_.read_ahead(goes_on, read, wanted.page);
}

void Engine::resume(const std::optional<int> partition) {
  mailbox_->post(MailPosted{});
  constexpr std::chrono::seconds kRetryDelay(1);
  ExecutionRef after = execution_ref(partition.value_or(0), 0);
  for (;;) {
    auto page = store_->executions_to_resume(after, kResumePage);
    if (!page) {
      log(LogLevel::error, "What was under way can't be taken up: " + page.error().message);
      std::unique_lock lock(mutex_);
      if (closing_changed_.wait_for(lock, kRetryDelay, [this] { return closing_; })) return;
      continue;
    }
    if (partition) {
      std::erase_if(*page, [&](const ExecutionRef ref) { return partition_of(ref) != *partition; });
    }
    if (page->empty()) return;
    after = page->back();
    mailbox_->post(ResumeExecutions{std::move(*page)});
  }
}

// What is refused since a partition is another's says nothing about the store.
void Engine::note_trouble(const CommitOutcome& outcome) {
  const bool failed = outcome.error && (outcome.error->code == ErrorCode::store_unavailable ||
                                        outcome.error->code == ErrorCode::outcome_unknown);
  if (!failed && (outcome.error || !commits_fail_)) return;
  commits_fail_ = failed;
  const std::lock_guard lock(mutex_);
  commit_trouble_ = failed ? outcome.error->message : std::string{};
  commit_failed_at_ = steady_ms();
}

void Engine::commits_finished(const std::vector<CommitOutcome>& outcomes) {
  ++commit_batches_;
  for (const CommitOutcome& outcome : outcomes) {
    note_trouble(outcome);
    if (!outcome.error) {
      commits_ += outcome.up_to - std::exchange(reported_[outcome.stream], outcome.up_to);
    }
    mailbox_->post(outcome);
  }
}

// ---- the end

void Engine::fail_waiting(const Error& error) {
  std::unordered_map<RequestId, Waiting> waiting;
  {
    const std::lock_guard lock(mutex_);
    waiting.swap(waiting_);
  }
  for (auto& [request, callback] : waiting) {
    std::visit([&](auto& done) { done(error); }, callback);
  }
}

void Engine::begin_close(const std::optional<std::chrono::milliseconds> drain) {
  const std::chrono::milliseconds most =
      std::clamp<std::chrono::milliseconds>(drain.value_or(options_.drain), {}, kDrainMax);
  {
    const std::lock_guard lock(mutex_);
    // Whoever is told that it closes can rely on nothing that begins.
    if (!closing_) mailbox_->post(DrainRequested{});
    closing_ = true;
    if (!begun_) drained_ = true;
    drain_until_ = std::min(drain_until_, std::chrono::steady_clock::now() + most);
  }
  closing_changed_.notify_all();
  show_offer();
}

void Engine::close() {
  if (!is_closing()) begin_close({});
  {
    std::unique_lock lock(mutex_);
    while (!drained_ && std::chrono::steady_clock::now() < drain_until_) {
      closing_changed_.wait_until(lock, drain_until_);
    }
  }
  std::call_once(closed_, [this] {
    if (locks_) locks_->close();
    if (bus_) bus_->close();
    // Reports of what was queued still reach the shard, and its replies their callers.
    store_->close();
    if (elsewhere_) elsewhere_->close();
    mailbox_->close();
    if (thread_.joinable()) thread_.join();
    readers_.close();
    fail_waiting(closed());
  });
}

}  // namespace pawl
