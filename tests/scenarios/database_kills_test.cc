// Database actions in processes that are killed between every two steps of what makes them exactly once: a
// counter that an action increments is at last what the executions say, and so is each one's own.

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "pawl/postgres.h"
#include "store/sqlite_connection.h"
#include "tests/support/paths.h"
#include "tests/support/postgres_server.h"
#include "tests/support/temporary_folder.h"

namespace pawl {
namespace {

constexpr int kStartedByEach = 4;

// Of the engine's commits and of an action's own, in the order in which an action passes them.
using Points = std::span<const std::string_view>;
constexpr std::array<std::string_view, 6> kPoints{
    "store.before_begin", "store.before_commit",    "store.after_commit",
    "database.begun",     "database.before_commit", "database.after_commit"};
// On PostgreSQL its row is claimed first, and the answer to a commit may be lost.
constexpr std::array<std::string_view, 9> kPostgresPoints{
    "store.before_begin",     "store.before_commit",  "store.after_commit",
    "database.begun",         "database.claimed",     "database.before_record",
    "database.before_commit", "database.commit_sent", "database.after_commit"};

pid_t spawn_counter(const std::string& file, const int first, const int count,
                    const std::string& crash_point, const std::vector<std::string>& where) {
  std::vector<std::string> command{test::program_dir() + "/counter", file, std::to_string(first),
                                   std::to_string(count)};
  command.insert(command.end(), where.begin(), where.end());
  std::vector<char*> arguments;
  for (std::string& argument : command) arguments.push_back(argument.data());
  arguments.push_back(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    if (!crash_point.empty()) setenv("PAWL_CRASH_POINT", crash_point.c_str(), 1);
    execv(arguments[0], arguments.data());
    _exit(127);
  }
  return child;
}

// The status that waitpid gives.
int wait_for(const pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

int run_counter(const std::string& file, const int first, const int count,
                const std::string& crash_point, const std::vector<std::string>& where) {
  return wait_for(spawn_counter(file, first, count, crash_point, where));
}

// What the counter is told about its database, by the number of the run.
using Where = std::vector<std::string> (*)(const std::string& conninfo, int run);

// Gives how many executions there are in the end.
int kill_counters(const std::string& file, const int kills, const Points points,
                  const std::string& conninfo, const Where where) {
  std::mt19937 random{20'26};
  int started = 0;
  int killed = 0;
  for (int run = 0; killed < kills; ++run) {
    const auto& point = points[static_cast<std::size_t>(killed) % points.size()];
    const int pass = static_cast<int>(random() % (3 * kStartedByEach)) + 1;
    const int status = run_counter(file, started, kStartedByEach, fmt::format("{}:{}", point, pass),
                                   where(conninfo, run));
    started += kStartedByEach;
    if (WIFSIGNALED(status)) {
      EXPECT_EQ(WTERMSIG(status), SIGKILL);
      ++killed;
    } else {
      EXPECT_EQ(WEXITSTATUS(status), 0) << "with " << point << ':' << pass;
    }
    if (testing::Test::HasFailure()) return started;
  }
  // Some were killed before they had started all; now all are there, and end.
  EXPECT_EQ(run_counter(file, 0, started, "", where(conninfo, 0)), 0);
  return started;
}

void expect_all_completed(const std::string& file, const int started) {
  auto shell = SqliteConnection::open(file, SqliteConnection::Mode::read_only, "", 5'000);
  ASSERT_TRUE(shell) << shell.error().message;
  const auto number = [&](const char* sql) {
    const auto found = shell->query_int(sql);
    return found ? *found : -1;
  };
  EXPECT_EQ(number("SELECT count(*) FROM workflow_executions WHERE status = 'completed'"), started);
  EXPECT_EQ(number("SELECT count(*) FROM workflow_executions WHERE result IS NOT '2'"), 0);
  EXPECT_EQ(number("SELECT count(*) FROM workflow_action_results WHERE recorded = 1"), 2 * started);
  EXPECT_EQ(number("SELECT count(*) FROM workflow_action_results WHERE recorded = 0"), 0);
}

void count_with_kills(const int kills) {
  const TemporaryFolder folder;
  const std::string file = folder.file("counters.db");
  const int started = kill_counters(
      file, kills, kPoints, "", [](const std::string&, int) { return std::vector<std::string>{}; });
  expect_all_completed(file, started);
  auto shell = SqliteConnection::open(file, SqliteConnection::Mode::read_only, "", 5'000);
  ASSERT_TRUE(shell) << shell.error().message;
  const auto number = [&](const char* sql) {
    const auto found = shell->query_int(sql);
    return found ? *found : -1;
  };
  EXPECT_EQ(number("SELECT n FROM counters WHERE id = 'all'"), 2 * started);
  EXPECT_EQ(number("SELECT count(*) FROM counters WHERE id <> 'all' AND n = 2"), started);
}

// In a database of the application's: the counters, and the outcomes beside them.
void expect_counted_once(Database& database, const int started) {
  const auto session = database.connect(SessionUse::application).value();
  const auto number = [&](const char* sql) {
    return std::get<std::int64_t>(session->run(sql, {}).value().rows.at(0).at(0));
  };
  EXPECT_EQ(number("SELECT n FROM counters WHERE id = 'all'"), 2 * started);
  EXPECT_EQ(number("SELECT count(*) FROM counters WHERE id <> 'all' AND n = 2"), started);
  EXPECT_EQ(number("SELECT count(*) FROM pawl_action_results WHERE result IS NOT NULL"),
            2 * started);
  EXPECT_EQ(number("SELECT count(*) FROM pawl_action_results WHERE result IS NULL"), 0);
}

void count_with_kills_on_a_file(const int kills) {
  const TemporaryFolder folder;
  const std::string path = folder.file("application.db");
  const int started = kill_counters(
      folder.file("counters.db"), kills, kPoints, "sqlite:" + path,
      [](const std::string& database, int) { return std::vector{database, std::string("3")}; });
  expect_all_completed(folder.file("counters.db"), started);
  expect_counted_once(*open_sqlite_database(path), started);
}

void count_with_kills_on_postgres(const int kills) {
  test::PostgresServer server;
  const std::string conninfo = server.new_database();
  const TemporaryFolder folder;
  const std::string file = folder.file("counters.db");
  const int started = kill_counters(
      file, kills, kPostgresPoints, conninfo, [](const std::string& database, const int run) {
        const auto level =
            run % 2 == 0 ? IsolationLevel::read_committed : IsolationLevel::serializable;
        return std::vector{database, std::to_string(static_cast<int>(level))};
      });
  expect_all_completed(file, started);
  expect_counted_once(*open_postgres_database(conninfo), started);
}

// ---- the store's own database in PostgreSQL, where two processes are at work at any time

// What ends one of two: it is killed, or stopped in the midst of something until the other one has what it had.
class EndedWorkers {
 public:
  explicit EndedWorkers(const int ends) : ends_(ends) {}

  void run() {
    const auto one = [this](const unsigned seed) { start_and_end(seed); };
    std::thread other(one, 2U);
    one(1U);
    other.join();
  }

  const std::string& address() const { return address_; }
  int started() const { return started_; }
  int kills() const { return kills_; }
  int stops() const { return stops_; }

 private:
  void start_and_end(const unsigned seed) {
    std::mt19937 random{seed};
    while (kills_ + stops_ < ends_ && !testing::Test::HasFailure()) {
      const int run = runs_++;
      const auto& point = kPostgresPoints[static_cast<std::size_t>(run) % kPostgresPoints.size()];
      const int pass = static_cast<int>(random() % (2 * kStartedByEach)) + 1;
      const bool stops = (run / static_cast<int>(kPostgresPoints.size())) % 2 == 1;
      const auto level =
          run % 2 == 0 ? IsolationLevel::read_committed : IsolationLevel::serializable;
      const pid_t worker =
          spawn_counter(address_, started_.fetch_add(kStartedByEach), kStartedByEach,
                        fmt::format("{}:{}{}", point, pass, stops ? ":stop" : ""),
                        {"own", std::to_string(static_cast<int>(level))});
      int status = 0;
      while (waitpid(worker, &status, WUNTRACED) < 0 && errno == EINTR) {
      }
      if (WIFSTOPPED(status)) {
        ++stops_;
        // The lease, or the lease and what a claim waits for before it ends the transaction that holds it up.
        std::this_thread::sleep_for(std::chrono::milliseconds(random() % 2 == 0 ? 800 : 2'200));
        kill(worker, SIGCONT);
        status = wait_for(worker);
      }
      if (WIFSIGNALED(status)) {
        EXPECT_EQ(WTERMSIG(status), SIGKILL);
        ++kills_;
      } else {
        EXPECT_EQ(WEXITSTATUS(status), 0) << "with " << point << ':' << pass;
      }
    }
  }

  const int ends_;
  test::PostgresServer server_;
  const std::string address_ = server_.new_database_address();
  std::atomic<int> runs_ = 0;
  std::atomic<int> started_ = 0;
  std::atomic<int> kills_ = 0;
  std::atomic<int> stops_ = 0;
};

void count_with_ends_of_workers(const int ends) {
  EndedWorkers workers(ends);
  const auto ask = [&](const std::string& sql) {
    return test::PostgresServer::ask(workers.address(), sql);
  };
  ask("CREATE TABLE counters(id TEXT PRIMARY KEY, n INTEGER NOT NULL)");
  workers.run();
  if (testing::Test::HasFailure()) return;
  EXPECT_GT(workers.kills(), 0);
  EXPECT_GT(workers.stops(), 0);
  // Some were killed before they had started all; now all are there, and end.
  const int started = workers.started();
  EXPECT_EQ(run_counter(workers.address(), 0, started, "", {}), 0);
  const std::string all = std::to_string(started);
  const std::string twice = std::to_string(2 * started);
  EXPECT_EQ(ask("SELECT n FROM counters WHERE id = 'all'"), twice);
  EXPECT_EQ(ask("SELECT count(*) FROM counters WHERE id <> 'all' AND n = 2"), all);
  EXPECT_EQ(ask("SELECT count(*) FROM workflow_executions WHERE status = 'completed' AND "
                "convert_from(result, 'UTF8') = '2'"),
            all);
  EXPECT_EQ(ask("SELECT count(*) FROM workflow_action_results WHERE recorded AND "
                "status = 'succeeded'"),
            twice);
  EXPECT_EQ(ask("SELECT count(*) FROM workflow_action_results"), twice);
  fmt::print("{} kills, {} stops, {} executions\n", workers.kills(), workers.stops(), started);
}

// rule: 14
TEST(DatabaseKills, ACounterInAStoreOnPostgresIsWhatTheExecutionsSayWhateverItsWorkersLose) {
  count_with_ends_of_workers(24);
}

// rule: 14
TEST(DatabaseKillsLong, ACounterInAStoreOnPostgresIsWhatTheExecutionsSayAfterAThousandEnds) {
  count_with_ends_of_workers(1'000);
}

// rule: 14
TEST(DatabaseKills, ACounterIsWhatTheExecutionsSay) { count_with_kills(30); }

// rule: 14
TEST(DatabaseKillsLong, ACounterIsWhatTheExecutionsSayAfterAThousandKills) {
  count_with_kills(1'000);
}

// rule: 14
TEST(DatabaseKills, ACounterInAFileOfItsOwnIsWhatTheExecutionsSay) {
  count_with_kills_on_a_file(12);
}

// rule: 14
TEST(DatabaseKillsLong, ACounterInAFileOfItsOwnIsWhatTheExecutionsSayAfterAThousandKills) {
  count_with_kills_on_a_file(1'000);
}

// rule: 14
TEST(DatabaseKills, ACounterOnPostgresIsWhatTheExecutionsSay) { count_with_kills_on_postgres(18); }

// rule: 14
TEST(DatabaseKillsLong, ACounterOnPostgresIsWhatTheExecutionsSayAfterAThousandKills) {
  count_with_kills_on_postgres(1'000);
}

}  // namespace
}  // namespace pawl
