#include "base/duration.h"

#include <fmt/format.h>

#include <array>
#include <cassert>
#include <charconv>
#include <limits>
#include <system_error>

namespace pawl {
namespace {

struct Unit {
  std::string_view name;
  std::int64_t ms;
};

constexpr std::array<Unit, 6> units{{{"w", 7 * 24 * 3'600'000LL},
                                     {"d", 24 * 3'600'000LL},
                                     {"h", 3'600'000},
                                     {"m", 60'000},
                                     {"s", 1'000},
                                     {"ms", 1}}};

const Unit* find_unit(std::string_view name) {
  if (name.empty()) return &units.back();
  for (const Unit& unit : units) {
    if (unit.name == name) return &unit;
  }
  return nullptr;
}

}  // namespace

std::optional<std::int64_t> parse_duration_ms(std::string_view text, std::string& error) {
  std::int64_t count = 0;
  const char* const end = text.data() + text.size();
  const bool starts_with_digit = !text.empty() && text[0] >= '0' && text[0] <= '9';
  const auto [rest, status] = std::from_chars(text.data(), end, count);
  if (starts_with_digit && status == std::errc::result_out_of_range) {
    error = fmt::format("duration '{}' is too long: it does not fit 64 bits", text);
    return std::nullopt;
  }
  const Unit* const unit =
      starts_with_digit ? find_unit({rest, static_cast<std::size_t>(end - rest)}) : nullptr;
  if (unit == nullptr) {
    error = fmt::format(
        "'{}' is not a duration: write digits and one of ms, s, m, h, d, w, such as '500ms', '30s' "
        "or '3d', or milliseconds as a number",
        text);
    return std::nullopt;
  }
  if (count > std::numeric_limits<std::int64_t>::max() / unit->ms) {
    error = fmt::format("duration '{}' is too long: it does not fit 64 bits", text);
    return std::nullopt;
  }
  return count * unit->ms;
}

std::string format_duration_ms(std::int64_t ms) {
  assert(ms >= 0);
  if (ms == 0) return "0ms";
  for (const Unit& unit : units) {
    if (ms % unit.ms == 0) return fmt::format("{}{}", ms / unit.ms, unit.name);
  }
  return fmt::format("{}ms", ms);
}

}  // namespace pawl
