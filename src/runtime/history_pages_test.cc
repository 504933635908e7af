#include "runtime/history_pages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace pawl {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr HistoryBounds kPage{4};

// A history of so many records for any execution; reads can be made to wait, and to fail.
class Source final : public HistorySource {
 public:
  explicit Source(const std::int64_t end) : end_(end) {}

  Result<std::vector<HistoryEvent>> read_history(const ExecutionRef ref, const std::int64_t after,
                                                 const HistoryBounds most) override {
    std::unique_lock lock(mutex_);
    reads_.emplace_back(ref, after);
    changed_.notify_all();
    changed_.wait(lock, [this] { return !held_; });
    if (fails_) return Error{ErrorCode::store_unavailable, "the disk is gone", {}};
    std::vector<HistoryEvent> records;
    for (auto next = after + 1; next <= end_ && std::ssize(records) < most.records; ++next) {
      records.emplace_back().sequence = next;
    }
    return records;
  }
  Result<std::optional<StateSnapshot>> find_snapshot(ExecutionRef, std::int64_t) override {
    return std::optional<StateSnapshot>{};
  }
  void keep_snapshot(StateSnapshot) override {}

  void hold(const bool held) {
    const std::lock_guard lock(mutex_);
    held_ = held;
    changed_.notify_all();
  }
  void fail(const bool fails) {
    const std::lock_guard lock(mutex_);
    fails_ = fails;
  }
  void await_reads(const std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return reads_.size() >= count; });
  }
  std::vector<std::pair<ExecutionRef, std::int64_t>> reads() {
    const std::lock_guard lock(mutex_);
    return reads_;
  }

 private:
  const std::int64_t end_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool held_ = false;
  bool fails_ = false;
  std::vector<std::pair<ExecutionRef, std::int64_t>> reads_;
};

class HistoryPagesOf : public ::testing::Test {
 protected:
  static LoadPage page(const std::uint64_t number, const std::int64_t after,
                       const ExecutionRef ref = 1) {
    return {number, ref, after, kPage, {}};
  }
  // What came: the number that was asked with, and the last record.
  std::vector<std::pair<std::uint64_t, std::int64_t>> came() {
    const std::lock_guard lock(mutex_);
    return came_;
  }

  Source source_{10};
  std::mutex mutex_;
  std::vector<std::pair<std::uint64_t, std::int64_t>> came_;
  HistoryPages pages_{source_, [this](const PageLoaded& loaded) {
                        const std::lock_guard lock(mutex_);
                        const bool none = !loaded.records || loaded.records->empty();
                        came_.emplace_back(loaded.asked.number,
                                           none ? -1 : loaded.records->back().sequence);
                      }};
};

TEST_F(HistoryPagesOf, EachIsReadOnceAndAheadOfBeingAskedFor) {
  pages_.read(page(1, 0));
  EXPECT_THAT(came(), ElementsAre(std::pair{1, 4}));
  EXPECT_THAT(source_.reads(), ElementsAre(std::pair{1, 0}, std::pair{1, 4}));
  pages_.read(page(2, 4));
  pages_.read(page(3, 8));
  EXPECT_THAT(came(), ElementsAre(std::pair{1, 4}, std::pair{2, 8}, std::pair{3, 10}));
  EXPECT_THAT(source_.reads(), ElementsAre(std::pair{1, 0}, std::pair{1, 4}, std::pair{1, 8}))
      << "nothing lies behind a page that is not full";
}

TEST_F(HistoryPagesOf, WhatIsBeingReadIsNotReadTwice) {
  source_.hold(true);
  std::thread reader([this] { pages_.read_ahead(1, 4, kPage); });
  source_.await_reads(1);
  pages_.read(page(7, 4));
  EXPECT_THAT(came(), IsEmpty());
  source_.hold(false);
  reader.join();
  EXPECT_THAT(came(), ElementsAre(std::pair{7, 8}));
  EXPECT_THAT(source_.reads(), ElementsAre(std::pair{1, 4}, std::pair{1, 8}));
}

TEST_F(HistoryPagesOf, APageThatCouldNotBeReadAheadIsReadWhenItIsAskedFor) {
  source_.fail(true);
  pages_.read_ahead(1, 4, kPage);
  pages_.read(page(1, 4));
  EXPECT_THAT(came(), ElementsAre(std::pair{1, -1})) << "it fails for whoever asked";
  source_.fail(false);
  pages_.read(page(2, 4));
  EXPECT_THAT(came(), ElementsAre(std::pair{1, -1}, std::pair{2, 8}));
}

TEST_F(HistoryPagesOf, WhatNobodyAsksForMakesRoomInTheEnd) {
  for (ExecutionRef ref = 1; ref <= ExecutionRef{kPagesAheadMax} + 2; ++ref) {
    pages_.read_ahead(ref, 0, kPage);
  }
  EXPECT_EQ(source_.reads().size(), kPagesAheadMax) << "no more than that are kept";
  for (std::uint64_t number = 1; number <= 65; ++number) pages_.read(page(number, 8, 99));
  const auto before = source_.reads().size();
  pages_.read(page(66, 0, 100));
  EXPECT_EQ(source_.reads().size(), before + 2) << "the page, and the one behind it";
}

}  // namespace
}  // namespace pawl
