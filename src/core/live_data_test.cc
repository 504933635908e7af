#include "core/live_data.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <utility>
#include <vector>

#include "core/state_fold.h"
#include "pawl/runtime.h"

namespace pawl {
namespace {

HistoryEvent record(const std::int64_t sequence, const EventType type, std::string name,
                    std::string payload) {
  HistoryEvent event;
  event.sequence = sequence;
  event.type = type;
  event.name = std::move(name);
  event.payload = Payload::json(std::move(payload));
  event.ends_activation = true;
  return event;
}

std::string as_read(const std::vector<HistoryEvent>& history) {
  StateFold fold;
  for (const HistoryEvent& event : history) fold.add(event).value();
  ExecutionState state;
  fold.tell(state);
  return state.data.bytes;
}

TEST(LiveData, TellsWhatIsReadFromTheHistory) {
  std::mt19937 random(7);
  const auto below = [&](const std::size_t most) {
    return std::uniform_int_distribution<std::size_t>(0, most - 1)(random);
  };
  const std::vector<std::string> inputs{
      "{}", R"({"a":1,"b":{"c":[2]}})", R"( {"a":1,"a":2,"\u0061b":"{"})", "[{}]", "7", "{broken",
      ""};
  const std::vector<std::string> keys{"a", "b", "ab", "a \"quoted\" one"};
  const std::vector<std::string> values{"1", R"({"x":"y"})", "null"};
  for (int round = 0; round < 2'000; ++round) {
    std::vector<HistoryEvent> history;
    LiveData data;
    const auto length = 1 + below(12);
    for (std::size_t index = 0; index < length; ++index) {
      const auto sequence = static_cast<std::int64_t>(index) + 1;
      const std::size_t kind = index == 0 ? 0 : below(8);
      if (kind == 0) {
        history.push_back(
            record(sequence, EventType::execution_started, "W", inputs[below(inputs.size())]));
      } else if (kind < 3) {
        history.push_back(record(sequence, EventType::data_deleted, keys[below(keys.size())], ""));
      } else {
        history.push_back(record(sequence, EventType::data_set, keys[below(keys.size())],
                                 values[below(values.size())]));
      }
      data.add(history.back());
      ASSERT_EQ(data.text(), as_read(history)) << "round " << round << ", record " << sequence;
    }
  }
}

TEST(LiveData, IsNotKnownOfOneThatWasNotFollowedFromItsBeginning) {
  LiveData data;
  data.add(record(5, EventType::data_set, "a", "1"));
  EXPECT_EQ(data.text(), std::nullopt);
}

TEST(LiveData, IsGivenUpWhereItIsLarge) {
  const std::string large = '"' + std::string(kLiveDataBytesMax, 'x') + '"';
  LiveData data;
  data.add(record(1, EventType::execution_started, "W", R"({"a":)" + large + "}"));
  EXPECT_EQ(data.text(), std::nullopt);

  data.add(record(2, EventType::execution_started, "W", "{}"));
  EXPECT_EQ(data.text(), "{}");
  data.add(record(3, EventType::data_set, "a", large));
  EXPECT_EQ(data.text(), std::nullopt);
  data.add(record(4, EventType::data_set, "b", "1"));
  EXPECT_EQ(data.text(), std::nullopt);
}

TEST(LiveData, IsGivenUpWhereARetryMakesRecordsVoid) {
  LiveData data;
  data.add(record(1, EventType::execution_started, "W", "{}"));
  data.add(record(2, EventType::execution_retried, "", ""));
  EXPECT_EQ(data.text(), std::nullopt);
}

}  // namespace
}  // namespace pawl
