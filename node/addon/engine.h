#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include <napi.h>

#include <pawl/runtime.h>

#include "held_locks.h"
#include "js_thread.h"
#include "node_hosts.h"

namespace pawl::node {

// pawl::Runtime for JavaScript (class NativeEngine of node/src/addon.ts). All members run on the
// JavaScript thread. A call carries a number; what the runtime reports comes back as a ReplyItem with
// that number, through the same queue as activations.
//
// One engine per process: SQLite's file has one, and a second JavaScript thread would need one of its
// own. The second one to open, in another worker thread, gets an error.
//
// While it is open it keeps the process alive. It closes with close(), when its environment ends
// (worker threads), and, from JavaScript, when the process exits.
class Engine final : public Napi::ObjectWrap<Engine> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit Engine(const Napi::CallbackInfo& info);
  ~Engine() override;

 private:
  struct OpenSlot;

  void open(const Napi::CallbackInfo& info);
  void begin(const Napi::CallbackInfo& info);
  Napi::Value register_workflow(const Napi::CallbackInfo& info);
  Napi::Value register_action(const Napi::CallbackInfo& info);
  void start(const Napi::CallbackInfo& info);
  void submit(const Napi::CallbackInfo& info);
  void enqueue(const Napi::CallbackInfo& info);
  void wait(const Napi::CallbackInfo& info);
  void state(const Napi::CallbackInfo& info);
  void history(const Napi::CallbackInfo& info);
  void list(const Napi::CallbackInfo& info);
  void control(const Napi::CallbackInfo& info);
  void fork(const Napi::CallbackInfo& info);
  void acquire_lock(const Napi::CallbackInfo& info);
  void lock_ended(const Napi::CallbackInfo& info);
  void release_lock(const Napi::CallbackInfo& info);
  void list_dead_letters(const Napi::CallbackInfo& info);
  void change_dead_letter(const Napi::CallbackInfo& info);
  void backup(const Napi::CallbackInfo& info);
  void check_integrity(const Napi::CallbackInfo& info);
  void execute_action(const Napi::CallbackInfo& info);
  void complete_action(const Napi::CallbackInfo& info);
  void actions_finished(const Napi::CallbackInfo& info);
  void action_heartbeat(const Napi::CallbackInfo& info);
  Napi::Value database(const Napi::CallbackInfo& info);
  Napi::Value commit_begins(const Napi::CallbackInfo& info);
  void commit_ended(const Napi::CallbackInfo& info);
  Napi::Value health(const Napi::CallbackInfo& info);
  Napi::Value counters(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo& info);
  void close_now(const Napi::CallbackInfo& info);

  // The runtime, or an exception to JavaScript when there is none.
  Runtime& runtime(Napi::Env env) const;
  // Reports the outcome of call `info[0]`; `append` writes the value of a success as JSON.
  template <class T>
  Callback<T> replying(const Napi::CallbackInfo& info,
                       std::function<void(std::string&, const T&)> append) const;
  // `closed` is called once the loop has let go, which may be at once.
  void shut_down(std::function<void()> closed);
  static void on_environment_end(napi_async_cleanup_hook_handle handle, void* self);

  std::shared_ptr<JsThread> thread_;
  std::unique_ptr<NodeWorkflowHost> workflow_host_;
  std::unique_ptr<NodeActionHost> action_host_;
  const std::shared_ptr<HeldLocks> locks_ = std::make_shared<HeldLocks>();
  std::shared_ptr<OpenSlot> slot_;  // the runtime; filled by the thread that opens it
  std::thread background_;          // opens or closes
  napi_async_cleanup_hook_handle cleanup_ = nullptr;
};

}  // namespace pawl::node
