#pragma once

// The engine in one thread under virtual time: the production Shard over a MemoryStore and real
// hosts, with crashes where a test wants them. A crash drops everything but what was committed.

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/shard.h"
#include "pawl/host.h"
#include "pawl/runtime.h"
#include "store/memory_store.h"

namespace pawl::testing {

// Runs what a test gives as an action, at once. None: this attempt is never answered.
using ActionFunction =
    std::function<std::optional<std::variant<Payload, Failure>>(const ActionTask&)>;

struct WorldOptions {
  Limits limits;
  // Counted over the whole life of the world, from 1; 0: never.
  std::uint64_t crash_before_commit = 0;
  std::uint64_t crash_after_commit = 0;
  // A commit that fails, or whose outcome can't be told though it was applied or was not.
  std::uint64_t fail_commit = 0;
  std::optional<bool> unknown_applied;  // with fail_commit: outcome_unknown
  std::uint64_t seed = 0;  // 0: first in, first out; else the order of inputs is shuffled
};

class World {
 public:
  // `make_host` builds the host anew after each crash.
  using HostMaker = std::function<std::unique_ptr<WorkflowHost>()>;

  World(WorldOptions options, HostMaker make_host);
  ~World();

  void register_workflow(std::string name, std::string version = "1.0.0");
  void register_action(std::string name, ActionFunction function, ActionOptions options = {});
  // Its attempts say at once that the action is completed from elsewhere, after `handed_on` was called.
  void register_deferred_action(std::string name, std::function<void(const ActionTask&)> handed_on);

  // From the next restart on nothing is registered, as before a deployment has come up.
  void forget_registrations();

  // Each returns what the client was told; none if the world crashed before it was.
  std::optional<Result<std::string>> start(StartRequest request);
  std::optional<Result<EventReply>> submit(EventRequest request, bool enqueue = false);
  std::optional<Result<ControlReply>> control(ControlVerb verb, const std::string& execution_id,
                                              const std::string& reason = "");
  // From within what runs: it is taken in its turn, and the answer is nobody's.
  void ask_for(ControlVerb verb, const std::string& execution_id);
  std::optional<Result<std::string>> fork(const std::string& execution_id,
                                          const std::string& fork_id,
                                          std::optional<std::int64_t> at = std::nullopt);
  std::optional<Result<Payload>> execute(ExecuteActionRequest request);

  // As whoever has the token of the action does.
  std::optional<Result<ControlReply>> complete(const std::string& token,
                                               std::variant<Payload, Failure> outcome);
  // The same, in its turn: what it is told is asked for later.
  RequestId ask_to_complete(const std::string& token, std::variant<Payload, Failure> outcome);
  std::optional<Result<ControlReply>> told(RequestId request);
  // The attempt has done its part: the action is to be completed by its token.
  void defer(const ActionTask& task);
  // Of an attempt that has no answer yet; progress may be none.
  void beat(const ActionTask& task, Payload progress);
  // Of an attempt that its function left without an answer.
  void answer(const ActionTask& task, std::variant<Payload, Failure> outcome);

  // As a transaction of the action's own does that is committed now, with what it comes to. False: it has an
  // outcome already.
  bool write_ahead(const ActionTask& task, const Payload& result);

  // Works until nothing is left to do at this time.
  void settle();
  void advance(DurationMs by);
  // Moves time to what is due next, again and again, until nothing is.
  void run_out();
  void restart();
  // Ends in order and begins anew, as where another build is deployed.
  void deploy();

  Timestamp now() const { return now_; }
  const MemoryStoreData& data() const { return *data_; }
  ExecutionState state(const std::string& tenant, const std::string& execution_id) const;
  const std::vector<HistoryEvent>& history(const std::string& tenant,
                                           const std::string& execution_id) const;
  std::uint64_t commits() const { return commits_; }
  std::uint64_t crashes() const { return crashes_; }
  // How often who had started an execution was told of its end without a look at the store. What it was
  // told is what the store says, or the world throws.
  std::uint64_t ends_told() const { return ends_told_; }
  const std::vector<ActionTask>& actions_run() const { return actions_run_; }
  const std::vector<AttemptId>& aborts() const { return aborts_; }
  const std::vector<LogLine>& logs() const { return logs_; }
  WorkflowHost& host() { return *host_; }
  Shard& shard() { return *shard_; }

 private:
  class Sinks;
  struct Crash {};

  void boot();
  void feed(Input input);
  void carry_out(Outputs& out);
  bool step();
  template <class T>
  std::optional<Result<T>> answer_of(RequestId request);

  const WorldOptions options_;
  const HostMaker make_host_;
  std::shared_ptr<MemoryStoreData> data_ = std::make_shared<MemoryStoreData>();
  std::uint64_t ends_told_ = 0;
  Timestamp now_ = 1'000'000;
  std::uint64_t random_ = 0;
  std::uint64_t commits_ = 0;
  std::uint64_t crashes_ = 0;
  RequestId next_request_ = 1;
  std::uint64_t next_event_ = 1;

  struct RegisteredAction {
    std::string name;
    ActionFunction function;
    ActionOptions options;
    bool defers = false;
  };
  std::vector<std::pair<std::string, std::string>> workflows_;
  std::vector<RegisteredAction> actions_;
  std::vector<ActionTask> actions_run_;
  std::vector<AttemptId> aborts_;
  std::vector<LogLine> logs_;
  std::map<RequestId, Reply> replies_;

  // Lost at a crash.
  std::shared_ptr<Sinks> sinks_;
  std::unique_ptr<MemoryStore> store_;
  std::unique_ptr<WorkflowHost> host_;
  std::unique_ptr<Shard> shard_;
  std::deque<Input> inputs_;
};

}  // namespace pawl::testing
