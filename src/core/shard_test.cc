// The shard by itself: the test plays the store, the host and the actions, and so decides in which
// order their answers come.

#include "core/shard.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "model/failure_codec.h"
#include "store/memory_store.h"
#include "tests/support/script_host.h"

namespace pawl {
namespace {

using testing::Script;
using testing::ScriptFunction;
using testing::ScriptHost;

constexpr const char* kTenant = "acme";
constexpr const char* kWorkflow = "Story";

// A shard, and what it has asked for and was not answered yet.
class Surroundings {
 public:
  explicit Surroundings(ScriptFunction code, Limits limits = {})
      : code_(std::move(code)), limits_(limits) {
    host_.define(kWorkflow, [this](Script& script) { return code_(script); });
    restart();
    register_workflow();
  }

  // ---- what happens

  void give(Input input) {
    Outputs out;
    shard_->handle(std::move(input), now, out);
    for (const Evict& evict : out.evictions) host_.evict(evict.execution);
    append(asked, out);
  }
  void register_workflow() { give(WorkflowRegistered{kWorkflow, "1.0.0", 0}); }
  void register_action(const std::string& name) { give(ActionRegistered{name, {}, 0}); }
  void register_action(const std::string& name, const HostId host, const std::size_t capacity) {
    give(ActionRegistered{name, {}, host, capacity});
  }
  // From here on the workflow's code is another one.
  void change_code(ScriptFunction code) { code_ = std::move(code); }

  RequestId start(const std::string& id) {
    StartRequested input;
    input.request = ++last_request_;
    input.start.workflow = kWorkflow;
    input.start.tenant = kTenant;
    input.start.execution_id = id;
    input.generated = true;  // so that the store is not asked whether it is there
    give(std::move(input));
    return last_request_;
  }
  RequestId submit(const std::string& id, const std::string& name, const std::string& key = "",
                   const std::optional<DurationMs> wait_max = std::nullopt) {
    EventSubmitted input;
    if (wait_max) input.deadline = now + *wait_max;
    input.request = ++last_request_;
    input.event = EventRequest{kTenant, id, name, Payload::json("{}"), "", key};
    input.event_id = "event-" + std::to_string(last_request_);
    input.accepted_at = now;
    give(std::move(input));
    return last_request_;
  }
  RequestId await_end(const std::string& id, std::optional<DurationMs> wait_max = std::nullopt) {
    CompletionAwaited input{++last_request_, kTenant, id, std::nullopt};
    if (wait_max) input.deadline = now + *wait_max;
    give(std::move(input));
    return last_request_;
  }
  void fail(const ActionTask& task, Failure failure) {
    give(ActionOutcome{task.id, task.execution, task.position, std::move(failure)});
  }
  // As a newer build, or a fault, would leave it in the store.
  void make_unreadable(const std::string& id) {
    data_->executions.at(data_->by_id.at({kTenant, id})).history.back().attributes =
        "{\"names\":7}";
  }
  void finish(const ActionTask& task, const std::string& result) {
    give(ActionOutcome{task.id, task.execution, task.position, Payload::json(result)});
  }
  // To the moment at which the shard wants to be woken.
  void advance_to_tick() {
    now = std::max(now, shard_->next_tick().value());
    give(Tick{});
  }
  // The process is gone; another one opens the store. Nothing is registered there.
  void restart(const bool shared = false) {
    store_ = std::make_unique<MemoryStore>(MemoryStore::Mode::manual, data_);
    store_->start(sink_);
    shard_ = std::make_unique<Shard>(
        ShardOptions{1, limits_, shared},
        [this](std::string_view, std::string_view) {
          const ExecutionRef given = std::exchange(next_number, 0);
          return given != 0 ? given : store_->next_execution_ref({}, {});
        },
        [this] { return store_->next_inbox_id(); });
    asked.clear();
  }

  // That of the next execution, where it is not the store's choice.
  ExecutionRef next_number = 0;
  ExecutionRef ref_of(const std::string& id) const { return data_->by_id.at({kTenant, id}); }

  // Another process, that shares the store with others: it owns nothing before it is given it.
  void restart_among_others() {
    restart(true);
    register_workflow();
    asked.loads.clear();
  }
  void take(const std::int64_t epoch) { give(PartitionTaken{{0, epoch}}); }
  void lose(const std::int64_t epoch) { give(PartitionLost{{0, epoch}}); }
  void want(const std::int64_t epoch, const DurationMs within) {
    give(PartitionWanted{{0, epoch}, now + within});
  }
  // As another process puts it into the inbox, and waits for it.
  InboxId put_mail(const std::string& id, const std::string& name, const int owners_lost = 0) {
    InboxRecord row;
    row.owners_lost = owners_lost;
    row.id = store_->next_inbox_id();
    row.tenant = kTenant;
    row.execution_id = id;
    row.event_id = "mail-" + std::to_string(row.id);
    row.event_name = name;
    row.payload = Payload::json("{}");
    row.reply_to = "another";
    row.accepted_at = now;
    data_->inbox[row.id] = row;
    return row.id;
  }
  const InboxRecord& row(const InboxId id) const { return data_->inbox.at(id); }

  // ---- answering what was asked; each says whether there was something

  bool run_code() {
    const std::vector<Activate> wanted = std::exchange(asked.activations, {});
    std::vector<Activation> activations;
    for (const Activate& activate : wanted) activations.push_back(activate.activation);
    if (activations.empty()) return false;
    auto results = std::make_shared<Results>();
    host_.activate(std::move(activations), results);
    for (ActivationResult& result : results->collected) give(std::move(result));
    return true;
  }
  bool commit() {
    if (asked.commits.empty()) return false;
    store_->commit(std::exchange(asked.commits, {}));
    while (store_->step() > 0) {
    }
    for (CommitOutcome& outcome : std::exchange(sink_.collected, {})) give(std::move(outcome));
    return true;
  }
  void fail_commit() {
    store_->fail_next(Error{ErrorCode::store_unavailable, "the disk is full, says the test", {}});
    ASSERT_TRUE(commit());
  }
  // Takes a load away from what was asked, with what the store says now: to be given later.
  ExecutionLoaded take_load(const std::size_t index = 0) {
    const LoadExecution wanted = asked.loads.at(index);
    asked.loads.erase(asked.loads.begin() + static_cast<std::ptrdiff_t>(index));
    ExecutionLoaded loaded{wanted, std::nullopt};
    loaded.found = wanted.ref != 0
                       ? store_->load_execution(wanted.ref, wanted.page)
                       : store_->find_execution(wanted.tenant, wanted.execution_id, wanted.page);
    return loaded;
  }
  // The same with a page of a history.
  PageLoaded take_page() {
    const LoadPage wanted = asked.page_loads.at(0);
    asked.page_loads.erase(asked.page_loads.begin());
    return PageLoaded{wanted, store_->read_history(wanted.ref, wanted.after, wanted.page)};
  }
  bool load_page() {
    if (asked.page_loads.empty()) return false;
    give(take_page());
    return true;
  }
  bool load() {
    if (asked.loads.empty()) return false;
    give(take_load());
    return true;
  }
  // The same with the lookup of an idempotency key.
  InboxFound take_lookup() {
    const FindInbox wanted = asked.inbox_lookups.at(0);
    asked.inbox_lookups.erase(asked.inbox_lookups.begin());
    return InboxFound{wanted.execution, wanted.idempotency_key,
                      store_->find_inbox(wanted.execution, wanted.idempotency_key)};
  }
  bool look_up() {
    if (asked.inbox_lookups.empty()) return false;
    give(take_lookup());
    return true;
  }
  bool load_mail() {
    if (asked.mail_loads.empty()) return false;
    const LoadMail wanted = std::exchange(asked.mail_loads, {}).at(0);
    give(MailLoaded{store_->mail_after(wanted.after, kMailLoadedAtOnce)});
    return true;
  }
  bool load_timers() {
    if (asked.timer_loads.empty()) return false;
    const TimerRecord after = std::exchange(asked.timer_loads, {}).at(0);
    give(TimersLoaded{store_->timers_after(after, kTimersLoadedAtOnce)});
    return true;
  }
  // All of these, until nothing is left to answer but actions.
  void settle() {
    while (run_code() || commit() || load() || load_page() || look_up() || load_mail() ||
           load_timers()) {
    }
  }

  // ---- what can be seen

  // What the call was told; none if it was told nothing yet. Telling twice is a fault.
  const Reply* reply_to(const RequestId request) const {
    const Reply* found = nullptr;
    for (const Reply& reply : asked.replies) {
      if (reply.request != request) continue;
      EXPECT_EQ(found, nullptr) << "request " << request << " was answered twice";
      found = &reply;
    }
    return found;
  }
  std::string event_id_told(const RequestId request) const {
    const Reply* const reply = reply_to(request);
    const auto* const told = reply == nullptr ? nullptr : std::get_if<EventReply>(&reply->answer);
    return told == nullptr ? "none" : told->event_id;
  }
  std::string error_told(const RequestId request) const {
    const Reply* const reply = reply_to(request);
    const auto* const told = reply == nullptr ? nullptr : std::get_if<Error>(&reply->answer);
    return told == nullptr ? "none" : std::string(to_string(told->code)) + ": " + told->message;
  }
  Failure error(const std::string& id) const {
    return decode_failure(stored(id).record.error_json);
  }
  ExecutionStatus status(const std::string& id) const { return stored(id).record.status; }
  // Of the records of that type, in order.
  std::vector<std::string> names(const std::string& id, const EventType type) const {
    std::vector<std::string> found;
    for (const HistoryEvent& event : stored(id).history) {
      if (event.type == type) found.push_back(event.name);
    }
    return found;
  }
  std::uint64_t cached() const { return shard_->counters().executions_cached; }
  bool drained() const { return shard_->drained(); }
  std::optional<Timestamp> next_tick() const { return shard_->next_tick(); }

  Timestamp now = 1'000'000;
  Outputs asked;

 private:
  struct Results final : ActivationSink {
    void activations_completed(std::vector<ActivationResult> results) override {
      for (ActivationResult& result : results) collected.push_back(std::move(result));
    }
    std::vector<ActivationResult> collected;
  };
  struct Outcomes final : CommitSink {
    void commits_finished(const std::vector<CommitOutcome>& outcomes) override {
      collected.insert(collected.end(), outcomes.begin(), outcomes.end());
    }
    std::vector<CommitOutcome> collected;
  };

  const MemoryStoreData::Execution& stored(const std::string& id) const {
    return data_->executions.at(data_->by_id.at({kTenant, id}));
  }

  ScriptFunction code_;
  const Limits limits_;
  ScriptHost host_;
  std::shared_ptr<MemoryStoreData> data_ = std::make_shared<MemoryStoreData>();
  Outcomes sink_;
  std::unique_ptr<MemoryStore> store_;
  std::unique_ptr<Shard> shard_;
  RequestId last_request_ = 0;
};

// Every execution is put away as soon as it may be.
Limits no_cache() {
  Limits limits;
  limits.executions_cached_max = 0;
  return limits;
}

std::string wait_for_go(Script& script) {
  script.wait_for({"Go"});
  return "1";
}

std::string charge_then_wait(Script& script) {
  const std::string receipt = script.run("charge", "1");
  script.wait_for({"Go"});
  script.wait_for({"End"});
  return receipt;
}

// ---- partitions

TEST(ShardPartitions, WhatIsAnothersIsPassedOn) {
  Surroundings around(wait_for_go);
  around.restart_among_others();
  around.start("a");
  around.submit("a", "Go");
  around.await_end("a");
  EXPECT_EQ(around.asked.elsewhere.size(), 3U);
  EXPECT_TRUE(around.asked.replies.empty());
  EXPECT_TRUE(around.asked.loads.empty());
  around.asked.elsewhere.clear();
  around.take(1);
  around.start("a");
  around.settle();
  EXPECT_TRUE(around.asked.elsewhere.empty());
  EXPECT_EQ(around.status("a"), ExecutionStatus::running);
}

// Its code is running when the partition is lost, and it is loaded anew under the next epoch before the result of
// that comes: the result counts for nothing, and the event is delivered once.
TEST(ShardPartitions, WhatWasUnderWayWhenOneWasLostCountsForNothing) {
  Surroundings around(wait_for_go);
  around.restart_among_others();
  around.take(1);
  around.start("a");
  around.settle();
  const InboxId event = around.put_mail("a", "Go");
  around.give(MailPosted{});
  ASSERT_TRUE(around.load_mail());
  ASSERT_EQ(around.asked.activations.size(), 1U);
  const auto late = around.asked.activations.front().activation.execution;
  around.asked.activations.clear();
  around.lose(1);
  around.take(2);
  ASSERT_TRUE(around.load_mail());
  ASSERT_TRUE(around.load());
  around.give(ActivationResult{late});
  around.settle();
  EXPECT_EQ(around.status("a"), ExecutionStatus::completed);
  EXPECT_EQ(around.names("a", EventType::event_received), std::vector<std::string>{"Go"});
  EXPECT_EQ(around.row(event).status, InboxStatus::completed);
  ASSERT_EQ(around.asked.answers.size(), 1U);
  EXPECT_EQ(around.asked.answers.front().row, event);
}

// A commit of before, whose outcome comes behind the next taking, neither releases nor fails what came since.
TEST(ShardPartitions, OutcomesOfBeforeCountForNothing) {
  Surroundings around(wait_for_go);
  around.restart_among_others();
  around.take(1);
  const RequestId first = around.start("a");
  ASSERT_TRUE(around.run_code());
  ASSERT_EQ(around.asked.commits.size(), 1U);
  const std::uint64_t id = around.asked.commits.front().id;
  around.asked.commits.clear();
  around.lose(1);
  EXPECT_NE(around.error_told(first).find("outcome_unknown"), std::string::npos);
  around.take(2);
  around.asked.mail_loads.clear();
  const RequestId second = around.start("b");
  ASSERT_TRUE(around.run_code());
  around.give(CommitOutcome{0, id, Error{ErrorCode::store_unavailable, "lost", {}}});
  EXPECT_EQ(around.reply_to(second), nullptr);
  ASSERT_EQ(around.asked.commits.size(), 1U);
  EXPECT_EQ(around.asked.commits.front().epoch, 2);
  ASSERT_TRUE(around.commit());
  EXPECT_NE(around.reply_to(second), nullptr);
}

// It was stopped for longer than its lease: the new owner has given the number that comes next here to an execution
// of its own.
TEST(ShardPartitions, ANumberThatAnotherOwnerHasGivenStandsForHisExecution) {
  Surroundings around(wait_for_go);
  around.restart_among_others();
  around.take(1);
  around.start("his");
  around.settle();
  const ExecutionRef number = around.ref_of("his");
  around.next_number = number;
  around.start("ours");
  ASSERT_EQ(around.asked.elsewhere.size(), 1U) << "it is for him to start";
  around.settle();
  EXPECT_EQ(around.status("his"), ExecutionStatus::running);

  // The other way around: ours is begun when his is read.
  around.restart_among_others();
  around.take(2);
  around.next_number = number;
  around.start("ours");
  ASSERT_EQ(around.asked.activations.size(), 1U);
  const RequestId event = around.submit("his", "Go");
  ASSERT_TRUE(around.load());
  EXPECT_EQ(around.asked.elsewhere.size(), 1U) << "it is for him to take";
  EXPECT_EQ(around.reply_to(event), nullptr);
  ASSERT_TRUE(around.run_code());
  around.lose(2);
}

// It is left when what is under way has ended; what has not begun does not begin.
TEST(ShardPartitions, OneThatIsWantedIsLeftAtRest) {
  Surroundings around(charge_then_wait);
  around.restart_among_others();
  around.take(1);
  around.register_action("charge");
  around.start("a");
  around.settle();
  const ActionTask task = *around.asked.actions.at(0).task;
  around.want(1, 10'000);
  around.advance_to_tick();
  EXPECT_TRUE(around.asked.partitions_left.empty()) << "an attempt is under way";
  around.submit("a", "Go");
  EXPECT_EQ(around.asked.elsewhere.size(), 1U);
  around.finish(task, "42");
  around.settle();
  around.advance_to_tick();
  ASSERT_EQ(around.asked.partitions_left.size(), 1U);
  EXPECT_EQ(around.asked.partitions_left.front(), (PartitionLease{0, 1}));
  EXPECT_EQ(around.names("a", EventType::action_completed), std::vector<std::string>{"charge"});
  EXPECT_EQ(around.cached(), 0U);
}

// Its time is up within the very step that would wake code: the instance is gone, and is not woken.
TEST(ShardPartitions, OneIsLeftWhenTheTimeIsUp) {
  Surroundings around(charge_then_wait);
  around.restart_among_others();
  around.take(1);
  around.register_action("charge");
  around.start("a");
  around.settle();
  const ActionTask task = *around.asked.actions.at(0).task;
  around.want(1, 1'000);
  around.now += 1'000;
  around.finish(task, "42");
  EXPECT_EQ(around.asked.partitions_left.size(), 1U);
  EXPECT_EQ(around.asked.aborts.size(), 1U);
  EXPECT_TRUE(around.asked.activations.empty());
  around.take(2);
  around.give(ResumeExecutions{{task.execution}});
  around.settle();
  EXPECT_EQ(around.asked.actions.size(), 2U) << "it runs again, under its key";
  EXPECT_EQ(around.asked.actions.at(1).task->idempotency_key, task.idempotency_key);
}

// ---- work for other workers, and by them

ActivationResult lost_result(const Activation& activation) {
  ActivationResult result;
  result.execution = activation.execution;
  result.sequence = activation.sequence;
  result.lost = true;
  return result;
}

// What an owner elsewhere sends for its execution's first activation.
RunCode code_to_run(const LentInstance instance, const ExecutionRef ref) {
  RunCode work;
  work.instance = instance;
  work.activation.execution = ref;
  work.activation.sequence = 1;
  StartJob start;
  start.tenant = kTenant;
  start.execution_id = "theirs";
  start.workflow = kWorkflow;
  start.version = "1.0.0";
  work.activation.jobs.emplace_back(std::move(start));
  return work;
}

TEST(ShardLent, CodeIsRunForTheOwnerElsewhere) {
  Surroundings around(wait_for_go);
  around.restart_among_others();
  const ExecutionRef ref = 77;
  around.give(LentWorkArrived{"w2", code_to_run(1, ref)});
  ASSERT_TRUE(around.run_code());
  ASSERT_EQ(around.asked.lent.size(), 1U);
  EXPECT_EQ(around.asked.lent[0].worker, "w2");
  const auto* const ran = std::get_if<CodeRan>(&around.asked.lent[0].work);
  ASSERT_NE(ran, nullptr);
  EXPECT_EQ(ran->instance, 1U);
  EXPECT_FALSE(ran->result.commands.empty());
  EXPECT_TRUE(around.asked.commits.empty()) << "it decides nothing";

  // Not the instance that is there: nothing is run.
  RunCode other;
  other.instance = 2;
  other.activation.execution = ref;
  around.give(LentWorkArrived{"w2", other});
  EXPECT_FALSE(around.run_code());
  EXPECT_TRUE(std::get<CodeRan>(around.asked.lent.at(1).work).result.lost);
  around.give(LentWorkArrived{"w3", DropInstance{1, ref}});
  EXPECT_TRUE(around.asked.evictions.empty()) << "it is none of his";
  around.give(LentWorkArrived{"w2", DropInstance{1, ref}});
  EXPECT_EQ(around.asked.evictions.size(), 1U);
  // A workflow that is registered at nobody but others.
  RunCode unknown = code_to_run(3, ref);
  std::get<StartJob>(unknown.activation.jobs[0]).workflow = "Other";
  around.give(WorkflowRegistered{"Other", "1.0.0", kOtherWorkers});
  around.give(LentWorkArrived{"w2", unknown});
  EXPECT_FALSE(around.run_code());
  EXPECT_TRUE(std::get<CodeRan>(around.asked.lent.at(2).work).result.lost);
}

// The partition comes here while the host still works for its former owner: the result is nobody's.
TEST(ShardLent, WhatIsTakenOverIsNotAnsweredToItsFormerOwner) {
  Surroundings around(wait_for_go);
  around.restart_among_others();
  around.take(1);
  around.start("a");
  around.settle();
  const ExecutionRef ref = around.ref_of("a");
  around.lose(1);
  around.asked.clear();
  around.give(LentWorkArrived{"w2", code_to_run(1, ref)});
  ASSERT_EQ(around.asked.activations.size(), 1U);
  const Activation theirs = around.asked.activations[0].activation;
  around.asked.activations.clear();
  around.take(3);
  EXPECT_EQ(around.asked.evictions.size(), 1U);
  around.give(LentWorkArrived{"w2", code_to_run(2, ref)});
  EXPECT_EQ(around.asked.lent.size(), 1U) << "it is ours";
  around.submit("a", "Go");
  ASSERT_TRUE(around.load());
  ActivationResult late;
  late.execution = theirs.execution;
  late.sequence = theirs.sequence;
  around.give(std::move(late));
  around.settle();
  EXPECT_EQ(around.status("a"), ExecutionStatus::completed);
  ASSERT_EQ(around.asked.lent.size(), 2U);
  EXPECT_TRUE(std::get<CodeRan>(around.asked.lent[1].work).result.lost) << "he has an answer";
}

TEST(ShardLent, AnAttemptIsRunForTheOwnerElsewhere) {
  Surroundings around(wait_for_go);
  around.restart_among_others();
  ActionTask task;
  task.id = 40;
  task.execution = 77;
  task.position = 3;
  task.tenant = kTenant;
  task.name = "charge";
  task.idempotency_key = "their key";
  around.give(LentWorkArrived{"w2", RunAttempt{task}});
  ASSERT_EQ(around.asked.lent.size(), 1U);
  EXPECT_FALSE(std::get<AttemptEnded>(around.asked.lent[0].work).begun) << "it is not registered";
  around.register_action("charge");
  around.give(LentWorkArrived{"w2", RunAttempt{task}});
  ASSERT_EQ(around.asked.actions.size(), 1U);
  const ActionTask ours = *around.asked.actions[0].task;
  EXPECT_EQ(ours.idempotency_key, "their key");
  EXPECT_EQ(ours.position, 3);
  EXPECT_EQ(std::get<AttemptBegan>(around.asked.lent.at(1).work).attempt, 40);
  around.give(ActionHeartbeat{ours.id, ours.execution, ours.position, Payload::json("1")});
  EXPECT_EQ(std::get<AttemptAlive>(around.asked.lent.at(2).work).progress, Payload::json("1"));
  around.finish(ours, "42");
  const auto& ended = std::get<AttemptEnded>(around.asked.lent.at(3).work);
  EXPECT_EQ(ended.attempt, 40);
  EXPECT_EQ(std::get<Payload>(ended.outcome), Payload::json("42"));
  EXPECT_TRUE(around.asked.commits.empty());
  around.finish(ours, "43");
  EXPECT_EQ(around.asked.lent.size(), 4U) << "once";

  // Given up by its owner; then all that he has here.
  around.give(LentWorkArrived{"w2", RunAttempt{task}});
  around.give(LentWorkArrived{"w3", AbortAttempt{40}});
  EXPECT_TRUE(around.asked.aborts.empty()) << "it is none of his";
  around.give(LentWorkArrived{"w2", AbortAttempt{40}});
  EXPECT_EQ(around.asked.aborts.size(), 1U);
  around.give(LentWorkArrived{"w2", RunAttempt{task}});
  around.asked.lent.clear();
  around.give(LentWorkArrived{"w2", AllLost{}});
  EXPECT_EQ(around.asked.aborts.size(), 2U);
  ASSERT_EQ(around.asked.lent.size(), 1U) << "he may have sent it before he knew";
  EXPECT_FALSE(std::get<AttemptEnded>(around.asked.lent[0].work).begun);
}

// One that is to close takes nothing, gives back what has not begun, and ends what has.
TEST(ShardLent, WhoClosesEndsWhatHeHasBegunForOthers) {
  Surroundings around(wait_for_go);
  around.restart_among_others();
  around.register_action("charge", 0, 1);
  ActionTask task;
  task.execution = 77;
  task.tenant = kTenant;
  task.name = "charge";
  for (const AttemptId id : {40, 41}) {
    task.id = id;
    task.position = static_cast<Position>(id);
    around.give(LentWorkArrived{"w2", RunAttempt{task}});
  }
  ASSERT_EQ(around.asked.actions.size(), 1U) << "the host has a place for one";
  around.asked.lent.clear();
  around.give(DrainRequested{});
  ASSERT_EQ(around.asked.lent.size(), 1U);
  const auto& back = std::get<AttemptEnded>(around.asked.lent[0].work);
  EXPECT_EQ(back.attempt, 41);
  EXPECT_FALSE(back.begun);
  EXPECT_FALSE(around.drained());
  around.finish(*around.asked.actions[0].task, "42");
  EXPECT_EQ(std::get<AttemptEnded>(around.asked.lent.at(1).work).attempt, 40);
  EXPECT_TRUE(around.drained());
  task.id = 42;
  around.give(LentWorkArrived{"w2", RunAttempt{task}});
  EXPECT_FALSE(std::get<AttemptEnded>(around.asked.lent.at(2).work).begun);
}

// The worker that runs the code is gone with an event under way: the event is delivered once, by whoever runs it next.
TEST(ShardLent, CodeThatIsLostIsBuiltAgainElsewhere) {
  Surroundings around(charge_then_wait);
  around.restart(true);
  around.give(WorkflowRegistered{kWorkflow, "1.0.0", kOtherWorkers});
  around.take(1);
  around.register_action("charge");
  around.start("a");
  ASSERT_EQ(around.asked.activations.size(), 1U);
  EXPECT_EQ(around.asked.activations[0].host, kOtherWorkers);
  around.settle();
  const ActionTask task = *around.asked.actions.at(0).task;
  around.finish(task, "42");
  ASSERT_EQ(around.asked.activations.size(), 1U);
  const Activation first = around.asked.activations[0].activation;
  around.asked.activations.clear();
  around.give(lost_result(first));
  around.settle();
  EXPECT_EQ(around.asked.actions.size(), 1U) << "what came of it is not forgotten";
  EXPECT_EQ(around.names("a", EventType::action_completed), std::vector<std::string>{"charge"});

  const RequestId direct = around.submit("a", "Go");
  ASSERT_EQ(around.asked.activations.size(), 1U);
  const Activation second = around.asked.activations[0].activation;
  around.asked.activations.clear();
  around.give(lost_result(second));
  EXPECT_EQ(around.reply_to(direct), nullptr);
  around.settle();
  EXPECT_NE(around.event_id_told(direct), "none");
  EXPECT_EQ(around.names("a", EventType::event_received), std::vector<std::string>{"Go"});
  around.submit("a", "End");
  around.settle();
  EXPECT_EQ(around.status("a"), ExecutionStatus::completed);
}

TEST(ShardLent, MailWhoseCodeIsLostIsTakenOnce) {
  Surroundings around(wait_for_go);
  around.restart(true);
  around.give(WorkflowRegistered{kWorkflow, "1.0.0", kOtherWorkers});
  around.take(1);
  around.start("a");
  around.settle();
  const InboxId event = around.put_mail("a", "Go");
  around.give(MailPosted{});
  ASSERT_TRUE(around.load_mail());
  ASSERT_EQ(around.asked.activations.size(), 1U);
  const Activation activation = around.asked.activations[0].activation;
  around.asked.activations.clear();
  around.give(lost_result(activation));
  around.settle();
  around.advance_to_tick();
  around.settle();
  EXPECT_EQ(around.status("a"), ExecutionStatus::completed);
  EXPECT_EQ(around.names("a", EventType::event_received), std::vector<std::string>{"Go"});
  EXPECT_EQ(around.row(event).status, InboxStatus::completed);
}

// It ends before what it had decided is durable: that is waited for, and is not decided again.
TEST(ShardLent, CodeThatIsLostBehindACommitIsBuiltFromWhatThatHolds) {
  Surroundings around(charge_then_wait);
  around.restart(true);
  around.give(WorkflowRegistered{kWorkflow, "1.0.0", kOtherWorkers});
  around.take(1);
  around.register_action("charge");
  around.start("a");
  ASSERT_TRUE(around.run_code());
  ASSERT_EQ(around.asked.commits.size(), 1U);
  around.give(InstancesGone{{1}});
  around.submit("a", "Go");
  around.settle();
  ASSERT_EQ(around.asked.actions.size(), 1U);
  around.finish(*around.asked.actions.at(0).task, "42");
  around.settle();
  EXPECT_EQ(around.names("a", EventType::event_received), std::vector<std::string>{"Go"});
  around.submit("a", "End");
  around.settle();
  EXPECT_EQ(around.status("a"), ExecutionStatus::completed);
}

// Of a worker that is gone: under the same key, by whoever has it; where nobody has it, it waits, and shows that.
TEST(ShardLent, AttemptsThatAreGoneAreHandedOutAgain) {
  Surroundings around(charge_then_wait);
  around.restart_among_others();
  around.take(1);
  around.give(ActionRegistered{"charge", {}, kOtherWorkers, std::nullopt, true});
  around.start("a");
  around.settle();
  ASSERT_EQ(around.asked.actions.size(), 1U);
  EXPECT_EQ(around.asked.actions[0].host, kOtherWorkers);
  const ActionTask first = *around.asked.actions[0].task;
  const auto gone = [](const ActionTask& task) {
    return AttemptsGone{{{task.id, task.execution, task.position}}};
  };
  around.give(gone(first));
  ASSERT_EQ(around.asked.actions.size(), 2U);
  const ActionTask second = *around.asked.actions[1].task;
  EXPECT_EQ(second.idempotency_key, first.idempotency_key);
  EXPECT_EQ(second.attempt, 1);
  around.finish(first, "41");  // a word of before
  around.give(ActionWithdrawn{"charge"});
  around.give(gone(second));
  around.settle();
  EXPECT_EQ(around.asked.actions.size(), 2U);
  // Here, from now on.
  around.register_action("charge");
  ASSERT_EQ(around.asked.actions.size(), 3U);
  EXPECT_EQ(around.asked.actions[2].host, 0U);
  around.give(ActionRegistered{"charge", {}, kOtherWorkers, std::nullopt, true});
  around.finish(*around.asked.actions[2].task, "42");
  around.submit("a", "Go");
  around.submit("a", "End");
  around.settle();
  EXPECT_EQ(around.status("a"), ExecutionStatus::completed);
}

TEST(ShardPartitions, AHintIsAcknowledgedWhenWhatItToldOfIsSettled) {
  Surroundings around(wait_for_go);
  around.restart_among_others();
  around.take(1);
  around.start("a");
  around.settle();
  around.put_mail("a", "Go");
  around.give(HintsArrived{{{{0, kTenant, "a"}, 7}}});
  ASSERT_TRUE(around.load_mail());
  ASSERT_TRUE(around.run_code());
  EXPECT_TRUE(around.asked.hints_settled.empty()) << "it is not committed";
  ASSERT_TRUE(around.commit());
  EXPECT_EQ(around.asked.hints_settled, std::vector<HintReceipt>{7});
  // One that tells of nothing.
  around.give(HintsArrived{{{{0, kTenant, "a"}, 8}}});
  around.settle();
  EXPECT_EQ(around.asked.hints_settled, (std::vector<HintReceipt>{7, 8}));
}

// Those that were there by chance are delivered: of several, the oldest may be what it was.
TEST(ShardPartitions, AnEventThatEndsItsWorkersIsSetAside) {
  Surroundings around(wait_for_go);
  around.restart_among_others();
  around.take(1);
  for (const char* const id : {"a", "b"}) around.start(id);
  around.settle();
  const InboxId poison = around.put_mail("a", "Poison", kOwnersLostMax + 1);
  const InboxId other = around.put_mail("a", "Go");
  const InboxId by_chance = around.put_mail("b", "Go", kOwnersLostMax + 1);
  around.give(MailPosted{});
  around.settle();
  EXPECT_EQ(around.row(poison).status, InboxStatus::failed);
  EXPECT_EQ(around.row(poison).payload, Payload::json("{}")) << "for whoever looks into it";
  EXPECT_EQ(around.row(other).status, InboxStatus::completed);
  EXPECT_EQ(around.row(by_chance).status, InboxStatus::completed);
  ASSERT_EQ(around.asked.dead_letters.size(), 1U);
  EXPECT_EQ(around.asked.dead_letters.front().row, poison);
  EXPECT_EQ(around.asked.dead_letters.front().attempts, kOwnersLostMax + 1);
  EXPECT_EQ(around.status("a"), ExecutionStatus::completed);
  EXPECT_EQ(around.status("b"), ExecutionStatus::completed);

  // Another one, some time later.
  around.start("c");
  around.settle();
  around.now += kSetAsideMs;
  const InboxId next = around.put_mail("c", "Go", kOwnersLostMax + 1);
  around.give(MailPosted{});
  around.settle();
  EXPECT_EQ(around.row(next).status, InboxStatus::failed);
  EXPECT_EQ(around.status("c"), ExecutionStatus::running);
}

TEST(ShardPartitions, OneThatFewWorkersHadIsDelivered) {
  Surroundings around(wait_for_go);
  around.restart_among_others();
  around.take(1);
  around.start("a");
  around.settle();
  const InboxId event = around.put_mail("a", "Go", kOwnersLostMax);
  around.give(MailPosted{});
  around.settle();
  EXPECT_EQ(around.row(event).status, InboxStatus::completed);
  EXPECT_EQ(around.status("a"), ExecutionStatus::completed);
}

// ---- loads

// An execution that is not in memory, whose action has just finished, and to which an event came: it
// is being loaded by its reference and by its id, and both have been read already.
struct LoadedTwice {
  explicit LoadedTwice(const bool by_id_first) {
    around.register_action("charge");
    around.start("a");
    around.settle();
    task = *around.asked.actions.at(0).task;
    around.asked.actions.clear();
    EXPECT_EQ(around.cached(), 0U);
    event = around.submit("a", "Go");
    around.finish(task, "42");
    EXPECT_EQ(around.asked.loads.at(0).ref, 0) << "by its id";
    EXPECT_EQ(around.asked.loads.at(1).ref, task.execution);
    first = around.take_load(by_id_first ? 0 : 1);
    second = around.take_load();
  }

  Surroundings around{charge_then_wait, no_cache()};
  ActionTask task;
  RequestId event = 0;
  ExecutionLoaded first;
  ExecutionLoaded second;
};

TEST(ShardLoads, TwoAtOnceDoNotRunAnActionAgainWhoseOutcomeWaits) {
  for (const bool by_id_first : {true, false}) {
    LoadedTwice twice(by_id_first);
    Surroundings& around = twice.around;
    around.give(std::move(twice.first));
    around.settle();
    EXPECT_EQ(around.asked.actions.size(), 0U);
    EXPECT_EQ(around.names("a", EventType::action_completed), std::vector<std::string>{"charge"});
    EXPECT_NE(around.reply_to(twice.event), nullptr) << "the other load's work was done too";
  }
}

// A retry is due, and due once more since the execution was loaded for it; the attempt that it began ends
// while the execution is loaded again.
// rule: 15
TEST(ShardLoads, ATimerThatComesTwiceBeginsNoAttemptTwice) {
  Surroundings around(charge_then_wait, no_cache());
  around.register_action("charge");
  around.start("a");
  around.settle();
  const auto task = [&around] {
    const ActionTask last = *around.asked.actions.back().task;
    return last;
  };
  around.fail(task(), Failure{.message = "no connection"});
  around.settle();
  around.advance_to_tick();
  around.settle();
  ASSERT_EQ(around.asked.actions.size(), 2U);
  EXPECT_EQ(task().attempt, 2);
  around.give(Tick{});
  ASSERT_EQ(around.asked.loads.size(), 1U) << "for the timer, which the load before has armed anew";
  around.fail(task(), Failure{.message = "no connection"});
  around.settle();
  EXPECT_EQ(around.asked.actions.size(), 2U)
      << "the second attempt has ended, and is not begun again";
  around.advance_to_tick();
  around.settle();
  ASSERT_EQ(around.asked.actions.size(), 3U);
  EXPECT_EQ(task().attempt, 3);
  around.finish(task(), "7");
  around.settle();
  EXPECT_EQ(around.names("a", EventType::action_completed), std::vector<std::string>{"charge"});
}

// Its action is registered while an answer is on its way that was read before.
// rule: 17
TEST(ShardLoads, OneThatIsOutOfDateDoesNotAnswerWhoeverAskedLater) {
  Surroundings around(charge_then_wait, no_cache());
  const RequestId started = around.start("a");
  around.settle();
  EXPECT_EQ(around.cached(), 0U);
  around.give(ResumeExecutions{{1}});
  around.await_end("a");
  ASSERT_EQ(around.asked.loads.size(), 2U);
  const ExecutionLoaded by_ref = around.take_load(0);
  around.give(around.take_load(0));
  around.settle();
  EXPECT_EQ(around.cached(), 0U);
  around.register_action("charge");
  EXPECT_TRUE(around.asked.loads.empty());
  around.give(by_ref);
  around.settle();
  EXPECT_EQ(around.asked.actions.size(), 1U);
  EXPECT_NE(around.reply_to(started), nullptr);
}

TEST(ShardLoads, WhatAnActionDidOutlivesOneThatFails) {
  Surroundings around(charge_then_wait, no_cache());
  around.register_action("charge");
  around.start("a");
  around.settle();
  ASSERT_EQ(around.asked.actions.size(), 1U);
  EXPECT_EQ(around.cached(), 0U);
  around.finish(*around.asked.actions[0].task, "7");
  ASSERT_EQ(around.asked.loads.size(), 1U);
  ExecutionLoaded failed = around.take_load();
  failed.found = Error{ErrorCode::store_unavailable, "the disk is gone, says the test", {}};
  around.give(failed);
  around.settle();
  EXPECT_TRUE(around.names("a", EventType::action_completed).empty());
  around.advance_to_tick();
  around.settle();
  EXPECT_EQ(around.asked.actions.size(), 1U) << "it did its work already";
  EXPECT_EQ(around.names("a", EventType::action_completed), std::vector<std::string>{"charge"});
}

TEST(ShardLoads, OneThatIsOutOfDateChangesNothing) {
  for (const bool by_id_first : {true, false}) {
    LoadedTwice twice(by_id_first);
    Surroundings& around = twice.around;
    around.give(std::move(twice.first));
    around.settle();
    EXPECT_EQ(around.cached(), 0U);
    // What it says was read before the action's result was recorded.
    around.give(std::move(twice.second));
    EXPECT_EQ(around.cached(), 0U);
    EXPECT_TRUE(around.asked.actions.empty());
    EXPECT_TRUE(around.asked.activations.empty());
    EXPECT_TRUE(around.asked.commits.empty());
  }
}

TEST(ShardLoads, WhatCameWhileOneWentOutOfDateIsLoadedAnew) {
  for (const bool by_id_first : {true, false}) {
    LoadedTwice twice(by_id_first);
    Surroundings& around = twice.around;
    around.give(std::move(twice.first));
    around.settle();
    const RequestId end = around.submit("a", "End");
    around.give(std::move(twice.second));
    around.settle();
    EXPECT_NE(around.event_id_told(end), "none");
    EXPECT_EQ(around.status("a"), ExecutionStatus::completed);
    EXPECT_TRUE(around.asked.actions.empty());
  }
}

// ---- senders who wait for so long and no longer

std::string takes_two(Script& script) {
  script.wait_for({"Go"});
  script.wait_for({"Go"});
  return "\"done\"";
}

// rule: 10
TEST(ShardPatience, EndsWithTheIdOfTheEventWhichIsTakenAllTheSame) {
  Surroundings around(takes_two);
  around.start("a");
  around.settle();
  const RequestId late = around.submit("a", "Go", "key", 100);
  ASSERT_TRUE(around.look_up());
  ASSERT_TRUE(around.run_code());
  EXPECT_EQ(around.next_tick(), around.now + 100);
  around.now += 99;
  around.give(Tick{});
  EXPECT_EQ(around.reply_to(late), nullptr);
  around.advance_to_tick();
  EXPECT_EQ(around.error_told(late).find("timeout: "), 0U) << around.error_told(late);
  const Error told = std::get<Error>(around.reply_to(late)->answer);
  EXPECT_EQ(told.subject, "event-" + std::to_string(late));
  around.settle();
  EXPECT_NE(around.reply_to(late), nullptr) << "and not a second time";
  EXPECT_EQ(around.names("a", EventType::event_received), (std::vector<std::string>{"Go"}));
  const RequestId again = around.submit("a", "Go", "key");
  around.settle();
  EXPECT_EQ(around.event_id_told(again), told.subject) << "who asks again under the key is told";
}

TEST(ShardPatience, IsForgottenWithAnAnswerInTime) {
  Surroundings around(takes_two);
  around.start("a");
  around.settle();
  const RequestId in_time = around.submit("a", "Go", "", 100);
  around.settle();
  EXPECT_NE(around.event_id_told(in_time), "none");
  EXPECT_EQ(around.next_tick(), std::nullopt);
  const RequestId unknown = around.submit("nobody", "Go", "", 100);
  around.settle();
  EXPECT_EQ(around.error_told(unknown).find("unknown_execution"), 0U);
  EXPECT_EQ(around.next_tick(), std::nullopt);
  around.now += 1'000;
  around.give(Tick{});
  EXPECT_NE(around.event_id_told(in_time), "none");
}

// ---- stuck executions

std::string break_the_rules(Script& script) {
  script.wait_for({"Go"});
  script.violate("it awaits something foreign");
}

TEST(ShardStuck, IsTriedAgainWhenItsWorkflowIsRegisteredWhileItsStatusIsCommitted) {
  Surroundings around(break_the_rules);
  around.start("a");
  around.settle();
  around.submit("a", "Go");
  around.run_code();
  ASSERT_EQ(around.asked.commits.size(), 1U) << "that it is stuck";
  around.change_code(wait_for_go);
  around.register_workflow();
  around.settle();
  EXPECT_EQ(around.status("a"), ExecutionStatus::completed);
}

TEST(ShardStuck, IsTriedAgainWhenItsWorkflowIsRegisteredWhileTheFormerOneIsTried) {
  Surroundings around(break_the_rules);
  around.start("a");
  around.settle();
  around.submit("a", "Go");
  around.settle();
  ASSERT_EQ(around.status("a"), ExecutionStatus::stuck);
  // Still wrong, in another way.
  around.change_code([](Script& script) -> std::string {
    script.wait_for({"Come"});
    return "1";
  });
  around.register_workflow();
  ASSERT_TRUE(around.load());
  ASSERT_EQ(around.asked.activations.size(), 1U) << "it is being rebuilt";
  around.register_workflow();
  around.run_code();
  ASSERT_EQ(around.asked.commits.size(), 1U) << "that it is stuck still";
  around.change_code(wait_for_go);
  around.settle();
  EXPECT_EQ(around.status("a"), ExecutionStatus::completed);
}

// ---- histories that are longer than a page

std::string wait_again_and_again(Script& script) {
  for (;;) script.wait_for({"Go"});
}

Limits pages_of(const std::size_t records) {
  Limits limits;
  limits.history_page_records_max = records;
  return limits;
}

// An execution with so many events behind it, which is in no memory any more.
struct LongHistory {
  explicit LongHistory(const int events, const std::size_t page,
                       ScriptFunction code = wait_again_and_again)
      : around(std::move(code), pages_of(page)) {
    around.start("a");
    around.settle();
    for (int event = 0; event < events; ++event) {
      around.submit("a", "Go");
      around.settle();
    }
    around.restart();
    around.register_workflow();
  }
  bool for_load(const std::size_t index = 0) const {
    return !around.asked.page_loads.at(index).of.execution_id.empty();
  }
  // Up to the first page that the code is to be rebuilt from, which is asked for.
  void read_once() {
    ASSERT_TRUE(around.load());
    while (!around.asked.page_loads.empty() && for_load()) around.load_page();
  }

  Surroundings around;
};

// rule: 2
TEST(ShardPages, ALongHistoryIsReadAndReplayedOnePageAtATime) {
  LongHistory history(20, 4);
  Surroundings& around = history.around;
  const RequestId event = around.submit("a", "Go");
  ASSERT_TRUE(around.load());
  std::size_t pages = 0;
  std::int64_t after = 0;
  bool again = false;
  while (!around.asked.page_loads.empty()) {
    ASSERT_EQ(around.asked.page_loads.size(), 1U);
    const bool load = history.for_load();
    EXPECT_FALSE(load && again) << "it is read for what it adds up to first";
    if (!load && !again) {
      again = true;
      after = -4;
    }
    EXPECT_EQ(around.asked.page_loads.at(0).after, after + 4);
    after = around.asked.page_loads.at(0).after;
    PageLoaded page = around.take_page();
    EXPECT_LE(page.records->size(), 4U);
    around.give(std::move(page));
    ++pages;
    // Another one has its turn between any two pages.
    const std::string other = "b" + std::to_string(pages);
    const RequestId started = around.start(other);
    while (around.run_code() || around.commit()) {
    }
    EXPECT_NE(around.reply_to(started), nullptr);
  }
  EXPECT_TRUE(again);
  around.settle();
  EXPECT_EQ(around.event_id_told(event), "event-" + std::to_string(event));
  EXPECT_EQ(around.names("a", EventType::event_received).size(), 21U);
}

// Else all of a long history would lie in memory, as activations that the code has not got to.
TEST(ShardPages, AReplayIsReadNoFurtherThanTheCodeFollows) {
  constexpr std::size_t kPage = 100;
  constexpr std::size_t kStepsLeftMax = 256;
  LongHistory history(1'000, kPage);
  Surroundings& around = history.around;
  const RequestId event = around.submit("a", "Go");
  history.read_once();
  std::size_t most = 0;
  std::size_t rounds = 0;
  while (around.reply_to(event) == nullptr) {
    while (around.load_page()) {
    }
    most = std::max(most, around.asked.activations.size());
    ASSERT_TRUE(around.run_code() || around.commit());
    ++rounds;
  }
  EXPECT_LE(most, kStepsLeftMax + kPage);
  EXPECT_GT(rounds, 3U);
}

TEST(ShardPages, OneThatCanNotBeReadIsAskedForAgainAndNothingIsLost) {
  LongHistory history(20, 4);
  Surroundings& around = history.around;
  const RequestId event = around.submit("a", "Go");
  history.read_once();
  ASSERT_FALSE(around.asked.page_loads.empty());
  PageLoaded failed = around.take_page();
  failed.records = Error{ErrorCode::store_unavailable, "the disk is away, says the test", {}};
  around.give(std::move(failed));
  EXPECT_TRUE(around.asked.page_loads.empty()) << "not at once";
  EXPECT_NE(around.asked.logs.back().message.find("the disk is away"), std::string::npos);
  around.settle();
  EXPECT_EQ(around.reply_to(event), nullptr);
  around.give(Tick{});
  EXPECT_TRUE(around.asked.page_loads.empty()) << "nor with the next tick";
  EXPECT_GT(around.next_tick().value(), around.now);
  around.advance_to_tick();
  ASSERT_EQ(around.asked.page_loads.size(), 1U);
  around.settle();
  EXPECT_EQ(around.event_id_told(event), "event-" + std::to_string(event));
}

TEST(ShardPages, OneThatCanNotBeReadAtTheLoadIsAnErrorForThoseWhoWait) {
  LongHistory history(20, 4);
  Surroundings& around = history.around;
  const RequestId event = around.submit("a", "Go");
  ASSERT_TRUE(around.load());
  ASSERT_TRUE(around.load_page());
  PageLoaded failed = around.take_page();
  failed.records = Error{ErrorCode::store_unavailable, "the disk is away, says the test", {}};
  around.give(std::move(failed));
  around.settle();
  EXPECT_EQ(around.error_told(event), "store_unavailable: the disk is away, says the test");
  const RequestId again = around.submit("a", "Go");
  around.settle();
  EXPECT_EQ(around.event_id_told(again), "event-" + std::to_string(again));
}

// Read by its id and by its reference; the one that is first at the end installs it.
TEST(ShardPages, TwoLoadsAtOnceAreOneInTheEnd) {
  LongHistory history(20, 4);
  Surroundings& around = history.around;
  const RequestId event = around.submit("a", "Go");
  around.give(ResumeExecutions{{1}});
  ASSERT_EQ(around.asked.loads.size(), 2U);
  around.load();
  around.load();
  EXPECT_EQ(around.asked.page_loads.size(), 2U);
  around.settle();
  EXPECT_EQ(around.event_id_told(event), "event-" + std::to_string(event));
  EXPECT_EQ(around.names("a", EventType::event_received).size(), 21U);
}

// What was before is not even read for it.
// rule: 23
TEST(ShardPages, ARunThatBeganAsNewIsReplayedFromThereOn) {
  LongHistory history(20, 4, [](Script& script) -> std::string {
    for (int event = 0; event < 7; ++event) script.wait_for({"Go"});
    script.continue_as_new("{}");
  });
  Surroundings& around = history.around;
  const RequestId event = around.submit("a", "Go");
  history.read_once();
  ASSERT_FALSE(around.asked.page_loads.empty());
  EXPECT_GT(around.asked.page_loads.at(0).after, 14 * 2);
  around.settle();
  EXPECT_EQ(around.event_id_told(event), "event-" + std::to_string(event));
  EXPECT_EQ(around.names("a", EventType::continued_as_new).size(), 3U);
}

// A departure in a later page sets it aside as ever, and the code that fits again takes it on.
TEST(ShardPages, ADepartureFarDownIsFoundAndMended) {
  LongHistory history(20, 4);
  Surroundings& around = history.around;
  around.change_code([](Script& script) -> std::string {
    for (int event = 0; event < 15; ++event) script.wait_for({"Go"});
    script.wait_for({"Stop"});
    return "1";
  });
  around.submit("a", "Go");
  around.settle();
  EXPECT_EQ(around.status("a"), ExecutionStatus::stuck);
  EXPECT_TRUE(around.asked.page_loads.empty());
  around.change_code(wait_again_and_again);
  around.register_workflow();
  around.settle();
  EXPECT_EQ(around.status("a"), ExecutionStatus::running);
  EXPECT_EQ(around.names("a", EventType::event_received).size(), 21U);
}

// ---- eviction

TEST(ShardEviction, GetsPastExecutionsThatCannotBeEvictedNow) {
  constexpr std::size_t kBusy = 40;  // many more than are looked at for one input
  constexpr std::size_t kIdle = 5;
  Limits limits;
  limits.executions_cached_max = 1;
  Surroundings around(wait_for_go, limits);
  for (std::size_t index = 0; index < kBusy; ++index) around.start("busy-" + std::to_string(index));
  // Their code is never heard of again: they are the oldest, and stay.
  const std::vector<Activate> unanswered = std::exchange(around.asked.activations, {});
  ASSERT_EQ(unanswered.size(), kBusy);
  for (std::size_t index = 0; index < kIdle; ++index) around.start("idle-" + std::to_string(index));
  around.settle();
  for (std::size_t inputs = 0; inputs < kBusy; ++inputs) around.give(Tick{});
  EXPECT_EQ(around.cached(), kBusy);
}

// While the code has still to take what it has, all of a burst would find somebody who waits.
// rule: 26
TEST(ShardLimits, ABurstOfWhatIsAwaitedDoesNotOverfillTheBuffer) {
  Limits limits;
  limits.events_buffered_max = 2;
  Surroundings around(
      [](Script& script) -> std::string {
        const Position go = script.start_wait({"Go"});
        script.wait_for({"Begin"});
        script.wait_for({"Kept"});
        script.event(go);
        for (;;) script.wait_for({"Never"});
      },
      limits);
  around.start("a");
  around.settle();
  around.submit("a", "Kept");
  around.settle();
  around.submit("a", "Other");
  around.settle();
  std::vector<RequestId> sent;
  around.submit("a", "Begin");  // its activation is under way as the others come
  for (int count = 0; count < 5; ++count) {
    EventSubmitted input;
    sent.push_back(input.request = static_cast<RequestId>(1'000 + count));
    input.event = EventRequest{kTenant, "a", "Go", Payload::json("{}"), "", ""};
    input.event_id = "go-" + std::to_string(count);
    input.accepted_at = around.now;
    input.enqueue = true;
    around.give(std::move(input));
  }
  around.settle();
  std::size_t refused = 0;
  for (const RequestId request : sent) refused += around.error_told(request) == "none" ? 0U : 1U;
  EXPECT_EQ(refused, 4U) << "one is what the code waits for";
  EXPECT_EQ(around.names("a", EventType::event_received).size(), 4U);
}

// ---- graphs

GraphAction step_of(std::string id, std::vector<std::string> depends_on = {}) {
  GraphAction action;
  action.id = std::move(id);
  action.name = "step";
  action.depends_on = std::move(depends_on);
  return action;
}

// A graph, and an action beside it.
std::string graph_and_action(Script& script) {
  const Position graph = script.start_graph({step_of("a"), step_of("b", {"a"})});
  const Position action = script.start_action("charge", "{}");
  script.action(action);
  script.action(graph);
  return "1";
}

ActionTask last_task(const Surroundings& around, const std::string& name) {
  for (auto asked = around.asked.actions.rbegin(); asked != around.asked.actions.rend(); ++asked) {
    if (asked->task->name == name) return *asked->task;
  }
  ADD_FAILURE() << "no attempt of " << name;
  return {};
}

// They gather while the execution is loaded.
// rules: 16, 21
TEST(ShardGraphs, WhatEndsTogetherWithAStepWaitsForItsCodeWhereThatIsMissing) {
  Surroundings around(graph_and_action, no_cache());
  around.register_action("step");
  around.register_action("charge");
  around.start("a");
  around.settle();
  around.restart();
  around.register_action("step");
  around.register_action("charge");
  around.give(ResumeExecutions{{1}});
  around.settle();
  around.finish(last_task(around, "step"), "1");
  around.finish(last_task(around, "charge"), "7");
  around.settle();
  EXPECT_EQ(around.names("a", EventType::graph_action_completed).size(), 1U);
  EXPECT_EQ(around.names("a", EventType::action_outcome_held).size(), 1U);
  EXPECT_EQ(around.names("a", EventType::graph_action_scheduled).size(), 2U) << "it goes on";
  around.register_workflow();
  around.settle();
  around.finish(last_task(around, "step"), "2");
  around.settle();
  EXPECT_EQ(around.status("a"), ExecutionStatus::completed);
}

// rules: 14, 22
TEST(ShardGraphs, AStepThatEndsWhileAResumptionIsCommittedIsNotRunAgain) {
  Surroundings around(graph_and_action);
  around.register_action("step");
  around.register_action("charge");
  around.start("a");
  around.settle();
  around.give(ControlRequested{1'000, ControlVerb::pause, ControlRequest{kTenant, "a", "", ""}});
  around.settle();
  around.give(ControlRequested{1'001, ControlVerb::resume, ControlRequest{kTenant, "a", "", ""}});
  around.finish(last_task(around, "step"), "1");
  around.settle();
  std::map<Position, int> attempts;
  for (const RunAction& run : around.asked.actions) ++attempts[run.task->position];
  for (const auto& [position, count] : attempts) EXPECT_EQ(count, 1) << position;
}

// rules: 16, 22
TEST(ShardGraphs, NothingBeginsAfterACancellationThatTheCodeHasNotHeardOf) {
  Surroundings around(graph_and_action);
  around.register_action("step");
  around.register_action("charge");
  around.start("a");
  around.settle();
  around.restart();
  around.register_action("step");
  around.register_action("charge");
  around.give(ResumeExecutions{{1}});
  around.settle();
  around.give(ControlRequested{1'000, ControlVerb::cancel, ControlRequest{kTenant, "a", "", ""}});
  around.settle();
  around.finish(last_task(around, "step"), "1");
  around.settle();
  EXPECT_EQ(around.names("a", EventType::graph_action_completed).size(), 1U);
  EXPECT_EQ(around.names("a", EventType::graph_action_scheduled).size(), 1U);
}

// rules: 15, 16
TEST(ShardGraphs, AStepIsTriedAgainThoughItsCodeIsMissing) {
  Surroundings around(graph_and_action);
  around.register_action("step");
  around.register_action("charge");
  around.start("a");
  around.settle();
  around.restart();
  around.register_action("step");
  around.register_action("charge");
  around.give(ResumeExecutions{{1}});
  around.settle();
  const std::size_t before = around.asked.actions.size();
  around.fail(last_task(around, "step"), Failure{.message = "no connection"});
  around.settle();
  around.advance_to_tick();
  around.settle();
  ASSERT_EQ(around.asked.actions.size(), before + 1);
  EXPECT_EQ(last_task(around, "step").attempt, 2);
}

// ---- actions that are written in place

ActionOptions in_place() {
  ActionOptions options;
  options.in_place = true;
  return options;
}

// Out of memory between the attempts: the code is rebuilt for the next one.
// rules: 2, 14, 15
TEST(ShardInPlace, AnAttemptBeginsWhenItsCodeIsThere) {
  Surroundings around(
      [](Script& script) {
        const auto outcome = script.action(script.start_action("here", "{}", in_place()));
        return std::get<Payload>(outcome).bytes;
      },
      no_cache());
  around.register_action(std::string(kInPlaceAction));
  around.start("a");
  around.settle();
  for (int attempt = 1; attempt < 4; ++attempt) {
    ASSERT_EQ(around.asked.actions.size(), static_cast<std::size_t>(attempt));
    EXPECT_TRUE(last_task(around, "here").in_place);
    EXPECT_EQ(last_task(around, "here").attempt, attempt);
    EXPECT_EQ(around.cached(), 1U) << "its code is needed as long as it runs";
    around.fail(last_task(around, "here"), Failure{.message = "not yet"});
    around.settle();
    around.give(Tick{});
    EXPECT_EQ(around.cached(), 0U);
    around.advance_to_tick();
    around.settle();
  }
  around.restart();
  around.register_action(std::string(kInPlaceAction));
  around.register_workflow();
  around.give(ResumeExecutions{{1}});
  around.settle();
  around.give(Tick{});
  around.settle();
  ASSERT_EQ(around.asked.actions.size(), 1U);
  EXPECT_EQ(last_task(around, "here").attempt, 4);
  around.finish(last_task(around, "here"), "7");
  around.settle();
  EXPECT_EQ(around.status("a"), ExecutionStatus::completed);
}

// ---- code that was mended, and calls behind what fails

// The instance was there before the mended code was registered, and departs only afterwards.
// rule: 20
TEST(ShardCode, WhatWasRegisteredSinceAnInstanceBeganIsTriedWhereThatGetsStuck) {
  bool broken = true;
  Surroundings around([&broken](Script& script) -> std::string {
    script.wait_for({"Go"});
    if (broken) script.violate("the code of before");
    return "1";
  });
  around.start("a");
  around.settle();
  around.register_workflow();
  around.settle();
  around.submit("a", "Go");
  ASSERT_TRUE(around.run_code());
  broken = false;
  around.settle();
  EXPECT_EQ(around.status("a"), ExecutionStatus::completed);
}

// Its end is asked for before the engine comes to what it has to take up.
// rule: 20
TEST(ShardCode, WhatIsStuckIsTriedAtAnOpeningThoughSomebodyAskedForItBefore) {
  bool broken = true;
  Surroundings around([&broken](Script& script) -> std::string {
    script.wait_for({"Go"});
    if (broken) script.violate("the code of before");
    return "1";
  });
  around.start("a");
  around.settle();
  around.submit("a", "Go");
  around.settle();
  ASSERT_EQ(around.status("a"), ExecutionStatus::stuck);
  broken = false;
  around.restart();
  around.register_workflow();
  const RequestId end = around.await_end("a");
  around.settle();
  around.give(ResumeExecutions{{1}});
  around.settle();
  EXPECT_EQ(around.status("a"), ExecutionStatus::completed);
  EXPECT_NE(around.reply_to(end), nullptr);
}

// Once: code that is as broken stays set aside.
TEST(ShardCode, WhatIsAsBrokenStaysStuck) {
  Surroundings around([](Script& script) -> std::string {
    script.wait_for({"Go"});
    script.violate("the code of before and after");
  });
  around.start("a");
  around.settle();
  around.register_workflow();
  around.submit("a", "Go");
  around.settle();
  EXPECT_EQ(around.status("a"), ExecutionStatus::stuck);
}

// rule: 22
TEST(ShardRetries, CallsBehindOneThatDoesNotGetOffTheGroundAreAnswered) {
  bool fails = true;
  Surroundings around([&fails](Script& script) -> std::string {
    if (!fails) script.violate("broken in another way now");
    throw Failure{.message = "no luck"};
  });
  around.start("a");
  around.settle();
  ASSERT_EQ(around.status("a"), ExecutionStatus::failed);
  fails = false;
  constexpr RequestId kRetry = 1'000;
  around.give(ControlRequested{kRetry, ControlVerb::retry, ControlRequest{kTenant, "a", "", ""}});
  const RequestId event = around.submit("a", "Go");
  const RequestId end = around.await_end("a");
  around.settle();
  EXPECT_EQ(around.error_told(kRetry).find("not_deterministic"), 0U);
  EXPECT_EQ(around.error_told(event).find("execution_ended"), 0U);
  EXPECT_NE(around.reply_to(end), nullptr);
  EXPECT_EQ(around.status("a"), ExecutionStatus::failed);
}

// A timer that is due and can't be taken lies in the store as well.
TEST(ShardEviction, OneThatWaitsForItsCodeLeavesMemoryAndComesBack) {
  Surroundings around(
      [](Script& script) -> std::string {
        script.slept(script.start_sleep(1'000));
        return "1";
      },
      no_cache());
  around.start("a");
  around.settle();
  around.restart();
  around.give(Tick{});
  around.settle();
  around.now += 2'000;
  around.give(Tick{});
  around.settle();
  EXPECT_EQ(around.cached(), 0U);
  EXPECT_EQ(around.status("a"), ExecutionStatus::running);
  around.register_workflow();
  around.settle();
  around.give(Tick{});
  around.settle();
  EXPECT_EQ(around.status("a"), ExecutionStatus::completed);
}

// ---- mail to one that has too many events

// Two events of one sender came while the code ran; the first finds no room, the second somebody who waits.
// rule: 11
TEST(ShardMail, WhatFindsSomebodyDoesNotOvertakeWhatFindsNoRoom) {
  Limits limits;
  limits.events_buffered_max = 1;
  Surroundings around(
      [](Script& script) -> std::string {
        if (script.started().execution_id == "sender") {
          script.emit_event("First", "1", "a");
          script.emit_event("Second", "2", "a");
          return "1";
        }
        for (const char* const name : {"Go", "Second", "Kept", "First", "Second"}) {
          script.wait_for({name});
        }
        return "2";
      },
      limits);
  around.start("a");
  around.settle();
  around.submit("a", "Kept");
  around.settle();
  around.start("sender");
  around.run_code();
  around.submit("a", "Go");
  around.commit();
  around.settle();
  const auto received = [&around] { return around.names("a", EventType::event_received); };
  EXPECT_EQ(received(), (std::vector<std::string>{"Kept", "Go"}));
  around.submit("a", "Second");
  around.settle();
  EXPECT_EQ(received(), (std::vector<std::string>{"Kept", "Go", "Second", "First", "Second"}));
  EXPECT_EQ(around.status("a"), ExecutionStatus::completed);
}

// ---- events that lie in the inbox

// An execution without code here, with one event in its inbox, and another one with a key on its way.
struct EventsWithoutCode {
  EventsWithoutCode() {
    around.start("a");
    around.settle();
    around.restart();
    around.submit("a", "First");
    around.settle();
    around.submit("a", "Second", "key");
    EXPECT_EQ(around.asked.inbox_lookups.size(), 1U);
  }
  std::vector<std::string> received() {
    around.settle();
    return around.names("a", EventType::event_received);
  }

  Surroundings around{wait_for_go};
};

TEST(ShardInbox, AnEventWithAKeyStaysBehindThoseThatCameBeforeIt) {
  EventsWithoutCode events;
  events.around.settle();
  events.around.register_workflow();
  EXPECT_EQ(events.received(), (std::vector<std::string>{"First", "Second"}));
}

TEST(ShardInbox, AnEventWithAKeyStaysBehindThemWhenTheCodeComesMeanwhile) {
  EventsWithoutCode events;
  events.around.register_workflow();
  EXPECT_EQ(events.received(), (std::vector<std::string>{"First", "Second"}));
}

TEST(ShardInbox, AnAnswerAboutAnotherKeyIsIgnored) {
  Surroundings around(wait_for_go);
  around.start("a");
  around.settle();
  const RequestId first = around.submit("a", "Other", "one");
  around.settle();
  const std::string recorded = around.event_id_told(first);
  around.restart();
  around.register_workflow();
  around.submit("a", "Other");
  around.load();
  around.run_code();
  ASSERT_EQ(around.asked.commits.size(), 1U);
  // While that commit is under way, the key is asked about; then the commit fails.
  const RequestId again = around.submit("a", "Other", "one");
  const InboxFound late = around.take_lookup();
  ASSERT_EQ((**late.found).event_id, recorded);
  around.fail_commit();
  EXPECT_NE(around.error_told(again), "none");
  const RequestId other = around.submit("a", "Other", "two");
  around.load();
  around.give(late);
  EXPECT_EQ(around.reply_to(other), nullptr) << "it was asked about another key";
  around.settle();
  EXPECT_EQ(around.event_id_told(other), "event-" + std::to_string(other));
}

// ---- those who wait for the end

TEST(ShardWaiters, OfAnExecutionWhoseCreationWasLostAreTold) {
  Surroundings around(wait_for_go);
  const RequestId start = around.start("a");
  around.run_code();
  const RequestId wait = around.await_end("a");
  const RequestId bounded = around.await_end("a", 3'600'000);
  around.fail_commit();
  EXPECT_NE(around.error_told(start), "none");
  around.advance_to_tick();  // it is loaded again, and is not there
  around.settle();
  for (const RequestId request : {wait, bounded}) {
    EXPECT_EQ(around.error_told(request),
              "unknown_execution: There is no execution 'a' in tenant 'acme'.");
  }
  EXPECT_FALSE(around.next_tick()) << "nobody waits any more";
}

// ---- timers

TEST(ShardTimers, BeyondTheWindowDoNotKeepTheNextLoadAway) {
  Surroundings around([](Script& script) -> std::string {
    script.slept(script.start_sleep(3'600'000));
    return "1";
  });
  const Timestamp began = around.now;
  // The shard asks for timers; the answer is still under way when one more is set.
  ASSERT_EQ(around.asked.timer_loads.size(), 1U);
  around.asked.timer_loads.clear();
  around.start("a");
  around.run_code();
  around.commit();
  // As many as are loaded at once, all before that one, of an execution that is not there.
  constexpr ExecutionRef kNobody = 1'000;
  std::vector<TimerRecord> page;
  for (Position position = 1; position <= kTimersLoadedAtOnce; ++position) {
    page.push_back(TimerRecord{kNobody, position, TimerKind::sleep, began + position});
  }
  around.give(TimersLoaded{page});
  around.now = page.back().fire_at;
  around.give(Tick{});
  around.load();
  // There may be others in the store between the last of these and the one that was set.
  ASSERT_EQ(around.asked.timer_loads.size(), 1U);
  EXPECT_EQ(around.asked.timer_loads[0].fire_at, page.back().fire_at);
  around.load_timers();
  EXPECT_EQ(around.next_tick(), began + 3'600'000);
  around.advance_to_tick();
  around.settle();
  EXPECT_EQ(around.status("a"), ExecutionStatus::completed);
}

TEST(ShardTimers, AreLoadedAgainLaterWhenTheStoreFails) {
  Surroundings around(wait_for_go);
  ASSERT_EQ(around.asked.timer_loads.size(), 1U);
  around.asked.timer_loads.clear();
  around.give(TimersLoaded{Error{ErrorCode::store_unavailable, "says the test", {}}});
  around.give(Tick{});
  EXPECT_TRUE(around.asked.timer_loads.empty()) << "not at once, or it would never cease";
  ASSERT_TRUE(around.next_tick());
  around.advance_to_tick();
  EXPECT_EQ(around.asked.timer_loads.size(), 1U);
}

// ---- a clock that is set back

// rule: 13
TEST(ShardClock, SetBackDoesNotTakeTheTimeOfStepsBack) {
  for (const Limits& limits : {Limits{}, no_cache()}) {
    std::vector<Timestamp> seen;  // one of each step: a script runs from its beginning each time
    Surroundings around(
        [&seen](Script& script) -> std::string {
          seen.push_back(script.now());
          for (int events = 0; events < 3; ++events) script.wait_for({"Go"});
          return "1";
        },
        limits);
    const Timestamp began = around.now;
    around.start("a");
    around.settle();
    around.now = began + 5'000;
    around.submit("a", "Go");
    around.settle();
    around.now = began - 3'600'000;
    around.submit("a", "Go");
    around.settle();
    EXPECT_EQ(seen.back(), began + 5'000);
    // Another process, whose clock is behind as well, knows it from the history.
    around.restart();
    around.register_workflow();
    seen.clear();
    around.submit("a", "Go");
    around.settle();
    EXPECT_EQ(around.status("a"), ExecutionStatus::completed);
    EXPECT_EQ(seen, (std::vector<Timestamp>{began, began + 5'000, began + 5'000, began + 5'000}));
  }
}

// ---- what actions are told

// Asks for an action after the first event, and goes on without it.
std::string charge_at_the_first_event(Script& script) {
  script.wait_for({"Go"});
  const Position charge = script.start_action("charge", "1");
  for (;;) {
    const Position more = script.start_wait({"More"});
    if (script.first({charge, more}) == charge) return "1";
  }
}

// rule: 6
TEST(ShardActions, KnowTheEventThatLedToThemHoweverLateTheyStart) {
  for (const bool after_restart : {false, true}) {
    Surroundings around(charge_at_the_first_event);
    around.start("a");
    around.settle();
    const RequestId first = around.submit("a", "Go");
    around.settle();
    // More of them than ids are kept of events that nothing pending was caused by.
    for (int later = 0; later < 300; ++later) {
      around.submit("a", "More");
      around.settle();
    }
    if (after_restart) {
      around.restart();
      around.register_workflow();
      around.give(ResumeExecutions{{1}});
      around.settle();
    }
    ASSERT_TRUE(around.asked.actions.empty()) << "nobody has registered it";
    around.register_action("charge");
    ASSERT_EQ(around.asked.actions.size(), 1U);
    EXPECT_EQ(around.asked.actions[0].task->event_id, "event-" + std::to_string(first));
  }
}

// ---- hosts that work on so many attempts at once

std::string charge_and_mail(Script& script) {
  const Position charge = script.start_action("charge", "1");
  const Position mail = script.start_action("mail", "1");
  script.first({charge, mail});
  script.wait_for({"End"});
  return "1";
}

std::vector<std::string> handed_out(const Outputs& out) {
  std::vector<std::string> names;
  for (const RunAction& action : out.actions) {
    names.push_back(action.task->execution_id + " " + action.task->name);
  }
  return names;
}

// rule: 26
TEST(ShardActionHosts, AreHandedNoMoreThanTheyWorkOnAtOnce) {
  Surroundings around(charge_then_wait);
  around.register_action("charge", 0, 2);
  for (const char* id : {"a", "b", "c", "d"}) around.start(id);
  around.settle();
  EXPECT_EQ(handed_out(around.asked), (std::vector<std::string>{"a charge", "b charge"}));
  // However long they take, no attempt of the others is used up.
  const ActionTask second = *around.asked.actions.at(1).task;
  around.asked.actions.clear();
  around.now += second.timeout - 1;
  around.finish(second, "42");
  around.settle();
  EXPECT_EQ(handed_out(around.asked), std::vector<std::string>{"c charge"});
  EXPECT_EQ(around.asked.actions.at(0).task->attempt, 1);
  const ActionTask third = *around.asked.actions.at(0).task;
  around.asked.actions.clear();
  around.advance_to_tick();
  EXPECT_EQ(around.asked.aborts.size(), 1U) << "the first one is out of time";
  around.settle();
  EXPECT_TRUE(around.asked.actions.empty()) << "its handler still has its place";
  around.finish(third, "42");
  around.settle();
  EXPECT_EQ(handed_out(around.asked), std::vector<std::string>{"d charge"});
}

// rule: 15
TEST(ShardActions, HaveSixtySecondsWhereNothingElseIsSaid) {
  Surroundings around(charge_then_wait);
  around.register_action("charge");
  around.start("a");
  around.settle();
  ASSERT_EQ(around.asked.actions.size(), 1U);
  EXPECT_EQ(around.asked.actions.at(0).task->timeout, 60'000);
  around.now += 59'999;
  around.give(Tick{});
  EXPECT_TRUE(around.asked.aborts.empty());
  ++around.now;
  around.give(Tick{});
  ASSERT_EQ(around.asked.aborts.size(), 1U);
  EXPECT_EQ(around.asked.aborts.at(0).attempt, around.asked.actions.at(0).task->id);
}

TEST(ShardActionHosts, TimeCountsFromWhereAHandlerBeginsIfTheHostReportsIt) {
  Surroundings around(charge_then_wait);
  ActionRegistered registered{"charge", {}, 0};
  registered.host_reports_begin = true;
  around.give(registered);
  around.start("a");
  around.start("b");
  around.settle();
  EXPECT_EQ(handed_out(around.asked), (std::vector<std::string>{"a charge", "b charge"}));
  const ActionTask first = *around.asked.actions.at(0).task;
  const ActionTask second = *around.asked.actions.at(1).task;
  around.give(ActionBegun{first.id, first.execution, first.position});
  around.advance_to_tick();
  around.settle();
  ASSERT_EQ(around.asked.aborts.size(), 1U) << "the other one waits for a thread";
  EXPECT_EQ(around.asked.aborts.at(0).attempt, first.id);
  around.give(ActionBegun{first.id, first.execution, first.position});  // too late: it is over
  around.asked.aborts.clear();
  around.now += second.timeout;
  around.give(ActionBegun{second.id, second.execution, second.position});
  around.now += second.timeout - 1;
  around.give(Tick{});
  EXPECT_TRUE(around.asked.aborts.empty());
  ++around.now;
  around.give(Tick{});
  ASSERT_EQ(around.asked.aborts.size(), 1U);
  EXPECT_EQ(around.asked.aborts.at(0).attempt, second.id);
}

TEST(ShardActionHosts, GetThePlaceBackOfAnAttemptThatWasGivenUpOnceTheyAnswer) {
  Surroundings around(charge_then_wait);
  around.register_action("charge", 0, 1);
  around.start("a");
  around.start("b");
  around.settle();
  const ActionTask first = *around.asked.actions.at(0).task;
  around.asked.actions.clear();
  around.advance_to_tick();
  around.settle();
  EXPECT_TRUE(around.asked.actions.empty());
  around.finish(first, "42");
  EXPECT_EQ(handed_out(around.asked), std::vector<std::string>{"b charge"});
}

TEST(ShardActionHosts, DoNotWaitForEachOther) {
  Surroundings around(charge_and_mail);
  around.register_action("charge", 0, 1);
  around.register_action("mail", 1, 2);
  for (const char* id : {"a", "b", "c"}) around.start(id);
  around.settle();
  std::vector<std::string> names = handed_out(around.asked);
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{"a charge", "a mail", "b mail"}));
}

TEST(ShardActionHosts, TakeTurnsAtWhatIsInFlightAtMost) {
  Limits limits;
  limits.actions_in_flight_max = 1;
  Surroundings around(charge_and_mail, limits);
  around.register_action("charge", 0, 8);
  around.register_action("mail", 1, 8);
  around.start("a");
  around.start("b");
  around.settle();
  std::vector<std::string> names;
  for (int turn = 0; turn < 4; ++turn) {
    ASSERT_EQ(around.asked.actions.size(), 1U);
    const ActionTask task = *around.asked.actions.at(0).task;
    names.push_back(task.name);
    around.asked.actions.clear();
    around.finish(task, "42");
    around.settle();
  }
  EXPECT_NE(names[0], names[1]);
  EXPECT_NE(names[1], names[2]);
  EXPECT_NE(names[2], names[3]);
}

// ---- limits

// Its code slips what is over a limit past a host that checks nothing.
// rule: 26
TEST(ShardLimits, ACommandOverThemFailsTheExecutionAndNothingElse) {
  const std::string long_name(256, 'n');
  const std::string big = fmt::format("\"{:x<{}}\"", "", 2 * 1024 * 1024);
  const std::vector<std::pair<ScriptFunction, std::string>> cases = {
      {[](Script& script) { return script.set_state(""), "1"; }, "state is missing"},
      {[&](Script& script) { return script.set_state(long_name), "1"; }, "name_bytes_max"},
      {[](Script& script) { return script.set_state(std::string("a\0b", 3)), "1"; }, "no text"},
      {[](Script& script) { return script.start_wait({"a\xff", "b"}), "1"; }, "no text"},
      {[](Script& script) { return script.set_data("", "1"), "1"; }, "key of data is missing"},
      {[&](Script& script) { return script.set_data("a", big), "1"; }, "payload_bytes_max"},
      {[](Script& script) { return script.emit_event("\xff", "1"), "1"; }, "no text"},
      {[&](Script& script) { return script.emit_event("a", big), "1"; }, "payload_bytes_max"},
      {[](Script& script) { return script.start_action("", "1"), "1"; }, "name of an action"},
      {[&](Script& script) { return script.start_action("a", big), "1"; }, "payload_bytes_max"},
      {[](Script& script) {
         ActionOptions options;
         options.retry.emplace().non_retryable = {"a\xff"};
         return script.start_action("a", "1", options), "1";
       },
       "not retried"},
      {[&](Script&) { return big; }, "payload_bytes_max"},
  };
  for (const auto& [code, told] : cases) {
    Surroundings around(wait_for_go);
    around.start("a");
    around.settle();
    around.change_code(code);
    around.start("b");
    around.settle();
    EXPECT_EQ(around.status("b"), ExecutionStatus::failed) << told;
    EXPECT_NE(around.error("b").message.find(told), std::string::npos) << around.error("b").message;
    EXPECT_EQ(around.error("b").name, "LimitError");
    around.change_code(wait_for_go);
    around.submit("a", "Go");
    around.settle();
    EXPECT_EQ(around.status("a"), ExecutionStatus::completed) << told;
  }
}

TEST(ShardLimits, AResultOfAnActionOverThemIsAFailureOfIt) {
  Surroundings around(charge_then_wait);
  around.register_action("charge");
  around.start("a");
  around.settle();
  around.finish(*around.asked.actions.at(0).task, fmt::format("\"{:x<{}}\"", "", 2 * 1024 * 1024));
  around.settle();
  EXPECT_EQ(around.asked.actions.size(), 1U) << "the next attempt would give no less";
  EXPECT_EQ(around.status("a"), ExecutionStatus::failed);
  EXPECT_EQ(around.error("a").code, "payload_too_large");
}

// The length of what an action failed with, and then a wait.
std::string note_the_failure(Script& script) {
  const Position charge = script.start_action("charge", "1");
  const auto outcome = script.action(charge);
  script.set_state(std::to_string(std::get<Failure>(outcome).message.size()));
  script.wait_for({"Go"});
  return "1";
}

// rule: 3
TEST(ShardLimits, CodeSeesAsMuchOfAFailureAtOnceAsOnReplay) {
  Surroundings around(note_the_failure);
  around.register_action("charge");
  around.start("a");
  around.settle();
  around.fail(*around.asked.actions.at(0).task, Failure{.message = std::string(5 << 20, 'x'),
                                                        .failure_class = FailureClass::permanent});
  around.settle();
  around.restart();
  around.register_workflow();
  around.submit("a", "Go");
  around.settle();
  EXPECT_EQ(around.status("a"), ExecutionStatus::completed);
  EXPECT_EQ(around.names("a", EventType::state_changed),
            std::vector<std::string>{std::to_string(kFailureMessageBytesMax)});
}

TEST(ShardLoads, ARecordThatCannotBeReadIsAnErrorOfItsExecutionOnly) {
  Surroundings around(wait_for_go);
  around.start("a");
  around.start("b");
  around.settle();
  around.make_unreadable("a");
  around.restart();
  around.register_workflow();
  around.give(ResumeExecutions{{1, 2}});
  around.settle();
  ASSERT_FALSE(around.asked.logs.empty());
  EXPECT_EQ(around.asked.logs.at(0).execution_id, "a");
  const RequestId refused = around.submit("a", "Go");
  around.submit("b", "Go");
  around.settle();
  EXPECT_NE(around.error_told(refused).find("'names' has the wrong type"), std::string::npos)
      << around.error_told(refused);
  EXPECT_EQ(around.status("a"), ExecutionStatus::running) << "nothing of it is changed";
  EXPECT_EQ(around.status("b"), ExecutionStatus::completed);
}

// ---- for ever

constexpr DurationMs kForEver = std::numeric_limits<DurationMs>::max();

std::string sleep_for_ever(Script& script) {
  script.slept(script.start_sleep(kForEver));
  return "1";
}

std::string wait_for_ever(Script& script) {
  script.event(script.start_wait({"Go"}, kForEver));
  return "1";
}

std::string act_for_ever(Script& script) {
  ActionOptions options;
  options.timeout = kForEver;
  script.action(script.start_action("charge", "1", options));
  return "1";
}

TEST(ShardTimers, ThoseThatAreNeverDueDoNotFire) {
  constexpr Timestamp kYear = Timestamp{365} * 24 * 3'600 * 1'000;
  for (const auto code : {sleep_for_ever, wait_for_ever, act_for_ever}) {
    Surroundings around(code);
    around.register_action("charge");
    around.start("a");
    around.settle();
    ASSERT_TRUE(around.next_tick());
    EXPECT_GT(*around.next_tick(), 100'000 * kYear);
    around.now += 1'000 * kYear;
    around.give(Tick{});
    around.settle();
    EXPECT_EQ(around.status("a"), ExecutionStatus::running);
  }
}

}  // namespace
}  // namespace pawl
