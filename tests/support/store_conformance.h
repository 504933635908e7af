#pragma once

// What every store must do, whatever it stands on. A store's test instantiates it with a maker:
//
//   struct Maker { std::unique_ptr<Store> open(); };   // again: the same data, after the first closed
//   INSTANTIATE_TYPED_TEST_SUITE_P(Memory, StoreConformance, MemoryMaker);

#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/store.h"
#include "tests/support/store_driver.h"

namespace pawl {

template <class Maker>
class StoreConformance : public testing::Test {
 protected:
  void SetUp() override { reopen(); }
  void TearDown() override {
    if (store) {
      store->close();
    }
  }

  void reopen() {
    if (store) {
      store->close();
      store.reset();
    }
    driver = std::make_unique<StoreDriver>();
    store = maker.open();
    ASSERT_TRUE(store);
    store->start(*driver);
    driver->attach(*store);
  }

  // Commits one transition and waits; the error, if it failed.
  std::optional<Error> commit(Transition transition) {
    return driver->commit_and_wait({std::move(transition)});
  }

  ExecutionRef start(std::string id, std::string tenant = "acme", bool in_flight = false) {
    const auto ref = store->next_execution_ref({}, {});
    auto transition = start_transition(ref, std::move(tenant), std::move(id));
    transition.created->in_flight = in_flight;
    const auto error = commit(std::move(transition));
    EXPECT_FALSE(error) << error->message;
    return ref;
  }

  Maker maker;
  std::unique_ptr<StoreDriver> driver;
  std::unique_ptr<Store> store;
};

TYPED_TEST_SUITE_P(StoreConformance);

TYPED_TEST_P(StoreConformance, KeepsEveryFieldOverARestart) {
  auto& self = *this;
  const auto ref = self.store->next_execution_ref({}, {});
  Transition transition = start_transition(ref, "acme", "wf-1");
  auto& record = *transition.created;
  record.workflow = "Invoice";
  record.version = "2.1.0";
  record.condition = Condition::no_action;
  record.condition_detail = "send_mail; nearest: send_email";
  record.state = "draft";
  record.in_flight = true;
  record.user_id = "user-1";
  record.correlation_id = "corr-1";
  record.input_digest = "d1";
  record.created_at = 1'000;
  record.updated_at = 1'001;
  record.last_sequence = 3;
  HistoryEvent full;
  full.sequence = 2;
  full.type = EventType::action_scheduled;
  full.at = 1'234;
  full.cause = 1;
  full.position = 7;
  full.ends_activation = true;
  full.codec = 3;
  full.name = "send \"mail\" \xc3\xa9";
  full.payload = Payload::json(R"({"to":"é","n":[1,2.5,null]})");
  full.attributes = R"({"a":1})";
  HistoryEvent bare;
  bare.sequence = 3;
  bare.type = EventType::event_discarded;
  transition.records.push_back(full);
  transition.records.push_back(bare);
  transition.timers_set = {{ref, 7, TimerKind::retry, 5'000}, {ref, 8, TimerKind::wait, 4'000}};
  ActionResultRecord result;
  result.execution = ref;
  result.position = 7;
  result.tenant = "acme";
  result.action = "send_mail";
  result.user_key = "key-7";
  result.parameters_digest = "pd";
  result.succeeded = false;
  result.attempts = 4;
  result.cause = 1;
  result.error_json = R"({"name":"Error"})";
  result.at = 1'240;
  transition.results.push_back(result);
  InboxRecord event;
  event.id = self.store->next_inbox_id();
  event.execution = ref;
  event.tenant = "acme";
  event.event_id = "evt-1";
  event.event_name = "Submit";
  event.payload = Payload::json("{\"by\":\"me\"}");
  event.user_id = "user-2";
  event.idempotency_key = "ik";
  event.status = InboxStatus::retrying;
  event.attempts = 2;
  event.last_error = "later";
  event.answer = "{\"consumed\":false}";
  event.accepted_at = 1'111;
  transition.inbox_added.push_back(event);
  const auto error = self.commit(transition);
  ASSERT_FALSE(error) << error->message;

  for (int pass = 0; pass < 2; ++pass) {
    const auto by_ref = self.store->load_execution(ref, kWholeHistory);
    ASSERT_TRUE(by_ref && *by_ref);
    const auto& stored = **by_ref;
    expect_same(stored.record, record);
    EXPECT_EQ(stored.history, transition.records);
    ASSERT_EQ(stored.inbox.size(), 1u);
    expect_same(stored.inbox[0], event);

    const auto by_id = self.store->find_execution("acme", "wf-1", kNoHistory);
    ASSERT_TRUE(by_id && *by_id);
    EXPECT_EQ((*by_id)->record.ref, ref);
    EXPECT_TRUE((*by_id)->history.empty());
    EXPECT_TRUE((*by_id)->inbox.empty());

    const auto by_key = self.store->find_action_result("acme", "key-7");
    ASSERT_TRUE(by_key && *by_key);
    expect_same(**by_key, result);
    const auto results = self.store->action_results(ref);
    ASSERT_TRUE(results);
    ASSERT_EQ(results->size(), 1u);
    expect_same((*results)[0], result);
    const auto inbox = self.store->find_inbox(ref, "ik");
    ASSERT_TRUE(inbox && *inbox);
    expect_same(**inbox, event);
    const auto timers = self.store->timers_after({}, 10);
    ASSERT_TRUE(timers);
    ASSERT_EQ(timers->size(), 2u);
    EXPECT_EQ((*timers)[0].position, 8);
    EXPECT_EQ((*timers)[0].kind, TimerKind::wait);
    EXPECT_EQ((*timers)[1].fire_at, 5'000);
    EXPECT_EQ((*timers)[1].kind, TimerKind::retry);
    self.reopen();
  }
}

// rule: 25
TYPED_TEST_P(StoreConformance, TellsUnknownFromForeignInNoWay) {
  auto& self = *this;
  self.start("wf-1", "acme");
  const auto unknown = self.store->find_execution("acme", "wf-2", kWholeHistory);
  const auto foreign = self.store->find_execution("globex", "wf-1", kWholeHistory);
  ASSERT_TRUE(unknown && foreign);
  EXPECT_FALSE(*unknown);
  EXPECT_FALSE(*foreign);
  const auto no_ref = self.store->load_execution(77, kWholeHistory);
  ASSERT_TRUE(no_ref);
  EXPECT_FALSE(*no_ref);
  self.start("wf-1", "globex");  // the same id in another tenant is another execution
  const auto theirs = self.store->find_execution("globex", "wf-1", kNoHistory);
  ASSERT_TRUE(theirs && *theirs);
  EXPECT_EQ((*theirs)->record.tenant, "globex");
}

TYPED_TEST_P(StoreConformance, ChangesOnlyWhatIsGiven) {
  auto& self = *this;
  const auto ref = self.start("wf-1");
  const auto before = self.store->load_execution(ref, kNoHistory);
  ASSERT_TRUE(before && *before);

  Transition transition;
  transition.execution = ref;
  transition.tenant = "acme";
  transition.changed.emplace();
  transition.changed->state = "submitted";
  transition.changed->last_sequence = 4;
  transition.changed->at = 2'000;
  ASSERT_FALSE(self.commit(transition));
  auto expected = (*before)->record;
  expected.state = "submitted";
  expected.last_sequence = 4;
  expected.updated_at = 2'000;
  auto now = self.store->load_execution(ref, kNoHistory);
  expect_same((*now)->record, expected);

  transition.changed = ExecutionChange{};
  transition.changed->status = ExecutionStatus::failed;
  transition.changed->version = "2.0.0";
  transition.changed->condition = Condition::none;
  transition.changed->condition_detail = "";
  transition.changed->in_flight = true;
  transition.changed->result = Payload::json("[1]");
  transition.changed->error_json = "{}";
  transition.changed->last_sequence = 5;
  transition.changed->at = 2'001;
  ASSERT_FALSE(self.commit(transition));
  expected.status = ExecutionStatus::failed;
  expected.version = "2.0.0";
  expected.condition = Condition::none;
  expected.condition_detail = "";
  expected.in_flight = true;
  expected.result = Payload::json("[1]");
  expected.error_json = "{}";
  expected.last_sequence = 5;
  expected.updated_at = 2'001;
  now = self.store->load_execution(ref, kNoHistory);
  expect_same((*now)->record, expected);
}

TYPED_TEST_P(StoreConformance, ReadsHistoriesInPages) {
  auto& self = *this;
  const auto ref = self.start("wf-1");
  const auto other = self.start("wf-2");
  for (std::int64_t sequence = 2; sequence <= 10; ++sequence) {
    ASSERT_FALSE(self.commit(append_transition(ref, "acme", sequence, 1)));
    ASSERT_FALSE(self.commit(append_transition(other, "acme", sequence, 1)));
  }
  const auto page = self.store->read_history(ref, 3, {4});
  ASSERT_TRUE(page);
  ASSERT_EQ(page->size(), 4u);
  EXPECT_EQ(page->front().sequence, 4);
  EXPECT_EQ(page->back().sequence, 7);
  const auto rest = self.store->read_history(ref, 7, {100});
  ASSERT_TRUE(rest);
  EXPECT_EQ(rest->size(), 3u);
  const auto none = self.store->read_history(ref, 10, {100});
  ASSERT_TRUE(none);
  EXPECT_TRUE(none->empty());

  const auto size = size_in_bytes(rest->front());
  ASSERT_GT(size, 0U);
  const auto by_bytes = self.store->read_history(ref, 0, {100, 3 * size});
  ASSERT_TRUE(by_bytes);
  EXPECT_LE(by_bytes->size(), 4U);
  EXPECT_GE(size_in_bytes(*by_bytes), 3 * size) << "with the record that reaches it";
  const auto one = self.store->read_history(ref, 7, {100, 1});
  ASSERT_TRUE(one);
  EXPECT_EQ(one->size(), 1U) << "one at least, so that it goes on";
}

// What a later record makes void is known with the first page.
TYPED_TEST_P(StoreConformance, LoadsTheBeginningOfAHistoryWithItsLaterRetries) {
  auto& self = *this;
  const auto ref = self.start("wf-1");
  for (std::int64_t sequence = 2; sequence <= 10; ++sequence) {
    Transition transition = append_transition(ref, "acme", sequence, 1);
    if (sequence == 3 || sequence == 8) {
      transition.records.front().type = EventType::execution_retried;
      transition.records.front().attributes = "{\"from\":" + std::to_string(sequence - 1) + "}";
    }
    ASSERT_FALSE(self.commit(std::move(transition)));
  }
  for (const int records : {5, 9, 10, 11}) {
    const auto stored = self.store->load_execution(ref, {records});
    ASSERT_TRUE(stored && *stored);
    EXPECT_EQ((*stored)->history.size(), static_cast<std::size_t>(std::min(records, 10)));
    EXPECT_EQ((*stored)->history_end, 10);
    const auto& retries = (*stored)->retries;
    ASSERT_EQ(retries.size(), records < 8 ? 1U : 0U);
    if (retries.empty()) continue;
    EXPECT_EQ(retries.front().sequence, 8);
    EXPECT_EQ(retries.front().type, EventType::execution_retried);
    EXPECT_EQ(retries.front().attributes, "{\"from\":7}");
  }
}

TYPED_TEST_P(StoreConformance, SnapshotsAreFoundFromTheirSequenceOn) {
  auto& self = *this;
  const auto ref = self.start("wf-1");
  const auto other = self.start("wf-2");
  const auto snapshot_at = [](const ExecutionRef execution, const std::int64_t sequence) {
    StateSnapshot snapshot{execution, sequence, "acme", ExecutionStatus::paused, {}, {}, 7'000};
    snapshot.state = "at " + std::to_string(sequence);
    snapshot.data_json = R"({"n":1,"é":"\u0000"})";
    return snapshot;
  };
  for (const std::int64_t sequence : {20, 10})
    self.store->keep_snapshot(snapshot_at(ref, sequence));
  auto again = snapshot_at(ref, 10);
  again.state = "another";
  self.store->keep_snapshot(again);
  self.store->keep_snapshot(snapshot_at(other, 1));
  // What comes after them is reported after them.
  ASSERT_FALSE(self.commit(append_transition(ref, "acme", 2, 1)));
  const auto found = [&](const std::int64_t at) {
    return self.store->find_snapshot(ref, at).value();
  };
  for (const bool reopened : {false, true}) {
    EXPECT_FALSE(found(9)) << reopened;
    EXPECT_EQ(found(10), snapshot_at(ref, 10)) << "the first stays";
    EXPECT_EQ(found(19), snapshot_at(ref, 10));
    EXPECT_EQ(found(20), snapshot_at(ref, 20));
    EXPECT_EQ(found(1'000'000), snapshot_at(ref, 20));
    self.reopen();
  }
  self.store->close();
  self.store->keep_snapshot(snapshot_at(ref, 30));
}

TYPED_TEST_P(StoreConformance, TellsTheEndOfAHistoryWithoutReadingIt) {
  auto& self = *this;
  const auto ref = self.start("wf-1");
  ASSERT_FALSE(self.commit(append_transition(ref, "acme", 2, 5)));
  for (const HistoryBounds history : {kNoHistory, kWholeHistory}) {
    const auto stored = self.store->load_execution(ref, history);
    ASSERT_TRUE(stored && *stored);
    EXPECT_EQ((*stored)->history_end, 6);
    EXPECT_EQ((*stored)->history.size(), history.records > 0 ? 6u : 0u);
  }
}

TYPED_TEST_P(StoreConformance, TimersAreReplacedClearedAndOrdered) {
  auto& self = *this;
  const auto first = self.start("wf-1");
  const auto second = self.start("wf-2");
  Transition transition;
  transition.execution = second;
  transition.tenant = "acme";
  transition.timers_set = {{second, 1, TimerKind::sleep, 500}, {second, 2, TimerKind::sleep, 300}};
  ASSERT_FALSE(self.commit(transition));
  transition = {};
  transition.execution = first;
  transition.tenant = "acme";
  transition.timers_set = {{first, 9, TimerKind::sleep, 500}, {first, 3, TimerKind::sleep, 500}};
  ASSERT_FALSE(self.commit(transition));
  // Cleared before set: the same position can be armed anew in one step.
  transition.timers_cleared = {9};
  transition.timers_set = {{first, 9, TimerKind::retry, 600}};
  ASSERT_FALSE(self.commit(transition));
  transition.timers_cleared = {};
  transition.timers_set = {{first, 3, TimerKind::wait, 500}};
  ASSERT_FALSE(self.commit(transition));

  const auto where = [](const std::vector<TimerRecord>& timers) {
    std::vector<std::pair<ExecutionRef, Position>> places;
    for (const auto& timer : timers) {
      places.emplace_back(timer.execution, timer.position);
    }
    return places;
  };
  using Places = std::vector<std::pair<ExecutionRef, Position>>;
  auto all = self.store->timers_after({}, 100);
  ASSERT_TRUE(all);
  EXPECT_EQ(where(*all), (Places{{second, 2}, {first, 3}, {second, 1}, {first, 9}}));
  EXPECT_EQ((*all)[1].kind, TimerKind::wait);
  auto page = self.store->timers_after({}, 2);
  ASSERT_TRUE(page);
  EXPECT_EQ(where(*page), (Places{{second, 2}, {first, 3}}));
  page = self.store->timers_after(page->back(), 100);
  ASSERT_TRUE(page);
  EXPECT_EQ(where(*page), (Places{{second, 1}, {first, 9}}));

  transition = {};
  transition.execution = second;
  transition.tenant = "acme";
  transition.changed.emplace();
  transition.changed->status = ExecutionStatus::paused;
  ASSERT_FALSE(self.commit(transition));
  all = self.store->timers_after({}, 100);
  EXPECT_EQ(where(*all), (Places{{first, 3}, {first, 9}})) << "the second one is paused";

  transition = {};
  transition.execution = first;
  transition.tenant = "acme";
  transition.timers_cleared = {3, 4};  // 4 was never there
  ASSERT_FALSE(self.commit(transition));
  all = self.store->timers_after({}, 100);
  EXPECT_EQ(where(*all), (Places{{first, 9}}));
}

TYPED_TEST_P(StoreConformance, InboxRowsAreOpenUntilCompleted) {
  auto& self = *this;
  const auto ref = self.start("wf-1");
  std::vector<InboxId> ids;
  for (int number = 0; number < 4; ++number) {
    InboxRecord event;
    event.id = self.store->next_inbox_id();
    event.execution = ref;
    event.tenant = "acme";
    event.event_id = "evt-" + std::to_string(number);
    event.event_name = "Submit";
    event.payload = Payload::json("1");
    event.idempotency_key = number == 0 ? "" : "key-" + std::to_string(number);
    ids.push_back(event.id);
    Transition transition;
    transition.execution = ref;
    transition.tenant = "acme";
    transition.inbox_added.push_back(event);
    if (number == 2) {  // accepted and done in one step
      transition.inbox_completed.push_back({event.id, InboxStatus::completed, "", "{\"a\":2}"});
    }
    ASSERT_FALSE(self.commit(transition));
  }
  EXPECT_LT(ids[0], ids[1]);
  EXPECT_LT(ids[1], ids[2]);
  auto stored = self.store->load_execution(ref, kWholeHistory);
  ASSERT_TRUE(stored && *stored);
  ASSERT_EQ((*stored)->inbox.size(), 3u);
  EXPECT_EQ((*stored)->inbox[0].event_id, "evt-0");
  EXPECT_EQ((*stored)->inbox[1].event_id, "evt-1");
  EXPECT_EQ((*stored)->inbox[2].event_id, "evt-3");

  Transition transition;
  transition.execution = ref;
  transition.tenant = "acme";
  transition.inbox_completed = {{ids[0], InboxStatus::failed, "no", ""},
                                {ids[1], InboxStatus::completed, "", "{\"a\":1}"},
                                {ids[3], InboxStatus::failed, "nobody took it", ""}};
  ASSERT_FALSE(self.commit(transition));
  stored = self.store->load_execution(ref, kWholeHistory);
  EXPECT_TRUE((*stored)->inbox.empty());
  auto row = self.store->find_inbox(ref, "key-1");
  ASSERT_TRUE(row && *row);
  EXPECT_EQ((*row)->status, InboxStatus::completed);
  EXPECT_EQ((*row)->answer, "{\"a\":1}");
  EXPECT_TRUE((*row)->payload.is_none()) << "the history has it";
  row = self.store->find_inbox(ref, "key-3");
  ASSERT_TRUE(row && *row);
  EXPECT_EQ((*row)->last_error, "nobody took it");
  EXPECT_EQ((*row)->payload, Payload::json("1")) << "nobody else has it";
  row = self.store->find_inbox(ref, "key-2");
  ASSERT_TRUE(row && *row);
  EXPECT_EQ((*row)->answer, "{\"a\":2}");
  row = self.store->find_inbox(ref, "");
  ASSERT_TRUE(row);
  EXPECT_FALSE(*row) << "no key is no key to find";

  self.reopen();
  EXPECT_GT(self.store->next_inbox_id(), ids[2]) << "numbers are not used twice";
  EXPECT_GT(self.store->next_execution_ref({}, {}), ref);
}

TYPED_TEST_P(StoreConformance, MailIsFoundUntilItIsTakenAndBelongsToWhoTookIt) {
  auto& self = *this;
  const auto ref = self.start("wf-1");
  std::vector<InboxRecord> sent;
  Transition sender;
  sender.execution = ref;
  sender.tenant = "acme";
  for (const InboxKind kind : {InboxKind::start, InboxKind::event, InboxKind::child_ended}) {
    InboxRecord mail;
    mail.id = self.store->next_inbox_id();
    mail.kind = kind;
    mail.execution_id = kind == InboxKind::event ? "wf-1" : "other";
    mail.tenant = "acme";
    mail.event_id = "evt";
    mail.event_name = "Submit";
    mail.payload = Payload::json("[1]");
    mail.attributes = "{\"position\":3}";
    mail.idempotency_key = kind == InboxKind::event ? "key" : "";
    mail.accepted_at = 5;
    sender.inbox_added.push_back(mail);
    sent.push_back(mail);
  }
  ASSERT_FALSE(self.commit(sender));
  self.reopen();

  auto stored = self.store->load_execution(ref, kWholeHistory);
  ASSERT_TRUE(stored && *stored);
  EXPECT_TRUE((*stored)->inbox.empty()) << "it belongs to nobody yet";
  ASSERT_EQ((*stored)->mail.size(), 1u) << "that is addressed to it";
  expect_same((*stored)->mail.front(), sent[1]);
  EXPECT_TRUE((*self.store->load_execution(ref, kNoHistory))->mail.empty());
  EXPECT_FALSE(*self.store->find_inbox(0, "key"));
  auto found = self.store->mail_after(0, 100);
  ASSERT_TRUE(found);
  ASSERT_EQ(found->size(), 3u);
  for (std::size_t index = 0; index < sent.size(); ++index) {
    expect_same((*found)[index], sent[index]);
    EXPECT_EQ((*found)[index].kind, sent[index].kind);
    EXPECT_EQ((*found)[index].execution_id, sent[index].execution_id);
    EXPECT_EQ((*found)[index].attributes, sent[index].attributes);
  }
  EXPECT_EQ(self.store->mail_after(sent[0].id, 1)->front().id, sent[1].id);

  InboxRecord again = sent[1];
  again.id = self.store->next_inbox_id();
  Transition twice;
  twice.inbox_added.push_back(again);
  EXPECT_TRUE(self.commit(twice)) << "the same key for the same execution";

  Transition taken;
  taken.execution = ref;
  taken.tenant = "acme";
  taken.inbox_completed.push_back({sent[1].id, InboxStatus::completed, "", "{}"});
  ASSERT_FALSE(self.commit(taken));
  const auto row = self.store->find_inbox(ref, "key");
  ASSERT_TRUE(row && *row);
  EXPECT_EQ((*row)->id, sent[1].id);
  stored = self.store->load_execution(ref, kWholeHistory);
  ASSERT_TRUE(stored && *stored);
  EXPECT_TRUE((*stored)->mail.empty()) << "it is taken";
  Transition refused;
  refused.inbox_completed.push_back({sent[0].id, InboxStatus::failed, "nobody", ""});
  ASSERT_FALSE(self.commit(refused));
  found = self.store->mail_after(0, 100);
  ASSERT_EQ(found->size(), 1u);
  EXPECT_EQ(found->front().id, sent[2].id);
}

TYPED_TEST_P(StoreConformance, ShowsGraphsAndTheirSyncPoints) {
  auto& self = *this;
  const auto ref = self.start("wf-1");
  const auto other = self.start("wf-2");
  GraphActionRecord pack;
  pack.graph = 3;
  pack.position = 4;
  pack.action_id = "pack";
  pack.action = "PackGoods";
  pack.depends_on = {"stock", "say \"when\""};
  pack.group = "goods";
  pack.sync_point = "ready";
  pack.error_strategy = "compensate";
  GraphActionRecord unpack;
  unpack.graph = 3;
  unpack.position = 5;
  unpack.action_id = "pack";
  unpack.action = "UnpackGoods";
  unpack.compensation = true;
  unpack.error_strategy = "compensate";
  const SyncPointRecord ready{3, "ready", {"pack"}, 0};
  Transition begun;
  begun.execution = ref;
  begun.tenant = "acme";
  begun.graph_actions_added = {pack, unpack};
  begun.sync_points_set = {ready};
  ASSERT_FALSE(self.commit(begun));
  self.reopen();
  EXPECT_EQ(*self.store->graph_actions(ref), (std::vector<GraphActionRecord>{pack, unpack}));
  EXPECT_EQ(*self.store->sync_points(ref), std::vector<SyncPointRecord>{ready});
  EXPECT_TRUE(self.store->graph_actions(other)->empty());

  Transition over;
  over.execution = ref;
  over.tenant = "acme";
  over.graph_actions_changed = {{3, 5, true}};
  over.sync_points_set = {{3, "ready", {"pack"}, 77}};
  ASSERT_FALSE(self.commit(over));
  unpack.skipped = true;
  EXPECT_EQ(*self.store->graph_actions(ref), (std::vector<GraphActionRecord>{pack, unpack}));
  EXPECT_EQ(self.store->sync_points(ref)->at(0).reached_at, 77);
}

TYPED_TEST_P(StoreConformance, ResumesWhatIsInFlightStuckOrHasMail) {
  auto& self = *this;
  const auto parked = self.start("parked");
  const auto busy = self.start("busy", "acme", true);
  const auto stuck = self.start("stuck");
  const auto mailed = self.start("mailed", "globex");
  const auto paused = self.start("paused", "acme", true);
  const auto done = self.start("done", "acme", true);
  const auto set = [&](ExecutionRef ref, ExecutionStatus status) {
    Transition transition;
    transition.execution = ref;
    transition.tenant = "acme";
    transition.changed.emplace();
    transition.changed->status = status;
    ASSERT_FALSE(self.commit(transition));
  };
  set(stuck, ExecutionStatus::stuck);
  set(paused, ExecutionStatus::paused);
  set(done, ExecutionStatus::completed);
  Transition mail;
  mail.execution = mailed;
  mail.tenant = "globex";
  InboxRecord event;
  event.id = self.store->next_inbox_id();
  event.execution = mailed;
  event.tenant = "globex";
  event.event_id = "e";
  event.event_name = "Go";
  mail.inbox_added.push_back(event);
  ASSERT_FALSE(self.commit(mail));

  using Refs = std::vector<ExecutionRef>;
  const auto all = self.store->executions_to_resume(0, 100);
  ASSERT_TRUE(all);
  EXPECT_EQ(*all, (Refs{busy, stuck, mailed})) << "not the parked one, " << parked;
  const auto first = self.store->executions_to_resume(0, 2);
  ASSERT_TRUE(first);
  EXPECT_EQ(*first, (Refs{busy, stuck}));
  const auto second = self.store->executions_to_resume(stuck, 2);
  ASSERT_TRUE(second);
  EXPECT_EQ(*second, (Refs{mailed}));
}

// rule: 25
TYPED_TEST_P(StoreConformance, ListsByTenantNewestFirst) {
  auto& self = *this;
  std::vector<ExecutionRef> mine;
  for (int number = 0; number < 5; ++number) {
    mine.push_back(self.start("a-" + std::to_string(number), "acme"));
    self.start("g-" + std::to_string(number), "globex");
  }
  Transition fail;
  fail.execution = mine[1];
  fail.tenant = "acme";
  fail.changed.emplace();
  fail.changed->status = ExecutionStatus::failed;
  ASSERT_FALSE(self.commit(fail));

  const auto refs = [](const Result<std::vector<ExecutionRecord>>& records) {
    std::vector<ExecutionRef> list;
    EXPECT_TRUE(records);
    for (const auto& record : *records) {
      list.push_back(record.ref);
    }
    return list;
  };
  ExecutionQuery query;
  query.tenant = "acme";
  using Refs = std::vector<ExecutionRef>;
  EXPECT_EQ(refs(self.store->list_executions(query)), (Refs(mine.rbegin(), mine.rend())));
  query.limit = 2;
  EXPECT_EQ(refs(self.store->list_executions(query)), (Refs{mine[4], mine[3]}));
  query.before = mine[3];
  EXPECT_EQ(refs(self.store->list_executions(query)), (Refs{mine[2], mine[1]}));
  query = {};
  query.tenant = "acme";
  query.status = ExecutionStatus::failed;
  EXPECT_EQ(refs(self.store->list_executions(query)), (Refs{mine[1]}));
  query.status = ExecutionStatus::running;
  EXPECT_EQ(refs(self.store->list_executions(query)).size(), 4u);
  query.workflow = "Nothing";
  EXPECT_TRUE(refs(self.store->list_executions(query)).empty());
  query = {};
  query.tenant = "nobody";
  EXPECT_TRUE(refs(self.store->list_executions(query)).empty());
}

// rules: 14, 25
TYPED_TEST_P(StoreConformance, ResultsOutsideOfExecutionsAreFoundByKeyAndTenant) {
  auto& self = *this;
  ActionResultRecord result;
  result.tenant = "acme";
  result.execution_id = "wf-123";
  result.action = "send";
  result.user_key = "send-789";
  result.parameters_digest = "x";
  result.result = Payload::json("{\"sent\":true}");
  Transition transition;
  transition.tenant = "acme";
  transition.results.push_back(result);
  ASSERT_FALSE(self.commit(transition));
  transition.results[0].user_key = "send-790";  // a second one outside of any execution
  ASSERT_FALSE(self.commit(transition));

  const auto found = self.store->find_action_result("acme", "send-789");
  ASSERT_TRUE(found && *found);
  expect_same(**found, result);
  const auto foreign = self.store->find_action_result("globex", "send-789");
  ASSERT_TRUE(foreign);
  EXPECT_FALSE(*foreign);
  const auto none = self.store->action_results(0);
  ASSERT_TRUE(none);
  EXPECT_TRUE(none->empty());

  // Of two results under one key, the first committed stays.
  transition.results[0].user_key = "send-789";
  transition.results[0].result = Payload::json("{\"sent\":false}");
  const auto error = self.commit(transition);
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code, ErrorCode::internal);
  const auto still = self.store->find_action_result("acme", "send-789");
  ASSERT_TRUE(still && *still);
  EXPECT_EQ((*still)->result.bytes, "{\"sent\":true}");
}

TYPED_TEST_P(StoreConformance, ReportsEachStreamInOrder) {
  auto& self = *this;
  std::vector<CommitRequest> requests;
  std::vector<ExecutionRef> refs;
  for (std::uint64_t id = 1; id <= 50; ++id) {
    for (std::uint32_t stream = 0; stream < 3; ++stream) {
      const auto ref = self.store->next_execution_ref({}, {});
      refs.push_back(ref);
      requests.push_back({stream, 0, id, start_transition(ref, "acme", std::to_string(ref))});
    }
  }
  self.driver->commit(requests);
  for (std::uint32_t stream = 0; stream < 3; ++stream) {
    self.driver->wait_for(stream, 50);
    std::uint64_t last = 0;
    for (const auto& outcome : self.driver->outcomes(stream)) {
      EXPECT_FALSE(outcome.error);
      EXPECT_GT(outcome.up_to, last);
      last = outcome.up_to;
    }
    EXPECT_EQ(last, 50u);
  }
  EXPECT_EQ(self.store->queued_commits(), 0u);
  for (const auto ref : refs) {
    const auto stored = self.store->load_execution(ref, kWholeHistory);
    ASSERT_TRUE(stored && *stored);
    EXPECT_EQ((*stored)->history.size(), 1u);
  }
}

TYPED_TEST_P(StoreConformance, AClashFailsItsOwnStreamOnlyAndThatUntilTheNextGeneration) {
  auto& self = *this;
  const auto ref = self.start("wf-1");
  const auto others = self.store->next_execution_ref({}, {});
  std::vector<CommitRequest> requests;
  const std::uint64_t base = 10;
  auto changed = append_transition(ref, "acme", 2, 1);
  changed.timers_set = {{ref, 5, TimerKind::sleep, 1}};
  requests.push_back({1, 0, base + 1, changed});
  requests.push_back({2, 0, base + 1, start_transition(others, "acme", "wf-2")});
  auto clash = append_transition(ref, "acme", 2, 2);  // sequence 2 is there
  clash.timers_cleared = {5};  // rows of it that would fit are not kept either
  clash.timers_set = {{ref, 6, TimerKind::sleep, 1}};
  requests.push_back({1, 0, base + 2, clash});
  requests.push_back({1, 0, base + 3, append_transition(ref, "acme", 3, 1)});
  requests.push_back({2, 0, base + 2, append_transition(others, "acme", 2, 1)});
  self.driver->commit(requests);
  self.driver->wait_for(1, base + 3);
  self.driver->wait_for(2, base + 2);

  EXPECT_FALSE(self.driver->error_of(1, base + 1));
  const auto error = self.driver->error_of(1, base + 2);
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code, ErrorCode::internal) << error->message;
  EXPECT_TRUE(self.driver->error_of(1, base + 3)) << "it builds upon what was refused";
  EXPECT_FALSE(self.driver->error_of(2, base + 1));
  EXPECT_FALSE(self.driver->error_of(2, base + 2));

  // What was on its way under the old generation is refused, the next one goes on.
  self.driver->commit({{1, 0, base + 4, append_transition(ref, "acme", 3, 1)}});
  self.driver->wait_for(1, base + 4);
  EXPECT_TRUE(self.driver->error_of(1, base + 4));
  self.driver->commit({{1, 1, base + 5, append_transition(ref, "acme", 3, 2)}});
  self.driver->wait_for(1, base + 5);
  EXPECT_FALSE(self.driver->error_of(1, base + 5));

  const auto stored = self.store->load_execution(ref, kWholeHistory);
  ASSERT_TRUE(stored && *stored);
  EXPECT_EQ((*stored)->history.size(), 4u);
  const auto timers = self.store->timers_after({}, 10);
  ASSERT_TRUE(timers);
  ASSERT_EQ(timers->size(), 1u);
  EXPECT_EQ((*timers)[0].position, 5);
}

TYPED_TEST_P(StoreConformance, RefusesWhatCannotBeRight) {
  auto& self = *this;
  const auto ref = self.start("wf-1");
  ActionResultRecord result;
  result.execution = ref;
  result.position = 1;
  result.tenant = "acme";
  result.action = "a";
  Transition with_result;
  with_result.execution = ref;
  with_result.tenant = "acme";
  with_result.results.push_back(result);
  ASSERT_FALSE(self.commit(with_result));

  std::vector<std::pair<std::string, Transition>> wrong;
  wrong.emplace_back("a second result at a position", with_result);
  wrong.emplace_back("the same execution id",
                     start_transition(self.store->next_execution_ref({}, {}), "acme", "wf-1"));
  wrong.emplace_back("the same reference", start_transition(ref, "acme", "wf-3"));
  Transition change;
  change.execution = ref + 1'000;
  change.tenant = "acme";
  change.changed.emplace();
  change.changed->state = "x";
  wrong.emplace_back("a change of no execution", change);
  Transition gap = append_transition(ref, "acme", 2, 2);
  gap.records[1].sequence = 4;
  wrong.emplace_back("a gap", gap);
  wrong.emplace_back("a gap before the first", append_transition(ref, "acme", 3, 1));
  // What was undone with the rest of its transition is not there to be followed.
  Transition undone = append_transition(ref, "acme", 2, 1);
  undone.inbox_completed.push_back({999, InboxStatus::completed, "", ""});
  wrong.emplace_back("a record along with a row that does not fit", undone);
  wrong.emplace_back("a gap where that record was", append_transition(ref, "acme", 3, 1));
  Transition both = start_transition(self.store->next_execution_ref({}, {}), "acme", "wf-4");
  both.changed.emplace();
  wrong.emplace_back("created and changed", both);
  Transition completion;
  completion.execution = ref;
  completion.tenant = "acme";
  completion.inbox_completed.push_back({999, InboxStatus::completed, "", ""});
  wrong.emplace_back("no such inbox row", completion);
  Transition foreign_timer;
  foreign_timer.execution = ref;
  foreign_timer.tenant = "acme";
  foreign_timer.timers_set = {{ref + 1, 1, TimerKind::sleep, 1}};
  wrong.emplace_back("a timer of another execution", foreign_timer);
  for (auto& [what, transition] : wrong) {
    const auto error = self.commit(transition);
    ASSERT_TRUE(error) << what;
    EXPECT_EQ(error->code, ErrorCode::internal) << what << ": " << error->message;
    EXPECT_FALSE(error->message.empty()) << what;
  }
  const auto stored = self.store->load_execution(ref, kWholeHistory);
  ASSERT_TRUE(stored && *stored);
  EXPECT_EQ((*stored)->history.size(), 1u);
}

TYPED_TEST_P(StoreConformance, CloseFinishesWhatIsQueuedAndRefusesTheRest) {
  auto& self = *this;
  std::vector<CommitRequest> requests;
  for (std::uint64_t id = 1; id <= 100; ++id) {
    const auto ref = self.store->next_execution_ref({}, {});
    requests.push_back({7, 0, id, start_transition(ref, "acme", std::to_string(ref))});
  }
  self.driver->commit(requests);
  self.store->close();
  EXPECT_FALSE(self.driver->error_of(7, 100));
  self.driver->commit({{7, 0, 101, start_transition(1'000, "acme", "late")}});
  self.driver->wait_for(7, 101);
  const auto error = self.driver->error_of(7, 101);
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code, ErrorCode::closed);
  self.store->close();  // again is fine

  self.reopen();
  ExecutionQuery query;
  query.tenant = "acme";
  query.limit = 1'000;
  const auto list = self.store->list_executions(query);
  ASSERT_TRUE(list);
  EXPECT_EQ(list->size(), 100u);
}

TYPED_TEST_P(StoreConformance, ReadsWhileItWrites) {
  auto& self = *this;
  const auto ref = self.start("wf-1");
  std::atomic<bool> done{false};
  std::vector<std::thread> readers;
  std::atomic<int> torn{0};
  for (int number = 0; number < 3; ++number) {
    readers.emplace_back([&] {
      while (!done) {
        const auto stored = self.store->load_execution(ref, kWholeHistory);
        if (!stored || !*stored) {
          ++torn;
          continue;
        }
        // Each commit writes two records and the row: a read is of one moment.
        const auto& history = (*stored)->history;
        const bool same =
            (*stored)->record.last_sequence == static_cast<std::int64_t>(history.size());
        if (!same || history.size() % 2 != 1) {
          ++torn;
        }
      }
    });
  }
  for (std::int64_t sequence = 2; sequence < 200; sequence += 2) {
    auto transition = append_transition(ref, "acme", sequence, 2);
    transition.changed.emplace();
    transition.changed->last_sequence = sequence + 1;
    const auto error = self.commit(std::move(transition));
    EXPECT_FALSE(error) << error->message;
  }
  done = true;
  for (auto& reader : readers) {
    reader.join();
  }
  EXPECT_EQ(torn, 0);
}

// Commits that come in one call may be one transaction: each builds upon those before it.
TYPED_TEST_P(StoreConformance, WhatComesTogetherAddsUp) {
  auto& self = *this;
  const auto ref = self.store->next_execution_ref("acme", "wf-1");
  Transition created = start_transition(ref, "acme", "wf-1");
  created.timers_set = {{ref, 1, TimerKind::sleep, 100}, {ref, 2, TimerKind::wait, 200}};
  InboxRecord event;
  event.id = self.store->next_inbox_id();
  event.execution = ref;
  event.tenant = "acme";
  event.event_id = "evt-1";
  event.event_name = "Go";
  event.payload = Payload::json("1");
  event.idempotency_key = "ik";
  created.inbox_added.push_back(event);
  InboxRecord mail = event;
  mail.id = self.store->next_inbox_id();
  mail.execution = 0;
  mail.execution_id = "wf-2";
  mail.idempotency_key.clear();
  created.inbox_added.push_back(mail);

  Transition second = append_transition(ref, "acme", 2, 2);
  second.changed = ExecutionChange{};
  second.changed->state = "second";
  second.changed->condition = Condition::no_action;
  second.changed->condition_detail = "send_mail";
  second.changed->in_flight = true;
  second.changed->last_sequence = 3;
  second.changed->at = 20;
  second.timers_cleared = {1};
  second.timers_set = {{ref, 2, TimerKind::wait, 300}, {ref, 3, TimerKind::retry, 400}};
  second.inbox_completed = {{event.id, InboxStatus::completed, "", "{\"answer\":1}"}};

  Transition third = append_transition(ref, "acme", 4, 1);
  third.changed = ExecutionChange{};
  third.changed->status = ExecutionStatus::completed;
  third.changed->condition = Condition::none;
  third.changed->condition_detail = std::string{};
  third.changed->in_flight = false;
  third.changed->result = Payload::json("{\"sum\":3}");
  third.changed->last_sequence = 4;
  third.changed->at = 30;
  third.timers_cleared = {3};

  const auto error = self.driver->commit_and_wait({created, second, third});
  ASSERT_FALSE(error) << error->message;
  const auto found = self.store->load_execution(ref, kWholeHistory);
  ASSERT_TRUE(found && *found);
  const StoredExecution& stored = **found;
  EXPECT_EQ(stored.record.status, ExecutionStatus::completed);
  EXPECT_EQ(stored.record.state, "second");
  EXPECT_EQ(stored.record.condition, Condition::none);
  EXPECT_EQ(stored.record.condition_detail, "");
  EXPECT_FALSE(stored.record.in_flight);
  EXPECT_EQ(stored.record.result, Payload::json("{\"sum\":3}"));
  EXPECT_EQ(stored.record.last_sequence, 4);
  EXPECT_EQ(stored.record.updated_at, 30);
  EXPECT_EQ(stored.history.size(), 4U);
  EXPECT_TRUE(stored.inbox.empty());
  const auto answered = self.store->find_inbox(ref, "ik");
  ASSERT_TRUE(answered && *answered);
  EXPECT_EQ((*answered)->answer, "{\"answer\":1}");
  EXPECT_TRUE((*answered)->payload.is_none());
  const auto timers = self.store->timers_after({}, 10);
  ASSERT_TRUE(timers);
  EXPECT_EQ(*timers, (std::vector<TimerRecord>{{ref, 2, TimerKind::wait, 300}}));
  const auto open = self.store->mail_after(0, 10);
  ASSERT_TRUE(open);
  ASSERT_EQ(open->size(), 1U);
  EXPECT_EQ(open->front().id, mail.id);
  // Once more, of a row that was there before.
  Transition fourth;
  fourth.execution = ref;
  fourth.tenant = "acme";
  fourth.changed = ExecutionChange{};
  fourth.changed->state = "fourth";
  fourth.changed->last_sequence = 4;
  fourth.changed->at = 40;
  Transition fifth = fourth;
  fifth.changed->state.reset();
  fifth.changed->condition = Condition::waiting;
  fifth.changed->at = 50;
  ASSERT_FALSE(self.driver->commit_and_wait({fourth, fifth}));
  const auto again = self.store->load_execution(ref, kNoHistory);
  ASSERT_TRUE(again && *again);
  EXPECT_EQ((*again)->record.state, "fourth");
  EXPECT_EQ((*again)->record.condition, Condition::waiting);
  EXPECT_EQ((*again)->record.updated_at, 50);
}

REGISTER_TYPED_TEST_SUITE_P(
    StoreConformance, KeepsEveryFieldOverARestart, WhatComesTogetherAddsUp,
    TellsUnknownFromForeignInNoWay, ChangesOnlyWhatIsGiven, ReadsHistoriesInPages,
    LoadsTheBeginningOfAHistoryWithItsLaterRetries, SnapshotsAreFoundFromTheirSequenceOn,
    TellsTheEndOfAHistoryWithoutReadingIt, TimersAreReplacedClearedAndOrdered,
    InboxRowsAreOpenUntilCompleted, MailIsFoundUntilItIsTakenAndBelongsToWhoTookIt,
    ShowsGraphsAndTheirSyncPoints, ResumesWhatIsInFlightStuckOrHasMail, ListsByTenantNewestFirst,
    ResultsOutsideOfExecutionsAreFoundByKeyAndTenant, ReportsEachStreamInOrder,
    AClashFailsItsOwnStreamOnlyAndThatUntilTheNextGeneration, RefusesWhatCannotBeRight,
    CloseFinishesWhatIsQueuedAndRefusesTheRest, ReadsWhileItWrites);

}  // namespace pawl
