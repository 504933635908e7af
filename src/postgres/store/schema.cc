#include "postgres/store/schema.h"

#include <fmt/format.h>

#include <string>

#include "store/migration.h"

namespace pawl {
namespace {

// Of "pawl", for the advisory lock under which tables are made.
constexpr const char* kLock = "SELECT pg_advisory_xact_lock(1885435756)";
constexpr const char* kTable =
    "CREATE TABLE IF NOT EXISTS workflow_migrations(number integer PRIMARY KEY, name text NOT "
    "NULL, "
    "applied_at timestamptz NOT NULL DEFAULT clock_timestamp())";
constexpr const char* kPartitions = "SELECT count(*) FROM workflow_partitions";
constexpr const char* kLast = "SELECT coalesce(max(number), 0) FROM workflow_migrations";

PgOutcome<std::int64_t> number(PgPipeline& pipeline, const std::string& sql) {
  pipeline.add_sql(sql.c_str());
  auto answers = pipeline.run();
  if (!answers) return answers.error();
  const PgResult& result = answers->front();
  return PQntuples(result.get()) == 0 ? 0 : PgRow(result.get(), 0).integer(0);
}

}  // namespace

Result<int> migrate_postgres(PgPipeline& pipeline, const int partitions) {
  const auto utf8 =
      number(pipeline, "SELECT (current_setting('server_encoding') = 'UTF8')::integer::bigint");
  if (utf8 && *utf8 == 0) {
    return Error{ErrorCode::store_invalid,
                 "the database has another encoding than UTF8: create one with ENCODING 'UTF8'",
                 {}};
  }
  // What is up to date is not written to, which a user may not be allowed to do.
  const auto known = static_cast<std::int64_t>(postgres_migrations().size());
  const auto there =
      number(pipeline, "SELECT (to_regclass('workflow_migrations') IS NOT NULL)::integer::bigint");
  if (there && *there == 1) {
    const auto latest = number(pipeline, kLast);
    const auto count = number(pipeline, kPartitions);
    if (latest && count && *latest == known && *count > 0) return static_cast<int>(*count);
  }
  const auto step = [&](const std::string& script) { return pipeline.run_script(script); };
  const auto unavailable = [](const PgFailure& failure) {
    return error_of(failure, "bringing the tables up to date");
  };
  if (auto begun = step(fmt::format("BEGIN; {}; {}", kLock, kTable)); !begun) {
    return unavailable(begun.error());
  }
  const auto last = number(pipeline, kLast);
  if (!last) return unavailable(last.error());
  if (*last > known) {
    return Error{
        ErrorCode::store_invalid,
        fmt::format("the database was written by a newer version of Pawl (its tables are at "
                    "step {}, this version knows {}): use that version, or another database",
                    *last, known),
        {}};
  }
  for (const Migration& migration : postgres_migrations()) {
    if (migration.number <= *last) continue;
    auto done = step(migration.sql);
    if (done) {
      done = step(fmt::format("INSERT INTO workflow_migrations(number, name) VALUES ({}, '{}')",
                              migration.number, migration.name));
    }
    if (!done) return error_of(done.error(), fmt::format("migration {}", migration.name));
  }
  auto ended =
      step(fmt::format("INSERT INTO workflow_partitions(partition) "
                       "SELECT generate_series(0, {}) WHERE NOT EXISTS "
                       "(SELECT FROM workflow_partitions); COMMIT",
                       partitions - 1));
  if (!ended) return unavailable(ended.error());
  const auto count = number(pipeline, kPartitions);
  if (!count) return unavailable(count.error());
  return static_cast<int>(*count);
}

}  // namespace pawl
