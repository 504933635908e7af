// The state at any point of a history that grows long: from snapshots it is what the whole history
// tells, and takes reading no more of it than lies between two snapshots.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "core/time_travel.h"
#include "model/attributes.h"
#include "model/failure_codec.h"
#include "store/memory_store.h"
#include "tests/support/plain_state.h"

namespace pawl::testing {
namespace {

class Dice {
 public:
  explicit Dice(const std::uint64_t seed) : state_(seed) {}
  std::uint64_t roll(const std::uint64_t sides) { return (state_ = mix_bits(state_)) % sides; }

 private:
  std::uint64_t state_;
};

// Makes histories up as an engine might have written them: activations of several commands, events in
// the buffer, pauses, failures and retries of them, from the very first activation on.
class Chronicle {
 public:
  explicit Chronicle(const std::uint64_t seed) : dice_(seed) {
    record_.ref = 1;
    record_.tenant = "acme";
    record_.execution_id = "long";
    record_.workflow = "Story";
    record_.updated_at = 5;
    if (dice_.roll(4) == 0) {
      add(EventType::execution_scheduled, "Story", input_);
    }
    first_ = last() + 1;
    add(EventType::execution_started, "Story", input_);
    commands();
  }

  void grow(const std::size_t records) {
    const std::size_t until = history_.size() + records;
    while (history_.size() < until) step();
  }
  void end() {
    if (failed_) retry();
    job();
    add(EventType::execution_completed, "", "42");
    close();
    record_.status = ExecutionStatus::completed;
  }

  const ExecutionRecord& record() const { return record_; }
  const std::vector<HistoryEvent>& history() const { return history_; }

 private:
  std::int64_t last() const { return static_cast<std::int64_t>(history_.size()); }

  HistoryEvent& add(const EventType type, std::string name = "", const std::string& payload = "") {
    HistoryEvent event;
    event.sequence = last() + 1;
    event.type = type;
    event.at = 1'000 + event.sequence;
    event.name = std::move(name);
    if (!payload.empty()) event.payload = Payload::json(payload);
    return history_.emplace_back(std::move(event));
  }
  void close() { history_.back().ends_activation = true; }
  void job() {
    first_ = last() + 1;
    add(EventType::event_received, "Go", "1").position = 7;
    if (dice_.roll(3) == 0) add(EventType::action_completed, "act", "2").position = 8;
  }

  void commands() {
    for (std::uint64_t count = dice_.roll(6); count > 0; --count) {
      const std::string key = fmt::format("k{}", dice_.roll(9));
      switch (dice_.roll(4)) {
        case 0: add(EventType::state_changed, fmt::format("s{}", last())); break;
        case 1: add(EventType::data_deleted, key); break;
        case 2: add(EventType::wait_started, "Go").position = 7; break;
        default: add(EventType::data_set, key, fmt::format("[{}]", last())); break;
      }
    }
    if (dice_.roll(12) == 0) {
      add(EventType::execution_failed, "Error", encode_failure(Failure{}));
      failed_ = true;
    }
    close();
    if (failed_ && dice_.roll(2) == 0) add(EventType::event_discarded, "Other");
  }

  void retry() {
    RetriedAttributes attributes;
    attributes.from = first_;
    const bool at_start =
        history_[static_cast<std::size_t>(first_) - 1].type == EventType::execution_started;
    add(EventType::execution_retried).attributes = encode(attributes);
    failed_ = false;
    if (at_start) {
      first_ = last() + 1;
      add(EventType::execution_started, "Story", input_);
      commands();
    }
  }

  void step() {
    if (failed_) return retry();
    switch (dice_.roll(8)) {
      case 0: add(EventType::event_received, "Other", "3"); break;
      case 1:
        add(EventType::execution_paused);
        add(EventType::action_attempt_failed, "act", "{}").position = 8;
        add(EventType::execution_resumed);
        break;
      default:
        job();
        commands();
        break;
    }
  }

  const std::string input_ = R"({"amount":5,"k1":"in\u0070ut","a \"b\"":null})";
  Dice dice_;
  ExecutionRecord record_;
  std::vector<HistoryEvent> history_;
  std::int64_t first_ = 1;  // record of the activation that was last begun
  bool failed_ = false;
};

class Snapshots : public ::testing::TestWithParam<std::uint64_t> {
 protected:
  StoredExecution stored(const Chronicle& chronicle) {
    auto& execution = data_->executions[1];
    execution.record = chronicle.record();
    execution.history = chronicle.history();
    StoredExecution stored;
    stored.record = chronicle.record();
    stored.history_end = execution.history.back().sequence;
    return stored;
  }
  void expect_true(const Chronicle& chronicle, const StoredExecution& stored,
                   const std::int64_t at) {
    const auto read = read_state(store_, stored, at, kInterval);
    ASSERT_TRUE(read) << read.error().message;
    ASSERT_EQ(text_of(read->state),
              text_of(plain_state_at(chronicle.record(), chronicle.history(), at)))
        << "at " << at << " of " << stored.history_end;
  }

  static constexpr std::int64_t kInterval = 8;
  std::shared_ptr<MemoryStoreData> data_ = std::make_shared<MemoryStoreData>();
  MemoryStore store_{MemoryStore::Mode::manual, data_};
};

// rule: 4
TEST_P(Snapshots, TellWhatTheWholeHistoryTells) {
  Dice dice(GetParam());
  Chronicle chronicle(GetParam());
  for (int round = 0; round < 12; ++round) {
    // It grows while there are snapshots of its shorter self, some of which get lost.
    const StoredExecution now = stored(chronicle);
    ASSERT_TRUE(keep_snapshots(store_, now, kInterval));
    if (dice.roll(3) == 0) {
      std::erase_if(data_->snapshots, [&](const auto&) { return dice.roll(2) == 0; });
    }
    for (int look = 0; look < 10; ++look) {
      const auto points = static_cast<std::uint64_t>(now.history_end);
      expect_true(chronicle, now, static_cast<std::int64_t>(1 + dice.roll(points)));
    }
    chronicle.grow(dice.roll(40));
  }
  chronicle.end();
  const StoredExecution whole = stored(chronicle);
  for (std::int64_t at = 1; at <= whole.history_end; ++at) expect_true(chronicle, whole, at);
  for (const auto& [key, snapshot] : data_->snapshots) {
    EXPECT_FALSE(is_terminal(snapshot.status)) << "a retry would go behind it";
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, Snapshots, ::testing::Range<std::uint64_t>(1, 101));

TEST_F(Snapshots, NoStateTakesReadingMoreThanLiesBetweenTwo) {
  Chronicle chronicle(7);
  chronicle.grow(4'000);
  const StoredExecution now = stored(chronicle);
  // Of a file from before there were snapshots: the first look reads it all, and makes them.
  const auto first = read_state(store_, now, std::nullopt, kInterval);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->records, now.history_end);
  EXPECT_EQ(static_cast<std::size_t>(first->snapshots), data_->snapshots.size());
  // One for each multiple, but where an activation or an end lay over several of them.
  EXPECT_GT(first->snapshots, now.history_end / kInterval / 2);
  std::int64_t longest = 0;
  for (std::int64_t at = 1; at <= now.history_end; ++at) {
    const auto read = read_state(store_, now, at, kInterval);
    ASSERT_TRUE(read);
    EXPECT_EQ(read->snapshots, 0) << at;
    longest = std::max(longest, read->records);
  }
  // An activation of these has ten records at most, and a retry some more.
  EXPECT_LT(longest, kInterval + 30);
}

TEST_F(Snapshots, OneThatCanNotBeUsedIsPassedOver) {
  Chronicle chronicle(3);
  chronicle.grow(100);
  const StoredExecution now = stored(chronicle);
  ASSERT_TRUE(read_state(store_, now, std::nullopt, kInterval));
  ASSERT_GT(data_->snapshots.size(), 4U);
  for (auto& [key, snapshot] : data_->snapshots) snapshot.data_json = "{\"half";
  for (std::int64_t at = 1; at <= now.history_end; at += 7) expect_true(chronicle, now, at);
}

TEST_F(Snapshots, LargeDataIsKeptSeldom) {
  Chronicle chronicle(5);
  chronicle.grow(200);
  StoredExecution now = stored(chronicle);
  // From near the beginning on, there are two megabytes of data.
  auto& history = data_->executions[1].history;
  for (std::size_t index = 0; index < 40; ++index) {
    if (history[index].type != EventType::data_set) continue;
    history[index].name = "large";
    history[index].payload =
        Payload::json(fmt::format("\"{}\"", std::string(2 * 1024 * 1024, 'x')));
    break;
  }
  const auto read = read_state(store_, now, std::nullopt, kInterval);
  ASSERT_TRUE(read);
  EXPECT_GT(read->snapshots, 1);
  EXPECT_LT(read->snapshots, now.history_end / kInterval / 4);
}

}  // namespace
}  // namespace pawl::testing
