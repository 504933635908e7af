#pragma once

// A thin layer over SQLite's C interface: connections and statements that close themselves, binding,
// stepping, and errors as values. Nothing of the domain.
//
// A connection and its statements belong to one thread at a time.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "pawl/error.h"
#include "pawl/payload.h"

struct sqlite3;
struct sqlite3_stmt;

namespace pawl {

// A prepared statement, to be used again and again. Must not outlive its connection.
class SqliteStatement {
 public:
  SqliteStatement() = default;
  explicit SqliteStatement(sqlite3_stmt* statement) : statement_{statement} {}

  // Parameters count from 1. What was bound stays until it is bound anew. Text is not copied: it
  // must live until reset(). An error (too large, out of memory) is reported by the next step().
  void bind(int parameter, std::int64_t value);
  void bind(int parameter, std::string_view text);
  void bind_null(int parameter);
  // Empty text is NULL.
  void bind_optional(int parameter, std::string_view text);
  // The bytes, as text if they are JSON, NULL if there is none; and the encoding beside them.
  void bind(int parameter, int encoding_parameter, const Payload& payload);

  // SQLITE_ROW, SQLITE_DONE or an (extended) error code.
  int step();
  // Ends the execution; the statement can be bound and stepped again.
  void reset();
  // Steps to the end and resets. SQLITE_DONE or an error code.
  int run();

  // Of the current row; columns count from 0.
  std::int64_t column_int(int column) const;
  std::string column_text(int column) const;       // NULL: empty
  std::string_view column_view(int column) const;  // valid until the next step or reset
  Payload column_payload(int column, int encoding_column) const;

  explicit operator bool() const { return statement_ != nullptr; }

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  int bind_error_ = 0;
};

// Resets at the end of a scope, so that no read transaction stays open by mistake.
class SqliteReset {
 public:
  explicit SqliteReset(SqliteStatement& statement) : statement_{statement} {}
  ~SqliteReset() { statement_.reset(); }
  SqliteReset(const SqliteReset&) = delete;
  SqliteReset& operator=(const SqliteReset&) = delete;

 private:
  SqliteStatement& statement_;
};

class SqliteConnection {
 public:
  enum class Mode { read_write_create, read_write, read_only };

  // `vfs`: empty for the platform's. Waits up to `busy_ms` for locks that others hold.
  static Result<SqliteConnection> open(const std::string& path, Mode mode, const std::string& vfs,
                                       int busy_ms);

  Result<SqliteStatement> prepare(std::string_view sql);
  // Runs all statements of the text, ignoring rows.
  Result<void> execute(const std::string& sql);
  // The first column of the first row; an error if there is none.
  Result<std::int64_t> query_int(std::string_view sql);
  Result<std::string> query_text(std::string_view sql);

  // What went wrong, for people: "<doing>: <what SQLite says> (<path>)", under the fitting code.
  Error error(int code, std::string_view doing) const;

  // All statements must be gone. Nothing but path() may be asked afterwards.
  void close() { connection_.reset(); }

  bool in_transaction() const;
  std::int64_t changed_rows() const;
  sqlite3* handle() const { return connection_.get(); }
  const std::string& path() const { return path_; }

 private:
  struct Close {
    void operator()(sqlite3* connection) const;
  };
  template <class T, class Read>
  Result<T> query(std::string_view sql, Read read);

  SqliteConnection(sqlite3* connection, std::string path)
      : connection_{connection}, path_{std::move(path)} {}

  std::unique_ptr<sqlite3, Close> connection_;
  std::string path_;
};

// A sync of the file or its folder failed: what was written may be gone, and another sync would not
// tell.
bool is_failed_sync(int code);
// The rows themselves were refused; the transaction can go on without them.
bool is_refused_row(int code);

}  // namespace pawl
