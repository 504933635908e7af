#include "harness/store_file.h"

#include <utility>
#include <variant>

#include <fmt/format.h>
#include <sqlite3.h>

#include "harness/give_up.h"

namespace bench {

namespace {

constexpr const char* kParts[] = {"", "-wal", "-shm", "-lock"};

std::int64_t count(pawl::SqlSession& session, const std::string& query) {
  const auto rows = session.run(query, {});
  if (!rows) give_up(query + ": " + rows.error().message);
  return std::get<std::int64_t>(rows->rows.at(0).at(0));
}

}  // namespace

StoreFile::StoreFile(const Run& run)
    : path_(run.folder / fmt::format("{}-{}.db", run.workload, run.concurrency)), lose_(run.lose) {}

void StoreFile::remove() const {
  for (const char* const part : kParts) std::filesystem::remove(path_.string() + part);
}

pawl::WorkflowRuntime StoreFile::open(const std::size_t action_threads) const {
  pawl::WorkflowRuntimeOptions options;
  options.store = "sqlite:" + path_.string();
  options.action_threads = action_threads;
  auto runtime = pawl::WorkflowRuntime::open(std::move(options));
  if (!runtime) give_up(runtime.error().message);
  return std::move(*runtime);
}

void StoreFile::check(const Acknowledged& acknowledged) const {
  if (!std::filesystem::exists(path_)) give_up("there is no file " + path_.string());
  if (!lose_.empty()) lose_a_row();
  pawl::WorkflowRuntime runtime = open();
  auto session = runtime.database()->connect(pawl::SessionUse::application).value();
  struct Kind {
    const char* what;
    std::int64_t expected;
    const char* query;
  };
  for (const Kind& kind :
       {Kind{"completed executions", acknowledged.completed,
             "SELECT count(*) FROM workflow_executions WHERE status = 'completed'"},
        Kind{"running executions", acknowledged.running,
             "SELECT count(*) FROM workflow_executions WHERE status = 'running'"},
        Kind{"results of actions", acknowledged.actions,
             "SELECT count(*) FROM workflow_action_results WHERE status = 'succeeded'"},
        Kind{"received events", acknowledged.events,
             "SELECT count(*) FROM workflow_events WHERE event_type = 'EventReceived'"},
        Kind{"histories with a gap or a torn end", 0,
             "SELECT count(*) FROM workflow_executions AS x LEFT JOIN workflow_events AS last "
             "ON last.execution = x.execution AND last.sequence = "
             "(SELECT max(sequence) FROM workflow_events AS e WHERE e.execution = x.execution) "
             "WHERE last.ends_activation IS NOT 1 OR last.sequence < x.last_sequence OR "
             "last.sequence <> "
             "(SELECT count(*) FROM workflow_events AS e WHERE e.execution = x.execution)"}}) {
    const std::int64_t counted = count(*session, kind.query);
    if (counted != kind.expected) {
      give_up(fmt::format("{}: {} {} are in the store, and {} should be", path_.string(), counted,
                          kind.what, kind.expected));
    }
  }
}

double StoreFile::bytes() const {
  std::uintmax_t sum = 0;
  for (const char* const part : {"", "-wal"}) {
    const std::filesystem::path file = path_.string() + part;
    if (std::filesystem::exists(file)) sum += std::filesystem::file_size(file);
  }
  return static_cast<double>(sum);
}

void StoreFile::lose_a_row() const {
  sqlite3* database = nullptr;
  const std::string sql =
      fmt::format("DELETE FROM {0} WHERE rowid = (SELECT max(rowid) FROM {0})", lose_);
  if (sqlite3_open_v2(path_.c_str(), &database, SQLITE_OPEN_READWRITE, nullptr) != SQLITE_OK ||
      sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK ||
      sqlite3_changes(database) != 1) {
    give_up(fmt::format("there is no row to lose in '{}': {}", lose_, sqlite3_errmsg(database)));
  }
  sqlite3_close(database);
}

}  // namespace bench
