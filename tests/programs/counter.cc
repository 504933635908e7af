// A process of the kills of database actions (tests/scenarios/database_kills_test.cc).
//
//   counter STORE FIRST COUNT [DATABASE LEVEL]    starts the executions count-FIRST … and ends all that are there
//
// Each execution increments its own row of the table counters twice, by a database action, and the common
// row "all" beside it: in the store's own database (DATABASE is "own", or left out), or in that one (sqlite:FILE, or
// what libpq takes), at that level of isolation (a number of pawl::IsolationLevel). STORE is a file, or the address of
// one in PostgreSQL, where others work too. Where PAWL_CRASH_POINT says so, the process kills or stops itself.

#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "pawl/pawl.h"
#include "pawl/postgres.h"

namespace counting {

// All that were interrupted go on at once, and meet at one row.
constexpr std::chrono::milliseconds kRetryMin(10);
constexpr std::chrono::milliseconds kRetryMax(1'000);

struct Increment {
  struct Parameters {
    std::string id;
  };
  struct Result {
    int n = 0;
  };
};
PAWL_DESCRIBE(Increment::Parameters, id);
PAWL_DESCRIBE(Increment::Result, n);

pawl::Workflow<int> count(pawl::Context& ctx, std::string id) {
  co_await ctx.run<Increment>({.id = id});
  const auto second = co_await ctx.run<Increment>({.id = id});
  co_return second.value().n;
}

pawl::SqlResult<Increment::Result> increment(const Increment::Parameters& parameters,
                                             pawl::Transaction& sql) {
  for (const std::string& id : {parameters.id, std::string("all")}) {
    const auto added = sql.execute(
        "INSERT INTO counters VALUES(?, 1) ON CONFLICT(id) DO UPDATE SET n = counters.n + 1", id);
    if (!added) return added.error();
  }
  const auto n = sql.query_one<int>("SELECT n FROM counters WHERE id = ?", parameters.id);
  if (!n) return n.error();
  return Increment::Result{.n = n->value()};
}

// On PostgreSQL the partition may be lost meanwhile: then it is asked for again, under the same name.
template <class Call>
auto until_it_is_known(const Call& call) {
  for (;;) {
    auto answer = call();
    if (answer || (answer.error().code != pawl::ErrorCode::outcome_unknown &&
                   answer.error().code != pawl::ErrorCode::store_unavailable)) {
      return answer;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

int run(const std::string& store, const int first, const int count_of,
        std::shared_ptr<pawl::Database> database, const pawl::IsolationLevel isolation) {
  pawl::use_postgres_stores();
  pawl::WorkflowRuntimeOptions options;
  options.store = store.starts_with("postgresql:") ? store : "sqlite:" + store;
  options.lease = std::chrono::milliseconds(500);
  options.begin_at_once = false;
  auto opened = pawl::WorkflowRuntime::open(options);
  if (!opened) {
    std::cerr << opened.error().message << '\n';
    return 1;
  }
  pawl::WorkflowRuntime& runtime = *opened;
  if (database == nullptr) database = runtime.database();
  {
    auto session = database->connect(pawl::SessionUse::application).value();
    session->run("CREATE TABLE IF NOT EXISTS counters(id TEXT PRIMARY KEY, n INTEGER NOT NULL)", {})
        .value();
  }
  runtime.register_workflow("Count", &count).value();
  runtime
      .register_database_action<Increment>(&increment,
                                           {.run = {.retry = {.max_attempts = 1'000,
                                                              .initial_interval = kRetryMin,
                                                              .max_interval = kRetryMax}},
                                            .database = database,
                                            .isolation = isolation})
      .value();
  runtime.begin();
  for (int i = first; i < first + count_of; ++i) {
    const std::string id = fmt::format("count-{}", i);
    until_it_is_known([&] {
      return runtime.start_workflow("Count", id, {.tenant = "acme", .execution_id = id});
    }).value();
  }
  std::string cursor;
  do {
    const auto page = until_it_is_known([&] {
                        return runtime.list_executions({.tenant = "acme", .cursor = cursor});
                      }).value();
    cursor = page.cursor;
    for (const auto& execution : page.executions) {
      if (execution.is_complete) continue;
      until_it_is_known([&] {
        return runtime.wait_for_workflow_completion(execution.execution_id, {.tenant = "acme"});
      }).value();
    }
  } while (!cursor.empty());
  return 0;
}

}  // namespace counting

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() != 3 && arguments.size() != 5) return 2;
  std::shared_ptr<pawl::Database> database;
  auto isolation = pawl::IsolationLevel::serializable;
  if (arguments.size() == 5) {
    const std::string& where = arguments[3];
    const bool is_file = where.starts_with("sqlite:");
    if (where != "own") {
      database = is_file ? pawl::open_sqlite_database(where.substr(7))
                         : pawl::open_postgres_database(where);
    }
    isolation = static_cast<pawl::IsolationLevel>(std::atoi(arguments[4].c_str()));
  }
  return counting::run(arguments[0], std::atoi(arguments[1].c_str()),
                       std::atoi(arguments[2].c_str()), database, isolation);
}
