#include "js_thread.h"

#include <cstdlib>
#include <new>

#include "flat_reader.h"
#include "json_text.h"

namespace pawl::node {

struct JsThread::Functions {
  Napi::ObjectReference bridge;
  Napi::FunctionReference activate;
  Napi::FunctionReference collect;
  Napi::FunctionReference evict;
  Napi::FunctionReference run;
  Napi::FunctionReference abort;
  Napi::FunctionReference settle;
  Napi::FunctionReference log;
};

// libuv's handle, allocated by us, freed when libuv has closed it. Its data is the Handle.
struct JsThread::Handle {
  uv_async_s* async = nullptr;
  JsThread* owner = nullptr;
  std::function<void()> closed;

  uv_handle_s* base() const { return reinterpret_cast<uv_handle_s*>(async); }

  static Handle* of(const void* handle) {
    return static_cast<Handle*>(uv_handle_get_data(static_cast<const uv_handle_s*>(handle)));
  }
};

Result<std::shared_ptr<JsThread>> JsThread::create(Napi::Env env, Napi::Object bridge) {
  std::shared_ptr<JsThread> thread(new JsThread(env, bridge));
  uv_loop_s* loop = nullptr;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) {
    return Error{ErrorCode::internal, "this environment has no event loop"};
  }
  auto* async = static_cast<uv_async_s*>(std::malloc(uv_handle_size(kUvAsync)));
  if (async == nullptr) throw std::bad_alloc();
  const int failed = uv_async_init(loop, async, [](uv_async_s* handle) {
    // Closing from within a turn must not free what the turn stands on.
    const auto owner = Handle::of(handle)->owner->shared_from_this();
    owner->run_turn();
  });
  if (failed != 0) {
    std::free(async);
    return Error{ErrorCode::internal, std::string("uv_async_init: ") + uv_strerror(failed)};
  }
  auto* handle = new Handle{async, thread.get(), {}};
  uv_handle_set_data(handle->base(), handle);
  thread->handle_ = handle;
  return thread;
}

JsThread::JsThread(Napi::Env env, Napi::Object bridge)
    : env_(env), functions_(std::make_unique<Functions>()) {
  const auto function = [&](const char* name) {
    return Napi::Persistent(bridge.Get(name).As<Napi::Function>());
  };
  functions_->bridge = Napi::Persistent(bridge);
  functions_->activate = function("activate");
  functions_->collect = function("collect");
  functions_->evict = function("evict");
  functions_->run = function("run");
  functions_->abort = function("abort");
  functions_->settle = function("settle");
  functions_->log = function("log");
}

JsThread::~JsThread() = default;

void JsThread::post(Item item) {
  std::lock_guard lock(mutex_);
  if (handle_ == nullptr) return;
  if (std::holds_alternative<LogItem>(item)) {
    if (log_lines_queued_ == kLogLinesQueuedMax) {
      ++log_lines_dropped_;
      return;
    }
    ++log_lines_queued_;
  }
  queued_.push_back(std::move(item));
  // libuv merges sends: one wake, however many items.
  uv_async_send(handle_->async);
}

void JsThread::post(std::vector<Item> items) {
  if (items.empty()) return;
  std::lock_guard lock(mutex_);
  if (handle_ == nullptr) return;
  if (queued_.empty()) {
    queued_ = std::move(items);
  } else {
    queued_.insert(queued_.end(), std::make_move_iterator(items.begin()),
                   std::make_move_iterator(items.end()));
  }
  uv_async_send(handle_->async);
}

void JsThread::watch(std::chrono::milliseconds patience) {
  watchdog_ = std::make_unique<Watchdog>(patience);
}

void JsThread::close(std::function<void()> closed) {
  Handle* handle = nullptr;
  {
    std::lock_guard lock(mutex_);
    std::swap(handle, handle_);
    queued_.clear();
  }
  if (handle == nullptr) {
    if (closed) closed();
    return;
  }
  functions_.reset();
  watchdog_.reset();
  handle->closed = std::move(closed);
  uv_close(handle->base(), [](uv_handle_s* base) {
    std::unique_ptr<Handle> closing(Handle::of(base));
    std::free(closing->async);
    if (closing->closed) closing->closed();
  });
}

// What one turn gathers for the engine, and the calls into JavaScript.
class JsThread::Turn {
 public:
  explicit Turn(JsThread& thread) : thread_(thread), env_(thread.env_) {}

  void tell(ActivationItem& item) {
    flush_batches();
    text_.clear();
    append_activation(text_, item.activation);
    expected_.push_back(
        {item.activation.execution, item.activation.sequence, std::move(item.sink)});
    if (thread_.watchdog_ != nullptr) thread_.watchdog_->begin(item.activation);
    call_and_drain(&Functions::activate, text_);
    if (thread_.watchdog_ != nullptr) thread_.watchdog_->end();
  }

  void tell(EvictItem& item) {
    flush_batches();
    Napi::HandleScope scope(env_);
    call(&Functions::evict, {Napi::Number::New(env_, static_cast<double>(item.execution))});
  }

  void tell(TaskItem& item) {
    flush_text(replies_, &Functions::settle);
    open_element(tasks_);
    append_task(tasks_, item.task);
  }

  void tell(AbortItem& item) {
    flush_batches();
    Napi::HandleScope scope(env_);
    make_callback(&Functions::abort, {Napi::Number::New(env_, static_cast<double>(item.attempt))});
  }

  void tell(ReplyItem& item) {
    flush_text(tasks_, &Functions::run);
    open_element(replies_);
    replies_ += item.text;
  }

  void tell(LogItem& item) {
    flush_batches();
    {
      std::lock_guard lock(thread_.mutex_);
      --thread_.log_lines_queued_;
    }
    call_and_drain(&Functions::log, item.text);
  }

  void finish() {
    flush_batches();
    report_log_lines_dropped();
    if (expected_.empty()) return;
    Napi::HandleScope scope(env_);
    std::vector<ActivationResult> results;
    std::string trouble = "the Node.js host gave no answer";
    try {
      const napi_value all = call(&Functions::collect, {});
      if (all != nullptr) {
        FlatReader reader(env_, all);
        results.reserve(expected_.size());
        while (!reader.at_end()) results.push_back(reader.activation_result());
      }
    } catch (const std::exception& error) {
      trouble = error.what();
    }
    report(std::move(results), trouble);
  }

 private:
  struct Expected {
    ExecutionRef execution;
    std::int64_t sequence;
    std::shared_ptr<ActivationSink> sink;
  };

  static void open_element(std::string& array) { array += array.empty() ? '[' : ','; }

  // Neighbouring tasks, and neighbouring replies, go over in one call: their code belongs to no
  // execution, so it may run together.
  void flush_batches() {
    flush_text(tasks_, &Functions::run);
    flush_text(replies_, &Functions::settle);
  }

  void flush_text(std::string& array, Napi::FunctionReference Functions::* function) {
    if (array.empty()) return;
    array += ']';
    call_and_drain(function, array);
    array.clear();
  }

  void call_and_drain(Napi::FunctionReference Functions::* function, const std::string& text) {
    Napi::HandleScope scope(env_);
    make_callback(function, {Napi::String::New(env_, text)});
  }

  void make_callback(Napi::FunctionReference Functions::* function,
                     std::initializer_list<napi_value> arguments) {
    if (thread_.functions_ == nullptr) return;
    auto& functions = *thread_.functions_;
    napi_value result = nullptr;
    const auto status =
        napi_make_callback(env_, nullptr, functions.bridge.Value(), (functions.*function).Value(),
                           arguments.size(), arguments.begin(), &result);
    if (status != napi_ok) swallow_exception();
  }

  // Without a drain: for functions that run no code but ours and settle nothing.
  napi_value call(Napi::FunctionReference Functions::* function,
                  std::initializer_list<napi_value> arguments) {
    if (thread_.functions_ == nullptr) return nullptr;
    auto& functions = *thread_.functions_;
    napi_value result = nullptr;
    const auto status =
        napi_call_function(env_, functions.bridge.Value(), (functions.*function).Value(),
                           arguments.size(), arguments.begin(), &result);
    if (status == napi_ok) return result;
    swallow_exception();
    return nullptr;
  }

  // The bridge catches what code throws. What still comes through is the end of the environment, or
  // a fault of ours, which the process should see.
  void swallow_exception() {
    bool pending = false;
    napi_is_exception_pending(env_, &pending);
    if (!pending) return;
    napi_value exception = nullptr;
    napi_get_and_clear_last_exception(env_, &exception);
    napi_fatal_exception(env_, exception);
  }

  void report(std::vector<ActivationResult> results, const std::string& trouble) {
    // JavaScript answers in the order in which it was told. Should an answer be missing, the engine
    // still gets one.
    std::size_t next = 0;
    std::vector<ActivationResult> batch;
    for (std::size_t i = 0; i < expected_.size(); ++i) {
      const auto& expected = expected_[i];
      if (next < results.size() && results[next].execution == expected.execution &&
          results[next].sequence == expected.sequence) {
        batch.push_back(std::move(results[next++]));
      } else {
        batch.push_back({.execution = expected.execution,
                         .sequence = expected.sequence,
                         .commands = {},
                         .violation = "internal: " + trouble});
      }
      if (i + 1 == expected_.size() || expected_[i + 1].sink != expected.sink) {
        expected.sink->activations_completed(std::move(batch));
        batch.clear();
      }
    }
  }

  void report_log_lines_dropped() {
    std::size_t dropped = 0;
    {
      std::lock_guard lock(thread_.mutex_);
      if (thread_.log_lines_queued_ == 0) std::swap(dropped, thread_.log_lines_dropped_);
    }
    if (dropped == 0) return;
    std::string text = R"({"level":2,"message":)";
    append_string(text, std::to_string(dropped) +
                            " log lines were dropped: more than log_lines_queued_max (" +
                            std::to_string(kLogLinesQueuedMax) + ") waited for JavaScript");
    text += '}';
    call_and_drain(&Functions::log, text);
  }

  JsThread& thread_;
  Napi::Env env_;
  std::vector<Expected> expected_;
  std::string text_;
  std::string tasks_;
  std::string replies_;
};

void JsThread::run_turn() {
  // Code that spins the loop from within JavaScript must not start a turn inside a turn.
  if (in_turn_) return;
  in_turn_ = true;
  const auto end = std::chrono::steady_clock::now() + kTurnMax;
  Turn turn(*this);
  std::size_t told = 0;
  while (told < kTurnItemsMax) {
    if (current_next_ == current_.size()) {
      current_.clear();
      current_next_ = 0;
      std::lock_guard lock(mutex_);
      if (queued_.empty()) break;
      std::swap(current_, queued_);
    }
    Item item = std::move(current_[current_next_++]);
    std::visit([&](auto& one) { turn.tell(one); }, item);
    ++told;
    if (std::chrono::steady_clock::now() >= end) break;
  }
  turn.finish();
  in_turn_ = false;
  std::lock_guard lock(mutex_);
  if (handle_ != nullptr && (current_next_ < current_.size() || !queued_.empty())) {
    uv_async_send(handle_->async);
  }
}

}  // namespace pawl::node
