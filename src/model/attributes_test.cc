#include "model/attributes.h"

#include <gtest/gtest.h>

#include <random>

#include "model/history_event.h"

namespace pawl {
namespace {

template <class Attributes>
void expect_round_trip(const Attributes& attributes) {
  const std::string text = encode(attributes);
  const auto read = decode<Attributes>(text, kHistoryCodec);
  ASSERT_TRUE(read) << text << ": " << read.error().message;
  EXPECT_EQ(*read, attributes) << text;
}

TEST(Attributes, DefaultsTakeNoRoom) {
  EXPECT_EQ(encode(ReceivedAttributes{}), "");
  EXPECT_EQ(encode(ScheduledAttributes{}), "");
  EXPECT_EQ(encode(OutcomeAttributes{}), "");
  EXPECT_EQ(encode(TimerAttributes{}), "");
  expect_round_trip(StartedAttributes{});
}

TEST(Attributes, WhatBecomesOfAChildIsOneOfThree) {
  EXPECT_TRUE(decode<ChildAttributes>(R"({"executionId":"c","parentClose":2})", kHistoryCodec));
  EXPECT_FALSE(decode<ChildAttributes>(R"({"executionId":"c","parentClose":3})", kHistoryCodec));
}

TEST(Attributes, WhatIsWrittenIsReadBack) {
  std::mt19937_64 random(1);
  const auto text = [&] {
    static constexpr std::string_view kPieces[] = {"a",  "\"",   "\\", "\n", "é",
                                                   "語", "\x01", " ",  "{"};
    std::string made;
    for (std::uint64_t length = random() % 8; length > 0; --length) {
      made += kPieces[random() % std::size(kPieces)];
    }
    return made;
  };
  const auto number = [&] { return static_cast<std::int64_t>(random() >> (random() % 64)); };
  for (int round = 0; round < 500; ++round) {
    expect_round_trip(StartedAttributes{
        text(), text(), text(), random(), static_cast<int>(random() % 9), text(),
        static_cast<Timestamp>(random() % 1'000), static_cast<Timestamp>(random() % 1'000), text(),
        static_cast<Position>(random() % 9), static_cast<Position>(random() % 9)});
    expect_round_trip(EmittedAttributes{text()});
    expect_round_trip(
        ChildAttributes{text(), text(), text(), text(), static_cast<ParentClose>(random() % 3)});
    expect_round_trip(ChildEndedAttributes{static_cast<Position>(random() % 9), text(), text()});
    expect_round_trip(ReceivedAttributes{text(), text(), number()});
    expect_round_trip(DeliveredAttributes{number()});
    expect_round_trip(OutcomeAttributes{static_cast<int>(random() % 1'000)});
    expect_round_trip(TimerAttributes{number()});
    expect_round_trip(AttemptFailedAttributes{static_cast<int>(random() % 100), number()});
    WaitAttributes wait;
    for (std::uint64_t names = random() % 4; names > 0; --names) wait.names.push_back(text());
    if (random() % 2 == 0) wait.timeout = number();
    wait.filtered = random() % 2 == 0;
    expect_round_trip(wait);
    ScheduledAttributes scheduled;
    if (random() % 2 == 0) scheduled.options.timeout = number();
    if (random() % 2 == 0) {
      RetryPolicy policy;
      policy.max_attempts = static_cast<int>(random() % 50);
      policy.initial_interval = number();
      policy.backoff = static_cast<double>(random() % 8) / 2.0;
      policy.jitter = static_cast<double>(random() % 5) / 4.0;
      policy.non_retryable = wait.names;
      scheduled.options.retry = policy;
    }
    expect_round_trip(scheduled);
  }
}

TEST(Attributes, WhatIsNotOursIsRefusedWithWhatIsWrong) {
  for (const char* const text : {"{", "[]", "7", R"({"attempts":"many"})", R"({"attempts":1.5})"}) {
    const auto read = decode<OutcomeAttributes>(text, kHistoryCodec);
    ASSERT_FALSE(read) << text;
    EXPECT_NE(read.error().message.find(text), std::string::npos);
  }
  const auto newer = decode<OutcomeAttributes>("", kHistoryCodec + 1);
  ASSERT_FALSE(newer);
  EXPECT_NE(newer.error().message.find("newer"), std::string::npos);
}

}  // namespace
}  // namespace pawl
