// Locks of users: threads and processes that want the same one, and holders that are stopped, killed and cut off.

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <future>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "pawl/pawl.h"
#include "pawl/postgres.h"
#include "tests/support/child_program.h"
#include "tests/support/postgres_server.h"
#include "tests/support/temporary_folder.h"

namespace locks_shapes {

struct Print {
  struct Parameters {
    std::string document;
  };
  struct Result {
    std::int64_t fence = 0;
  };
};
PAWL_DESCRIBE(Print::Parameters, document);
PAWL_DESCRIBE(Print::Result, fence);

pawl::Workflow<std::int64_t> printing(pawl::Context& ctx, std::string document) {
  const auto printed = co_await ctx.run<Print>({.document = document});
  co_return printed->fence;
}

}  // namespace locks_shapes

namespace pawl {
namespace {

using namespace std::chrono_literals;
using namespace locks_shapes;

constexpr const char* kTenant = "acme";

// tests/programs/locks.cc
class Program : public test::ChildProgram {
 public:
  explicit Program(std::vector<std::string> arguments)
      : ChildProgram("locks", std::move(arguments)) {}
};

class LockStories : public ::testing::TestWithParam<const char*> {
 protected:
  static test::PostgresServer& server() {
    static test::PostgresServer one;
    return one;
  }

  LockStories() {
    use_postgres_stores();
    address_ = in_postgres() ? server().new_database_address() : "sqlite:" + in_folder("pawl.db");
  }

  std::string in_folder(const std::string& name) const { return (folder_.path() / name).string(); }
  static bool in_postgres() { return GetParam() == std::string("postgresql"); }

  WorkflowRuntime open(const bool serves = false) const {
    WorkflowRuntimeOptions options;
    options.store = address_;
    options.begin_at_once = serves;
    options.log = [](const LogLine&) {};
    auto runtime = WorkflowRuntime::open(options);
    if (!runtime) throw std::runtime_error(runtime.error().message);
    return std::move(*runtime);
  }
  static Lock take(WorkflowRuntime& runtime, const std::string& key, LockOptions options = {}) {
    options.tenant = kTenant;
    auto lock = runtime.lock(key, options);
    if (!lock) throw std::runtime_error(lock.error().message);
    return std::move(*lock);
  }
  // Within a transaction of its own.
  static std::string asked_for(WorkflowRuntime& runtime, const Lock& lock) {
    auto session = runtime.database()->connect(SessionUse::application).value();
    session->begin().value();
    Transaction transaction(*session);
    const auto held = lock.assert_held(transaction);
    session->roll_back();
    return held ? "held" : held.error().code;
  }
  // What another process would have done, if this one had been silent for too long.
  void steal(const std::string& key) const {
    const std::string sql = fmt::format(
        "UPDATE workflow_locks SET fence = fence + 1, token = 'other' WHERE key = '{}'", key);
    test::PostgresServer::ask(address_, sql);
  }

  const TemporaryFolder folder_;
  std::string address_;
};

INSTANTIATE_TEST_SUITE_P(Stores, LockStories, ::testing::Values("sqlite", "postgresql"),
                         [](const auto& of) { return std::string(of.param); });

TEST_P(LockStories, OneAtATimeInAProcess) {
  WorkflowRuntime runtime = open();
  int counter = 0;  // nothing else protects it
  std::atomic<std::int64_t> last = 0;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 8; ++thread) {
    threads.emplace_back([&] {
      for (int time = 0; time < 20; ++time) {
        const Lock lock = take(runtime, "counter");
        const int before = counter;
        std::this_thread::yield();
        counter = before + 1;
        EXPECT_GT(lock.fence(), last.exchange(lock.fence()));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(counter, 160);
  EXPECT_EQ(last, 160) << "a fence for each";
}

TEST_P(LockStories, AFenceRisesOverRestarts) {
  for (std::int64_t fence = 1; fence <= 3; ++fence) {
    WorkflowRuntime runtime = open();
    Lock lock = take(runtime, "printer");
    EXPECT_EQ(lock.fence(), fence);
    EXPECT_EQ(lock.key(), "printer");
    EXPECT_EQ(lock.tenant(), kTenant);
    Lock other = take(runtime, "scanner");
    lock = std::move(other);  // releases the printer
    EXPECT_EQ(lock.key(), "scanner");
    EXPECT_EQ(take(runtime, "plotter").fence(), fence);
  }
}

TEST_P(LockStories, WhoWaitsForTooLongIsToldWhoHasIt) {
  WorkflowRuntime runtime = open();
  const Lock held = take(runtime, "printer");
  const auto refused = runtime.lock("printer", {.tenant = kTenant, .wait = 50ms});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::lock_timeout);
  EXPECT_EQ(refused.error().subject, "printer");
  const std::string who = fmt::format("/{}", getpid());
  EXPECT_NE(refused.error().message.find(who), std::string::npos) << refused.error().message;
  EXPECT_EQ(detail::failure_of(refused.error()).failure_class, FailureClass::transient);
  EXPECT_EQ(runtime.lock("printer", {.tenant = kTenant, .wait = 0ms}).error().code,
            ErrorCode::lock_timeout);
  EXPECT_TRUE(runtime.lock("scanner", {.tenant = kTenant, .wait = 0ms}));
  EXPECT_TRUE(runtime.lock("printer", {.tenant = "other", .wait = 0ms}));
}

TEST_P(LockStories, WhatMakesNoSenseIsRefused) {
  WorkflowRuntime runtime = open();
  const auto code = [&](const std::string& key, const LockOptions& options) {
    const auto lock = runtime.lock(key, options);
    return lock ? std::string("held") : std::string(to_string(lock.error().code));
  };
  EXPECT_EQ(code("", {.tenant = kTenant}), "invalid_argument");
  EXPECT_EQ(code("printer", {}), "invalid_argument");
  EXPECT_EQ(code(std::string(256, 'x'), {.tenant = kTenant}), "invalid_argument");
  EXPECT_EQ(code("printer", {.tenant = kTenant, .ttl = 99ms}), "invalid_argument");
  EXPECT_EQ(code("printer", {.tenant = kTenant, .ttl = 25h}), "invalid_argument");
  EXPECT_EQ(code("printer", {.tenant = kTenant, .wait = -1ms}), "invalid_argument");
  EXPECT_EQ(code(std::string(255, 'x'), {.tenant = kTenant}), "held");
  runtime.close();
  EXPECT_EQ(code("printer", {.tenant = kTenant}), "closed");
}

TEST_P(LockStories, AWaitIsGivenUpAndTheNextOneGoesOn) {
  WorkflowRuntime runtime = open();
  Lock held = take(runtime, "printer");
  std::stop_source stop;
  auto first = std::async(std::launch::async, [&] {
    return runtime.lock("printer", {.tenant = kTenant, .stop = stop.get_token()});
  });
  std::this_thread::sleep_for(50ms);
  auto second = std::async(std::launch::async, [&] { return take(runtime, "printer").fence(); });
  std::this_thread::sleep_for(50ms);
  stop.request_stop();
  const auto given_up = first.get();
  ASSERT_FALSE(given_up);
  EXPECT_EQ(given_up.error().code, ErrorCode::lock_timeout);
  held.release();
  held.release();
  EXPECT_EQ(second.get(), 2);
}

TEST_P(LockStories, ALockIsRenewedWhileItIsHeld) {
  WorkflowRuntime runtime = open();
  const Lock lock = take(runtime, "printer", {.ttl = 300ms});
  const auto refused = runtime.lock("printer", {.tenant = kTenant, .wait = 1s});
  ASSERT_FALSE(refused);
  EXPECT_FALSE(lock.lost().stop_requested());
  EXPECT_EQ(asked_for(runtime, lock), "held");
}

TEST_P(LockStories, ATransactionIsToldWhetherTheLockIsHeld) {
  WorkflowRuntime runtime = open();
  Lock lock = take(runtime, "printer");
  EXPECT_EQ(asked_for(runtime, lock), "held");
  EXPECT_FALSE(lock.loss());
  lock.release();
  EXPECT_EQ(asked_for(runtime, lock), "lock_lost");
  EXPECT_FALSE(lock.lost().stop_requested()) << "it was not lost";

  // On another database there is no such row.
  const Lock again = take(runtime, "printer");
  auto elsewhere = open_sqlite_database(in_folder("other.db"));
  auto session = elsewhere->connect(SessionUse::application).value();
  session->begin().value();
  Transaction transaction(*session);
  const auto refused = again.assert_held(transaction);
  session->roll_back();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().failure_class, FailureClass::permanent);
}

TEST_P(LockStories, WhatIsHeldWhenTheRuntimeClosesIsLost) {
  std::optional<WorkflowRuntime> runtime = open();
  const Lock lock = take(*runtime, "printer", {.ttl = 2s});
  auto waits = std::async(std::launch::async, [&] {
    return runtime->lock("printer", {.tenant = kTenant}).error().code;
  });
  std::this_thread::sleep_for(50ms);
  runtime->close(0ms);
  EXPECT_EQ(waits.get(), ErrorCode::closed);
  EXPECT_TRUE(lock.lost().stop_requested());
  ASSERT_TRUE(lock.loss());
  EXPECT_NE(lock.loss()->message.find("closed"), std::string::npos);
  runtime.reset();
  // Whoever had it may be at work still: its time runs out.
  WorkflowRuntime next = open();
  EXPECT_FALSE(next.lock("printer", {.tenant = kTenant, .wait = 0ms}));
  EXPECT_EQ(take(next, "printer").fence(), 2);
}

// rule: 27
TEST_P(LockStories, AnActionThatDoesNotGetItsLockIsTriedAgain) {
  WorkflowRuntime runtime = open(true);
  runtime.register_workflow("Printing", &printing).value();
  std::atomic<int> attempts = 0;
  runtime
      .register_action<Print>(
          [&](Print::Parameters, const ActionContext& context) -> Result<Print::Result> {
            ++attempts;
            const auto lock = runtime.lock(
                "printer", {.tenant = context.tenant, .wait = 20ms, .stop = context.stop});
            if (!lock) return lock.error();
            return Print::Result{.fence = lock->fence()};
          },
          {.retry = {.initial_interval = 10ms, .max_interval = 10ms}})
      .value();
  std::optional<Lock> held = take(runtime, "printer");
  const std::string id =
      runtime.start_workflow("Printing", std::string("a"), {.tenant = kTenant}).value();
  while (attempts < 2) std::this_thread::sleep_for(5ms);
  held.reset();
  const auto done =
      runtime.wait_for_workflow_completion<std::int64_t>(id, {.tenant = kTenant, .wait_max = 60s});
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(done->status, "completed");
  EXPECT_EQ(done->result, 2);
}

// rule: 27
TEST_P(LockStories, AHolderThatIsKilledKeepsItsLockForItsTtl) {
  Program holder({"hold", address_, "3000"});
  ASSERT_EQ(holder.line(), "1");
  holder.send(SIGKILL);
  holder.wait();
  WorkflowRuntime runtime = open();
  const auto refused = runtime.lock("held", {.tenant = kTenant, .wait = 0ms});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::lock_timeout);
  EXPECT_EQ(take(runtime, "held").fence(), 2);
}

class SharedLocks : public LockStories {};
INSTANTIATE_TEST_SUITE_P(Stores, SharedLocks, ::testing::Values("postgresql"),
                         [](const auto& of) { return std::string(of.param); });

// rule: 27
TEST_P(SharedLocks, TwoProcessesAddUpToAnExactNumber) {
  const std::string file = in_folder("number");
  std::ofstream(file) << 0 << '\n';
  constexpr int kTimes = 60;
  Program one({"count", address_, file, std::to_string(kTimes)});
  Program two({"count", address_, file, std::to_string(kTimes)});
  for (Program* const program : {&one, &two}) EXPECT_EQ(program->line(), "begins");
  for (Program* const program : {&one, &two}) EXPECT_EQ(program->line(), "done");
  int number = 0;
  std::ifstream(file) >> number;
  EXPECT_EQ(number, 2 * kTimes);
  EXPECT_EQ(test::PostgresServer::ask(address_, "SELECT fence FROM workflow_locks"),
            std::to_string(2 * kTimes));
}

// rule: 27
TEST_P(SharedLocks, AHolderThatWasStoppedIsRefusedWhenItGoesOn) {
  Program holder({"hold", address_, "500"});
  ASSERT_EQ(holder.line(), "1");
  holder.send(SIGSTOP);
  WorkflowRuntime runtime = open();
  const Lock lock = take(runtime, "held");
  EXPECT_EQ(lock.fence(), 2);
  holder.send(SIGCONT);
  EXPECT_EQ(holder.line(), "lost");
  EXPECT_EQ(holder.line(), "refused");
  EXPECT_EQ(asked_for(runtime, lock), "held");
}

TEST_P(SharedLocks, AFormerHolderIsRefusedByTheRowBeforeItKnows) {
  WorkflowRuntime runtime = open();
  const Lock lock = take(runtime, "printer");
  steal("printer");
  EXPECT_FALSE(lock.lost().stop_requested());
  EXPECT_EQ(asked_for(runtime, lock), "lock_lost");
}

TEST_P(SharedLocks, WhoLosesItIsToldByTheNextRenewal) {
  WorkflowRuntime runtime = open();
  const Lock lock = take(runtime, "printer", {.ttl = 600ms});
  steal("printer");
  while (!lock.lost().stop_requested()) std::this_thread::sleep_for(5ms);
  EXPECT_NE(lock.loss()->message.find("another"), std::string::npos) << lock.loss()->message;
  // Released, it is left to whom it belongs.
  EXPECT_EQ(test::PostgresServer::ask(address_, "SELECT token FROM workflow_locks"), "other");
}

// The one that has asked is committed first.
TEST_P(SharedLocks, WhoAcquiresItWaitsForTransactionsThatHaveAsked) {
  WorkflowRuntime runtime = open();
  Lock lock = take(runtime, "printer");
  auto session = runtime.database()->connect(SessionUse::application).value();
  session->run("CREATE TABLE prints(fence bigint)", {}).value();
  session->begin().value();
  Transaction transaction(*session);
  ASSERT_TRUE(lock.assert_held(transaction));
  transaction.execute("INSERT INTO prints VALUES (?)", lock.fence()).value();
  // Neither a renewal nor its release waits for that transaction.
  lock.release();
  WorkflowRuntime other = open();
  auto next = std::async(std::launch::async, [&] {
    const Lock taken = take(other, "printer");
    return std::pair(taken.fence(),
                     test::PostgresServer::ask(address_, "SELECT count(*) FROM prints"));
  });
  EXPECT_EQ(next.wait_for(500ms), std::future_status::timeout);
  EXPECT_EQ(test::PostgresServer::ask(address_,
                                      "SELECT count(*) FROM workflow_locks WHERE token IS NULL"),
            "1");
  session->commit().value();
  const auto [fence, prints] = next.get();
  EXPECT_EQ(fence, 2);
  EXPECT_EQ(prints, "1");
}

// rule: 27
TEST(LocksOnAServer, ALockOutlivesARestartOfTheServer) {
  use_postgres_stores();
  test::PostgresServer server;
  WorkflowRuntimeOptions options;
  options.store = server.new_database_address();
  options.begin_at_once = false;
  options.log = [](const LogLine&) {};
  WorkflowRuntime runtime = WorkflowRuntime::open(options).value();
  const Lock lock = runtime.lock("printer", {.tenant = kTenant, .ttl = 30s}).value();
  const Lock brief = runtime.lock("scanner", {.tenant = kTenant, .ttl = 600ms}).value();
  server.stop(true);
  while (!brief.lost().stop_requested()) std::this_thread::sleep_for(5ms);
  EXPECT_NE(brief.loss()->message.find("600 ms"), std::string::npos) << brief.loss()->message;
  auto waits = std::async(std::launch::async, [&] {
    return runtime.lock("scanner", {.tenant = kTenant, .wait = 60s}).value().fence();
  });
  server.start();
  EXPECT_EQ(waits.get(), 2);
  EXPECT_FALSE(lock.lost().stop_requested());
  const std::string held = "SELECT count(*) FROM workflow_locks_held WHERE key = 'printer'";
  EXPECT_EQ(test::PostgresServer::ask(options.store, held), "1");
}

}  // namespace
}  // namespace pawl
