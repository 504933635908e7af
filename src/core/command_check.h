#pragma once

#include <optional>

#include "pawl/error.h"
#include "pawl/host.h"
#include "pawl/runtime.h"

namespace pawl {

// Whether what a command of workflow code says is within the limits, and so can be recorded and read
// again. The error says what is wrong and names the limit.
std::optional<Error> check_command(const Command& command, const Limits& limits);

}  // namespace pawl
