// Actions whose handlers have done their part, and that are completed from elsewhere, by a token.

#include <fmt/format.h>
#include <utility>

#include "core/completion_token.h"
#include "core/event_answer.h"
#include "core/shard.h"
#include "core/shard_execution.h"
#include "model/failure_codec.h"

namespace pawl {

void Shard::on(ActionCompletionGiven input) {
  const ExecutionRef ref = input.execution;
  if (!takes(partition_of(ref))) return leave(Work{std::move(input)});
  give(ref, std::move(input));
}

// Its handler has said so. From here on no attempt is made, after a restart neither.
void Shard::defer(Execution& execution, const AttemptFinished& finished) {
  const auto found = execution.fold.actions().find(finished.position);
  if (found == execution.fold.actions().end()) return;
  const PendingAction& action = found->second;
  if (action.held || action.deferred || finished.attempt != action.attempts_failed + 1) return;
  HistoryEvent event;
  event.type = EventType::action_deferred;
  event.name = action.name;
  event.position = finished.position;
  event.cause = action.cause;
  append(execution, std::move(event));
  commit(execution);
}

// Somebody was first, or its execution has ended meanwhile.
void Shard::refuse_completion(Execution& execution, const RequestId request, const InboxId mail) {
  if (request == 0 && mail == 0) return;
  const ExecutionRecord& record = execution.fold.record();
  Error error = execution.fold.ended() ? ended_before_completion(record) : completed_before(record);
  if (mail != 0) settle_mail(mail, error);
  answer(execution, Reply{request, std::move(error)});
}

void Shard::take_completion(Execution& execution, ActionCompletionGiven given) {
  const ExecutionRecord& record = execution.fold.record();
  // One that has ended is not read again for its seed.
  const bool ended = execution.fold.ended();
  if (record.tenant != given.tenant || (!ended && execution.fold.seed() != given.seed)) {
    if (given.mail != 0) settle_mail(given.mail, unknown_token());
    return reply(given.request, unknown_token());
  }
  if (ended) return refuse_completion(execution, given.request, given.mail);
  if (record.status == ExecutionStatus::stuck) {
    return answer(
        execution,
        Reply{given.request, Error{ErrorCode::wrong_status,
                                   fmt::format("Execution '{}' is stuck. Nothing was recorded: "
                                               "complete its action when it is mended.",
                                               record.execution_id),
                                   record.execution_id}});
  }
  const auto found = execution.fold.actions().find(given.position);
  const bool open = found != execution.fold.actions().end() && !found->second.held &&
                    found->second.generation == given.generation;
  if (!open) return refuse_completion(execution, given.request, given.mail);
  const AttemptKey key{execution.fold.ref(), given.position};
  AttemptFinished finished;
  finished.execution = key.first;
  finished.position = given.position;
  finished.attempt = found->second.attempts_failed + 1;
  finished.outcome = std::move(given.outcome);
  if (auto* const failure = std::get_if<Failure>(&finished.outcome)) {
    *failure = as_recorded(*failure);
  }
  finished.of = AttemptFinished::Of::action;
  finished.request = given.request;
  finished.mail = given.mail;
  call_off(key);
  // In a commit of its own, whatever its code does then. Those of graphs have that anyway.
  if (execution.fold.step_at(given.position)) {
    execution.work.push_front(std::move(finished));
  } else {
    hold_outcome(execution, std::move(finished));
  }
}

// In the transition that records it.
void Shard::tell_completed(Execution& execution, AttemptFinished& finished) {
  const ExecutionRecord& record = execution.fold.record();
  ControlReply told{record.execution_id, std::string(to_string(record.status)), record.state};
  if (finished.mail != 0) {
    execution.open.inbox_completed.push_back(
        InboxCompletion{finished.mail,
                        InboxStatus::completed,
                        {},
                        is_awaited(finished.mail) ? encode_answer(told) : std::string{}});
    finished.mail = 0;
  }
  if (finished.request == 0) return;
  execution.effects.replies.push_back(Reply{std::exchange(finished.request, 0), std::move(told)});
}

}  // namespace pawl
