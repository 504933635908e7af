#include "store/memory_store.h"

#include <gtest/gtest.h>

#include "tests/support/store_conformance.h"

namespace pawl {
namespace {

struct MemoryMaker {
  std::shared_ptr<MemoryStoreData> data = std::make_shared<MemoryStoreData>();
  std::unique_ptr<Store> open() {
    return std::make_unique<MemoryStore>(MemoryStore::Mode::automatic, data);
  }
};

INSTANTIATE_TYPED_TEST_SUITE_P(Memory, StoreConformance, MemoryMaker);

struct MemoryStoreTest : testing::Test {
  MemoryStore store{MemoryStore::Mode::manual};
  StoreDriver sink;

  void SetUp() override {
    store.start(sink);
    sink.attach(store);
  }
  CommitRequest start(std::uint64_t id, std::uint64_t generation = 0) {
    const auto ref = store.next_execution_ref({}, {});
    return {0, generation, id, start_transition(ref, "acme", "wf-" + std::to_string(ref))};
  }
  std::size_t stored() const { return store.data()->executions.size(); }
};

TEST_F(MemoryStoreTest, CommitsWhenTheTestSaysSo) {
  sink.commit({start(1), start(2), start(3)});
  EXPECT_EQ(store.queued_commits(), 3u);
  EXPECT_TRUE(sink.outcomes(0).empty());
  EXPECT_EQ(store.step(2), 2u);
  EXPECT_EQ(sink.outcomes(0).back().up_to, 2u);
  EXPECT_EQ(stored(), 2u);
  EXPECT_EQ(store.step(), 1u);
  EXPECT_EQ(store.step(), 0u);
}

TEST_F(MemoryStoreTest, FailsABatchOnDemand) {
  sink.commit({start(1), start(2)});
  store.fail_next(Error{ErrorCode::store_unavailable, "no space"});
  EXPECT_EQ(store.step(1), 1u);
  EXPECT_EQ(sink.error_of(0, 1)->code, ErrorCode::store_unavailable);
  store.step();
  EXPECT_TRUE(sink.error_of(0, 2)) << "of the same generation";
  EXPECT_EQ(stored(), 0u);
  sink.commit({start(3, 1)});
  store.step();
  EXPECT_FALSE(sink.error_of(0, 3));
  EXPECT_EQ(stored(), 1u);
}

TEST_F(MemoryStoreTest, AnUnknownOutcomeMayHaveHappenedOrNot) {
  sink.commit({start(1), start(2)});
  store.fail_next(Error{ErrorCode::outcome_unknown, "who knows"}, true);
  store.step();
  EXPECT_EQ(sink.error_of(0, 2)->code, ErrorCode::outcome_unknown);
  EXPECT_EQ(stored(), 2u);
  sink.commit({start(3)});
  store.step();
  EXPECT_EQ(sink.error_of(0, 3)->code, ErrorCode::store_unavailable) << "it was not tried";
  EXPECT_EQ(stored(), 2u);

  sink.commit({start(4, 1)});
  store.fail_next(Error{ErrorCode::outcome_unknown, "who knows"}, false);
  store.step();
  EXPECT_EQ(sink.error_of(0, 4)->code, ErrorCode::outcome_unknown);
  EXPECT_EQ(stored(), 2u);
}

TEST_F(MemoryStoreTest, ACrashForgetsWhatIsQueued) {
  sink.commit({start(1), start(2)});
  store.step(1);
  store.crash();
  EXPECT_EQ(stored(), 1u);
  EXPECT_EQ(sink.outcomes(0).size(), 1u);
  MemoryStore again{MemoryStore::Mode::manual, store.data()};
  EXPECT_EQ(again.next_execution_ref({}, {}), 2);
}

}  // namespace
}  // namespace pawl
