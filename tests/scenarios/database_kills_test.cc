// Database actions in processes that are killed between every two steps of what makes them exactly once: a
// counter that an action increments is at last what the executions say, and so is each one's own.

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <random>
#include <string>

#include "store/sqlite_connection.h"
#include "tests/support/paths.h"
#include "tests/support/temporary_folder.h"

namespace pawl {
namespace {

constexpr int kStartedByEach = 4;

// Of the engine's commits and of an action's own, in the order in which an action passes them.
constexpr std::array kPoints{"store.before_begin",     "store.before_commit",
                             "store.after_commit",     "database.begun",
                             "database.before_commit", "database.after_commit"};

// Returns the status that waitpid gives.
int run_counter(const std::string& file, const int first, const int count,
                const std::string& crash_point) {
  const std::string program = test::program_dir() + "/counter";
  const pid_t child = fork();
  if (child == 0) {
    if (!crash_point.empty()) setenv("PAWL_CRASH_POINT", crash_point.c_str(), 1);
    execl(program.c_str(), program.c_str(), file.c_str(), std::to_string(first).c_str(),
          std::to_string(count).c_str(), nullptr);
    _exit(127);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

void count_with_kills(const int kills) {
  const TemporaryFolder folder;
  const std::string file = folder.file("counters.db");
  std::mt19937 random{20'26};
  int started = 0;
  int killed = 0;
  while (killed < kills) {
    const auto& point = kPoints[static_cast<std::size_t>(killed) % kPoints.size()];
    const int pass = static_cast<int>(random() % (3 * kStartedByEach)) + 1;
    const int status =
        run_counter(file, started, kStartedByEach, fmt::format("{}:{}", point, pass));
    started += kStartedByEach;
    if (WIFSIGNALED(status)) {
      ASSERT_EQ(WTERMSIG(status), SIGKILL);
      ++killed;
    } else {
      ASSERT_EQ(WEXITSTATUS(status), 0) << "with " << point << ':' << pass;
    }
  }
  // Some were killed before they had started all; now all are there, and end.
  ASSERT_EQ(run_counter(file, 0, started, ""), 0);

  auto shell = SqliteConnection::open(file, SqliteConnection::Mode::read_only, "", 5'000);
  ASSERT_TRUE(shell) << shell.error().message;
  const auto number = [&](const char* sql) {
    const auto found = shell->query_int(sql);
    return found ? *found : -1;
  };
  EXPECT_EQ(number("SELECT count(*) FROM workflow_executions WHERE status = 'completed'"), started);
  EXPECT_EQ(number("SELECT count(*) FROM workflow_executions WHERE result IS NOT '2'"), 0);
  EXPECT_EQ(number("SELECT n FROM counters WHERE id = 'all'"), 2 * started);
  EXPECT_EQ(number("SELECT count(*) FROM counters WHERE id <> 'all' AND n = 2"), started);
  EXPECT_EQ(number("SELECT count(*) FROM workflow_action_results WHERE recorded = 1"), 2 * started);
  EXPECT_EQ(number("SELECT count(*) FROM workflow_action_results WHERE recorded = 0"), 0);
}

// rule: 14
TEST(DatabaseKills, ACounterIsWhatTheExecutionsSay) { count_with_kills(30); }

// rule: 14
TEST(DatabaseKillsLong, ACounterIsWhatTheExecutionsSayAfterAThousandKills) {
  count_with_kills(1'000);
}

}  // namespace
}  // namespace pawl
