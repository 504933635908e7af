// Several workers on one PostgreSQL: each a runtime of its own, that shares nothing with the others but the database.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "pawl/pawl.h"
#include "pawl/postgres.h"
#include "tests/support/postgres_server.h"

namespace workers_shapes {

struct Stamp {
  struct Parameters {
    std::string text;
  };
  struct Result {
    std::string text;
  };
};
PAWL_DESCRIBE(Stamp::Parameters, text);
PAWL_DESCRIBE(Stamp::Result, text);

struct Deposit {
  struct Parameters {
    std::string account;
  };
  struct Result {
    int balance = 0;
  };
};
PAWL_DESCRIBE(Deposit::Parameters, account);
PAWL_DESCRIBE(Deposit::Result, balance);

pawl::SqlResult<Deposit::Result> deposit(const Deposit::Parameters& parameters,
                                         pawl::Transaction& sql) {
  const auto balance = sql.query_one<int>(
      "INSERT INTO accounts VALUES(?, 1) ON CONFLICT(account) DO UPDATE SET balance = "
      "accounts.balance + 1 RETURNING balance",
      parameters.account);
  if (!balance) return balance.error();
  return Deposit::Result{.balance = balance->value()};
}

pawl::Workflow<int> saver(pawl::Context& ctx, std::string account) {
  co_await ctx.run<Deposit>({.account = account});
  const auto second = co_await ctx.run<Deposit>({.account = account});
  co_return second->balance;
}

pawl::Workflow<std::string> approval(pawl::Context& ctx, std::string what) {
  ctx.set_state("waiting");
  const auto decision = co_await ctx.wait_for("Decide").within(std::chrono::hours(1));
  const auto stamped = co_await ctx.run<Stamp>({.text = what});
  ctx.set_state("done");
  co_return fmt::format("{} {}", stamped->text, decision->payload.bytes);
}

pawl::Workflow<std::string> parent(pawl::Context& ctx, int children) {
  std::vector<std::string> results;
  for (int at = 0; at < children; ++at) {
    auto child = ctx.start_child<std::string>("Leaf", fmt::format("leaf {}", at));
    const auto result = co_await child;
    results.push_back(result.has_value() ? *result : "failed");
  }
  co_return fmt::format("{}", fmt::join(results, ", "));
}

// The first time, its code does not come back for a long time.
inline std::atomic<int> sleeps = 0;
pawl::Workflow<std::string> sleepy(pawl::Context& ctx, std::string text) {
  const auto stamped = co_await ctx.run<Stamp>({.text = text});
  if (sleeps++ == 0) std::this_thread::sleep_for(std::chrono::seconds(3));
  co_return stamped->text;
}

pawl::Workflow<std::string> leaf(pawl::Context& ctx, std::string text) {
  const auto stamped = co_await ctx.run<Stamp>({.text = text});
  co_return stamped->text;
}

}  // namespace workers_shapes

namespace pawl {
namespace {

using namespace std::chrono_literals;
using namespace workers_shapes;

constexpr const char* kTenant = "acme";

class Workers : public ::testing::Test {
 protected:
  static test::PostgresServer& server() {
    static test::PostgresServer one;
    return one;
  }

  Workers() { use_postgres_stores(); }

  struct Serves {
    bool workflows = true;
    bool part = true;  // takes a part of the partitions
    bool actions = true;
  };

  std::unique_ptr<WorkflowRuntime> open(const Serves serves) {
    WorkflowRuntimeOptions options;
    options.store = address_;
    options.lease = 600ms;
    options.begin_at_once = false;
    options.log = [](const LogLine&) {};
    auto opened = WorkflowRuntime::open(options);
    if (!opened) throw std::runtime_error(opened.error().message);
    auto runtime = std::make_unique<WorkflowRuntime>(std::move(*opened));
    if (serves.workflows) {
      runtime->register_workflow("Approval", &approval).value();
      runtime->register_workflow("Parent", &parent).value();
      runtime->register_workflow("Leaf", &leaf).value();
      runtime->register_workflow("Sleepy", &sleepy).value();
      runtime->register_workflow("Saver", &saver).value();
    }
    if (serves.actions) {
      runtime->register_database_action<Deposit>(&deposit).value();
      runtime
          ->register_action<Stamp>([this](Stamp::Parameters p) {
            ++stamps_;
            std::this_thread::sleep_for(stamp_takes_.load());
            return Stamp::Result{p.text + "!"};
          })
          .value();
    }
    if (serves.part) runtime->begin();
    return runtime;
  }

  std::string sql(const std::string& text) const { return server().ask(address_, text); }

  void wait_for_owners(const int count) const {
    while (sql("SELECT count(DISTINCT owner) FILTER (WHERE expires_at > clock_timestamp()) || ' ' "
               "|| count(*) FILTER (WHERE owner IS NULL OR expires_at < clock_timestamp()) "
               "FROM workflow_partitions") != fmt::format("{} 0", count)) {
      std::this_thread::sleep_for(10ms);
    }
  }

  static std::string result_of(WorkflowRuntime& runtime, const std::string& id) {
    const auto ended =
        runtime.wait_for_workflow_completion<std::string>(id, {.tenant = kTenant, .wait_max = 60s});
    if (!ended) return ended.error().message;
    return ended->result.value_or(ended->status);
  }

  const std::string address_ = server().new_database_address();
  std::atomic<int> stamps_ = 0;
  std::atomic<std::chrono::milliseconds> stamp_takes_ = 0ms;
};

// rule: 10
TEST_F(Workers, AnExecutionIsReachedFromAnywhere) {
  const auto first = open({});
  const auto second = open({});
  const auto client = open({.workflows = false, .part = false});
  wait_for_owners(2);
  for (int at = 0; at < 16; ++at) {
    const std::string id = fmt::format("order-{}", at);
    WorkflowRuntime& starts = at % 3 == 0 ? *first : at % 3 == 1 ? *second : *client;
    const auto started = starts.start_workflow("Approval", std::string("ham"),
                                               {.tenant = kTenant, .execution_id = id});
    ASSERT_TRUE(started) << started.error().message;
    EXPECT_EQ(*started, id);
    const auto again = client->start_workflow("Approval", std::string("ham"),
                                              {.tenant = kTenant, .execution_id = id});
    ASSERT_TRUE(again) << again.error().message;
    const auto other = client->start_workflow("Approval", std::string("jam"),
                                              {.tenant = kTenant, .execution_id = id});
    ASSERT_FALSE(other);
    EXPECT_EQ(other.error().code, ErrorCode::already_exists);

    const auto told = client->submit_event(id, "Decide", std::string("yes"),
                                           {.tenant = kTenant, .idempotency_key = "decision"});
    ASSERT_TRUE(told) << told.error().message;
    EXPECT_TRUE(told->consumed);
    EXPECT_EQ(told->execution_id, id);
    const auto repeated = second->submit_event(id, "Decide", std::string("yes"),
                                               {.tenant = kTenant, .idempotency_key = "decision"});
    ASSERT_TRUE(repeated) << repeated.error().message;
    EXPECT_EQ(repeated->event_id, told->event_id);
    EXPECT_EQ(result_of(*client, id), "ham! \"yes\"");
    const auto late = client->submit_event(id, "Decide", std::string("no"), {.tenant = kTenant});
    ASSERT_FALSE(late);
    EXPECT_EQ(late.error().code, ErrorCode::execution_ended);
  }
  const auto unknown = client->enqueue_event("order-99", "Decide", {.tenant = kTenant});
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, ErrorCode::unknown_execution);
  EXPECT_EQ(stamps_, 16);
}

TEST_F(Workers, AnOperatorsWordReachesTheOwner) {
  const auto worker = open({});
  const auto client = open({.workflows = false, .part = false});
  wait_for_owners(1);
  const std::string id =
      client->start_workflow("Approval", std::string("ham"), {.tenant = kTenant}).value();
  const auto paused = client->pause_workflow(id, {.tenant = kTenant, .by = "ann"});
  ASSERT_TRUE(paused) << paused.error().message;
  EXPECT_EQ(paused->status, "paused");
  const auto told = client->submit_event(id, "Decide", std::string("yes"), {.tenant = kTenant});
  ASSERT_TRUE(told) << told.error().message;
  EXPECT_EQ(told->status, "paused");
  EXPECT_FALSE(told->consumed);
  EXPECT_EQ(client->resume_workflow(id, {.tenant = kTenant})->status, "running");
  EXPECT_EQ(result_of(*client, id), "ham! \"yes\"");
  const auto over = client->cancel_workflow(id, {.tenant = kTenant});
  ASSERT_FALSE(over);
  EXPECT_EQ(over.error().code, ErrorCode::execution_ended);

  const std::string other =
      client->start_workflow("Approval", std::string("jam"), {.tenant = kTenant}).value();
  ASSERT_TRUE(client->cancel_workflow(other, {.tenant = kTenant, .reason = "no more jam"}));
  EXPECT_EQ(result_of(*client, other), "cancelled");
}

// The store has it, and whoever works next takes it up.
TEST_F(Workers, WhatIsAskedWhileNobodyWorksIsTakenUpLater) {
  auto worker = open({});
  wait_for_owners(1);
  const std::string id =
      worker->start_workflow("Approval", std::string("ham"), {.tenant = kTenant}).value();
  worker.reset();
  const auto client = open({.workflows = false, .part = false});
  auto cancelled = std::async(std::launch::async,
                              [&] { return client->cancel_workflow(id, {.tenant = kTenant}); });
  const auto started = client->start_workflow("Leaf", std::string("jam"), {.tenant = kTenant});
  ASSERT_TRUE(started) << started.error().message;
  const auto told = cancelled.get();
  ASSERT_TRUE(told) << told.error().message;
  EXPECT_EQ(told->execution_id, id);
  EXPECT_EQ(told->status, "running");
  EXPECT_EQ(told->current_state, "waiting");

  worker = open({});
  EXPECT_EQ(result_of(*client, id), "cancelled");
  EXPECT_EQ(result_of(*client, *started), "jam!");
}

TEST_F(Workers, AForkGoesOnWhereItBelongs) {
  const auto first = open({});
  const auto second = open({});
  const auto client = open({.workflows = false, .part = false});
  wait_for_owners(2);
  const std::string id =
      client->start_workflow("Approval", std::string("ham"), {.tenant = kTenant}).value();
  std::vector<std::string> forks{client->fork_workflow(id, {.tenant = kTenant}).value()};
  for (int at = 0; at < 8; ++at) {
    const std::string fork = fmt::format("fork-{}", at);
    const ForkOptions options{.tenant = kTenant, .execution_id = fork, .by = "ann"};
    WorkflowRuntime& by = at % 2 == 0 ? *client : *first;
    const auto forked = by.fork_workflow(id, options);
    ASSERT_TRUE(forked) << forked.error().message;
    EXPECT_EQ(*forked, fork);
    const auto again = second->fork_workflow(id, options);
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_EQ(*again, fork);
    forks.push_back(fork);
  }
  for (const std::string& fork : forks) {
    const auto told = client->submit_event(fork, "Decide", std::string("yes"), {.tenant = kTenant});
    ASSERT_TRUE(told) << told.error().message;
    EXPECT_EQ(result_of(*client, fork), "ham! \"yes\"");
  }
  EXPECT_EQ(client->get_execution_state(id, {.tenant = kTenant})->status, "running");
  EXPECT_EQ(stamps_, 9);
  EXPECT_EQ(sql("SELECT count(*) FROM workflow_event_processing WHERE kind = 'fork' AND status <> "
                "'completed'"),
            "0");

  // Another one under a name that is taken; and one of what is not there.
  const auto other =
      client->fork_workflow(id, {.tenant = kTenant, .at_sequence = 1, .execution_id = "fork-0"});
  ASSERT_FALSE(other);
  const auto nothing =
      client->fork_workflow("order-99", {.tenant = kTenant, .execution_id = "fork-99"});
  ASSERT_FALSE(nothing);
  EXPECT_EQ(nothing.error().code, ErrorCode::unknown_execution);
}

TEST_F(Workers, ChildrenRunWhereTheyBelong) {
  const auto first = open({});
  const auto second = open({});
  wait_for_owners(2);
  std::vector<std::string> ids;
  for (int at = 0; at < 8; ++at) {
    ids.push_back(first->start_workflow("Parent", 4, {.tenant = kTenant}).value());
  }
  for (const std::string& id : ids) {
    EXPECT_EQ(result_of(*second, id), "leaf 0!, leaf 1!, leaf 2!, leaf 3!");
  }
  EXPECT_EQ(stamps_, 32);
}

TEST_F(Workers, AStoreHasAsManyPartitionsAsItWasMadeWith) {
  WorkflowRuntimeOptions options;
  options.store = address_;
  options.begin_at_once = false;
  options.log = [](const LogLine&) {};
  for (const int wrong : {0, -1, 1'025}) {
    options.partitions = wrong;
    const auto opened = WorkflowRuntime::open(options);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, ErrorCode::invalid_argument);
  }
  options.partitions = 40;
  ASSERT_TRUE(WorkflowRuntime::open(options));
  options.partitions = 16;
  ASSERT_TRUE(WorkflowRuntime::open(options));
  EXPECT_EQ(sql("SELECT count(*) FROM workflow_partitions"), "40");
}

TEST_F(Workers, EachSaysHowItStands) {
  const auto worker = open({});
  const auto client = open({.workflows = false, .part = false});
  wait_for_owners(1);
  Health health = worker->health();
  EXPECT_EQ(health.status, "ok") << fmt::format("{}", fmt::join(health.troubles, " "));
  EXPECT_TRUE(health.works);
  EXPECT_EQ(health.partitions, 16);
  EXPECT_EQ(health.partitions_owned, 16);
  EXPECT_LE(health.store_silent_for, 600ms);
  health = client->health();
  EXPECT_EQ(health.status, "ok");
  EXPECT_FALSE(health.works);
  EXPECT_EQ(health.partitions_owned, 0);
  EXPECT_EQ(sql("SELECT string_agg(serving || ' ' || partitions, ', ' ORDER BY serving) FROM "
                "workflow_workers_now"),
            "false 0, true 16");

  stamp_takes_ = 300ms;
  ASSERT_TRUE(worker->start_workflow("Leaf", std::string("ham"), {.tenant = kTenant}));
  while (worker->health().actions_in_flight == 0) std::this_thread::sleep_for(1ms);

  server().stop(true);
  while (worker->health().status != "down" || client->health().status != "down") {
    std::this_thread::sleep_for(5ms);
  }
  health = worker->health();
  EXPECT_GT(health.store_silent_for, 600ms);
  ASSERT_FALSE(health.troubles.empty());
  EXPECT_THAT(health.troubles.front(), ::testing::StartsWith("The store has not answered for"));
  server().start();
  while (worker->health().status != "ok" || worker->health().partitions_owned != 16 ||
         client->health().status != "ok") {
    std::this_thread::sleep_for(5ms);
  }

  worker->engine().begin_close();
  EXPECT_EQ(worker->health().status, "down");
  EXPECT_FALSE(worker->health().works);
}

// What it decides when it comes back is refused: another worker has decided.
TEST_F(Workers, OneWhoseCodeDoesNotComeBackLosesItsPartitions) {
  const auto stopped = open({});
  wait_for_owners(1);
  const std::string id =
      stopped->start_workflow("Sleepy", std::string("ham"), {.tenant = kTenant}).value();
  while (sleeps == 0) std::this_thread::sleep_for(1ms);
  while (stopped->health().status != "down") std::this_thread::sleep_for(1ms);
  EXPECT_THAT(stopped->health().troubles.front(),
              ::testing::StartsWith("Workflow code has not come back"));
  const auto other = open({});
  EXPECT_EQ(result_of(*other, id), "ham!");
  EXPECT_EQ(sleeps, 2);
  wait_for_owners(2);
  EXPECT_EQ(result_of(*stopped, id), "ham!");
}

// One has the workflows, the other one the action: each serves what it has registered, whoever owns the execution.
TEST_F(Workers, EachServesWhatItHasRegistered) {
  const auto code = open({.actions = false});
  const auto hands = open({.workflows = false});
  const auto client = open({.workflows = false, .part = false, .actions = false});
  wait_for_owners(2);
  std::vector<std::string> ids;
  for (int at = 0; at < 24; ++at) {
    WorkflowRuntime& starts = at % 3 == 0 ? *code : at % 3 == 1 ? *hands : *client;
    const auto id = starts.start_workflow(at % 2 == 0 ? "Approval" : "Leaf",
                                          fmt::format("ham {}", at), {.tenant = kTenant});
    ASSERT_TRUE(id) << id.error().message;
    ids.push_back(*id);
  }
  for (int at = 0; at < 24; at += 2) {
    const auto told = client->submit_event(ids.at(static_cast<std::size_t>(at)), "Decide",
                                           std::string("yes"), {.tenant = kTenant});
    ASSERT_TRUE(told) << told.error().message;
  }
  for (int at = 0; at < 24; ++at) {
    EXPECT_EQ(result_of(*client, ids.at(static_cast<std::size_t>(at))),
              fmt::format("ham {}!{}", at, at % 2 == 0 ? " \"yes\"" : ""));
  }
  EXPECT_EQ(stamps_, 24);
  const std::string parent = hands->start_workflow("Parent", 3, {.tenant = kTenant}).value();
  EXPECT_EQ(result_of(*hands, parent), "leaf 0!, leaf 1!, leaf 2!");
  // Outside of any execution, by a worker that has not registered it.
  const auto stamped =
      code->execute_action<Stamp>({.text = "ham"}, {.tenant = kTenant, .idempotency_key = "one"});
  ASSERT_TRUE(stamped) << stamped.error().message;
  EXPECT_EQ(stamped->text, "ham!");
  EXPECT_EQ(sql("SELECT count(*) FROM workflow_executions WHERE status <> 'completed'"), "0");
}

// Its writes and its result are one commit, under the lease of who owns the execution.
TEST_F(Workers, ADatabaseActionIsDoneOnceForTheOwnerElsewhere) {
  sql("CREATE TABLE accounts(account text PRIMARY KEY, balance integer NOT NULL)");
  const auto code = open({.actions = false});
  auto hands = open({.workflows = false});
  wait_for_owners(2);
  std::vector<std::string> ids;
  for (int at = 0; at < 24; ++at) {
    ids.push_back(
        code->start_workflow("Saver", fmt::format("account-{}", at), {.tenant = kTenant}).value());
    // Somewhere in between another one takes its place.
    if (at == 12) hands = open({.workflows = false});
  }
  for (const std::string& id : ids) {
    const auto ended =
        code->wait_for_workflow_completion<int>(id, {.tenant = kTenant, .wait_max = 60s});
    ASSERT_TRUE(ended) << ended.error().message;
    EXPECT_EQ(ended->result, 2) << ended->status;
  }
  EXPECT_EQ(sql("SELECT count(*) || ' ' || sum(balance) FROM accounts"), "24 48");
  EXPECT_EQ(sql("SELECT count(*) FROM workflow_action_results WHERE status = 'succeeded'"), "48");
}

// Who had the code of an execution leaves: it waits, visibly, and goes on with whoever brings it back.
TEST_F(Workers, WhatNobodyHasAnyMoreWaitsUntilSomebodyDoes) {
  const auto hands = open({.workflows = false});
  auto code = open({.actions = false});
  wait_for_owners(2);
  std::vector<std::string> ids;
  for (int at = 0; at < 8; ++at) {
    ids.push_back(
        hands->start_workflow("Approval", std::string("ham"), {.tenant = kTenant}).value());
  }
  while (sql("SELECT count(*) FROM workflow_executions WHERE current_state = 'waiting'") != "8") {
    std::this_thread::sleep_for(5ms);
  }
  code.reset();
  wait_for_owners(1);
  for (const std::string& id : ids) {
    ASSERT_TRUE(hands->enqueue_event(id, "Decide", std::string("yes"), {.tenant = kTenant}));
  }
  while (sql("SELECT count(*) FROM workflow_executions WHERE condition = 'no_worker'") != "8") {
    std::this_thread::sleep_for(5ms);
  }
  code = open({.actions = false});
  for (const std::string& id : ids) EXPECT_EQ(result_of(*hands, id), "ham! \"yes\"");
  EXPECT_EQ(stamps_, 8);

  code.reset();
  wait_for_owners(1);
  const auto late = hands->start_workflow("Approval", std::string("jam"), {.tenant = kTenant});
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::unknown_workflow);
}

// An action that its last worker takes along shows as such.
TEST_F(Workers, AnActionWaitsForAWorkerThatHasIt) {
  const auto code = open({.actions = false});
  wait_for_owners(1);
  const std::string id =
      code->start_workflow("Leaf", std::string("ham"), {.tenant = kTenant}).value();
  const auto condition = [&] {
    return sql("SELECT coalesce(condition, '') FROM workflow_executions");
  };
  while (condition() != "no_action") std::this_thread::sleep_for(5ms);
  auto hands = open({.workflows = false});
  EXPECT_EQ(result_of(*code, id), "ham!");
  wait_for_owners(2);

  stamp_takes_ = 300ms;
  const std::string slow =
      code->start_workflow("Leaf", std::string("slow"), {.tenant = kTenant}).value();
  while (stamps_ < 2) std::this_thread::sleep_for(1ms);
  hands.reset();  // it is under way there, and is waited for
  EXPECT_EQ(result_of(*code, slow), "slow!");
  EXPECT_EQ(stamps_, 2);
}

// The server forgets what is under way between workers, since it is not logged: it is asked for again.
TEST_F(Workers, WhatIsLostBetweenWorkersIsAskedForAgain) {
  const auto code = open({.actions = false});
  const auto hands = open({.workflows = false});
  wait_for_owners(2);
  std::atomic<bool> over = false;
  std::thread thief([&] {
    while (!over) {
      sql("DELETE FROM workflow_parcels WHERE number % 7 = 3");
      std::this_thread::sleep_for(1ms);
    }
  });
  std::vector<std::string> ids;
  for (int at = 0; at < 40; ++at) {
    const auto id =
        code->start_workflow("Leaf", std::string("ham"),
                             {.tenant = kTenant, .execution_id = fmt::format("leaf-{}", at)});
    if (id) ids.push_back(*id);
  }
  EXPECT_GT(ids.size(), 30U);
  for (const std::string& id : ids) EXPECT_EQ(result_of(*code, id), "ham!");
  over = true;
  thief.join();
}

// What is under way when workers come and go goes on, and no action is begun twice, since partitions change hands
// when they are at rest.
TEST_F(Workers, ComeAndGoWithoutALoss) {
  stamp_takes_ = 2ms;
  const auto client = open({.workflows = false, .part = false});
  std::vector<std::unique_ptr<WorkflowRuntime>> workers;
  workers.push_back(open({}));
  wait_for_owners(1);
  std::atomic<bool> over = false;
  std::mutex mutex;
  std::vector<std::string> ids;
  std::atomic<int> refused = 0;
  const auto load = [&] {
    while (!over) {
      const auto id = client->start_workflow("Approval", std::string("ham"), {.tenant = kTenant});
      if (!id) {
        ++refused;
        ADD_FAILURE() << id.error().message;
        continue;
      }
      const auto told = client->submit_event(*id, "Decide", std::string("yes"),
                                             {.tenant = kTenant, .wait_max = 30s});
      EXPECT_TRUE(told) << told.error().message;
      const std::lock_guard lock(mutex);
      ids.push_back(*id);
    }
  };
  std::vector<std::thread> clients;
  for (int at = 0; at < 4; ++at) clients.emplace_back(load);
  for (const int count : {2, 3, 2, 1, 2}) {
    if (count > static_cast<int>(workers.size())) {
      workers.push_back(open({}));
    } else {
      workers.erase(workers.begin());  // closes
    }
    wait_for_owners(count);
    std::this_thread::sleep_for(200ms);
  }
  over = true;
  for (std::thread& one : clients) one.join();
  EXPECT_EQ(refused, 0);
  EXPECT_GT(ids.size(), 10U);
  for (const std::string& id : ids) EXPECT_EQ(result_of(*client, id), "ham! \"yes\"");
  EXPECT_EQ(stamps_, static_cast<int>(ids.size()));
}

}  // namespace
}  // namespace pawl
