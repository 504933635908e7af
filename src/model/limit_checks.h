#pragma once

// The checks of Limits that apply to any text and any payload, wherever it comes in.

#include <optional>
#include <string_view>

#include "pawl/error.h"
#include "pawl/payload.h"
#include "pawl/runtime.h"

namespace pawl {

// What every id, name, tenant, state and key has to be. `what` begins the message: "workflow name".
// Error: invalid_argument.
std::optional<Error> check_text(std::string_view what, std::string_view text, const Limits& limits,
                                bool may_be_empty = false);

// Error: payload_too_large. `what` as in "input", "payload of event 'Go'".
std::optional<Error> check_payload(std::string_view what, const Payload& payload,
                                   const Limits& limits);

}  // namespace pawl
