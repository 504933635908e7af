#include "store/sqlite_store.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <semaphore>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/crash_point.h"
#include "store/sqlite_connection.h"
#include "store/sqlite_reader.h"
#include "store/sqlite_schema.h"
#include "tests/support/operator_rows_conformance.h"
#include "tests/support/store_conformance.h"
#include "tests/support/temporary_folder.h"

namespace pawl {
namespace {

namespace fs = std::filesystem;

struct SqliteMaker {
  TemporaryFolder folder;
  std::unique_ptr<Store> open() {
    auto store = open_sqlite_store({.path = folder.file("pawl.db")});
    EXPECT_TRUE(store) << store.error().message;
    return store ? std::move(*store) : nullptr;
  }
};

INSTANTIATE_TYPED_TEST_SUITE_P(Sqlite, StoreConformance, SqliteMaker);
INSTANTIATE_TYPED_TEST_SUITE_P(Sqlite, OperatorRowsConformance, SqliteMaker);

class SqliteStoreTest : public testing::Test {
 protected:
  std::unique_ptr<Store> open(SqliteStoreOptions options = {}) {
    options.path = path;
    auto opened = open_sqlite_store(options);
    EXPECT_TRUE(opened) << opened.error().message;
    if (!opened) {
      return nullptr;
    }
    driver = std::make_unique<StoreDriver>();
    (*opened)->start(*driver);
    driver->attach(**opened);
    return std::move(*opened);
  }

  // What an operator's shell does.
  SqliteConnection shell(int busy_ms = 1'000) {
    auto connection =
        SqliteConnection::open(path, SqliteConnection::Mode::read_write_create, "", busy_ms);
    if (!connection) {
      throw std::runtime_error(connection.error().message);
    }
    return std::move(*connection);
  }

  Error refusal(const std::string& file) {
    auto opened = open_sqlite_store({.path = file});
    EXPECT_FALSE(opened) << file;
    return opened ? Error{} : opened.error();
  }

  static std::string bytes_of(const std::string& file) {
    std::ifstream in{file, std::ios::binary};
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }
  void write(const std::string& file, const std::string& bytes) {
    std::ofstream{file, std::ios::binary} << bytes;
  }
  std::set<std::string> names() const {
    std::set<std::string> found;
    for (const auto& entry : fs::directory_iterator{folder.path()}) {
      found.insert(entry.path().filename().string());
    }
    return found;
  }

  TemporaryFolder folder;
  std::string path = folder.file("pawl.db");
  std::unique_ptr<StoreDriver> driver;
};

std::string text(SqliteConnection& connection, const std::string& sql) {
  const auto value = connection.query_text(sql);
  return value ? *value : "error: " + value.error().message;
}

// --- the file -----------------------------------------------------------------------------------

TEST_F(SqliteStoreTest, SettingsAreAsDesigned) {
  auto connection = shell();
  SqliteStoreOptions options;
  options.path = path;
  const auto configured = configure_sqlite_writer(connection, options);
  ASSERT_TRUE(configured) << configured.error().message;
  ASSERT_TRUE(migrate_sqlite(connection));
  for (const auto& [pragma, value] : {std::pair{"journal_mode", "wal"},
                                      {"synchronous", "2"},
                                      {"secure_delete", "0"},
                                      {"page_size", "4096"},
                                      {"cache_size", "-65536"},
                                      {"mmap_size", "0"},
                                      {"temp_store", "2"},
                                      {"journal_size_limit", "-1"},
                                      {"wal_autocheckpoint", "0"},
                                      {"application_id", "1348564844"},
                                      {"user_version", "9"}}) {
    EXPECT_EQ(text(connection, std::string{"PRAGMA "} + pragma), value) << pragma;
  }
}

TEST_F(SqliteStoreTest, PlansDoNotDependOnWhatIsBound) {
  auto connection = shell();
  ASSERT_TRUE(migrate_sqlite(connection));
  auto inbox = connection.prepare(
      "SELECT id FROM workflow_event_processing WHERE execution = ?1 AND (status = 'pending' OR "
      "status = 'published' OR status = 'processing' OR status = 'retrying')");
  ASSERT_TRUE(inbox) << inbox.error().message;
  for (std::int64_t execution = 1; execution <= 10; ++execution) {
    inbox->bind(1, execution);
    EXPECT_EQ(inbox->run(), SQLITE_DONE);
  }
  sqlite3_stmt* const statement = sqlite3_next_stmt(connection.handle(), nullptr);
  ASSERT_NE(statement, nullptr);
  EXPECT_EQ(sqlite3_stmt_status(statement, SQLITE_STMTSTATUS_REPREPARE, 0), 0);
}

TEST_F(SqliteStoreTest, HasItsTablesAndViewsForPeople) {
  auto store = open();
  const auto ref = store->next_execution_ref({}, {});
  auto transition = start_transition(ref, "acme", "wf-123");
  ActionResultRecord result;
  result.execution = ref;
  result.position = 3;
  result.tenant = "acme";
  result.action = "send";
  transition.results.push_back(result);
  result.position = 4;
  result.user_key = "mine";
  transition.results.push_back(result);
  // No codec but JSON is there yet; what is not text must not be taken for it.
  transition.records[0].payload = Payload{"{\"n\":1}", Encoding::json};
  auto odd = transition.records[0];
  odd.sequence = 2;
  odd.payload = Payload{std::string("\0\xff", 2), static_cast<Encoding>(9)};
  transition.records.push_back(odd);
  ASSERT_FALSE(driver->commit_and_wait({transition}));

  auto operators = shell();  // while the engine runs
  EXPECT_EQ(text(operators,
                 "SELECT group_concat(name, ' ') FROM (SELECT name FROM sqlite_schema "
                 "WHERE type = 'table' ORDER BY name)"),
            "workflow_action_dependencies workflow_action_results workflow_event_processing "
            "workflow_events workflow_executions workflow_locks workflow_state_snapshots "
            "workflow_sync_points workflow_timers");
  EXPECT_EQ(text(operators,
                 "SELECT event_type || ' ' || at || ' ' || (payload ->> 'n') FROM history "
                 "WHERE execution_id = 'wf-123' AND sequence = 1"),
            "ExecutionStarted 1970-01-01 00:00:00.000 1");
  EXPECT_EQ(text(operators, "SELECT group_concat(typeof(payload), ' ') FROM workflow_events"),
            "text blob");
  EXPECT_EQ(text(operators,
                 "SELECT status || ' ' || condition FROM executions "
                 "WHERE tenant = 'acme' AND execution_id = 'wf-123'"),
            "running waiting");
  EXPECT_EQ(text(operators,
                 "SELECT group_concat(idempotency_key, ' ') FROM "
                 "workflow_action_results ORDER BY position"),
            "1:3:0000000000000000 mine");
  for (const std::string table :
       {"workflow_action_dependencies", "workflow_action_results", "workflow_event_processing",
        "workflow_events", "workflow_executions", "workflow_state_snapshots",
        "workflow_sync_points", "workflow_timers"}) {
    EXPECT_EQ(text(operators, "SELECT count(*) FROM pragma_table_info('" + table +
                                  "') WHERE name = 'tenant' AND \"notnull\" = 1"),
              "1")
        << table;
  }
  const auto stored = store->load_execution(ref, kWholeHistory);
  ASSERT_TRUE(stored && *stored);
  EXPECT_EQ((*stored)->history, transition.records);
}

TEST_F(SqliteStoreTest, LeavesOneFileAndTheLockBehind) {
  auto store = open();
  EXPECT_FALSE(driver->commit_and_wait({start_transition(1, "acme", "wf-1")}));
  store->close();
  EXPECT_EQ(names(), (std::set<std::string>{"pawl.db", "pawl.db-lock"}));
  EXPECT_NE(open(), nullptr) << "closed is free, also before the object is gone";
}

// --- one engine -----------------------------------------------------------------------------------

TEST_F(SqliteStoreTest, ASecondEngineInTheProcessIsRefusedByWhateverName) {
  auto store = open();
  fs::create_symlink("pawl.db", folder.file("link.db"));
  fs::create_directory_symlink(folder.path(), folder.file("here"));
  for (const auto& name : {path, folder.file("link.db"), folder.file("here/pawl.db"),
                           folder.file("./here/./pawl.db"), fs::relative(path).string()}) {
    const auto error = refusal(name);
    EXPECT_EQ(error.code, ErrorCode::store_in_use) << name << ": " << error.message;
    EXPECT_NE(error.message.find(std::to_string(getpid())), std::string::npos) << error.message;
  }
  EXPECT_FALSE(driver->commit_and_wait({start_transition(1, "acme", "wf-1")}))
      << "the refused ones have not taken its locks away";
  store.reset();
  EXPECT_NE(open(), nullptr);
}

TEST_F(SqliteStoreTest, ALinkToAFileYetToComeIsThatFile) {
  fs::create_symlink("pawl.db", folder.file("link.db"));
  auto opened = open_sqlite_store({.path = folder.file("link.db")});
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_TRUE(fs::exists(path));
  EXPECT_EQ(refusal(path).code, ErrorCode::store_in_use);
  fs::create_symlink("circle.db", folder.file("circle.db"));
  EXPECT_EQ(refusal(folder.file("circle.db")).code, ErrorCode::store_unavailable);
}

// A process that holds the store; killed with the object.
class OtherProcess {
 public:
  explicit OtherProcess(const std::function<void(int ready)>& run) {
    int ends[2];
    if (::pipe(ends) != 0) {
      throw std::runtime_error("no pipe");
    }
    id_ = ::fork();
    if (id_ == 0) {
      ::close(ends[0]);
      run(ends[1]);
      ::_exit(0);
    }
    ::close(ends[1]);
    from_ = ends[0];
  }
  ~OtherProcess() {
    kill();
    ::close(from_);
  }
  pid_t id() const { return id_; }
  // All that it wrote until it ended or closed its end.
  std::string output() const {
    std::string text;
    char byte = 0;
    while (::read(from_, &byte, 1) == 1) {
      text += byte;
    }
    return text;
  }
  bool wait_for_byte() const {
    char byte = 0;
    return ::read(from_, &byte, 1) == 1;
  }
  // The signal that ended it, or 0.
  int kill() {
    if (id_ > 0) {
      ::kill(id_, SIGKILL);
      int status = 0;
      ::waitpid(id_, &status, 0);
      id_ = -1;
      return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    }
    return 0;
  }

 private:
  pid_t id_ = -1;
  int from_ = -1;
};

TEST_F(SqliteStoreTest, ASecondProcessIsToldWhoHasItAndGetsItWhenThatIsKilled) {
  OtherProcess other{[&](int ready) {
    auto opened = open_sqlite_store({.path = path});
    if (opened && ::write(ready, "x", 1) == 1) {
      ::pause();
    }
  }};
  ASSERT_TRUE(other.wait_for_byte());
  const auto error = refusal(path);
  EXPECT_EQ(error.code, ErrorCode::store_in_use);
  EXPECT_NE(error.message.find("process " + std::to_string(other.id())), std::string::npos)
      << error.message;
  EXPECT_EQ(other.kill(), SIGKILL);
  EXPECT_NE(open(), nullptr);
}

TEST_F(SqliteStoreTest, AForeignWriterDelaysACommitAndThenFailsIt) {
  auto store = open({.busy_ms = 20});
  auto operators = shell();
  ASSERT_TRUE(operators.execute("BEGIN IMMEDIATE"));
  const auto error = driver->commit_and_wait({start_transition(1, "acme", "wf-1")});
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code, ErrorCode::store_unavailable);
  EXPECT_NE(error->message.find("another process"), std::string::npos) << error->message;
  ASSERT_TRUE(operators.execute("COMMIT"));
  EXPECT_FALSE(driver->commit_and_wait({start_transition(1, "acme", "wf-1")}));
}

// --- files that are none of ours ------------------------------------------------------------------

TEST_F(SqliteStoreTest, WhatIsNoStoreIsRefusedAndLeftAsItWas) {
  std::vector<std::pair<std::string, std::string>> files{
      {"text", "Dear diary, this is no database, and long enough to look like one: " +
                   std::string(200, '.')},
      {"short", "xy"},
      {"zeros", std::string(8'192, '\0')},
      {"truncated", std::string("SQLite format 3\0", 16)}};
  for (const auto& [name, content] : files) {
    write(path, content);
    const auto error = refusal(path);
    EXPECT_EQ(error.code, ErrorCode::store_invalid) << name << ": " << error.message;
    EXPECT_NE(error.message.find("not a database"), std::string::npos) << error.message;
    EXPECT_TRUE(bytes_of(path) == content) << name;
    EXPECT_EQ(names(), std::set<std::string>{"pawl.db"}) << name;
  }
  fs::remove(path);

  for (const char* setup : {"CREATE TABLE t(x); INSERT INTO t VALUES(1)",
                            "PRAGMA journal_mode = WAL; CREATE TABLE t(x)",
                            "PRAGMA application_id = 7; CREATE TABLE t(x)"}) {
    {
      auto foreign = shell();
      ASSERT_TRUE(foreign.execute(setup));
    }
    const auto before = bytes_of(path);
    const auto error = refusal(path);
    EXPECT_EQ(error.code, ErrorCode::store_invalid);
    EXPECT_NE(error.message.find("not a store of Pawl's"), std::string::npos) << error.message;
    EXPECT_TRUE(bytes_of(path) == before);
    EXPECT_EQ(names(), std::set<std::string>{"pawl.db"});
    fs::remove(path);
  }
}

TEST_F(SqliteStoreTest, AStoreFromANewerVersionIsRefusedAndLeftAsItWas) {
  open();
  {
    auto newer = shell();
    ASSERT_TRUE(newer.execute("PRAGMA user_version = 99"));
  }
  auto before = bytes_of(path);
  auto error = refusal(path);
  EXPECT_EQ(error.code, ErrorCode::store_invalid);
  EXPECT_NE(error.message.find("newer version of Pawl"), std::string::npos) << error.message;
  EXPECT_TRUE(bytes_of(path) == before);

  // The same while the number is in the log only, as after a kill of that version.
  {
    auto back = shell();
    ASSERT_TRUE(back.execute("PRAGMA user_version = 4"));
  }
  auto newer = shell();
  sqlite3_db_config(newer.handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  ASSERT_TRUE(newer.execute("PRAGMA user_version = 99"));
  newer.close();
  ASSERT_TRUE(fs::exists(path + "-wal"));
  before = bytes_of(path);
  const auto log = bytes_of(path + "-wal");
  error = refusal(path);
  EXPECT_EQ(error.code, ErrorCode::store_invalid);
  EXPECT_NE(error.message.find("newer version of Pawl"), std::string::npos) << error.message;
  EXPECT_TRUE(bytes_of(path) == before);
  EXPECT_TRUE(bytes_of(path + "-wal") == log);
}

TEST_F(SqliteStoreTest, PathsThatCannotBeAStore) {
  EXPECT_EQ(refusal("").code, ErrorCode::invalid_argument);
  EXPECT_EQ(refusal(":memory:").code, ErrorCode::invalid_argument);
  EXPECT_EQ(refusal(std::string("a\0b", 3)).code, ErrorCode::invalid_argument);
  EXPECT_EQ(refusal(folder.path().string()).code, ErrorCode::store_invalid);
  EXPECT_EQ(refusal(folder.path().string() + "/").code, ErrorCode::store_invalid);
  const auto error = refusal(folder.file("nowhere/pawl.db"));
  EXPECT_EQ(error.code, ErrorCode::store_unavailable);
  EXPECT_NE(error.message.find("nowhere"), std::string::npos) << error.message;
  ASSERT_EQ(::mkfifo(folder.file("pipe").c_str(), 0600), 0);
  EXPECT_EQ(refusal(folder.file("pipe")).code, ErrorCode::store_invalid);
  EXPECT_EQ(refusal("/dev/null").code, ErrorCode::store_invalid);

  open();
  fs::create_hard_link(path, folder.file("twin.db"));
  EXPECT_EQ(refusal(path).code, ErrorCode::store_invalid);
  fs::remove(folder.file("twin.db"));
  EXPECT_NE(open(), nullptr);
  EXPECT_EQ(open_sqlite_store({.path = path, .vfs = "no such"}).error().code,
            ErrorCode::invalid_argument);
}

// While it lives, this thread opens files as a user without rights, as tests may run as root.
class WithoutRights {
 public:
  WithoutRights() { ::setfsuid(65'534); }
  ~WithoutRights() { ::setfsuid(::geteuid()); }
  WithoutRights(const WithoutRights&) = delete;
  WithoutRights& operator=(const WithoutRights&) = delete;
};

TEST_F(SqliteStoreTest, WhatIsReadOnlyIsUnavailable) {
  open();
  const auto before = bytes_of(path);
  ASSERT_EQ(::chmod(folder.path().c_str(), 0555), 0);
  {
    const WithoutRights nobody;
    for (const auto& name : {path, folder.file("new.db")}) {
      const auto error = refusal(name);
      EXPECT_EQ(error.code, ErrorCode::store_unavailable);
      EXPECT_NE(error.message.find("folder"), std::string::npos) << error.message;
    }
  }
  ASSERT_EQ(::chmod(folder.path().c_str(), 0777), 0);
  ASSERT_EQ(::chmod(path.c_str(), 0444), 0);
  fs::remove(path + "-lock");
  {
    const WithoutRights nobody;
    const auto error = refusal(path);
    EXPECT_EQ(error.code, ErrorCode::store_unavailable);
    EXPECT_NE(error.message.find("read-only"), std::string::npos) << error.message;
  }
  ASSERT_EQ(::chmod(path.c_str(), 0), 0);
  {
    const WithoutRights nobody;
    EXPECT_EQ(refusal(path).code, ErrorCode::store_unavailable);
  }
  ASSERT_EQ(::chmod(path.c_str(), 0644), 0);
  EXPECT_TRUE(bytes_of(path) == before);
  fs::remove(path + "-lock");
}

// --- plans ------------------------------------------------------------------------------------------

TEST_F(SqliteStoreTest, NoReadScansATable) {
  auto store = open();
  auto connection = shell();
  for (const auto& sql : SqliteReader::statements()) {
    auto plan = connection.prepare("EXPLAIN QUERY PLAN " + sql);
    ASSERT_TRUE(plan) << plan.error().message;
    std::string steps;
    while (plan->step() == SQLITE_ROW) {
      const auto step = plan->column_text(3);
      steps += "  " + step + "\n";
      // The paused ones, gathered once, from the small index of those that need an operator.
      const bool small = step.find("workflow_executions_attention") != std::string::npos;
      EXPECT_TRUE(!step.starts_with("SCAN") || small) << sql << "\n" << step;
      EXPECT_EQ(step.find("TEMP B-TREE"), std::string::npos) << sql << "\n" << step;
    }
    if (sql.find("fire_at, execution, position) >") != std::string::npos) {
      EXPECT_NE(steps.find("workflow_timers_due"), std::string::npos) << steps;
    }
    if (sql.find("UNION") != std::string::npos) {
      EXPECT_NE(steps.find("workflow_executions_resume"), std::string::npos) << steps;
      EXPECT_NE(steps.find("workflow_event_processing_open"), std::string::npos) << steps;
    }
  }
}

// --- commits ----------------------------------------------------------------------------------------

TEST_F(SqliteStoreTest, ATransactionHoldsNoMoreThanItsCap) {
  auto store = open({.batch_transitions_max = 3});
  std::vector<CommitRequest> requests;
  for (std::uint64_t id = 1; id <= 10; ++id) {
    const auto ref = store->next_execution_ref({}, {});
    requests.push_back({4, 0, id, start_transition(ref, "acme", std::to_string(ref))});
  }
  driver->commit(requests);
  driver->wait_for(4, 10);
  std::vector<std::uint64_t> ends;
  for (const auto& outcome : driver->outcomes(4)) {
    ends.push_back(outcome.up_to);
  }
  EXPECT_EQ(ends, (std::vector<std::uint64_t>{3, 6, 9, 10}));
}

TEST_F(SqliteStoreTest, ATransactionOfLargePayloadsHoldsFewOfThem) {
  auto store = open({.batch_bytes_max = 2'500'000, .checkpoint_pages = 1'000});
  std::vector<CommitRequest> requests;
  for (std::uint64_t id = 1; id <= 64; ++id) {
    const auto ref = store->next_execution_ref({}, {});
    requests.push_back({4, 0, id, start_transition(ref, "acme", std::to_string(ref))});
    requests.back().transition.records[0].payload =
        Payload::json(fmt::format("\"{:x<1000000}\"", ""));
  }
  driver->commit(requests);
  driver->wait_for(4, 64);
  std::vector<std::uint64_t> ends;
  for (const auto& outcome : driver->outcomes(4)) {
    EXPECT_FALSE(outcome.error);
    ends.push_back(outcome.up_to);
  }
  ASSERT_EQ(ends.size(), 22U);
  EXPECT_EQ(ends[0], 3U);
  EXPECT_EQ(ends[1], 6U);
  EXPECT_LT(fs::file_size(path + "-wal"), 12'000'000U) << "it is written back in between";
}

TEST_F(SqliteStoreTest, TheLogIsWrittenBackAndReused) {
  auto store = open({.checkpoint_pages = 50});
  const auto ref = store->next_execution_ref({}, {});
  ASSERT_FALSE(driver->commit_and_wait({start_transition(ref, "acme", "wf")}));
  for (std::int64_t sequence = 2; sequence < 400; ++sequence) {
    auto transition = append_transition(ref, "acme", sequence, 1);
    transition.records[0].payload = Payload::json(fmt::format("\"{:x<4000}\"", ""));
    ASSERT_FALSE(driver->commit_and_wait({transition}));
  }
  EXPECT_GT(fs::file_size(path), 300u * 4'096);
  EXPECT_LT(fs::file_size(path + "-wal"), 150u * 4'096);
}

// --- commits on the caller's thread

TEST_F(SqliteStoreTest, ACommitHereIsReportedBeforeItReturnsAndFollowsThoseBefore) {
  auto store = open();
  const auto ref = store->next_execution_ref({}, {});
  driver->commit({{4, 0, 1, start_transition(ref, "acme", "wf")}});
  driver->wait_for(4, 1);
  std::vector<CommitRequest> next{{4, 0, 2, append_transition(ref, "acme", 2, 1)}};
  // The writer's thread may not have come to its rest yet.
  while (!store->commit_here(next)) std::this_thread::yield();
  ASSERT_EQ(driver->outcomes(4).back().up_to, 2u);
  EXPECT_FALSE(driver->error_of(4, 2));
  EXPECT_EQ((*store->load_execution(ref, kWholeHistory))->history.size(), 2u);
}

TEST_F(SqliteStoreTest, ACommitHereWaitsForNobody) {
  auto store = open();
  std::vector<CommitRequest> requests{
      {4, 0, 1, start_transition(store->next_execution_ref({}, {}), "acme", "wf")}};
  auto other = shell();
  ASSERT_TRUE(other.execute("BEGIN IMMEDIATE"));
  for (int tries = 0; tries < 20; ++tries) {
    EXPECT_FALSE(store->commit_here(requests)) << "another process writes";
    std::this_thread::yield();
  }
  ASSERT_EQ(requests.size(), 1u) << "they are to be queued";
  ASSERT_TRUE(other.execute("ROLLBACK"));
  while (!store->commit_here(requests)) std::this_thread::yield();
  EXPECT_FALSE(driver->error_of(4, 1));

  store->close();
  EXPECT_FALSE(store->commit_here(requests));
}

TEST_F(SqliteStoreTest, ACommitHereThatIsRefusedFailsItsStreamUntilTheNextGeneration) {
  auto store = open();
  const auto ref = store->next_execution_ref({}, {});
  std::vector<CommitRequest> wrong{{4, 0, 1, start_transition(ref, "acme", "wf")},
                                   {4, 0, 2, append_transition(ref, "acme", 3, 1)}};
  while (!store->commit_here(wrong)) std::this_thread::yield();
  EXPECT_FALSE(driver->error_of(4, 1));
  EXPECT_TRUE(driver->error_of(4, 2)) << "a gap";
  std::vector<CommitRequest> behind{{4, 0, 3, append_transition(ref, "acme", 2, 1)}};
  EXPECT_FALSE(store->commit_here(behind)) << "the stream has failed";
  std::vector<CommitRequest> anew{{4, 1, 4, append_transition(ref, "acme", 2, 1)}};
  while (!store->commit_here(anew)) std::this_thread::yield();
  EXPECT_FALSE(driver->error_of(4, 4));
}

TEST_F(SqliteStoreTest, TheLogIsWrittenBackToWhereCommitsAreMadeHere) {
  auto store = open({.checkpoint_pages = 50});
  const auto ref = store->next_execution_ref({}, {});
  std::uint64_t id = 1;
  std::vector<CommitRequest> first{{4, 0, id, start_transition(ref, "acme", "wf")}};
  while (!store->commit_here(first)) std::this_thread::yield();
  for (std::int64_t sequence = 2; sequence < 400; ++sequence) {
    auto transition = append_transition(ref, "acme", sequence, 1);
    transition.records[0].payload = Payload::json(fmt::format("\"{:x<4000}\"", ""));
    std::vector<CommitRequest> next{{4, 0, ++id, std::move(transition)}};
    while (!store->commit_here(next)) std::this_thread::yield();
    ASSERT_FALSE(driver->error_of(4, id));
  }
  EXPECT_GT(fs::file_size(path), 300u * 4'096);
  EXPECT_LT(fs::file_size(path + "-wal"), 150u * 4'096);
}

// Kills a process in the midst of its third commit; says what is there afterwards.
std::size_t executions_after_kill(const std::string& path, const std::string& point,
                                  std::string& acknowledged) {
  OtherProcess victim{[&](int out) {
    int passes = 0;
    const CrashPointHandler handler{[&](std::string_view name) {
      if (name == point && ++passes == 3) {
        std::raise(SIGKILL);
      }
    }};
    auto opened = open_sqlite_store({.path = path});
    StoreDriver driver;
    (*opened)->start(driver);
    driver.attach(**opened);
    for (ExecutionRef ref = 1; ref <= 5; ++ref) {
      if (!driver.commit_and_wait({start_transition(ref, "acme", std::to_string(ref))})) {
        [[maybe_unused]] const auto written = ::write(out, "a", 1);
      }
    }
  }};
  acknowledged = victim.output();
  EXPECT_EQ(victim.kill(), SIGKILL);
  auto opened = open_sqlite_store({.path = path});
  EXPECT_TRUE(opened) << opened.error().message;
  ExecutionQuery query;
  query.tenant = "acme";
  return (*opened)->list_executions(query)->size();
}

// rule: 1
TEST_F(SqliteStoreTest, AKillLeavesWhatWasCommitted) {
  std::string acknowledged;
  EXPECT_EQ(executions_after_kill(folder.file("1.db"), "store.before_begin", acknowledged), 2u);
  EXPECT_EQ(acknowledged, "aa");
  EXPECT_EQ(executions_after_kill(folder.file("2.db"), "store.before_commit", acknowledged), 2u);
  EXPECT_EQ(acknowledged, "aa");
  EXPECT_EQ(executions_after_kill(folder.file("3.db"), "store.after_commit", acknowledged), 3u);
  EXPECT_EQ(acknowledged, "aa") << "committed, and not yet reported";
}

// The log that a killed process leaves is read and written anew, whatever its length.
TEST_F(SqliteStoreTest, AKillLeavesALongLog) {
  constexpr std::int64_t kCommits = 60;
  OtherProcess victim{[&](int ready) {
    auto opened = open_sqlite_store({.path = path});
    StoreDriver commits;
    (*opened)->start(commits);
    commits.attach(**opened);
    bool failed = commits.commit_and_wait({start_transition(1, "acme", "wf")}).has_value();
    for (std::int64_t sequence = 2; sequence <= kCommits; ++sequence) {
      auto transition = append_transition(1, "acme", sequence, 1);
      transition.records[0].payload = Payload::json(fmt::format("\"{:x<60000}\"", ""));
      failed = commits.commit_and_wait({transition}).has_value() || failed;
    }
    if (!failed && ::write(ready, "x", 1) == 1) {
      ::pause();
    }
  }};
  ASSERT_TRUE(victim.wait_for_byte());
  EXPECT_EQ(victim.kill(), SIGKILL);
  EXPECT_GT(fs::file_size(path + "-wal"), 2u * 1'024 * 1'024);
  auto store = open();
  ASSERT_TRUE(store);
  const auto history = store->read_history(1, 0, {1'000});
  ASSERT_TRUE(history);
  EXPECT_EQ(history->size(), static_cast<std::size_t>(kCommits));
}

// Holds the writer's thread at its first report until it is told to go on.
class HeldSink final : public CommitSink {
 public:
  void commits_finished(const std::vector<CommitOutcome>& outcomes) override {
    if (!held_.exchange(true)) go_on_.acquire();
    const std::lock_guard lock(mutex_);
    for (const CommitOutcome& outcome : outcomes) reported_.push_back(outcome);
  }
  void let_go() { go_on_.release(); }
  std::vector<CommitOutcome> reported() const {
    const std::lock_guard lock(mutex_);
    return reported_;
  }

 private:
  std::atomic<bool> held_{false};
  std::binary_semaphore go_on_{0};
  mutable std::mutex mutex_;
  std::vector<CommitOutcome> reported_;
};

TEST_F(SqliteStoreTest, ACommitThatComesTooLateIsRefusedInItsTurn) {
  HeldSink sink;
  auto opened = open_sqlite_store({.path = path});
  ASSERT_TRUE(opened);
  Store& store = **opened;
  store.start(sink);
  std::uint64_t last = 0;
  const auto commit_one = [&] {
    const auto ref = store.next_execution_ref({}, {});
    store.commit({{0, 0, ++last, start_transition(ref, "acme", std::to_string(ref))}});
  };
  commit_one();
  // Its report is held: from here on the queue only grows.
  while (store.queued_commits() > 0) std::this_thread::yield();
  std::thread closer([&store] { store.close(); });
  // Until one is no longer taken into the queue.
  std::uint64_t taken = 0;
  do {
    taken = last;
    commit_one();
  } while (store.queued_commits() == last - 1);
  sink.let_go();
  closer.join();
  std::uint64_t settled = 0;
  for (const CommitOutcome& outcome : sink.reported()) {
    EXPECT_GT(outcome.up_to, settled) << "in order";
    settled = outcome.up_to;
    EXPECT_EQ(outcome.error.has_value(), settled > taken) << settled;
    if (settled > taken) {
      EXPECT_EQ(outcome.error->code, ErrorCode::closed);
    }
  }
  EXPECT_EQ(settled, last);
}

TEST_F(SqliteStoreTest, ADamagedRowIsAnErrorAndNotACrash) {
  auto store = open();
  const auto ref = store->next_execution_ref({}, {});
  ASSERT_FALSE(driver->commit_and_wait({start_transition(ref, "acme", "wf")}));
  auto operators = shell();
  ASSERT_TRUE(operators.execute("UPDATE workflow_events SET event_type = 'Surprise'"));
  const auto stored = store->load_execution(ref, kWholeHistory);
  ASSERT_FALSE(stored);
  EXPECT_EQ(stored.error().code, ErrorCode::store_invalid);
  EXPECT_NE(stored.error().message.find("Surprise"), std::string::npos) << stored.error().message;
  EXPECT_TRUE(store->load_execution(ref, kNoHistory)) << "the reader is free again";
}

}  // namespace
}  // namespace pawl
