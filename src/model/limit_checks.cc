#include "model/limit_checks.h"

#include <fmt/format.h>

#include <string>

#include "base/utf8.h"

namespace pawl {
namespace {

Error refused(std::string message) { return {ErrorCode::invalid_argument, std::move(message), {}}; }

// The beginning of a text for a message, cut between characters.
std::string_view beginning(const std::string_view text) {
  constexpr std::size_t kShownBytes = 40;
  const std::string_view cut = text.substr(0, kShownBytes);
  return cut.substr(0, find_invalid_utf8(cut));
}

}  // namespace

std::optional<Error> check_text(const std::string_view what, const std::string_view text,
                                const Limits& limits, const bool may_be_empty) {
  if (text.empty()) {
    if (may_be_empty) return std::nullopt;
    return refused(fmt::format("The {} is missing: give a text of 1 to {} bytes.", what,
                               limits.name_bytes_max));
  }
  if (text.size() > limits.name_bytes_max) {
    return refused(fmt::format("The {} '{}…' is {} bytes long, the most is {} (name_bytes_max).",
                               what, beginning(text), text.size(), limits.name_bytes_max));
  }
  if (find_invalid_utf8(text) != std::string_view::npos ||
      text.find('\0') != std::string_view::npos) {
    return refused(fmt::format("The {} has bytes that are no text (UTF-8 without NUL).", what));
  }
  return std::nullopt;
}

std::optional<Error> check_payload(const std::string_view what, const Payload& payload,
                                   const Limits& limits) {
  if (payload.bytes.size() <= limits.payload_bytes_max) return std::nullopt;
  return Error{
      ErrorCode::payload_too_large,
      fmt::format("{} bytes of JSON are too many for the {}: the most is {} (payload_bytes_max). "
                  "Store what is large elsewhere and pass a reference to it.",
                  payload.bytes.size(), what, limits.payload_bytes_max),
      {}};
}

}  // namespace pawl
