#pragma once

// What the stories of tests/scenarios are made of: one workflow called Story, one tenant, and clients
// that ask again until they are told.

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/shard.h"
#include "tests/support/script_host.h"
#include "tests/support/world.h"

namespace pawl::testing {

inline constexpr const char* kTenant = "acme";

World::HostMaker host_with(ScriptFunction function);
StartRequest start_of(const std::string& id, const std::string& input = "{}");
EventRequest event_of(const std::string& id, const std::string& name, const std::string& payload,
                      const std::string& key);
EventRequest event_of(const std::string& id, const std::string& name, const std::string& key);

// An action that answers with the parameters that it was given.
std::variant<Payload, Failure> echo(const ActionTask& task);

// Again every `pause`, until it is told. What it asked for may have been done before a crash, so that
// it is refused: that the execution has ended, or that one to be retried goes on, counts as told.
void control_until_told(World& world, ControlVerb verb, const std::string& id,
                        const std::string& reason = "", DurationMs pause = 1'000);

std::vector<std::string> types_of(const std::vector<HistoryEvent>& history);

}  // namespace pawl::testing
