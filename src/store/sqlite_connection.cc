#include "store/sqlite_connection.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <cerrno>
#include <limits>
#include <utility>

namespace pawl {
namespace {

// A non-null pointer for empty text: a null one would be bound as NULL.
const char* data_of(const std::string_view text) { return text.empty() ? "" : text.data(); }

ErrorCode code_of(const int code) {
  switch (code & 0xff) {
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT: return ErrorCode::store_invalid;
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG:
    case SQLITE_MISUSE:
    case SQLITE_RANGE:
    case SQLITE_ERROR:
    case SQLITE_INTERNAL: return ErrorCode::internal;
    default: return ErrorCode::store_unavailable;
  }
}

// What to do about it, where that is known.
std::string_view advice(const int code, const int system_error) {
  if (system_error == EFBIG) return "; files may not grow that large here (ulimit -f): raise it";
  if (system_error == EDQUOT) return "; the disk quota is used up: raise it, or free some space";
  switch (code & 0xff) {
    case SQLITE_FULL: return "; the disk is full: free some space on it";
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return "; another process holds SQLite's write lock on the file";
    case SQLITE_READONLY: return "; the file or its folder is read-only";
    case SQLITE_PERM:
    case SQLITE_CANTOPEN: return "; is the folder there, and may this process write to it?";
    case SQLITE_CORRUPT: return "; the file is damaged: restore it from a backup";
    default: return "";
  }
}

}  // namespace

bool is_failed_sync(const int code) {
  return code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC;
}

bool is_refused_row(const int code) {
  switch (code & 0xff) {
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG: return true;
    default: return false;
  }
}

// --- statements -------------------------------------------------------------------------------

void SqliteStatement::Finalize::operator()(sqlite3_stmt* statement) const {
  sqlite3_finalize(statement);
}

void SqliteStatement::bind(const int parameter, const std::int64_t value) {
  bind_error_ |= sqlite3_bind_int64(statement_.get(), parameter, value);
}

void SqliteStatement::bind(const int parameter, const std::string_view text) {
  bind_error_ |= sqlite3_bind_text64(statement_.get(), parameter, data_of(text), text.size(),
                                     nullptr /* SQLITE_STATIC */, SQLITE_UTF8);
}

void SqliteStatement::bind_null(const int parameter) {
  bind_error_ |= sqlite3_bind_null(statement_.get(), parameter);
}

void SqliteStatement::bind_optional(const int parameter, const std::string_view text) {
  if (text.empty()) {
    bind_null(parameter);
  } else {
    bind(parameter, text);
  }
}

void SqliteStatement::bind(const int parameter, const int encoding_parameter,
                           const Payload& payload) {
  if (payload.is_none()) {
    bind_null(parameter);
    bind_null(encoding_parameter);
    return;
  }
  if (payload.encoding == Encoding::json) {
    bind(parameter, std::string_view{payload.bytes});
  } else {
    bind_error_ |= sqlite3_bind_blob64(statement_.get(), parameter, payload.bytes.data(),
                                       payload.bytes.size(), nullptr /* SQLITE_STATIC */);
  }
  bind(encoding_parameter, static_cast<std::int64_t>(payload.encoding));
}

int SqliteStatement::step() {
  if (bind_error_ != SQLITE_OK) {
    // Several may be or-ed together; each alone comes from a value that is too large.
    bind_error_ = SQLITE_OK;
    return SQLITE_TOOBIG;
  }
  return sqlite3_step(statement_.get());
}

void SqliteStatement::reset() { sqlite3_reset(statement_.get()); }

int SqliteStatement::run() {
  int code = step();
  while (code == SQLITE_ROW) {
    code = step();
  }
  reset();
  return code;
}

std::int64_t SqliteStatement::column_int(const int column) const {
  return sqlite3_column_int64(statement_.get(), column);
}

std::string_view SqliteStatement::column_view(const int column) const {
  // A blob reads as its bytes, text as its UTF-8: no conversion for either.
  const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement_.get(), column));
  if (bytes == nullptr) {
    return {};
  }
  return {bytes, static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

std::string SqliteStatement::column_text(const int column) const {
  return std::string{column_view(column)};
}

Payload SqliteStatement::column_payload(const int column, const int encoding_column) const {
  return Payload{column_text(column), static_cast<Encoding>(column_int(encoding_column))};
}

// --- connections ------------------------------------------------------------------------------

void SqliteConnection::Close::operator()(sqlite3* connection) const {
  sqlite3_close_v2(connection);
}

Result<SqliteConnection> SqliteConnection::open(const std::string& path, const Mode mode,
                                                const std::string& vfs, const int busy_ms) {
  const int access = mode == Mode::read_only    ? SQLITE_OPEN_READONLY
                     : mode == Mode::read_write ? SQLITE_OPEN_READWRITE
                                                : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  sqlite3* handle = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &handle, access | SQLITE_OPEN_NOMUTEX,
                                   vfs.empty() ? nullptr : vfs.c_str());
  if (handle == nullptr) {
    return Error{ErrorCode::store_unavailable, fmt::format("opening {}: out of memory", path)};
  }
  SqliteConnection connection{handle, path};
  sqlite3_extended_result_codes(handle, 1);
  if (code != SQLITE_OK) {
    return connection.error(sqlite3_extended_errcode(handle), "opening the store");
  }
  sqlite3_busy_timeout(handle, busy_ms);
  // Plans must not depend on what is bound: a statement that a partial index may serve would be planned
  // anew with each new value, which costs several times what it does.
  sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_QPSG, 1, nullptr);
  return connection;
}

Result<SqliteStatement> SqliteConnection::prepare(const std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v3(connection_.get(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK) {
    return error(code, fmt::format("preparing \"{}\"", sql));
  }
  return SqliteStatement{statement};
}

Result<void> SqliteConnection::execute(const std::string& sql) {
  const int code = sqlite3_exec(connection_.get(), sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) {
    return error(code, fmt::format("running \"{}\"", std::string_view{sql}.substr(0, 100)));
  }
  return {};
}

template <class T, class Read>
Result<T> SqliteConnection::query(const std::string_view sql, Read read) {
  auto statement = prepare(sql);
  if (!statement) {
    return statement.error();
  }
  int code = statement->step();
  if (code != SQLITE_ROW) {
    return error(code, fmt::format("running \"{}\"", sql));
  }
  T value = read(*statement);
  // Some pragmas do their work after they have given their row, and may fail then.
  code = statement->run();
  if (code != SQLITE_DONE) {
    return error(code, fmt::format("running \"{}\"", sql));
  }
  return value;
}

Result<std::int64_t> SqliteConnection::query_int(const std::string_view sql) {
  return query<std::int64_t>(
      sql, [](const SqliteStatement& statement) { return statement.column_int(0); });
}

Result<std::string> SqliteConnection::query_text(const std::string_view sql) {
  return query<std::string>(
      sql, [](const SqliteStatement& statement) { return statement.column_text(0); });
}

Error SqliteConnection::error(const int code, const std::string_view doing) const {
  // The connection's own words name the table or column, as long as they are about this code.
  const bool own = sqlite3_extended_errcode(connection_.get()) == code;
  const char* what = own ? sqlite3_errmsg(connection_.get()) : sqlite3_errstr(code);
  const int system_error = (code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CANTOPEN
                               ? sqlite3_system_errno(connection_.get())
                               : 0;
  return Error{code_of(code),
               fmt::format("{} in {}: {} (SQLite code {}{}){}", doing, path_, what, code,
                           system_error == 0 ? std::string{}
                                             : fmt::format(", system error {}", system_error),
                           advice(code, system_error))};
}

bool SqliteConnection::in_transaction() const {
  return sqlite3_get_autocommit(connection_.get()) == 0;
}

std::int64_t SqliteConnection::changed_rows() const { return sqlite3_changes(connection_.get()); }

}  // namespace pawl
