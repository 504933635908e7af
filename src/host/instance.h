#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "host/call_site.h"
#include "host/compensation_list.h"
#include "pawl/runtime.h"
#include "pawl/workflow.h"

namespace pawl::detail {

// What code is told of that did not live through a cancellation.
Failure failure_of(const Cancelled& cancelled);

// One live execution of a coroutine workflow: its frame, and what the frame waits for. Confined to the
// thread that calls activate(); the frame runs within that call only.
class Instance {
 public:
  // `limits` outlives it.
  Instance(std::shared_ptr<const WorkflowFunction> function, const Limits& limits);
  // Destroys the frame. What destructors ask of the context meanwhile is ignored.
  ~Instance();
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  // Applies all jobs, then lets code run until nothing is ready any more.
  void activate(Activation activation, ActivationResult& result);
  // Asks the filters of waits about events, up to the first that takes its event.
  void ask(const Activation& question, ActivationResult& result);

  // The workflow has returned or thrown: its frame is gone.
  bool ended() const { return ended_; }

  // --- for the context and the awaitables, from within the workflow's code ---------------------

  // The instance whose code runs on this thread, or null.
  static Instance* running();
  // That code runs which may use this instance: true. While the frame is destroyed: false. Anything
  // else is a use from outside, which is noted and throws std::logic_error.
  bool may_use(const char* what);
  // The same for what changes something or asks for something; a predicate may do neither.
  bool may_ask(const char* what);

  // Throw ErrorException, before anything is asked for.
  void check_name(std::string_view what, std::string_view name) const;
  void check_payload(std::string_view what, const Payload& payload) const;
  void check_action(std::string_view name, const Payload& parameters) const;
  PendingPointer open(Pending::Kind kind);
  // Of an action that was checked.
  PendingPointer schedule(std::string_view name, Payload parameters, ActionOptions options,
                          CallSite site);
  PendingPointer open_condition(std::function<bool()> predicate, Here here);
  // Asks the predicates of what waits for a condition, in order of creation.
  void look();
  void give(Command command, CallSite site = {});
  std::vector<Command>& commands() { return result_->commands; }
  void close(Pending& pending);
  std::uint64_t activation_number() const { return activation_number_; }
  std::uint64_t next_order() { return ++last_order_; }
  Position next_position() const { return last_position_ + 1; }
  // They belong to the awaitable that was opened last.
  void reserve(Position positions) { last_position_ += positions; }
  const Limits& limits() const { return limits_; }
  void make_ready(ReadyLink& link);
  double random();
  std::string uuid();
  bool patched(std::string_view change_id, Here here);

  void continue_as_new(Payload input, Here here);

  StartJob start;
  int generation = 0;                        // of the activation
  std::optional<std::string> cancel_reason;  // once it was cancelled
  std::string state = "initial";
  std::map<std::string, std::string, std::less<>> data;  // JSON text
  Timestamp now = 0;
  bool replaying = false;
  std::map<std::string, bool, std::less<>> patches;  // what the code was told, by change id
  CompensationList compensations{*this};

 private:
  void apply(StartJob& job);
  void apply(EventJob& job);
  void apply(WaitTimedOutJob& job);
  void apply(TimerJob& job);
  void apply(ActionJob& job);
  void apply(CancelJob& job);
  void apply(ChildJob& job);
  void finish(Pending::Kind kind, Position position, Pending::Outcome outcome);
  void run_ready();
  void end();
  void destroy_frame();
  void enrol(const PendingPointer& pending);
  bool judge(Pending& pending);
  void violate(std::string report);
  std::uint64_t next_random();

  std::shared_ptr<const WorkflowFunction> function_;
  const Limits& limits_;
  Context context_;
  RootFrame root_;
  ReadyLink root_link_;
  ReadyLink ready_;  // sentinel of a ring
  std::unordered_map<Position, PendingPointer> open_;
  std::map<Position, PendingPointer> conditions_;  // those of open_ that have a predicate
  bool judging_ = false;                           // a predicate runs
  ActivationResult* result_ = nullptr;             // of the activation that runs
  std::vector<std::string> recorded_patches_;      // in it, when it is a replay
  std::optional<Failure> failed_to_start_;
  std::optional<std::string> violation_;
  Position last_position_ = 0;
  std::uint64_t last_order_ = 0;
  std::uint64_t activation_number_ = 0;
  std::uint64_t random_state_ = 0;
  bool ended_ = false;
  std::optional<Payload> next_input_;  // it goes on as new
  CallSite next_run_asked_at_;
  // Set by whatever thread uses the context where it must not.
  std::atomic<bool> misused_ = false;
};

}  // namespace pawl::detail
