#include "runtime/store_address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pawl {
namespace {

TEST(StoreAddress, WhatIsNoFileIsToldWithoutItsPassword) {
  EXPECT_EQ(sqlite_options_of("sqlite:a.db").value().path, "a.db");
  const Error error = sqlite_options_of("postgresql://me:geheim@there/orders").error();
  EXPECT_EQ(error.code, ErrorCode::invalid_argument);
  EXPECT_THAT(error.message + error.subject, ::testing::Not(::testing::HasSubstr("geheim")));
  EXPECT_THAT(error.message, ::testing::HasSubstr("postgresql://…"));
}

}  // namespace
}  // namespace pawl
