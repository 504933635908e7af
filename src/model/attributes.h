#pragma once

// The typed forms of HistoryEvent::attributes, by record type. Written as JSON objects that leave out
// what has its default; an object without members is written as nothing at all.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pawl/error.h"
#include "pawl/host.h"
#include "pawl/time.h"

namespace pawl {

struct StartedAttributes {
  std::string version;
  std::string user_id;
  std::string correlation_id;
  std::uint64_t seed = 0;
  // The highest replay rule that this history was made under; see docs/decisions.
  int rules = 1;
  std::string idempotency_key;  // of the start; empty: none
  Timestamp start_at = 0;       // 0: at once
  Timestamp deadline = 0;       // 0: none
  std::string parent;           // execution id; empty: nobody waits for its outcome
  Position parent_position = 0;
  Position first_position = 1;  // more where it went on as new

  friend bool operator==(const StartedAttributes&, const StartedAttributes&) = default;
};

struct ReceivedAttributes {
  std::string event_id;
  std::string user_id;
  Timestamp accepted_at = 0;

  friend bool operator==(const ReceivedAttributes&, const ReceivedAttributes&) = default;
};

struct DeliveredAttributes {
  std::int64_t event = 0;  // sequence of its EventReceived record

  friend bool operator==(const DeliveredAttributes&, const DeliveredAttributes&) = default;
};

struct ScheduledAttributes {
  ActionOptions options;

  friend bool operator==(const ScheduledAttributes&, const ScheduledAttributes&) = default;
};

struct OutcomeAttributes {
  int attempts = 1;

  friend bool operator==(const OutcomeAttributes&, const OutcomeAttributes&) = default;
};

struct WaitAttributes {
  std::vector<std::string> names;  // only where there is more than one
  std::optional<DurationMs> timeout;
  bool filtered = false;

  friend bool operator==(const WaitAttributes&, const WaitAttributes&) = default;
};

struct TimerAttributes {
  DurationMs duration = 0;

  friend bool operator==(const TimerAttributes&, const TimerAttributes&) = default;
};

struct AttemptFailedAttributes {
  int attempt = 1;
  Timestamp next_attempt_at = 0;
  std::string progress;  // JSON: what it told last; empty: nothing

  friend bool operator==(const AttemptFailedAttributes&, const AttemptFailedAttributes&) = default;
};

// Who asked for it, and why; each as the caller gave it, or empty.
struct OperatorAttributes {
  std::string by;
  std::string reason;
  // In mail only: the execution that sends it, which must be the receiver's parent. Empty: anybody.
  std::string parent;
  // Of CancelDelivered only: children stay open, and how they end still comes. Not so in histories of
  // builds before it.
  bool keeps_children = false;

  friend bool operator==(const OperatorAttributes&, const OperatorAttributes&) = default;
};

struct RetriedAttributes {
  std::int64_t from = 0;          // sequence of the first record that no longer counts
  std::vector<Position> actions;  // that failed, and run again under new keys
  std::string by;
  std::string reason;
  int generation = 0;  // of the ids of children from here on; 0 in records of builds without it

  friend bool operator==(const RetriedAttributes&, const RetriedAttributes&) = default;
};

struct ForkedAttributes {
  std::int64_t at = 0;  // sequence, of the other one, up to which it is the same
  std::string by;
  std::string reason;

  friend bool operator==(const ForkedAttributes&, const ForkedAttributes&) = default;
};

struct HeldAttributes {
  int attempts = 1;
  bool failed = false;

  friend bool operator==(const HeldAttributes&, const HeldAttributes&) = default;
};

struct EmittedAttributes {
  std::string execution_id;  // empty: its own

  friend bool operator==(const EmittedAttributes&, const EmittedAttributes&) = default;
};

struct ChildAttributes {
  std::string execution_id;
  std::string version;
  std::string user_id;
  std::string correlation_id;
  ParentClose parent_close = ParentClose::cancel;

  friend bool operator==(const ChildAttributes&, const ChildAttributes&) = default;
};

// Of the mail that tells a parent: whose outcome the payload is.
struct ChildEndedAttributes {
  Position position = 0;
  std::string execution_id;
  std::string status;  // as the stores write it

  friend bool operator==(const ChildEndedAttributes&, const ChildEndedAttributes&) = default;
};

// Of the mail that tells what became of an action: of which one.
struct CompletionAttributes {
  Position position = 0;
  int generation = 0;
  std::uint64_t seed = 0;  // of its execution
  bool failed = false;     // the payload is a failure

  friend bool operator==(const CompletionAttributes&, const CompletionAttributes&) = default;
};

std::string encode(const EmittedAttributes& attributes);
std::string encode(const ChildAttributes& attributes);
std::string encode(const ChildEndedAttributes& attributes);
std::string encode(const CompletionAttributes& attributes);
std::string encode(const StartedAttributes& attributes);
std::string encode(const ReceivedAttributes& attributes);
std::string encode(const DeliveredAttributes& attributes);
std::string encode(const ScheduledAttributes& attributes);
std::string encode(const OutcomeAttributes& attributes);
std::string encode(const WaitAttributes& attributes);
std::string encode(const TimerAttributes& attributes);
std::string encode(const AttemptFailedAttributes& attributes);
std::string encode(const OperatorAttributes& attributes);
std::string encode(const RetriedAttributes& attributes);
std::string encode(const ForkedAttributes& attributes);
std::string encode(const HeldAttributes& attributes);

// Text that is not what encode() wrote under `codec` is an `internal` error that names the type.
template <class Attributes>
Result<Attributes> decode(std::string_view text, int codec);

}  // namespace pawl
