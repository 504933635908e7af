#include "base/duration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>

namespace pawl {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::int64_t parsed(std::string_view text) {
  std::string error;
  const auto ms = parse_duration_ms(text, error);
  EXPECT_TRUE(ms) << error;
  return ms.value_or(-1);
}

std::string refused(std::string_view text) {
  std::string error;
  EXPECT_FALSE(parse_duration_ms(text, error)) << text;
  return error;
}

TEST(Duration, ReadsEveryUnit) {
  EXPECT_EQ(parsed("500ms"), 500);
  EXPECT_EQ(parsed("30s"), 30'000);
  EXPECT_EQ(parsed("15m"), 900'000);
  EXPECT_EQ(parsed("12h"), 43'200'000);
  EXPECT_EQ(parsed("3d"), 259'200'000);
  EXPECT_EQ(parsed("2w"), 1'209'600'000);
  EXPECT_EQ(parsed("0s"), 0);
}

TEST(Duration, ReadsDigitsAloneAsMilliseconds) { EXPECT_EQ(parsed("1500"), 1500); }

TEST(Duration, RefusesWhatIsNoDurationAndSaysWhatIs) {
  for (const char* text :
       {"", "s", "ms", "-5s", "+5s", " 5s", "5 s", "5s ", "1.5h", "5S", "5y", "0x5", "1h30m"}) {
    EXPECT_THAT(refused(text), AllOf(HasSubstr("'" + std::string(text) + "' is not a duration"),
                                     HasSubstr("'30s'")));
  }
}

TEST(Duration, RefusesWhatDoesNotFit) {
  EXPECT_EQ(parsed("9223372036854775807"), std::numeric_limits<std::int64_t>::max());
  for (const char* text : {"9223372036854775808", "9223372036854775808ms", "9223372036854776s"}) {
    EXPECT_THAT(refused(text), HasSubstr("too long"));
  }
}

TEST(Duration, WritesTheLargestUnitThatLosesNothing) {
  EXPECT_EQ(format_duration_ms(0), "0ms");
  EXPECT_EQ(format_duration_ms(1'500), "1500ms");
  EXPECT_EQ(format_duration_ms(90'000), "90s");
  EXPECT_EQ(format_duration_ms(3'600'000), "1h");
  EXPECT_EQ(format_duration_ms(259'200'000), "3d");
  EXPECT_EQ(format_duration_ms(1'209'600'000), "2w");
}

TEST(Duration, TheLongestEndsAtTheLastTimeThereIs) {
  constexpr Timestamp last = std::numeric_limits<Timestamp>::max();
  EXPECT_EQ(later(1'000, 500), 1'500);
  EXPECT_EQ(later(1'000, last), last);
  EXPECT_EQ(later(0, last), last);
  EXPECT_EQ(later(-1'000, last), last - 1'000);
}

TEST(Duration, ReadsBackWhatItWrites) {
  std::int64_t ms = 1;
  for (int i = 0; i < 60; ++i, ms = ms * 2 + i % 3) EXPECT_EQ(parsed(format_duration_ms(ms)), ms);
}

}  // namespace
}  // namespace pawl
