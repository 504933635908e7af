#include "pawl/action_duration.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>

namespace pawl {
namespace {

struct Unit {
  std::string_view name;
  double ms;
};
constexpr std::array<Unit, 5> kUnits{
    {{"ms", 1}, {"s", 1'000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}}};

// What still is an exact integer in a double.
constexpr double kMsMax = 9'007'199'254'740'991;

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const std::size_t from = text.find_first_not_of(kSpace);
  if (from == std::string_view::npos) return {};
  return text.substr(from, text.find_last_not_of(kSpace) - from + 1);
}

// Digits, and perhaps a point and more digits; takes them away from the text.
std::optional<double> take_number(std::string_view& text) {
  constexpr std::string_view kDigits = "0123456789";
  std::size_t end = std::min(text.find_first_not_of(kDigits), text.size());
  if (end == 0) return std::nullopt;
  if (end + 1 < text.size() && text[end] == '.') {
    const std::size_t fraction = std::min(text.find_first_not_of(kDigits, end + 1), text.size());
    if (fraction > end + 1) end = fraction;
  }
  double number = 0;
  const auto [rest, status] = std::from_chars(text.data(), text.data() + end, number);
  if (status != std::errc()) number = std::numeric_limits<double>::infinity();
  text.remove_prefix(end);
  return number;
}

std::optional<double> milliseconds_of(std::string_view text) {
  text = trimmed(text);
  const std::optional<double> number = take_number(text);
  if (!number) return std::nullopt;
  text = trimmed(text);
  for (const Unit& unit : kUnits) {
    if (unit.name == text) return *number * unit.ms;
  }
  return std::nullopt;
}

std::optional<ActionDuration> in_range(const double ms) {
  if (!(ms >= 0) || ms > kMsMax) return std::nullopt;
  return ActionDuration(std::chrono::milliseconds(static_cast<std::int64_t>(std::ceil(ms))));
}

constexpr const char* kOutOfRange = "is out of range. A duration is at least 0 and finite";

}  // namespace

Result<ActionDuration> ActionDuration::parse(const std::string_view text) {
  const std::optional<double> ms = milliseconds_of(text);
  if (!ms) {
    return Error{ErrorCode::invalid_argument,
                 fmt::format("\"{}\" is no duration. Write a number with a unit: '500ms', '30s', "
                             "'15m', '12h' or '3d'",
                             text),
                 {}};
  }
  if (const auto duration = in_range(*ms)) return *duration;
  return Error{ErrorCode::invalid_argument, fmt::format("{} {}", text, kOutOfRange), {}};
}

bool JsonCodec<ActionDuration>::write(const ActionDuration& from, JsonWriter& writer) {
  return writer.integer(std::int64_t{from.ms().count()});
}

bool JsonCodec<ActionDuration>::read(const Json& from, ActionDuration& to, JsonReader& reader) {
  if (from.is_number()) {
    const auto duration = in_range(from.as_double());
    if (!duration) return reader.fault.at_here(kOutOfRange);
    to = *duration;
    return true;
  }
  if (!reader.expect(from, from.is_string(), "milliseconds, or text such as '30s'")) return false;
  const auto duration = ActionDuration::parse(from.as_string());
  if (!duration) return reader.fault.at_here(duration.error().message);
  to = *duration;
  return true;
}

}  // namespace pawl
