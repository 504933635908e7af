#include "tests/support/story_parts.h"

#include <memory>
#include <stdexcept>
#include <utility>

namespace pawl::testing {

World::HostMaker host_with(ScriptFunction function) {
  return [function = std::move(function)] {
    auto host = std::make_unique<ScriptHost>();
    host->define("Story", function);
    return host;
  };
}

StartRequest start_of(const std::string& id, const std::string& input) {
  StartRequest request;
  request.workflow = "Story";
  request.tenant = kTenant;
  request.execution_id = id;
  request.input = Payload::json(input);
  return request;
}

EventRequest event_of(const std::string& id, const std::string& name, const std::string& payload,
                      const std::string& key) {
  return EventRequest{kTenant, id, name, Payload::json(payload), "user-1", key};
}

EventRequest event_of(const std::string& id, const std::string& name, const std::string& key) {
  return event_of(id, name, "{}", key);
}

std::variant<Payload, Failure> echo(const ActionTask& task) { return task.parameters; }

void control_until_told(World& world, const ControlVerb verb, const std::string& id,
                        const std::string& reason, const DurationMs pause) {
  constexpr int kTriesMax = 100;
  for (int tries = 0; tries < kTriesMax; ++tries) {
    const auto told = world.control(verb, id, reason);
    if (!told) continue;
    if (told->has_value() || told->error().code == ErrorCode::execution_ended ||
        (verb == ControlVerb::retry && told->error().code == ErrorCode::wrong_status)) {
      return;
    }
    world.advance(pause);
  }
  throw std::runtime_error("the operator was never told");
}

std::vector<std::string> types_of(const std::vector<HistoryEvent>& history) {
  std::vector<std::string> types;
  for (const HistoryEvent& event : history) types.emplace_back(to_string(event.type));
  return types;
}

}  // namespace pawl::testing
