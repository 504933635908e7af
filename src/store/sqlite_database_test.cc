#include "store/sqlite_database.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

#include "store/sqlite_store.h"
#include "tests/support/faulty_disk.h"
#include "tests/support/temporary_folder.h"

namespace pawl {
namespace {

using ::testing::HasSubstr;
using namespace std::chrono_literals;

// Waits for the store's reports.
class Reports final : public CommitSink {
 public:
  void commits_finished(const std::vector<CommitOutcome>& outcomes) override {
    const std::lock_guard lock(mutex_);
    for (const CommitOutcome& outcome : outcomes) {
      up_to_ = outcome.up_to;
      if (outcome.error) error_ = outcome.error;
    }
    changed_.notify_all();
  }
  // What went wrong up to that one, if anything did.
  std::optional<Error> wait_for(const std::uint64_t id) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return up_to_ >= id; });
    return error_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t up_to_ = 0;
  std::optional<Error> error_;
};

CommitRequest start_of(const std::uint64_t id, const ExecutionRef ref) {
  CommitRequest request;
  request.id = id;
  Transition& transition = request.transition;
  transition.execution = ref;
  transition.tenant = "acme";
  ExecutionRecord& record = transition.created.emplace();
  record.ref = ref;
  record.tenant = "acme";
  record.execution_id = fmt::format("wf-{}", ref);
  record.workflow = "Story";
  record.version = "1.0.0";
  record.input_digest = "digest";
  HistoryEvent event;
  event.sequence = 1;
  event.type = EventType::execution_started;
  event.name = "Story";
  transition.records.push_back(event);
  return request;
}

CommitRequest outcome_of(const std::uint64_t id, const ActionTask& task, const Payload& result,
                         const bool succeeded = true) {
  CommitRequest request;
  request.id = id;
  request.transition.execution = task.execution;
  request.transition.tenant = task.tenant;
  ActionResultRecord& row = request.transition.results.emplace_back();
  row.execution = task.execution;
  row.position = task.position;
  row.tenant = task.tenant;
  row.action = task.name;
  row.seed = task.seed;
  row.succeeded = succeeded;
  row.result = result;
  if (!succeeded) row.error_json = R"({"name":"TimeoutError","message":"late","class":3})";
  return request;
}

ActionTask task_of(const ExecutionRef execution, const Position position = 1) {
  ActionTask task;
  task.tenant = "acme";
  task.execution = execution;
  task.execution_id = fmt::format("wf-{}", execution);
  task.position = position;
  task.name = "increment";
  task.idempotency_key = fmt::format("{}:{}", execution, position);
  task.seed = 42;
  return task;
}

class SqliteDatabaseTest : public ::testing::Test {
 protected:
  void open(const std::chrono::milliseconds most = 5s) {
    store_.reset();
    SqliteStoreOptions options;
    options.path = folder_.file("store.db");
    options.synchronous = SqliteSynchronous::off;
    options.transaction_max = most;
    auto opened = open_sqlite_store(options);
    ASSERT_TRUE(opened) << opened.error().message;
    store_ = std::move(*opened);
    reports_ = std::make_unique<Reports>();
    store_->start(*reports_);
    database_ = store_->database();
  }
  void SetUp() override { open(); }

  std::unique_ptr<SqlSession> connect(const SessionUse use = SessionUse::actions) {
    auto session = database_->connect(use);
    EXPECT_TRUE(session) << session.error().message;
    return std::move(*session);
  }
  SqlRows run(SqlSession& session, const std::string_view sql,
              const std::vector<SqlValue>& parameters = {}) {
    auto rows = session.run(sql, parameters);
    EXPECT_TRUE(rows) << rows.error().message;
    return rows ? std::move(*rows) : SqlRows{};
  }
  Failure refusal(SqlSession& session, const std::string_view sql,
                  const std::vector<SqlValue>& parameters = {}) {
    auto rows = session.run(sql, parameters);
    EXPECT_FALSE(rows) << sql;
    return rows ? Failure{} : rows.error();
  }
  std::int64_t number(const std::string_view sql) {
    const auto session = connect(SessionUse::application);
    const SqlRows rows = run(*session, sql);
    return rows.rows.empty() ? -1 : std::get<std::int64_t>(rows.rows.front().front());
  }

  TemporaryFolder folder_ = TemporaryFolder::in_memory();
  std::unique_ptr<Reports> reports_;
  std::unique_ptr<Store> store_;
  std::shared_ptr<Database> database_;
};

TEST_F(SqliteDatabaseTest, ValuesOfEveryKindComeBackAsTheyWent) {
  const auto session = connect(SessionUse::application);
  run(*session, "CREATE TABLE things(id INTEGER PRIMARY KEY, real REAL, text TEXT, bytes BLOB)");
  const Blob bytes{std::byte{0}, std::byte{255}};
  const SqlRows added =
      run(*session, "INSERT INTO things VALUES(?, $2, ?, ?4)",
          {std::int64_t{9'007'199'254'740'993}, 0.5, std::string("ä\0b", 4), bytes});
  EXPECT_EQ(added.changed, 1);
  EXPECT_EQ(added.last_id, 9'007'199'254'740'993);
  run(*session, "INSERT INTO things(text) VALUES(NULL)");
  const SqlRows rows = run(*session, "SELECT * FROM things ORDER BY id");
  EXPECT_EQ(rows.columns, (std::vector<std::string>{"id", "real", "text", "bytes"}));
  ASSERT_EQ(rows.rows.size(), 2U);
  EXPECT_EQ(rows.rows[0], (std::vector<SqlValue>{std::int64_t{9'007'199'254'740'993}, 0.5,
                                                 std::string("ä\0b", 4), bytes}));
  EXPECT_EQ(rows.rows[1][2], SqlValue{});
  EXPECT_EQ(rows.changed, 0);
}

TEST_F(SqliteDatabaseTest, NumbersOfParametersSayWhichOne) {
  const auto session = connect();
  EXPECT_EQ(std::get<std::int64_t>(
                run(*session, "SELECT $2 - $1", {std::int64_t{1}, std::int64_t{10}}).rows[0][0]),
            9);
  EXPECT_EQ(refusal(*session, "SELECT ?", {}).failure_class, FailureClass::validation);
  EXPECT_THAT(refusal(*session, "SELECT ?", {std::int64_t{1}, std::int64_t{2}}).message,
              HasSubstr("2 parameters were given, the statement has 1"));
  EXPECT_THAT(refusal(*session, "SELECT :name", {std::int64_t{1}}).message, HasSubstr("':name'"));
}

TEST_F(SqliteDatabaseTest, WhatATransactionWritesIsThereAfterItsCommitAndGoneAfterItsRollback) {
  const auto session = connect(SessionUse::application);
  run(*session, "CREATE TABLE counters(n INTEGER)");
  ASSERT_TRUE(session->begin());
  run(*session, "INSERT INTO counters VALUES(1)");
  EXPECT_EQ(number("SELECT count(*) FROM counters"), 0) << "others do not see it yet";
  session->roll_back();
  EXPECT_EQ(number("SELECT count(*) FROM counters"), 0);
  ASSERT_TRUE(session->begin());
  run(*session, "INSERT INTO counters VALUES(1)");
  ASSERT_TRUE(session->commit());
  EXPECT_EQ(number("SELECT count(*) FROM counters"), 1);
  ASSERT_TRUE(session->begin());
  EXPECT_FALSE(session->begin());
  EXPECT_TRUE(session->commit()) << "nothing was done in it";
  EXPECT_FALSE(session->commit());
}

TEST_F(SqliteDatabaseTest, PawlsOwnTablesCanBeReadAndNotBeWritten) {
  const auto session = connect();
  run(*session, "SELECT count(*) FROM workflow_events");
  run(*session, "CREATE TABLE mine(n INTEGER)");
  for (const char* const sql :
       {"DELETE FROM workflow_events", "UPDATE workflow_executions SET status = 'failed'",
        "INSERT INTO workflow_timers VALUES(1, 1, 'a', 'b', 1)", "DROP TABLE workflow_events",
        "ALTER TABLE workflow_events ADD COLUMN mine TEXT", "CREATE INDEX i ON workflow_events(id)",
        "CREATE TABLE Workflow_Mine(n INTEGER)",
        "CREATE TEMP TABLE workflow_action_results(n INTEGER)",
        "CREATE TRIGGER t AFTER INSERT ON workflow_events BEGIN DELETE FROM mine; END"}) {
    const Failure refused = refusal(*session, sql);
    EXPECT_THAT(refused.message, HasSubstr("Pawl's own")) << sql;
    EXPECT_EQ(refused.failure_class, FailureClass::permanent);
  }
  // Nor by a trigger on a table of the user's.
  run(*session, "CREATE TRIGGER t AFTER INSERT ON mine BEGIN DELETE FROM workflow_events; END");
  EXPECT_THAT(refusal(*session, "INSERT INTO mine VALUES(1)").message, HasSubstr("Pawl's own"));
}

TEST_F(SqliteDatabaseTest, NoTableOfTheUsersTakesANameOfPawls) {
  const auto session = connect();
  run(*session, "CREATE TABLE mine(n INTEGER)");
  run(*session, "INSERT INTO mine VALUES(1)");
  const std::string taken = "ALTER TABLE mine RENAME TO \"Workflow_mine\" -- with a comment";
  EXPECT_THAT(refusal(*session, taken).message, HasSubstr("Pawl's own"));
  run(*session, "ALTER TABLE mine RENAME TO others");
  ASSERT_TRUE(session->begin());
  run(*session, "INSERT INTO others VALUES(2)");
  EXPECT_THAT(refusal(*session, "ALTER TABLE others RENAME TO workflow_x").message,
              HasSubstr("Pawl's own"));
  run(*session, "ALTER TABLE others RENAME COLUMN n TO workflow_n");
  ASSERT_TRUE(session->commit());
  EXPECT_EQ(number("SELECT sum(workflow_n) FROM others"), 3);
}

TEST_F(SqliteDatabaseTest, WhatWouldTouchMoreThanTheTransactionIsRefused) {
  const auto session = connect();
  for (const char* const sql :
       {"BEGIN", "COMMIT", "ROLLBACK", "ATTACH 'other.db' AS other", "VACUUM", "SAVEPOINT s",
        "PRAGMA journal_mode = DELETE", "PRAGMA synchronous = OFF", "PRAGMA writable_schema = ON",
        "SELECT 1; SELECT 2", "", "-- nothing"}) {
    const Failure refused = refusal(*session, sql);
    EXPECT_FALSE(is_retryable(refused.failure_class)) << sql << ": " << refused.message;
  }
  run(*session, "PRAGMA table_info(workflow_events)");
  run(*session, "SELECT 1 ; ");
  ASSERT_TRUE(session->begin());
  run(*session, "SAVEPOINT s");
  run(*session, "CREATE TABLE mine(n INTEGER)");
  run(*session, "ROLLBACK TO s");
  run(*session, "RELEASE s");
  ASSERT_TRUE(session->commit());
  EXPECT_EQ(number("SELECT count(*) FROM sqlite_schema WHERE name = 'mine'"), 0);
  EXPECT_THAT(refusal(*session, "SAVEPOINT s").message, HasSubstr("transaction around it"));
}

TEST_F(SqliteDatabaseTest, AFailedStatementSaysWhatSqliteCallsIt) {
  const auto session = connect();
  run(*session, "CREATE TABLE things(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)");
  run(*session, "INSERT INTO things VALUES(1, 'a')");
  const Failure twice = refusal(*session, "INSERT INTO things VALUES(2, 'a')");
  EXPECT_EQ(twice.code, "SQLITE_CONSTRAINT_UNIQUE");
  EXPECT_EQ(twice.failure_class, FailureClass::consistency);
  EXPECT_THAT(twice.message, HasSubstr("things.name"));
  EXPECT_EQ(refusal(*session, "INSERT INTO things VALUES(2, NULL)").code,
            "SQLITE_CONSTRAINT_NOTNULL");
  EXPECT_EQ(refusal(*session, "SELECT * FROM nothing").failure_class, FailureClass::permanent);
}

// rule: 14
TEST_F(SqliteDatabaseTest, AnOutcomeIsCommittedWithTheWritesAndOnlyTheFirstOne) {
  reports_->wait_for((store_->commit({start_of(1, 1)}), 1));
  auto first = connect();
  run(*first, "CREATE TABLE counters(n INTEGER)");
  const ActionTask task = task_of(1);
  for (const char* const result : {"1", "2"}) {
    ASSERT_TRUE(first->begin());
    run(*first, "INSERT INTO counters VALUES(1)");
    const auto committed = first->commit_outcome(task, Payload::json(result));
    ASSERT_TRUE(committed) << committed.error().message;
    EXPECT_EQ(committed->bytes, "1");
  }
  EXPECT_EQ(number("SELECT count(*) FROM counters"), 1);
  const auto loaded = store_->load_execution(1, kWholeHistory);
  ASSERT_TRUE(loaded && *loaded);
  ASSERT_EQ((*loaded)->ahead.size(), 1U);
  EXPECT_EQ((*loaded)->ahead[0].result.bytes, "1");

  // The history follows: with the same outcome, and with no other.
  CommitRequest other = outcome_of(2, task, Payload::json("2"));
  other.generation = 1;
  store_->commit({other});
  EXPECT_TRUE(reports_->wait_for(2));
  CommitRequest same = outcome_of(3, task, Payload::json("1"));
  same.generation = 2;
  store_->commit({same});
  reports_->wait_for(3);
  const auto after = store_->load_execution(1, kWholeHistory);
  ASSERT_TRUE(after && *after);
  EXPECT_TRUE((*after)->ahead.empty());
  const auto results = store_->action_results(1);
  ASSERT_TRUE(results);
  ASSERT_EQ(results->size(), 1U);
  EXPECT_EQ(results->front().result.bytes, "1");
}

// rule: 14
TEST_F(SqliteDatabaseTest, NothingIsWrittenAfterAFailureWasRecordedOrTheExecutionHasEnded) {
  reports_->wait_for((store_->commit({start_of(1, 1)}), 1));
  const auto session = connect();
  run(*session, "CREATE TABLE counters(n INTEGER)");
  store_->commit({outcome_of(2, task_of(1, 1), {}, false)});
  ASSERT_FALSE(reports_->wait_for(2));
  ASSERT_TRUE(session->begin());
  run(*session, "INSERT INTO counters VALUES(1)");
  const auto late = session->commit_outcome(task_of(1, 1), Payload::json("1"));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().name, "TimeoutError");

  CommitRequest ended;
  ended.id = 3;
  ended.transition.execution = 1;
  ended.transition.tenant = "acme";
  ended.transition.changed.emplace().status = ExecutionStatus::terminated;
  ended.transition.changed->last_sequence = 1;
  store_->commit({ended});
  ASSERT_FALSE(reports_->wait_for(3));
  ASSERT_TRUE(session->begin());
  run(*session, "INSERT INTO counters VALUES(1)");
  const auto after = session->commit_outcome(task_of(1, 2), Payload::json("1"));
  ASSERT_FALSE(after);
  EXPECT_EQ(after.error().code, "execution_ended");
  EXPECT_EQ(number("SELECT count(*) FROM counters"), 0);
}

TEST_F(SqliteDatabaseTest, ATransactionThatHoldsUpTheEngineForTooLongIsRolledBack) {
  open(50ms);
  const auto session = connect();
  run(*session, "CREATE TABLE counters(n INTEGER)");
  ASSERT_TRUE(session->begin());
  run(*session, "INSERT INTO counters VALUES(1)");
  // Nobody comes back to it; the engine does not wait for that.
  store_->commit({start_of(1, 1)});
  EXPECT_FALSE(reports_->wait_for(1));
  const Failure lost = refusal(*session, "INSERT INTO counters VALUES(2)");
  EXPECT_EQ(lost.code, "transaction_lost");
  EXPECT_EQ(lost.failure_class, FailureClass::timeout);
  EXPECT_THAT(lost.message, HasSubstr("transaction_ms_max"));
  EXPECT_FALSE(session->commit());
  session->roll_back();
  EXPECT_EQ(number("SELECT count(*) FROM counters"), 0);
  run(*session, "INSERT INTO counters VALUES(3)");
}

TEST_F(SqliteDatabaseTest, AStatementThatRunsForTooLongIsInterrupted) {
  open(50ms);
  const auto session = connect();
  run(*session, "CREATE TABLE counters(n INTEGER)");
  std::jthread engine([this] {
    std::this_thread::sleep_for(10ms);
    store_->commit({start_of(1, 1)});
  });
  ASSERT_TRUE(session->begin());
  run(*session, "INSERT INTO counters VALUES(1)");
  const Failure lost = refusal(*session,
                               "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) "
                               "INSERT INTO counters SELECT n FROM t");
  EXPECT_EQ(lost.code, "transaction_lost");
  EXPECT_FALSE(reports_->wait_for(1));
  session->roll_back();
  EXPECT_EQ(number("SELECT count(*) FROM counters"), 0);
}

constexpr const char* kEndless =
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t";

TEST_F(SqliteDatabaseTest, WhatIsBrokenOffFromOutsideEndsAtOnceAndIsRolledBack) {
  const auto session = connect();
  run(*session, "CREATE TABLE counters(n INTEGER)");
  ASSERT_TRUE(session->begin());
  run(*session, "INSERT INTO counters VALUES(1)");
  std::jthread other([&session] {
    std::this_thread::sleep_for(10ms);
    session->break_off();
  });
  EXPECT_EQ(refusal(*session, kEndless).code, "transaction_lost");
  // The write lock is free, whatever becomes of who had it.
  store_->commit({start_of(1, 1)});
  EXPECT_FALSE(reports_->wait_for(1));
  EXPECT_EQ(refusal(*session, "INSERT INTO counters VALUES(2)").code, "transaction_lost");
  EXPECT_FALSE(session->commit());
  session->roll_back();
  EXPECT_EQ(number("SELECT count(*) FROM counters"), 0);
  run(*session, "INSERT INTO counters VALUES(3)");
}

TEST_F(SqliteDatabaseTest, WhatIsBrokenOffBeforeItBeginsWritesNothing) {
  const auto session = connect();
  run(*session, "CREATE TABLE counters(n INTEGER)");
  ASSERT_TRUE(session->begin());
  session->break_off();
  EXPECT_EQ(refusal(*session, "INSERT INTO counters VALUES(1)").code, "transaction_lost");
  EXPECT_EQ(refusal(*session, kEndless).code, "transaction_lost");
  EXPECT_FALSE(session->commit());
  session->roll_back();
  // Without a transaction, only what runs.
  session->break_off();
  run(*session, "INSERT INTO counters VALUES(2)");
  std::jthread other([&session] {
    std::this_thread::sleep_for(10ms);
    session->break_off();
  });
  EXPECT_EQ(refusal(*session, kEndless).code, "transaction_lost");
  EXPECT_EQ(number("SELECT sum(n) FROM counters"), 2);
}

TEST_F(SqliteDatabaseTest, ManyAtOnceAndTheEngineTakeTurns) {
  run(*connect(), "CREATE TABLE counters(n INTEGER)");
  run(*connect(), "INSERT INTO counters VALUES(0)");
  reports_->wait_for((store_->commit({start_of(1, 1)}), 1));
  constexpr int kThreads = 8;
  constexpr int kEach = 50;
  std::vector<std::jthread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([this, thread] {
      const auto session = connect();
      for (int i = 0; i < kEach; ++i) {
        ASSERT_TRUE(session->begin());
        // Read and written apart: it adds up only where nobody comes in between.
        const SqlRows read = run(*session, "SELECT n FROM counters");
        run(*session, "UPDATE counters SET n = ?", {std::get<std::int64_t>(read.rows[0][0]) + 1});
        const auto done =
            session->commit_outcome(task_of(1, 1 + thread * kEach + i), Payload::json("1"));
        ASSERT_TRUE(done) << done.error().message;
      }
    });
  }
  for (std::uint64_t id = 2; id < 100; ++id) {
    store_->commit({start_of(id, static_cast<ExecutionRef>(id))});
    ASSERT_FALSE(reports_->wait_for(id));
  }
  threads.clear();
  EXPECT_EQ(number("SELECT n FROM counters"), kThreads * kEach);
}

TEST_F(SqliteDatabaseTest, ClosingTheStoreRollsBackWhatIsOpenAndTellsWhoComesBack) {
  auto session = connect();
  auto other = connect();
  run(*session, "CREATE TABLE counters(n INTEGER)");
  ASSERT_TRUE(session->begin());
  run(*session, "INSERT INTO counters VALUES(1)");
  store_->close();
  EXPECT_EQ(refusal(*session, "SELECT 1").code, "closed");
  EXPECT_EQ(refusal(*other, "SELECT 1").code, "closed");
  EXPECT_FALSE(session->commit());
  session->roll_back();
  EXPECT_FALSE(session->begin());
  EXPECT_FALSE(database_->connect(SessionUse::actions));
  store_.reset();
  session.reset();
  database_.reset();
  other.reset();
  open();
  EXPECT_EQ(number("SELECT count(*) FROM counters"), 0);
}

// Its statement was prepared by then, and finalized with the connection; and used all the same.
TEST_F(SqliteDatabaseTest, ClosingTheStoreTellsWhoWaitsForTheWriteLock) {
  run(*connect(), "CREATE TABLE counters(n INTEGER)");
  // Opened first, so that they are closed while they wait: without a transaction, and with one.
  const auto alone = database_->connect(SessionUse::application).value();
  const auto begun = database_->connect(SessionUse::application).value();
  ASSERT_TRUE(begun->begin());
  const auto holder = database_->connect(SessionUse::application).value();
  ASSERT_TRUE(holder->begin());
  run(*holder, "INSERT INTO counters VALUES(1)");
  std::vector<std::jthread> writers;
  for (SqlSession* const session : {alone.get(), begun.get()}) {
    writers.emplace_back([session] {
      const auto written =
          session->run("INSERT INTO counters VALUES(?)", {std::string(1'000, '2')});
      ASSERT_FALSE(written);
      EXPECT_EQ(written.error().code, "closed");
    });
  }
  std::this_thread::sleep_for(50ms);
  store_->close();
}

// Power goes off in the midst of each operation of the disk in turn: what was written and the outcome are
// there both or neither, and both where the engine's commit after it was acknowledged.
// rules: 1, 14
TEST(SqliteDatabasePower, WritesAndOutcomeSurviveTogetherOrNotAtAll) {
  std::set<std::string> seen;
  for (std::uint64_t at = 1;; ++at) {
    SCOPED_TRACE(at);
    FaultyDisk disk{at};
    SqliteStoreOptions options;
    options.path = "/store.db";
    options.vfs = disk.vfs();
    bool acknowledged = false;
    bool struck = false;
    {
      Reports reports;
      auto store = open_sqlite_store(options);
      ASSERT_TRUE(store) << store.error().message;
      (*store)->start(reports);
      (*store)->commit({start_of(1, 1)});
      ASSERT_FALSE(reports.wait_for(1));
      auto session = (*store)->database()->connect(SessionUse::actions);
      ASSERT_TRUE(session) << session.error().message;
      ASSERT_TRUE((*session)->run("CREATE TABLE counters(n INTEGER)", {}));
      (*store)->commit({start_of(2, 2)});
      ASSERT_FALSE(reports.wait_for(2));
      disk.lose_power_at(disk.operations() + at);
      const ActionTask task = task_of(1);
      if ((*session)->begin() && (*session)->run("INSERT INTO counters VALUES(1)", {}) &&
          (*session)->commit_outcome(task, Payload::json("1"))) {
        (*store)->commit({outcome_of(3, task, Payload::json("1"))});
        acknowledged = !reports.wait_for(3);
      }
      struck = disk.struck();
    }
    disk.restart();
    disk.heal();
    Reports reports;
    auto store = open_sqlite_store(options);
    ASSERT_TRUE(store) << store.error().message;
    (*store)->start(reports);
    auto session = (*store)->database()->connect(SessionUse::application);
    ASSERT_TRUE(session);
    const auto counted = (*session)->run("SELECT count(*) FROM counters", {});
    ASSERT_TRUE(counted) << counted.error().message;
    const auto counter = std::get<std::int64_t>(counted->rows[0][0]);
    const auto results = (*store)->action_results(1);
    ASSERT_TRUE(results);
    EXPECT_EQ(counter, static_cast<std::int64_t>(results->size()));
    EXPECT_TRUE(counter == 1 || !acknowledged);
    seen.insert(acknowledged ? "acknowledged" : counter == 1 ? "there" : "gone");
    if (!struck) break;
  }
  EXPECT_TRUE(seen.contains("acknowledged"));
  EXPECT_TRUE(seen.contains("gone"));
}

}  // namespace
}  // namespace pawl
