#include "postgres/store/postgres_dead_letters.h"

#include <chrono>
#include <string>
#include <utility>

namespace pawl {
namespace {

using namespace std::chrono_literals;

constexpr auto kAnswerMax = 10s;

// Of `e`, a row, and its execution `x`: mail has its id, what the engine has accepted itself the number. A few have
// none of both.
#define COLUMNS                                                                        \
  "e.id, e.tenant, coalesce(e.execution_id, x.execution_id, ''), e.kind, e.event_id, " \
  "e.event_name, e.payload, e.encoding, e.user_id, e.idempotency_key, e.attempts, "    \
  "e.last_error, e.created_at"
#define DEAD "e.status = 'failed' AND e.dropped_at IS NULL"
#define ITS_EXECUTION "workflow_executions x ON x.execution = e.execution AND e.execution > 0 "

constexpr PgStatement kList{
    // What is beyond the bound of bytes is not sent.
    "list",
    "SELECT " COLUMNS
    ", e.found FROM (SELECT *, count(*) OVER () AS found, "
    "sum(coalesce(octet_length(payload), 0)) OVER (ORDER BY id) - "
    "coalesce(octet_length(payload), 0) AS before FROM (SELECT * FROM workflow_event_processing e "
    "WHERE e.tenant = $1::text AND " DEAD
    " AND e.id > $2::bigint AND ($3::text IS NULL OR "
    "e.execution_id = $3::text OR (e.execution > 0 AND e.execution = (SELECT w.execution FROM "
    "workflow_executions w WHERE w.tenant = $1::text AND w.execution_id = $3::text))) "
    "ORDER BY e.id LIMIT $4::bigint) page) e LEFT JOIN " ITS_EXECUTION
    "WHERE e.before < $5::bigint ORDER BY e.id"};
constexpr PgStatement kRetry{
    "retry",
    "WITH dead AS MATERIALIZED (SELECT e.id, coalesce(e.execution_id, "
    "(SELECT w.execution_id FROM workflow_executions w WHERE w.execution = e.execution)) "
    "AS execution_id FROM workflow_event_processing e "
    "WHERE e.id = $2::bigint AND e.tenant = $1::text AND " DEAD
    " FOR UPDATE) UPDATE workflow_event_processing e SET status = 'pending', execution = 0, "
    "execution_id = x.execution_id, attempts = e.attempts + 1, owners_lost = 0, answer = NULL, "
    "reply_to = NULL FROM dead x WHERE e.id = x.id RETURNING " COLUMNS};
constexpr PgStatement kDrop{
    "drop",
    "WITH dead AS MATERIALIZED (SELECT e.*, w.execution_id AS id_of_execution "
    "FROM workflow_event_processing e LEFT JOIN workflow_executions w "
    "ON w.execution = e.execution AND e.execution > 0 "
    "WHERE e.id = $2::bigint AND e.tenant = $1::text AND " DEAD
    " FOR UPDATE OF e), dropped AS (UPDATE workflow_event_processing d SET "
    "dropped_at = clock_timestamp(), payload = NULL, encoding = NULL FROM dead "
    "WHERE d.id = dead.id) "
    "SELECT " COLUMNS
    " FROM dead e CROSS JOIN LATERAL (SELECT e.id_of_execution AS execution_id) x"};
constexpr PgStatement kWhyNot{
    "why_not",
    "SELECT status, dropped_at IS NOT NULL FROM workflow_event_processing "
    "WHERE id = $2::bigint AND tenant = $1::text"};
constexpr PgStatement kKey{"key",
                           "SELECT coalesce(idempotency_key, '') FROM workflow_event_processing "
                           "WHERE id = $2::bigint AND tenant = $1::text"};
#undef ITS_EXECUTION
#undef DEAD
#undef COLUMNS

DeadLetter letter_of(const PgRow& row) {
  DeadLetter letter;
  letter.id = std::to_string(row.integer(0));
  letter.tenant = row.text(1);
  letter.execution_id = row.text(2);
  letter.kind = row.text(3);
  letter.event_id = row.text(4);
  letter.name = row.text(5);
  letter.payload = row.payload(6, 7);
  letter.user_id = row.text(8);
  letter.idempotency_key = row.text(9);
  letter.attempts = static_cast<int>(row.integer(10));
  letter.error = row.text(11);
  letter.accepted_at = row.time(12);
  return letter;
}

}  // namespace

PostgresDeadLetters::PostgresDeadLetters(PostgresParameters parameters)
    : pipeline_(std::move(parameters), {kList, kRetry, kDrop, kWhyNot, kKey}, kAnswerMax) {}

Result<DeadLetterRows::Page> PostgresDeadLetters::list(const DeadLetterSearch& search) {
  const auto listed = pipeline_.read(
      [&](PgPipeline& pipeline) {
        pipeline.add(kList.name, PgParameters()
                                     .add_text(search.tenant)
                                     .add(search.after)
                                     .add_optional_text(search.execution_id)
                                     .add(std::int64_t{search.limit})
                                     .add(static_cast<std::int64_t>(kDeadLetterPageBytesMax)));
      },
      "listing dead letters");
  if (!listed) return listed.error();
  Page page;
  const PGresult* const rows = listed->front().get();
  const int count = PQntuples(rows);
  std::int64_t found = 0;
  for (int row = 0; row < count; ++row) {
    const PgRow letter(rows, row);
    page.letters.push_back(letter_of(letter));
    found = letter.integer(13);
  }
  page.more = found == search.limit || found > count;
  return page;
}

Result<DeadLetter> PostgresDeadLetters::change(const PgStatement& statement,
                                               const std::string_view doing,
                                               const std::string_view tenant, const InboxId id) {
  const auto changed = pipeline_.run(
      [&](PgPipeline& pipeline) {
        pipeline.add(statement.name, PgParameters().add_text(tenant).add(id));
      },
      doing);
  if (!changed) return changed.error();
  if (PQntuples(changed->front().get()) == 0) return refuse(tenant, id);
  return letter_of(PgRow(changed->front().get(), 0));
}

Result<DeadLetter> PostgresDeadLetters::refuse(const std::string_view tenant, const InboxId id) {
  const auto why = pipeline_.read(
      [&](PgPipeline& pipeline) {
        pipeline.add(kWhyNot.name, PgParameters().add_text(tenant).add(id));
      },
      "looking for a dead letter");
  if (!why) return why.error();
  if (PQntuples(why->front().get()) == 0) return no_dead_letter(tenant, id);
  const PgRow row(why->front().get(), 0);
  return not_dead(id, row.view(0), row.flag(1));
}

Result<DeadLetter> PostgresDeadLetters::retry(const std::string_view tenant, const InboxId id) {
  auto letter = change(kRetry, "retrying a dead letter", tenant, id);
  // A unique index has said no: there is other mail under that key.
  if (letter || letter.error().code != ErrorCode::already_exists) return letter;
  const auto key = pipeline_.read(
      [&](PgPipeline& pipeline) {
        pipeline.add(kKey.name, PgParameters().add_text(tenant).add(id));
      },
      "looking for a dead letter");
  if (!key) return key.error();
  if (PQntuples(key->front().get()) == 0) return no_dead_letter(tenant, id);
  return sent_again(id, PgRow(key->front().get(), 0).view(0));
}

Result<DeadLetter> PostgresDeadLetters::drop(const std::string_view tenant, const InboxId id) {
  return change(kDrop, "dropping a dead letter", tenant, id);
}

}  // namespace pawl
