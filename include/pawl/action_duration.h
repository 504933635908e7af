#pragma once

// A time as an action is given it.

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include <pawl/error.h>
#include <pawl/json.h>

namespace pawl {

// Whole milliseconds, not negative, and in JSON also text: "500ms", "30s", "1.5h", "3d". Rounded up.
class ActionDuration {
 public:
  constexpr ActionDuration() = default;
  // NOLINTNEXTLINE(*-explicit-*): .timeout = 30s
  template <class Rep, class Period>
  constexpr ActionDuration(const std::chrono::duration<Rep, Period> time)
      : ms_(std::chrono::ceil<std::chrono::milliseconds>(time)) {}
  // Errors: invalid_argument.
  static Result<ActionDuration> parse(std::string_view text);

  constexpr std::chrono::milliseconds ms() const { return ms_; }

 private:
  std::chrono::milliseconds ms_{0};
};

template <>
struct JsonCodec<ActionDuration> {
  static bool write(const ActionDuration& from, JsonWriter& writer);
  static bool read(const Json& from, ActionDuration& to, JsonReader& reader);
};

}  // namespace pawl
