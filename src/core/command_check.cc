#include "core/command_check.h"

#include <fmt/format.h>
#include <cmath>
#include <string>
#include <utility>

#include "core/action_graph.h"
#include "model/limit_checks.h"

namespace pawl {
namespace {

Error invalid(std::string message) { return {ErrorCode::invalid_argument, std::move(message), {}}; }

std::optional<Error> check_options(const std::string_view action, const ActionOptions& options,
                                   const Limits& limits) {
  if (auto error =
          check_text("idempotency key of an action", options.idempotency_key, limits, true)) {
    error->message += fmt::format(" It is in the options of action '{}'.", action);
    return error;
  }
  if (options.in_place && !options.idempotency_key.empty()) {
    return invalid(fmt::format(
        "'{}' is written in place, and can't have an idempotency key of its own.", action));
  }
  if (!options.retry) return std::nullopt;
  const RetryPolicy& retry = *options.retry;
  if (!std::isfinite(retry.backoff) || !std::isfinite(retry.jitter)) {
    return invalid(
        fmt::format("The retry of action '{}' has a backoff or jitter that is no number.", action));
  }
  std::size_t bytes = 0;
  for (const std::string& name : retry.non_retryable) {
    if (auto error = check_text("name of a failure that is not retried", name, limits)) {
      error->message += fmt::format(" It is in the options of action '{}'.", action);
      return error;
    }
    bytes += name.size();
  }
  if (bytes <= limits.payload_bytes_max) return std::nullopt;
  return invalid(fmt::format(
      "The names of the failures that are not retried, in the options of action '{}', have {} "
      "bytes, the most is {} (payload_bytes_max).",
      action, bytes, limits.payload_bytes_max));
}

std::optional<Error> check_call(const std::string_view name, const Payload& parameters,
                                const ActionOptions& options, const Limits& limits) {
  if (auto error = check_text("name of an action", name, limits)) return error;
  if (auto error = check_options(name, options, limits)) return error;
  return check_payload(fmt::format("parameters of action '{}'", name), parameters, limits);
}

struct CommandCheck {
  const Limits& limits;

  std::optional<Error> operator()(const ScheduleActionCommand& command) const {
    return check_call(command.name, command.parameters, command.options, limits);
  }
  std::optional<Error> operator()(const StartGraphCommand& command) const {
    return check_graph(command, limits);
  }
  std::optional<Error> operator()(const WaitCommand& command) const {
    std::size_t bytes = 0;
    for (const std::string& name : command.names) {
      if (auto error = check_text("name of an event to wait for", name, limits)) return error;
      bytes += name.size();
    }
    if (bytes <= limits.payload_bytes_max) return std::nullopt;
    return invalid(
        fmt::format("The names of {} events to wait for have {} bytes, the most is {} "
                    "(payload_bytes_max).",
                    command.names.size(), bytes, limits.payload_bytes_max));
  }
  std::optional<Error> operator()(const SetStateCommand& command) const {
    return check_text("state", command.state, limits);
  }
  std::optional<Error> operator()(const SetDataCommand& command) const {
    // What is deleted may have come with the input, whose keys have no bound of their own.
    if (command.value.is_none()) return std::nullopt;
    if (auto error = check_text("key of data", command.key, limits)) return error;
    return check_payload(fmt::format("value of data '{}'", command.key), command.value, limits);
  }
  std::optional<Error> operator()(const EmitCommand& command) const {
    if (auto error = check_text("name of an event to emit", command.name, limits)) return error;
    if (auto error =
            check_text("id of the execution to emit to", command.execution_id, limits, true)) {
      return error;
    }
    return check_payload(fmt::format("payload of event '{}'", command.name), command.payload,
                         limits);
  }
  std::optional<Error> operator()(const CompleteCommand& command) const {
    return check_payload("result of the workflow", command.result, limits);
  }
  std::optional<Error> operator()(const StartChildCommand& command) const {
    if (auto error = check_text("name of a child's workflow", command.workflow, limits)) {
      return error;
    }
    if (auto error = check_text("id of a child execution", command.execution_id, limits)) {
      return error;
    }
    for (const auto& [what, text] : {std::pair{"version of a child's workflow", &command.version},
                                     {"user id of a child", &command.user_id},
                                     {"correlation id of a child", &command.correlation_id}}) {
      if (auto error = check_text(what, *text, limits, true)) return error;
    }
    return check_payload(fmt::format("input of child '{}'", command.workflow), command.input,
                         limits);
  }
  std::optional<Error> operator()(const ContinueAsNewCommand& command) const {
    return check_payload("input of the next run", command.input, limits);
  }
  // Failures are bounded where they are written.
  template <class Other>
  std::optional<Error> operator()(const Other&) const {
    return std::nullopt;
  }
};

}  // namespace

std::optional<Error> check_graph(const StartGraphCommand& graph, const Limits& limits) {
  std::size_t steps = 0;
  std::size_t bytes = 0;
  for (const GraphAction& action : graph.actions) {
    if (auto error = check_text("id of an action in a graph", action.id, limits)) return error;
    for (const auto& [what, text] : {std::pair{"group of an action", &action.group},
                                     {"sync point of an action", &action.sync_point}}) {
      if (auto error = check_text(what, *text, limits, true)) return error;
      bytes += text->size();
    }
    if (auto error = check_call(action.name, action.parameters, action.options, limits)) {
      return error;
    }
    constexpr int kRetriesMax = 1'000'000;
    if (action.retries < 0 || action.retries > kRetriesMax) {
      return invalid(fmt::format("Action '{}' of the graph can't be tried {} times more.",
                                 action.id, action.retries));
    }
    bytes += action.id.size() + action.name.size() + action.parameters.bytes.size();
    for (const std::string& name : action.depends_on) bytes += name.size();
    steps += 1 + action.compensations.size();
    for (const Compensation& compensation : action.compensations) {
      if (auto error = check_call(compensation.name, compensation.parameters, compensation.options,
                                  limits)) {
        return error;
      }
      bytes += compensation.name.size() + compensation.parameters.bytes.size();
    }
  }
  if (steps > limits.graph_actions_max) {
    return invalid(
        fmt::format("The graph has {} actions with their compensations, the most is {} "
                    "(graph_actions_max). Run it in parts.",
                    steps, limits.graph_actions_max));
  }
  if (bytes > limits.graph_bytes_max) {
    return invalid(
        fmt::format("The graph has {} bytes, the most is {} (graph_bytes_max). Run it in "
                    "parts.",
                    bytes, limits.graph_bytes_max));
  }
  const auto possible = ActionGraph::check(graph);
  if (!possible) return possible.error();
  return std::nullopt;
}

std::optional<Error> check_command(const Command& command, const Limits& limits) {
  return std::visit(CommandCheck{limits}, command);
}

}  // namespace pawl
