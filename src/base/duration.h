#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "pawl/time.h"

namespace pawl {

// The time that is that much later; the last one there is, where that lies beyond it, so that the
// longest duration, which some write for "never", does not end in the past.
constexpr Timestamp later(const Timestamp at, const DurationMs by) {
  constexpr Timestamp last = std::numeric_limits<Timestamp>::max();
  return by > 0 && at > last - by ? last : at + by;
}

// Durations as people write them: digits and a unit ('500ms', '30s', '15m', '12h', '3d', '2w'),
// or digits alone, which are milliseconds. There are no fractions and no signs.
//
// Returns milliseconds. On failure returns nothing, and `error` says what was wrong with which
// text and what can be written instead.
std::optional<std::int64_t> parse_duration_ms(std::string_view text, std::string& error);

// The shortest text that parse_duration_ms turns back into `ms`, in the largest unit that loses
// nothing: 90000 is "90s", 3600000 is "1h". `ms` is not negative.
std::string format_duration_ms(std::int64_t ms);

}  // namespace pawl
