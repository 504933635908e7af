// What could not be delivered, and what operators make of it: on a store in a file, and on one that workers share.

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/shard.h"
#include "pawl/client.h"
#include "pawl/pawl.h"
#include "pawl/postgres.h"
#include "tests/support/child_program.h"
#include "tests/support/postgres_server.h"
#include "tests/support/temporary_folder.h"

namespace pawl {
namespace {

using namespace std::chrono_literals;

constexpr const char* kTenant = "acme";

// Fails once, at its first event.
std::atomic<bool> broken = true;

pawl::Workflow<std::string> order(pawl::Context& ctx) {
  const auto first = co_await ctx.wait_for("First");
  if (broken) throw std::runtime_error("broken");
  const auto second = co_await ctx.wait_for("Second");
  co_return fmt::format("{} {}", first.payload.bytes, second.payload.bytes);
}

// Tells another execution.
pawl::Workflow<void> sender(pawl::Context& ctx, std::string receiver) {
  ctx.emit_to(receiver, "First", std::string("from sender"));
  co_return;
}

class DeadLetters : public ::testing::TestWithParam<const char*> {
 protected:
  static test::PostgresServer& server() {
    static test::PostgresServer one;
    return one;
  }

  DeadLetters() {
    use_postgres_stores();
    broken = true;
    address_ = in_postgres() ? server().new_database_address()
                             : "sqlite:" + (folder_.path() / "pawl.db").string();
  }

  static bool in_postgres() { return GetParam() == std::string("postgresql"); }

  WorkflowRuntime open() const {
    WorkflowRuntimeOptions options;
    options.store = address_;
    options.lease = 600ms;
    options.log = [](const LogLine&) {};
    auto runtime = WorkflowRuntime::open(options);
    if (!runtime) throw std::runtime_error(runtime.error().message);
    runtime->register_workflow("Order", &order).value();
    runtime->register_workflow("Sender", &sender).value();
    return std::move(*runtime);
  }

  static std::vector<DeadLetter> letters(WorkflowRuntime& runtime, const std::string& id = "") {
    auto page = runtime.list_dead_letters({.tenant = kTenant, .execution_id = id});
    if (!page) throw std::runtime_error(page.error().message);
    return std::move(page->letters);
  }
  static std::vector<DeadLetter> wait_for_letters(WorkflowRuntime& runtime,
                                                  const std::size_t count) {
    for (;;) {
      auto found = letters(runtime);
      if (found.size() == count) return found;
      std::this_thread::sleep_for(10ms);
    }
  }
  static std::string status_of(WorkflowRuntime& runtime, const std::string& id) {
    const auto ended =
        runtime.wait_for_workflow_completion<Json>(id, {.tenant = kTenant, .wait_max = 60s});
    return ended ? ended->status : ended.error().message;
  }

  const TemporaryFolder folder_;
  std::string address_;
};

INSTANTIATE_TEST_SUITE_P(Stores, DeadLetters, ::testing::Values("sqlite", "postgresql"),
                         [](const auto& of) { return std::string(of.param); });

// rule: 28
TEST_P(DeadLetters, AnEventForNobodyIsDeliveredOnceSomebodyIsThere) {
  WorkflowRuntime runtime = open();
  broken = false;
  runtime
      .start_workflow("Sender", std::string("order-7"),
                      {.tenant = kTenant, .execution_id = "sender"})
      .value();
  const DeadLetter letter = wait_for_letters(runtime, 1).front();
  EXPECT_EQ(letter.execution_id, "order-7");
  EXPECT_EQ(letter.kind, "event");
  EXPECT_EQ(letter.name, "First");
  EXPECT_EQ(letter.payload.bytes, "\"from sender\"");
  EXPECT_EQ(letter.attempts, 0);
  EXPECT_NE(letter.error.find("no execution 'order-7'"), std::string::npos) << letter.error;

  // Too early: the same again, and the attempt counts.
  EXPECT_EQ(runtime.retry_dead_letter(letter.id, kTenant)->attempts, 1);
  EXPECT_EQ(wait_for_letters(runtime, 1).front().attempts, 1);

  runtime.start_workflow("Order", {.tenant = kTenant, .execution_id = "order-7"}).value();
  EXPECT_EQ(runtime.retry_dead_letter(letter.id, kTenant)->attempts, 2);
  ASSERT_TRUE(runtime.submit_event("order-7", "Second", std::string("2"), {.tenant = kTenant}));
  const auto ended = runtime.wait_for_workflow_completion<std::string>(
      "order-7", {.tenant = kTenant, .wait_max = 60s});
  ASSERT_TRUE(ended) << ended.error().message;
  EXPECT_EQ(ended->result, "\"from sender\" \"2\"");
  EXPECT_TRUE(letters(runtime).empty());

  const auto late = runtime.retry_dead_letter(letter.id, kTenant);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::wrong_status);
  EXPECT_NE(late.error().message.find("delivered"), std::string::npos) << late.error().message;
}

// What waited for its turn in an execution that failed; its sender gave it a key.
// rule: 28
TEST_P(DeadLetters, WhatWaitedInAnExecutionThatFailedIsDeliveredAfterItsRetry) {
  WorkflowRuntime runtime = open();
  runtime.start_workflow("Order", {.tenant = kTenant, .execution_id = "order-7"}).value();
  runtime.pause_workflow("order-7", {.tenant = kTenant}).value();
  const auto first = runtime.enqueue_event("order-7", "First", std::string("1"),
                                           {.tenant = kTenant, .idempotency_key = "one"});
  const auto second = runtime.enqueue_event("order-7", "Second", std::string("2"),
                                            {.tenant = kTenant, .idempotency_key = "two"});
  ASSERT_TRUE(first && second);
  runtime.resume_workflow("order-7", {.tenant = kTenant}).value();
  EXPECT_EQ(status_of(runtime, "order-7"), "failed");
  const DeadLetter letter = wait_for_letters(runtime, 1).front();
  EXPECT_EQ(letter.id, second->processing_id);
  EXPECT_EQ(letter.execution_id, "order-7");
  EXPECT_EQ(letter.idempotency_key, "two");

  broken = false;
  runtime.retry_workflow("order-7", {.tenant = kTenant}).value();
  ASSERT_TRUE(runtime.retry_dead_letter(letter.id, kTenant));
  EXPECT_EQ(status_of(runtime, "order-7"), "completed");
  EXPECT_TRUE(letters(runtime).empty());
}

TEST_P(DeadLetters, OneThatIsDroppedIsListedNoMore) {
  WorkflowRuntime runtime = open();
  for (const char* const id : {"a", "b"}) {
    runtime.start_workflow("Sender", std::string("nobody"), {.tenant = kTenant, .execution_id = id})
        .value();
  }
  const auto found = wait_for_letters(runtime, 2);
  EXPECT_EQ(letters(runtime, "nobody").size(), 2U);
  EXPECT_TRUE(letters(runtime, "somebody").empty());
  const auto page = runtime.list_dead_letters({.tenant = kTenant, .limit = 1});
  ASSERT_TRUE(page);
  ASSERT_EQ(page->letters.size(), 1U);
  const auto rest = runtime.list_dead_letters({.tenant = kTenant, .cursor = page->cursor});
  ASSERT_EQ(rest->letters.size(), 1U);
  EXPECT_EQ(rest->letters.front().id, found.back().id);
  EXPECT_EQ(rest->cursor, "");

  EXPECT_EQ(runtime.drop_dead_letter(found.front().id, kTenant)->name, "First");
  EXPECT_EQ(wait_for_letters(runtime, 1).front().id, found.back().id);
}

TEST_P(DeadLetters, WhatMakesNoSenseIsRefused) {
  WorkflowRuntime runtime = open();
  const auto code = [&](const std::string& id, const std::string& tenant) {
    const auto retried = runtime.retry_dead_letter(id, tenant);
    const auto dropped = runtime.drop_dead_letter(id, tenant);
    EXPECT_EQ(retried.error().code, dropped.error().code);
    EXPECT_EQ(retried.error().message, dropped.error().message);
    return std::string(to_string(retried.error().code)) + ": " + retried.error().message;
  };
  EXPECT_EQ(code("4711", kTenant),
            "invalid_argument: There is no dead letter 4711 in tenant 'acme'. A list of them gives "
            "their ids.");
  for (const char* const id : {"", "0", "-1", "one", "99999999999999999999", "1 "}) {
    EXPECT_TRUE(code(id, kTenant).starts_with("invalid_argument: ")) << id;
  }
  EXPECT_TRUE(code("1", "").starts_with("invalid_argument: The tenant is missing"));
  for (const int limit : {0, -1, 1'001}) {
    EXPECT_EQ(runtime.list_dead_letters({.tenant = kTenant, .limit = limit}).error().code,
              ErrorCode::invalid_argument);
  }
  EXPECT_EQ(runtime.list_dead_letters({.tenant = kTenant, .cursor = "next"}).error().code,
            ErrorCode::invalid_argument);
  EXPECT_EQ(runtime.list_dead_letters({}).error().code, ErrorCode::invalid_argument);
  // One that was delivered.
  broken = false;
  runtime.start_workflow("Order", {.tenant = kTenant, .execution_id = "order-7"}).value();
  const auto sent =
      runtime.enqueue_event("order-7", "First", std::string("1"), {.tenant = kTenant});
  ASSERT_TRUE(runtime.submit_event("order-7", "Second", std::string("2"), {.tenant = kTenant}));
  EXPECT_EQ(status_of(runtime, "order-7"), "completed");
  EXPECT_EQ(
      code(sent->processing_id, kTenant),
      fmt::format("wrong_status: {} is no dead letter: it was delivered.", sent->processing_id));
  EXPECT_TRUE(code(sent->processing_id, "other").starts_with("invalid_argument: "))
      << "it is of another tenant";
}

// An operator's process beside the engine.
TEST(DeadLettersBeside, AreRetriedFromAnotherProcess) {
  const TemporaryFolder folder;
  const std::string store = "sqlite:" + (folder.path() / "pawl.db").string();
  broken = false;
  WorkflowRuntimeOptions options;
  options.store = store;
  options.log = [](const LogLine&) {};
  WorkflowRuntime runtime = WorkflowRuntime::open(options).value();
  runtime.register_workflow("Order", &order).value();
  runtime.register_workflow("Sender", &sender).value();
  runtime.start_workflow("Sender", std::string("order-7"), {.tenant = kTenant, .execution_id = "s"})
      .value();
  Client client = Client::open(store).value();
  std::vector<DeadLetter> found;
  while (found.empty()) {
    found = client.list_dead_letters({.tenant = kTenant}).value().letters;
    std::this_thread::sleep_for(10ms);
  }
  EXPECT_EQ(client.retry_dead_letter({kTenant, "7"}).error().code, ErrorCode::invalid_argument);
  runtime.start_workflow("Order", {.tenant = kTenant, .execution_id = "order-7"}).value();
  ASSERT_TRUE(client.retry_dead_letter({kTenant, found.front().id}));
  ASSERT_TRUE(runtime.submit_event("order-7", "Second", std::string("2"), {.tenant = kTenant}));
  const auto ended = runtime.wait_for_workflow_completion<std::string>(
      "order-7", {.tenant = kTenant, .wait_max = 60s});
  ASSERT_TRUE(ended) << ended.error().message;
  EXPECT_EQ(ended->result, "\"from sender\" \"2\"");
  EXPECT_EQ(client.drop_dead_letter({kTenant, found.front().id}).error().code,
            ErrorCode::wrong_status);
}

// Workers that end without a word, as the rows of the server have it, with an event that waits.
class LostOwners : public ::testing::Test {
 protected:
  LostOwners() { use_postgres_stores(); }

  WorkflowRuntime open(const bool part, const bool has_code = true) const {
    WorkflowRuntimeOptions options;
    options.store = address_;
    options.lease = 300ms;
    options.begin_at_once = false;
    options.log = [](const LogLine&) {};
    WorkflowRuntime runtime = WorkflowRuntime::open(options).value();
    if (has_code) runtime.register_workflow("Order", &order).value();
    if (part) runtime.begin();
    return runtime;
  }
  std::string sql(const std::string& text) const {
    return test::PostgresServer::ask(address_, text);
  }
  // What a worker leaves that is killed.
  void lose_owner() const {
    sql("UPDATE workflow_partitions SET owner = 'dead', epoch = epoch + 1, expires_at = "
        "clock_timestamp() - interval '1 hour'");
  }
  void wait_for_owner() const {
    while (sql("SELECT count(*) FROM workflow_partitions WHERE owner IS NULL OR "
               "expires_at < clock_timestamp()") != "0") {
      std::this_thread::sleep_for(10ms);
    }
  }

  test::PostgresServer server_;
  const std::string address_ = server_.new_database_address();
};

// rule: 28
TEST_F(LostOwners, AnEventThatEndsOneWorkerAfterTheOtherIsSetAside) {
  broken = false;
  {
    WorkflowRuntime first = open(true);
    wait_for_owner();
    first.start_workflow("Order", {.tenant = kTenant, .execution_id = "order-7"}).value();
    first.start_workflow("Order", {.tenant = kTenant, .execution_id = "paused"}).value();
    first.pause_workflow("paused", {.tenant = kTenant}).value();
    first.enqueue_event("paused", "First", std::string("later"), {.tenant = kTenant}).value();
  }
  WorkflowRuntime sender = open(false);
  const auto sent = sender.enqueue_event("order-7", "First", std::string("1"), {.tenant = kTenant});
  ASSERT_TRUE(sent) << sent.error().message;
  // Each has it in its hands, and ends. None of these is a worker of this test's: they leave the row as it is.
  const std::string count =
      "SELECT owners_lost FROM workflow_event_processing WHERE id = " + sent->processing_id;
  sql("UPDATE workflow_event_processing SET owners_lost = " + std::to_string(kOwnersLostMax) +
      " WHERE id = " + sent->processing_id);
  lose_owner();
  WorkflowRuntime last = open(true);
  wait_for_owner();
  std::vector<DeadLetter> found;
  while (found.empty()) {
    found = last.list_dead_letters({.tenant = kTenant}).value().letters;
    std::this_thread::sleep_for(10ms);
  }
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found.front().id, sent->processing_id);
  EXPECT_NE(found.front().error.find("6 workers"), std::string::npos) << found.front().error;
  EXPECT_EQ(found.front().payload.bytes, "\"1\"");
  EXPECT_EQ(sql(count), "6");
  EXPECT_EQ(sql("SELECT max(owners_lost) FROM workflow_event_processing e JOIN workflow_executions "
                "USING (execution) WHERE workflow_executions.execution_id = 'paused'"),
            "0")
      << "what can't be delivered ends nobody";

  // Retried, it counts anew.
  ASSERT_TRUE(sender.retry_dead_letter(sent->processing_id, kTenant));
  ASSERT_TRUE(sender.submit_event("order-7", "Second", std::string("2"), {.tenant = kTenant}));
  const auto ended = sender.wait_for_workflow_completion<std::string>(
      "order-7", {.tenant = kTenant, .wait_max = 60s});
  ASSERT_TRUE(ended) << ended.error().message;
  EXPECT_EQ(ended->result, "\"1\" \"2\"");
  EXPECT_EQ(sql(count), "0");
}

// Workers that exit in the code that it wakes, each taken over from by the next one: as mail, and as what an owner
// without that code has accepted.
// rule: 28
TEST_F(LostOwners, WorkersDieOfAnEventSixTimesAndNotMore) {
  WorkflowRuntime sender = open(false);
  std::size_t set_aside = 0;
  for (const bool accepted : {false, true}) {
    const std::string id = accepted ? "accepted" : "mailed";
    std::optional<WorkflowRuntime> owner = open(true, false);
    wait_for_owner();
    sender.start_workflow("Order", {.tenant = kTenant, .execution_id = id}).value();
    if (!accepted) owner.reset();
    (accepted ? *owner : sender)
        .enqueue_event(id, "Told", std::string("poison"), {.tenant = kTenant})
        .value();
    owner.reset();
    auto worker = std::make_unique<test::ChildProgram>("poison", std::vector{address_});
    int deaths = 0;
    ++set_aside;
    while (sender.list_dead_letters({.tenant = kTenant}).value().letters.size() < set_aside) {
      if (worker->has_ended()) {
        ++deaths;
        worker = std::make_unique<test::ChildProgram>("poison", std::vector{address_});
      }
      std::this_thread::sleep_for(10ms);
    }
    EXPECT_EQ(deaths, kOwnersLostMax + 1) << id;
    // The worker goes on with what else there is.
    sender.enqueue_event(id, "Told", std::string("fine"), {.tenant = kTenant}).value();
    const auto ended =
        sender.wait_for_workflow_completion<std::string>(id, {.tenant = kTenant, .wait_max = 60s});
    ASSERT_TRUE(ended) << ended.error().message;
    EXPECT_EQ(ended->result, "fine");
    EXPECT_FALSE(worker->has_ended());
  }
  EXPECT_EQ(sql("SELECT count(*) FROM workflow_event_processing WHERE owners_lost = 6 AND status = "
                "'failed' AND execution > 0"),
            "1")
      << "one of them was accepted";
}

TEST_F(LostOwners, APartitionThatWasGivenBackCountsNothing) {
  broken = false;
  WorkflowRuntime sender = open(false);
  const auto started = std::async(std::launch::async, [&] {
    sender.start_workflow("Order", {.tenant = kTenant, .execution_id = "order-7"}).value();
  });
  {
    WorkflowRuntime first = open(true);
    wait_for_owner();
    started.wait();
  }
  const auto sent = sender.enqueue_event("order-7", "First", std::string("1"), {.tenant = kTenant});
  ASSERT_TRUE(sent) << sent.error().message;
  WorkflowRuntime second = open(true);
  wait_for_owner();
  ASSERT_TRUE(sender.submit_event("order-7", "Second", std::string("2"), {.tenant = kTenant}));
  ASSERT_TRUE(sender.wait_for_workflow_completion<std::string>(
      "order-7", {.tenant = kTenant, .wait_max = 60s}));
  EXPECT_EQ(sql("SELECT max(owners_lost) FROM workflow_event_processing"), "0");
}

}  // namespace
}  // namespace pawl
