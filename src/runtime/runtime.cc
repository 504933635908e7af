#include "pawl/runtime.h"

#include <atomic>
#include <memory>
#include <mutex>

#include "base/clock.h"
#include "core/store_kind.h"
#include "runtime/engine.h"
#include "runtime/sqlite_kind.h"
#include "runtime/store_address.h"
#include "store/integrity_check.h"

namespace pawl {

class Runtime::Impl {
 public:
  Impl(RuntimeOptions options, OpenedStore store)
      : engine(std::move(options), std::move(store.store), clock, std::move(store.bus)),
        side(std::move(store.side)) {
    side->watch([this] { engine.look_for_mail(); });
  }

  void close(const std::optional<std::chrono::milliseconds> drain) {
    // First: while a check of the store is being given up, nothing new is to begin.
    engine.begin_close(drain);
    std::call_once(side_closed, [this] { side->close(); });
    engine.close();
  }

  SystemClock clock;
  Engine engine;
  const std::unique_ptr<StoreSide> side;
  std::once_flag side_closed;
};

Runtime::Runtime(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Runtime::~Runtime() { close(); }  // as RuntimeOptions::drain says

Result<std::unique_ptr<Runtime>> Runtime::open(RuntimeOptions options) {
  add_sqlite_stores();
  auto store = open_store(options);
  if (!store) return store.error();
  return std::unique_ptr<Runtime>(
      new Runtime(std::make_unique<Impl>(std::move(options), std::move(*store))));
}

Result<void> Runtime::register_workflow(WorkflowDescription description, WorkflowHost& host,
                                        const bool replace) {
  return impl_->engine.register_workflow(description, host, replace);
}

Result<void> Runtime::register_action(ActionDescription description, ActionHost& host,
                                      const bool replace) {
  return impl_->engine.register_action(description, host, replace);
}

void Runtime::begin() { impl_->engine.begin(); }

void Runtime::start_workflow(StartRequest request, Callback<std::string> done) {
  impl_->engine.start_workflow(std::move(request), std::move(done));
}

void Runtime::submit_event(EventRequest request, Callback<EventReply> done) {
  impl_->engine.submit_event(std::move(request), std::move(done));
}

void Runtime::enqueue_event(EventRequest request, Callback<EnqueueReply> done) {
  impl_->engine.enqueue_event(std::move(request), std::move(done));
}

void Runtime::wait_for_completion(std::string tenant, std::string execution_id,
                                  const std::optional<DurationMs> wait_max,
                                  Callback<ExecutionState> done) {
  impl_->engine.wait_for_completion(std::move(tenant), std::move(execution_id), wait_max,
                                    std::move(done));
}

void Runtime::cancel_workflow(ControlRequest request, Callback<ControlReply> done) {
  impl_->engine.control(ControlVerb::cancel, std::move(request), std::move(done));
}

void Runtime::terminate_workflow(ControlRequest request, Callback<ControlReply> done) {
  impl_->engine.control(ControlVerb::terminate, std::move(request), std::move(done));
}

void Runtime::pause_workflow(ControlRequest request, Callback<ControlReply> done) {
  impl_->engine.control(ControlVerb::pause, std::move(request), std::move(done));
}

void Runtime::resume_workflow(ControlRequest request, Callback<ControlReply> done) {
  impl_->engine.control(ControlVerb::resume, std::move(request), std::move(done));
}

void Runtime::retry_workflow(ControlRequest request, Callback<ControlReply> done) {
  impl_->engine.control(ControlVerb::retry, std::move(request), std::move(done));
}

void Runtime::fork_workflow(ForkRequest request, Callback<std::string> done) {
  impl_->engine.fork_workflow(std::move(request), std::move(done));
}

void Runtime::execute_action(ExecuteActionRequest request, Callback<Payload> done) {
  impl_->engine.execute_action(std::move(request), std::move(done));
}

void Runtime::get_execution_state(std::string tenant, std::string execution_id,
                                  const std::optional<std::int64_t> at_sequence,
                                  Callback<ExecutionState> done) {
  impl_->engine.get_execution_state(std::move(tenant), std::move(execution_id), at_sequence,
                                    std::move(done));
}

void Runtime::get_history(std::string tenant, std::string execution_id,
                          Callback<std::vector<HistoryRecord>> done) {
  impl_->engine.get_history(std::move(tenant), std::move(execution_id), std::move(done));
}

void Runtime::list_executions(ListQuery query, Callback<ListPage> done) {
  impl_->engine.list_executions(query, std::move(done));
}

LockWait Runtime::acquire_lock(LockRequest request, Callback<Lock> done) {
  return impl_->engine.acquire_lock(std::move(request), std::move(done));
}

void Runtime::give_up_lock(const LockWait wait) { impl_->engine.give_up_lock(wait); }

void Runtime::list_dead_letters(DeadLetterQuery query, Callback<DeadLetterPage> done) {
  impl_->engine.list_dead_letters(query, std::move(done));
}

void Runtime::retry_dead_letter(DeadLetterRequest request, Callback<DeadLetter> done) {
  impl_->engine.retry_dead_letter(request, std::move(done));
}

void Runtime::drop_dead_letter(DeadLetterRequest request, Callback<DeadLetter> done) {
  impl_->engine.drop_dead_letter(request, std::move(done));
}

void Runtime::backup(std::string path, Callback<BackupReport> done) {
  impl_->side->backup(std::move(path), std::move(done));
}

void Runtime::check_integrity(IntegrityOptions options, Callback<IntegrityReport> done) {
  impl_->side->check(options, std::move(done));
}

Result<IntegrityReport> check_store(const std::string& store, const IntegrityOptions& options) {
  const auto file = sqlite_options_of(store);
  if (!file) return file.error();
  const std::atomic<bool> never = false;
  return check_sqlite(*file, options, never);
}

void Runtime::complete_action(CompleteActionRequest request, Callback<ControlReply> done) {
  impl_->engine.complete_action(std::move(request), std::move(done));
}

std::shared_ptr<Database> Runtime::database() const { return impl_->engine.database(); }

Health Runtime::health() const { return impl_->engine.health(); }

Runtime::Counters Runtime::counters() const { return impl_->engine.counters(); }

void Runtime::begin_close(const std::optional<std::chrono::milliseconds> drain) {
  if (impl_) impl_->engine.begin_close(drain);
}

void Runtime::close(const std::optional<std::chrono::milliseconds> drain) {
  if (impl_) impl_->close(drain);
}

}  // namespace pawl
