#include "model/failure_codec.h"

#include <gtest/gtest.h>

#include "pawl/json.h"

namespace pawl {
namespace {

TEST(FailureCodec, ComesBackAsItWas) {
  const Failure failure{
      .name = "CardDeclined",
      .message = "no \"funds\"\nleft",
      .stack = "at charge",
      .code = "E42",
      .details_json = "{\"limit\":100}",
      .causes = {Failure{.name = "Http", .message = "402", .causes = {Failure{.message = "deep"}}},
                 Failure{.message = "other", .failure_class = FailureClass::consistency}},
      .failure_class = FailureClass::permanent};
  EXPECT_EQ(decode_failure(encode_failure(failure)), failure);
}

TEST(FailureCodec, LeavesOutWhatIsEmpty) {
  EXPECT_EQ(encode_failure(Failure{.message = "no"}),
            R"({"name":"Error","message":"no","class":"transient"})");
  EXPECT_EQ(decode_failure("{}"), Failure{});
}

TEST(FailureCodec, EveryClassHasItsName) {
  for (int number = 0; number <= 6; ++number) {
    const Failure failure{.failure_class = static_cast<FailureClass>(number)};
    EXPECT_EQ(decode_failure(encode_failure(failure)), failure) << number;
  }
}

TEST(FailureCodec, AFailureIsNotLostOverItsDecoration) {
  Failure failure{.message = "caf\xE9 \xC3\xA9", .details_json = "not json"};
  EXPECT_EQ(encode_failure(failure),
            R"({"name":"Error","message":"caf? é","details":"not json","class":"transient"})");
  failure.details_json = std::string(kJsonDepthMax, '[') + std::string(kJsonDepthMax, ']');
  for (int depth = 0; depth < 100; ++depth)
    failure = Failure{.message = "outer", .causes = {failure}};
  const std::string text = encode_failure(failure);
  ASSERT_TRUE(Json::parse(text).has_value());
  int depth = 0;
  const Failure back = decode_failure(text);
  for (const Failure* at = &back; !at->causes.empty(); at = at->causes.data()) ++depth;
  EXPECT_EQ(depth, 16);
}

TEST(FailureCodec, DeepDetailsStayParseable) {
  const std::string deep = std::string(400, '[') + std::string(400, ']');
  Failure failure{.details_json = deep};
  for (int depth = 0; depth < 16; ++depth)
    failure = Failure{.details_json = deep, .causes = {failure}};
  const Failure back = decode_failure(encode_failure(failure));
  EXPECT_EQ(back.name, "Error");
  EXPECT_EQ(back.details_json, "\"" + deep + "\"");
}

TEST(FailureCodec, LongTextsAreCutBetweenCharacters) {
  std::string message = "a";
  while (message.size() < 5 * kFailureMessageBytesMax) message += "é";
  Failure failure{.name = std::string(5'000, 'n'),
                  .message = message,
                  .stack = std::string(1 << 20, 's'),
                  .code = std::string(5'000, 'c'),
                  .details_json = "\"" + std::string(1 << 20, 'd') + "\""};
  const Failure kept = as_recorded(failure);
  EXPECT_LE(kept.message.size(), kFailureMessageBytesMax);
  EXPECT_GT(kept.message.size(), kFailureMessageBytesMax - 4);
  const std::string mark = "é… (" + std::to_string(message.size()) + " bytes)";
  EXPECT_EQ(kept.message.substr(kept.message.size() - mark.size()), mark);
  EXPECT_EQ(kept.message.find('?'), std::string::npos) << "no half of a character";
  EXPECT_EQ(kept.name.size(), kFailureNameBytesMax);
  EXPECT_EQ(kept.code.size(), kFailureNameBytesMax);
  EXPECT_EQ(kept.stack.size(), kFailureStackBytesMax);
  EXPECT_LE(kept.details_json.size(), kFailureDetailsBytesMax);
  EXPECT_NE(kept.details_json.find("(1048578 bytes)"), std::string::npos);
  EXPECT_EQ(as_recorded(kept), kept);
}

TEST(FailureCodec, WhatFitsIsNotCut) {
  const Failure failure{
      .message = std::string(kFailureMessageBytesMax, 'm'),
      .stack = std::string(kFailureStackBytesMax, 's'),
      .details_json = "\"" + std::string(kFailureDetailsBytesMax - 2, 'd') + "\""};
  EXPECT_EQ(as_recorded(failure), failure);
}

TEST(FailureCodec, AllCausesTogetherHaveABound) {
  const Failure big{.message = std::string(1 << 20, 'm'),
                    .stack = std::string(1 << 20, '\n'),
                    .details_json = "{\"a\": " + std::string(30'000, '[') + " no JSON"};
  Failure many{.message = "all of them"};
  many.causes.assign(500, big);
  many.causes.push_back(Failure{.message = "late"});
  const Failure kept = as_recorded(many);
  // An escaped character takes two bytes, the members of a cause some more.
  EXPECT_LE(encode_failure(many).size(), 3 * kFailureBytesMax);
  EXPECT_GE(kept.causes.size(), 3U);
  EXPECT_EQ(as_recorded(kept), kept);
  Failure small{.message = "all of them"};
  small.causes.assign(100'000, Failure{.message = "x"});
  const Failure some = as_recorded(small);
  EXPECT_LT(some.causes.size(), 5'000U);
  EXPECT_GT(some.causes.size(), 1'000U);
  EXPECT_EQ(as_recorded(some), some);
}

TEST(FailureCodec, ReadsAnything) {
  EXPECT_EQ(decode_failure("boom").message, "boom");
  EXPECT_EQ(decode_failure("").message, "");
  EXPECT_EQ(decode_failure("[1]").message, "[1]");
  const Failure odd = decode_failure(
      R"({"name":7,"message":null,"stack":[],"causes":[1,{"message":"in"},"x"],"class":"new","more":1})");
  EXPECT_EQ(odd.name, "Error");
  EXPECT_EQ(odd.message, "");
  EXPECT_EQ(odd.failure_class, FailureClass::transient);
  ASSERT_EQ(odd.causes.size(), 1U);
  EXPECT_EQ(odd.causes[0].message, "in");
  EXPECT_EQ(decode_failure(R"({"causes":{"message":"in"}})").causes.size(), 0U);
}

}  // namespace
}  // namespace pawl
