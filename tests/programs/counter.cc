// A process of the kills of database actions (tests/scenarios/database_kills_test.cc).
//
//   counter FILE FIRST COUNT [DATABASE LEVEL]    starts the executions count-FIRST … and ends all that are there
//
// Each execution increments its own row of the table counters twice, by a database action, and the common
// row "all" beside it: in the store's own database, or in that one (sqlite:FILE, or what libpq takes), at that level of
// isolation (a number of pawl::IsolationLevel). Where PAWL_CRASH_POINT says so, the process kills itself.

#include <fmt/format.h>

#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "pawl/pawl.h"
#include "pawl/postgres.h"

namespace counting {

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

int run(const std::string& file, const int first, const int count_of,
        std::shared_ptr<pawl::Database> database, const pawl::IsolationLevel isolation) {
  auto opened = pawl::WorkflowRuntime::open({.store = "sqlite:" + file, .begin_at_once = false});
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
                                           {.database = database, .isolation = isolation})
      .value();
  runtime.begin();
  for (int i = first; i < first + count_of; ++i) {
    const std::string id = fmt::format("count-{}", i);
    runtime.start_workflow("Count", id, {.tenant = "acme", .execution_id = id}).value();
  }
  std::string cursor;
  do {
    const auto page = runtime.list_executions({.tenant = "acme", .cursor = cursor}).value();
    cursor = page.cursor;
    for (const auto& execution : page.executions) {
      if (execution.is_complete) continue;
      runtime.wait_for_workflow_completion(execution.execution_id, {.tenant = "acme"}).value();
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
    database =
        is_file ? pawl::open_sqlite_database(where.substr(7)) : pawl::open_postgres_database(where);
    isolation = static_cast<pawl::IsolationLevel>(std::atoi(arguments[4].c_str()));
  }
  return counting::run(arguments[0], std::atoi(arguments[1].c_str()),
                       std::atoi(arguments[2].c_str()), database, isolation);
}
