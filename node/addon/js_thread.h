#pragma once

// One queue from the engine's threads to the JavaScript thread, and the turn that works it off.
//
//   item     what JavaScript is to be told: one activation, one eviction, one attempt of an action,
//            one abort, one reply, one log line
//   turn     one run of the loop's async callback: at most kTurnItemsMax items, so that the engine has
//            something to do while JavaScript goes on, or kTurnMax
//   bridge   the JavaScript functions that items are told to
//
// An activation is told through napi_make_callback. No callback scope is open in the async callback,
// so each such call is the outermost one: when it returns, Node.js has run every nextTick and every
// microtask that the call led to, and nothing else can run before the next item. So exactly one
// execution's code runs between two items, and one plain variable in JavaScript knows whose. What an
// execution commanded is taken down when the next item begins, and the results of a turn go back to
// the engine together at its end.

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <variant>
#include <vector>

#include <napi.h>

#include <pawl/host.h>

#include "libuv.h"
#include "watchdog.h"

namespace pawl::node {

inline constexpr std::size_t kTurnItemsMax = 32;
inline constexpr std::chrono::milliseconds kTurnMax{4};

struct ActivationItem {
  Activation activation;
  std::shared_ptr<ActivationSink> sink;
};

struct EvictItem {
  ExecutionRef execution = 0;
};

struct TaskItem {
  ActionTask task;
};

struct AbortItem {
  AttemptId attempt = 0;
};

// `text` is the JSON of one reply: [call, 0, value] or [call, error code, message, subject].
struct ReplyItem {
  std::string text;
};

// `text` is the JSON of one log line.
struct LogItem {
  std::string text;
};

using Item = std::variant<ActivationItem, EvictItem, TaskItem, AbortItem, ReplyItem, LogItem>;

// Queued items are bounded by what lets them arise (Limits: requests, executions, attempts under
// way); log lines, which nothing waits for, by this number. Those beyond it are counted and dropped.
inline constexpr std::size_t kLogLinesQueuedMax = 10'000;

class JsThread : public std::enable_shared_from_this<JsThread> {
 public:
  // On the JavaScript thread. `bridge` has the functions activate(text), collect(), evict(execution),
  // run(text), abort(attempt), settle(text) and log(text).
  static Result<std::shared_ptr<JsThread>> create(Napi::Env env, Napi::Object bridge);
  ~JsThread();
  JsThread(const JsThread&) = delete;
  JsThread& operator=(const JsThread&) = delete;

  // Any thread. After close() they do nothing.
  void post(Item item);
  void post(std::vector<Item> items);

  // On the JavaScript thread: from now on code that does not yield is reported after `patience`.
  void watch(std::chrono::milliseconds patience);
  // On the JavaScript thread: tells nothing more. `closed` is called once libuv let go.
  void close(std::function<void()> closed = {});

 private:
  struct Functions;
  class Turn;
  struct Handle;

  JsThread(Napi::Env env, Napi::Object bridge);
  void run_turn();

  // JavaScript thread only.
  Napi::Env env_;
  std::unique_ptr<Functions> functions_;
  std::unique_ptr<Watchdog> watchdog_;
  bool in_turn_ = false;
  std::vector<Item> current_;  // taken from queued_ and not yet told: from current_next_ on
  std::size_t current_next_ = 0;

  std::mutex mutex_;
  // Guarded by mutex_:
  Handle* handle_ = nullptr;  // null after close()
  std::vector<Item> queued_;
  std::size_t log_lines_queued_ = 0;
  std::size_t log_lines_dropped_ = 0;
};

}  // namespace pawl::node
