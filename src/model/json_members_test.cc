#include "model/json_members.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "pawl/json.h"

namespace pawl {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

JsonMemberText member(std::string key, std::string_view value) { return {std::move(key), value}; }

TEST(JsonMembers, KeepsOrderAndBytes) {
  EXPECT_THAT(
      json_members(" {\"b\" : 1.50 ,\n\"a\":{ \"x\" : [ 1, {} ] }\t,\"c\":\"}\\\"]{,\"} ").value(),
      ElementsAre(member("b", "1.50"), member("a", "{ \"x\" : [ 1, {} ] }"),
                  member("c", "\"}\\\"]{,\"")));
  EXPECT_THAT(json_members("{\"n\":null,\"t\":true,\"f\":false,\"e\":-1e-5}").value(),
              ElementsAre(member("n", "null"), member("t", "true"), member("f", "false"),
                          member("e", "-1e-5")));
}

TEST(JsonMembers, DecodesKeys) {
  EXPECT_THAT(json_members(R"({"\u00e9\ud83d\ude00\n\"":[],"":0})").value(),
              ElementsAre(member("é😀\n\"", "[]"), member("", "0")));
}

TEST(JsonMembers, ARepeatedKeyComesTwice) {
  EXPECT_THAT(json_members(R"({"a":1,"a":2})").value(),
              ElementsAre(member("a", "1"), member("a", "2")));
}

TEST(JsonMembers, EmptyObjects) {
  EXPECT_THAT(json_members("{}").value(), IsEmpty());
  EXPECT_THAT(json_members(" { \n} ").value(), IsEmpty());
}

TEST(JsonMembers, RefusesWhatIsNoObject) {
  EXPECT_EQ(json_members("[1]").error().message, "$: is an array and should be an object");
  EXPECT_EQ(json_members("null").error().message, "$: is null and should be an object");
  for (const char* text : {"", "{", "{\"a\"}", "{\"a\":1}x", "{\"a\":1,}", "{'a':1}", "{\"a\":01}",
                           "{\"\xFF\":1}", "{\"a\":\"\\ud800\"}"}) {
    EXPECT_EQ(json_members(text).error().code, ErrorCode::payload_refused) << text;
  }
}

// Random objects, printed with random white space: the slices put together are the object again.
TEST(JsonMembers, SlicesAreTheValues) {
  std::mt19937 random(7);
  const auto pick = [&](unsigned below) { return static_cast<unsigned>(random()) % below; };
  const auto space = [&] {
    return std::string(std::vector<const char*>{"", "", " ", "\n", "\t \r"}[pick(5)]);
  };
  const std::vector<std::string> atoms = {"0",     "-12.5e+3", "null",      "true",   "\"\"",
                                          "\"]\"", "\"\\\\\"", "\"\\\"}\"", "\"é,\"", "false"};
  const auto value = [&](const auto& self, int depth) -> std::string {
    const unsigned kind = depth > 4 ? 0 : pick(4);
    if (kind < 2) return atoms[pick(static_cast<unsigned>(atoms.size()))];
    std::string text = kind == 2 ? "[" : "{";
    for (unsigned n = pick(4), i = 0; i < n; ++i) {
      if (i != 0) text += ",";
      text += space();
      if (kind == 3) text += "\"k" + std::to_string(i) + "{\"" + space() + ":" + space();
      text += self(self, depth + 1) + space();
    }
    return text + space() + (kind == 2 ? "]" : "}");
  };
  for (int round = 0; round < 2000; ++round) {
    std::vector<std::pair<std::string, std::string>> expected;
    std::string text = space() + "{";
    for (unsigned n = pick(5), i = 0; i < n; ++i) {
      expected.emplace_back("key " + std::to_string(i), value(value, 0));
      text += (i != 0 ? "," : "") + space() + "\"key " + std::to_string(i) + "\"" + space() + ":" +
              space() + expected.back().second + space();
    }
    text += space() + "}" + space();
    const auto members = json_members(text);
    ASSERT_TRUE(members.has_value()) << text << members.error().message;
    ASSERT_EQ(members->size(), expected.size()) << text;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      EXPECT_EQ((*members)[i].key, expected[i].first);
      EXPECT_EQ((*members)[i].value, expected[i].second);
    }
  }
}

}  // namespace
}  // namespace pawl
