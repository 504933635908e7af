#include "base/utf8.h"

#include <cstdint>
#include <cstring>

namespace pawl {

std::size_t find_invalid_utf8(std::string_view text) {
  const std::size_t size = text.size();
  const auto byte = [&](std::size_t at) { return static_cast<std::uint8_t>(text[at]); };
  const auto continues = [&](std::size_t at, std::uint8_t low, std::uint8_t high) {
    return at < size && byte(at) >= low && byte(at) <= high;
  };
  std::size_t i = 0;
  while (i < size) {
    std::uint64_t eight = 0;
    if (size - i >= sizeof eight) {
      std::memcpy(&eight, text.data() + i, sizeof eight);
      if ((eight & 0x8080'8080'8080'8080U) == 0) {
        i += sizeof eight;
        continue;
      }
    }
    const std::uint8_t lead = byte(i);
    if (lead < 0x80) {
      i += 1;
    } else if (lead >= 0xC2 && lead <= 0xDF) {
      if (!continues(i + 1, 0x80, 0xBF)) return i;
      i += 2;
    } else if (lead >= 0xE0 && lead <= 0xEF) {
      const std::uint8_t low = lead == 0xE0 ? 0xA0 : 0x80;
      const std::uint8_t high = lead == 0xED ? 0x9F : 0xBF;
      if (!continues(i + 1, low, high) || !continues(i + 2, 0x80, 0xBF)) return i;
      i += 3;
    } else if (lead >= 0xF0 && lead <= 0xF4) {
      const std::uint8_t low = lead == 0xF0 ? 0x90 : 0x80;
      const std::uint8_t high = lead == 0xF4 ? 0x8F : 0xBF;
      if (!continues(i + 1, low, high) || !continues(i + 2, 0x80, 0xBF) ||
          !continues(i + 3, 0x80, 0xBF)) {
        return i;
      }
      i += 4;
    } else {
      return i;
    }
  }
  return std::string_view::npos;
}

}  // namespace pawl
