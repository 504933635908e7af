#include "redis/redis_hint_bus.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "pawl/redis.h"
#include "tests/support/cutting_proxy.h"
#include "tests/support/http_server.h"
#include "tests/support/postgres_server.h"
#include "tests/support/redis_server.h"

namespace pawl::test {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

// None of it is expected to be needed.
constexpr auto kPatience = 60s;

bool holds_in_time(const std::function<bool()>& condition) {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(5ms);
  }
  return true;
}

// A worker: its bus, and all that came to it.
class Worker final : public HintSink {
 public:
  explicit Worker(const std::string& address, const std::string& name = "w",
                  const std::string& store = "shop")
      : bus_(RedisHintBus::open({address, store, name}).value()) {
    bus_->start(*this);
  }
  ~Worker() override { bus_->close(); }

  RedisHintBus& bus() { return *bus_; }
  void serve(std::vector<int> partitions) { bus_->serve(std::move(partitions)); }
  void publish(const int partition, const std::string& execution) {
    ++published_;
    bus_->publish({{partition, "acme", execution}});
  }
  // What it published has gone out, or never will.
  bool is_idle() {
    const HintBusCounters counters = bus_->counters();
    return counters.published + counters.dropped >= published_;
  }
  // Those named, and that they are all is for the caller to look at.
  bool gets(const std::vector<std::string>& executions,
            const std::chrono::seconds patience = kPatience) {
    return waits(patience, [&] {
      for (const std::string& wanted : executions) {
        bool found = false;
        for (const HintReceived& one : hints_) found |= one.hint.execution_id == wanted;
        if (!found) return false;
      }
      return true;
    });
  }
  bool gets_count(const std::size_t count) {
    return waits(kPatience, [&] { return hints_.size() >= count; });
  }
  bool gets_answers(const std::size_t count) {
    return waits(kPatience, [&] { return answers_.size() >= count; });
  }
  bool misses(const int times = 1) {
    return waits(kPatience, [&] { return missed_ >= times; });
  }
  std::vector<std::string> executions() {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> all;
    for (const HintReceived& one : hints_) all.push_back(one.hint.execution_id);
    return all;
  }
  std::vector<HintReceived> hints() {
    const std::lock_guard lock(mutex_);
    return hints_;
  }
  std::vector<AnswerHint> answers() {
    const std::lock_guard lock(mutex_);
    return answers_;
  }
  int missed() {
    const std::lock_guard lock(mutex_);
    return missed_;
  }
  void forget() {
    const std::lock_guard lock(mutex_);
    hints_.clear();
  }
  void acknowledge(const std::string& execution = {}) {
    std::vector<HintReceipt> receipts;
    for (const HintReceived& one : hints()) {
      if (execution.empty() || one.hint.execution_id == execution) receipts.push_back(one.receipt);
    }
    bus_->acknowledge(receipts);
  }

  void hints_arrived(std::vector<HintReceived> hints) override {
    const std::lock_guard lock(mutex_);
    for (HintReceived& one : hints) hints_.push_back(std::move(one));
    changed_.notify_all();
  }
  void answers_arrived(std::vector<AnswerHint> answers) override {
    const std::lock_guard lock(mutex_);
    for (AnswerHint& one : answers) answers_.push_back(std::move(one));
    changed_.notify_all();
  }
  void hints_missed() override {
    const std::lock_guard lock(mutex_);
    ++missed_;
    changed_.notify_all();
  }

 private:
  bool waits(const std::chrono::seconds patience, const std::function<bool()>& condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, patience, condition);
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<HintReceived> hints_;
  std::vector<AnswerHint> answers_;
  int missed_ = 0;
  std::uint64_t published_ = 0;  // of the test's thread
  std::unique_ptr<RedisHintBus> bus_;
};

std::string stream(const int partition) { return RedisKeys("pawl", "shop").hints(partition); }

int length(const RedisServer& redis, const int partition) {
  return redis.ask_number({"XLEN", stream(partition)});
}

// How many are with somebody who has not acknowledged them.
int pending(const RedisServer& redis, const int partition) {
  return std::atoi(redis.ask({"XPENDING", stream(partition), "owner"}).c_str());
}

bool is_empty(const RedisServer& redis, const int partition) {
  return holds_in_time(
      [&] { return length(redis, partition) == 0 && pending(redis, partition) == 0; });
}

// A hint gets from one to the other, now. What was lost on the way is sent again.
void expect_passage(Worker& from, Worker& to, const int partition) {
  static int counter = 0;
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (std::chrono::steady_clock::now() < until) {
    const std::string execution = fmt::format("passage-{}", ++counter);
    from.publish(partition, execution);
    if (to.gets({execution}, 1s)) return;
  }
  FAIL() << "no hint gets through: " << from.bus().counters().trouble << "; "
         << to.bus().counters().trouble;
}

// Nothing is under way any more, and all is acknowledged.
void settle(const RedisServer& redis, Worker& from, Worker& to, const int partition) {
  ASSERT_TRUE(holds_in_time([&] {
    to.acknowledge();
    return from.is_idle() && length(redis, partition) == 0 && pending(redis, partition) == 0;
  }));
  to.forget();
}

// ---- where hints go

TEST(RedisHintBus, hints_reach_the_owner_of_their_partition_and_nobody_else) {
  const RedisServer redis;
  Worker one(redis.address(), "one");
  Worker two(redis.address(), "two");
  one.serve({1});
  two.serve({2, 3});
  two.publish(1, "a");
  one.publish(2, "b");
  one.publish(3, "c");
  ASSERT_TRUE(one.gets({"a"}));
  ASSERT_TRUE(two.gets({"b", "c"}));
  EXPECT_THAT(one.executions(), ElementsAre("a"));
  EXPECT_THAT(two.executions(), UnorderedElementsAre("b", "c"));
  const HintReceived hint = one.hints().front();
  EXPECT_EQ(hint.hint.partition, 1);
  EXPECT_EQ(hint.hint.tenant, "acme");
  EXPECT_NE(hint.receipt, 0u);
  EXPECT_EQ(one.missed() + two.missed(), 0);
}

TEST(RedisHintBus, what_is_published_before_anybody_serves_waits_for_the_first_owner) {
  const RedisServer redis;
  Worker sender(redis.address(), "sender");
  sender.publish(5, "early");
  ASSERT_TRUE(holds_in_time([&] { return length(redis, 5) == 1; }));
  Worker owner(redis.address(), "owner");
  owner.serve({5});
  EXPECT_TRUE(owner.gets({"early"}));
}

TEST(RedisHintBus, what_is_acknowledged_never_comes_back) {
  const RedisServer redis;
  {
    Worker first(redis.address(), "first");
    first.serve({1});
    for (int at = 0; at < 100; ++at) first.publish(1, fmt::format("done-{}", at));
    ASSERT_TRUE(first.gets_count(100));
    first.acknowledge();
  }
  EXPECT_EQ(length(redis, 1), 0);
  EXPECT_EQ(pending(redis, 1), 0);
  Worker second(redis.address(), "second");
  second.serve({1});
  second.publish(1, "new");
  ASSERT_TRUE(second.gets({"new"}));
  EXPECT_THAT(second.executions(), ElementsAre("new"));
}

TEST(RedisHintBus, what_a_dead_owner_had_goes_to_the_next) {
  const RedisServer redis;
  for (const char* const name : {"first", "second"}) {
    Worker dying(redis.address(), name);
    dying.serve({1});
    if (name == std::string("first")) dying.publish(1, "poison");
    ASSERT_TRUE(dying.gets({"poison"}));
  }
  Worker third(redis.address(), "third");
  third.serve({1});
  ASSERT_TRUE(third.gets({"poison"}));
  third.acknowledge();
  EXPECT_TRUE(is_empty(redis, 1));
}

TEST(RedisHintBus, many_that_a_dead_owner_had_all_go_to_the_next) {
  const RedisServer redis;
  constexpr int kCount = 3'000;  // several pages
  {
    Worker dying(redis.address(), "dying");
    dying.serve({1, 2});
    std::vector<Hint> hints;
    for (int at = 0; at < kCount; ++at) hints.push_back({1 + at % 2, "acme", std::to_string(at)});
    dying.bus().publish(std::move(hints));
    ASSERT_TRUE(dying.gets_count(kCount));
  }
  Worker next(redis.address(), "next");
  next.serve({1, 2});
  ASSERT_TRUE(next.gets_count(kCount));
  next.acknowledge();
  EXPECT_TRUE(is_empty(redis, 1) && is_empty(redis, 2));
  EXPECT_EQ(next.hints().size(), static_cast<std::size_t>(kCount));
}

TEST(RedisHintBus, two_owners_exchange_their_partitions) {
  const RedisServer redis;
  Worker one(redis.address(), "one");
  Worker two(redis.address(), "two");
  one.serve({1});
  two.serve({2});
  two.publish(1, "kept by one");
  one.publish(2, "kept by two");
  ASSERT_TRUE(one.gets({"kept by one"}));
  ASSERT_TRUE(two.gets({"kept by two"}));
  one.serve({2});
  two.serve({1});
  ASSERT_TRUE(one.gets({"kept by two"}));
  ASSERT_TRUE(two.gets({"kept by one"}));
  one.forget();
  two.forget();
  one.publish(1, "a");
  two.publish(2, "b");
  ASSERT_TRUE(two.gets({"a"}));
  ASSERT_TRUE(one.gets({"b"}));
  EXPECT_THAT(one.executions(), ElementsAre("b"));
  EXPECT_THAT(two.executions(), ElementsAre("a"));
}

TEST(RedisHintBus, partitions_that_go_to_and_fro_lose_nothing) {
  const RedisServer redis;
  Worker one(redis.address(), "one");
  Worker two(redis.address(), "two");
  for (int round = 0; round < 20; ++round) {
    (round % 2 == 0 ? one : two).serve({1});
    (round % 2 == 0 ? two : one).serve({2});
    one.publish(1, fmt::format("to-1-{}", round));
    two.publish(2, fmt::format("to-2-{}", round));
  }
  one.serve({1, 2});
  two.serve({});
  // Nobody acknowledged anything, so whoever is the last has all in the end.
  std::vector<std::string> all;
  for (int round = 0; round < 20; ++round) {
    all.push_back(fmt::format("to-1-{}", round));
    all.push_back(fmt::format("to-2-{}", round));
  }
  EXPECT_TRUE(one.gets(all));
}

TEST(RedisHintBus, what_comes_when_it_is_not_served_any_more_goes_to_the_next_owner) {
  RedisServer redis;
  Worker former(redis.address(), "former");
  Worker sender(redis.address(), "sender");
  Worker next(redis.address(), "next");
  former.serve({1});
  expect_passage(sender, former, 1);
  settle(redis, sender, former, 1);
  // All three reach the server at once: the hint, and that nobody waits for it any more.
  redis.freeze();
  sender.publish(1, "late");
  std::this_thread::sleep_for(50ms);
  former.serve({2});
  next.serve({1});
  redis.thaw();
  EXPECT_TRUE(next.gets({"late"}));
  EXPECT_THAT(former.executions(), IsEmpty());
}

TEST(RedisHintBus, two_stores_share_a_server) {
  const RedisServer redis;
  Worker shop(redis.address(), "w", "shop");
  Worker bank(redis.address(), "w", "bank");
  Worker other(redis.address() + "?prefix=other", "w", "shop");
  for (Worker* const one : {&shop, &bank, &other}) one->serve({1});
  shop.publish(1, "of the shop");
  bank.publish(1, "of the bank");
  other.publish(1, "of the other");
  ASSERT_TRUE(shop.gets({"of the shop"}));
  ASSERT_TRUE(bank.gets({"of the bank"}));
  ASSERT_TRUE(other.gets({"of the other"}));
  EXPECT_EQ(shop.hints().size() + bank.hints().size() + other.hints().size(), 3u);
}

// ---- memory of the server

TEST(RedisHintBus, a_stream_has_what_is_unread_or_pending_and_nothing_else) {
  const RedisServer redis;
  Worker owner(redis.address(), "owner");
  owner.serve({1});
  for (const char* const name : {"a", "b", "c"}) owner.publish(1, name);
  ASSERT_TRUE(owner.gets({"a", "b", "c"}));
  owner.acknowledge("b");
  ASSERT_TRUE(holds_in_time([&] { return pending(redis, 1) == 2; }));
  owner.serve({});
  Worker sender(redis.address(), "sender");
  sender.publish(1, "d");
  ASSERT_TRUE(holds_in_time([&] { return length(redis, 1) == 3; }));
  Worker next(redis.address(), "next");
  next.serve({1});
  ASSERT_TRUE(next.gets({"a", "c", "d"}));
  EXPECT_EQ(next.hints().size(), 3u);
}

TEST(RedisHintBus, a_stream_that_nobody_takes_has_a_bound_and_what_is_in_it_stays) {
  const RedisServer redis;
  Worker sender(redis.address(), "sender");
  constexpr int kCount = 3 * kStreamHintsMax;
  for (int at = 0; at < kCount; ++at) sender.publish(1, fmt::format("h{}", at));
  ASSERT_TRUE(holds_in_time([&] {
    const HintBusCounters counters = sender.bus().counters();
    return counters.published + counters.dropped == kCount;
  }));
  const auto published = sender.bus().counters().published;
  EXPECT_GE(published, static_cast<std::uint64_t>(kStreamHintsMax));
  EXPECT_LE(published, kStreamHintsMax + kHintsBetweenLooks + kHintsPerBatchMax);
  EXPECT_EQ(length(redis, 1), static_cast<int>(published));

  Worker owner(redis.address(), "owner");
  owner.serve({1});
  ASSERT_TRUE(owner.gets_count(published));
  EXPECT_EQ(owner.hints().front().hint.execution_id, "h0");
  owner.acknowledge();
  ASSERT_TRUE(is_empty(redis, 1));
  expect_passage(sender, owner, 1);
}

// ---- answers

TEST(RedisHintBus, answers_go_to_the_worker_that_waits_and_leave_nothing_behind) {
  const RedisServer redis;
  Worker one(redis.address(), "one");
  Worker two(redis.address(), "two");
  const std::string channel = RedisKeys("pawl", "shop").answers("one");
  ASSERT_TRUE(
      holds_in_time([&] { return redis.ask({"PUBSUB", "NUMSUB", channel}) == channel + " 1"; }));
  two.bus().publish_answers({{"gone", 1, "nobody"}, {"one", 7, R"({"accepted": "yes, \n"})"}});
  ASSERT_TRUE(one.gets_answers(1));
  EXPECT_EQ(one.answers().front().worker, "one");
  EXPECT_EQ(one.answers().front().row, 7);
  EXPECT_EQ(one.answers().front().answer, R"({"accepted": "yes, \n"})");
  EXPECT_THAT(two.answers(), IsEmpty());
  EXPECT_EQ(redis.ask_number({"DBSIZE"}), 0);
}

// ---- dead letters

TEST(RedisHintBus, dead_letters_are_listed_viewed_dropped_and_taken_once) {
  const RedisServer redis;
  Worker owner(redis.address(), "owner");
  auto letters = RedisDeadLetters::open(redis.address(), "shop").value();
  EXPECT_EQ(letters.count().value(), 0u);
  EXPECT_THAT(letters.list().value(), IsEmpty());
  const std::string error = std::string(kDeadErrorBytesMax - 1, 'x') + "é";
  for (const InboxId row : {11, 12, 13}) {
    owner.bus().publish_dead({4, row, "acme", "order-1", "Submit", 5, error});
  }
  ASSERT_TRUE(holds_in_time([&] { return letters.count().value() == 3; }));
  const std::vector<RedisDeadLetter> all = letters.list().value();
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].row, 11);
  EXPECT_EQ(all[0].partition, 4);
  EXPECT_EQ(all[0].tenant, "acme");
  EXPECT_EQ(all[0].execution_id, "order-1");
  EXPECT_EQ(all[0].event_name, "Submit");
  EXPECT_EQ(all[0].attempts, 5);
  EXPECT_EQ(all[0].error, std::string(kDeadErrorBytesMax - 1, 'x'));
  EXPECT_GT(all[0].at, 1'700'000'000'000);
  EXPECT_EQ(letters.list(1, all[0].id).value().front().row, 12);
  EXPECT_EQ(letters.view(all[1].id).value()->row, 12);

  EXPECT_TRUE(letters.drop(all[0].id).value());
  EXPECT_FALSE(letters.drop(all[0].id).value());
  EXPECT_EQ(letters.take(all[1].id).value()->row, 12);
  EXPECT_FALSE(letters.take(all[1].id).value().has_value());
  EXPECT_FALSE(letters.view(all[1].id).value().has_value());
  EXPECT_EQ(letters.count().value(), 1u);
  EXPECT_EQ(letters.view("row 13").error().code, ErrorCode::invalid_argument);
}

TEST(RedisHintBus, dead_letters_of_a_server_that_is_away_are_an_error) {
  auto letters =
      RedisDeadLetters::open(fmt::format("redis://:secret@127.0.0.1:{}", free_port()), "shop")
          .value();
  const auto listed = letters.list();
  ASSERT_FALSE(listed);
  EXPECT_EQ(listed.error().code, ErrorCode::store_unavailable);
  EXPECT_THAT(listed.error().message, HasSubstr("Connection refused"));
  EXPECT_THAT(listed.error().message, Not(HasSubstr("secret")));
}

// ---- addresses

TEST(RedisHintBus, is_opened_by_its_address) {
  const auto opened = [](const std::string& address) {
    return open_hint_bus({address, "shop", "w"});
  };
  use_redis_hints();
  use_redis_hints();
  EXPECT_TRUE(opened("redis://127.0.0.1"));
  EXPECT_TRUE(opened("redis+sentinel://127.0.0.1/orders"));
  const auto unknown = opened("kafka://u:secret@h");
  ASSERT_FALSE(unknown);
  EXPECT_THAT(unknown.error().message, HasSubstr("redis://HOST"));
  EXPECT_THAT(unknown.error().message, Not(HasSubstr("secret")));
  EXPECT_FALSE(opened("redis://"));
  const auto no_file = opened("rediss://h?ca=/no/such/file");
  ASSERT_FALSE(no_file);
  EXPECT_THAT(no_file.error().message, HasSubstr("'ca'"));
}

// ---- faults

TEST(RedisHintBus, a_flush_costs_a_look_and_hints_come_again) {
  const RedisServer redis;
  Worker owner(redis.address(), "owner");
  Worker sender(redis.address(), "sender");
  owner.serve({1, 2});
  sender.publish(1, "before");
  ASSERT_TRUE(owner.gets({"before"}));
  redis.ask({"FLUSHALL"});
  ASSERT_TRUE(owner.misses());
  owner.acknowledge();
  sender.publish(2, "after");
  EXPECT_TRUE(owner.gets({"after"}));
}

TEST(RedisHintBus, a_flush_between_publishing_and_reading_leaves_the_next_hints_in_place) {
  const RedisServer redis;
  Worker owner(redis.address(), "owner");
  Worker sender(redis.address(), "sender");
  owner.serve({1});
  expect_passage(sender, owner, 1);
  redis.ask({"FLUSHALL"});
  // Before anybody has noticed: the stream is made anew without a group.
  sender.publish(1, "at once");
  EXPECT_TRUE(owner.gets({"at once"}));
  EXPECT_TRUE(owner.misses());
}

TEST(RedisHintBus, a_restart_costs_a_look_and_what_was_queued_goes_out) {
  RedisServer redis;
  Worker owner(redis.address(), "owner");
  Worker sender(redis.address(), "sender");
  owner.serve({1});
  expect_passage(sender, owner, 1);
  redis.stop();
  ASSERT_TRUE(holds_in_time([&] { return !owner.bus().counters().trouble.empty(); }));
  sender.publish(1, "while it is away");
  redis.start();
  EXPECT_TRUE(owner.gets({"while it is away"}));
  EXPECT_TRUE(owner.misses());
  EXPECT_TRUE(holds_in_time([&] {
    return owner.bus().counters().trouble.empty() && owner.bus().counters().reconnects > 0;
  }));
}

TEST(RedisHintBus, works_from_the_moment_that_the_server_is_there) {
  RedisServer redis;
  redis.stop();
  Worker owner(redis.address(), "owner");
  owner.serve({1});
  owner.publish(1, "early");
  ASSERT_TRUE(holds_in_time([&] {
    return owner.bus().counters().trouble.find("Connection refused") != std::string::npos;
  }));
  redis.start();
  EXPECT_TRUE(owner.gets({"early"}));
  EXPECT_TRUE(owner.misses());
}

TEST(RedisHintBus, a_server_that_is_frozen_holds_up_nobody) {
  RedisServer redis;
  Worker owner(redis.address(), "owner");
  Worker sender(redis.address(), "sender");
  auto closing = std::make_unique<Worker>(redis.address(), "closing");
  owner.serve({1});
  closing->serve({2});
  expect_passage(sender, owner, 1);
  redis.freeze();
  const auto began = std::chrono::steady_clock::now();
  sender.publish(1, "into the ice");
  closing->publish(2, "never");
  owner.acknowledge();
  closing.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - began, 10s);
  ASSERT_TRUE(holds_in_time(
      [&] { return owner.bus().counters().trouble.find("did not answer") != std::string::npos; }));
  redis.thaw();
  EXPECT_TRUE(owner.gets({"into the ice"}));
}

TEST(RedisHintBus, the_queue_has_a_bound_and_what_is_dropped_is_counted) {
  Worker sender(fmt::format("redis://127.0.0.1:{}", free_port()), "sender");
  sender.bus().publish(std::vector<Hint>(kHintsQueuedMax + 10, Hint{1, "acme", "e"}));
  EXPECT_EQ(sender.bus().counters().dropped, 10u);
  sender.publish(1, "e");
  EXPECT_EQ(sender.bus().counters().dropped, 11u);
  sender.bus().close();
  sender.bus().close();
  EXPECT_EQ(sender.bus().counters().dropped, kHintsQueuedMax + 11);
  EXPECT_EQ(sender.bus().counters().published, 0u);
}

class CutConnections : public testing::TestWithParam<std::pair<const char*, bool>> {};

TEST_P(CutConnections, cost_no_hint_and_no_acknowledgement) {
  const auto& [command, delivered] = GetParam();
  const RedisServer redis;
  CuttingProxy proxy(redis.port());
  Worker owner(fmt::format("redis://127.0.0.1:{}", proxy.port()), "owner");
  owner.serve({1});
  expect_passage(owner, owner, 1);
  settle(redis, owner, owner, 1);
  proxy.cut_at(command, delivered);
  for (const char* const name : {"a", "b"}) {
    owner.publish(1, name);
    ASSERT_TRUE(owner.gets({name}));
    // Of one that is sent again the server may have two.
    ASSERT_TRUE(holds_in_time([&] {
      owner.acknowledge(name);
      return length(redis, 1) == 0 && pending(redis, 1) == 0;
    }));
  }
  EXPECT_EQ(proxy.cuts(), 1);
  for (const std::string& one : owner.executions()) EXPECT_THAT(one, testing::AnyOf("a", "b"));
  EXPECT_LE(owner.hints().size(), 3u);
}

INSTANTIATE_TEST_SUITE_P(RedisHintBus, CutConnections,
                         testing::Values(std::pair("XADD", false), std::pair("XADD", true),
                                         std::pair("XREADGROUP", false),
                                         std::pair("XREADGROUP", true), std::pair("XACK", false),
                                         std::pair("XACK", true)),
                         [](const auto& one) {
                           return fmt::format("{}_{}", one.param.first,
                                              one.param.second ? "done" : "not_done");
                         });

TEST(RedisHintBus, a_wrong_password_is_told_without_it) {
  RedisServer redis({"requirepass right"});
  redis.set_password("right");
  Worker owner(fmt::format("redis://:mistaken@127.0.0.1:{}", redis.port()), "owner");
  owner.serve({1});
  ASSERT_TRUE(holds_in_time(
      [&] { return owner.bus().counters().trouble.find("WRONGPASS") != std::string::npos; }));
  EXPECT_THAT(owner.bus().counters().trouble, Not(HasSubstr("mistaken")));
  Worker without(redis.address(), "without");
  ASSERT_TRUE(holds_in_time(
      [&] { return without.bus().counters().trouble.find("NOAUTH") != std::string::npos; }));
  redis.ask({"CONFIG", "SET", "requirepass", "mistaken"});
  expect_passage(owner, owner, 1);
}

// The rights that docs/scale/redis.md names.
TEST(RedisHintBus, users_with_few_rights_and_databases_are_those_of_the_address) {
  const RedisServer redis(
      {"user ann on >s3/cret ~pawl:* &pawl:* -@all +xadd +xlen +xdel +xack +xtrim +xreadgroup "
       "+xautoclaim +xgroup +xinfo +xrange +publish +subscribe +ping +role +select "
       "+client|id +client|unblock"});
  const std::string address = fmt::format("redis://ann:s3%2Fcret@127.0.0.1:{}/2", redis.port());
  Worker first(address, "first");
  first.serve({1});
  first.publish(1, "a");
  ASSERT_TRUE(first.gets({"a"}));
  Worker second(address, "second");
  second.serve({1});
  ASSERT_TRUE(second.gets({"a"}));
  second.acknowledge();
  second.bus().publish_answers({{"first", 1, "yes"}});
  second.bus().publish_dead({1, 1, "acme", "a", "Submit", 1, "no"});
  ASSERT_TRUE(first.gets_answers(1));
  EXPECT_TRUE(holds_in_time([&] { return second.bus().counters().acknowledged == 1; }));
  EXPECT_EQ(RedisDeadLetters::open(address, "shop").value().list().value().size(), 1u);
  EXPECT_EQ(second.bus().counters().trouble, "");
  EXPECT_EQ(redis.ask_number({"DBSIZE"}), 0);
}

TEST(RedisHintBus, a_server_without_memory_refuses_hints_and_takes_acknowledgements) {
  const RedisServer redis;
  Worker owner(redis.address(), "owner");
  owner.serve({1});
  owner.publish(1, "before");
  ASSERT_TRUE(owner.gets({"before"}));
  redis.ask({"CONFIG", "SET", "maxmemory", "1"});
  owner.publish(1, "refused");
  ASSERT_TRUE(holds_in_time([&] { return owner.bus().counters().dropped == 1; }));
  EXPECT_THAT(owner.bus().counters().trouble, HasSubstr("OOM"));
  owner.acknowledge();
  EXPECT_TRUE(is_empty(redis, 1));
  redis.ask({"CONFIG", "SET", "maxmemory", "0"});
  expect_passage(owner, owner, 1);
  EXPECT_EQ(owner.missed(), 0);
}

TEST(RedisHintBus, a_server_that_loads_its_data_is_waited_for) {
  RedisServer redis;
  for (int at = 0; at < 40; ++at) redis.ask({"SET", fmt::format("key-{}", at), "x"});
  redis.ask({"SAVE"});
  redis.stop();
  redis.start({"key-load-delay 50000", "loading-process-events-interval-bytes 1024"});
  Worker owner(redis.address(), "owner");
  owner.serve({1});
  owner.publish(1, "a");
  EXPECT_TRUE(owner.gets({"a"}));
}

TEST(RedisHintBus, what_is_no_redis_is_told_so) {
  HttpServer other([](const HttpServer::Request&, HttpServer::Answer& answer) {
    answer.send(200, "", "hello");
  });
  Worker owner("redis" + other.url().substr(4), "owner");
  owner.serve({1});
  EXPECT_TRUE(holds_in_time([&] { return !owner.bus().counters().trouble.empty(); }));
}

// ---- TLS

class RedisOverTls : public testing::Test {
 protected:
  static std::vector<std::string> settings(const TestCertificates& certificates, const int port,
                                           const bool clients) {
    return {fmt::format("tls-port {}", port), "tls-cert-file " + certificates.certificate(),
            "tls-key-file " + certificates.key(), "tls-ca-cert-file " + certificates.authority(),
            fmt::format("tls-auth-clients {}", clients ? "yes" : "no")};
  }

  std::string address(const std::string& host, const std::string& options) const {
    return fmt::format("rediss://{}:{}?{}", host, tls_port_, options);
  }
  bool is_refused(const std::string& where, const std::string& why) const {
    Worker worker(where, "refused");
    return holds_in_time(
        [&] { return worker.bus().counters().trouble.find(why) != std::string::npos; });
  }

  const TestCertificates certificates_;
  const int tls_port_ = free_port();
};

TEST_F(RedisOverTls, hints_pass_to_a_server_that_is_verified) {
  const RedisServer redis(settings(certificates_, tls_port_, false));
  Worker owner(address("127.0.0.1", "ca=" + certificates_.authority()), "owner");
  owner.serve({1});
  // More than one record of TLS.
  std::vector<Hint> hints;
  for (int at = 0; at < 5'000; ++at) hints.push_back({1, "acme", fmt::format("execution-{}", at)});
  owner.bus().publish(std::move(hints));
  ASSERT_TRUE(owner.gets_count(5'000));
  owner.acknowledge();
  EXPECT_TRUE(is_empty(redis, 1));
}

TEST_F(RedisOverTls, who_is_not_known_is_refused_unless_that_is_wanted) {
  const RedisServer redis(settings(certificates_, tls_port_, false));
  const TestCertificates others;
  EXPECT_TRUE(is_refused(address("127.0.0.1", "verify=yes"), "certificate is refused"));
  EXPECT_TRUE(
      is_refused(address("127.0.0.1", "ca=" + others.authority()), "certificate is refused"));
  // The right authority, for another host.
  EXPECT_TRUE(is_refused(address("localhost", "ca=" + certificates_.authority()),
                         "certificate is refused"));
  Worker trusting(address("localhost", "verify=no"), "trusting");
  trusting.serve({1});
  trusting.publish(1, "a");
  EXPECT_TRUE(trusting.gets({"a"}));
}

TEST_F(RedisOverTls, a_server_may_ask_for_a_certificate) {
  const RedisServer redis(settings(certificates_, tls_port_, true));
  const std::string ca = "ca=" + certificates_.authority();
  EXPECT_TRUE(is_refused(address("127.0.0.1", ca), "TLS"));
  Worker owner(address("127.0.0.1", fmt::format("{}&cert={}&key={}", ca,
                                                certificates_.certificate(), certificates_.key())),
               "owner");
  owner.serve({1});
  owner.publish(1, "a");
  EXPECT_TRUE(owner.gets({"a"}));
}

TEST_F(RedisOverTls, sentinels_and_their_master_have_passwords_of_their_own) {
  std::vector<std::string> all = settings(certificates_, tls_port_, false);
  all.emplace_back("requirepass of-master");
  const RedisServer master(all);
  const int sentinel_port = free_port();
  all = settings(certificates_, sentinel_port, false);
  all.insert(all.end(), {"tls-replication yes", "requirepass of-sentinel",
                         fmt::format("sentinel monitor orders 127.0.0.1 {} 1", tls_port_),
                         "sentinel auth-pass orders of-master"});
  const RedisServer sentinel(all, true);
  Worker owner(fmt::format("rediss+sentinel://:of-master@127.0.0.1:{}/orders/1?ca={}&"
                           "sentinel_password=of-sentinel",
                           sentinel_port, certificates_.authority()),
               "owner");
  owner.serve({1});
  owner.publish(1, "a");
  EXPECT_TRUE(owner.gets({"a"}));
}

TEST_F(RedisOverTls, a_server_without_tls_is_told_so) {
  const RedisServer redis;
  EXPECT_TRUE(is_refused(fmt::format("rediss://127.0.0.1:{}?verify=no", redis.port()), "TLS"));
}

// ---- sentinels

class RedisSentinels : public testing::Test {
 protected:
  RedisSentinels()
      : replica_({fmt::format("replicaof 127.0.0.1 {}", master_.port())}),
        sentinel_({fmt::format("sentinel monitor orders 127.0.0.1 {} 1", master_.port()),
                   "sentinel down-after-milliseconds orders 1000",
                   "sentinel failover-timeout orders 5000"},
                  true) {}

  void SetUp() override {
    // The sentinel knows the replica, and that it can take over.
    ASSERT_TRUE(holds_in_time([&] {
      return replica_.ask({"INFO", "replication"}).find("master_link_status:up") !=
                 std::string::npos &&
             sentinel_.ask({"SENTINEL", "REPLICAS", "orders"}).find("flags slave ") !=
                 std::string::npos;
    }));
  }

  // The first sentinel of the address is none.
  std::string address() const {
    return fmt::format("redis+sentinel://127.0.0.1:{},127.0.0.1:{}/orders", free_port(),
                       sentinel_.port());
  }
  bool has_new_master() const {
    return holds_in_time([&] {
      return sentinel_.ask({"SENTINEL", "GET-MASTER-ADDR-BY-NAME", "orders"}) ==
             fmt::format("127.0.0.1 {}", replica_.port());
    });
  }

  RedisServer master_;
  RedisServer replica_;
  RedisServer sentinel_;
};

TEST_F(RedisSentinels, a_master_that_dies_is_replaced) {
  Worker owner(address(), "owner");
  Worker sender(address(), "sender");
  owner.serve({1});
  expect_passage(sender, owner, 1);
  master_.stop();
  expect_passage(sender, owner, 1);
  EXPECT_TRUE(has_new_master());
  EXPECT_TRUE(owner.misses());
  EXPECT_GE(length(replica_, 1), 1);
}

// Sentinels take ten seconds for it.
using RedisSentinelsLong = RedisSentinels;

TEST_F(RedisSentinelsLong, a_master_that_becomes_a_replica_is_left) {
  Worker owner(address(), "owner");
  Worker sender(address(), "sender");
  owner.serve({1});
  expect_passage(sender, owner, 1);
  ASSERT_EQ(sentinel_.ask({"SENTINEL", "FAILOVER", "orders"}), "OK");
  ASSERT_TRUE(has_new_master());
  expect_passage(sender, owner, 1);
  // Both on the one that can be written to.
  ASSERT_TRUE(holds_in_time([&] { return master_.ask({"ROLE"}).find("slave") == 0; }));
  expect_passage(sender, owner, 1);
  EXPECT_TRUE(owner.misses());
}

TEST_F(RedisSentinels, a_master_that_is_not_known_is_told_so) {
  Worker worker(fmt::format("redis+sentinel://127.0.0.1:{}/bank", sentinel_.port()), "w");
  EXPECT_TRUE(holds_in_time([&] {
    return worker.bus().counters().trouble.find("no sentinel names the master 'bank'") !=
           std::string::npos;
  }));
}

TEST(RedisHintBus, a_replica_that_becomes_a_master_is_written_to) {
  const RedisServer master;
  const RedisServer replica({fmt::format("replicaof 127.0.0.1 {}", master.port())});
  ASSERT_TRUE(holds_in_time([&] {
    return replica.ask({"INFO", "replication"}).find("master_link_status:up") != std::string::npos;
  }));
  Worker owner(replica.address(), "owner");
  owner.serve({1});
  owner.publish(1, "a");
  ASSERT_TRUE(holds_in_time(
      [&] { return owner.bus().counters().trouble.find("READONLY") != std::string::npos; }));
  replica.ask({"REPLICAOF", "NO", "ONE"});
  EXPECT_TRUE(owner.gets({"a"}));
}

}  // namespace
}  // namespace pawl::test
