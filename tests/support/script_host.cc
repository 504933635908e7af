#include "tests/support/script_host.h"

#include <fmt/format.h>
#include <algorithm>

#include "core/start_options.h"

namespace pawl::testing {

void Script::emit(Command command) {
  if (counted_++ >= given_) fresh_.push_back(std::move(command));
}

Position Script::start_action(std::string name, std::string parameters, ActionOptions options) {
  const Position position = next_++;
  emit(ScheduleActionCommand{position, std::move(name), Payload::json(std::move(parameters)),
                             std::move(options)});
  return position;
}

Position Script::start_wait(std::vector<std::string> names,
                            const std::optional<DurationMs> timeout) {
  const Position position = next_++;
  emit(WaitCommand{position, std::move(names), timeout});
  return position;
}

Position Script::start_filtered(std::string name,
                                std::function<bool(const ReceivedEvent&)> filter) {
  const Position position = next_++;
  WaitCommand wait{position, {std::move(name)}, std::nullopt, true};
  emit(std::move(wait));
  filters_.insert_or_assign(position, std::move(filter));
  return position;
}

Position Script::start_child(std::string workflow, std::string input,
                             const ParentClose parent_close, std::string id) {
  const Position position = next_++;
  if (id.empty()) id = derived_child_id(start_.execution_id, position, generation_);
  StartChildCommand child;
  child.position = position;
  child.workflow = std::move(workflow);
  child.execution_id = std::move(id);
  child.input = Payload::json(std::move(input));
  child.parent_close = parent_close;
  emit(std::move(child));
  return position;
}

Position Script::start_sleep(const DurationMs duration) {
  const Position position = next_++;
  emit(StartTimerCommand{position, duration});
  return position;
}

Position Script::start_graph(std::vector<GraphAction> actions, const int concurrency_max) {
  StartGraphCommand graph{next_, std::move(actions), concurrency_max};
  next_ += positions_of(graph);
  const Position position = graph.position;
  emit(std::move(graph));
  return position;
}

void Script::withdraw(const Position position) { emit(WithdrawCommand{position}); }

std::variant<Payload, Failure> Script::action(const Position position) {
  const auto found = settled_.find(position);
  if (found == settled_.end()) throw Blocked{};
  if (const auto* const failure = std::get_if<Failure>(&found->second)) return *failure;
  return std::get<Payload>(found->second);
}

std::variant<Payload, Failure> Script::action_again(const Position position) {
  const auto found = later_.find(position);
  if (found == later_.end()) throw Blocked{};
  return found->second;
}

std::optional<ReceivedEvent> Script::event(const Position position) {
  const auto found = settled_.find(position);
  if (found == settled_.end()) throw Blocked{};
  if (const auto* const cancelled = std::get_if<Failure>(&found->second)) throw *cancelled;
  if (const auto* const event = std::get_if<ReceivedEvent>(&found->second)) return *event;
  return std::nullopt;
}

void Script::slept(const Position position) {
  const auto found = settled_.find(position);
  if (found == settled_.end()) throw Blocked{};
  if (const auto* const cancelled = std::get_if<Failure>(&found->second)) throw *cancelled;
}

Position Script::first(const std::vector<Position>& positions) const {
  for (const Position settled : order_) {
    if (std::find(positions.begin(), positions.end(), settled) != positions.end()) return settled;
  }
  throw Blocked{};
}

std::string Script::run(std::string name, std::string parameters) {
  auto outcome = action(start_action(std::move(name), std::move(parameters)));
  if (auto* const failure = std::get_if<Failure>(&outcome)) throw std::move(*failure);
  return std::get<Payload>(outcome).bytes;
}

ReceivedEvent Script::wait_for(std::vector<std::string> names) {
  const Position position = start_wait(std::move(names));
  auto event = this->event(position);
  // The history has something else there: the code is not the one that wrote it.
  if (!event) violate(fmt::format("position {} is a wait here, and not in the history", position));
  return std::move(*event);
}

// A run repeats the calls of the one before, so those are answered as they were.
bool Script::patched(const std::string& change_id) {
  if (patches_asked_ == patch_answers_.size()) {
    const auto before =
        std::find_if(patch_answers_.rbegin(), patch_answers_.rend(),
                     [&](const PatchAnswer& answer) { return answer.change_id == change_id; });
    const bool asked = before != patch_answers_.rend();
    PatchAnswer answer{change_id, asked && before->patched, false};
    if (!answer.patched) {
      answer.patched = replaying_ ? std::find(recorded_patches_.begin(), recorded_patches_.end(),
                                              change_id) != recorded_patches_.end()
                                  : !asked;
      answer.recorded = answer.patched;
    }
    patch_answers_.push_back(std::move(answer));
  }
  const PatchAnswer& answer = patch_answers_.at(patches_asked_++);
  if (answer.recorded) emit(PatchedCommand{change_id});
  return answer.patched;
}

void Script::cancel(const std::string& reason) {
  cancelled_ = true;
  Failure failure;
  failure.name = "CancelledError";
  failure.code = "cancelled";
  failure.message = reason;
  for (Position position = start_.first_position; position < next_; ++position) {
    if (settled_.emplace(position, failure).second) order_.push_back(position);
  }
}

void ScriptHost::define(const std::string& workflow, ScriptFunction function) {
  functions_.insert_or_assign(workflow, std::move(function));
}

void ScriptHost::activate(std::vector<Activation> activations,
                          const std::shared_ptr<ActivationSink>& sink) {
  std::vector<ActivationResult> results;
  for (const Activation& activation : activations) results.push_back(run(activation));
  sink->activations_completed(std::move(results));
}

void ScriptHost::evict(const ExecutionRef execution) { scripts_.erase(execution); }

ActivationResult ScriptHost::run(const Activation& activation) {
  ActivationResult result{activation.execution, activation.sequence, {}, std::nullopt};
  // A question of filters has no job.
  const auto* const start =
      activation.jobs.empty() ? nullptr : std::get_if<StartJob>(&activation.jobs.front());
  if (start != nullptr) {
    Script fresh;
    fresh.start_ = *start;
    scripts_.insert_or_assign(activation.execution, std::move(fresh));
  }
  const auto found = scripts_.find(activation.execution);
  if (found == scripts_.end()) {
    result.violation = "there is no instance";
    return result;
  }
  Script& script = found->second;
  script.now_ = activation.now;
  if (!activation.execution_id.empty()) script.start_.execution_id = activation.execution_id;
  script.generation_ = activation.generation;
  for (std::size_t index = 0; index < activation.offers.size(); ++index) {
    const EventOffer& offer = activation.offers[index];
    if (!script.filters_.at(offer.position)(offer.event)) continue;
    result.taken = index;
    break;
  }
  if (!activation.offers.empty()) return result;
  for (const Job& job : activation.jobs) {
    std::visit(
        [&script](const auto& value) {
          using Kind = std::decay_t<decltype(value)>;
          if constexpr (std::is_same_v<Kind, CancelJob>) {
            script.cancel(value.reason);
          } else if constexpr (std::is_same_v<Kind, EventJob>) {
            script.settled_.emplace(value.position, value.event);
          } else if constexpr (std::is_same_v<Kind, ActionJob> || std::is_same_v<Kind, ChildJob>) {
            if (script.settled_.contains(value.position)) {
              script.later_.emplace(value.position, value.outcome);
            } else if (const auto* const failure = std::get_if<Failure>(&value.outcome)) {
              script.settled_.emplace(value.position, *failure);
            } else {
              script.settled_.emplace(value.position, std::get<Payload>(value.outcome));
            }
          } else if constexpr (!std::is_same_v<Kind, StartJob>) {
            script.settled_.emplace(value.position, std::monostate{});
          }
          if constexpr (!std::is_same_v<Kind, StartJob> && !std::is_same_v<Kind, CancelJob>) {
            script.order_.push_back(value.position);
          }
        },
        job);
  }
  script.replaying_ = activation.replaying;
  script.recorded_patches_ = activation.patches;
  script.patches_asked_ = 0;
  script.counted_ = 0;
  script.next_ = script.start_.first_position;
  script.fresh_.clear();
  try {
    std::string done = functions_.at(script.start_.workflow)(script);
    script.fresh_.emplace_back(CompleteCommand{Payload::json(std::move(done))});
  } catch (const Script::Blocked&) {
  } catch (const Script::NextRun& next) {
    script.fresh_.emplace_back(ContinueAsNewCommand{next.input});
  } catch (const Script::Violation& violation) {
    result.violation = violation.report;
  } catch (const Failure& failure) {
    if (script.cancelled_ && failure.code == "cancelled") {
      script.fresh_.emplace_back(CancelCommand{failure});
    } else {
      script.fresh_.emplace_back(FailCommand{failure});
    }
  }
  script.given_ += script.fresh_.size();
  result.commands = std::move(script.fresh_);
  return result;
}

}  // namespace pawl::testing
