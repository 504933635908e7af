#include "core_loop.h"

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <utility>
#include <variant>

#include "store/memory_store.h"

namespace pawl::micro {

namespace {

[[noreturn]] void give_up(const std::string& why) {
  fmt::print(stderr, "pawl_micro: {}\n", why);
  std::abort();
}

}  // namespace

CoreLoop::CoreLoop(WorkflowHost& host, const Limits& limits, Store* const store)
    : host_(host),
      store_(store),
      shard_(
          ShardOptions{1, limits},
          [this](std::string_view, std::string_view) {
            return store_ != nullptr ? store_->next_execution_ref({}, {}) : ++last_ref_;
          },
          [this] { return store_ != nullptr ? store_->next_inbox_id() : ++last_inbox_id_; }) {
  give(WorkflowRegistered{std::string(kWorkflow), "1.0.0", 0});
}

void CoreLoop::register_action(const std::string& name) { give(ActionRegistered{name, {}, 0}); }

void CoreLoop::start(const std::string& execution_id, Payload input) {
  StartRequested asked;
  asked.request = ++last_request_;
  asked.start.workflow = kWorkflow;
  asked.start.tenant = kTenant;
  asked.start.execution_id = execution_id;
  asked.start.input = std::move(input);
  asked.generated = true;
  asked.seed = 7;
  give(std::move(asked));
  settle(last_request_);
}

void CoreLoop::submit(const std::string& execution_id, const std::string& event, Payload payload) {
  EventSubmitted asked;
  asked.request = ++last_request_;
  asked.event.tenant = kTenant;
  asked.event.execution_id = execution_id;
  asked.event.name = event;
  asked.event.payload = std::move(payload);
  asked.event_id = "018c2f5e-7000-7000-8000-00000000cafe";
  asked.accepted_at = now_;
  give(std::move(asked));
  settle(last_request_);
}

// What is asked is carried out in rounds, as the engine's thread does it.
void CoreLoop::settle(const RequestId request) {
  bool told = false;
  for (bool more = true; more;) {
    Outputs& doing = outputs_[asking_];
    asking_ = 1 - asking_;
    more = false;
    for (const Evict& evict : doing.evictions) host_.evict(evict.execution);
    if (!doing.commits.empty()) {
      more = true;
      commit(std::move(doing.commits));
    }
    for (const LoadExecution& wanted : doing.loads) {
      more = true;
      load(wanted);
    }
    for (const TimerRecord& after : doing.timer_loads) {
      static_cast<void>(after);
      more = true;
      give(TimersLoaded{});
    }
    for (const LoadMail& wanted : doing.mail_loads) {
      static_cast<void>(wanted);
      more = true;
      give(MailLoaded{});
    }
    if (!doing.activations.empty()) {
      more = true;
      std::vector<Activation> activations;
      activations.reserve(doing.activations.size());
      for (Activate& activate : doing.activations) {
        activations.push_back(std::move(activate.activation));
      }
      host_.activate(std::move(activations), results_);
      for (ActivationResult& result : results_->collected) give(std::move(result));
      results_->collected.clear();
    }
    for (const RunAction& run : doing.actions) {
      more = true;
      give(ActionOutcome{run.task->id, run.task->execution, run.task->position,
                         Payload::json(R"({"number":42})")});
    }
    for (const Reply& reply : doing.replies) {
      if (const Error* const error = std::get_if<Error>(&reply.answer)) give_up(error->message);
      told = told || reply.request == request;
    }
    for (const LogLine& line : doing.logs) give_up(line.message);
    if (!doing.page_loads.empty() || !doing.inbox_lookups.empty()) give_up("not laid ready");
    doing.clear();
  }
  if (!told) give_up("the caller was told nothing");
}

void CoreLoop::commit(std::vector<CommitRequest> requests) {
  transitions_ += requests.size();
  CommitOutcome durable;
  durable.stream = requests.back().stream;
  durable.up_to = requests.back().id;
  if (store_ != nullptr) store_->commit(std::move(requests));
  give(std::move(durable));
}

void CoreLoop::load(const LoadExecution& wanted) {
  if (!ready_) give_up("no execution lies ready");
  ExecutionLoaded loaded;
  loaded.asked = wanted;
  loaded.found = std::exchange(ready_, std::nullopt);
  give(std::move(loaded));
}

StoredExecution stored_after_events(WorkflowHost& host, const std::string& execution_id,
                                    const int records) {
  struct Ignored final : CommitSink {
    void commits_finished(const std::vector<CommitOutcome>&) override {}
  };
  Ignored ignored;
  MemoryStore store;
  store.start(ignored);
  CoreLoop loop(host, {}, &store);
  loop.start(execution_id);
  for (;;) {
    auto stored = store.find_execution(kTenant, execution_id, kWholeHistory).value().value();
    if (stored.history_end >= records) {
      host.evict(stored.record.ref);
      return stored;
    }
    loop.submit(execution_id, "Go", Payload::json(R"({"number":42})"));
  }
}

}  // namespace pawl::micro
