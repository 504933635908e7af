#pragma once

// The parts of a Shard that only its own files need.

#include <deque>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/queue.h"
#include "core/live_data.h"
#include "core/shard.h"

namespace pawl {

// A hint is acknowledged after that time, whatever became of what it told of: one that waits must not keep its stream
// from being trimmed.
inline constexpr DurationMs kHintKeptMs = 2'000;

Error unknown_execution(std::string_view tenant, std::string_view execution_id);

// Of a replay that is read page by page: the next one is handed over when no more steps than these are left
// of those before.
inline constexpr std::size_t kReplayStepsLeft = 256;

// What an execution is found by, where its number is not known.
inline std::string execution_key(const std::string_view tenant, const std::string_view id) {
  std::string key;
  key.reserve(tenant.size() + 1 + id.size());
  key.append(tenant).push_back('\0');
  key.append(id);
  return key;
}

struct Shard::Execution {
  enum class Phase {
    idle,
    looking_up,  // asks the store for an idempotency key; `event` waits for the answer
    activating,  // the host runs its code
    stuck,       // its status is being committed; then it is forgotten
  };

  // Its code being built anew, page by page.
  //
  // Reading --PageLoaded--> Waiting --few steps are left--> Reading, until there is no page left
  struct Rebuild {
    ActivationSplitter splitter;
    std::int64_t read = 0;             // up to which record
    std::uint64_t asked = 0;           // the number of the page that is on its way
    std::vector<HistoryEvent> page;    // that is to be handed over next
    std::optional<Activation> behind;  // what woke it: for the host, once it has all of the replay
  };

  explicit Execution(ExecutionRecord record) : fold(std::move(record)) {}

  ExecutionFold fold;
  Phase phase = Phase::idle;
  Queue<Work> work;
  // Steps of graphs that have ended while a commit was under way: recorded together once that is durable.
  std::vector<Work> steps_ended;
  std::uint64_t steps_after = 0;  // that commit; later ones don't hold them up
  bool steps_due = false;         // it is durable, and they have their turn
  std::list<Execution*>::iterator used;

  HostId host = 0;
  bool hosted = false;         // the host has an instance that is as far as the fold
  bool instance_lost = false;  // it had one, and is to be forgotten once what it decided is durable
  std::uint64_t built_with = 0;  // how often its workflow was registered before that was made
  // As loaded; kept until the instance is rebuilt from it. Empty if it is longer than a page: it is read
  // again then, up to `history_end`.
  std::vector<HistoryEvent> history;
  std::int64_t history_end = 0;
  ReplayStart replay_start;
  std::unique_ptr<Rebuild> rebuild;  // until all of the replay is handed to the host
  Queue<ReplayStep> replay;          // handed to the host and not answered yet
  int results_owed = 0;              // by the host, replay included
  bool knows_parent = true;          // false: it has ended, and was loaded without its history

  // The transition in the making.
  Transition open;
  // Of the timers that it sets, moves or clears: what the store has.
  std::map<Position, std::optional<TimerRecord>> timers_moved;
  Held effects;
  std::vector<Job> jobs;
  std::int64_t first_job = 0;          // sequence of the record of the first job
  std::vector<Position> graphs_begun;  // in this activation
  std::int64_t cause = 0;              // of the commands of this activation
  bool retrying_stuck = false;
  std::vector<Position> attempts_waiting;  // for its code to be rebuilt, which has their handlers
  bool built_for_attempts = false;         // it is being rebuilt for that, and for no activation
  bool wants_code = false;  // something waits for its code to run, which could not when last tried
  // The event that is being delivered or looked up.
  std::optional<EventSubmitted> event;
  std::size_t ahead = 0;        // while it is looked up: how much of `work` came before it
  InboxId event_inbox = 0;      // its row
  bool event_in_inbox = false;  // which it had before it is delivered
  bool event_consumed = false;
  // What its filters are being asked. Of an event that has come (`event`): who takes it if none says
  // yes. Else of what is buffered.
  std::vector<EventOffer> offers;
  std::optional<Position> otherwise;
  RequestId start_request = 0;

  // What its row in the store says, as of the last commit handed over.
  bool stored = false;
  ExecutionStatus row_status = ExecutionStatus::running;
  Condition row_condition = Condition::none;
  std::string row_version;
  std::string row_state;
  bool row_in_flight = false;
  std::string condition_detail;
  LiveData data;

  std::uint64_t last_commit = 0;
  struct Answer {
    std::string key;
    EventReply reply;
    std::string processing_id;
  };
  // Keys that were used lately; those whose commit is under way are all among them.
  Queue<Answer> recent_keys;
};

// An action outside of any execution, or under a key of its caller's, from the call to its recorded outcome.
//
//   LookingUp --not found--> Running --failed, retryable--> Waiting --due--> Running
//   LookingUp --found--> (gone)   Running --finished--> Recording --committed--> (gone)
//   Recording --refused--> LookingUp, and if nothing is found (gone), with the error
struct Shard::DetachedAction {
  std::string map_key;
  ExecuteActionRequest action;
  std::string parameters_digest;
  std::vector<RequestId> requests;
  // Actions of executions that asked for it under the same key, and how the first of them is to be run.
  std::vector<std::pair<ExecutionRef, Position>> waiting;
  ActionOptions options;
  std::string correlation_id;
  std::set<std::pair<ExecutionRef, Position>> resting;  // of those: whose executions are paused
  Payload progress;                     // what the last attempt that failed had told
  std::optional<Failure> last_failure;  // and how it did
  Position position = 0;                // of its attempts: negative, unique in the shard
  bool looking_up = true;
  // Why its outcome could not be recorded, while it is looked whether another worker was first.
  std::optional<Error> refused;
  int attempt = 1;
  Timestamp first_at = 0;
  std::optional<std::variant<Payload, Failure>> outcome;
};

}  // namespace pawl
