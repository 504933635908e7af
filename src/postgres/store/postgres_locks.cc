#include "postgres/store/postgres_locks.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "postgres/store/columns.h"

namespace pawl {
namespace {

using namespace std::chrono_literals;

// None of the statements waits for anything but the disk.
constexpr auto kAnswerMax = 5s;

constexpr PgStatement kSchema{"schema",
                              "SELECT pg_catalog.quote_ident(n.nspname) FROM pg_catalog.pg_class c "
                              "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
                              "WHERE c.oid = to_regclass('workflow_locks')"};
// Transactions that have looked at the row, and who acquires it just now, are passed by: it is asked again later.
constexpr PgStatement kAcquire{
    "acquire",
    "WITH seen AS MATERIALIZED (SELECT token, holder, ceil(extract(epoch FROM expires_at - "
    "clock_timestamp()) * 1000)::bigint AS free_in FROM workflow_locks "
    "WHERE tenant = $1::text AND key = $2::text), "
    "free AS MATERIALIZED (SELECT tenant, key FROM workflow_locks "
    "WHERE tenant = $1::text AND key = $2::text AND "
    "(token IS NULL OR token = $3::text OR expires_at <= clock_timestamp()) "
    "FOR UPDATE SKIP LOCKED), "
    "acquired AS (UPDATE workflow_locks l SET fence = l.fence + 1, token = $3::text, "
    "holder = $4::text, acquired_at = clock_timestamp(), "
    "expires_at = clock_timestamp() + $5::bigint * interval '1 millisecond' "
    "FROM free WHERE l.tenant = free.tenant AND l.key = free.key RETURNING l.fence) "
    "SELECT (SELECT fence FROM acquired), seen.holder, "
    "CASE WHEN seen.token IS NULL THEN 0 ELSE seen.free_in END FROM seen"};
constexpr PgStatement kMake{
    "make",
    "INSERT INTO workflow_locks(tenant, key, fence, token, holder, acquired_at, expires_at) "
    "VALUES ($1::text, $2::text, 1, $3::text, $4::text, clock_timestamp(), "
    "clock_timestamp() + $5::bigint * interval '1 millisecond') "
    "ON CONFLICT (tenant, key) DO NOTHING RETURNING fence"};
constexpr PgStatement kRenew{
    "renew",
    "UPDATE workflow_locks l SET "
    "expires_at = clock_timestamp() + r.ttl * interval '1 millisecond' "
    "FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[]) "
    "WITH ORDINALITY AS r(tenant, key, token, fence, ttl, at) "
    "WHERE l.tenant = r.tenant AND l.key = r.key AND l.token = r.token AND l.fence = r.fence "
    "RETURNING r.at"};
constexpr PgStatement kRelease{
    "release",
    "UPDATE workflow_locks SET token = NULL, expires_at = clock_timestamp() "
    "WHERE tenant = $1::text AND key = $2::text AND token = $3::text AND "
    "($4::bigint = 0 OR fence = $4::bigint)"};

}  // namespace

PostgresLocks::PostgresLocks(PostgresParameters parameters)
    : pipeline_(std::move(parameters), {kSchema, kAcquire, kMake, kRenew, kRelease}, kAnswerMax) {}

Result<void> PostgresLocks::find_schema() {
  {
    const std::lock_guard lock(mutex_);
    if (!schema_.empty()) return {};
  }
  const auto found = pipeline_.read([](PgPipeline& pipeline) { pipeline.add(kSchema.name); },
                                    "looking for the table of locks");
  if (!found) return found.error();
  if (PQntuples(found->front().get()) == 0) {
    return Error{ErrorCode::store_invalid, "the store has no table workflow_locks", {}};
  }
  const std::lock_guard lock(mutex_);
  schema_ = PgRow(found->front().get(), 0).text(0);
  return {};
}

Result<LockAnswer> PostgresLocks::acquire(const LockClaim& claim) {
  if (auto found = find_schema(); !found) return found.error();
  const auto run = [&](const char* const statement) {
    return pipeline_.run(
        [&](PgPipeline& pipeline) {
          pipeline.add(statement, PgParameters()
                                      .add_text(claim.tenant)
                                      .add_text(claim.key)
                                      .add_text(claim.token)
                                      .add_text(claim.holder)
                                      .add(claim.ttl));
        },
        "acquiring a lock");
  };
  LockAnswer answer;
  const auto acquired = run(kAcquire.name);
  if (!acquired) return acquired.error();
  const PGresult* const there = acquired->front().get();
  if (PQntuples(there) != 0) {
    const PgRow row(there, 0);
    if (!row.is_null(0)) answer.fence = row.integer(0);
    answer.holder = row.text(1);
    answer.free_in = std::max<DurationMs>(0, row.integer(2));
    return answer;
  }
  // Nobody ever had it.
  const auto made = run(kMake.name);
  if (!made) return made.error();
  if (PQntuples(made->front().get()) != 0) answer.fence = PgRow(made->front().get(), 0).integer(0);
  return answer;
}

Result<std::vector<bool>> PostgresLocks::renew(const std::vector<LockHeld>& locks) {
  PgColumn tenants(PgType::text), keys(PgType::text), tokens(PgType::text);
  PgColumn fences(PgType::int8), ttls(PgType::int8);
  for (const LockHeld& lock : locks) {
    tenants.add(std::string_view(lock.tenant));
    keys.add(std::string_view(lock.key));
    tokens.add(std::string_view(lock.token));
    fences.add(lock.fence);
    ttls.add(lock.ttl);
  }
  const auto renewed = pipeline_.run(
      [&](PgPipeline& pipeline) {
        pipeline.add(kRenew.name, PgParameters()
                                      .add_array(tenants.bytes())
                                      .add_array(keys.bytes())
                                      .add_array(tokens.bytes())
                                      .add_array(fences.bytes())
                                      .add_array(ttls.bytes()));
      },
      "renewing locks");
  if (!renewed) return renewed.error();
  std::vector<bool> held(locks.size());
  const PGresult* const rows = renewed->front().get();
  for (int row = 0; row < PQntuples(rows); ++row) {
    held.at(static_cast<std::size_t>(PgRow(rows, row).integer(0) - 1)) = true;
  }
  return held;
}

Result<void> PostgresLocks::release(const LockHeld& lock) {
  const auto released = pipeline_.run(
      [&](PgPipeline& pipeline) {
        pipeline.add(kRelease.name, PgParameters()
                                        .add_text(lock.tenant)
                                        .add_text(lock.key)
                                        .add_text(lock.token)
                                        .add(lock.fence));
      },
      "releasing a lock");
  if (!released) return released.error();
  return {};
}

// It lets renewals pass, and a release; whoever acquires the lock waits for it.
std::string PostgresLocks::held_query() const {
  const std::lock_guard lock(mutex_);
  return fmt::format(
      "SELECT fence FROM {}.workflow_locks WHERE tenant = ? AND key = ? AND fence = ? AND "
      "token = ? FOR KEY SHARE",
      schema_);
}

}  // namespace pawl
