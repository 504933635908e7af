#include "tests/support/coroutine_driver.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace pawl::testing_support {

namespace {

struct Describe {
  std::string operator()(const ScheduleActionCommand& c) const {
    std::string text = fmt::format("run {} {} {}", c.position, c.name, c.parameters.bytes);
    if (c.options.retry) text += fmt::format(" attempts={}", c.options.retry->max_attempts);
    if (c.options.timeout) text += fmt::format(" timeout={}", *c.options.timeout);
    return text;
  }
  std::string operator()(const WaitCommand& c) const {
    std::string text = fmt::format("wait {} {}", c.position, fmt::join(c.names, ","));
    if (c.filtered) text += " filtered";
    return c.timeout ? text + fmt::format(" {}", *c.timeout) : text;
  }
  std::string operator()(const WithdrawCommand& c) const {
    return fmt::format("withdraw {}", c.position);
  }
  std::string operator()(const StartTimerCommand& c) const {
    return fmt::format("sleep {} {}", c.position, c.duration);
  }
  std::string operator()(const SetStateCommand& c) const { return "state " + c.state; }
  std::string operator()(const SetDataCommand& c) const {
    return c.value.is_none() ? "erase " + c.key : "data " + c.key + " " + c.value.bytes;
  }
  std::string operator()(const EmitCommand& c) const {
    return "emit " + c.name + " " + c.payload.bytes;
  }
  std::string operator()(const StartChildCommand& c) const {
    return fmt::format("child {} {} {} {}", c.position, c.workflow, c.execution_id, c.input.bytes);
  }
  std::string operator()(const CancelChildCommand& c) const {
    return fmt::format("cancel child {}", c.position);
  }
  std::string operator()(const StartGraphCommand& c) const {
    std::string text = fmt::format("graph {}", c.position);
    for (const GraphAction& action : c.actions) text += " " + action.id;
    return text;
  }
  std::string operator()(const ContinueAsNewCommand& c) const {
    return "continue as new " + c.input.bytes;
  }
  std::string operator()(const LogCommand& c) const { return "log " + c.message; }
  std::string operator()(const CompleteCommand& c) const { return "complete " + c.result.bytes; }
  std::string operator()(const PatchedCommand& c) const { return "patched " + c.change_id; }
  std::string operator()(const CancelCommand& c) const { return "cancel " + c.failure.message; }
  std::string operator()(const FailCommand& c) const {
    return "fail " + c.failure.name + ": " + c.failure.message;
  }
};

}  // namespace

std::vector<std::string> describe(const ActivationResult& result, bool with_log) {
  std::vector<std::string> lines;
  for (const Command& command : result.commands) {
    if (!with_log && std::holds_alternative<LogCommand>(command)) continue;
    lines.push_back(std::visit(Describe{}, command));
  }
  if (result.violation) lines.push_back("violation " + *result.violation);
  return lines;
}

}  // namespace pawl::testing_support
