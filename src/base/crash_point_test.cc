#include "base/crash_point.h"

#include <gtest/gtest.h>

#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <string>
#include <vector>

namespace pawl {
namespace {

TEST(CrashPoint, HandlerSeesEachPassWhileItLives) {
  std::vector<std::string> passed;
  crash_point("test.before");
  {
    const CrashPointHandler handler{[&](std::string_view name) { passed.emplace_back(name); }};
    crash_point("test.first");
    crash_point("test.second");
  }
  crash_point("test.after");
  EXPECT_EQ(passed, (std::vector<std::string>{"test.first", "test.second"}));
}

// The environment is read when a process starts, so each case is a fresh one: the "threadsafe" style
// runs this binary again.
TEST(CrashPointDeathTest, EnvironmentKillsAtTheNthPass) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  setenv("PAWL_CRASH_POINT", "test.here:3", 1);
  EXPECT_EXIT(
      {
        crash_point("test.here");
        crash_point("test.elsewhere");
        crash_point("test.here");
        std::fputs("two passed\n", stderr);
        crash_point("test.here");
        std::exit(0);
      },
      testing::KilledBySignal(SIGKILL), "two passed");
  setenv("PAWL_CRASH_POINT", "test.here", 1);
  EXPECT_EXIT(
      {
        crash_point("test.here");
        std::exit(0);
      },
      testing::KilledBySignal(SIGKILL), "");
  setenv("PAWL_CRASH_POINT", "test.nowhere", 1);
  EXPECT_EXIT(
      {
        crash_point("test.here");
        std::exit(0);
      },
      testing::ExitedWithCode(0), "");
  unsetenv("PAWL_CRASH_POINT");
}

TEST(CrashPointDeathTest, EnvironmentStopsInsteadOfKilling) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  setenv("PAWL_CRASH_POINT", "test.here:1:stop", 1);
  EXPECT_EXIT(
      {
        // Somebody lets it go on.
        const pid_t self = getpid();
        if (fork() == 0) {
          usleep(100'000);
          kill(self, SIGCONT);
          _exit(0);
        }
        const auto begun = std::chrono::steady_clock::now();
        crash_point("test.here");
        const auto stopped = std::chrono::steady_clock::now() - begun;
        std::exit(stopped > std::chrono::milliseconds(50) ? 3 : 4);
      },
      testing::ExitedWithCode(3), "");
  unsetenv("PAWL_CRASH_POINT");
}

}  // namespace
}  // namespace pawl
