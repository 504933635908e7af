#include "pawl/workflow_runtime.h"

#include <fmt/format.h>

#include <future>
#include <map>
#include <mutex>
#include <stdexcept>

#include "action/builtin_registration.h"
#include "action/pool_executor.h"
#include "action/wait_executor.h"
#include "base/clock.h"
#include "base/name.h"
#include "host/coroutine_host.h"
#include "host/instance.h"
#include "runtime/standard_log.h"

namespace pawl {

namespace {

// Starts a call that reports to a callback, and waits for its report.
template <class T, class Call>
Result<T> wait_for_report(const Call& call) {
  if (detail::Instance::running() != nullptr) {
    return Error{
        ErrorCode::invalid_argument,
        "the runtime was called from workflow code, whose thread would wait for itself: use "
        "the context, or call the runtime in an action",
        {}};
  }
  auto report = std::make_shared<std::promise<Result<T>>>();
  std::future<Result<T>> reported = report->get_future();
  call([report](Result<T> result) { report->set_value(std::move(result)); });
  return reported.get();
}

}  // namespace

struct WorkflowRuntime::Impl {
  Impl(const Limits& limits, PoolOptions pool_options)
      : host(limits), pool(std::move(pool_options)) {}
  // Handlers may call the runtime until the last of them has returned.
  ~Impl() {
    runtime->close();
    pool.close();
  }

  CoroutineHost host;
  PoolExecutor pool;
  WaitExecutor waits;
  std::unique_ptr<Runtime> runtime;  // last: it calls the others until it is closed

  std::mutex mutex;
  // Guarded by mutex: what is registered, and from which function.
  std::map<std::pair<std::string, std::string>, const void*> workflows;
  std::map<std::string, ActionMetadata> actions;  // by meeting name
};

namespace {

// One line at a time, from whichever thread.
std::function<void(const LogLine&)> one_at_a_time(std::function<void(const LogLine&)> log) {
  auto mutex = std::make_shared<std::mutex>();
  return [mutex, log = std::move(log)](const LogLine& line) {
    const std::lock_guard lock(*mutex);
    log(line);
  };
}

}  // namespace

Result<WorkflowRuntime> WorkflowRuntime::open(WorkflowRuntimeOptions options) {
  RuntimeOptions below;
  below.store = std::move(options.store);
  below.limits = options.limits;
  below.log = one_at_a_time(options.log ? std::move(options.log) : log_to_standard_error);
  below.drain = options.drain;
  below.begin_at_once = options.begin_at_once;
  below.lease = options.lease;
  below.partitions = options.partitions;
  below.redis = options.redis;
  PoolOptions pool;
  pool.threads = options.action_threads;
  pool.abandoned_threads_max = options.abandoned_threads_max;
  pool.limits = options.limits;
  pool.warn = [log = below.log](std::string message) {
    LogLine line;
    line.level = LogLevel::warn;
    line.message = std::move(message);
    line.at = SystemClock().now();
    log(line);
  };
  pool.log = below.log;
  Result<std::unique_ptr<Runtime>> runtime = Runtime::open(std::move(below));
  if (!runtime) return std::move(runtime).error();
  auto impl = std::make_unique<Impl>(options.limits, std::move(pool));
  impl->runtime = std::move(*runtime);
  return WorkflowRuntime(std::move(impl));
}

WorkflowRuntime::WorkflowRuntime(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
WorkflowRuntime::WorkflowRuntime(WorkflowRuntime&&) noexcept = default;
WorkflowRuntime& WorkflowRuntime::operator=(WorkflowRuntime&&) noexcept = default;
// Before impl_ goes: handlers that still run reach the runtime through it.
WorkflowRuntime::~WorkflowRuntime() { close(); }

Result<void> WorkflowRuntime::add_workflow(WorkflowDescription description,
                                           detail::WorkflowFunction function, const void* identity,
                                           bool replace) {
  const std::lock_guard lock(impl_->mutex);
  const std::pair key(description.name, description.version);
  const auto known = impl_->workflows.find(key);
  if (known != impl_->workflows.end()) {
    if (identity != nullptr && known->second == identity) return {};
    if (!replace) {
      return Error{ErrorCode::already_exists,
                   fmt::format("workflow '{}' version '{}' is registered already; give it another "
                               "version, or replace it",
                               key.first, key.second),
                   key.first};
    }
  }
  // The host knows it before the engine does, which may call for it at once.
  impl_->host.register_workflow(key.first, key.second, std::move(function));
  Result<void> registered =
      impl_->runtime->register_workflow(std::move(description), impl_->host, replace);
  if (registered) impl_->workflows.insert_or_assign(key, identity);
  return registered;
}

namespace {

Error taken(const ActionMetadata& before, const std::string& name) {
  return Error{
      ErrorCode::already_exists,
      before.built_in
          ? fmt::format("'{}' is a built-in action: to put yours in its place, register "
                        "it with `replace`",
                        before.name)
          : fmt::format("an action '{}' is registered already (names meet in every casing)", name),
      name};
}

}  // namespace

Result<void> WorkflowRuntime::add_action(ActionDescription description, ActionMetadata metadata,
                                         detail::ActionHandler handler, bool replace) {
  const std::lock_guard lock(impl_->mutex);
  const std::string met = meeting_name(description.name);
  const auto known = impl_->actions.find(met);
  if (known != impl_->actions.end() && !replace) return taken(known->second, description.name);
  metadata.options = description.options;
  description.description = metadata.description;
  impl_->pool.register_action(met, std::move(handler));
  Result<void> registered =
      impl_->runtime->register_action(std::move(description), impl_->pool, replace);
  if (registered) impl_->actions.insert_or_assign(met, std::move(metadata));
  return registered;
}

void detail::BuiltinRegistration::finish(ActionDescription description, ActionMetadata metadata,
                                         std::optional<ActionHandler> handler) {
  if (!result_) return;
  const std::optional<ActionMetadata> before = runtime_.action_metadata(description.name);
  if (before && !before->built_in) return;
  result_ = handler ? runtime_.add_action(std::move(description), std::move(metadata),
                                          std::move(*handler), false)
                    : add_to_waits(std::move(description), std::move(metadata));
}

Result<void> detail::BuiltinRegistration::add_to_waits(ActionDescription description,
                                                       ActionMetadata metadata) {
  WorkflowRuntime::Impl& impl = *runtime_.impl_;
  const std::lock_guard lock(impl.mutex);
  const std::string met = meeting_name(description.name);
  const auto known = impl.actions.find(met);
  if (known != impl.actions.end()) return taken(known->second, description.name);
  metadata.options = description.options;
  description.description = metadata.description;
  Result<void> registered = impl.runtime->register_action(std::move(description), impl.waits);
  if (registered) impl.actions.insert_or_assign(met, std::move(metadata));
  return registered;
}

std::optional<ActionMetadata> WorkflowRuntime::action_metadata(const std::string_view name) const {
  const std::lock_guard lock(impl_->mutex);
  const auto known = impl_->actions.find(meeting_name(name));
  if (known == impl_->actions.end()) return std::nullopt;
  return known->second;
}

std::vector<ActionMetadata> WorkflowRuntime::actions(
    const std::optional<std::string_view> category) const {
  const std::lock_guard lock(impl_->mutex);
  std::vector<ActionMetadata> found;
  for (const auto& [met, metadata] : impl_->actions) {
    if (!category || metadata.category == *category) found.push_back(metadata);
  }
  return found;
}

std::shared_ptr<Database> WorkflowRuntime::database() const { return impl_->runtime->database(); }

void WorkflowRuntime::register_failure_classifier(FailureClassifier classifier) {
  impl_->pool.register_failure_classifier(std::move(classifier));
}

void WorkflowRuntime::begin() { impl_->runtime->begin(); }

Result<std::string> WorkflowRuntime::start(std::string_view workflow, Payload input,
                                           const StartOptions& options) {
  StartRequest request;
  request.workflow = workflow;
  request.tenant = options.tenant;
  request.input = std::move(input);
  request.version = options.version;
  request.execution_id = options.execution_id;
  request.user_id = options.user_id;
  request.correlation_id = options.correlation_id;
  request.idempotency_key = options.idempotency_key;
  if (options.start_at) request.start_at = options.start_at->time_since_epoch().count();
  if (options.deadline) request.deadline = options.deadline->time_since_epoch().count();
  return wait_for_report<std::string>([&](Callback<std::string> done) {
    impl_->runtime->start_workflow(std::move(request), std::move(done));
  });
}

namespace {

EventRequest event_request(std::string_view execution_id, std::string_view event_name,
                           Payload payload, const EventOptions& options) {
  EventRequest request;
  request.tenant = options.tenant;
  request.execution_id = execution_id;
  request.name = event_name;
  request.payload = std::move(payload);
  request.user_id = options.user_id;
  request.idempotency_key = options.idempotency_key;
  if (options.wait_max) request.wait_max = options.wait_max->count();
  return request;
}

}  // namespace

Result<EventReply> WorkflowRuntime::submit(std::string_view execution_id,
                                           std::string_view event_name, Payload payload,
                                           const EventOptions& options) {
  return wait_for_report<EventReply>([&](Callback<EventReply> done) {
    impl_->runtime->submit_event(
        event_request(execution_id, event_name, std::move(payload), options), std::move(done));
  });
}

Result<EnqueueReply> WorkflowRuntime::enqueue(std::string_view execution_id,
                                              std::string_view event_name, Payload payload,
                                              const EventOptions& options) {
  return wait_for_report<EnqueueReply>([&](Callback<EnqueueReply> done) {
    impl_->runtime->enqueue_event(
        event_request(execution_id, event_name, std::move(payload), options), std::move(done));
  });
}

Result<ExecutionState> WorkflowRuntime::wait(std::string_view execution_id,
                                             const WaitOptions& options) {
  std::optional<DurationMs> wait_max;
  if (options.wait_max) wait_max = options.wait_max->count();
  return wait_for_report<ExecutionState>([&](Callback<ExecutionState> done) {
    impl_->runtime->wait_for_completion(options.tenant, std::string(execution_id), wait_max,
                                        std::move(done));
  });
}

namespace {

ControlRequest control_request(std::string_view execution_id, const ControlOptions& options) {
  ControlRequest request;
  request.tenant = options.tenant;
  request.execution_id = execution_id;
  request.by = options.by;
  request.reason = options.reason;
  return request;
}

}  // namespace

Result<ControlReply> WorkflowRuntime::cancel_workflow(std::string_view execution_id,
                                                      const ControlOptions& options) {
  return wait_for_report<ControlReply>([&](Callback<ControlReply> done) {
    impl_->runtime->cancel_workflow(control_request(execution_id, options), std::move(done));
  });
}

Result<ControlReply> WorkflowRuntime::terminate_workflow(std::string_view execution_id,
                                                         const ControlOptions& options) {
  return wait_for_report<ControlReply>([&](Callback<ControlReply> done) {
    impl_->runtime->terminate_workflow(control_request(execution_id, options), std::move(done));
  });
}

Result<ControlReply> WorkflowRuntime::pause_workflow(std::string_view execution_id,
                                                     const ControlOptions& options) {
  return wait_for_report<ControlReply>([&](Callback<ControlReply> done) {
    impl_->runtime->pause_workflow(control_request(execution_id, options), std::move(done));
  });
}

Result<ControlReply> WorkflowRuntime::resume_workflow(std::string_view execution_id,
                                                      const ControlOptions& options) {
  return wait_for_report<ControlReply>([&](Callback<ControlReply> done) {
    impl_->runtime->resume_workflow(control_request(execution_id, options), std::move(done));
  });
}

Result<ControlReply> WorkflowRuntime::retry_workflow(std::string_view execution_id,
                                                     const ControlOptions& options) {
  return wait_for_report<ControlReply>([&](Callback<ControlReply> done) {
    impl_->runtime->retry_workflow(control_request(execution_id, options), std::move(done));
  });
}

Result<std::string> WorkflowRuntime::fork_workflow(std::string_view execution_id,
                                                   const ForkOptions& options) {
  ForkRequest request;
  request.tenant = options.tenant;
  request.execution_id = execution_id;
  request.at_sequence = options.at_sequence;
  request.fork_id = options.execution_id;
  request.by = options.by;
  request.reason = options.reason;
  return wait_for_report<std::string>([&](Callback<std::string> done) {
    impl_->runtime->fork_workflow(std::move(request), std::move(done));
  });
}

Result<ControlReply> WorkflowRuntime::complete(const std::string_view token,
                                               std::variant<Payload, Failure> outcome) {
  return wait_for_report<ControlReply>([&](Callback<ControlReply> done) {
    impl_->runtime->complete_action({std::string(token), std::move(outcome)}, std::move(done));
  });
}

Result<Payload> WorkflowRuntime::execute(std::string_view action, Payload parameters,
                                         const ExecuteOptions& options) {
  ExecuteActionRequest request;
  request.tenant = options.tenant;
  request.execution_id = options.execution_id;
  request.event_id = options.event_id;
  request.idempotency_key = options.idempotency_key;
  request.name = action;
  request.parameters = std::move(parameters);
  return wait_for_report<Payload>([&](Callback<Payload> done) {
    impl_->runtime->execute_action(std::move(request), std::move(done));
  });
}

Result<ExecutionState> WorkflowRuntime::get_execution_state(std::string_view execution_id,
                                                            const StateOptions& options) {
  return wait_for_report<ExecutionState>([&](Callback<ExecutionState> done) {
    impl_->runtime->get_execution_state(options.tenant, std::string(execution_id),
                                        options.at_sequence, std::move(done));
  });
}

Result<std::vector<HistoryRecord>> WorkflowRuntime::get_history(std::string_view execution_id,
                                                                std::string_view tenant) {
  return wait_for_report<std::vector<HistoryRecord>>(
      [&](Callback<std::vector<HistoryRecord>> done) {
        impl_->runtime->get_history(std::string(tenant), std::string(execution_id),
                                    std::move(done));
      });
}

Result<ListPage> WorkflowRuntime::list_executions(const ListQuery& query) {
  return wait_for_report<ListPage>(
      [&](Callback<ListPage> done) { impl_->runtime->list_executions(query, std::move(done)); });
}

Result<Lock> WorkflowRuntime::lock(const std::string_view key, const LockOptions& options) {
  LockRequest request{options.tenant, std::string(key), options.ttl.count(), options.wait.count()};
  std::optional<std::stop_callback<std::function<void()>>> on_stop;
  return wait_for_report<Lock>([&](Callback<Lock> done) {
    const LockWait wait = impl_->runtime->acquire_lock(std::move(request), std::move(done));
    on_stop.emplace(options.stop,
                    [runtime = impl_->runtime.get(), wait] { runtime->give_up_lock(wait); });
  });
}

Result<DeadLetterPage> WorkflowRuntime::list_dead_letters(const DeadLetterQuery& query) {
  return wait_for_report<DeadLetterPage>([&](Callback<DeadLetterPage> done) {
    impl_->runtime->list_dead_letters(query, std::move(done));
  });
}

Result<DeadLetter> WorkflowRuntime::retry_dead_letter(const std::string_view id,
                                                      const std::string_view tenant) {
  return wait_for_report<DeadLetter>([&](Callback<DeadLetter> done) {
    impl_->runtime->retry_dead_letter({std::string(tenant), std::string(id)}, std::move(done));
  });
}

Result<DeadLetter> WorkflowRuntime::drop_dead_letter(const std::string_view id,
                                                     const std::string_view tenant) {
  return wait_for_report<DeadLetter>([&](Callback<DeadLetter> done) {
    impl_->runtime->drop_dead_letter({std::string(tenant), std::string(id)}, std::move(done));
  });
}

Result<BackupReport> WorkflowRuntime::backup(std::string path) {
  return wait_for_report<BackupReport>([&](Callback<BackupReport> done) {
    impl_->runtime->backup(std::move(path), std::move(done));
  });
}

Result<IntegrityReport> WorkflowRuntime::check_integrity(const IntegrityOptions& options) {
  return wait_for_report<IntegrityReport>([&](Callback<IntegrityReport> done) {
    impl_->runtime->check_integrity(options, std::move(done));
  });
}

Health WorkflowRuntime::health() const { return impl_->runtime->health(); }

Runtime& WorkflowRuntime::engine() { return *impl_->runtime; }

void WorkflowRuntime::close(const std::optional<std::chrono::milliseconds> drain) {
  if (!impl_) return;
  if (detail::Instance::running() != nullptr) {
    throw std::logic_error(
        "the runtime was closed (or destroyed) from workflow code, whose thread would wait for "
        "itself: tell another thread, such as main(), to close it");
  }
  if (impl_->pool.runs_this_thread()) {
    throw std::logic_error(
        "the runtime was closed (or destroyed) from an action's handler, for whose end that waits: "
        "tell another thread, such as main(), to close it, and return");
  }
  impl_->runtime->close(drain);
  impl_->pool.close();
}

}  // namespace pawl
