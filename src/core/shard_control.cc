// Operators' hands: cancel, terminate, pause, resume. Each is a record that says who did it.

#include <fmt/format.h>

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

}  // namespace pawl
