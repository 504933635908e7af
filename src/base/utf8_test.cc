#include "base/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace pawl {
namespace {

constexpr std::size_t kNone = std::string_view::npos;

// Encodes any number as UTF-8 would, also those that UTF-8 forbids.
std::string encoded(std::uint32_t code) {
  std::string out;
  const auto put = [&](std::uint32_t byte) {
    out += static_cast<char>(static_cast<unsigned char>(byte));
  };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | code >> 6), put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12), put(0x80 | (code >> 6 & 0x3F)), put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | code >> 18), put(0x80 | (code >> 12 & 0x3F));
    put(0x80 | (code >> 6 & 0x3F)), put(0x80 | (code & 0x3F));
  }
  return out;
}

TEST(Utf8, TakesEveryScalarValueAndNothingElse) {
  for (std::uint32_t code = 0; code < 0x13'0000; ++code) {
    const bool valid = code < 0xD800 || (code > 0xDFFF && code <= 0x10'FFFF);
    ASSERT_EQ(find_invalid_utf8(encoded(code)), valid ? kNone : std::size_t{0}) << std::hex << code;
  }
}

TEST(Utf8, RefusesOverlongAndTornForms) {
  for (const char* text :
       {"\xC0\xAF", "\xC1\xBF", "\xE0\x9F\xBF", "\xF0\x8F\xBF\xBF", "\x80", "\xFF", "\xC3",
        "\xE2\x82", "\xF0\x9F\x98", "\xC3\x41", "\xE2\x82\x41"}) {
    EXPECT_EQ(find_invalid_utf8(text), 0U) << text;
  }
}

TEST(Utf8, TellsWhere) {
  for (std::size_t before = 0; before < 40; ++before) {
    EXPECT_EQ(find_invalid_utf8(std::string(before, 'a') + "\xFF" + std::string(20, 'b')), before);
    EXPECT_EQ(find_invalid_utf8(std::string(before, 'a') + "é" + std::string(20, 'b')), kNone);
  }
}

}  // namespace
}  // namespace pawl
