#include "postgres/postgres_connection.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <thread>
#include <utility>

#include "base/crash_point.h"
#include "model/json_object.h"
#include "postgres/sql_state.h"

namespace pawl {

namespace {

using namespace std::chrono_literals;

// A cancellation that comes before its statement has begun is lost: it is sent so often, so long apart, before the
// connection is cut.
constexpr int kCancelsMax = 10;
constexpr auto kCancelPause = 500ms;
constexpr std::size_t kShown = 300;

// Of the server's catalogue: pg_type.
constexpr Oid kBool = 16;
constexpr Oid kBytea = 17;
constexpr Oid kInt8 = 20;
constexpr Oid kInt2 = 21;
constexpr Oid kInt4 = 23;
constexpr Oid kFloat4 = 700;
constexpr Oid kFloat8 = 701;

constexpr int kTextFormat = 0;
constexpr int kBinaryFormat = 1;

std::string trimmed(const char* const text) {
  std::string result = text == nullptr ? "" : text;
  while (!result.empty() && (result.back() == '\n' || result.back() == ' ')) result.pop_back();
  return result;
}

std::string real_text(const double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return fmt::format("{}", value);
}

// The parameters of a statement, as libpq wants them. A number goes as text of no type, so that it becomes what
// stands where it is put: a bool, a numeric.
class BoundParameters {
 public:
  std::optional<Failure> bind(const std::vector<SqlValue>& parameters) {
    texts_.resize(parameters.size());
    for (std::size_t at = 0; at < parameters.size(); ++at) {
      if (auto wrong = bind(at, parameters[at])) return wrong;
    }
    return std::nullopt;
  }

  int count() const { return static_cast<int>(values_.size()); }
  const Oid* types() const { return types_.data(); }
  const char* const* values() const { return values_.data(); }
  const int* lengths() const { return lengths_.data(); }
  const int* formats() const { return formats_.data(); }

 private:
  std::optional<Failure> bind(const std::size_t at, const SqlValue& value) {
    switch (value.index()) {
      case 0: add(nullptr, 0, 0, kTextFormat); return std::nullopt;
      case 1: texts_[at] = std::to_string(std::get<std::int64_t>(value)); break;
      case 2: texts_[at] = real_text(std::get<double>(value)); break;
      case 3:
        texts_[at] = std::get<std::string>(value);
        if (texts_[at].find('\0') != std::string::npos) {
          return sql_misfit(fmt::format(
              "parameter {} is a text with a character NUL, which PostgreSQL does not keep",
              at + 1));
        }
        break;
      default: {
        const Blob& blob = std::get<Blob>(value);
        const auto* const bytes = reinterpret_cast<const char*>(blob.data());
        add(blob.empty() ? "" : bytes, blob.size(), kBytea, kBinaryFormat);
        return std::nullopt;
      }
    }
    add(texts_[at].c_str(), texts_[at].size(), 0, kTextFormat);
    return std::nullopt;
  }

  void add(const char* const value, const std::size_t length, const Oid type, const int format) {
    values_.push_back(value);
    lengths_.push_back(static_cast<int>(length));
    types_.push_back(type);
    formats_.push_back(format);
  }

  std::vector<std::string> texts_;
  std::vector<const char*> values_;
  std::vector<int> lengths_;
  std::vector<Oid> types_;
  std::vector<int> formats_;
};

std::int64_t number_of(const std::string_view text) {
  std::int64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

SqlValue value_of(const PGresult& result, const int row, const int column) {
  if (PQgetisnull(&result, row, column) != 0) return std::monostate{};
  const char* const text = PQgetvalue(&result, row, column);
  const std::string_view view(text, static_cast<std::size_t>(PQgetlength(&result, row, column)));
  switch (PQftype(&result, column)) {
    case kBool: return std::int64_t{view == "t"};
    case kInt2:
    case kInt4:
    case kInt8: return number_of(view);
    case kFloat4:
    case kFloat8: return std::strtod(text, nullptr);
    case kBytea: {
      std::size_t size = 0;
      unsigned char* const bytes =
          PQunescapeBytea(reinterpret_cast<const unsigned char*>(text), &size);
      if (bytes == nullptr) return std::monostate{};
      const auto* const first = reinterpret_cast<const std::byte*>(bytes);
      Blob blob(first, first + size);
      PQfreemem(bytes);
      return blob;
    }
    default: return std::string(view);
  }
}

std::string field(const PGresult& result, const int code) {
  const char* const text = PQresultErrorField(&result, code);
  return text == nullptr ? "" : text;
}

Failure failure_of(const PGresult& result, const std::string_view sql) {
  std::string message = field(result, PG_DIAG_MESSAGE_PRIMARY);
  if (message.empty()) message = trimmed(PQresultErrorMessage(&result));
  const std::string detail = field(result, PG_DIAG_MESSAGE_DETAIL);
  const std::string hint = field(result, PG_DIAG_MESSAGE_HINT);
  if (!detail.empty()) message += ". " + detail;
  if (!hint.empty()) message += " " + hint;
  std::string state = field(result, PG_DIAG_SQLSTATE);
  if (state.empty()) return connection_failure(std::move(message), "08006");
  const FailureClass failure_class = class_of_sql_state(state);
  Failure failure = postgres_failure(fmt::format("{} in \"{}\"", message, sql.substr(0, kShown)),
                                     std::move(state), failure_class);
  ObjectWriter details;
  details.text("schema", field(result, PG_DIAG_SCHEMA_NAME));
  details.text("table", field(result, PG_DIAG_TABLE_NAME));
  details.text("column", field(result, PG_DIAG_COLUMN_NAME));
  details.text("constraint", field(result, PG_DIAG_CONSTRAINT_NAME));
  details.text("position", field(result, PG_DIAG_STATEMENT_POSITION));
  failure.details_json = std::move(details).finish();
  return failure;
}

int milliseconds_until(const std::optional<SteadyTime>& until) {
  if (!until) return -1;
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(*until - std::chrono::steady_clock::now());
  return static_cast<int>(
      std::clamp<std::int64_t>(left.count(), 0, std::numeric_limits<int>::max()));
}

}  // namespace

Failure postgres_failure(std::string message, std::string code, const FailureClass failure_class) {
  Failure failure;
  failure.name = "PostgresError";
  failure.message = std::move(message);
  failure.code = std::move(code);
  failure.failure_class = failure_class;
  return failure;
}

Failure connection_failure(std::string message, std::string code) {
  return postgres_failure(std::move(message), std::move(code), FailureClass::external);
}

PostgresConnection::PostgresConnection() : wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

PostgresConnection::~PostgresConnection() {
  close();
  if (wake_ >= 0) ::close(wake_);
}

std::optional<Failure> PostgresConnection::connect(const PostgresParameters& parameters) {
  std::vector<const char*> keys;
  std::vector<const char*> values;
  for (std::size_t at = 0; at < parameters.keys.size(); ++at) {
    keys.push_back(parameters.keys[at].c_str());
    values.push_back(parameters.values[at].c_str());
  }
  keys.push_back(nullptr);
  values.push_back(nullptr);
  if (wake_ < 0) return connection_failure("no file descriptor is left", "08001");
  connection_.reset(PQconnectStartParams(keys.data(), values.data(), 1));
  if (connection_ == nullptr) return connection_failure("out of memory", "08001");
  const auto refused = [this] {
    out_of_use_ = true;
    return connection_failure(trimmed(PQerrorMessage(connection_.get())), "08001");
  };
  if (PQstatus(connection_.get()) == CONNECTION_BAD) return refused();
  const SteadyTime until = std::chrono::steady_clock::now() + parameters.connect_max;
  for (auto state = PGRES_POLLING_WRITING; state != PGRES_POLLING_OK;
       state = PQconnectPoll(connection_.get())) {
    if (state == PGRES_POLLING_FAILED) return refused();
    switch (wait(state == PGRES_POLLING_READING ? POLLIN : POLLOUT, until)) {
      case Waited::ready: break;
      case Waited::broken_off: out_of_use_ = true; return attempt_given_up();
      case Waited::too_late:
        out_of_use_ = true;
        return connection_failure(
            fmt::format("the server did not answer within {} ms", parameters.connect_max.count()),
            "08001");
    }
  }
  PQsetnonblocking(connection_.get(), 1);
  // What the server has to say beside its answers is nobody's.
  PQsetNoticeReceiver(connection_.get(), [](void*, const PGresult*) {}, nullptr);
  end_use();
  return std::nullopt;
}

bool PostgresConnection::is_usable() const {
  return !out_of_use_ && connection_ != nullptr && PQstatus(connection_.get()) == CONNECTION_OK;
}

void PostgresConnection::close() {
  begin_use();
  connection_.reset();
}

bool PostgresConnection::is_broken_off() {
  const std::lock_guard lock(mutex_);
  return broken_off_;
}

bool PostgresConnection::is_quiet() {
  if (!is_usable() || !begin_use()) return false;
  pollfd socket{PQsocket(connection_.get()), POLLIN, 0};
  bool quiet = ::poll(&socket, 1, 0) == 0;
  // Notices and parameters may come at any time; what ends the connection does too.
  if (!quiet) quiet = PQconsumeInput(connection_.get()) == 1 && ::poll(&socket, 1, 0) == 0;
  end_use();
  return quiet && is_usable() && transaction() == PQTRANS_IDLE;
}

bool PostgresConnection::has_backslashes() const {
  const char* const conforming =
      PQparameterStatus(connection_.get(), "standard_conforming_strings");
  return conforming != nullptr && std::string_view(conforming) == "off";
}

void PostgresConnection::break_off() {
  const std::lock_guard lock(mutex_);
  broken_off_ = true;
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(wake_, &one, sizeof one);
  if (idle_socket_ >= 0) ::shutdown(idle_socket_, SHUT_RDWR);
}

void PostgresConnection::cut() {
  out_of_use_ = true;
  const int socket = PQsocket(connection_.get());
  if (socket >= 0) ::shutdown(socket, SHUT_RDWR);
}

bool PostgresConnection::begin_use() {
  const std::lock_guard lock(mutex_);
  idle_socket_ = -1;
  return !broken_off_;
}

// libpq may have closed it, and its number be another's by now.
void PostgresConnection::end_use() {
  const std::lock_guard lock(mutex_);
  idle_socket_ = is_usable() ? PQsocket(connection_.get()) : -1;
}

PostgresConnection::Waited PostgresConnection::wait(const short events,
                                                    const std::optional<SteadyTime> until) {
  std::array<pollfd, 2> watched{pollfd{PQsocket(connection_.get()), events, 0},
                                pollfd{wake_, POLLIN, 0}};
  int found = 0;
  do {
    // One that is cancelled already is woken no more.
    found = ::poll(watched.data(), can_be_broken_off() ? 2 : 1, milliseconds_until(until));
  } while (found < 0 && errno == EINTR);
  if (can_be_broken_off() && (watched[1].revents & POLLIN) != 0) return Waited::broken_off;
  return found == 0 ? Waited::too_late : Waited::ready;
}

bool PostgresConnection::can_be_broken_off() const { return !committing_ && !cancelled_; }

Failure PostgresConnection::lost() const {
  return connection_failure("the connection is lost: " + trimmed(PQerrorMessage(connection_.get())),
                            "08006");
}

void PostgresConnection::cancel() {
  cancelled_ = true;
  // It waits for the server, which may not answer any more: this thread does not wait for that.
  if (cancelling_->exchange(true)) return;
  PGcancel* const cancelling = PQgetCancel(connection_.get());
  if (cancelling == nullptr) {
    *cancelling_ = false;
    return;
  }
  std::thread([cancelling, under_way = cancelling_] {
    std::array<char, 256> why{};
    PQcancel(cancelling, why.data(), static_cast<int>(why.size()));
    PQfreeCancel(cancelling);
    *under_way = false;
  }).detach();
}

std::optional<Failure> PostgresConnection::send(const std::string& sql,
                                                const std::vector<SqlValue>& parameters) {
  BoundParameters bound;
  if (auto wrong = bound.bind(parameters)) return wrong;
  if (!is_usable()) return lost();
  cancelled_ = false;
  if (PQsendQueryParams(connection_.get(), sql.c_str(), bound.count(), bound.types(),
                        bound.values(), bound.lengths(), bound.formats(), kTextFormat) != 1) {
    // Not sent: too many parameters, or the connection is gone.
    Failure failure = lost();
    cut();
    return failure;
  }
  return std::nullopt;
}

std::optional<Failure> PostgresConnection::flush(const std::optional<SteadyTime> until) {
  int left = 0;
  while ((left = PQflush(connection_.get())) == 1) {
    switch (wait(POLLIN | POLLOUT, until)) {
      case Waited::ready: break;
      case Waited::broken_off: cut(); return attempt_given_up();
      case Waited::too_late:
        cut();
        return connection_failure("a statement could not be sent in time", "08006");
    }
    // A server that answers before it has read all would wait for us for ever.
    if (PQconsumeInput(connection_.get()) != 1) break;
  }
  if (left == 0) return std::nullopt;
  Failure failure = lost();
  cut();
  return failure;
}

SqlResult<PgAnswer> PostgresConnection::receive(const std::string& sql,
                                                std::optional<SteadyTime> until) {
  SqlResult<PgAnswer> answer = PgAnswer{};
  int cancels = 0;
  while (true) {
    while (PQisBusy(connection_.get()) == 1) {
      if (wait(POLLIN, until) != Waited::ready) {
        if (cancels == kCancelsMax) {
          cut();
          return connection_failure("a statement did not end when it was cancelled", "08006");
        }
        ++cancels;
        cancel();
        until = std::chrono::steady_clock::now() + kCancelPause;
        continue;
      }
      if (PQconsumeInput(connection_.get()) != 1) {
        Failure failure = lost();
        cut();
        return failure;
      }
    }
    const PgResult result(PQgetResult(connection_.get()));
    if (result == nullptr) break;
    auto part = answer_of(*result, sql);
    if (answer) answer = std::move(part);
    if (out_of_use_) return answer;
  }
  if (PQstatus(connection_.get()) != CONNECTION_OK) out_of_use_ = true;
  return answer;
}

SqlResult<PgAnswer> PostgresConnection::answer_of(const PGresult& result,
                                                  const std::string_view sql) {
  switch (PQresultStatus(&result)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK: break;
    case PGRES_EMPTY_QUERY:
      return postgres_failure("there is no statement in the text", "42601",
                              FailureClass::permanent);
    case PGRES_COPY_IN:
    case PGRES_COPY_OUT:
    case PGRES_COPY_BOTH:
      cut();
      return postgres_failure(
          fmt::format("COPY from and to the client is not to be had here, in \"{}\"",
                      sql.substr(0, kShown)),
          "0A000", FailureClass::permanent);
    default: {
      Failure failure = failure_of(result, sql);
      if (PQstatus(connection_.get()) != CONNECTION_OK) out_of_use_ = true;
      return failure;
    }
  }
  PgAnswer answer;
  const std::string_view tag = PQcmdStatus(const_cast<PGresult*>(&result));
  answer.command = tag.substr(0, tag.find(' '));
  if (answer.command == "INSERT" || answer.command == "UPDATE" || answer.command == "DELETE" ||
      answer.command == "MERGE") {
    answer.rows.changed = number_of(PQcmdTuples(const_cast<PGresult*>(&result)));
  }
  const int columns = PQnfields(&result);
  for (int at = 0; at < columns; ++at) answer.rows.columns.emplace_back(PQfname(&result, at));
  const int rows = PQntuples(&result);
  answer.rows.rows.reserve(static_cast<std::size_t>(rows));
  for (int row = 0; row < rows; ++row) {
    std::vector<SqlValue>& values = answer.rows.rows.emplace_back();
    values.reserve(static_cast<std::size_t>(columns));
    for (int at = 0; at < columns; ++at) values.push_back(value_of(result, row, at));
  }
  return answer;
}

SqlResult<PgAnswer> PostgresConnection::run(const std::string& sql,
                                            const std::vector<SqlValue>& parameters,
                                            const std::optional<SteadyTime> until) {
  if (!begin_use()) {
    end_use();
    return attempt_given_up();
  }
  SqlResult<PgAnswer> answer = run_in_use(sql, parameters, until, {});
  end_use();
  return answer;
}

SqlResult<PgAnswer> PostgresConnection::commit() {
  if (!begin_use()) {
    end_use();
    return attempt_given_up();
  }
  committing_ = true;
  SqlResult<PgAnswer> answer = run_in_use("COMMIT", {}, std::nullopt, "database.commit_sent");
  committing_ = false;
  end_use();
  return answer;
}

SqlResult<PgAnswer> PostgresConnection::run_in_use(const std::string& sql,
                                                   const std::vector<SqlValue>& parameters,
                                                   const std::optional<SteadyTime> until,
                                                   const std::string_view sent) {
  if (auto failed = send(sql, parameters)) return *failed;
  if (auto failed = flush(until)) return *failed;
  if (!sent.empty()) crash_point(sent);
  return receive(sql, until);
}

}  // namespace pawl
