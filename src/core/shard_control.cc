// Operators' hands: cancel, terminate, pause, resume. Each is a record that says who did it.

#include <fmt/format.h>
#include <set>

#include "base/digest.h"
#include "core/shard.h"
#include "core/shard_execution.h"
#include "model/attributes.h"

namespace pawl {

void Shard::take_control(Execution& execution, const ControlRequested& input) {
  const ExecutionRecord& record = execution.fold.record();
  const auto told = [&] {
    return Reply{input.request, ControlReply{record.execution_id,
                                             std::string(to_string(record.status)), record.state}};
  };
  const auto refuse_with = [&](const ErrorCode code, std::string message) {
    answer(execution, Reply{input.request, Error{code, std::move(message), record.execution_id}});
  };
  if (execution.fold.ended()) {
    return refuse_with(ErrorCode::execution_ended,
                       fmt::format("Execution '{}' has ended ({}) already.", record.execution_id,
                                   to_string(record.status)));
  }
  HistoryEvent event;
  event.cause = execution.fold.last_sequence() + 1;
  event.attributes = encode(OperatorAttributes{input.control.by, input.control.reason});
  switch (input.verb) {
    case ControlVerb::cancel:
      if (execution.fold.cancel_requested()) return answer(execution, told());
      event.type = EventType::cancel_requested;
      break;
    case ControlVerb::terminate: event.type = EventType::execution_terminated; break;
    case ControlVerb::pause:
      if (record.status == ExecutionStatus::paused) return answer(execution, told());
      if (record.status == ExecutionStatus::stuck) {
        return refuse_with(
            ErrorCode::wrong_status,
            fmt::format("Execution '{}' is stuck and does not move. Register a mended definition "
                        "with `replace`, cancel it, or terminate it.",
                        record.execution_id));
      }
      event.type = EventType::execution_paused;
      break;
    case ControlVerb::resume:
      if (record.status == ExecutionStatus::running) return answer(execution, told());
      if (record.status == ExecutionStatus::stuck) {
        return refuse_with(
            ErrorCode::wrong_status,
            fmt::format("Execution '{}' is stuck, not paused: its code departed from its history. "
                        "Register a mended definition with `replace`, and it goes on.",
                        record.execution_id));
      }
      event.type = EventType::execution_resumed;
      break;
  }
  append(execution, std::move(event));
  if (input.verb == ControlVerb::terminate) terminate(execution);
  if (input.verb == ControlVerb::pause) pause(execution);
  execution.effects.replies.push_back(told());
  commit(execution);
  if (input.verb == ControlVerb::resume) dispatch_all(execution);
}

// What is out runs on to its end; what has not begun does not begin.
void Shard::pause(Execution& execution) {
  const ExecutionRef ref = execution.fold.ref();
  for (auto at = attempts_.lower_bound({ref, 0});
       at != attempts_.end() && at->first.first == ref;) {
    const AttemptKey key = at->first;
    const bool begun = at->second.deadline != 0;
    ++at;
    if (!begun) end_attempt(key);
  }
}

// At once, without a word to the code.
void Shard::terminate(Execution& execution) {
  if (execution.hosted) {
    out_->evictions.push_back(Evict{execution.host, execution.fold.ref()});
    execution.hosted = false;
  }
  execution.retrying_stuck = false;
  close_execution(execution);
}

// ---- forks

namespace {

std::string digest_of(const ForkRequest& fork, const std::int64_t at) {
  return digest_text(fmt::format("fork\n{}\n{}", fork.execution_id, at));
}

// The row that belongs to the record of an outcome; none for other records.
std::optional<ActionResultRecord> result_of(const ExecutionRecord& execution,
                                            const HistoryEvent& event) {
  const bool held = event.type == EventType::action_outcome_held;
  if (!held && event.type != EventType::action_completed &&
      event.type != EventType::action_failed) {
    return std::nullopt;
  }
  ActionResultRecord result;
  result.execution = execution.ref;
  result.position = event.position;
  result.tenant = execution.tenant;
  result.action = event.name;
  result.cause = event.cause;
  result.at = event.at;
  result.succeeded = event.type != EventType::action_failed;
  if (held) {
    const auto attributes = decode<HeldAttributes>(event.attributes, event.codec).value();
    result.succeeded = !attributes.failed;
    result.attempts = attributes.attempts;
  } else if (const auto known = decode<OutcomeAttributes>(event.attributes, event.codec)) {
    result.attempts = known->attempts;
  }
  if (result.succeeded) {
    result.result = event.payload;
  } else {
    result.error_json = event.payload.bytes;
  }
  return result;
}

}  // namespace

void Shard::take_fork(Execution& execution, const ForkPrepared& fork) {
  const ExecutionRecord& record = execution.fold.record();
  if (record.input_digest == digest_of(fork.fork, fork.records.back().sequence)) {
    return answer(execution, Reply{fork.request, record.execution_id});
  }
  answer(execution, Reply{fork.request,
                          Error{ErrorCode::already_exists,
                                fmt::format("Execution '{}' exists, and is not that fork. Fork "
                                            "under another id, or leave it out to get a new one.",
                                            record.execution_id),
                                record.execution_id}});
}

void Shard::begin(ForkPrepared fork) {
  ExecutionRecord record = std::move(fork.source);
  record.ref = next_ref_(fork.fork.tenant, fork.fork.fork_id);
  record.execution_id = fork.fork.fork_id;
  record.status = ExecutionStatus::running;
  record.condition = Condition::none;
  record.condition_detail.clear();
  record.state = "initial";
  record.in_flight = false;
  record.result = {};
  record.error_json.clear();
  record.input_digest = digest_of(fork.fork, fork.records.back().sequence);
  record.created_at = now_;
  record.updated_at = now_;
  ExecutionFold fold(record);
  std::set<Position> outcomes;
  Transition open;
  for (const HistoryEvent& event : fork.records) {
    if (const auto applied = fold.apply(event); !applied) {
      return reply(fork.request, applied.error());
    }
    auto result = result_of(record, event);
    // One that was held has a second record, of its delivery.
    if (result && outcomes.insert(event.position).second)
      open.results.push_back(std::move(*result));
  }
  Execution& execution = add(std::move(record));
  execution.fold = std::move(fold);
  execution.open = std::move(open);
  execution.history = fork.records;
  execution.open.records = std::move(fork.records);
  execution.open.timers_set = execution.fold.timers();
  execution.effects.timers = execution.open.timers_set;
  HistoryEvent event;
  event.type = EventType::execution_forked;
  event.name = fork.fork.execution_id;
  event.cause = execution.fold.last_sequence() + 1;
  event.attributes =
      encode(ForkedAttributes{execution.fold.last_sequence(), fork.fork.by, fork.fork.reason});
  append(execution, std::move(event));
  // Held until the commit is durable, as what a workflow's own commands begin.
  for (const auto& [position, action] : execution.fold.actions()) {
    if (!action.retry_at) execution.effects.actions.push_back(position);
  }
  execution.effects.replies.push_back(Reply{fork.request, execution.fold.record().execution_id});
  commit(execution);
  proceed(execution);
}

}  // namespace pawl
