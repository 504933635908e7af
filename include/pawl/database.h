#pragma once

// Databases that actions write to. What a database action writes and what it comes to are one commit: the
// action is done once, whatever happens in between.
//
//   runtime.register_database_action<SettleInvoice>(
//       [](const SettleInvoice::Parameters& p, pawl::Transaction& sql, const pawl::ActionContext&)
//           -> pawl::SqlResult<SettleInvoice::Result> {
//         auto settled = sql.execute("UPDATE invoices SET status = 'paid' WHERE id = ?", p.id);
//         if (!settled) return settled.error();
//         return SettleInvoice::Result{.settled = *settled == 1};
//       });

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <boost/mp11/algorithm.hpp>

#include <pawl/describe.h>
#include <pawl/error.h>
#include <pawl/host.h>
#include <pawl/json.h>
#include <pawl/payload.h>

namespace pawl {

using Blob = std::vector<std::byte>;

// A value of a row, or of a parameter. The first is NULL.
using SqlValue = std::variant<std::monostate, std::int64_t, double, std::string, Blob>;

struct SqlRows {
  std::vector<std::string> columns;
  std::vector<std::vector<SqlValue>> rows;
  std::int64_t changed = 0;  // rows that the statement inserted, updated or deleted
  std::int64_t last_id =
      0;  // of the row that was inserted last; SQLite only: elsewhere RETURNING says it
};

// What went wrong is a failure, as an action's is: its code is the database's own ("SQLITE_CONSTRAINT_UNIQUE",
// in PostgreSQL the SQLSTATE, "23505").
template <class T>
using SqlResult = Result<T, Failure>;

// What a transaction sees of others. SQLite has one writer at a time, so that all are serializable there. In
// PostgreSQL read_uncommitted is read_committed, which is as little as it isolates.
enum class IsolationLevel : std::uint8_t {
  read_uncommitted = 0,
  read_committed = 1,
  repeatable_read = 2,
  serializable = 3,
};

// A connection to a database: SQL, one statement at a time, with bound parameters. One thread at a time, but for
// break_off().
//
//   Idle --begin()--> Begun --first statement--> Open --commit(), roll_back()--> Idle
//                                                Open --time is up, break_off()--> Lost --roll_back()--> Idle
class SqlSession {
 public:
  // Rolls back what is open.
  virtual ~SqlSession() = default;

  // Without a transaction, a statement is one of its own. Parameters stand as ?, ?1 or $1 in the text. In
  // PostgreSQL, which has operators with a question mark, one is written ?? (??|, ??&), or as it is in a text
  // whose parameters are $1, $2.
  virtual SqlResult<SqlRows> run(std::string_view sql, const std::vector<SqlValue>& parameters) = 0;

  // A transaction. It begins with its first statement, and holds nothing before that.
  virtual SqlResult<void> begin(IsolationLevel isolation = IsolationLevel::serializable) = 0;
  virtual SqlResult<void> commit() = 0;
  virtual void roll_back() = 0;
  // Ends the transaction from outside: what runs in it fails soon with "transaction_lost", and what comes later,
  // up to roll_back(). Without one, ends the statement that runs. Any thread; does not wait. In PostgreSQL the
  // session is of no more use after it.
  virtual void break_off() = 0;

  // Both of the database of a store in a file only: see Database::attempt.
  // Commits together with the outcome of the action. If an attempt at it has committed before, nothing of
  // this one is, and what that one came to is given.
  virtual SqlResult<Payload> commit_outcome(const ActionTask& task, const Payload& result);
  // What an attempt has committed.
  virtual SqlResult<std::optional<Payload>> find_outcome(const ActionTask& task);
};

enum class SessionUse : std::uint8_t {
  application,  // what is committed is durable
  // What is committed is durable once the outcome of the action is, and costs no sync of its own.
  actions,
};

class Transaction;

// What a handler does in its transaction, and comes to. It throws nothing, and may be called again after a
// rollback.
using TransactionWork = std::function<std::variant<Payload, Failure>(Transaction& transaction)>;

// One attempt at a database action.
struct DatabaseAttempt {
  const ActionTask& task;
  IsolationLevel isolation = IsolationLevel::serializable;
  std::stop_token stop;  // nobody waits for it any more: nothing is to be committed
};

// Any thread. Sessions may outlive it, and are of no more use then.
class Database {
 public:
  virtual ~Database() = default;
  virtual SqlResult<std::unique_ptr<SqlSession>> connect(SessionUse use) = 0;
  // Runs `work` in a transaction that is committed with what it gives. What an attempt before it has committed is
  // given in place of that, and nothing of this one is kept then; nor where it gives a failure.
  virtual std::variant<Payload, Failure> attempt(const DatabaseAttempt& attempt,
                                                 const TransactionWork& work);
  // Rolls back what is open; sessions are told at their next use. The store's own is closed with it.
  virtual void close() = 0;

  // For attempts whose transactions take place over connections of another library, in the database of a store that
  // several workers share, who own an execution in the epoch that the task says. Before
  // COMMIT is sent commit_begins() has to be called, then a look at whether the attempt is still wanted; and
  // commit_ended() when it is known what became of it.
  virtual void commit_begins(const ActionTask& /*task*/) {}
  virtual void commit_ended(const ActionTask& /*task*/) {}
};

// An SQLite file, which is created where there is none. Outcomes of actions are in a table of its own there,
// pawl_action_results, the same one that the TypeScript package has. For PostgreSQL: open_postgres_database, in
// pawl/postgres.h.
std::shared_ptr<Database> open_sqlite_database(std::string path);

// Parameters and rows that do not fit their types. Class validation: not tried again.
Failure sql_misfit(std::string message);
// Of an attempt that is no longer wanted: it ran out of time, or its execution ended.
Failure attempt_given_up();

namespace detail {

template <class T>
SqlValue to_sql(const T& value) {
  using Value = std::remove_cvref_t<T>;
  // NOLINTNEXTLINE(bugprone-branch-clone): what is returned has another type in each
  if constexpr (std::same_as<Value, SqlValue>) {
    return value;
  } else if constexpr (std::same_as<Value, std::nullptr_t> || std::same_as<Value, std::nullopt_t> ||
                       std::same_as<Value, std::monostate>) {
    return std::monostate{};
  } else if constexpr (is_optional<Value>) {
    return value ? to_sql(*value) : SqlValue{};
  } else if constexpr (std::integral<Value>) {
    static_assert(sizeof(Value) < sizeof(std::int64_t) || std::signed_integral<Value>,
                  "SQL has no unsigned numbers of 64 bits: convert it, or bind it as text");
    return static_cast<std::int64_t>(value);
  } else if constexpr (std::floating_point<Value>) {
    return static_cast<double>(value);
  } else if constexpr (std::same_as<Value, Blob>) {
    return value;
  } else {
    static_assert(
        std::convertible_to<const T&, std::string_view>,
        "A parameter is a number, a text, a pawl::Blob, an optional of these, or nullptr");
    return std::string(std::string_view(value));
  }
}

// None: it fits.
template <class T>
std::optional<std::string> read_sql(const SqlValue& from, T& to) {
  if constexpr (is_optional<T>) {
    if (std::holds_alternative<std::monostate>(from)) {
      to.reset();
      return std::nullopt;
    }
    return read_sql(from, to.emplace());
  } else if constexpr (std::same_as<T, SqlValue>) {
    to = from;
    return std::nullopt;
  } else if constexpr (std::same_as<T, bool>) {
    if (const auto* const number = std::get_if<std::int64_t>(&from)) {
      if (*number == 0 || *number == 1) {
        to = *number == 1;
        return std::nullopt;
      }
    }
    return "is no bool";
  } else if constexpr (std::integral<T>) {
    if (const auto* const number = std::get_if<std::int64_t>(&from)) {
      to = static_cast<T>(*number);
      if (static_cast<std::int64_t>(to) == *number && (std::signed_integral<T> || *number >= 0)) {
        return std::nullopt;
      }
      return "does not fit its type";
    }
    return "is no whole number";
  } else if constexpr (std::floating_point<T>) {
    if (const auto* const real = std::get_if<double>(&from)) {
      to = static_cast<T>(*real);
      return std::nullopt;
    }
    if (const auto* const number = std::get_if<std::int64_t>(&from)) {
      to = static_cast<T>(*number);
      return std::nullopt;
    }
    return "is no number";
  } else if constexpr (std::same_as<T, std::string> || std::same_as<T, Blob>) {
    if (const auto* const found = std::get_if<T>(&from)) {
      to = *found;
      return std::nullopt;
    }
    return std::same_as<T, Blob> ? "is no blob" : "is no text";
  } else {
    static_assert(
        std::same_as<T, void>,
        "A column is a number, a bool, a std::string, a pawl::Blob, or an optional of these");
  }
}

template <class Row>
inline constexpr bool is_described = boost::describe::has_describe_members<Row>::value;

template <class Row>
SqlResult<Row> row_of(const SqlRows& from, const std::vector<SqlValue>& values) {
  Row row{};
  std::optional<std::string> misfit;
  if constexpr (is_described<Row>) {
    using Members = boost::describe::describe_members<Row, boost::describe::mod_public |
                                                               boost::describe::mod_inherited>;
    boost::mp11::mp_for_each<Members>([&](auto member) {
      if (misfit) return;
      for (std::size_t column = 0; column < from.columns.size(); ++column) {
        if (from.columns[column] != member.name) continue;
        if (auto wrong = read_sql(values[column], row.*member.pointer)) {
          misfit = "column '" + from.columns[column] + "' " + *wrong;
        }
        return;
      }
      misfit = "there is no column '" + std::string(member.name) + "' in what was selected";
    });
  } else if (from.columns.size() != 1) {
    misfit = "one column was expected, there are " + std::to_string(from.columns.size());
  } else if (auto wrong = read_sql(values.front(), row)) {
    misfit = "column '" + from.columns.front() + "' " + *wrong;
  }
  if (misfit) return sql_misfit(std::move(*misfit));
  return SqlResult<Row>(boost::system::in_place_value, std::move(row));
}

}  // namespace detail

// The transaction of a database action, handed to its handler and gone with its end. One thread at a time.
class Transaction {
 public:
  explicit Transaction(SqlSession& session) : session_(session) {}
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  // How many rows it inserted, updated or deleted. Parameters are numbers, texts, Blobs, optionals of
  // these, or nullptr; they stand as ? or $1 in the text.
  template <class... P>
  SqlResult<std::int64_t> execute(std::string_view sql, const P&... parameters) {
    auto rows = run(sql, {detail::to_sql(parameters)...});
    if (!rows) return rows.error();
    return rows->changed;
  }

  // Row: a struct that PAWL_DESCRIBE made known, whose members are read from the columns of their names; or
  // the type of the only column.
  template <class Row, class... P>
  SqlResult<std::vector<Row>> query(std::string_view sql, const P&... parameters) {
    const auto found = run(sql, {detail::to_sql(parameters)...});
    if (!found) return found.error();
    std::vector<Row> rows;
    rows.reserve(found->rows.size());
    for (const std::vector<SqlValue>& values : found->rows) {
      auto row = detail::row_of<Row>(*found, values);
      if (!row) return row.error();
      rows.push_back(std::move(*row));
    }
    return rows;
  }

  // The first row, if there is one.
  template <class Row, class... P>
  SqlResult<std::optional<Row>> query_one(std::string_view sql, const P&... parameters) {
    auto rows = query<Row>(sql, parameters...);
    if (!rows) return rows.error();
    if (rows->empty()) return std::optional<Row>{};
    return std::optional<Row>{std::move(rows->front())};
  }

  SqlResult<SqlRows> run(std::string_view sql, const std::vector<SqlValue>& parameters) {
    return session_.run(sql, parameters);
  }

 private:
  SqlSession& session_;
};

}  // namespace pawl
