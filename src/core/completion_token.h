#pragma once

// The token of an action that is completed from elsewhere: the key that the engine makes for the action, which has
// its execution's seed in it, and the tenant.

#include <string_view>

#include "core/shard.h"
#include "pawl/error.h"

namespace pawl {

// Without request and outcome. Errors: invalid_argument.
Result<ActionCompletionGiven> read_completion_token(std::string_view token);

// Why its action is not completed by it.
Error unknown_token();
Error ended_before_completion(const ExecutionRecord& execution);
Error completed_before(const ExecutionRecord& execution);

}  // namespace pawl
