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
