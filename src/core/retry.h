#pragma once

#include <cstdint>
#include <optional>

#include "pawl/error.h"
#include "pawl/host.h"

namespace pawl {

inline constexpr DurationMs kActionTimeoutDefaultMs = 60'000;

// The wait before the next attempt, or none if that was the last one. `attempt` is the number of the
// one that failed, from 1. The jitter follows from `seed` and the attempt, so that the same failure
// gets the same answer.
std::optional<DurationMs> retry_delay(const RetryPolicy& policy, const Failure& failure,
                                      int attempt, std::uint64_t seed);

}  // namespace pawl
