#include "store/sqlite_dead_letters.h"

#include <sqlite3.h>

#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"

namespace pawl {
namespace {

// The id of its execution: mail has it, what the engine has accepted itself has the number.
#define COLUMNS                                                                           \
  "SELECT e.id, e.tenant, coalesce(e.execution_id, x.execution_id), e.kind, e.event_id, " \
  "e.event_name, e.payload, e.encoding, e.user_id, e.idempotency_key, e.attempts, "       \
  "e.last_error, e.created_at, e.status, e.dropped_at IS NOT NULL "                       \
  "FROM workflow_event_processing e LEFT JOIN workflow_executions x ON x.execution = e.execution "
constexpr std::string_view kList = COLUMNS
    "WHERE e.tenant = ?1 AND e.status = 'failed' AND e.dropped_at IS NULL AND e.id > ?2 AND "
    "(?3 IS NULL OR coalesce(e.execution_id, x.execution_id) = ?3) ORDER BY e.id LIMIT ?4";
constexpr std::string_view kFind = COLUMNS "WHERE e.id = ?2 AND e.tenant = ?1";
#undef COLUMNS
constexpr std::string_view kRetry =
    "UPDATE workflow_event_processing SET status = 'pending', execution = 0, execution_id = ?2, "
    "attempts = attempts + 1, answer = NULL WHERE id = ?1";
constexpr std::string_view kDrop =
    "UPDATE workflow_event_processing SET dropped_at = ?2, payload = NULL, encoding = NULL "
    "WHERE id = ?1";

DeadLetter letter_of(const SqliteStatement& row) {
  DeadLetter letter;
  letter.id = std::to_string(row.column_int(0));
  letter.tenant = row.column_text(1);
  letter.execution_id = row.column_text(2);
  letter.kind = row.column_text(3);
  letter.event_id = row.column_text(4);
  letter.name = row.column_text(5);
  letter.payload = row.column_payload(6, 7);
  letter.user_id = row.column_text(8);
  letter.idempotency_key = row.column_text(9);
  letter.attempts = static_cast<int>(row.column_int(10));
  letter.error = row.column_text(11);
  letter.accepted_at = row.column_int(12);
  return letter;
}

Result<DeadLetter> find(SqliteConnection& connection, const std::string_view tenant,
                        const InboxId id) {
  auto find = connection.prepare(kFind);
  if (!find) return find.error();
  find->bind(1, tenant);
  find->bind(2, id);
  const int code = find->step();
  if (code == SQLITE_DONE) return no_dead_letter(tenant, id);
  if (code != SQLITE_ROW) return connection.error(code, "looking for a dead letter");
  const bool dropped = find->column_int(14) != 0;
  if (dropped || find->column_view(13) != to_string(InboxStatus::failed)) {
    return not_dead(id, find->column_view(13), dropped);
  }
  return letter_of(*find);
}

}  // namespace

Result<DeadLetterRows::Page> list_dead_letters(SqliteConnection& connection,
                                               const DeadLetterSearch& search) {
  auto list = connection.prepare(kList);
  if (!list) return list.error();
  list->bind(1, std::string_view{search.tenant});
  list->bind(2, search.after);
  list->bind_optional(3, search.execution_id);
  list->bind(4, std::int64_t{search.limit});
  DeadLetterRows::Page page;
  std::size_t bytes = 0;
  int code = SQLITE_DONE;
  while (bytes < kDeadLetterPageBytesMax && (code = list->step()) == SQLITE_ROW) {
    page.letters.push_back(letter_of(*list));
    bytes += page.letters.back().payload.bytes.size();
  }
  if (code != SQLITE_ROW && code != SQLITE_DONE) {
    return connection.error(code, "listing dead letters");
  }
  page.more = code == SQLITE_ROW || static_cast<int>(page.letters.size()) == search.limit;
  return page;
}

Result<DeadLetter> retry_dead_letter(SqliteConnection& connection, const std::string_view tenant,
                                     const InboxId id) {
  auto letter = find(connection, tenant, id);
  if (!letter) return letter;
  auto retry = connection.prepare(kRetry);
  if (!retry) return retry.error();
  retry->bind(1, id);
  retry->bind(2, std::string_view{letter->execution_id});
  const int code = retry->run();
  if ((code & 0xff) == SQLITE_CONSTRAINT) return sent_again(id, letter->idempotency_key);
  if (code != SQLITE_DONE) return connection.error(code, "retrying a dead letter");
  ++letter->attempts;
  return letter;
}

Result<DeadLetter> drop_dead_letter(SqliteConnection& connection, const std::string_view tenant,
                                    const InboxId id) {
  auto letter = find(connection, tenant, id);
  if (!letter) return letter;
  auto drop = connection.prepare(kDrop);
  if (!drop) return drop.error();
  drop->bind(1, id);
  drop->bind(2, SystemClock().now());
  if (const int code = drop->run(); code != SQLITE_DONE) {
    return connection.error(code, "dropping a dead letter");
  }
  return letter;
}

Result<DeadLetterRows::Page> SqliteDeadLetters::list(const DeadLetterSearch& search) {
  Page page;
  auto done = transactions_.read([&](SqliteConnection& connection) -> Result<void> {
    auto listed = list_dead_letters(connection, search);
    if (!listed) return listed.error();
    page = std::move(*listed);
    return {};
  });
  if (!done) return done.error();
  return page;
}

Result<DeadLetter> SqliteDeadLetters::retry(const std::string_view tenant, const InboxId id) {
  DeadLetter letter;
  auto done = transactions_.write([&](SqliteConnection& connection) -> Result<void> {
    auto retried = retry_dead_letter(connection, tenant, id);
    if (!retried) return retried.error();
    letter = std::move(*retried);
    return {};
  });
  if (!done) return done.error();
  return letter;
}

Result<DeadLetter> SqliteDeadLetters::drop(const std::string_view tenant, const InboxId id) {
  DeadLetter letter;
  auto done = transactions_.write([&](SqliteConnection& connection) -> Result<void> {
    auto dropped = drop_dead_letter(connection, tenant, id);
    if (!dropped) return dropped.error();
    letter = std::move(*dropped);
    return {};
  });
  if (!done) return done.error();
  return letter;
}

}  // namespace pawl
