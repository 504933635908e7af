#include "pawl/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstdlib>
#include <random>

namespace codec_shapes {

enum class Size { small, large };
BOOST_DESCRIBE_ENUM(Size, small, large)

struct Line {
  std::string sku;
  std::uint8_t count = 0;
  double price = 0;
  friend bool operator==(const Line&, const Line&) = default;
};
BOOST_DESCRIBE_STRUCT(Line, (), (sku, count, price))

struct Order {
  std::string id;
  std::optional<std::string> note;
  Size size = Size::small;
  std::vector<Line> lines;
  std::map<std::string, bool> flags;
  pawl::Json extra;
  std::vector<std::optional<std::int64_t>> numbers;
  std::vector<bool> bits;
  friend bool operator==(const Order&, const Order&) = default;
};
BOOST_DESCRIBE_STRUCT(Order, (), (id, note, size, lines, flags, extra, numbers, bits))

struct Marked : Line {
  bool fragile = false;
  friend bool operator==(const Marked&, const Marked&) = default;
};
BOOST_DESCRIBE_STRUCT(Marked, (Line), (fragile))

struct AllOptional {
  std::optional<int> limit;
  friend bool operator==(const AllOptional&, const AllOptional&) = default;
};
BOOST_DESCRIBE_STRUCT(AllOptional, (), (limit))

struct Money {
  std::int64_t cents = 0;
  friend bool operator==(const Money&, const Money&) = default;
};

struct NotDescribed {
  int a = 0;
};

}  // namespace codec_shapes

template <>
struct pawl::JsonCodec<codec_shapes::Money> {
  static bool write(const codec_shapes::Money& from, JsonWriter& writer) {
    return writer.string(std::to_string(from.cents) + "c");
  }
  static bool read(Json& from, codec_shapes::Money& to, JsonReader& reader) {
    if (!reader.expect(from, from.is_string(), "a string")) return false;
    if (!from.as_string().ends_with('c')) return reader.fault.at_here("is not an amount");
    to.cents = std::strtoll(from.as_string().c_str(), nullptr, 10);
    return true;
  }
};

namespace pawl {
namespace {

using codec_shapes::AllOptional;
using codec_shapes::Line;
using codec_shapes::Marked;
using codec_shapes::Money;
using codec_shapes::Order;
using codec_shapes::Size;

static_assert(JsonValue<Order> && JsonValue<Money> && JsonValue<Json> && JsonValue<Marked>);
static_assert(!JsonValue<codec_shapes::NotDescribed> && !JsonValue<int*> &&
              !JsonValue<long double>);
static_assert(!std::is_constructible_v<Json, int*>);

template <class T>
std::string text_of(const T& value) {
  const Result<Payload> payload = to_payload(value);
  return payload ? payload->bytes : payload.error().message;
}

template <class T>
std::string refusal(std::string text, UnknownMembers unknown = UnknownMembers::ignore) {
  const Result<T> value = from_payload<T>(Payload::json(std::move(text)), unknown);
  return value ? "accepted" : value.error().message;
}

TEST(JsonCodec, AWholeStructComesBack) {
  const Order order{.id = "o-1",
                    .note = "leave at \"door\"\n\x01",
                    .size = Size::large,
                    .lines = {{"a", 255, 0.1}, {"é😀", 0, -1e300}},
                    .flags = {{"gift", true}, {"", false}},
                    .extra = Json::object({{"any", Json::Array{1, nullptr, "x"}}}),
                    .numbers = {1, std::nullopt, -kJsonIntegerMax},
                    .bits = {true, false}};
  const std::string text = text_of(order);
  EXPECT_EQ(
      text,
      "{\"id\":\"o-1\",\"note\":\"leave at \\\"door\\\"\\n\\u0001\",\"size\":\"large\",\"lines\":["
      "{\"sku\":\"a\",\"count\":255,\"price\":0.1},{\"sku\":\"é😀\",\"count\":0,\"price\":-1e+300}"
      "],\"flags\":{\"\":false,\"gift\":true},\"extra\":{\"any\":[1,null,\"x\"]},"
      "\"numbers\":[1,null,-9007199254740992],\"bits\":[true,false]}");
  EXPECT_EQ(from_payload<Order>(Payload::json(text)).value(), order);
}

TEST(JsonCodec, BasesAreMembersToo) {
  const Marked marked{{"a", 1, 2.5}, true};
  EXPECT_EQ(text_of(marked), R"({"sku":"a","count":1,"price":2.5,"fragile":true})");
  EXPECT_EQ(from_payload<Marked>(Payload::json(text_of(marked))).value(), marked);
}

TEST(JsonCodec, ATypeMayBringItsOwnCodec) {
  EXPECT_EQ(text_of(std::vector<Money>{{5}, {-7}}), R"(["5c","-7c"])");
  EXPECT_EQ(from_payload<std::vector<Money>>(Payload::json(R"(["5c"])")).value(),
            std::vector<Money>{{5}});
  EXPECT_EQ(refusal<std::vector<Money>>(R"(["5c","x"])"), "$[1]: is not an amount");
}

TEST(JsonCodec, EmptyOptionalsAreLeftOutOfObjects) {
  EXPECT_EQ(text_of(AllOptional{}), "{}");
  for (const char* text : {"{}", "{\"limit\":null}", ""}) {
    EXPECT_EQ(from_payload<AllOptional>(Payload::json(text)).value(), AllOptional{}) << text;
  }
  EXPECT_EQ(from_payload<std::optional<int>>(Payload{}).value(), std::nullopt);
  EXPECT_TRUE(from_payload<Json>(Payload{}).value().is_null());
  EXPECT_EQ(refusal<Line>(""), "$.sku: is required and missing");
}

// rule: 3
TEST(JsonCodec, RefusesWithThePath) {
  Order order;
  order.lines.resize(3);
  order.lines[2].price = std::nan("");
  EXPECT_EQ(text_of(order), "$.lines[2].price: is NaN, which JSON has no number for");
  order.lines[2].price = -HUGE_VAL;
  EXPECT_EQ(text_of(order), "$.lines[2].price: is infinite, which JSON has no number for");
  order = {};
  order.flags["my key"] = true;
  order.extra = Json::object({{"deep", Json::Array{std::string("\xC3(")}}});
  EXPECT_EQ(text_of(order), "$.extra.deep[0]: is not UTF-8 (at byte 0)");
  order = {};
  order.numbers = {kJsonIntegerMax, kJsonIntegerMax + 1};
  EXPECT_THAT(text_of(order), testing::StartsWith("$.numbers[1]: is an integer beyond 2^53"));
  EXPECT_THAT(text_of(UINT64_MAX), testing::StartsWith("$: is an integer beyond 2^53"));
  EXPECT_THAT(text_of(std::map<std::string, std::uint64_t>{{"my key", UINT64_MAX}}),
              testing::StartsWith("$['my key']: is an integer"));
  order = {};
  order.size = static_cast<Size>(9);
  EXPECT_EQ(text_of(order), "$.size: is a number that the enum has no name for");
}

TEST(JsonCodec, SaysWhatDoesNotFit) {
  EXPECT_EQ(refusal<Line>(R"({"sku":7,"count":1,"price":1})"),
            "$.sku: is a number and should be a string");
  EXPECT_EQ(refusal<Line>(R"({"sku":"a","count":256,"price":1})"),
            "$.count: is 256, outside of 0 to 255");
  EXPECT_EQ(refusal<Line>(R"({"sku":"a","count":1.5,"price":1})"),
            "$.count: has a fraction and should be an integer");
  EXPECT_EQ(refusal<Line>(R"({"sku":"a","count":1})"), "$.price: is required and missing");
  EXPECT_EQ(refusal<Line>(R"({"sku":"a","count":null,"price":1})"),
            "$.count: is null and should be an integer");
  EXPECT_EQ(refusal<std::vector<Line>>("{}"), "$: is an object and should be an array");
  EXPECT_EQ(refusal<Size>("\"tiny\""), "$: is 'tiny', which is none of small, large");
  EXPECT_THAT(refusal<Size>("\"small\\u0000\""), testing::HasSubstr("is none of"));
  EXPECT_EQ(refusal<float>("1e39"), "$: is too large for a float");
  EXPECT_EQ(refusal<bool>("0"), "$: is a number and should be a boolean");
}

TEST(JsonCodec, UnknownMembersAreIgnoredOrNamed) {
  const std::string text = R"({"sku":"a","count":1,"price":1,"pirce":2})";
  EXPECT_EQ(refusal<Line>(text), "accepted");
  EXPECT_EQ(refusal<Line>(text, UnknownMembers::refuse),
            "$.pirce: is not declared; did you mean 'price'?");
  EXPECT_EQ(refusal<AllOptional>(R"({"zzzzzzzz":2})", UnknownMembers::refuse),
            "$.zzzzzzzz: is not declared; there are 'limit'");
}

// rule: 3
TEST(JsonCodec, IntegersBeyondTheSafeOnesAreRefusedNotRounded) {
  EXPECT_EQ(from_payload<std::int64_t>(Payload::json("9007199254740992")).value(), kJsonIntegerMax);
  EXPECT_EQ(from_payload<std::int64_t>(Payload::json("1e3")).value(), 1000);
  EXPECT_EQ(from_payload<std::int64_t>(Payload::json("5.0")).value(), 5);
  EXPECT_EQ(from_payload<std::int64_t>(Payload::json("-0")).value(), 0);
  for (const char* text : {"9007199254740993", "-9007199254740993", "9223372036854775808", "1e300",
                           "18446744073709551616"}) {
    EXPECT_THAT(refusal<std::int64_t>(text), testing::HasSubstr("beyond 2^53")) << text;
    EXPECT_EQ(refusal<double>(text), "accepted") << text;
  }
}

TEST(Json, NumbersAreTheNearestDouble) {
  // Hard cases: half-way points, subnormals, many digits, and what underflows.
  const std::vector<std::string> texts = {
      "0.1",
      "2.2250738585072011e-308",
      "2.2250738585072014e-308",
      "4.9e-324",
      "2.4703282292062327e-324",
      "2.4703282292062328e-324",
      "1.7976931348623157e308",
      "1.7976931348623158e308",
      "9007199254740993",
      "9007199254740993.0",
      "9007199254740991.5",
      "123456789012345678901234567890",
      "8.5e-17",
      "0.000000000000000000000000000000000000000000000000000000001e57",
      "6.0221e-400",
      "-1e-9999",
      "0." + std::string(400, '0') + "1",
      std::string(309, '1'),
      "1" + std::string(400, '0') + "e-400",
      "7.1e-7",
      "3.518437208883201171875E13",
      "62.5364939768271845828",
      "-0",
      "-0.0",
      "0e5",
      "0e-5"};
  for (const std::string& text : texts) {
    const Result<Json> json = Json::parse(text);
    ASSERT_TRUE(json.has_value()) << text << json.error().message;
    EXPECT_EQ(std::bit_cast<std::uint64_t>(json->as_double()),
              std::bit_cast<std::uint64_t>(std::strtod(text.c_str(), nullptr)))
        << text;
  }
  for (const std::string& text :
       {std::string("1e309"), std::string("-1e400"), "1" + std::string(310, '0'),
        std::string("1e99999999999999999999")}) {
    EXPECT_EQ(Json::parse(text).error().code, ErrorCode::payload_refused) << text;
  }
}

TEST(Json, EveryDoubleSurvives) {
  std::mt19937_64 random(11);
  for (int i = 0; i < 200'000; ++i) {
    const double value = std::bit_cast<double>(static_cast<std::uint64_t>(random()));
    if (!std::isfinite(value)) continue;
    JsonWriter writer;
    ASSERT_TRUE(writer.number(value));
    const Result<Json> json = Json::parse(writer.text);
    ASSERT_TRUE(json.has_value()) << writer.text;
    ASSERT_EQ(std::bit_cast<std::uint64_t>(json->as_double()), std::bit_cast<std::uint64_t>(value))
        << writer.text;
  }
}

TEST(Json, TextOfRandomDigitsIsReadAsTheLibraryDoes) {
  std::mt19937_64 random(12);
  for (int i = 0; i < 50'000; ++i) {
    std::string text = std::to_string(random() % 1'000);
    text += '.';
    for (auto n = random() % 30 + 1; n > 0; --n) text += static_cast<char>('0' + random() % 10);
    text += "e" + std::to_string(static_cast<int>(random() % 640) - 340);
    const Result<Json> json = Json::parse(text);
    const double expected = std::strtod(text.c_str(), nullptr);
    ASSERT_EQ(json.has_value(), std::isfinite(expected)) << text;
    if (!json) continue;
    ASSERT_EQ(std::bit_cast<std::uint64_t>(json->as_double()),
              std::bit_cast<std::uint64_t>(expected))
        << text;
  }
}

TEST(Json, ParsesWhatTheStandardAllowsAndNothingElse) {
  for (const char* text :
       {"null", " [ ] ", "{\"a\":{}}\n", "\"\\u00e9\\ud83d\\ude00\\/\"", "[1,2]", "-1"}) {
    EXPECT_TRUE(Json::parse(text).has_value()) << text;
  }
  for (const char* text : {"",
                           " ",
                           "nul",
                           "01",
                           "+1",
                           "1.",
                           ".5",
                           "NaN",
                           "[1,]",
                           "{a:1}",
                           "'a'",
                           "\"a",
                           "\"\\x\"",
                           "\"\t\"",
                           "\"\\ud800\"",
                           "\"\\udc00\"",
                           "\"\\ud800\\u0041\"",
                           "\"\xC0\x80\"",
                           "1 2",
                           "[1]]",
                           "/*c*/1",
                           "\xEF\xBB\xBF"
                           "1"}) {
    const Result<Json> json = Json::parse(text);
    ASSERT_FALSE(json.has_value()) << text;
    EXPECT_THAT(json.error().message, testing::HasSubstr("at byte")) << text;
  }
}

TEST(Json, DepthIsBounded) {
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_EQ(Json::parse(nested(kJsonDepthMax)).value().dump().value(), nested(kJsonDepthMax));
  EXPECT_FALSE(Json::parse(nested(kJsonDepthMax + 1)).has_value());
  Json deep = Json::parse(nested(kJsonDepthMax)).value();
  deep = Json::Array{deep};
  EXPECT_THAT(deep.dump().error().message, testing::HasSubstr("nested deeper than 512"));
}

TEST(Json, OfRepeatedMembersTheLastCounts) {
  EXPECT_EQ(Json::parse(R"({"a":1,"b":2,"a":3})").value().dump().value(), R"({"b":2,"a":3})");
  std::string many = "{";
  for (int i = 0; i < 100; ++i)
    many += "\"k" + std::to_string(i % 40) + "\":" + std::to_string(i) + ",";
  many += "\"z\":0}";
  const Json json = Json::parse(many).value();
  EXPECT_EQ(json.as_object().size(), 41U);
  for (int k = 0; k < 40; ++k) {
    EXPECT_EQ(json.find("k" + std::to_string(k))->as_integer(), k < 20 ? 80 + k : 40 + k);
  }
}

TEST(Json, ComparesByValue) {
  EXPECT_EQ(Json(1), Json(1.0));
  EXPECT_EQ(Json::parse(R"({"a":1,"b":[true]})").value(),
            Json::parse(R"({"b":[true],"a":1.0})").value());
  EXPECT_NE(Json(false), Json(0));
  EXPECT_NE(Json(nullptr), Json(""));
  EXPECT_NE(Json::object({{"a", 1}}), Json::object({{"b", 1}}));
}

// Random values, written and read back; strings with every kind of character.
TEST(Json, RandomValuesComeBack) {
  std::mt19937_64 random(13);
  const auto text = [&] {
    std::string out;
    for (auto n = random() % 6; n > 0; --n) {
      const std::vector<std::string> pieces = {
          "a", "\"", "\\", "\n", std::string(1, '\0'), "\x1f", "\x7f", "é", "\u2028", "😀", "/"};
      out += pieces[random() % pieces.size()];
    }
    return out;
  };
  const auto value = [&](const auto& self, int depth) -> Json {
    switch (random() % (depth > 5 ? 5 : 7)) {
      case 0: return nullptr;
      case 1: return random() % 2 == 0;
      case 2: return static_cast<std::int64_t>(random() >> 11);
      case 3: return static_cast<double>(random() % 1'000'000) / 7.0;
      case 4: return text();
      case 5: {
        Json::Array array;
        for (auto n = random() % 4; n > 0; --n) array.push_back(self(self, depth + 1));
        return array;
      }
      default: {
        Json object = Json::object();
        for (auto n = random() % 4; n > 0; --n) object.set(text(), self(self, depth + 1));
        return object;
      }
    }
  };
  for (int i = 0; i < 3'000; ++i) {
    const Json before = value(value, 0);
    const std::string written = before.dump().value();
    const Result<Json> after = Json::parse(written);
    ASSERT_TRUE(after.has_value()) << written;
    ASSERT_EQ(*after, before) << written;
    ASSERT_EQ(after->dump().value(), written);
  }
}

}  // namespace
}  // namespace pawl
