// A storm of real processes: an engine under load is killed with SIGKILL again and again, at random
// moments. A process beside it has recorded what it acknowledged; at the end all of that is true.

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "postgres/store/postgres_store.h"
#include "store/sqlite_store.h"
#include "tests/support/paths.h"
#include "tests/support/postgres_server.h"
#include "tests/support/storm.h"
#include "tests/support/temporary_folder.h"

namespace pawl::testing {
namespace {

class Storm {
 public:
  // None: in a file of its own.
  explicit Storm(std::string store = {})
      : store_(store.empty() ? "sqlite:" + store_path() : std::move(store)),
        program_(test::program_dir() + "/storm") {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    write_end_ = ends[1];
    recorder_ = spawn({program_, "record", log_path()}, ends[0], -1);
    close(ends[0]);
  }
  ~Storm() {
    if (write_end_ >= 0) close(write_end_);
    if (recorder_ > 0) wait_for(recorder_);
  }

  std::string store_path() const { return folder_.file("storm.db"); }
  std::string log_path() const { return folder_.file("acknowledged.log"); }

  // The delay counts from when the worker is `at_work`, or else from its beginning: how long it takes
  // to begin depends on the build and the machine.
  void kill_one_after(const std::chrono::milliseconds delay, const int seed, const bool at_work) {
    kill_one(seed, at_work, [&] { std::this_thread::sleep_for(delay); });
  }

  // How long it takes from being at work to the first acknowledged start: delays below that would tell
  // of nothing but beginnings on a slow machine or build.
  std::chrono::milliseconds kill_one_at_its_first_start(const int seed) {
    using Clock = std::chrono::steady_clock;
    Clock::time_point begun;
    kill_one(seed, true, [&] {
      constexpr std::chrono::seconds kPatience(60);
      begun = Clock::now();
      while (Clock::now() - begun < kPatience && !has_started_one()) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    });
    return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begun);
  }

 private:
  bool has_started_one() const {
    std::ifstream log(log_path());
    std::string line;
    while (std::getline(log, line)) {
      if (line.starts_with("started ")) return true;
    }
    return false;
  }

  template <class Wait>
  void kill_one(const int seed, const bool at_work, const Wait& wait) {
    int ends[2];
    ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
    const pid_t worker =
        spawn({program_, "work", store_, std::to_string(seed)}, ends[1], write_end_);
    close(ends[1]);
    char byte = 0;
    while (at_work && read(ends[0], &byte, 1) < 0 && errno == EINTR) {
    }
    wait();
    kill(worker, SIGKILL);
    const int status = wait_for(worker);
    close(ends[0]);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the worker ended by itself, with " << WEXITSTATUS(status);
    say(fmt::format("killed {}", seed));
  }

 public:
  void finish() {
    const pid_t worker = spawn({program_, "work", store_, "0", "finish"}, -1, write_end_);
    EXPECT_EQ(wait_for(worker), 0);
    close(write_end_);
    write_end_ = -1;
    EXPECT_EQ(wait_for(recorder_), 0);
    recorder_ = -1;
  }

 private:
  void say(const std::string& line) const {
    const std::string text = line + '\n';
    ASSERT_EQ(write(write_end_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }

  TemporaryFolder folder_;
  const std::string store_;
  const std::string program_;
  int write_end_ = -1;
  pid_t recorder_ = -1;
};

// How many kills: enough to mean something in the time that a test run has; all of them with
// PAWL_STORM_KILLS.
int kills_wanted() {
  const char* const wanted = std::getenv("PAWL_STORM_KILLS");
  return wanted == nullptr ? 200 : std::atoi(wanted);
}

// An engine at work is killed that often, and another one ends what is open. `span_max`: how long at most one lives.
Acknowledged kill_many(Storm& storm, const int kills, const std::int64_t span_max) {
  std::mt19937_64 random{std::random_device{}()};
  const auto first_start = storm.kill_one_at_its_first_start(1);
  if (::testing::Test::HasFatalFailure()) return {};
  const auto span = std::clamp<std::int64_t>(2 * first_start.count(), 130, span_max);
  for (int round = 2; round <= kills; ++round) {
    const auto delay = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(span));
    storm.kill_one_after(std::chrono::milliseconds(delay), round, round % 4 != 0);
    if (::testing::Test::HasFatalFailure()) return {};
  }
  storm.finish();
  Acknowledged acknowledged = read_log(storm.log_path());
  fmt::print(
      "{} kills, {} with attempts of actions under way, {} with calls pending; acknowledged: "
      "{} starts, {} events; {} results read back\n",
      acknowledged.kills, acknowledged.kills_with_actions, acknowledged.kills_with_calls,
      acknowledged.started.size(), acknowledged.events.size(), acknowledged.results.size());
  EXPECT_EQ(acknowledged.kills, kills);
  EXPECT_GT(acknowledged.kills_with_actions + acknowledged.kills_with_calls, kills / 2);
  EXPECT_GT(acknowledged.started.size(), 0U);
  EXPECT_GT(acknowledged.events.size(), 0U);
  return acknowledged;
}

// rule: 1
TEST(Storm, WhatWasAcknowledgedIsTrueAfterManyKills) {
  Storm storm;
  const Acknowledged acknowledged = kill_many(storm, kills_wanted(), 2'000);
  if (HasFatalFailure()) return;
  SqliteStoreOptions options;
  options.path = storm.store_path();
  auto store = open_sqlite_store(options);
  ASSERT_TRUE(store) << store.error().message;
  expect_all_of(acknowledged, **store);
}

// Each worker waits first for the lease of the one before it, which was killed.
TEST(PostgresStorm, WhatWasAcknowledgedIsTrueAfterManyKills) {
  test::PostgresServer server;
  const std::string store_address = server.new_database_address();
  Storm storm(store_address);
  const Acknowledged acknowledged = kill_many(storm, kills_wanted() / 8, 1'000);
  if (HasFatalFailure()) return;
  auto store = open_postgres_store({.conninfo = store_address});
  ASSERT_TRUE(store) << store.error().message;
  expect_all_of(acknowledged, **store);
}

}  // namespace
}  // namespace pawl::testing
