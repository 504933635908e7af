// Backups while an engine works, and what the check of a store finds where someone has laid hands on it.

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "pawl/pawl.h"
#include "pawl/workflow_runtime.h"
#include "store/sqlite_backup.h"
#include "tests/support/temporary_folder.h"

namespace care_shapes {

struct Pay {
  struct Parameters {
    int amount = 0;
  };
  using Result = int;
};
PAWL_DESCRIBE(Pay::Parameters, amount);

pawl::Workflow<int> order(pawl::Context& ctx, int amount) {
  using namespace std::chrono_literals;
  ctx.set_state("paying");
  const auto paid = co_await ctx.run<Pay>({.amount = amount});
  if (!paid) throw std::runtime_error("not paid");
  ctx.data().set("paid", *paid);
  ctx.set_state("waiting");
  co_await ctx.wait_for("Go").within(72h);
  ctx.data().set("gone", true);
  co_await ctx.wait_for("Go").within(72h);
  co_return *paid;
}

}  // namespace care_shapes

namespace pawl {
namespace {

using care_shapes::order;
using care_shapes::Pay;

constexpr const char* kTenant = "acme";

class StoreCareTest : public ::testing::Test {
 protected:
  WorkflowRuntime open(const std::string& path) {
    WorkflowRuntimeOptions options;
    options.store = "sqlite:" + path;
    options.log = [](const LogLine&) {};
    options.limits.records_per_snapshot = 4;
    auto runtime = WorkflowRuntime::open(options).value();
    EXPECT_TRUE(runtime.register_action<Pay>([](Pay::Parameters given) -> Result<int, Failure> {
      if (given.amount >= 0) return given.amount;
      Failure failure;
      failure.failure_class = FailureClass::permanent;
      return failure;
    }));
    EXPECT_TRUE(runtime.register_workflow("Order", &order));
    return runtime;
  }
  static void start(WorkflowRuntime& runtime, const std::string& id, const int amount) {
    StartOptions options;
    options.tenant = kTenant;
    options.execution_id = id;
    const auto started = runtime.start_workflow("Order", amount, options);
    ASSERT_TRUE(started) << started.error().message;
  }
  static void reaches(WorkflowRuntime& runtime, const std::string& id, const std::string& state) {
    while (true) {
      const auto now = runtime.get_execution_state(id, {.tenant = kTenant});
      ASSERT_TRUE(now) << now.error().message;
      if (now->current_state == state || now->is_complete) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }
  static std::string all_of(const IntegrityReport& report) {
    std::string text;
    for (const IntegrityFinding& finding : report.findings) {
      text += fmt::format("{}/{} {}: {}\n", finding.tenant, finding.execution_id, finding.sequence,
                          finding.what);
    }
    return text;
  }
  static void expect_sound(const std::string& path) {
    const auto report = check_store("sqlite:" + path);
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_TRUE(report->sound()) << all_of(*report);
  }
  std::set<std::string> files() const {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
      names.insert(entry.path().filename().string());
    }
    return names;
  }

  TemporaryFolder folder_;
  const std::string path_ = folder_.file("pawl.db");
};

// ---- backups

TEST_F(StoreCareTest, ABackupUnderLoadIsWholeAndItsExecutionsGoOnFromIt) {
  constexpr int kBackups = 3;
  std::vector<std::set<std::string>> told_before(kBackups);
  {
    WorkflowRuntime runtime = open(path_);
    std::atomic<bool> enough = false;
    std::mutex mutex;
    std::set<std::string> told;
    std::thread load([&] {
      for (int n = 0; !enough; ++n) {
        const std::string id = fmt::format("wf-{}", n);
        start(runtime, id, n);
        if (n % 3 == 0) {
          reaches(runtime, id, "waiting");
          ASSERT_TRUE(runtime.submit_event(id, "Go", {.tenant = kTenant}));
        }
        const std::lock_guard lock(mutex);
        told.insert(id);
      }
    });
    for (int number = 0; number < kBackups; ++number) {
      const auto told_so_many = [&] {
        const std::lock_guard lock(mutex);
        return told.size() > 30U * static_cast<unsigned>(number + 1);
      };
      while (!told_so_many()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      {
        const std::lock_guard lock(mutex);
        told_before[static_cast<std::size_t>(number)] = told;
      }
      const auto copy = runtime.backup(folder_.file(fmt::format("copy-{}", number)));
      ASSERT_TRUE(copy) << copy.error().message;
      EXPECT_EQ(copy->bytes, std::filesystem::file_size(copy->path));
      const auto report = runtime.check_integrity();
      ASSERT_TRUE(report) << report.error().message;
      EXPECT_TRUE(report->sound()) << all_of(*report);
    }
    enough = true;
    load.join();
  }
  for (int number = 0; number < kBackups; ++number) {
    const std::string copy = folder_.file(fmt::format("copy-{}", number));
    EXPECT_FALSE(std::filesystem::exists(copy + "-lock")) << "nobody has it open";
    expect_sound(copy);
    WorkflowRuntime runtime = open(copy);
    for (const std::string& id : told_before[static_cast<std::size_t>(number)]) {
      const auto state = runtime.get_execution_state(id, {.tenant = kTenant});
      ASSERT_TRUE(state) << "what was told before the backup began is in it: " << id;
    }
    for (int n : {0, 1, 2}) {
      const std::string id = fmt::format("wf-{}", n);
      reaches(runtime, id, "waiting");
      ASSERT_TRUE(runtime.submit_event(id, "Go", {.tenant = kTenant}));
      if (n % 3 != 0) {
        ASSERT_TRUE(runtime.submit_event(id, "Go", {.tenant = kTenant}));
      }
      const auto done = runtime.wait_for_workflow_completion<int>(id, {.tenant = kTenant});
      ASSERT_TRUE(done);
      EXPECT_EQ(done->result, n);
    }
    start(runtime, "new in the copy", 7);
    runtime.close();
    expect_sound(copy);
  }
  expect_sound(path_);
}

TEST_F(StoreCareTest, ABackupOverwritesNothingAndSaysWhyItCanNotBeMade) {
  WorkflowRuntime runtime = open(path_);
  start(runtime, "a", 1);
  const std::string copy = folder_.file("copy");
  ASSERT_TRUE(runtime.backup(copy));
  const auto refused = [&](const std::string& path) {
    const auto before = files();
    const auto report = runtime.backup(path);
    EXPECT_FALSE(report) << path;
    EXPECT_EQ(files(), before) << "nothing is left of it";
    return report ? Error{} : report.error();
  };
  EXPECT_EQ(refused(copy).code, ErrorCode::already_exists);
  EXPECT_EQ(refused(path_).code, ErrorCode::already_exists) << "itself";
  std::ofstream(folder_.file("other-wal")) << "the log of some other store";
  const Error log = refused(folder_.file("other"));
  EXPECT_EQ(log.code, ErrorCode::already_exists);
  EXPECT_NE(log.message.find("other-wal"), std::string::npos) << log.message;
  const Error folder = refused(folder_.file("no/such/folder/copy"));
  EXPECT_EQ(folder.code, ErrorCode::store_unavailable);
  EXPECT_NE(folder.message.find("no/such/folder"), std::string::npos) << folder.message;
  EXPECT_EQ(refused(folder_.path().string()).code, ErrorCode::store_invalid);
  EXPECT_EQ(refused("").code, ErrorCode::invalid_argument);
  runtime.close();
  EXPECT_EQ(refused(folder_.file("late")).code, ErrorCode::closed);
}

TEST_F(StoreCareTest, ABackupThatIsGivenUpOrHasNoRoomLeavesNothing) {
  {
    WorkflowRuntime runtime = open(path_);
    for (int n = 0; n < 50; ++n) start(runtime, fmt::format("wf-{}", n), n);
  }
  SqliteStoreOptions file;
  file.path = path_;
  const auto before = files();
  std::atomic<bool> stop = true;
  const auto given_up = backup_sqlite(file, folder_.file("copy"), stop);
  ASSERT_FALSE(given_up);
  EXPECT_EQ(given_up.error().code, ErrorCode::closed);
  stop = false;
  // No file of this process may grow beyond so much.
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit small{40'000, 40'000};
    setrlimit(RLIMIT_FSIZE, &small);
    const auto full = backup_sqlite(file, folder_.file("copy"), stop);
    _exit(full ? 1 : full.error().code == ErrorCode::store_unavailable ? 0 : 2);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  for (const std::string& name : files()) {
    EXPECT_TRUE(before.contains(name) || name.starts_with("pawl.db-")) << name;
  }
}

// ---- the check

struct Damage {
  std::string sql;
  std::string execution;  // of the finding
  std::string what;       // part of it
  std::int64_t sequence = 0;
};

class DamagedStore : public StoreCareTest {
 protected:
  // done: completed. waiting: has a timer. failed: by its code. shop: retried and forked from.
  void make() {
    WorkflowRuntime runtime = open(path_);
    for (const char* const id : {"done", "waiting"}) {
      start(runtime, id, 5);
      reaches(runtime, id, "waiting");
    }
    for (int n = 0; n < 2; ++n) {
      ASSERT_TRUE(runtime.submit_event("done", "Go", {.tenant = kTenant}));
    }
    ASSERT_TRUE(runtime.submit_event("waiting", "Other", {.tenant = kTenant}));
    start(runtime, "failed", -1);
    ASSERT_TRUE(runtime.wait_for_workflow_completion("failed", {.tenant = kTenant}));
    start(runtime, "retried", -1);
    ASSERT_TRUE(runtime.wait_for_workflow_completion("retried", {.tenant = kTenant}));
    ASSERT_TRUE(runtime.register_action<Pay>([](Pay::Parameters) { return 8; }, {}, true));
    ASSERT_TRUE(runtime.retry_workflow("retried", {.tenant = kTenant}));
    reaches(runtime, "retried", "waiting");
    for (const char* const id : {"waiting", "retried"}) {
      ForkOptions fork;
      fork.tenant = kTenant;
      fork.execution_id = fmt::format("fork of {}", id);
      ASSERT_TRUE(runtime.fork_workflow(id, fork));
    }
    ASSERT_TRUE(runtime.submit_event("fork of retried", "Go", {.tenant = kTenant}));
    ASSERT_TRUE(runtime.pause_workflow("fork of waiting", {.tenant = kTenant}));
    // So that there are snapshots, whichever were under way.
    for (const char* const id : {"done", "waiting", "retried", "fork of retried"}) {
      ASSERT_TRUE(runtime.get_execution_state(id, {.tenant = kTenant}));
    }
    runtime.close();
  }

  std::string damaged(const std::string& sql) {
    const std::string copy = folder_.file("damaged.db");
    for (const char* const end : {"", "-wal", "-shm"}) {
      std::filesystem::remove(copy + end);
    }
    std::filesystem::copy_file(path_, copy);
    sqlite3* database = nullptr;
    EXPECT_EQ(sqlite3_open(copy.c_str(), &database), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
        << sqlite3_errmsg(database) << "\n"
        << sql;
    EXPECT_GT(sqlite3_total_changes(database), 0) << sql;
    sqlite3_close(database);
    return copy;
  }
};

std::string of(const std::string& id) {
  return fmt::format(
      "execution = (SELECT execution FROM workflow_executions WHERE "
      "execution_id = '{}')",
      id);
}

TEST_F(DamagedStore, EachDamageIsNamed) {
  make();
  expect_sound(path_);
  const auto report = check_store("sqlite:" + path_);
  EXPECT_EQ(report->executions, 6U);
  EXPECT_FALSE(report->more);
  const std::string done = " WHERE execution_id = 'done'";
  const std::vector<Damage> damages{
      {"DELETE FROM workflow_events WHERE sequence = 4 AND " + of("done"), "done",
       "record 4 is missing", 4},
      {"DELETE FROM workflow_events WHERE sequence IN (3, 4, 5) AND " + of("done"), "done",
       "records 3 to 5 are missing", 3},
      {"DELETE FROM workflow_events WHERE sequence = 1 AND " + of("waiting"), "waiting",
       "record 1 is missing", 1},
      {"DELETE FROM workflow_events WHERE " + of("failed"), "failed", "it has no history", 0},
      {"DELETE FROM workflow_events WHERE event_type = 'WorkflowCompleted' OR event_type = "
       "'ExecutionCompleted'",
       "done", "its row says completed, its history running", -1},
      {"UPDATE workflow_events SET event_type = 'Nonsense' WHERE sequence = 3 AND " + of("done"),
       "done", "Nonsense", 3},
      {"UPDATE workflow_events SET attributes = '{half' WHERE sequence = 1 AND " + of("waiting"),
       "waiting", "", 1},
      {"UPDATE workflow_events SET payload = '{half', encoding = 0 WHERE sequence = 1 AND " +
           of("done"),
       "done", "no JSON", 1},
      {"UPDATE workflow_events SET position = 9 WHERE event_type = 'WaitStarted' AND " +
           of("waiting"),
       "waiting", "position 9 was given", -1},
      {"UPDATE workflow_executions SET status = 'running'" + done, "done",
       "its row says running, its history completed", -1},
      {"UPDATE workflow_executions SET status = 'stuck'" + done, "done",
       "its row says stuck, its history completed", -1},
      {"UPDATE workflow_executions SET status = 'nonsense'" + done, "done", "nonsense", 0},
      {"UPDATE workflow_executions SET current_state = 'odd'" + done, "done", "the state 'odd'",
       -1},
      {"UPDATE workflow_executions SET result = '6'" + done, "done", "the result 6", -1},
      {"UPDATE workflow_executions SET error = NULL WHERE execution_id = 'failed'", "failed",
       "the error", -1},
      {"UPDATE workflow_executions SET in_flight = 1 WHERE execution_id = 'waiting'", "waiting",
       "something is under way", -1},
      {"UPDATE workflow_executions SET last_sequence = 1000" + done, "done",
       "but its row was written at 1000", -1},
      {"DELETE FROM workflow_action_results WHERE " + of("done"), "done",
       "the result at position 1 is missing", -1},
      {"DELETE FROM workflow_action_results WHERE generation = 1 AND " + of("retried"), "retried",
       "the result at position 1 (retry 1) is missing", -1},
      {"DELETE FROM workflow_action_results WHERE " + of("fork of retried"), "fork of retried",
       "the result at position 1 is missing", -1},
      {"UPDATE workflow_action_results SET position = 9 WHERE " + of("done"), "done",
       "a result at position 9, but no record", 0},
      {"UPDATE workflow_action_results SET result = '6' WHERE " + of("done"), "done",
       "the result at position 1 is not what its record says", -1},
      {"UPDATE workflow_action_results SET status = 'failed' WHERE " + of("waiting"), "waiting",
       "the result at position 1 is not what its record says", -1},
      {"DELETE FROM workflow_timers WHERE " + of("waiting"), "waiting", "(wait) is missing", 0},
      {"UPDATE workflow_timers SET fire_at = fire_at + 1 WHERE " + of("waiting"), "waiting",
       "its timer at position 2 is a wait at", 0},
      {"UPDATE workflow_timers SET position = 7 WHERE " + of("waiting"), "waiting",
       "a timer at position 7, but none", 0},
      {"UPDATE workflow_state_snapshots SET data = '{\"paid\":6}' WHERE " + of("done"), "done",
       "its snapshot is not what", -1},
      {"UPDATE workflow_state_snapshots SET current_state = 'odd' WHERE " + of("waiting"),
       "waiting", "its snapshot is not what", -1},
      {"INSERT INTO workflow_state_snapshots(execution, sequence, tenant, codec, status, "
       "current_state, data, created_at) SELECT execution, 2, tenant, 1, 'running', 'x', '{}', 0 "
       "FROM workflow_executions" +
           done,
       "done", "not the end of an activation", 2},
      {"UPDATE workflow_state_snapshots SET sequence = 1000 WHERE sequence > 8 AND " + of("done"),
       "done", "does not go so far", 1000},
      {"DELETE FROM workflow_executions WHERE execution_id = 'waiting'", "",
       "records in workflow_events belong to execution number", 0},
      {"DELETE FROM workflow_executions WHERE execution_id = 'waiting'", "",
       "results in workflow_action_results belong", 0},
      {"DELETE FROM workflow_executions WHERE execution_id = 'waiting'", "",
       "timers in workflow_timers belong", 0},
      {"DELETE FROM workflow_executions WHERE execution_id = 'waiting'", "",
       "snapshots in workflow_state_snapshots belong", 0},
      {"INSERT INTO workflow_event_processing(execution, tenant, event_id, event_name, status, "
       "attempts, created_at) VALUES(999, 'acme', 'e', 'Go', 'pending', 0, 0)",
       "", "1 events in the inbox in workflow_event_processing belong to execution number 999", 0},
  };
  for (const Damage& damage : damages) {
    SCOPED_TRACE(damage.sql);
    const auto found = check_store("sqlite:" + damaged(damage.sql));
    ASSERT_TRUE(found) << found.error().message;
    const bool named = std::any_of(
        found->findings.begin(), found->findings.end(), [&](const IntegrityFinding& finding) {
          return finding.execution_id == damage.execution &&
                 finding.tenant == (damage.execution.empty() ? "" : kTenant) &&
                 (damage.sequence < 0 ? finding.sequence > 0
                                      : finding.sequence == damage.sequence) &&
                 finding.what.find(damage.what) != std::string::npos;
        });
    EXPECT_TRUE(named) << "found:\n" << all_of(*found);
  }
}

TEST_F(DamagedStore, DamagedPagesAreFoundAndFindingsAreBounded) {
  make();
  const std::string copy = damaged(
      "UPDATE workflow_executions SET current_state = 'odd'; UPDATE workflow_executions SET result "
      "= '99'");
  IntegrityOptions few;
  few.findings_max = 3;
  const auto report = check_store("sqlite:" + copy, few);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->findings.size(), 3U);
  EXPECT_TRUE(report->more);
  few.findings_max = 0;
  EXPECT_EQ(check_store("sqlite:" + copy, few).error().code, ErrorCode::invalid_argument);

  // A row that an index does not have.
  const std::string torn = damaged(
      "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM "
      "sqlite_schema WHERE name = 'workflow_timers_due') WHERE name = "
      "'workflow_executions_tenant'");
  const auto pages = check_store("sqlite:" + torn);
  ASSERT_TRUE(pages) << pages.error().message;
  ASSERT_FALSE(pages->sound());
  EXPECT_NE(all_of(*pages).find("the database: "), std::string::npos) << all_of(*pages);
}

TEST_F(DamagedStore, WhatIsNoStoreIsAnErrorAndNoFinding) {
  EXPECT_EQ(check_store("sqlite:" + folder_.file("none.db")).error().code,
            ErrorCode::store_unavailable);
  EXPECT_FALSE(std::filesystem::exists(folder_.file("none.db"))) << "it was only looked for";
  std::ofstream(folder_.file("text.db")) << std::string(5'000, 'x');
  EXPECT_EQ(check_store("sqlite:" + folder_.file("text.db")).error().code,
            ErrorCode::store_invalid);
  EXPECT_EQ(check_store("postgres://here").error().code, ErrorCode::invalid_argument);
  make();
  const Error newer = check_store("sqlite:" + damaged("PRAGMA user_version = 900; UPDATE "
                                                      "workflow_executions SET in_flight = 0"))
                          .error();
  EXPECT_EQ(newer.code, ErrorCode::store_invalid);
  const Error older = check_store("sqlite:" + damaged("PRAGMA user_version = 1; UPDATE "
                                                      "workflow_executions SET in_flight = 0"))
                          .error();
  EXPECT_EQ(older.code, ErrorCode::store_invalid);
  EXPECT_NE(older.message.find("older"), std::string::npos) << older.message;
}

}  // namespace
}  // namespace pawl
