#pragma once

// What a start can ask for beside the workflow and its input.

#include <string>
#include <string_view>

#include "pawl/error.h"
#include "pawl/host.h"
#include "pawl/runtime.h"
#include "pawl/time.h"

namespace pawl {

// Where an execution's own timers stand among those of its code, whose positions begin at 1.
inline constexpr Position kStartPosition = -1;
inline constexpr Position kDeadlinePosition = -2;

// The reason of a cancellation by the engine.
inline constexpr std::string_view kDeadlineReason = "deadline";

// The id of the execution that a start with that idempotency key begins: always the same, and of the
// form of a UUID (RFC 9562, version 8). So the store's one unique index of ids holds the keys too.
std::string keyed_execution_id(std::string_view tenant, std::string_view workflow,
                               std::string_view idempotency_key);

// The id of a child that was given none. A retry has another generation, so that the activation that
// failed and the one in its place don't start children under the same ids.
std::string derived_child_id(std::string_view parent, Position position, int generation);

// Tells a repeated start from another one under the same id.
std::string start_digest(const StartRequest& start);

// What the other one is told.
Error start_clash(const StartRequest& start);

// The same for a fork, whose point is known: the sequence of the last record that both have.
std::string fork_digest(const ForkRequest& fork);
Error fork_clash(const ForkRequest& fork);

}  // namespace pawl
