// A process that takes locks, for tests that stop and kill it. It says what it has come to, a line each.
//
//   locks count STORE FILE TIMES    adds one to the number in FILE, so often, under the lock "counter"
//   locks hold STORE TTL_MS         takes the lock "held" and says its fence; then "lost", when it is; then what a
//                                   transaction that asks for it is told, by its row alone: "held" or "refused"

#include <fmt/format.h>

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>

#include "pawl/pawl.h"
#include "pawl/postgres.h"

namespace {

constexpr const char* kTenant = "acme";

void say(const std::string& line) {
  fmt::print("{}\n", line);
  std::fflush(stdout);
}

// Nobody but who has the lock may do this.
void add_one(const std::string& file) {
  int number = 0;
  std::ifstream(file) >> number;
  std::this_thread::sleep_for(std::chrono::milliseconds(1));
  std::ofstream(file, std::ios::trunc) << number + 1 << '\n';
}

int count(pawl::WorkflowRuntime& runtime, const std::string& file, const int times) {
  say("begins");
  for (int time = 0; time < times; ++time) {
    const auto lock = runtime.lock("counter", {.tenant = kTenant});
    if (!lock) {
      say(lock.error().message);
      return 1;
    }
    add_one(file);
  }
  say("done");
  return 0;
}

int hold(pawl::WorkflowRuntime& runtime, const std::chrono::milliseconds ttl) {
  const auto lock = runtime.lock("held", {.tenant = kTenant, .ttl = ttl});
  if (!lock) {
    say(lock.error().message);
    return 1;
  }
  say(fmt::format("{}", lock->fence()));
  std::mutex mutex;
  std::condition_variable_any changed;
  std::unique_lock waits(mutex);
  changed.wait(waits, lock->lost(), [] { return false; });
  say("lost");
  auto session = runtime.database()->connect(pawl::SessionUse::application).value();
  session->begin().value();
  const auto found = session->run(
      lock->held_query(), {std::string(kTenant), lock->key(), lock->fence(), lock->token()});
  say(found && found->rows.empty() ? "refused" : "held");
  session->roll_back();
  return 0;
}

}  // namespace

int main(const int argc, char** const argv) {
  if (argc < 4) return 2;
  pawl::use_postgres_stores();
  pawl::WorkflowRuntimeOptions options;
  options.store = argv[2];
  options.begin_at_once = false;
  options.log = [](const pawl::LogLine&) {};
  auto runtime = pawl::WorkflowRuntime::open(options);
  if (!runtime) {
    say(runtime.error().message);
    return 1;
  }
  if (argv[1] == std::string_view("count")) return count(*runtime, argv[3], std::atoi(argv[4]));
  return hold(*runtime, std::chrono::milliseconds(std::atoi(argv[3])));
}
