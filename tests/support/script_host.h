#pragma once

// A workflow host for tests of the engine that needs no coroutines: the workflow is a plain function
// that is run again from its beginning at each activation, until it reaches an await that is not
// settled. Slow and simple, and so a second opinion on what hosts have to do.

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "pawl/host.h"

namespace pawl::testing {

class Script {
 public:
  // Thrown where the code would wait; ends the run of this activation.
  struct Blocked {};

  // ---- what begins an await gives its position
  Position start_action(std::string name, std::string parameters, ActionOptions options = {});
  Position start_wait(std::vector<std::string> names, std::optional<DurationMs> timeout = {});
  Position start_filtered(std::string name, std::function<bool(const ReceivedEvent&)> filter);
  Position start_child(std::string workflow, std::string input,
                       ParentClose parent_close = ParentClose::cancel, std::string id = {});
  // How it ended, after a cancellation that action() told of it.
  std::variant<Payload, Failure> action_again(Position position);
  void cancel_child(Position position) { emit(CancelChildCommand{position}); }
  Position start_sleep(DurationMs duration);
  Position start_graph(std::vector<GraphAction> actions, int concurrency_max = 10);
  void withdraw(Position position);

  // ---- settled, or Blocked
  std::variant<Payload, Failure> action(Position position);
  std::optional<ReceivedEvent> event(Position position);  // none: timed out
  void slept(Position position);
  bool settled(Position position) const { return settled_.contains(position); }
  // The first of them to settle, in the order of the history; Blocked if none has.
  Position first(const std::vector<Position>& positions) const;

  // ---- begin and await
  std::string run(std::string name, std::string parameters);  // throws Failure
  ReceivedEvent wait_for(std::vector<std::string> names);

  void set_state(std::string state) { emit(SetStateCommand{std::move(state)}); }
  void set_data(std::string key, std::string json) {
    emit(SetDataCommand{std::move(key), Payload::json(std::move(json))});
  }
  void emit_event(std::string name, std::string json, std::string execution_id = {}) {
    emit(EmitCommand{std::move(name), Payload::json(std::move(json)), std::move(execution_id)});
  }
  // Begins over with that input.
  [[noreturn]] void continue_as_new(std::string json) {
    throw NextRun{Payload::json(std::move(json))};
  }
  void log(std::string message) { emit(LogCommand{LogLevel::info, std::move(message), {}}); }
  bool is_cancelled() const { return cancelled_; }
  bool patched(const std::string& change_id);
  const StartJob& started() const { return start_; }
  Timestamp now() const { return now_; }
  // Breaks the rules in the way that only a host sees.
  [[noreturn]] void violate(std::string report) { throw Violation{std::move(report)}; }

 private:
  friend class ScriptHost;
  struct Violation {
    std::string report;
  };
  struct NextRun {
    Payload input;
  };
  using Settled = std::variant<Payload, Failure, ReceivedEvent, std::monostate>;

  void emit(Command command);
  void cancel(const std::string& reason);

  StartJob start_;
  int generation_ = 0;
  Timestamp now_ = 0;
  std::map<Position, Settled> settled_;
  std::map<Position, std::variant<Payload, Failure>> later_;  // of what was settled before
  std::vector<Position> order_;                               // in which they settled
  std::size_t given_ = 0;  // commands that earlier activations gave
  bool cancelled_ = false;
  bool replaying_ = false;
  std::vector<std::string> recorded_patches_;  // in the activation under way
  struct PatchAnswer {
    std::string change_id;
    bool patched = false;
    bool recorded = false;  // by this very call
  };
  std::vector<PatchAnswer> patch_answers_;  // in the order of the calls
  // Of the run under way.
  std::size_t patches_asked_ = 0;
  std::size_t counted_ = 0;
  Position next_ = 1;
  std::vector<Command> fresh_;
  std::map<Position, std::function<bool(const ReceivedEvent&)>> filters_;
};

// Returns the result as JSON text, or throws Failure.
using ScriptFunction = std::function<std::string(Script&)>;

class ScriptHost final : public WorkflowHost {
 public:
  void define(const std::string& workflow, ScriptFunction function);
  void activate(std::vector<Activation> activations,
                const std::shared_ptr<ActivationSink>& sink) override;
  void evict(ExecutionRef execution) override;
  std::size_t instances() const { return scripts_.size(); }

 private:
  ActivationResult run(const Activation& activation);

  std::map<std::string, ScriptFunction> functions_;
  std::map<ExecutionRef, Script> scripts_;
};

}  // namespace pawl::testing
