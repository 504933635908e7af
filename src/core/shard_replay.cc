// Rebuilding the code of an execution: its host is handed the activations that were delivered before,
// and what the code does is compared with what is recorded.

#include <fmt/format.h>

#include <memory>
#include <utility>

#include "core/shard.h"
#include "core/shard_execution.h"

namespace pawl {

// What is registered now is what runs from here on.
void Shard::take_code(Execution& execution) {
  const ExecutionRecord& record = execution.fold.record();
  const Catalog::Workflow* const workflow = catalog_.find_workflow(record.workflow, record.version);
  // No other worker has it any more: the host that it was at says so.
  if (workflow != nullptr) execution.host = workflow->host;
  execution.built_with = registrations_[record.workflow];
}

// From its first activation: there is nothing to rebuild.
void Shard::begin_code(Execution& execution) {
  take_code(execution);
  execution.hosted = true;
  execution.history = {};
}

// Has the host build the instance anew. False if the history itself can't be read so; the execution is
// stuck then.
bool Shard::rebuild(Execution& execution) {
  take_code(execution);
  execution.phase = Execution::Phase::activating;
  const std::int64_t after = execution.replay_start.after;
  execution.rebuild = std::make_unique<Execution::Rebuild>(Execution::Rebuild{
      {execution.fold.record(), std::move(execution.replay_start)}, after, 0, {}, {}});
  if (execution.history.empty()) {
    ask_for_page(execution);
    return true;
  }
  // The steps have all of it. A long history is large enough once.
  execution.rebuild->page = std::exchange(execution.history, {});
  execution.rebuild->read = execution.rebuild->page.back().sequence;
  execution.history_end = execution.rebuild->read;
  return hand_over_page(execution);
}

bool Shard::build_for_attempts(Execution& execution) {
  if (execution.attempts_waiting.empty() || is_draining(execution) || execution.fold.ended())
    return false;
  if (execution.hosted) {
    begin_waiting_attempts(execution);
    return false;
  }
  if (!can_run(execution)) {
    await_code(execution);
    return false;
  }
  execution.built_for_attempts = true;
  rebuild(execution);
  return true;
}

void Shard::begin_waiting_attempts(Execution& execution) {
  for (const Position position : std::exchange(execution.attempts_waiting, {})) {
    dispatch(execution, position);
  }
}

void Shard::ask_for_page(Execution& execution) {
  Execution::Rebuild& rebuild = *execution.rebuild;
  rebuild.asked = next_page_++;
  out_->page_loads.push_back(
      LoadPage{rebuild.asked, execution.fold.ref(), rebuild.read, page(), {}});
}

// False if it can't be; the execution is stuck then.
bool Shard::hand_over_page(Execution& execution) {
  Execution::Rebuild& rebuild = *execution.rebuild;
  std::vector<HistoryEvent> page = std::exchange(rebuild.page, {});
  const bool last = rebuild.read >= execution.history_end;
  Queue<ReplayStep> steps;
  Result<void> cut =
      history_cut_short(execution.fold.record(), rebuild.read, execution.history_end);
  if (!page.empty()) cut = rebuild.splitter.add(page, steps);
  if (cut && last) cut = rebuild.splitter.finish();
  if (!cut) {
    get_stuck(execution, cut.error().message);
    return false;
  }
  execution.results_owed += static_cast<int>(steps.size());
  for (ReplayStep& step : steps) {
    const std::int64_t sequence = step.activation.sequence;
    out_->activations.push_back(Activate{execution.host, std::move(step.activation)});
    step.activation.sequence = sequence;
    execution.replay.push_back(std::move(step));
  }
  if (!last) {
    ask_for_page(execution);
    return true;
  }
  std::optional<Activation> behind = std::move(rebuild.behind);
  execution.rebuild.reset();
  if (behind) send_activation(execution, std::move(*behind));
  if (execution.replay.empty()) finish_replay(execution);
  return true;
}

void Shard::send_activation(Execution& execution, Activation activation) {
  if (execution.rebuild) {
    execution.rebuild->behind = std::move(activation);
    return;
  }
  out_->activations.push_back(Activate{execution.host, std::move(activation)});
  ++execution.results_owed;
}

void Shard::on(ActivationResult input) {
  if (return_lent_result(input)) return;
  if (const auto orphaned = orphaned_results_.find(input.execution);
      orphaned != orphaned_results_.end()) {
    if (--orphaned->second == 0) orphaned_results_.erase(orphaned);
    return;
  }
  Execution* const execution = find(input.execution);
  if (execution == nullptr || execution->results_owed == 0) {
    throw std::logic_error(
        fmt::format("a host reported on execution {} without being asked", input.execution));
  }
  --execution->results_owed;
  if (input.lost || execution->instance_lost) return lose_instance(*execution);
  if (execution->replay.empty()) {
    if (!execution->offers.empty()) return take_answer(*execution, input);
    return finish_activation(*execution, std::move(input));
  }

  const ReplayStep& step = execution->replay.front();
  if (input.violation) return get_stuck(*execution, *input.violation);
  if (const auto departure = find_departure(execution->fold.record(), step, std::move(input))) {
    return get_stuck(*execution, *departure);
  }
  execution->replay.pop_front();
  if (execution->rebuild) {
    const bool read = execution->rebuild->asked == 0;
    if (read && execution->replay.size() <= kReplayStepsLeft) hand_over_page(*execution);
    return;
  }
  if (execution->replay.empty()) finish_replay(*execution);
}

// The instance is as far as its history.
void Shard::finish_replay(Execution& execution) {
  ++counters_.replays;
  execution.hosted = true;
  if (std::exchange(execution.built_for_attempts, false)) {
    execution.phase = Execution::Phase::idle;
    begin_waiting_attempts(execution);
    return proceed(execution);
  }
  if (!execution.retrying_stuck) return;
  execution.phase = Execution::Phase::idle;
  mend(execution);
  proceed(execution);
}

// Its code fits again, as far as it was run: on it goes.
void Shard::mend(Execution& execution) {
  execution.retrying_stuck = false;
  execution.fold.record().status = ExecutionStatus::running;
  execution.fold.record().error_json.clear();
  commit(execution);
  for (const TimerRecord& timer : execution.fold.timers()) timers_.arm(timer);
  dispatch_all(execution);
}

}  // namespace pawl
