#include "store/sqlite_database.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cctype>
#include <cstring>
#include <unordered_map>
#include <utility>

#include "base/clock.h"
#include "base/crash_point.h"
#include "model/failure_codec.h"
#include "store/sqlite_connection.h"
#include "store/sqlite_outcome_rows.h"

namespace pawl {

namespace {

constexpr std::size_t kStatementsKept = 64;
// The engine's connection writes the log back; here, only where it does not.
constexpr int kCheckpointPages = 20'000;
// How many steps of SQLite's machine there are between two looks at whether a statement is still wanted.
constexpr int kStepsBetweenLooks = 10'000;

constexpr std::string_view kFindOutcome =
    "SELECT status, result, encoding, error FROM main.workflow_action_results "
    "WHERE execution = ?1 AND position = ?2 AND generation = ?3 AND execution > 0";
constexpr std::string_view kFindKeyedOutcome =
    "SELECT status, result, encoding, error FROM main.workflow_action_results "
    "WHERE tenant = ?1 AND user_key = ?2";
constexpr std::string_view kInsertOutcome =
    "INSERT INTO main.workflow_action_results(execution, position, tenant, execution_id, "
    "action_name, "
    "status, attempts, cause, result, encoding, user_key, parameters_digest, created_at, "
    "generation, seed, recorded) "
    "VALUES(?1, ?2, ?3, ?4, ?5, 'succeeded', ?6, 0, ?7, ?8, ?9, ?10, ?11, ?12, ?13, 0) "
    "ON CONFLICT DO NOTHING";
constexpr std::string_view kOwnNames =
    "SELECT count(*) FROM main.sqlite_schema WHERE substr(name, 1, 9) = 'workflow_' COLLATE NOCASE";
constexpr std::string_view kExecutionHasEnded =
    "SELECT status FROM main.workflow_executions WHERE execution = ?1 AND "
    "status IN ('completed', 'failed', 'cancelled', 'terminated')";

Failure sqlite_failure(std::string message, std::string code, const FailureClass failure_class) {
  Failure failure;
  failure.name = "SqliteError";
  failure.message = std::move(message);
  failure.code = std::move(code);
  failure.failure_class = failure_class;
  return failure;
}

Failure refusal(std::string message) {
  return sqlite_failure(std::move(message), "SQLITE_AUTH", FailureClass::permanent);
}

std::string code_name(const int code) {
  switch (code) {
    case SQLITE_CONSTRAINT_CHECK: return "SQLITE_CONSTRAINT_CHECK";
    case SQLITE_CONSTRAINT_FOREIGNKEY: return "SQLITE_CONSTRAINT_FOREIGNKEY";
    case SQLITE_CONSTRAINT_NOTNULL: return "SQLITE_CONSTRAINT_NOTNULL";
    case SQLITE_CONSTRAINT_PRIMARYKEY: return "SQLITE_CONSTRAINT_PRIMARYKEY";
    case SQLITE_CONSTRAINT_TRIGGER: return "SQLITE_CONSTRAINT_TRIGGER";
    case SQLITE_CONSTRAINT_UNIQUE: return "SQLITE_CONSTRAINT_UNIQUE";
    case SQLITE_CONSTRAINT_ROWID: return "SQLITE_CONSTRAINT_ROWID";
    case SQLITE_CONSTRAINT_DATATYPE: return "SQLITE_CONSTRAINT_DATATYPE";
    case SQLITE_BUSY_SNAPSHOT: return "SQLITE_BUSY_SNAPSHOT";
    default: break;
  }
  switch (code & 0xff) {
    case SQLITE_ERROR: return "SQLITE_ERROR";
    case SQLITE_PERM: return "SQLITE_PERM";
    case SQLITE_ABORT: return "SQLITE_ABORT";
    case SQLITE_BUSY: return "SQLITE_BUSY";
    case SQLITE_LOCKED: return "SQLITE_LOCKED";
    case SQLITE_NOMEM: return "SQLITE_NOMEM";
    case SQLITE_READONLY: return "SQLITE_READONLY";
    case SQLITE_INTERRUPT: return "SQLITE_INTERRUPT";
    case SQLITE_IOERR: return "SQLITE_IOERR";
    case SQLITE_CORRUPT: return "SQLITE_CORRUPT";
    case SQLITE_FULL: return "SQLITE_FULL";
    case SQLITE_CANTOPEN: return "SQLITE_CANTOPEN";
    case SQLITE_TOOBIG: return "SQLITE_TOOBIG";
    case SQLITE_CONSTRAINT: return "SQLITE_CONSTRAINT";
    case SQLITE_MISMATCH: return "SQLITE_MISMATCH";
    case SQLITE_MISUSE: return "SQLITE_MISUSE";
    case SQLITE_AUTH: return "SQLITE_AUTH";
    case SQLITE_RANGE: return "SQLITE_RANGE";
    case SQLITE_NOTADB: return "SQLITE_NOTADB";
    default: return fmt::format("SQLITE_{}", code);
  }
}

FailureClass class_of(const int code) {
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return FailureClass::contention;
    case SQLITE_CONSTRAINT: return FailureClass::consistency;
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG:
    case SQLITE_RANGE: return FailureClass::validation;
    case SQLITE_ERROR:
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_MISUSE:
    case SQLITE_AUTH: return FailureClass::permanent;
    default: return FailureClass::transient;
  }
}

bool begins_with(const char* const text, const std::string_view prefix) {
  if (text == nullptr || std::strlen(text) < prefix.size()) return false;
  return sqlite3_strnicmp(text, prefix.data(), static_cast<int>(prefix.size())) == 0;
}

// What reads, or is the session's own affair.
bool is_harmless_pragma(const char* const name, const char* const argument) {
  constexpr std::array kReading{
      "table_info",      "table_xinfo",       "table_list",      "index_list",     "index_info",
      "index_xinfo",     "foreign_key_list",  "database_list",   "collation_list", "function_list",
      "compile_options", "foreign_key_check", "integrity_check", "quick_check"};
  constexpr std::array kOwn{"foreign_keys", "defer_foreign_keys", "recursive_triggers",
                            "case_sensitive_like"};
  const auto is_it = [name](const char* const known) { return sqlite3_stricmp(name, known) == 0; };
  return argument == nullptr || std::any_of(kReading.begin(), kReading.end(), is_it) ||
         std::any_of(kOwn.begin(), kOwn.end(), is_it);
}

}  // namespace

Failure sql_misfit(std::string message) {
  Failure failure;
  failure.name = "SqlMisfitError";
  failure.message = std::move(message);
  failure.code = "sql_misfit";
  failure.failure_class = FailureClass::validation;
  return failure;
}

// The connection of a session. Others come to it when its time is up, and when the database is closed.
class SqliteSessionCore final : public TurnHolder,
                                public std::enable_shared_from_this<SqliteSessionCore> {
 public:
  static SqlResult<std::shared_ptr<SqliteSessionCore>> open(SqliteDatabase& database,
                                                            const SessionUse use) {
    const SqliteDatabaseOptions& options = database.options();
    auto connection =
        SqliteConnection::open(options.path,
                               options.store ? SqliteConnection::Mode::read_write
                                             : SqliteConnection::Mode::read_write_create,
                               options.vfs, options.busy_ms);
    if (!connection) {
      return sqlite_failure(connection.error().message, "SQLITE_CANTOPEN", FailureClass::transient);
    }
    auto core = std::make_shared<SqliteSessionCore>(database, std::move(*connection));
    const char* const synchronous = options.off                      ? "OFF"
                                    : use == SessionUse::application ? "FULL"
                                                                     : "NORMAL";
    std::string settings = fmt::format(
        "PRAGMA synchronous = {}; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; "
        "PRAGMA mmap_size = 0; PRAGMA temp_store = 2; PRAGMA wal_autocheckpoint = {}",
        synchronous, kCheckpointPages);
    if (!options.store) settings = "PRAGMA journal_mode = WAL; " + settings;
    if (const auto done = core->connection_.execute(settings); !done) {
      return sqlite_failure(done.error().message, "SQLITE_ERROR", FailureClass::transient);
    }
    sqlite3_db_config(core->connection_.handle(), SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
    // The last one to close is the engine's, which looks after the log.
    if (options.store) {
      sqlite3_db_config(core->connection_.handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    }
    sqlite3_set_authorizer(core->connection_.handle(), &SqliteSessionCore::authorize, core.get());
    sqlite3_progress_handler(core->connection_.handle(), kStepsBetweenLooks,
                             &SqliteSessionCore::is_unwanted, core.get());
    return core;
  }

  SqliteSessionCore(SqliteDatabase& database, SqliteConnection connection)
      : database_(database), connection_(std::move(connection)) {}

  SqlResult<SqlRows> run(const std::string_view sql, const std::vector<SqlValue>& parameters) {
    std::unique_lock lock(mutex_);
    if (phase_ == Phase::idle) broken_off_ = false;
    if (const auto lost = unusable()) return *lost;
    refused_.clear();
    auto prepared = statement_of(sql);
    if (!prepared) return prepared.error();
    const bool alone = phase_ == Phase::idle;
    const bool writes = sqlite3_stmt_readonly((*prepared)->get()) == 0;
    if (phase_ == Phase::begun || (alone && writes)) {
      if (const auto failed = take_turn(lock, alone)) return *failed;
      // Whoever came in while this one waited may have done away with its statements.
      prepared = statement_of(sql);
    }
    std::optional<Failure> wrong;
    if (!prepared) wrong = prepared.error();
    if (!wrong) wrong = bind((*prepared)->get(), sql, parameters);
    if (wrong) {
      if (prepared) reset((*prepared)->get());
      if (alone) give_turn_back();
      return *wrong;
    }
    SqliteStatementUse statement((*prepared)->get());
    auto rows = (*prepared)->alters ? alter(statement.get(), sql) : step(statement.get(), sql);
    if (alone && connection_.in_transaction()) {
      end_with_rollback();
      return refusal("a savepoint needs a transaction around it");
    }
    if (alone) give_turn_back();
    if (phase_ == Phase::open && broken_off_) {
      lose(kBrokenOff);
    } else if (!rows && phase_ == Phase::open && !connection_.in_transaction()) {
      // SQLite has rolled it back by itself (the disk is full, it was interrupted).
      lose(rows.error().message);
    }
    return rows;
  }

  SqlResult<void> begin() {
    const std::lock_guard lock(mutex_);
    if (closed_) return closed();
    if (phase_ != Phase::idle) {
      return sqlite_failure("a transaction is open in this session already", "SQLITE_MISUSE",
                            FailureClass::permanent);
    }
    phase_ = Phase::begun;
    tried_to_end_ = false;
    return {};
  }

  SqlResult<void> commit() {
    const std::lock_guard lock(mutex_);
    if (const auto lost = unusable()) return *lost;
    if (tried_to_end_) return tried_to_end();
    if (phase_ == Phase::begun) {
      phase_ = Phase::idle;
      return {};
    }
    return end_with_commit();
  }

  void roll_back() {
    const std::lock_guard lock(mutex_);
    end_with_rollback();
    phase_ = Phase::idle;
    broken_off_ = false;
  }

  // Seen by a statement that is about to begin, too, which an interrupt would miss.
  void break_off() {
    broken_off_ = true;
    interrupt();
  }

  SqlResult<Payload> commit_outcome(const ActionTask& task, const Payload& result) {
    std::unique_lock lock(mutex_);
    if (const auto lost = unusable()) return *lost;
    if (!database_.options().store) return not_a_store();
    if (tried_to_end_) return tried_to_end();
    if (phase_ != Phase::open) {
      if (const auto failed = take_turn(lock, false)) return *failed;
    }
    if (task.execution > 0) {
      auto ended =
          own(kExecutionHasEnded, [&](SqliteStatement& find) { find.bind(1, task.execution); });
      if (!ended) return ended.error();
      if (!ended->rows.empty()) {
        end_with_rollback();
        phase_ = Phase::idle;
        return sqlite_failure("the execution has ended: what its action wrote is rolled back",
                              "execution_ended", FailureClass::permanent);
      }
    }
    auto inserted = own(kInsertOutcome, [&](SqliteStatement& insert) {
      const bool keyed = task.execution == 0;
      insert.bind(1, task.execution);
      insert.bind(2, std::int64_t{keyed ? 0 : task.position});
      insert.bind(3, task.tenant);
      insert.bind_optional(4, keyed ? std::string_view(task.execution_id) : std::string_view{});
      insert.bind(5, task.name);
      insert.bind(6, std::int64_t{task.attempt});
      insert.bind(7, 8, result);
      insert.bind_optional(9, keyed ? std::string_view(task.idempotency_key) : std::string_view{});
      insert.bind_optional(10,
                           keyed ? std::string_view(task.parameters_digest) : std::string_view{});
      insert.bind(11, SystemClock().now());
      insert.bind(12, std::int64_t{task.generation});
      insert.bind(13, static_cast<std::int64_t>(task.seed));
    });
    if (!inserted) return inserted.error();
    if (inserted->changed == 0) {
      // Another attempt was faster.
      end_with_rollback();
      phase_ = Phase::idle;
      auto found = read_outcome(task);
      if (!found) return found.error();
      if (*found) return std::move(**found);
      return sqlite_failure("an outcome of this action was there, and is gone", "SQLITE_INTERNAL",
                            FailureClass::transient);
    }
    crash_point("database.before_commit");
    if (auto committed = end_with_commit(); !committed) return committed.error();
    crash_point("database.after_commit");
    return result;
  }

  SqlResult<std::optional<Payload>> find_outcome(const ActionTask& task) {
    const std::lock_guard lock(mutex_);
    if (closed_) return closed();
    if (!database_.options().store) return not_a_store();
    return read_outcome(task);
  }

  void give_up() override {
    losing_ = true;
    interrupt();
    const std::lock_guard lock(mutex_);
    if (has_turn_ && !closed_) lose(too_long());
    losing_ = false;
  }

  void close() {
    interrupt();
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    end_with_rollback();
    statements_.clear();
    const std::lock_guard handle_lock(handle_mutex_);
    connection_.close();
    closed_ = true;
  }

  // For the next one who has the session.
  bool make_ready() {
    const std::lock_guard lock(mutex_);
    if (closed_) return false;
    end_with_rollback();
    phase_ = Phase::idle;
    broken_off_ = false;
    return true;
  }

 private:
  enum class Phase { idle, begun, open, lost };

  // Nothing that was bound may be looked at again.
  static void reset(sqlite3_stmt* const statement) {
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
  }

  // A statement in use; reset at the end.
  class SqliteStatementUse {
   public:
    explicit SqliteStatementUse(sqlite3_stmt* statement) : statement_(statement) {}
    ~SqliteStatementUse() { reset(statement_); }
    SqliteStatementUse(const SqliteStatementUse&) = delete;
    SqliteStatementUse& operator=(const SqliteStatementUse&) = delete;
    sqlite3_stmt* get() const { return statement_; }

   private:
    sqlite3_stmt* statement_;
  };
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  struct Prepared {
    std::unique_ptr<sqlite3_stmt, Finalize> statement;
    bool alters = false;  // a table, and may give it another name
    sqlite3_stmt* get() const { return statement.get(); }
  };

  // Ends the statement that runs, if one does. Any thread, without mutex_.
  void interrupt() {
    const std::lock_guard lock(handle_mutex_);
    if (connection_.handle() != nullptr) sqlite3_interrupt(connection_.handle());
  }

  // --- all under mutex_

  static constexpr const char* kBrokenOff =
      "the statement was broken off, and its transaction rolled back: nobody waits for it any more";

  static Failure closed() {
    return sqlite_failure("the runtime is closed, and its database with it", "closed",
                          FailureClass::transient);
  }

  // Whoever wrote that has relied on it.
  static Failure tried_to_end() {
    return sqlite_failure(
        "SQL in the transaction has tried to begin or to end one: it is committed and rolled back "
        "for you, and nothing of this one is committed",
        "transaction_ended", FailureClass::permanent);
  }

  static Failure not_a_store() {
    return sqlite_failure(
        "outcomes of actions are kept in the store's own database only: this is another file",
        "SQLITE_MISUSE", FailureClass::permanent);
  }

  std::string too_long() const {
    return fmt::format(
        "The transaction had the write lock of the store, for which everything else waits, for "
        "more than "
        "{} ms (transaction_ms_max), and was rolled back. Do what takes long before its first "
        "statement, "
        "and let nothing in it wait for the engine.",
        database_.options().transaction_max.count());
  }

  std::optional<Failure> unusable() {
    if (closed_) return closed();
    if (phase_ == Phase::open && has_turn_ && std::chrono::steady_clock::now() >= deadline_) {
      lose(too_long());
    } else if (broken_off_ && (phase_ == Phase::begun || phase_ == Phase::open)) {
      lose(kBrokenOff);
    }
    if (phase_ == Phase::lost) {
      return sqlite_failure(lost_because_, "transaction_lost", FailureClass::timeout);
    }
    return std::nullopt;
  }

  void lose(std::string because) {
    end_with_rollback();
    phase_ = Phase::lost;
    lost_because_ = std::move(because);
  }

  Failure failure(const int code, const std::string_view sql) {
    if (!refused_.empty()) return refusal(refused_);
    if ((code & 0xff) == SQLITE_INTERRUPT && losing_) {
      return sqlite_failure(too_long(), "transaction_lost", FailureClass::timeout);
    }
    if ((code & 0xff) == SQLITE_INTERRUPT && broken_off_) {
      return sqlite_failure(kBrokenOff, "transaction_lost", FailureClass::timeout);
    }
    constexpr std::size_t kShown = 300;
    return sqlite_failure(
        fmt::format("{} in \"{}\"", sqlite3_errmsg(connection_.handle()), sql.substr(0, kShown)),
        code_name(code), class_of(code));
  }

  SqlResult<const Prepared*> statement_of(const std::string_view sql) {
    const std::string key(sql);
    if (const auto known = statements_.find(key); known != statements_.end()) {
      return &known->second;
    }
    alters_ = false;
    sqlite3_stmt* raw = nullptr;
    const char* rest = nullptr;
    const int code =
        sqlite3_prepare_v3(connection_.handle(), sql.data(), static_cast<int>(sql.size()),
                           SQLITE_PREPARE_PERSISTENT, &raw, &rest);
    Prepared prepared{std::unique_ptr<sqlite3_stmt, Finalize>(raw), alters_};
    if (code != SQLITE_OK) return failure(code, sql);
    if (raw == nullptr) {
      return sqlite_failure("there is no statement in the text", "SQLITE_MISUSE",
                            FailureClass::permanent);
    }
    const std::string_view behind = sql.substr(static_cast<std::size_t>(rest - sql.data()));
    if (std::any_of(behind.begin(), behind.end(),
                    [](const unsigned char c) { return std::isspace(c) == 0 && c != ';'; })) {
      return sqlite_failure(fmt::format("one statement at a time: what is \"{}\"?", behind),
                            "SQLITE_MISUSE", FailureClass::permanent);
    }
    if (statements_.size() >= kStatementsKept) statements_.clear();
    return &statements_.emplace(key, std::move(prepared)).first->second;
  }

  std::optional<Failure> bind(sqlite3_stmt* const statement, const std::string_view sql,
                              const std::vector<SqlValue>& parameters) {
    const int count = sqlite3_bind_parameter_count(statement);
    int wanted = 0;
    for (int at = 1; at <= count; ++at) {
      int which = at;
      const char* const name = sqlite3_bind_parameter_name(statement, at);
      if (name != nullptr && (name[0] == '$' || name[0] == '?')) {
        which = 0;
        for (const char* digit = name + 1; *digit >= '0' && *digit <= '9' && which < 100'000;
             ++digit) {
          which = which * 10 + (*digit - '0');
        }
      } else if (name != nullptr) {
        which = 0;
      }
      if (which == 0) {
        return sql_misfit(fmt::format("parameters are written ?, ?1 or $1, not '{}'", name));
      }
      wanted = std::max(wanted, which);
      if (static_cast<std::size_t>(which) > parameters.size()) continue;
      if (bind(statement, at, parameters[static_cast<std::size_t>(which - 1)]) != SQLITE_OK) {
        return failure(sqlite3_extended_errcode(connection_.handle()), sql);
      }
    }
    if (parameters.size() != static_cast<std::size_t>(wanted)) {
      return sql_misfit(fmt::format("{} parameters were given, the statement has {}: \"{}\"",
                                    parameters.size(), wanted, sql.substr(0, 300)));
    }
    return std::nullopt;
  }

  // What is bound lives until the statement is reset.
  static int bind(sqlite3_stmt* const statement, const int at, const SqlValue& value) {
    switch (value.index()) {
      case 0: return sqlite3_bind_null(statement, at);
      case 1: return sqlite3_bind_int64(statement, at, std::get<std::int64_t>(value));
      case 2: return sqlite3_bind_double(statement, at, std::get<double>(value));
      case 3: {
        const auto& text = std::get<std::string>(value);
        return sqlite3_bind_text64(statement, at, text.data(), text.size(), nullptr, SQLITE_UTF8);
      }
      default: {
        const auto& blob = std::get<Blob>(value);
        if (blob.empty()) return sqlite3_bind_zeroblob(statement, at, 0);
        return sqlite3_bind_blob64(statement, at, blob.data(), blob.size(), nullptr);
      }
    }
  }

  static SqlValue column(sqlite3_stmt* const statement, const int at) {
    switch (sqlite3_column_type(statement, at)) {
      case SQLITE_INTEGER: return sqlite3_column_int64(statement, at);
      case SQLITE_FLOAT: return sqlite3_column_double(statement, at);
      case SQLITE_TEXT: {
        const auto* const text = reinterpret_cast<const char*>(sqlite3_column_text(statement, at));
        return std::string(text, static_cast<std::size_t>(sqlite3_column_bytes(statement, at)));
      }
      case SQLITE_BLOB: {
        const auto* const bytes = static_cast<const std::byte*>(sqlite3_column_blob(statement, at));
        return Blob(bytes, bytes + sqlite3_column_bytes(statement, at));
      }
      default: return std::monostate{};
    }
  }

  SqlResult<SqlRows> step(sqlite3_stmt* const statement, const std::string_view sql) {
    SqlRows result;
    const std::int64_t before = sqlite3_total_changes64(connection_.handle());
    const int columns = sqlite3_column_count(statement);
    for (int at = 0; at < columns; ++at) {
      result.columns.emplace_back(sqlite3_column_name(statement, at));
    }
    int code = sqlite3_step(statement);
    for (; code == SQLITE_ROW; code = sqlite3_step(statement)) {
      std::vector<SqlValue>& row = result.rows.emplace_back();
      row.reserve(static_cast<std::size_t>(columns));
      for (int at = 0; at < columns; ++at) row.push_back(column(statement, at));
    }
    if (code != SQLITE_DONE) return failure(code, sql);
    if (sqlite3_total_changes64(connection_.handle()) != before) {
      result.changed = sqlite3_changes64(connection_.handle());
      result.last_id = sqlite3_last_insert_rowid(connection_.handle());
    }
    return result;
  }

  // What a table is to be called from now on is nowhere to be asked before it is.
  SqlResult<SqlRows> alter(sqlite3_stmt* const statement, const std::string_view sql) {
    const auto none = [](SqliteStatement&) {};
    const auto names = [&] { return own(kOwnNames, none); };
    if (const auto begun = own("SAVEPOINT pawl_alter", none); !begun) return begun.error();
    const auto before = names();
    auto rows = step(statement, sql);
    const auto after = names();
    const bool taken = !before || !after || before->rows != after->rows;
    if (taken) own("ROLLBACK TO pawl_alter", none);
    const auto ended = own("RELEASE pawl_alter", none);
    if (taken && rows) return refusal(own_name("the new name"));
    if (rows && !ended) return ended.error();
    return rows;
  }

  // A statement of ours, which may do what users' may not.
  template <class Bind>
  SqlResult<SqlRows> own(const std::string_view sql, const Bind& bind_to) {
    own_ = true;
    auto prepared = connection_.prepare(sql);
    SqlResult<SqlRows> rows = [&]() -> SqlResult<SqlRows> {
      if (!prepared) {
        return sqlite_failure(prepared.error().message, "SQLITE_ERROR", FailureClass::transient);
      }
      bind_to(*prepared);
      SqlRows read;
      int code = prepared->step();
      for (; code == SQLITE_ROW; code = prepared->step()) {
        read.rows.push_back({prepared->column_text(0)});
      }
      if (code != SQLITE_DONE) return failure(code, sql);
      read.changed = connection_.changed_rows();
      return read;
    }();
    own_ = false;
    return rows;
  }

  SqlResult<std::optional<Payload>> read_outcome(const ActionTask& task) {
    own_ = true;
    const bool keyed = task.execution == 0;
    auto find = connection_.prepare(keyed ? kFindKeyedOutcome : kFindOutcome);
    own_ = false;
    if (!find) {
      return sqlite_failure(find.error().message, "SQLITE_ERROR", FailureClass::transient);
    }
    if (keyed) {
      find->bind(1, task.tenant);
      find->bind(2, task.idempotency_key);
    } else {
      find->bind(1, task.execution);
      find->bind(2, std::int64_t{task.position});
      find->bind(3, std::int64_t{task.generation});
    }
    const int code = find->step();
    if (code == SQLITE_DONE) return std::optional<Payload>{};
    if (code != SQLITE_ROW) return failure(code, "looking for an outcome");
    if (find->column_view(0) == "succeeded") return std::optional(find->column_payload(1, 2));
    Failure recorded = decode_failure(find->column_text(3));
    // It was given up for good; nobody waits for this attempt.
    recorded.failure_class = FailureClass::permanent;
    return recorded;
  }

  // Without the lock while it waits: somebody may close the database meanwhile.
  std::optional<Failure> take_turn(std::unique_lock<std::mutex>& lock, const bool alone) {
    const std::chrono::milliseconds most = database_.options().transaction_max;
    if (database_.options().store) {
      lock.unlock();
      database_.turn().take(shared_from_this(), most);
      lock.lock();
      has_turn_ = true;
      if (closed_) {
        give_turn_back();
        return closed();
      }
    }
    deadline_ = std::chrono::steady_clock::now() + most;
    if (alone) return std::nullopt;
    own_ = true;
    const auto begun = connection_.execute("BEGIN IMMEDIATE");
    own_ = false;
    if (!begun) {
      give_turn_back();
      const int code = sqlite3_extended_errcode(connection_.handle());
      return sqlite_failure(begun.error().message, code_name(code), class_of(code));
    }
    phase_ = Phase::open;
    crash_point("database.begun");
    return std::nullopt;
  }

  void give_turn_back() {
    if (!has_turn_) return;
    has_turn_ = false;
    database_.turn().give_back();
  }

  SqlResult<void> end_with_commit() {
    if (phase_ != Phase::open) {
      return sqlite_failure("no transaction is open in this session", "SQLITE_MISUSE",
                            FailureClass::permanent);
    }
    own_ = true;
    const int code = sqlite3_exec(connection_.handle(), "COMMIT", nullptr, nullptr, nullptr);
    own_ = false;
    std::optional<Failure> failed;
    if (code != SQLITE_OK)
      failed = failure(sqlite3_extended_errcode(connection_.handle()), "COMMIT");
    end_with_rollback();
    phase_ = Phase::idle;
    if (failed) return *failed;
    return {};
  }

  void end_with_rollback() {
    if (!closed_ && connection_.in_transaction()) {
      own_ = true;
      sqlite3_exec(connection_.handle(), "ROLLBACK", nullptr, nullptr, nullptr);
      own_ = false;
    }
    give_turn_back();
  }

  static int is_unwanted(void* self) {
    auto& core = *static_cast<SqliteSessionCore*>(self);
    return core.broken_off_ || core.losing_ ? 1 : 0;
  }

  static int authorize(void* self, const int action, const char* const first,
                       const char* const second, const char*, const char*) {
    auto& core = *static_cast<SqliteSessionCore*>(self);
    if (core.own_) return SQLITE_OK;
    if (action == SQLITE_TRANSACTION) core.tried_to_end_ = core.phase_ != Phase::idle;
    if (action == SQLITE_ALTER_TABLE) core.alters_ = core.database_.options().store;
    const std::string why = core.why_not(action, first, second);
    if (why.empty()) return SQLITE_OK;
    core.refused_ = why;
    return SQLITE_DENY;
  }

  // Empty: users may.
  std::string why_not(const int action, const char* const first, const char* const second) const {
    const char* table = nullptr;
    switch (action) {
      case SQLITE_TRANSACTION:
        return "a transaction is begun, committed and rolled back for you, not by SQL";
      case SQLITE_ATTACH:
      case SQLITE_DETACH:
        return "files can't be attached, and the database can't be vacuumed, through this session";
      case SQLITE_PRAGMA:
        if (is_harmless_pragma(first, second)) return {};
        return fmt::format("PRAGMA {} can't be set through this session", first);
      case SQLITE_INSERT:
      case SQLITE_UPDATE:
      case SQLITE_DELETE:
      case SQLITE_CREATE_TABLE:
      case SQLITE_CREATE_TEMP_TABLE:
      case SQLITE_CREATE_TEMP_VIEW:
      case SQLITE_DROP_TABLE:
      case SQLITE_CREATE_VIEW:
      case SQLITE_DROP_VIEW:
      case SQLITE_CREATE_VTABLE:
      case SQLITE_DROP_VTABLE: table = first; break;
      case SQLITE_CREATE_INDEX:
      case SQLITE_DROP_INDEX:
      case SQLITE_CREATE_TEMP_INDEX:
      case SQLITE_CREATE_TRIGGER:
      case SQLITE_DROP_TRIGGER:
      case SQLITE_CREATE_TEMP_TRIGGER:
      case SQLITE_ALTER_TABLE: table = second; break;
      default: return {};
    }
    if (!database_.options().store || !begins_with(table, "workflow_")) return {};
    return own_name(table);
  }

  static std::string own_name(const std::string_view name) {
    return fmt::format(
        "{}: names that begin with workflow_ are Pawl's own. They can be read here, and "
        "not be written",
        name);
  }

  SqliteDatabase& database_;  // outlives it: has it, or whoever has it has that

  std::mutex mutex_;
  std::mutex handle_mutex_;  // the connection is not closed while it is interrupted
  // All guarded by mutex_.
  SqliteConnection connection_;
  std::unordered_map<std::string, Prepared> statements_;
  Phase phase_ = Phase::idle;
  bool has_turn_ = false;
  std::chrono::steady_clock::time_point deadline_;
  std::string lost_because_;
  std::string refused_;        // why the authorizer said no
  bool own_ = false;           // a statement of ours is prepared
  bool alters_ = false;        // what is prepared alters a table
  bool tried_to_end_ = false;  // by SQL, its transaction
  bool closed_ = false;
  std::atomic<bool> losing_ = false;
  std::atomic<bool> broken_off_ = false;
};

namespace {

class SqliteSession final : public SqlSession {
 public:
  SqliteSession(std::shared_ptr<SqliteDatabase> database, std::shared_ptr<SqliteSessionCore> core,
                const SessionUse use)
      : database_(std::move(database)), core_(std::move(core)), use_(use) {}
  ~SqliteSession() override { database_->keep(std::move(core_), use_); }

  SqlResult<SqlRows> run(const std::string_view sql,
                         const std::vector<SqlValue>& parameters) override {
    return core_->run(sql, parameters);
  }
  SqlResult<void> begin(IsolationLevel) override { return core_->begin(); }
  SqlResult<void> commit() override { return core_->commit(); }
  void roll_back() override { core_->roll_back(); }
  void break_off() override { core_->break_off(); }
  SqlResult<Payload> commit_outcome(const ActionTask& task, const Payload& result) override {
    return core_->commit_outcome(task, result);
  }
  SqlResult<std::optional<Payload>> find_outcome(const ActionTask& task) override {
    return core_->find_outcome(task);
  }

 private:
  const std::shared_ptr<SqliteDatabase> database_;
  std::shared_ptr<SqliteSessionCore> core_;
  const SessionUse use_;
};

}  // namespace

SqlResult<std::unique_ptr<SqlSession>> SqliteDatabase::connect(const SessionUse use) {
  const auto self = shared_from_this();
  {
    const std::lock_guard lock(mutex_);
    if (closed_) {
      return sqlite_failure("the runtime is closed, and its database with it", "closed",
                            FailureClass::transient);
    }
    auto& kept = kept_[static_cast<std::size_t>(use)];
    if (!kept.empty()) {
      auto core = std::move(kept.back());
      kept.pop_back();
      return std::unique_ptr<SqlSession>(
          std::make_unique<SqliteSession>(self, std::move(core), use));
    }
  }
  auto core = SqliteSessionCore::open(*this, use);
  if (!core) return core.error();
  {
    const std::lock_guard lock(mutex_);
    if (!closed_) {
      std::erase_if(open_, [](const auto& known) { return known.expired(); });
      open_.push_back(*core);
    } else {
      (*core)->close();
    }
  }
  return std::unique_ptr<SqlSession>(std::make_unique<SqliteSession>(self, std::move(*core), use));
}

std::variant<Payload, Failure> SqliteDatabase::attempt(const DatabaseAttempt& attempt,
                                                       const TransactionWork& work) {
  if (options_.store) return Database::attempt(attempt, work);
  auto session = connect(SessionUse::application);
  if (!session) return session.error();
  return attempt_with_outcome_row(**session, attempt, work);
}

void SqliteDatabase::keep(std::shared_ptr<SqliteSessionCore> core, const SessionUse use) {
  if (!core->make_ready()) return;
  const std::lock_guard lock(mutex_);
  auto& kept = kept_[static_cast<std::size_t>(use)];
  if (!closed_ && kept.size() < kSessionsKept) kept.push_back(std::move(core));
}

std::shared_ptr<Database> open_sqlite_database(std::string path) {
  SqliteDatabaseOptions options;
  options.path = std::move(path);
  return std::make_shared<SqliteDatabase>(std::move(options));
}

void SqliteDatabase::close() {
  std::vector<std::shared_ptr<SqliteSessionCore>> cores;
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    for (const auto& known : open_) {
      if (auto core = known.lock()) cores.push_back(std::move(core));
    }
    for (auto& kept : kept_) kept.clear();
  }
  for (const auto& core : cores) core->close();
}

}  // namespace pawl
