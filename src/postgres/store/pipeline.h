#pragma once

// A connection to a PostgreSQL server for the store: statements are sent together and answered together, with
// parameters and results in binary form.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <libpq-fe.h>
#include <boost/system/result.hpp>

#include "model/history_event.h"
#include "pawl/error.h"
#include "postgres/postgres_connection.h"

namespace pawl {

struct PgFailure {
  std::string message;
  std::string state;        // SQLSTATE; empty: it is not the server that says so
  bool connection = false;  // it can't be used any more
};
// What a call of the store is refused with.
Error error_of(const PgFailure& failure, std::string_view doing);

template <class T>
using PgOutcome = boost::system::result<T, PgFailure>;

[[noreturn]] inline void throw_exception_from_error(const PgFailure& failure,
                                                    const boost::source_location&) {
  throw std::runtime_error(failure.message);
}

struct PgStatement {
  const char* name;
  const char* sql;
};

// Parameters in binary form. The statement casts each to the very type of what is added. What is given as a
// view has to stay until the statement is added to a pipeline.
class PgParameters {
 public:
  PgParameters& add(std::int64_t value);
  PgParameters& add(std::int32_t value);
  PgParameters& add(bool value);
  PgParameters& add_text(std::string_view value);
  PgParameters& add_optional_text(std::string_view value);  // empty: NULL
  PgParameters& add_time(Timestamp value);
  PgParameters& add_array(std::string_view bytes);  // see PgColumn

 private:
  friend class PgPipeline;

  PgParameters& add_number(std::uint64_t value, int bytes);

  struct Value {
    bool null = false;
    std::string_view bytes;     // of what is not in numbers_
    std::size_t number_at = 0;  // of what is
    std::size_t number_bytes = 0;
  };
  std::vector<Value> values_;
  std::string numbers_;
};

// A row of a result in binary form. Valid as long as the result is.
class PgRow {
 public:
  PgRow(const PGresult* result, int row) : result_(result), row_(row) {}

  bool is_null(int column) const { return PQgetisnull(result_, row_, column) != 0; }
  std::string_view view(int column) const;  // NULL: empty
  std::string text(int column) const { return std::string(view(column)); }
  std::int64_t integer(int column) const;  // of any width; NULL: 0
  bool flag(int column) const { return integer(column) != 0; }
  Timestamp time(int column) const;  // NULL: 0
  Payload payload(int column, int encoding_column) const;

 private:
  const PGresult* result_;
  int row_;
};

struct PgNotice {
  std::string channel;
  std::string payload;
};

// One thread at a time, but for wake() and give_up().
class PgPipeline {
 public:
  PgPipeline();
  ~PgPipeline();

  // With those statements prepared, and these settings of the session made. Waits at most
  // parameters.connect_max, and `answer_max` for each answer from then on.
  PgOutcome<void> connect(const PostgresParameters& parameters,
                          const std::vector<std::string>& settings,
                          const std::vector<PgStatement>& statements,
                          std::chrono::milliseconds answer_max);
  PgOutcome<void> prepare(const std::vector<PgStatement>& statements);
  bool is_connected() const { return connection_ != nullptr; }
  void close();

  // Queues. An error shows with the answers.
  void add(const char* statement, const PgParameters& parameters = {});
  void add_sql(const char* sql);  // without parameters, not prepared: BEGIN, COMMIT
  // Sends what is queued, and waits for the answers: one for each statement, up to the first that failed. The
  // connection stays of use where a statement failed.
  PgOutcome<std::vector<PgResult>> run();

  // Several statements without parameters and results, separated by semicolons. Nothing may be queued.
  PgOutcome<void> run_script(const std::string& sql);

  // Waits, at most so long, until the server has something to say that nobody asked for. True: it has.
  bool wait_for_notice(std::chrono::milliseconds most);
  // Those of NOTIFY that have come.
  std::vector<PgNotice> take_notices();
  // Any thread: whoever waits for a notice looks up.
  void wake();

  // Any thread: whoever waits is woken, and the connection is given up.
  void give_up();

 private:
  enum class Waited { ready, given_up, too_late };

  PgOutcome<void> connect_plainly(const PostgresParameters& parameters);
  PgFailure lost(std::string why);
  PgFailure lost();
  Waited wait(short events, SteadyTime until);
  PgOutcome<void> flush(SteadyTime until);
  PgOutcome<PgResult> next_result(SteadyTime until);
  PgFailure failed(const PGresult* result);

  std::unique_ptr<PGconn, PgConnDelete> connection_;
  std::chrono::milliseconds answer_max_{30'000};
  std::size_t queued_ = 0;
  bool refused_ = false;  // libpq took a statement of the queue not
  int wake_;              // an eventfd
  std::atomic<bool> given_up_ = false;
};

}  // namespace pawl
