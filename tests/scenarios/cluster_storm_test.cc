// Three workers that share nothing but PostgreSQL, and Redis in some, under load, while whatever can break does: workers
// are killed, or stopped for longer than their lease and continued, or told to end; connections are cut; PostgreSQL is
// stopped at once and started; Redis is emptied, or killed and started. At the end all that was acknowledged is true, and every execution has ended.

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "postgres/store/postgres_store.h"
#include "tests/support/cutting_proxy.h"
#include "tests/support/paths.h"
#include "tests/support/postgres_server.h"
#include "tests/support/redis_server.h"
#include "tests/support/storm.h"
#include "tests/support/temporary_folder.h"

namespace pawl::testing {
namespace {

using namespace std::chrono_literals;

// Of Debian's package faketime: the dynamic linker puts in the architecture.
constexpr const char* kFakeTime = "/usr/$LIB/faketime/libfaketimeMT.so.1";

struct Conditions {
  bool with_redis = false;
  // What each worker has registered: "all", "code" or "actions".
  std::array<const char*, 3> has{"all", "all", "all"};
  // How far its clock is ahead of the server's, in seconds.
  std::array<int, 3> clock_ahead{};
};

class ClusterStorm {
 public:
  explicit ClusterStorm(Conditions conditions) : conditions_(conditions) {
    if (conditions.with_redis) redis_ = std::make_unique<test::RedisServer>();
    server_.new_database_address();
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    log_ = ends[1];
    recorder_ = spawn({program_, "record", log_path()}, ends[0], -1);
    close(ends[0]);
    for (std::size_t at = 0; at < workers_.size(); ++at) workers_[at] = spawn_worker(at);
  }

  // False: it has not come to its end.
  bool run(const int executions, const int faults_max, const std::chrono::seconds patience) {
    const pid_t load = spawn({program_, "load", address(), "7", std::to_string(executions)}, -1,
                             log_, environment());
    const auto until = std::chrono::steady_clock::now() + patience;
    int status = 0;
    while (waitpid(load, &status, WNOHANG) == 0) {
      if (std::chrono::steady_clock::now() > until) {
        kill(load, SIGKILL);
        ::testing::Test::RecordProperty("status", "out of time");
        wait_for(load);
        return false;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(100 + random_() % 300));
      for (const pid_t worker : workers_) {
        int ended = 0;
        if (waitpid(worker, &ended, WNOHANG) == 0) continue;
        ADD_FAILURE() << "a worker ended by itself: " << ended;
        kill(load, SIGKILL);
        wait_for(load);
        return false;
      }
      if (faults_ < faults_max) break_something();
    }
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "the load: " << status;
    for (const pid_t worker : workers_) kill(worker, SIGTERM);
    for (const pid_t worker : workers_) {
      const int ended = wait_for(worker);
      EXPECT_TRUE(WIFEXITED(ended) && WEXITSTATUS(ended) == 0) << "a worker: " << ended;
    }
    close(log_);
    wait_for(recorder_);
    return true;
  }

  int faults() const { return faults_; }
  std::string log_path() const { return folder_.file("acknowledged.log"); }
  std::string address() const {
    return fmt::format("postgresql://pawl@127.0.0.1:{}/test_1?sslmode=disable&gssencmode=disable",
                       proxy_.port());
  }
  std::string direct_address() const { return server_.conninfo("test_1"); }

 private:
  Environment environment() const {
    if (!redis_) return {};
    return {{"PAWL_REDIS", redis_->address()}};
  }

  // One that is at work. What it says of its attempts is nobody's.
  pid_t spawn_worker(const std::size_t at) const {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    Environment surroundings = environment();
    if (const int ahead = conditions_.clock_ahead[at]; ahead != 0) {
      surroundings.emplace_back("LD_PRELOAD", kFakeTime);
      surroundings.emplace_back("FAKETIME", fmt::format("{:+}s", ahead));
      surroundings.emplace_back("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }
    const pid_t worker =
        spawn({program_, "serve", address(), conditions_.has[at]}, ends[1], nowhere_, surroundings);
    close(ends[1]);
    char byte = 0;
    while (read(ends[0], &byte, 1) < 0 && errno == EINTR) {
    }
    close(ends[0]);
    return worker;
  }

  void break_something() {
    const std::size_t at = random_() % workers_.size();
    pid_t& worker = workers_[at];
    const auto tell = [this](const std::string& what) {
      ++faults_;
      const auto when = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun_);
      fmt::print("{:3} {:6.1f} s  {:42} {}\n", faults_, when.count(), what, in_flight());
      std::fflush(stdout);
    };
    switch (random_() % (redis_ ? 8 : 6)) {
      case 0:
      case 1:
        tell("a worker is killed");
        kill(worker, SIGKILL);
        wait_for(worker);
        worker = spawn_worker(at);
        break;
      case 2:
        tell("a worker stops for longer than its lease");
        kill(worker, SIGSTOP);
        std::this_thread::sleep_for(1200ms);
        kill(worker, SIGCONT);
        break;
      case 3:
        tell("a worker is told to end, another comes");
        kill(worker, SIGTERM);
        EXPECT_EQ(wait_for(worker), 0);
        worker = spawn_worker(at);
        break;
      case 4:
        tell("all connections are cut");
        proxy_.cut_all();
        break;
      case 6:
        tell("Redis is emptied");
        redis_->ask({"FLUSHALL"});
        break;
      case 7:
        tell("Redis is killed, and starts");
        redis_->stop();
        std::this_thread::sleep_for(std::chrono::milliseconds(random_() % 1'000));
        redis_->start();
        break;
      default:
        tell("PostgreSQL stops at once, and starts");
        server_.stop(true);
        std::this_thread::sleep_for(std::chrono::milliseconds(random_() % 500));
        server_.start();
    }
  }

  // What the load has asked for and was not told yet, as its last words have it.
  std::string in_flight() const {
    std::ifstream log(log_path());
    log.seekg(-std::min<std::streamoff>(4'096,
                                        [&] {
                                          log.seekg(0, std::ios::end);
                                          return static_cast<std::streamoff>(log.tellg());
                                        }()),
              std::ios::end);
    std::string line;
    std::string asked = "0";
    while (std::getline(log, line)) {
      if (line.starts_with("asked ")) asked = line.substr(6);
    }
    return fmt::format("{} calls in flight", asked);
  }

  const Conditions conditions_;
  TemporaryFolder folder_;
  test::PostgresServer server_{{"fsync=on"}};
  test::CuttingProxy proxy_{server_.port()};
  std::unique_ptr<test::RedisServer> redis_;
  const std::string program_ = test::program_dir() + "/storm";
  std::array<pid_t, 3> workers_{};
  const int nowhere_ = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  int log_ = -1;
  pid_t recorder_ = -1;
  std::mt19937_64 random_{std::random_device{}()};
  int faults_ = 0;
  const std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
};

void storm(const Conditions conditions, const int executions, const int faults,
           const std::chrono::seconds patience) {
  ClusterStorm cluster(conditions);
  ASSERT_TRUE(cluster.run(executions, faults, patience)) << "it did not come to its end";
  const Acknowledged acknowledged = read_log(cluster.log_path());
  EXPECT_EQ(acknowledged.started.size(), static_cast<std::size_t>(executions));
  EXPECT_EQ(acknowledged.events.size(), static_cast<std::size_t>(4 * executions));
  fmt::print("{} faults; acknowledged: {} starts, {} events\n", cluster.faults(),
             acknowledged.started.size(), acknowledged.events.size());
  auto store = open_postgres_store({.conninfo = cluster.direct_address()});
  ASSERT_TRUE(store) << store.error().message;
  expect_all_of(acknowledged, **store);
}

// rule: 1
TEST(ClusterStorm, NothingIsLostWhateverBreaks) { storm({}, 600, 15, 240s); }
TEST(ClusterStorm, NothingIsLostWithRedis) { storm({.with_redis = true}, 600, 15, 240s); }
TEST(ClusterStorm, NothingIsLostWhereWorkersHaveDifferentCode) {
  storm({.has = {"all", "code", "actions"}}, 300, 15, 240s);
}
TEST(ClusterStorm, NothingIsLostOrLateWhereClocksDiffer) {
  storm({.clock_ahead = {-7'000, 0, 300}}, 300, 10, 240s);
}

TEST(ClusterStormLong, NothingIsLostOfTwentyThousand) {
  const char* const wanted = std::getenv("PAWL_CLUSTER_STORM");
  storm({.with_redis = true, .has = {"all", "all", "code"}, .clock_ahead = {-2, 0, 60}},
        wanted == nullptr ? 20'000 : std::atoi(wanted), 1'000'000, 3'000s);
}

}  // namespace
}  // namespace pawl::testing
