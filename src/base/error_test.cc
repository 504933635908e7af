#include "pawl/error.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace pawl {
namespace {

TEST(Error, EveryCodeHasANameOfItsOwn) {
  std::set<std::string_view> names;
  for (int code = 1; code <= 22; ++code) names.insert(to_string(static_cast<ErrorCode>(code)));
  EXPECT_EQ(names.size(), 22U);
  EXPECT_FALSE(names.contains("unknown_error"));
  EXPECT_EQ(to_string(static_cast<ErrorCode>(23)), "unknown_error");
}

// rule: 15
TEST(Error, TheFirstFourClassesAreRetried) {
  std::set<std::string_view> names;
  for (int number = 0; number <= 6; ++number) {
    const auto failure_class = static_cast<FailureClass>(number);
    EXPECT_EQ(is_retryable(failure_class), number < 4) << number;
    names.insert(to_string(failure_class));
  }
  EXPECT_EQ(names.size(), 7U);
}

TEST(Error, ValueOfAnErrorThrowsIt) {
  const Result<int> refused = Error{ErrorCode::closed, "the runtime is closed", "e-1"};
  try {
    static_cast<void>(refused.value());
    FAIL() << "no exception";
  } catch (const ErrorException& thrown) {
    EXPECT_EQ(thrown.error().code, ErrorCode::closed);
    EXPECT_EQ(thrown.error().subject, "e-1");
    EXPECT_STREQ(thrown.what(), "the runtime is closed");
  }
}

TEST(Error, ValueOfAFailureThrowsIt) {
  const Result<void, Failure> failed = Failure{
      .name = "CardDeclined", .message = "no funds", .failure_class = FailureClass::permanent};
  try {
    failed.value();
    FAIL() << "no exception";
  } catch (const FailureException& thrown) {
    EXPECT_EQ(thrown.failure(), failed.error());
    EXPECT_STREQ(thrown.what(), "no funds");
  }
}

}  // namespace
}  // namespace pawl
