#include "base/base64.h"

#include <gtest/gtest.h>

#include <string>

namespace pawl {
namespace {

// The examples of RFC 4648, section 10.
TEST(Base64Test, ThereAndBack) {
  const std::pair<std::string, std::string> examples[] = {{"", ""},
                                                          {"f", "Zg=="},
                                                          {"fo", "Zm8="},
                                                          {"foo", "Zm9v"},
                                                          {"foob", "Zm9vYg=="},
                                                          {"fooba", "Zm9vYmE="},
                                                          {"foobar", "Zm9vYmFy"},
                                                          {std::string("\0\xff\xfe", 3), "AP/+"}};
  for (const auto& [bytes, text] : examples) {
    EXPECT_EQ(to_base64(bytes), text);
    EXPECT_EQ(from_base64(text), bytes);
  }
}

TEST(Base64Test, WhatIsNoneGivesNothing) {
  for (const char* const text : {"Z", "Zg", "Zg=", "Zm9v=", "Z===", "Zm9*", "Zg==Zg==", "===="}) {
    EXPECT_EQ(from_base64(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace pawl
