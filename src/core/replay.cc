#include "core/replay.h"

#include <fmt/format.h>
#include <concepts>
#include <limits>
#include <type_traits>
#include <utility>

#include "model/attributes.h"
#include "model/failure_codec.h"
#include "model/graph_codec.h"

namespace pawl {
namespace {

Error broken(const ExecutionRecord& execution, const std::string_view why) {
  return {
      ErrorCode::internal,
      fmt::format("the history of execution {} can't be replayed: {}", execution.execution_id, why),
      execution.execution_id};
}

constexpr std::size_t kCommandsExpected = 2;  // of an activation

std::string join(const std::vector<std::string>& names) {
  std::string joined;
  for (const std::string& name : names) {
    if (!joined.empty()) joined += ", ";
    joined += name;
  }
  return joined;
}

// What a person needs to tell one command from another.
std::string describe(const HistoryEvent& event) {
  std::string text = fmt::format("{}", to_string(event.type));
  if (!event.name.empty()) text += fmt::format(" '{}'", event.name);
  if (event.position != 0) text += fmt::format(" (position {})", event.position);
  constexpr std::size_t kShownBytes = 200;
  if (!event.payload.is_none()) {
    text += fmt::format(" with {}", event.payload.bytes.substr(0, kShownBytes));
    if (event.payload.bytes.size() > kShownBytes) text += "…";
  }
  if (!event.attributes.empty()) text += fmt::format(" {}", event.attributes);
  if (!event.site.empty()) text += fmt::format(" at {}", event.site);
  return text;
}

bool same_command(const HistoryEvent& expected, const HistoryEvent& actual) {
  // The stack of a failure names lines of the code, which a deployment moves.
  if (expected.type == EventType::execution_failed ||
      expected.type == EventType::execution_cancelled) {
    return actual.type == expected.type && actual.name == expected.name;
  }
  return expected.type == actual.type && expected.position == actual.position &&
         expected.name == actual.name && expected.payload == actual.payload &&
         expected.attributes == actual.attributes;
}

// Takes what it can out of a command that is given away.
template <class C, class Of>
concept Is = std::same_as<std::remove_cvref_t<C>, Of>;

// A member of such a command: to be moved from, or copied.
template <class C, class Member>
using Given = std::conditional_t<std::is_lvalue_reference_v<C>, const Member&, Member&&>;
template <class C, class Member>
Given<C, Member> given(Member& member) {
  return static_cast<Given<C, Member>>(member);
}

struct RecordMaker {
  HistoryEvent event;

  std::optional<HistoryEvent> make(const EventType type) {
    event.type = type;
    return std::move(event);
  }
  template <Is<ScheduleActionCommand> C>
  std::optional<HistoryEvent> operator()(C&& command) {
    event.position = command.position;
    event.name = given<C>(command.name);
    event.payload = given<C>(command.parameters);
    event.attributes = encode(ScheduledAttributes{given<C>(command.options)});
    return make(EventType::action_scheduled);
  }
  template <Is<WaitCommand> C>
  std::optional<HistoryEvent> operator()(C&& command) {
    event.position = command.position;
    event.name = join(command.names);
    WaitAttributes attributes;
    if (command.names.size() > 1) attributes.names = command.names;
    attributes.timeout = command.timeout;
    attributes.filtered = command.filtered;
    event.attributes = encode(attributes);
    return make(EventType::wait_started);
  }
  template <Is<WithdrawCommand> C>
  std::optional<HistoryEvent> operator()(C&& command) {
    event.position = command.position;
    return make(EventType::withdrawn);
  }
  template <Is<StartTimerCommand> C>
  std::optional<HistoryEvent> operator()(C&& command) {
    event.position = command.position;
    event.attributes = encode(TimerAttributes{command.duration});
    return make(EventType::timer_started);
  }
  template <Is<SetStateCommand> C>
  std::optional<HistoryEvent> operator()(C&& command) {
    event.name = given<C>(command.state);
    return make(EventType::state_changed);
  }
  template <Is<SetDataCommand> C>
  std::optional<HistoryEvent> operator()(C&& command) {
    const bool deleted = command.value.is_none();
    event.name = given<C>(command.key);
    event.payload = given<C>(command.value);
    return make(deleted ? EventType::data_deleted : EventType::data_set);
  }
  template <Is<EmitCommand> C>
  std::optional<HistoryEvent> operator()(C&& command) {
    event.name = given<C>(command.name);
    event.payload = given<C>(command.payload);
    event.attributes = encode(EmittedAttributes{command.execution_id});
    return make(EventType::event_emitted);
  }
  template <Is<StartChildCommand> C>
  std::optional<HistoryEvent> operator()(C&& command) {
    event.position = command.position;
    event.name = given<C>(command.workflow);
    event.payload = given<C>(command.input);
    event.attributes =
        encode(ChildAttributes{command.execution_id, command.version, command.user_id,
                               command.correlation_id, command.parent_close});
    return make(EventType::child_started);
  }
  template <Is<CancelChildCommand> C>
  std::optional<HistoryEvent> operator()(C&& command) {
    event.position = command.position;
    return make(EventType::child_cancel_asked);
  }
  template <Is<StartGraphCommand> C>
  std::optional<HistoryEvent> operator()(C&& command) {
    event.position = command.position;
    event.payload = Payload::json(encode_graph(command));
    return make(EventType::graph_started);
  }
  template <Is<ContinueAsNewCommand> C>
  std::optional<HistoryEvent> operator()(C&& command) {
    event.payload = given<C>(command.input);
    return make(EventType::continued_as_new);
  }
  std::optional<HistoryEvent> operator()(const LogCommand&) { return std::nullopt; }
  template <Is<PatchedCommand> C>
  std::optional<HistoryEvent> operator()(C&& command) {
    event.name = given<C>(command.change_id);
    return make(EventType::patched);
  }
  template <Is<CompleteCommand> C>
  std::optional<HistoryEvent> operator()(C&& command) {
    event.payload = given<C>(command.result);
    return make(EventType::execution_completed);
  }
  template <Is<FailCommand> C>
  std::optional<HistoryEvent> operator()(C&& command) {
    event.name = command.failure.name;
    event.payload = Payload::json(encode_failure(command.failure));
    return make(EventType::execution_failed);
  }
  template <Is<CancelCommand> C>
  std::optional<HistoryEvent> operator()(C&& command) {
    event.name = command.failure.name;
    event.payload = Payload::json(encode_failure(command.failure));
    return make(EventType::execution_cancelled);
  }
};

}  // namespace

std::optional<HistoryEvent> record_of(const Command& command, const CallSite site) {
  std::optional<HistoryEvent> record = std::visit(RecordMaker{}, command);
  if (record) record->site = site.substr(0, kCallSiteBytesMax);
  return record;
}

std::optional<HistoryEvent> record_of(Command&& command) {
  return std::visit(RecordMaker{}, std::move(command));
}

CallSite site_of(const ActivationResult& result, const std::size_t command) {
  return command < result.sites.size() ? result.sites[command] : CallSite{};
}

Result<Job> job_of(const ExecutionRecord& execution, const HistoryEvent& event,
                   const ReceivedEvent* const received) {
  switch (event.type) {
    case EventType::execution_started: {
      auto attributes = decode<StartedAttributes>(event.attributes, event.codec);
      if (!attributes) return attributes.error();
      return Job{StartJob{execution.tenant, execution.execution_id, event.name,
                          std::move(attributes->version), std::move(attributes->user_id),
                          std::move(attributes->correlation_id), event.payload, attributes->seed,
                          attributes->first_position}};
    }
    case EventType::event_received: {
      auto attributes = decode<ReceivedAttributes>(event.attributes, event.codec);
      if (!attributes) return attributes.error();
      return Job{EventJob{
          event.position,
          ReceivedEvent{std::move(attributes->event_id), event.name, event.payload,
                        std::move(attributes->user_id), attributes->accepted_at, event.sequence}}};
    }
    case EventType::event_delivered:
      if (received == nullptr) {
        return broken(execution,
                      fmt::format("record {} delivers an event that is not in it", event.sequence));
      }
      return Job{EventJob{event.position, *received}};
    case EventType::wait_timed_out: return Job{WaitTimedOutJob{event.position}};
    case EventType::timer_fired: return Job{TimerJob{event.position}};
    case EventType::graph_completed:
    case EventType::action_completed: return Job{ActionJob{event.position, event.payload}};
    case EventType::action_failed:
      return Job{ActionJob{event.position, decode_failure(event.payload.bytes)}};
    case EventType::child_completed: return Job{ChildJob{event.position, event.payload}};
    case EventType::child_failed:
      return Job{ChildJob{event.position, decode_failure(event.payload.bytes)}};
    case EventType::cancel_delivered: {
      auto attributes = decode<OperatorAttributes>(event.attributes, event.codec);
      if (!attributes) return attributes.error();
      return Job{CancelJob{std::move(attributes->reason), attributes->keeps_children}};
    }
    default:
      return broken(execution,
                    fmt::format("record {} ({}) is no job", event.sequence, to_string(event.type)));
  }
}

ReplayStart start_of_replay(const std::span<const HistoryEvent> history) {
  ReplayStart start;
  start.void_records.add(history);
  for (const HistoryEvent& event : history) {
    if (event.type == EventType::execution_forked) {
      start.forks.emplace_back(event.sequence, event.name);
    }
  }
  return start;
}

ActivationSplitter::ActivationSplitter(const ExecutionRecord& execution, ReplayStart start)
    : execution_(execution), start_(std::move(start)), forked_(!start_.forks.empty()) {
  start_.forks.emplace_back(std::numeric_limits<std::int64_t>::max(), execution_.execution_id);
}

Error ActivationSplitter::broken(const std::string_view why) const {
  return pawl::broken(execution_, why);
}

Result<void> ActivationSplitter::add(const std::span<HistoryEvent> records,
                                     Queue<ReplayStep>& steps) {
  for (HistoryEvent& event : records) {
    if (event.sequence <= start_.after) continue;
    if (auto added = add(event, steps); !added) return added;
  }
  return {};
}

Result<void> ActivationSplitter::add(HistoryEvent& event, Queue<ReplayStep>& steps) {
  while (event.sequence > start_.forks.front().first) start_.forks.pop_front();
  if (start_.void_records.contains(event)) return {};
  if (event.type == EventType::execution_retried) {
    const auto attributes = decode<RetriedAttributes>(event.attributes, event.codec);
    if (!attributes) return attributes.error();
    start_.generation = std::max(start_.generation, attributes->generation);
  }
  const RecordRole role = role_of(event.type);
  if (is_buffered(event)) {
    auto job = job_of(execution_, event, nullptr);
    if (!job) return job.error();
    start_.buffered.emplace(event.sequence, std::get<EventJob>(std::move(*job)).event);
  }
  if (stands_alone(event)) {
    if (open_) {
      return broken(fmt::format("record {} ({}) stands inside an activation", event.sequence,
                                to_string(event.type)));
    }
    return {};
  }
  if (!open_) {
    if (role != RecordRole::job) {
      return broken(
          fmt::format("record {} ({}) follows from no job", event.sequence, to_string(event.type)));
    }
    now_ = std::max(now_, event.at);
    if (event.type == EventType::execution_started) steps.clear();
    Activation& begun = open_.emplace().activation;
    begun.execution = execution_.ref;
    begun.now = now_;
    begun.sequence = event.sequence;
    begun.replaying = true;
    begun.generation = start_.generation;
    if (forked_) begun.execution_id = start_.forks.front().second;
  }
  const bool last = event.ends_activation;
  if (role == RecordRole::command) {
    if (event.type == EventType::patched) open_->activation.patches.push_back(event.name);
    if (open_->commands.empty()) open_->commands.reserve(kCommandsExpected);
    open_->commands.push_back(std::move(event));
  } else {
    if (!open_->commands.empty()) {
      return broken(
          fmt::format("record {} ({}) comes after the commands of its activation: the mark of its "
                      "end is missing",
                      event.sequence, to_string(event.type)));
    }
    std::optional<ReceivedEvent> received;
    if (event.type == EventType::event_delivered) {
      const auto attributes = decode<DeliveredAttributes>(event.attributes, event.codec);
      if (!attributes) return attributes.error();
      if (auto found = start_.buffered.extract(attributes->event)) {
        received = std::move(found.mapped());
      }
    }
    auto job = job_of(execution_, event, received ? &*received : nullptr);
    if (!job) return job.error();
    open_->activation.jobs.push_back(std::move(*job));
  }
  if (last) {
    steps.push_back(std::move(*open_));
    open_.reset();
  }
  return {};
}

Result<void> ActivationSplitter::finish() const {
  if (open_) return broken("its last activation has no end");
  return {};
}

Result<Queue<ReplayStep>> split_into_activations(const ExecutionRecord& execution,
                                                 std::vector<HistoryEvent> history) {
  Queue<ReplayStep> steps;
  ActivationSplitter splitter(execution, start_of_replay(history));
  if (auto added = splitter.add(history, steps); !added) return added.error();
  if (auto finished = splitter.finish(); !finished) return finished.error();
  return steps;
}

std::optional<std::string> find_departure(const ExecutionRecord& execution, const ReplayStep& step,
                                          ActivationResult result) {
  std::size_t expected = 0;
  CallSite agreed_until;  // where the code stood when it last did what is recorded
  const auto nothing_more = [&] {
    return agreed_until.empty() ? std::string("nothing more")
                                : fmt::format("nothing more after {}", agreed_until);
  };
  const auto recorded = [&] {
    if (expected == step.commands.size()) return nothing_more();
    const HistoryEvent& record = step.commands[expected];
    return fmt::format("record {}: {}", record.sequence, describe(record));
  };
  const auto report = [&](const std::string& code_did) {
    const bool patch_gone =
        expected < step.commands.size() && step.commands[expected].type == EventType::patched;
    const std::string_view hint =
        patch_gone
            ? "The execution began with a patch that the code does not ask for any more, or asks "
              "for elsewhere. Put the call back where it was and register the definition with "
              "`replace`; leave it out only in a version of its own."
            : "The code was changed since, or depends on something that is not in the history "
              "(time, randomness, environment, a variable of the module). Restore it, or register "
              "a mended definition with `replace`.";
    return fmt::format(
        "Workflow {} {} departed from its history in the activation of record {}.\n"
        "  the history has: {}\n"
        "  the code did:    {}\n"
        "{}",
        execution.workflow, execution.version, step.activation.sequence, recorded(), code_did,
        hint);
  };
  for (std::size_t index = 0; index < result.commands.size(); ++index) {
    std::optional<HistoryEvent> actual = record_of(std::move(result.commands[index]));
    if (!actual) continue;
    const CallSite site = site_of(result, index).substr(0, kCallSiteBytesMax);
    if (expected == step.commands.size() || !same_command(step.commands[expected], *actual)) {
      actual->site = site;
      return report(describe(*actual));
    }
    if (!site.empty()) agreed_until = site;
    ++expected;
  }
  if (expected < step.commands.size()) return report(nothing_more());
  return std::nullopt;
}

}  // namespace pawl
