#pragma once

// One record of a history, as it lies in the log. The type says which fields are used and what
// `attributes` holds; `attributes.h` has the typed form of those.
//
// An activation is a run of records: its jobs, then the commands that the code answered with. The
// last one carries `ends_activation`. Bookkeeping records stand between activations and wake no code.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pawl/host.h"
#include "pawl/payload.h"
#include "pawl/time.h"

namespace pawl {

// Numbers are permanent. Text is what the stores write: to_string(EventType).
enum class EventType : std::uint8_t {
  // jobs
  execution_started = 1,  // name: workflow; payload: input; StartedAttributes
  event_received =
      2,  // name; payload; position: the wait that took it, 0 if buffered; ReceivedAttributes
  event_delivered = 3,   // name; position: the wait; DeliveredAttributes: which buffered event
  wait_timed_out = 4,    // position
  timer_fired = 5,       // position
  action_completed = 6,  // name; position; payload: result; OutcomeAttributes
  action_failed = 7,     // name; position; payload: the failure as JSON; OutcomeAttributes
  cancel_delivered = 8,  // OperatorAttributes, as of the CancelRequested record
  child_completed = 9,   // name: workflow; position; payload: result
  child_failed = 10,     // name: workflow; position; payload: the failure as JSON
  graph_completed = 11,  // position; payload: what became of its actions
  // commands
  action_scheduled = 32,     // name; position; payload: parameters; ScheduledAttributes
  wait_started = 33,         // name: names joined by ", "; position; WaitAttributes
  withdrawn = 34,            // position
  timer_started = 35,        // position; TimerAttributes
  state_changed = 36,        // name: the state
  data_set = 37,             // name: the key; payload: the value
  data_deleted = 38,         // name: the key
  event_emitted = 39,        // name; payload; EmittedAttributes
  execution_completed = 40,  // payload: result
  execution_failed = 41,     // name: of the error; payload: the failure as JSON
  execution_cancelled = 42,  // name: of the error; payload: the failure as JSON
  patched = 43,              // name: the change id
  child_started = 44,        // name: workflow; position; payload: input; ChildAttributes
  child_cancel_asked = 45,   // position
  continued_as_new = 46,     // payload: the input of the new run, which ExecutionStarted begins
  graph_started = 47,        // position; payload: see graph_codec.h
  // bookkeeping
  action_attempt_failed =
      64,                // name; position; payload: the failure as JSON; AttemptFailedAttributes
  event_discarded = 65,  // name; DeliveredAttributes: an event that nothing took before the end
  // What operators did: OperatorAttributes. The cause is the record itself.
  cancel_requested = 66,
  execution_terminated = 67,
  execution_paused = 68,
  execution_resumed = 69,
  // The outcome of an action whose execution can't run code now; delivered by an ActionCompleted or
  // ActionFailed later. name; position; payload: result or failure; HeldAttributes
  action_outcome_held = 70,
  // The records from RetriedAttributes::from up to this one no longer count: the activation in which
  // the execution failed. What woke it follows once more.
  execution_retried = 72,
  execution_forked = 71,  // name: the execution it was forked from; ForkedAttributes
  // The first record where the code runs later: name: workflow; payload: input; StartedAttributes.
  // ExecutionStarted repeats them when it does.
  execution_scheduled = 73,
  // It was cancelled before its code ran: OperatorAttributes.
  start_cancelled = 74,
  // The result of a child, recorded before a retry and delivered after it. name; position; payload
  child_outcome_held = 75,
  // Of an action of a graph, which stands in the GraphStarted record; name; position. No code waits for it
  // but that of the graph's end. Payload of the last two: result, failure; OutcomeAttributes.
  graph_action_scheduled = 76,
  graph_action_completed = 77,
  graph_action_failed = 78,
  // Its handler has returned, and what becomes of the action is told from elsewhere, by its token. name;
  // position. No attempt is made from here on.
  action_deferred = 79,
};

enum class RecordRole : std::uint8_t { job, command, bookkeeping };

RecordRole role_of(const EventType type);
std::string_view to_string(EventType type);
std::optional<EventType> event_type_from(std::string_view text);

// The layout of `attributes`. A change of it gets the next number; old ones stay readable.
inline constexpr int kHistoryCodec = 1;

struct HistoryEvent {
  std::int64_t sequence = 0;  // 1, 2, 3 … without a gap
  EventType type = EventType::execution_started;
  Timestamp at = 0;  // the same for all records of an activation
  std::int64_t cause =
      0;  // sequence of the EventReceived, ExecutionStarted or operator's record that led to it; its
          // own for those
  Position position = 0;  // 0: none
  bool ends_activation = false;
  int codec = kHistoryCodec;
  std::string name;
  Payload payload;
  std::string attributes;  // JSON object, or empty when all its fields have their defaults
  std::string site;        // of a command: where its code stands; see CallSite

  friend bool operator==(const HistoryEvent&, const HistoryEvent&) = default;
};

// An event that nobody took when it came.
bool is_buffered(const HistoryEvent& event);
// Such a one, or bookkeeping: it belongs to no activation.
bool stands_alone(const HistoryEvent& event);

// Of what it carries.
std::size_t size_in_bytes(const HistoryEvent& event);
std::size_t size_in_bytes(const std::vector<HistoryEvent>& history);

}  // namespace pawl
