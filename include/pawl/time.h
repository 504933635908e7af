#pragma once

#include <cstdint>

namespace pawl {

// Milliseconds since 1970-01-01 UTC, as JavaScript's Date counts them.
using Timestamp = std::int64_t;

// Milliseconds.
using DurationMs = std::int64_t;

}  // namespace pawl
