#include "runtime/locks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace pawl {
namespace {

using namespace std::chrono_literals;

// Rows in memory, of a store that can be slow, away, or lose its answers.
class FakeRows final : public LockRows {
 public:
  Result<LockAnswer> acquire(const LockClaim& claim) override {
    std::unique_lock lock(mutex_);
    ++asked;
    changed_.wait(lock, [this] { return !hangs_; });
    if (away_) return Error{ErrorCode::store_unavailable, "nobody is there", {}};
    LockAnswer answer;
    if (owner_.empty() || owner_ == claim.token) {
      owner_ = claim.token;
      answer.fence = ++fence_;
    } else {
      answer.holder = "another";
      answer.free_in = 60'000;
    }
    if (loses_answers_) return Error{ErrorCode::outcome_unknown, "the answer was lost", {}};
    return answer;
  }
  Result<std::vector<bool>> renew(const std::vector<LockHeld>& locks) override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !hangs_; });
    if (away_) return Error{ErrorCode::store_unavailable, "nobody is there", {}};
    renewed += static_cast<int>(locks.size());
    std::vector<bool> held;
    for (const LockHeld& one : locks) held.push_back(owner_ == one.token);
    return held;
  }
  Result<void> release(const LockHeld& row) override {
    const std::lock_guard lock(mutex_);
    if (away_) return Error{ErrorCode::store_unavailable, "nobody is there", {}};
    if (owner_ == row.token) owner_.clear();
    return {};
  }
  std::string held_query() const override { return "SELECT 1"; }
  void close() override {}

  void set(std::function<void(FakeRows&)> change) {
    const std::lock_guard lock(mutex_);
    change(*this);
    changed_.notify_all();
  }
  std::string owner() {
    const std::lock_guard lock(mutex_);
    return owner_;
  }

  std::atomic<int> asked = 0;
  std::atomic<int> renewed = 0;
  bool hangs_ = false;  // under mutex_, as those below
  bool away_ = false;
  bool loses_answers_ = false;
  std::string owner_;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::int64_t fence_ = 0;
};

class LocksTest : public ::testing::Test {
 protected:
  ~LocksTest() override { locks->close(); }

  std::future<Result<Lock>> ask(const DurationMs wait, const DurationMs ttl = 30'000,
                                LockWait* const number = nullptr) {
    auto asked = std::make_shared<std::promise<Result<Lock>>>();
    auto answer = asked->get_future();
    const LockWait waits =
        locks->acquire({"acme", "printer", ttl, wait},
                       [asked](Result<Lock> lock) { asked->set_value(std::move(lock)); });
    if (number != nullptr) *number = waits;
    return answer;
  }
  template <class Holds>
  static void until(Holds holds) {
    while (!holds()) std::this_thread::sleep_for(1ms);
  }

  FakeRows rows;
  std::shared_ptr<Locks> locks = std::make_shared<Locks>(rows, "here", Limits{});
};

TEST_F(LocksTest, AStoreThatIsAwayIsWaitedFor) {
  rows.set([](FakeRows& all) { all.away_ = true; });
  auto late = ask(50);
  const auto refused = late.get();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::lock_timeout);
  EXPECT_NE(refused.error().message.find("nobody is there"), std::string::npos);
  auto waits = ask(60'000);
  std::this_thread::sleep_for(50ms);
  rows.set([](FakeRows& all) { all.away_ = false; });
  EXPECT_EQ(waits.get().value().fence(), 1);
}

// It may have got it: nobody is to wait for its time to run out.
TEST_F(LocksTest, WhatIsGotBehindALostAnswerIsFreed) {
  rows.set([](FakeRows& all) { all.loses_answers_ = true; });
  const auto refused = ask(50).get();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::lock_timeout);
  until([this] { return rows.owner().empty(); });
  rows.set([](FakeRows& all) { all.loses_answers_ = false; });
  EXPECT_TRUE(ask(0).get());
}

TEST_F(LocksTest, WhatIsGotAfterItWasGivenUpIsFreed) {
  rows.set([](FakeRows& all) { all.hangs_ = true; });
  LockWait number = 0;
  auto given_up = ask(60'000, 30'000, &number);
  until([this] { return rows.asked == 1; });
  locks->give_up(number);
  locks->give_up(number);
  EXPECT_EQ(given_up.get().error().code, ErrorCode::lock_timeout);
  rows.set([](FakeRows& all) { all.hangs_ = false; });
  EXPECT_EQ(ask(60'000).get().value().key(), "printer");
}

TEST_F(LocksTest, WhoLosesALockIsToldOnTimeThoughTheStoreHangs) {
  const Result<Lock> lock = ask(0, 200).get();
  ASSERT_TRUE(lock);
  until([this] { return rows.renewed > 1; });
  rows.set([](FakeRows& all) { all.hangs_ = true; });
  const auto since = std::chrono::steady_clock::now();
  until([&] { return lock->lost().stop_requested(); });
  EXPECT_LT(std::chrono::steady_clock::now() - since, 5s);
  EXPECT_EQ(lock->loss()->code, ErrorCode::lock_lost);
  rows.set([](FakeRows& all) { all.hangs_ = false; });
}

TEST_F(LocksTest, ARenewalThatFailsIsMadeAgain) {
  const Result<Lock> lock = ask(0, 2'000).get();
  ASSERT_TRUE(lock);
  rows.set([](FakeRows& all) { all.away_ = true; });
  std::this_thread::sleep_for(1s);
  rows.set([](FakeRows& all) { all.away_ = false; });
  const int before = rows.renewed;
  until([&] { return rows.renewed > before + 1; });
  EXPECT_FALSE(lock->loss());
}

TEST_F(LocksTest, AReleaseThatFailsIsMadeAgain) {
  std::optional<Result<Lock>> lock = ask(0).get();
  ASSERT_TRUE(*lock);
  rows.set([](FakeRows& all) { all.away_ = true; });
  lock.reset();
  std::this_thread::sleep_for(50ms);
  EXPECT_FALSE(rows.owner().empty());
  rows.set([](FakeRows& all) { all.away_ = false; });
  until([this] { return rows.owner().empty(); });
}

TEST_F(LocksTest, MoreThanAreKeptAreRefused) {
  rows.set([](FakeRows& all) { all.owner_ = "another"; });
  std::atomic<int> closed = 0;
  for (std::size_t one = 0; one < kLocksMax; ++one) {
    locks->acquire({"acme", "printer", 30'000, 60'000}, [&closed](const Result<Lock>& lock) {
      if (!lock && lock.error().code == ErrorCode::closed) ++closed;
    });
  }
  const auto refused = ask(0).get();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::overloaded);
  EXPECT_NE(refused.error().message.find("10000"), std::string::npos) << refused.error().message;
  locks->close();
  EXPECT_EQ(closed, static_cast<int>(kLocksMax));
  EXPECT_EQ(ask(0).get().error().code, ErrorCode::closed);
}

}  // namespace
}  // namespace pawl
