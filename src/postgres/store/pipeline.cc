#include "postgres/store/pipeline.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <utility>

#include "postgres/sql_state.h"
#include "postgres/store/columns.h"

namespace pawl {
namespace {

constexpr int kBinary = 1;

std::string trimmed(const char* const text) {
  std::string result = text == nullptr ? "" : text;
  while (!result.empty() && (result.back() == '\n' || result.back() == ' ')) result.pop_back();
  return result;
}

PgFailure failure_of(const PGresult* const result) {
  const auto field = [result](const int code) {
    const char* const text = PQresultErrorField(result, code);
    return std::string(text == nullptr ? "" : text);
  };
  PgFailure failure;
  failure.state = field(PG_DIAG_SQLSTATE);
  failure.message = field(PG_DIAG_MESSAGE_PRIMARY);
  if (failure.message.empty()) failure.message = trimmed(PQresultErrorMessage(result));
  const std::string detail = field(PG_DIAG_MESSAGE_DETAIL);
  if (!detail.empty()) failure.message += ". " + detail;
  return failure;
}

}  // namespace

Error error_of(const PgFailure& failure, const std::string_view doing) {
  std::string message = fmt::format("{}: {}", doing, failure.message);
  if (!failure.state.empty()) message += fmt::format(" (SQLSTATE {})", failure.state);
  return {ErrorCode::store_unavailable, std::move(message), {}};
}

// ---- parameters and rows

PgParameters& PgParameters::add_number(const std::uint64_t value, const int bytes) {
  values_.push_back({false, {}, numbers_.size(), static_cast<std::size_t>(bytes)});
  append_big_endian(numbers_, value, bytes);
  return *this;
}

PgParameters& PgParameters::add(const std::int64_t value) {
  return add_number(static_cast<std::uint64_t>(value), 8);
}

PgParameters& PgParameters::add(const std::int32_t value) {
  return add_number(static_cast<std::uint32_t>(value), 4);
}

PgParameters& PgParameters::add(const bool value) { return add_number(value ? 1 : 0, 1); }

PgParameters& PgParameters::add_time(const Timestamp value) { return add(to_pg_time(value)); }

PgParameters& PgParameters::add_text(const std::string_view value) {
  values_.push_back({false, value});
  return *this;
}

PgParameters& PgParameters::add_optional_text(const std::string_view value) {
  values_.push_back({value.empty(), value});
  return *this;
}

PgParameters& PgParameters::add_array(const std::string_view bytes) { return add_text(bytes); }

std::string_view PgRow::view(const int column) const {
  if (is_null(column)) return {};
  return {PQgetvalue(result_, row_, column),
          static_cast<std::size_t>(PQgetlength(result_, row_, column))};
}

std::int64_t PgRow::integer(const int column) const {
  const std::string_view bytes = view(column);
  if (bytes.empty()) return 0;
  return read_big_endian(bytes.data(), static_cast<int>(bytes.size()));
}

Timestamp PgRow::time(const int column) const {
  return is_null(column) ? 0 : from_pg_time(integer(column));
}

Payload PgRow::payload(const int column, const int encoding_column) const {
  return {text(column), static_cast<Encoding>(integer(encoding_column))};
}

// ---- the connection

PgPipeline::PgPipeline() : wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

PgPipeline::~PgPipeline() {
  close();
  if (wake_ >= 0) ::close(wake_);
}

void PgPipeline::close() {
  connection_.reset();
  queued_ = 0;
  refused_ = false;
}

void PgPipeline::give_up() {
  given_up_ = true;
  wake();
}

void PgPipeline::wake() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(wake_, &one, sizeof one);
}

PgFailure PgPipeline::lost(std::string why) {
  close();
  return {std::move(why), {}, true};
}

PgFailure PgPipeline::lost() {
  std::string why = connection_ == nullptr ? "" : trimmed(PQerrorMessage(connection_.get()));
  return lost(why.empty() ? "the connection is lost" : "the connection is lost: " + why);
}

PgPipeline::Waited PgPipeline::wait(const short events, const SteadyTime until) {
  std::array<pollfd, 2> watched{pollfd{PQsocket(connection_.get()), events, 0},
                                pollfd{wake_, POLLIN, 0}};
  while (!given_up_) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    const int found = ::poll(watched.data(), watched.size(),
                             static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 1 << 30)));
    if (found < 0 && errno == EINTR) continue;
    if (given_up_) break;
    if (watched[1].revents != 0) {
      std::uint64_t woken = 0;
      [[maybe_unused]] const auto read = ::read(wake_, &woken, sizeof woken);
    }
    return found == 0 ? Waited::too_late : Waited::ready;
  }
  return Waited::given_up;
}

PgOutcome<void> PgPipeline::connect_plainly(const PostgresParameters& parameters) {
  std::vector<const char*> keys;
  std::vector<const char*> values;
  for (std::size_t at = 0; at < parameters.keys.size(); ++at) {
    keys.push_back(parameters.keys[at].c_str());
    values.push_back(parameters.values[at].c_str());
  }
  keys.push_back(nullptr);
  values.push_back(nullptr);
  if (wake_ < 0) return PgFailure{"no file descriptor is left", {}, true};
  connection_.reset(PQconnectStartParams(keys.data(), values.data(), 1));
  if (connection_ == nullptr) return lost("out of memory");
  if (PQstatus(connection_.get()) == CONNECTION_BAD) {
    return lost(trimmed(PQerrorMessage(connection_.get())));
  }
  const SteadyTime until = std::chrono::steady_clock::now() + parameters.connect_max;
  for (auto state = PGRES_POLLING_WRITING; state != PGRES_POLLING_OK;
       state = PQconnectPoll(connection_.get())) {
    if (state == PGRES_POLLING_FAILED) return lost(trimmed(PQerrorMessage(connection_.get())));
    switch (wait(state == PGRES_POLLING_READING ? POLLIN : POLLOUT, until)) {
      case Waited::ready: break;
      case Waited::given_up: return lost("it is given up");
      case Waited::too_late:
        return lost(
            fmt::format("the server did not answer within {} ms", parameters.connect_max.count()));
    }
  }
  PQsetnonblocking(connection_.get(), 1);
  PQsetNoticeReceiver(connection_.get(), [](void*, const PGresult*) {}, nullptr);
  if (PQenterPipelineMode(connection_.get()) != 1) return lost();
  return {};
}

PgOutcome<void> PgPipeline::connect(const PostgresParameters& parameters,
                                    const std::vector<std::string>& settings,
                                    const std::vector<PgStatement>& statements,
                                    const std::chrono::milliseconds answer_max) {
  close();
  answer_max_ = answer_max;
  if (auto connected = connect_plainly(parameters); !connected) return connected;
  for (const std::string& setting : settings) add_sql(setting.c_str());
  return prepare(statements);
}

PgOutcome<void> PgPipeline::prepare(const std::vector<PgStatement>& statements) {
  for (const PgStatement& statement : statements) {
    ++queued_;
    if (PQsendPrepare(connection_.get(), statement.name, statement.sql, 0, nullptr) != 1) {
      refused_ = true;
    }
  }
  auto prepared = run();
  if (prepared) return {};
  PgFailure failure = prepared.error();
  close();
  failure.connection = true;
  return failure;
}

PgFailure PgPipeline::failed(const PGresult* const result) {
  PgFailure failure = failure_of(result);
  // Of a session that the server has ended, libpq may not have seen the end yet.
  const char* const severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
  const bool ended = severity != nullptr && (std::string_view(severity) == "FATAL" ||
                                             std::string_view(severity) == "PANIC");
  if (!ended && PQstatus(connection_.get()) == CONNECTION_OK) return failure;
  close();
  failure.connection = true;
  return failure;
}

PgOutcome<void> PgPipeline::run_script(const std::string& sql) {
  if (connection_ == nullptr) return PgFailure{"there is no connection", {}, true};
  if (PQexitPipelineMode(connection_.get()) != 1 ||
      PQsendQuery(connection_.get(), sql.c_str()) != 1) {
    return lost();
  }
  const SteadyTime until = std::chrono::steady_clock::now() + answer_max_;
  if (auto sent = flush(until); !sent) return sent;
  std::optional<PgFailure> failure;
  for (;;) {
    const auto result = next_result(until);
    if (!result) return result.error();
    if (*result == nullptr) break;
    const ExecStatusType status = PQresultStatus(result->get());
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || failure) continue;
    failure = failed(result->get());
    if (failure->connection) return *failure;
  }
  if (PQenterPipelineMode(connection_.get()) != 1) return lost();
  if (failure) return *failure;
  return {};
}

void PgPipeline::add(const char* const statement, const PgParameters& parameters) {
  ++queued_;
  if (connection_ == nullptr) return;
  const std::size_t count = parameters.values_.size();
  std::vector<const char*> values(count);
  std::vector<int> lengths(count);
  const std::vector<int> formats(count, kBinary);
  for (std::size_t at = 0; at < count; ++at) {
    const PgParameters::Value& value = parameters.values_[at];
    if (value.null) continue;
    const std::string_view bytes =
        value.number_bytes == 0
            ? value.bytes
            : std::string_view(parameters.numbers_).substr(value.number_at, value.number_bytes);
    values[at] = bytes.data() == nullptr ? "" : bytes.data();
    lengths[at] = static_cast<int>(bytes.size());
  }
  if (PQsendQueryPrepared(connection_.get(), statement, static_cast<int>(count), values.data(),
                          lengths.data(), formats.data(), kBinary) != 1) {
    refused_ = true;
  }
}

void PgPipeline::add_sql(const char* const sql) {
  ++queued_;
  if (connection_ == nullptr) return;
  if (PQsendQueryParams(connection_.get(), sql, 0, nullptr, nullptr, nullptr, nullptr, kBinary) !=
      1) {
    refused_ = true;
  }
}

PgOutcome<void> PgPipeline::flush(const SteadyTime until) {
  int left = 0;
  while ((left = PQflush(connection_.get())) == 1) {
    switch (wait(POLLIN | POLLOUT, until)) {
      case Waited::ready: break;
      case Waited::given_up: return lost("it is given up");
      case Waited::too_late: return lost("the server took nothing more");
    }
    // A server that answers before it has read all would wait for us for ever.
    if (PQconsumeInput(connection_.get()) != 1) return lost();
  }
  if (left != 0) return lost();
  return {};
}

PgOutcome<PgResult> PgPipeline::next_result(const SteadyTime until) {
  while (PQisBusy(connection_.get()) == 1) {
    switch (wait(POLLIN, until)) {
      case Waited::ready: break;
      case Waited::given_up: return lost("it is given up");
      case Waited::too_late:
        return lost(fmt::format("the server did not answer within {} ms", answer_max_.count()));
    }
    if (PQconsumeInput(connection_.get()) != 1) return lost();
  }
  return PgResult(PQgetResult(connection_.get()));
}

PgOutcome<std::vector<PgResult>> PgPipeline::run() {
  const std::size_t queued = std::exchange(queued_, 0);
  if (connection_ == nullptr) return PgFailure{"there is no connection", {}, true};
  if (std::exchange(refused_, false) || PQpipelineSync(connection_.get()) != 1) return lost();
  const SteadyTime until = std::chrono::steady_clock::now() + answer_max_;
  if (auto sent = flush(until); !sent) return sent.error();
  std::vector<PgResult> answers;
  answers.reserve(queued);
  std::optional<PgFailure> failure;
  // Each statement has its results and a null behind them; then comes that of the end.
  for (std::size_t ended = 0; ended <= queued;) {
    auto result = next_result(until);
    if (!result) return result.error();
    if (*result == nullptr) {
      if (PQstatus(connection_.get()) != CONNECTION_OK) return lost();
      ++ended;
      continue;
    }
    switch (PQresultStatus(result->get())) {
      case PGRES_COMMAND_OK:
      case PGRES_TUPLES_OK: answers.push_back(std::move(*result)); break;
      case PGRES_PIPELINE_SYNC: ended = queued + 1; break;
      case PGRES_PIPELINE_ABORTED: break;
      default:
        if (failure) break;
        failure = failed(result->get());
        if (failure->connection) return *failure;
    }
  }
  if (failure) return *failure;
  return answers;
}

bool PgPipeline::wait_for_notice(const std::chrono::milliseconds most) {
  if (connection_ == nullptr) return false;
  if (wait(POLLIN, std::chrono::steady_clock::now() + most) != Waited::ready) return false;
  if (PQconsumeInput(connection_.get()) != 1) {
    close();
    return false;
  }
  return true;
}

std::vector<PgNotice> PgPipeline::take_notices() {
  std::vector<PgNotice> notices;
  if (connection_ == nullptr) return notices;
  while (PGnotify* const notice = PQnotifies(connection_.get())) {
    notices.push_back({notice->relname, notice->extra});
    PQfreemem(notice);
  }
  return notices;
}

}  // namespace pawl
