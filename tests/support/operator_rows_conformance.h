#pragma once

// What every store that keeps locks and dead letters must do with their rows. Instantiated with a maker, as
// store_conformance.h is.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/store.h"
#include "tests/support/store_driver.h"

namespace pawl {

template <class Maker>
class OperatorRowsConformance : public testing::Test {
 protected:
  void SetUp() override { reopen(); }
  void TearDown() override {
    if (store) store->close();
  }

  void reopen() {
    if (store) store->close();
    store.reset();
    driver = std::make_unique<StoreDriver>();
    store = maker.open();
    ASSERT_TRUE(store);
    store->start(*driver);
    driver->attach(*store);
  }

  // ---- locks

  LockRows& locks() { return *store->locks(); }
  static LockClaim claim(const std::string& token, const DurationMs ttl = 60'000,
                         const std::string& key = "printer") {
    return {"acme", key, token, "host/1/" + token, ttl};
  }
  static LockHeld held(const std::string& token, const std::int64_t fence,
                       const DurationMs ttl = 60'000) {
    return {"acme", "printer", token, fence, ttl};
  }
  // 0: another one has it.
  std::int64_t fence_of(const LockClaim& wanted) {
    const auto answer = locks().acquire(wanted);
    if (!answer) throw std::runtime_error(answer.error().message);
    return answer->fence.value_or(0);
  }

  // ---- dead letters

  DeadLetterRows& letters() { return *store->dead_letters(); }

  ExecutionRef start(const std::string& id, const std::string& tenant = "acme") {
    const auto ref = store->next_execution_ref(tenant, id);
    EXPECT_FALSE(driver->commit_and_wait({start_transition(ref, tenant, id)}));
    return ref;
  }
  // Mail, which is then settled as that. With an execution, as what the engine has accepted itself.
  InboxId put(const std::string& id, const std::string& name, const InboxStatus status,
              const ExecutionRef execution = 0, const std::string& key = "",
              const std::string& tenant = "acme", const std::size_t bytes = 0) {
    InboxRecord row;
    row.id = store->next_inbox_id();
    row.execution = execution;
    row.tenant = tenant;
    if (execution == 0) row.execution_id = id;
    row.event_id = "event-" + name;
    row.event_name = name;
    row.payload = Payload::json('"' + name + std::string(bytes, 'x') + '"');
    row.user_id = "ann";
    row.idempotency_key = key;
    row.accepted_at = 1'000;
    Transition sent;
    sent.tenant = tenant;
    sent.inbox_added.push_back(row);
    EXPECT_FALSE(driver->commit_and_wait({std::move(sent)}));
    if (status == InboxStatus::pending) return row.id;
    Transition settled;
    settled.tenant = tenant;
    settled.execution = execution;
    settled.inbox_completed.push_back({row.id, status, "nobody is there", "{}"});
    EXPECT_FALSE(driver->commit_and_wait({std::move(settled)}));
    return row.id;
  }
  std::vector<std::string> names(const DeadLetterSearch& search) {
    std::vector<std::string> all;
    const auto page = letters().list(search);
    if (!page) throw std::runtime_error(page.error().message);
    for (const DeadLetter& letter : page->letters) all.push_back(letter.name);
    return all;
  }

  Maker maker;
  std::unique_ptr<StoreDriver> driver;
  std::unique_ptr<Store> store;
};

TYPED_TEST_SUITE_P(OperatorRowsConformance);

TYPED_TEST_P(OperatorRowsConformance, ALockIsHeldByOneAndItsFenceRises) {
  auto& self = *this;
  EXPECT_EQ(self.fence_of(self.claim("a")), 1);
  const auto refused = self.locks().acquire(self.claim("b"));
  ASSERT_TRUE(refused) << refused.error().message;
  EXPECT_FALSE(refused->fence);
  EXPECT_EQ(refused->holder, "host/1/a");
  EXPECT_GT(refused->free_in, 50'000);
  EXPECT_LE(refused->free_in, 60'000);
  // An answer that was lost: asked again, it is the same acquisition, under a fence that nobody has seen.
  EXPECT_EQ(self.fence_of(self.claim("a")), 2);
  EXPECT_EQ(self.fence_of(self.claim("b", 60'000, "scanner")), 1) << "another key";
  LockClaim elsewhere = self.claim("b");
  elsewhere.tenant = "other";
  EXPECT_EQ(self.fence_of(elsewhere), 1) << "another tenant";

  ASSERT_TRUE(self.locks().release(self.held("a", 1)));
  EXPECT_EQ(self.fence_of(self.claim("b")), 0) << "that was the fence of before";
  ASSERT_TRUE(self.locks().release(self.held("a", 2)));
  EXPECT_EQ(self.fence_of(self.claim("b")), 3);
  ASSERT_TRUE(self.locks().release(self.held("a", 2))) << "it is another's: nothing happens";
  EXPECT_EQ(self.fence_of(self.claim("c")), 0);
  self.reopen();
  EXPECT_EQ(self.fence_of(self.claim("c")), 0) << "held over a restart";
  ASSERT_TRUE(self.locks().release(self.held("b", 0))) << "whichever fence it had";
  self.reopen();
  EXPECT_EQ(self.fence_of(self.claim("c")), 4);
}

TYPED_TEST_P(OperatorRowsConformance, ALockIsFreeWhenItsTimeIsUp) {
  auto& self = *this;
  EXPECT_EQ(self.fence_of(self.claim("a", 150)), 1);
  for (int time = 0; time < 4; ++time) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    const auto renewed = self.locks().renew({self.held("a", 1, 150), self.held("a", 7, 150)});
    ASSERT_TRUE(renewed) << renewed.error().message;
    EXPECT_EQ(*renewed, (std::vector<bool>{true, false}));
    EXPECT_EQ(self.fence_of(self.claim("b", 150)), 0) << "it was renewed";
  }
  while (self.fence_of(self.claim("b")) == 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  const auto late = self.locks().renew({self.held("a", 1, 150), self.held("b", 2)});
  ASSERT_TRUE(late);
  EXPECT_EQ(*late, (std::vector<bool>{false, true}));
  // Late, and nobody has taken it.
  EXPECT_EQ(self.fence_of(self.claim("c", 100, "scanner")), 1);
  std::this_thread::sleep_for(std::chrono::milliseconds(150));
  const auto kept = self.locks().renew({{"acme", "scanner", "c", 1, 60'000}});
  EXPECT_EQ(*kept, std::vector<bool>{true});
  EXPECT_EQ(self.fence_of(self.claim("d", 100, "scanner")), 0);
}

TYPED_TEST_P(OperatorRowsConformance, LocksThatAreClosedAnswerSo) {
  auto& self = *this;
  LockRows& rows = self.locks();
  EXPECT_EQ(self.fence_of(self.claim("a")), 1);
  self.store->close();
  EXPECT_EQ(rows.acquire(self.claim("b")).error().code, ErrorCode::closed);
  EXPECT_EQ(rows.renew({self.held("a", 1)}).error().code, ErrorCode::closed);
  EXPECT_EQ(rows.release(self.held("a", 1)).error().code, ErrorCode::closed);
}

TYPED_TEST_P(OperatorRowsConformance, ListsWhatCouldNotBeDelivered) {
  auto& self = *this;
  const ExecutionRef here = self.start("here");
  self.put("here", "Delivered", InboxStatus::completed);
  self.put("gone", "Waits", InboxStatus::pending);
  const InboxId first = self.put("gone", "First", InboxStatus::failed, 0, "key-1");
  self.put("here", "Second", InboxStatus::failed, here);
  self.put("here", "Third", InboxStatus::failed);
  self.put("here", "Foreign", InboxStatus::failed, 0, "", "other");

  EXPECT_EQ(self.names({"acme", "", 0, 100}),
            (std::vector<std::string>{"First", "Second", "Third"}));
  EXPECT_EQ(self.names({"acme", "here", 0, 100}), (std::vector<std::string>{"Second", "Third"}));
  EXPECT_EQ(self.names({"acme", "gone", 0, 100}), std::vector<std::string>{"First"});
  EXPECT_EQ(self.names({"acme", "nobody", 0, 100}), std::vector<std::string>{});
  EXPECT_EQ(self.names({"other", "", 0, 100}), std::vector<std::string>{"Foreign"});

  const auto page = self.letters().list({"acme", "", 0, 1});
  ASSERT_TRUE(page) << page.error().message;
  EXPECT_TRUE(page->more);
  ASSERT_EQ(page->letters.size(), 1U);
  const DeadLetter& letter = page->letters.front();
  EXPECT_EQ(letter.id, std::to_string(first));
  EXPECT_EQ(letter.tenant, "acme");
  EXPECT_EQ(letter.execution_id, "gone");
  EXPECT_EQ(letter.kind, "event");
  EXPECT_EQ(letter.event_id, "event-First");
  EXPECT_EQ(letter.payload, Payload::json("\"First\""));
  EXPECT_EQ(letter.user_id, "ann");
  EXPECT_EQ(letter.idempotency_key, "key-1");
  EXPECT_EQ(letter.attempts, 0);
  EXPECT_EQ(letter.error, "nobody is there");
  EXPECT_EQ(letter.accepted_at, 1'000);
  EXPECT_EQ(self.names({"acme", "", first, 100}), (std::vector<std::string>{"Second", "Third"}));
  const auto second = self.letters().list({"acme", "here", 0, 1});
  EXPECT_EQ(second->letters.front().execution_id, "here") << "of what has the number only";
}

TYPED_TEST_P(OperatorRowsConformance, APageOfLargeDeadLettersIsShorter) {
  auto& self = *this;
  constexpr std::size_t kBytes = 3 * 1024 * 1024;
  for (const char* const name : {"a", "b", "c", "d"}) {
    self.put("gone", name, InboxStatus::failed, 0, "", "acme", kBytes);
  }
  std::size_t count = 0;
  InboxId after = 0;
  for (bool more = true; more;) {
    const auto page = self.letters().list({"acme", "", after, 4});
    ASSERT_TRUE(page) << page.error().message;
    ASSERT_FALSE(page->letters.empty());
    EXPECT_LE(page->letters.size(), 3U);
    count += page->letters.size();
    after = std::stoll(page->letters.back().id);
    more = page->more;
  }
  EXPECT_EQ(count, 4U);
}

TYPED_TEST_P(OperatorRowsConformance, ADeadLetterThatIsRetriedWaitsAgain) {
  auto& self = *this;
  const ExecutionRef here = self.start("here");
  const InboxId mail = self.put("gone", "Mail", InboxStatus::failed, 0, "key-1");
  const InboxId accepted = self.put("here", "Accepted", InboxStatus::failed, here, "key-2");
  for (const InboxId id : {mail, accepted}) {
    const auto retried = self.letters().retry("acme", id);
    ASSERT_TRUE(retried) << retried.error().message;
    EXPECT_EQ(retried->id, std::to_string(id));
    EXPECT_EQ(retried->attempts, 1);
  }
  const auto waiting = self.store->find_inbox(here, "key-2");
  ASSERT_TRUE(waiting);
  EXPECT_FALSE(*waiting) << "it is mail from now on";
  const auto there = self.store->find_execution("acme", "here", {10});
  ASSERT_TRUE(there && *there);
  ASSERT_EQ((*there)->mail.size(), 1U);
  const InboxRecord& row = (*there)->mail.front();
  EXPECT_EQ(row.id, accepted);
  EXPECT_EQ(row.status, InboxStatus::pending);
  EXPECT_EQ(row.attempts, 1);
  EXPECT_EQ(row.payload, Payload::json("\"Accepted\""));
  EXPECT_EQ(row.answer, "");
  EXPECT_EQ(self.names({"acme", "", 0, 100}), std::vector<std::string>{});

  const auto again = self.letters().retry("acme", mail);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::wrong_status);
  EXPECT_NE(again.error().message.find("waits"), std::string::npos) << again.error().message;
}

TYPED_TEST_P(OperatorRowsConformance, ADeadLetterThatIsDroppedIsNoMore) {
  auto& self = *this;
  const ExecutionRef here = self.start("here");
  const InboxId mail = self.put("gone", "Mail", InboxStatus::failed);
  const InboxId accepted = self.put("here", "Accepted", InboxStatus::failed, here, "key-2");
  for (const InboxId id : {mail, accepted}) {
    const auto dropped = self.letters().drop("acme", id);
    ASSERT_TRUE(dropped) << dropped.error().message;
    EXPECT_FALSE(dropped->payload.is_none()) << "as it was";
    EXPECT_FALSE(dropped->execution_id.empty());
  }
  EXPECT_EQ(self.names({"acme", "", 0, 100}), std::vector<std::string>{});
  for (const auto change : {&DeadLetterRows::retry, &DeadLetterRows::drop}) {
    const auto again = (self.letters().*change)("acme", mail);
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().code, ErrorCode::wrong_status);
    EXPECT_NE(again.error().message.find("dropped"), std::string::npos) << again.error().message;
  }
  const auto kept = self.store->find_inbox(here, "key-2");
  ASSERT_TRUE(kept && *kept) << "what comes under its key is answered as before";
  EXPECT_EQ((*kept)->answer, "{}");
  EXPECT_TRUE((*kept)->payload.is_none());
}

TYPED_TEST_P(OperatorRowsConformance, WhatIsNoDeadLetterIsRefused) {
  auto& self = *this;
  const InboxId delivered = self.put("here", "Delivered", InboxStatus::completed);
  const InboxId waits = self.put("here", "Waits", InboxStatus::pending);
  const InboxId foreign = self.put("here", "Foreign", InboxStatus::failed, 0, "", "other");
  const InboxId twice = self.put("here", "Twice", InboxStatus::failed, self.start("here"), "key");
  self.put("here", "Sent again", InboxStatus::pending, 0, "key");
  for (const auto change : {&DeadLetterRows::retry, &DeadLetterRows::drop}) {
    const auto refusal = [&](const InboxId id) { return (self.letters().*change)("acme", id); };
    EXPECT_EQ(refusal(4'711).error().code, ErrorCode::invalid_argument);
    EXPECT_EQ(refusal(foreign).error().code, ErrorCode::invalid_argument);
    EXPECT_EQ(refusal(waits).error().code, ErrorCode::wrong_status);
    EXPECT_EQ(refusal(delivered).error().code, ErrorCode::wrong_status);
    EXPECT_NE(refusal(delivered).error().message.find("delivered"), std::string::npos);
  }
  const auto refused = self.letters().retry("acme", twice);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::wrong_status) << refused.error().message;
  EXPECT_NE(refused.error().message.find("'key'"), std::string::npos) << refused.error().message;
  EXPECT_TRUE(self.letters().drop("acme", twice));
}

REGISTER_TYPED_TEST_SUITE_P(OperatorRowsConformance, ALockIsHeldByOneAndItsFenceRises,
                            ALockIsFreeWhenItsTimeIsUp, LocksThatAreClosedAnswerSo,
                            ListsWhatCouldNotBeDelivered, APageOfLargeDeadLettersIsShorter,
                            ADeadLetterThatIsRetriedWaitsAgain, ADeadLetterThatIsDroppedIsNoMore,
                            WhatIsNoDeadLetterIsRefused);

}  // namespace pawl
