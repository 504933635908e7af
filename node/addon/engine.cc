#include "engine.h"

#include <atomic>
#include <chrono>
#include <mutex>
#include <utility>

#include "database_object.h"
#include "flat_reader.h"
#include "json_text.h"
#include "request_text.h"

namespace pawl::node {

namespace {

// Whether an engine of this process is open or opening. Environments (worker threads) share it.
std::atomic<bool> process_has_engine = false;

std::string error_reply(std::int64_t call, const Error& error) {
  std::string text = "[";
  append_number(text, call);
  text += ',';
  append_number(text, static_cast<int>(error.code));
  text += ',';
  append_string(text, error.message);
  text += ',';
  append_string(text, error.subject);
  text += ']';
  return text;
}

std::string empty_reply(std::int64_t call) {
  std::string text = "[";
  append_number(text, call);
  text += ",0]";
  return text;
}

// Refusals of registrations are given back at once: [code, message].
Napi::Value refusal_of(Napi::Env env, const Result<void>& result) {
  if (result) return env.Undefined();
  auto refusal = Napi::Array::New(env, 2);
  refusal.Set(0U, Napi::Number::New(env, static_cast<int>(result.error().code)));
  refusal.Set(1U, Napi::String::New(env, result.error().message));
  return refusal;
}

std::vector<std::string> texts_of(Napi::Array array) {
  std::vector<std::string> texts(array.Length());
  for (std::uint32_t i = 0; i < texts.size(); ++i) texts[i] = to_utf8(array.Env(), array.Get(i));
  return texts;
}

void append_log_line(std::string& out, const LogLine& line) {
  out += R"({"level":)";
  append_number(out, static_cast<int>(line.level));
  out += R"(,"message":)";
  append_string(out, line.message);
  if (!line.details.is_none()) {
    out += R"(,"details":)";
    out += line.details.bytes;
  }
  for (const auto& [name, text] :
       {std::pair<const char*, const std::string*>{"tenant", &line.tenant},
        {"executionId", &line.execution_id},
        {"workflow", &line.workflow},
        {"correlationId", &line.correlation_id}}) {
    out += ",\"";
    out += name;
    out += "\":";
    append_string(out, *text);
  }
  out += R"(,"at":)";
  append_number(out, line.at);
  out += '}';
}

}  // namespace

// Shared with the thread that opens, since the engine may be gone before that thread is through.
struct Engine::OpenSlot {
  std::mutex mutex;
  std::unique_ptr<Runtime> runtime;  // guarded by mutex until the opening was reported
  bool claimed = false;              // holds process_has_engine

  void release() {
    if (std::exchange(claimed, false)) process_has_engine = false;
  }
};

Napi::Function Engine::define(Napi::Env env) {
  return DefineClass(env, "Engine",
                     {InstanceMethod("open", &Engine::open),
                      InstanceMethod("begin", &Engine::begin),
                      InstanceMethod("registerWorkflow", &Engine::register_workflow),
                      InstanceMethod("registerAction", &Engine::register_action),
                      InstanceMethod("start", &Engine::start),
                      InstanceMethod("submit", &Engine::submit),
                      InstanceMethod("enqueue", &Engine::enqueue),
                      InstanceMethod("wait", &Engine::wait),
                      InstanceMethod("state", &Engine::state),
                      InstanceMethod("history", &Engine::history),
                      InstanceMethod("list", &Engine::list),
                      InstanceMethod("control", &Engine::control),
                      InstanceMethod("fork", &Engine::fork),
                      InstanceMethod("acquireLock", &Engine::acquire_lock),
                      InstanceMethod("lockEnded", &Engine::lock_ended),
                      InstanceMethod("releaseLock", &Engine::release_lock),
                      InstanceMethod("listDeadLetters", &Engine::list_dead_letters),
                      InstanceMethod("changeDeadLetter", &Engine::change_dead_letter),
                      InstanceMethod("backup", &Engine::backup),
                      InstanceMethod("checkIntegrity", &Engine::check_integrity),
                      InstanceMethod("completeAction", &Engine::complete_action),
                      InstanceMethod("executeAction", &Engine::execute_action),
                      InstanceMethod("actionsFinished", &Engine::actions_finished),
                      InstanceMethod("actionHeartbeat", &Engine::action_heartbeat),
                      InstanceMethod("database", &Engine::database),
                      InstanceMethod("commitBegins", &Engine::commit_begins),
                      InstanceMethod("commitEnded", &Engine::commit_ended),
                      InstanceMethod("health", &Engine::health),
                      InstanceMethod("counters", &Engine::counters),
                      InstanceMethod("close", &Engine::close),
                      InstanceMethod("closeNow", &Engine::close_now)});
}

Engine::Engine(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<Engine>(info), slot_(std::make_shared<OpenSlot>()) {
  auto thread = JsThread::create(info.Env(), info[0].As<Napi::Object>());
  if (!thread) throw Napi::Error::New(info.Env(), thread.error().message);
  thread_ = std::move(*thread);
  workflow_host_ = std::make_unique<NodeWorkflowHost>(thread_);
  action_host_ = std::make_unique<NodeActionHost>(thread_);
  napi_add_async_cleanup_hook(info.Env(), &Engine::on_environment_end, this, &cleanup_);
}

Engine::~Engine() {
  shut_down({});
  if (cleanup_ != nullptr) napi_remove_async_cleanup_hook(cleanup_);
}

void Engine::on_environment_end(napi_async_cleanup_hook_handle handle, void* self) {
  auto& engine = *static_cast<Engine*>(self);
  engine.cleanup_ = nullptr;
  engine.shut_down([handle] { napi_remove_async_cleanup_hook(handle); });
}

void Engine::open(const Napi::CallbackInfo& info) {
  const auto call = integer_of(info, 0);
  RuntimeOptions options;
  options.store = text_of(info, 1);
  options.begin_at_once = false;
  options.limits = FlatReader(info.Env(), info[2]).limits();
  options.lease = std::chrono::milliseconds(integer_of(info, 4));
  options.redis = text_of(info, 5);
  options.partitions = static_cast<int>(integer_of(info, 6));
  options.log = [thread = thread_](const LogLine& line) {
    std::string text;
    append_log_line(text, line);
    thread->post(LogItem{std::move(text)});
  };
  if (process_has_engine.exchange(true)) {
    thread_->post(ReplyItem{error_reply(
        call, {ErrorCode::store_in_use,
               "another thread of this process has a runtime open: a process has one. Call it from "
               "that thread, or close it first",
               {}})});
    return;
  }
  slot_->claimed = true;
  thread_->watch(std::chrono::milliseconds(integer_of(info, 3)));
  // Opening reads files and may wait for a disk.
  background_ = std::thread([thread = thread_, slot = slot_, call, options = std::move(options)] {
    auto opened = Runtime::open(options);
    std::string reply;
    {
      std::lock_guard lock(slot->mutex);
      if (opened) {
        slot->runtime = std::move(*opened);
        reply = empty_reply(call);
      } else {
        slot->release();
        reply = error_reply(call, opened.error());
      }
    }
    thread->post(ReplyItem{std::move(reply)});
  });
}

Runtime& Engine::runtime(Napi::Env env) const {
  if (slot_->runtime == nullptr) throw Napi::Error::New(env, "the engine is not open");
  return *slot_->runtime;
}

void Engine::begin(const Napi::CallbackInfo& info) { runtime(info.Env()).begin(); }

Napi::Value Engine::register_workflow(const Napi::CallbackInfo& info) {
  WorkflowDescription description;
  description.name = text_of(info, 0);
  description.version = text_of(info, 1);
  description.description = text_of(info, 2);
  description.author = text_of(info, 3);
  description.tags = texts_of(info[4].As<Napi::Array>());
  const bool replace = info[5].As<Napi::Boolean>();
  return refusal_of(
      info.Env(),
      runtime(info.Env()).register_workflow(std::move(description), *workflow_host_, replace));
}

Napi::Value Engine::register_action(const Napi::CallbackInfo& info) {
  ActionDescription description;
  description.name = text_of(info, 0);
  description.description = text_of(info, 1);
  description.options = FlatReader(info.Env(), info[2]).action_options();
  const bool replace = info[3].As<Napi::Boolean>();
  return refusal_of(
      info.Env(),
      runtime(info.Env()).register_action(std::move(description), *action_host_, replace));
}

template <class T>
Callback<T> Engine::replying(const Napi::CallbackInfo& info,
                             std::function<void(std::string&, const T&)> append) const {
  return
      [thread = thread_, call = integer_of(info, 0), append = std::move(append)](Result<T> result) {
        std::string text;
        if (result) {
          text = "[";
          append_number(text, call);
          text += ",0,";
          append(text, *result);
          text += ']';
        } else {
          text = error_reply(call, result.error());
        }
        thread->post(ReplyItem{std::move(text)});
      };
}

void Engine::start(const Napi::CallbackInfo& info) {
  runtime(info.Env())
      .start_workflow(start_of(info, 1),
                      replying<std::string>(info, [](std::string& out, const std::string& id) {
                        append_string(out, id);
                      }));
}

void Engine::submit(const Napi::CallbackInfo& info) {
  EventRequest request = event_of(info, 2);
  if (const std::int64_t wait_max = integer_of(info, 1); wait_max >= 0) request.wait_max = wait_max;
  runtime(info.Env())
      .submit_event(std::move(request),
                    replying<EventReply>(info, [](std::string& out, const EventReply& reply) {
                      out += R"({"executionId":)";
                      append_string(out, reply.execution_id);
                      out += R"(,"eventId":)";
                      append_string(out, reply.event_id);
                      out += R"(,"currentState":)";
                      append_string(out, reply.current_state);
                      out += R"(,"status":)";
                      append_string(out, reply.status);
                      out += R"(,"isComplete":)";
                      out += reply.is_complete ? "true" : "false";
                      out += R"(,"consumed":)";
                      out += reply.consumed ? "true}" : "false}";
                    }));
}

void Engine::enqueue(const Napi::CallbackInfo& info) {
  runtime(info.Env())
      .enqueue_event(event_of(info, 1), replying<EnqueueReply>(info, append_enqueue_reply));
}

void Engine::wait(const Napi::CallbackInfo& info) {
  const auto wait_max = integer_of(info, 3);
  runtime(info.Env())
      .wait_for_completion(text_of(info, 1), text_of(info, 2),
                           wait_max < 0 ? std::nullopt : std::optional<DurationMs>(wait_max),
                           replying<ExecutionState>(info, append_state));
}

void Engine::state(const Napi::CallbackInfo& info) {
  const auto at = integer_of(info, 3);
  runtime(info.Env())
      .get_execution_state(text_of(info, 1), text_of(info, 2),
                           at < 0 ? std::nullopt : std::optional<std::int64_t>(at),
                           replying<ExecutionState>(info, append_state));
}

void Engine::history(const Napi::CallbackInfo& info) {
  runtime(info.Env())
      .get_history(text_of(info, 1), text_of(info, 2),
                   replying<std::vector<HistoryRecord>>(info, append_history));
}

void Engine::list(const Napi::CallbackInfo& info) {
  runtime(info.Env())
      .list_executions(list_query_of(info, 1), replying<ListPage>(info, append_list_page));
}

void Engine::control(const Napi::CallbackInfo& info) {
  auto& runtime = this->runtime(info.Env());
  ControlRequest request{text_of(info, 2), text_of(info, 3), text_of(info, 4), text_of(info, 5)};
  auto done = replying<ControlReply>(info, append_control_reply);
  // The numbers are those of node/src/runtime.ts.
  switch (integer_of(info, 1)) {
    case 0: return runtime.cancel_workflow(std::move(request), std::move(done));
    case 1: return runtime.terminate_workflow(std::move(request), std::move(done));
    case 2: return runtime.pause_workflow(std::move(request), std::move(done));
    case 3: return runtime.resume_workflow(std::move(request), std::move(done));
    default: return runtime.retry_workflow(std::move(request), std::move(done));
  }
}

void Engine::fork(const Napi::CallbackInfo& info) {
  ForkRequest request;
  request.tenant = text_of(info, 1);
  request.execution_id = text_of(info, 2);
  if (const auto at = integer_of(info, 3); at >= 0) request.at_sequence = at;
  request.fork_id = text_of(info, 4);
  request.by = text_of(info, 5);
  request.reason = text_of(info, 6);
  runtime(info.Env())
      .fork_workflow(std::move(request),
                     replying<std::string>(info, [](std::string& out, const std::string& id) {
                       append_string(out, id);
                     }));
}

void Engine::acquire_lock(const Napi::CallbackInfo& info) {
  const auto call = integer_of(info, 0);
  const auto number = integer_of(info, 1);
  LockRequest request{text_of(info, 2), text_of(info, 3), integer_of(info, 4), integer_of(info, 5)};
  if (!locks_->expect(number)) throw Napi::Error::New(info.Env(), "that number is in use");
  const LockWait wait = runtime(info.Env())
                            .acquire_lock(std::move(request), [thread = thread_, locks = locks_,
                                                               call, number](Result<Lock> lock) {
                              if (!lock) {
                                locks->forget(number);
                                thread->post(ReplyItem{error_reply(call, lock.error())});
                                return;
                              }
                              std::string text = "[";
                              append_number(text, call);
                              text += R"(,0,{"fence":)";
                              append_number(text, lock->fence());
                              text += R"(,"token":)";
                              append_string(text, lock->token());
                              text += R"(,"query":)";
                              append_string(text, lock->held_query());
                              text += "}]";
                              locks->keep(number, std::move(*lock));
                              thread->post(ReplyItem{std::move(text)});
                            });
  locks_->waits(number, wait);
}

void Engine::lock_ended(const Napi::CallbackInfo& info) {
  locks_->when_ended(integer_of(info, 1), [thread = thread_, call = integer_of(info, 0)](
                                              const std::optional<Error>& lost) {
    thread->post(ReplyItem{lost ? error_reply(call, *lost) : empty_reply(call)});
  });
}

void Engine::release_lock(const Napi::CallbackInfo& info) {
  const LockWait waits = locks_->release(integer_of(info, 0));
  if (waits != 0 && slot_->runtime != nullptr) slot_->runtime->give_up_lock(waits);
}

void Engine::list_dead_letters(const Napi::CallbackInfo& info) {
  runtime(info.Env())
      .list_dead_letters(dead_letter_query_of(info, 1),
                         replying<DeadLetterPage>(info, append_dead_letter_page));
}

void Engine::change_dead_letter(const Napi::CallbackInfo& info) {
  auto& runtime = this->runtime(info.Env());
  const bool retry = integer_of(info, 1) == 0;
  DeadLetterRequest request{text_of(info, 2), text_of(info, 3)};
  auto done = replying<DeadLetter>(info, append_dead_letter);
  if (retry) return runtime.retry_dead_letter(std::move(request), std::move(done));
  runtime.drop_dead_letter(std::move(request), std::move(done));
}

void Engine::backup(const Napi::CallbackInfo& info) {
  runtime(info.Env())
      .backup(text_of(info, 1),
              replying<BackupReport>(info, [](std::string& out, const BackupReport& report) {
                out += R"({"path":)";
                append_string(out, report.path);
                out += R"(,"bytes":)";
                append_number(out, static_cast<std::int64_t>(report.bytes));
                out += '}';
              }));
}

void Engine::check_integrity(const Napi::CallbackInfo& info) {
  IntegrityOptions options;
  options.findings_max = static_cast<int>(integer_of(info, 1));
  runtime(info.Env())
      .check_integrity(options, replying<IntegrityReport>(info, append_integrity_report));
}

void Engine::execute_action(const Napi::CallbackInfo& info) {
  ExecuteActionRequest request;
  request.tenant = text_of(info, 1);
  request.execution_id = text_of(info, 2);
  request.event_id = text_of(info, 3);
  request.idempotency_key = text_of(info, 4);
  request.name = text_of(info, 5);
  request.parameters = Payload::json(text_of(info, 6));
  runtime(info.Env())
      .execute_action(std::move(request),
                      replying<Payload>(info, [](std::string& out, const Payload& result) {
                        // In brackets, as everywhere: [] is undefined.
                        append_payload(out, result);
                      }));
}

void Engine::complete_action(const Napi::CallbackInfo& info) {
  runtime(info.Env())
      .complete_action(completion_of(info, 1), replying<ControlReply>(info, append_control_reply));
}

void Engine::actions_finished(const Napi::CallbackInfo& info) {
  FlatReader reader(info.Env(), info[0]);
  std::vector<ActionOutcome> outcomes;
  while (!reader.at_end()) {
    ActionOutcome outcome;
    outcome.id = reader.integer();
    outcome.execution = reader.integer();
    outcome.position = static_cast<Position>(reader.integer());
    // As node/src/action_runner.ts writes it.
    switch (reader.integer()) {
      case 0: outcome.outcome = reader.failure(); break;
      case 1: outcome.outcome = reader.payload(); break;
      default: outcome.deferred = true;
    }
    outcomes.push_back(std::move(outcome));
  }
  action_host_->finished(std::move(outcomes));
}

void Engine::action_heartbeat(const Napi::CallbackInfo& info) {
  action_host_->beat(ActionHeartbeat{integer_of(info, 0), integer_of(info, 1),
                                     static_cast<Position>(integer_of(info, 2)),
                                     Payload::json(text_of(info, 3))});
}

Napi::Value Engine::database(const Napi::CallbackInfo& info) {
  return DatabaseObject::make(info.Env(), runtime(info.Env()).database());
}

namespace {

ActionTask attempt_of(const Napi::CallbackInfo& info) {
  ActionTask task = task_of(info.Env(), info[1]);
  task.id = integer_of(info, 0);
  return task;
}

}  // namespace

// False: it was given up meanwhile, and must not be committed.
Napi::Value Engine::commit_begins(const Napi::CallbackInfo& info) {
  const ActionTask task = attempt_of(info);
  const auto database = runtime(info.Env()).database();
  database->commit_begins(task);
  const bool wanted = action_host_->is_wanted(task.id);
  if (!wanted) database->commit_ended(task);
  return Napi::Boolean::New(info.Env(), wanted);
}

void Engine::commit_ended(const Napi::CallbackInfo& info) {
  runtime(info.Env()).database()->commit_ended(attempt_of(info));
}

Napi::Value Engine::health(const Napi::CallbackInfo& info) {
  std::string text;
  append_health(text, runtime(info.Env()).health());
  return Napi::String::New(info.Env(), text);
}

Napi::Value Engine::counters(const Napi::CallbackInfo& info) {
  const auto counters = runtime(info.Env()).counters();
  auto object = Napi::Object::New(info.Env());
  const auto set = [&](const char* name, std::uint64_t value) {
    object.Set(name, Napi::Number::New(info.Env(), static_cast<double>(value)));
  };
  set("commits", counters.commits);
  set("commitBatches", counters.commit_batches);
  set("activations", counters.activations);
  set("replays", counters.replays);
  set("actionsStarted", counters.actions_started);
  set("actionsInFlight", counters.actions_in_flight);
  set("actionsWaiting", counters.actions_waiting);
  set("executionsCached", counters.executions_cached);
  set("stateRecordsRead", counters.state_records_read);
  set("snapshotsMade", counters.snapshots_made);
  return object;
}

void Engine::close(const Napi::CallbackInfo& info) {
  const auto call = integer_of(info, 0);
  const std::chrono::milliseconds drain(integer_of(info, 1));
  if (background_.joinable()) background_.join();
  // Before JavaScript goes on: what it does next must not begin anything.
  if (slot_->runtime != nullptr) slot_->runtime->begin_close(drain);
  // Closing lets actions and the store finish; JavaScript goes on meanwhile.
  background_ = std::thread([thread = thread_, slot = slot_, call, drain] {
    if (slot->runtime != nullptr) slot->runtime->close(drain);
    thread->post(ReplyItem{empty_reply(call)});
  });
}

void Engine::close_now(const Napi::CallbackInfo&) { shut_down({}); }

void Engine::shut_down(std::function<void()> closed) {
  constexpr std::chrono::milliseconds kAtOnce(0);
  if (background_.joinable()) {
    Runtime* draining = nullptr;
    {
      std::lock_guard lock(slot_->mutex);
      draining = slot_->runtime.get();
    }
    // JavaScript, which actions under way wait for, does not go on while this thread waits.
    if (draining != nullptr) draining->close(kAtOnce);
    background_.join();
  }
  if (slot_->runtime != nullptr) {
    slot_->runtime->close(kAtOnce);
    slot_->runtime.reset();
  }
  slot_->release();
  thread_->close(std::move(closed));
}

}  // namespace pawl::node
