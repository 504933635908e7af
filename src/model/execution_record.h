#pragma once

// What the store keeps of an execution beside its history.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/history_event.h"
#include "pawl/error.h"
#include "pawl/payload.h"
#include "pawl/time.h"

namespace pawl {

// Numbers are permanent; stores write the text.
enum class ExecutionStatus : std::uint8_t {
  running = 0,
  paused = 1,
  stuck = 2,
  completed = 3,
  failed = 4,
  cancelled = 5,
  terminated = 6,
};

std::string_view to_string(ExecutionStatus status);
std::optional<ExecutionStatus> execution_status_from(std::string_view text);
bool is_terminal(ExecutionStatus status);

// Why a running execution does not move. Written when it changes.
enum class Condition : std::uint8_t {
  none = 0,       // actions are on their way
  waiting = 1,    // for an event or a timer
  no_worker = 2,  // nobody here has code for its workflow and version
  no_action = 3,  // nobody has registered an action that it calls
  scheduled = 4,  // its code runs first at a time to come
};

std::string_view to_string(Condition condition);  // none: ""
std::optional<Condition> condition_from(std::string_view text);

struct ExecutionRecord {
  ExecutionRef ref = 0;
  std::string tenant;
  std::string execution_id;
  std::string workflow;
  std::string version;  // empty: the highest there will be when its code is there, and runs first
  ExecutionStatus status = ExecutionStatus::running;
  Condition condition = Condition::none;
  std::string condition_detail;  // which workflow or action is missing, and the nearest names
  std::string state = "initial";
  // Something other than an event or a timer will move it (an action in flight, a buffered event to
  // deliver): it is loaded when the engine starts.
  bool in_flight = false;
  std::int64_t last_sequence = 0;  // as of the last time the row was written; the log is the truth
  Payload result;
  std::string error_json;  // of a failed one: the failure; of a stuck one: the report; else empty
  std::string user_id;
  std::string correlation_id;
  std::string
      input_digest;  // of workflow, version asked for and input: tells a repeated start from a clash
  Timestamp created_at = 0;
  Timestamp updated_at = 0;
};

enum class TimerKind : std::uint8_t {
  sleep = 0,
  wait = 1,      // the timeout of a wait
  retry = 2,     // the next attempt of an action
  start = 3,     // the execution's own: its code runs first
  deadline = 4,  // the execution's own: it is cancelled
};

std::string_view to_string(TimerKind kind);
std::optional<TimerKind> timer_kind_from(std::string_view text);

// At most one per execution and position at a time.
struct TimerRecord {
  ExecutionRef execution = 0;
  Position position = 0;
  TimerKind kind = TimerKind::sleep;
  Timestamp fire_at = 0;

  friend bool operator==(const TimerRecord&, const TimerRecord&) = default;
};

// An action of a graph, or a compensation, as operators see it. Nothing is decided by these rows.
struct GraphActionRecord {
  Position graph = 0;
  Position position = 0;
  std::string action_id;  // of a compensation: of the action that it undoes
  std::string action;
  bool compensation = false;
  std::vector<std::string> depends_on;
  std::string group;
  std::string sync_point;
  std::string error_strategy;  // as workflows write it
  bool skipped = false;

  friend bool operator==(const GraphActionRecord&, const GraphActionRecord&) = default;
};

struct SyncPointRecord {
  Position graph = 0;
  std::string name;
  std::vector<std::string> actions;  // ids of those that it joins
  Timestamp reached_at = 0;          // 0: not yet

  friend bool operator==(const SyncPointRecord&, const SyncPointRecord&) = default;
};

struct ActionResultRecord {
  ExecutionRef execution = 0;  // 0: ran outside of any execution
  Position position = 0;       // 0 then
  std::string tenant;
  std::string execution_id;  // as the caller gave it; kept only where execution is 0
  int generation = 0;        // of the action: one more with each retry of its execution
  std::uint64_t seed = 0;    // of the execution: part of the derived key
  std::string action;
  std::string
      user_key;  // an idempotency key that a caller gave; empty: derived from execution and position
  std::string parameters_digest;  // kept only with a user_key
  bool succeeded = true;
  int attempts = 1;
  std::int64_t cause = 0;
  Payload result;          // of a success
  std::string error_json;  // of a failure
  Timestamp at = 0;
  // The action's own transaction wrote it, and the history does not have it yet.
  bool ahead = false;
  // For the history it stands in place of such a row, although it says something else: what the action did
  // is done, but its result can't be handed over.
  bool overrides = false;
};

// The row of an event in the inbox: accepted, and perhaps not yet in a history.
using InboxId = std::int64_t;

enum class InboxStatus : std::uint8_t {
  pending = 0,
  published = 1,
  processing = 2,
  completed = 3,
  failed = 4,
  retrying = 5,
};

std::string_view to_string(InboxStatus status);
std::optional<InboxStatus> inbox_status_from(std::string_view text);

// What a row of the inbox is.
enum class InboxKind : std::uint8_t {
  event = 0,
  start = 1,  // event_name: workflow; payload: input; attributes: StartedAttributes
  // What the execution is told to do: OperatorAttributes.
  cancel = 2,
  terminate = 3,
  retry = 4,        // a child, by its parent: ChildEndedAttributes
  child_ended = 5,  // event_name: its workflow; payload: result or failure; ChildEndedAttributes
  completion = 6,   // payload: what became of an action of its; CompletionAttributes
  // As told to do by an operator: OperatorAttributes.
  pause = 7,
  resume = 8,
  try_again = 9,
  fork = 10,  // the execution that it is to be; event_name: the other one; ForkedAttributes
};

std::string_view to_string(InboxKind kind);
std::optional<InboxKind> inbox_kind_from(std::string_view text);

// A row that names no execution by its number is mail: whoever sent it knew its id only, and put it
// there with what caused it, in one commit. The owner of the execution of that id takes it up, and
// completes it with what comes of it, in one commit as well: so it is taken once.
struct InboxRecord {
  InboxId id = 0;
  ExecutionRef execution = 0;  // 0: mail
  InboxKind kind = InboxKind::event;
  std::string execution_id;  // of mail only: to whom
  std::string attributes;    // JSON, by kind; empty for an event
  std::string tenant;
  std::string event_id;
  std::string event_name;
  Payload payload;  // empty once completed: the history has it
  std::string user_id;
  std::string idempotency_key;  // unique within its execution; empty: none
  InboxStatus status = InboxStatus::pending;
  int attempts = 0;  // how often it was tried again
  // Workers that owned its execution, and ended without leaving it, while this waited to be delivered.
  int owners_lost = 0;
  std::string last_error;
  // JSON: what the first caller was told; kept with an idempotency key, or where somebody waits for it.
  std::string answer;
  std::string reply_to;  // the worker that waits for the answer; empty: nobody does
  Timestamp accepted_at = 0;
};

}  // namespace pawl
