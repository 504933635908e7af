#pragma once

// The token of an action that is completed from elsewhere: the key that the engine makes for the action, which has
// its execution's seed in it, and the tenant.

#include <string_view>

#include "core/shard.h"
#include "pawl/error.h"

namespace pawl {

// Without request and outcome. Errors: invalid_argument.
Result<ActionCompletionGiven> read_completion_token(std::string_view token);

}  // namespace pawl
