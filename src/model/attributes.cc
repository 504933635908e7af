#include "model/attributes.h"

#include <fmt/format.h>
#include <algorithm>
#include <charconv>

#include "model/history_event.h"
#include "model/json_object.h"

namespace pawl {
namespace {

std::string encode_retry(const RetryPolicy& policy) {
  const RetryPolicy defaults;
  ObjectWriter writer;
  writer.number("maxAttempts", policy.max_attempts, defaults.max_attempts);
  writer.number("initialInterval", policy.initial_interval, defaults.initial_interval);
  if (policy.backoff != defaults.backoff) writer.number("backoff", policy.backoff);
  writer.number("maxInterval", policy.max_interval, defaults.max_interval);
  if (policy.jitter != defaults.jitter) writer.number("jitter", policy.jitter);
  writer.texts("nonRetryable", policy.non_retryable);
  return std::move(writer).finish();
}

void read(ObjectReader& reader, StartedAttributes& attributes) {
  reader.text("version", attributes.version);
  reader.text("userId", attributes.user_id);
  reader.text("correlationId", attributes.correlation_id);
  reader.number("seed", attributes.seed);
  reader.number("rules", attributes.rules);
  reader.text("idempotencyKey", attributes.idempotency_key);
  reader.number("startAt", attributes.start_at);
  reader.number("deadline", attributes.deadline);
  reader.text("parent", attributes.parent);
  reader.number("parentPosition", attributes.parent_position);
  reader.number("firstPosition", attributes.first_position);
}

void read(ObjectReader& reader, ReceivedAttributes& attributes) {
  reader.text("id", attributes.event_id);
  reader.text("userId", attributes.user_id);
  reader.number("acceptedAt", attributes.accepted_at);
}

void read(ObjectReader& reader, DeliveredAttributes& attributes) {
  reader.number("event", attributes.event);
}

void read(ObjectReader& reader, ScheduledAttributes& attributes) {
  if (auto retry = reader.object("retry")) {
    RetryPolicy policy;
    retry->number("maxAttempts", policy.max_attempts);
    retry->number("initialInterval", policy.initial_interval);
    retry->number("backoff", policy.backoff);
    retry->number("maxInterval", policy.max_interval);
    retry->number("jitter", policy.jitter);
    retry->texts("nonRetryable", policy.non_retryable);
    attributes.options.retry = std::move(policy);
  }
  if (reader.has("timeout")) reader.number("timeout", attributes.options.timeout.emplace());
  int in_place = 0;
  reader.number("inPlace", in_place);
  ActionOptions& options = attributes.options;
  options.in_place = in_place != 0;
  for (const auto& [name, duration] : {std::pair{"totalTimeout", &options.total_timeout},
                                       {"heartbeatTimeout", &options.heartbeat_timeout},
                                       {"failAfter", &options.fail_after}}) {
    if (reader.has(name)) reader.number(name, duration->emplace());
  }
  reader.text("idempotencyKey", options.idempotency_key);
}

void read(ObjectReader& reader, OutcomeAttributes& attributes) {
  reader.number("attempts", attributes.attempts);
}

void read(ObjectReader& reader, WaitAttributes& attributes) {
  reader.texts("names", attributes.names);
  if (reader.has("timeout")) reader.number("timeout", attributes.timeout.emplace());
  int filtered = 0;
  reader.number("filtered", filtered);
  attributes.filtered = filtered != 0;
}

void read(ObjectReader& reader, EmittedAttributes& attributes) {
  reader.text("executionId", attributes.execution_id);
}

void read(ObjectReader& reader, ChildAttributes& attributes) {
  reader.text("executionId", attributes.execution_id);
  reader.text("version", attributes.version);
  reader.text("userId", attributes.user_id);
  reader.text("correlationId", attributes.correlation_id);
  int parent_close = 0;
  reader.number("parentClose", parent_close);
  if (parent_close < 0 || parent_close > static_cast<int>(ParentClose::abandon)) {
    return reader.fail("parentClose");
  }
  attributes.parent_close = static_cast<ParentClose>(parent_close);
}

void read(ObjectReader& reader, ChildEndedAttributes& attributes) {
  reader.number("position", attributes.position);
  reader.text("executionId", attributes.execution_id);
  reader.text("status", attributes.status);
}

void read(ObjectReader& reader, CompletionAttributes& attributes) {
  reader.number("position", attributes.position);
  reader.number("generation", attributes.generation);
  reader.number("seed", attributes.seed);
  int failed = 0;
  reader.number("failed", failed);
  attributes.failed = failed != 0;
}

void read(ObjectReader& reader, TimerAttributes& attributes) {
  reader.number("duration", attributes.duration);
}

void read(ObjectReader& reader, AttemptFailedAttributes& attributes) {
  reader.number("attempt", attributes.attempt);
  reader.number("nextAttemptAt", attributes.next_attempt_at);
  if (reader.has("progress")) attributes.progress = reader.raw("progress");
}

void read(ObjectReader& reader, OperatorAttributes& attributes) {
  reader.text("by", attributes.by);
  reader.text("reason", attributes.reason);
  reader.text("parent", attributes.parent);
  int keeps_children = 0;
  reader.number("keepsChildren", keeps_children);
  attributes.keeps_children = keeps_children != 0;
}

void read(ObjectReader& reader, RetriedAttributes& attributes) {
  reader.number("from", attributes.from);
  std::vector<std::string> actions;
  reader.texts("actions", actions);
  for (const std::string& action : actions) {
    Position position = 0;
    std::from_chars(action.data(), action.data() + action.size(), position);
    attributes.actions.push_back(position);
  }
  reader.text("by", attributes.by);
  reader.text("reason", attributes.reason);
  reader.number("generation", attributes.generation);
}

void read(ObjectReader& reader, ForkedAttributes& attributes) {
  reader.number("at", attributes.at);
  reader.text("by", attributes.by);
  reader.text("reason", attributes.reason);
}

void read(ObjectReader& reader, HeldAttributes& attributes) {
  reader.number("attempts", attributes.attempts);
  int failed = 0;
  reader.number("failed", failed);
  attributes.failed = failed != 0;
}

Error unreadable(const std::string_view text, const std::string_view why) {
  return {ErrorCode::internal,
          fmt::format("the attributes of a history record can't be read ({}): {}", why,
                      text.substr(0, 200)),
          {}};
}

}  // namespace

std::string encode(const StartedAttributes& attributes) {
  ObjectWriter writer;
  writer.text("version", attributes.version);
  writer.text("userId", attributes.user_id);
  writer.text("correlationId", attributes.correlation_id);
  writer.number("seed", attributes.seed, std::uint64_t{0});
  writer.number("rules", attributes.rules, 1);
  writer.text("idempotencyKey", attributes.idempotency_key);
  writer.number("startAt", attributes.start_at, Timestamp{0});
  writer.number("deadline", attributes.deadline, Timestamp{0});
  writer.text("parent", attributes.parent);
  writer.number("parentPosition", attributes.parent_position, Position{0});
  writer.number("firstPosition", attributes.first_position, Position{1});
  return std::move(writer).finish();
}

std::string encode(const ReceivedAttributes& attributes) {
  ObjectWriter writer;
  writer.text("id", attributes.event_id);
  writer.text("userId", attributes.user_id);
  writer.number("acceptedAt", attributes.accepted_at, Timestamp{0});
  return std::move(writer).finish();
}

std::string encode(const DeliveredAttributes& attributes) {
  ObjectWriter writer;
  writer.number("event", attributes.event, std::int64_t{0});
  return std::move(writer).finish();
}

std::string encode(const ScheduledAttributes& attributes) {
  ObjectWriter writer;
  if (attributes.options.retry) writer.object("retry", encode_retry(*attributes.options.retry));
  if (attributes.options.timeout) {
    writer.number("timeout", *attributes.options.timeout, DurationMs{-1});
  }
  const ActionOptions& options = attributes.options;
  writer.number("inPlace", static_cast<int>(options.in_place), 0);
  for (const auto& [name, duration] : {std::pair{"totalTimeout", options.total_timeout},
                                       {"heartbeatTimeout", options.heartbeat_timeout},
                                       {"failAfter", options.fail_after}}) {
    if (duration) writer.number(name, *duration, DurationMs{-1});
  }
  writer.text("idempotencyKey", options.idempotency_key);
  return std::move(writer).finish();
}

std::string encode(const OutcomeAttributes& attributes) {
  ObjectWriter writer;
  writer.number("attempts", attributes.attempts, 1);
  return std::move(writer).finish();
}

std::string encode(const WaitAttributes& attributes) {
  ObjectWriter writer;
  writer.texts("names", attributes.names);
  if (attributes.timeout) writer.number("timeout", *attributes.timeout, DurationMs{-1});
  writer.number("filtered", attributes.filtered ? 1 : 0, 0);
  return std::move(writer).finish();
}

std::string encode(const EmittedAttributes& attributes) {
  ObjectWriter writer;
  writer.text("executionId", attributes.execution_id);
  return std::move(writer).finish();
}

std::string encode(const ChildAttributes& attributes) {
  ObjectWriter writer;
  writer.text("executionId", attributes.execution_id);
  writer.text("version", attributes.version);
  writer.text("userId", attributes.user_id);
  writer.text("correlationId", attributes.correlation_id);
  writer.number("parentClose", static_cast<int>(attributes.parent_close), 0);
  return std::move(writer).finish();
}

std::string encode(const ChildEndedAttributes& attributes) {
  ObjectWriter writer;
  writer.number("position", attributes.position, Position{0});
  writer.text("executionId", attributes.execution_id);
  writer.text("status", attributes.status);
  return std::move(writer).finish();
}

std::string encode(const CompletionAttributes& attributes) {
  ObjectWriter writer;
  writer.number("position", attributes.position, Position{0});
  writer.number("generation", attributes.generation, 0);
  writer.number("seed", attributes.seed, std::uint64_t{0});
  writer.number("failed", attributes.failed ? 1 : 0, 0);
  return std::move(writer).finish();
}

std::string encode(const TimerAttributes& attributes) {
  ObjectWriter writer;
  writer.number("duration", attributes.duration, DurationMs{0});
  return std::move(writer).finish();
}

std::string encode(const AttemptFailedAttributes& attributes) {
  ObjectWriter writer;
  writer.number("attempt", attributes.attempt, 1);
  writer.number("nextAttemptAt", attributes.next_attempt_at, Timestamp{0});
  if (!attributes.progress.empty()) writer.raw("progress", attributes.progress);
  return std::move(writer).finish();
}

std::string encode(const OperatorAttributes& attributes) {
  ObjectWriter writer;
  writer.text("by", attributes.by);
  writer.text("reason", attributes.reason);
  writer.text("parent", attributes.parent);
  writer.number("keepsChildren", attributes.keeps_children ? 1 : 0, 0);
  return std::move(writer).finish();
}

std::string encode(const RetriedAttributes& attributes) {
  ObjectWriter writer;
  writer.number("from", attributes.from, std::int64_t{0});
  std::vector<std::string> actions;
  for (const Position position : attributes.actions) actions.push_back(std::to_string(position));
  writer.texts("actions", actions);
  writer.text("by", attributes.by);
  writer.text("reason", attributes.reason);
  writer.number("generation", attributes.generation, 0);
  return std::move(writer).finish();
}

std::string encode(const ForkedAttributes& attributes) {
  ObjectWriter writer;
  writer.number("at", attributes.at, std::int64_t{0});
  writer.text("by", attributes.by);
  writer.text("reason", attributes.reason);
  return std::move(writer).finish();
}

std::string encode(const HeldAttributes& attributes) {
  ObjectWriter writer;
  writer.number("attempts", attributes.attempts, 1);
  writer.number("failed", attributes.failed ? 1 : 0, 0);
  return std::move(writer).finish();
}

template <class Attributes>
Result<Attributes> decode(const std::string_view text, const int codec) {
  if (codec != kHistoryCodec) {
    return unreadable(text, fmt::format("codec {} is newer than this build, which knows {}", codec,
                                        kHistoryCodec));
  }
  Attributes attributes;
  if (text.empty()) return attributes;
  // It is what encode() wrote: not looked at twice, since every record of a replay is read here.
  auto members = member_views_of_valid(text);
  if (!members || text.back() != '}') return unreadable(text, "it is no JSON object");
  std::string wrong;
  ObjectReader reader(std::move(*members), wrong);
  read(reader, attributes);
  if (!wrong.empty()) return unreadable(text, fmt::format("'{}' has the wrong type", wrong));
  return attributes;
}

template Result<StartedAttributes> decode(std::string_view, int);
template Result<ReceivedAttributes> decode(std::string_view, int);
template Result<DeliveredAttributes> decode(std::string_view, int);
template Result<ScheduledAttributes> decode(std::string_view, int);
template Result<OutcomeAttributes> decode(std::string_view, int);
template Result<WaitAttributes> decode(std::string_view, int);
template Result<TimerAttributes> decode(std::string_view, int);
template Result<AttemptFailedAttributes> decode(std::string_view, int);
template Result<OperatorAttributes> decode(std::string_view, int);
template Result<RetriedAttributes> decode(std::string_view, int);
template Result<ForkedAttributes> decode(std::string_view, int);
template Result<HeldAttributes> decode(std::string_view, int);
template Result<EmittedAttributes> decode(std::string_view, int);
template Result<ChildAttributes> decode(std::string_view, int);
template Result<ChildEndedAttributes> decode(std::string_view, int);
template Result<CompletionAttributes> decode(std::string_view, int);

}  // namespace pawl
