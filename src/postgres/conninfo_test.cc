#include "postgres/conninfo.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace pawl {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(Conninfo, WhatIsNotUnderstoodIsToldWithoutThePassword) {
  for (const char* const conninfo :
       {"postgresql://me:geheim%zz@there/orders", "postgresql://me:geheim@[::1/orders",
        "postgresql://me:geheim@there/orders?nonsense=1",
        "postgresql://there/orders?password=geheim&nonsense=1", "password=geheim nonsense=1",
        "password='geheim' host"}) {
    const auto parameters = parameters_of(conninfo, {});
    ASSERT_FALSE(parameters) << conninfo;
    EXPECT_EQ(parameters.error().code, ErrorCode::invalid_argument);
    EXPECT_THAT(parameters.error().message, Not(HasSubstr("geheim"))) << conninfo;
    EXPECT_GT(parameters.error().message.size(), 55U) << conninfo;
  }
}

TEST(Conninfo, APasswordThatIsNotWrittenAsInUrlsIsSaidToBe) {
  EXPECT_THAT(parameters_of("postgresql://me:100%@there/orders", {}).error().message,
              HasSubstr("%25"));
}

}  // namespace
}  // namespace pawl
