#include "store/mail_slot.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "base/crash_point.h"
#include "store/side_transactions.h"
#include "store/sqlite_schema.h"

namespace pawl {
namespace {

constexpr std::string_view kExecution =
    "SELECT execution, status, current_state, input_digest, workflow_name FROM "
    "workflow_executions WHERE tenant = ?1 AND execution_id = ?2";
constexpr std::string_view kStart =
    "SELECT id, event_name, payload, encoding, attributes FROM workflow_event_processing WHERE "
    "execution = 0 AND (status = 'pending' OR status = 'published' OR status = 'processing' OR "
    "status = 'retrying') AND kind = 'start' AND tenant = ?1 AND execution_id = ?2";
// The second half: those that the engine has taken, or was given itself.
constexpr std::string_view kKey =
    "SELECT id, event_id FROM workflow_event_processing WHERE execution = 0 AND tenant = ?1 AND "
    "execution_id = ?2 AND idempotency_key = ?3 "
    "UNION ALL SELECT id, event_id FROM workflow_event_processing WHERE execution > 0 AND "
    "execution = ?4 AND idempotency_key = ?3 LIMIT 1";
constexpr std::string_view kLast = "SELECT max(id) FROM workflow_event_processing";
constexpr std::string_view kInsert =
    "INSERT INTO workflow_event_processing(id, execution, kind, tenant, execution_id, event_id, "
    "event_name, status, attempts, payload, encoding, user_id, idempotency_key, attributes, "
    "created_at) VALUES(?1, 0, ?2, ?3, ?4, ?5, ?6, 'pending', 0, ?7, ?8, ?9, ?10, ?11, ?12)";

}  // namespace

Result<std::unique_ptr<MailSlot>> MailSlot::open(const SqliteStoreOptions& options) {
  if (auto checked = check_readable_store(options); !checked) {
    return checked.error();
  }
  auto connection = SqliteConnection::open(options.path, SqliteConnection::Mode::read_write,
                                           options.vfs, options.busy_ms);
  if (!connection) {
    return connection.error();
  }
  if (sqlite3_db_readonly(connection->handle(), "main") == 1) {
    return Error{
        ErrorCode::store_unavailable,
        fmt::format("{} is read-only: this process must be able to write to it", options.path),
        options.path};
  }
  // The log is the engine's to write back and to make sure of.
  sqlite3_db_config(connection->handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  if (auto set = connection->execute("PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; "
                                     "PRAGMA trusted_schema = OFF");
      !set) {
    return set.error();
  }
  return std::unique_ptr<MailSlot>{new MailSlot{std::move(*connection)}};
}

Result<SqliteStatement*> MailSlot::statement(SqliteStatement& statement,
                                             const std::string_view sql) {
  if (!statement) {
    auto prepared = connection_.prepare(sql);
    if (!prepared) {
      return prepared.error();
    }
    statement = std::move(*prepared);
  }
  return &statement;
}

Error MailSlot::failed(const int code, const std::string_view doing) const {
  return connection_.error(code, doing);
}

Result<KnownMail> MailSlot::end(Result<KnownMail> known) {
  if (!known) {
    if (connection_.in_transaction()) {
      [[maybe_unused]] const auto undone = connection_.execute("ROLLBACK");
    }
    return known;
  }
  crash_point("client.before_commit");
  if (auto committed = connection_.execute("COMMIT"); !committed) {
    const int code = sqlite3_extended_errcode(connection_.handle());
    if (connection_.in_transaction()) {
      [[maybe_unused]] const auto undone = connection_.execute("ROLLBACK");
    }
    Error error = committed.error();
    if ((code & 0xff) == SQLITE_IOERR) {
      error.code = ErrorCode::outcome_unknown;
      error.message = "it is not known whether this is durable: " + error.message;
    }
    return error;
  }
  crash_point("client.after_commit");
  return known;
}

Result<Addressee> MailSlot::find(const InboxRecord& row) {
  Addressee addressee;
  auto execution = statement(execution_, kExecution);
  if (!execution) {
    return execution.error();
  }
  {
    SqliteStatement& find = **execution;
    const SqliteReset reset{find};
    find.bind(1, std::string_view{row.tenant});
    find.bind(2, std::string_view{row.execution_id});
    const int code = find.step();
    if (code == SQLITE_ROW) {
      ExecutionRecord& record = addressee.execution.emplace();
      record.ref = find.column_int(0);
      record.tenant = row.tenant;
      record.execution_id = row.execution_id;
      record.status = execution_status_from(find.column_view(1)).value_or(ExecutionStatus::running);
      record.state = find.column_text(2);
      record.input_digest = find.column_text(3);
      record.workflow = find.column_text(4);
      return addressee;
    }
    if (code != SQLITE_DONE) {
      return failed(code, "looking for the execution");
    }
  }
  auto start = statement(start_, kStart);
  if (!start) {
    return start.error();
  }
  SqliteStatement& find = **start;
  const SqliteReset reset{find};
  find.bind(1, std::string_view{row.tenant});
  find.bind(2, std::string_view{row.execution_id});
  const int code = find.step();
  if (code == SQLITE_ROW) {
    InboxRecord& known = addressee.start.emplace();
    known.id = find.column_int(0);
    known.kind = InboxKind::start;
    known.tenant = row.tenant;
    known.execution_id = row.execution_id;
    known.event_name = find.column_text(1);
    known.payload = find.column_payload(2, 3);
    known.attributes = find.column_text(4);
  } else if (code != SQLITE_DONE) {
    return failed(code, "looking for a start in the inbox");
  }
  return addressee;
}

Result<KnownMail> MailSlot::put(InboxRecord row, const Judge& judge) {
  std::this_thread::sleep_until(ended_ + kMailGap);
  // At once for writing, so that what is looked up holds until the row is there.
  if (auto begun = connection_.execute("BEGIN IMMEDIATE"); !begun) {
    return begun.error();
  }
  auto known = end(put_within(row, judge));
  ended_ = std::chrono::steady_clock::now();
  return known;
}

Result<void> MailSlot::write(const std::function<Result<void>(SqliteConnection&)>& work) {
  std::this_thread::sleep_until(ended_ + kMailGap);
  auto done = in_transaction(connection_, work);
  ended_ = std::chrono::steady_clock::now();
  return done;
}

Result<KnownMail> MailSlot::put_within(InboxRecord& row, const Judge& judge) {
  auto addressee = find(row);
  if (!addressee) {
    return addressee.error();
  }
  if (!row.idempotency_key.empty()) {
    auto key = statement(key_, kKey);
    if (!key) {
      return key.error();
    }
    SqliteStatement& find = **key;
    const SqliteReset reset{find};
    find.bind(1, std::string_view{row.tenant});
    find.bind(2, std::string_view{row.execution_id});
    find.bind(3, std::string_view{row.idempotency_key});
    find.bind(4, addressee->execution ? addressee->execution->ref : ExecutionRef{0});
    const int code = find.step();
    if (code == SQLITE_ROW) {
      return KnownMail{find.column_int(0), find.column_text(1)};
    }
    if (code != SQLITE_DONE) {
      return failed(code, "looking for an idempotency key");
    }
  }
  if (auto refused = judge(*addressee)) {
    return std::move(*refused);
  }
  // What is there already needs no second row.
  if (row.kind == InboxKind::start && (addressee->execution || addressee->start)) {
    return KnownMail{addressee->start ? addressee->start->id : 0, row.event_id};
  }
  auto last = statement(last_, kLast);
  if (!last) {
    return last.error();
  }
  {
    const SqliteReset reset{**last};
    const int code = (*last)->step();
    if (code != SQLITE_ROW) {
      return failed(code, "numbering a row of the inbox");
    }
    row.id = std::max(kMailSlotIdFirst, (*last)->column_int(0) + 1);
  }
  auto insert = statement(insert_, kInsert);
  if (!insert) {
    return insert.error();
  }
  SqliteStatement& put = **insert;
  put.bind(1, row.id);
  put.bind(2, to_string(row.kind));
  put.bind(3, std::string_view{row.tenant});
  put.bind(4, std::string_view{row.execution_id});
  put.bind(5, std::string_view{row.event_id});
  put.bind(6, std::string_view{row.event_name});
  put.bind(7, 8, row.payload);
  put.bind_optional(9, row.user_id);
  put.bind_optional(10, row.idempotency_key);
  put.bind_optional(11, row.attributes);
  put.bind(12, row.accepted_at);
  if (const int code = put.run(); code != SQLITE_DONE) {
    return failed(code, "filling the inbox");
  }
  return KnownMail{row.id, row.event_id};
}

}  // namespace pawl
