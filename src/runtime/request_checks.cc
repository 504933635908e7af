#include "runtime/request_checks.h"

#include <fmt/format.h>

#include <charconv>
#include <utility>

#include "base/utf8.h"
#include "core/time_travel.h"
#include "model/limit_checks.h"

namespace pawl {
namespace {

constexpr int kListLimitMax = 1'000;

Error invalid(std::string message) { return {ErrorCode::invalid_argument, std::move(message), {}}; }

}  // namespace

std::optional<Error> check_start(const StartRequest& request, const Limits& limits) {
  std::optional<Error> error = check_text("workflow name", request.workflow, limits);
  if (!error) error = check_text("tenant", request.tenant, limits);
  if (!error) error = check_text("execution id", request.execution_id, limits, true);
  if (!error) error = check_text("version", request.version, limits, true);
  if (!error) error = check_text("user id", request.user_id, limits, true);
  if (!error) error = check_text("correlation id", request.correlation_id, limits, true);
  if (!error) error = check_text("idempotency key", request.idempotency_key, limits, true);
  if (!error) error = check_payload("input", request.input, limits);
  if (!error && !request.idempotency_key.empty() && !request.execution_id.empty()) {
    error = invalid(
        "A start takes an execution id or an idempotency key, not both: under one execution id "
        "there is one execution too.");
  }
  if (!error && request.start_at && request.deadline && *request.deadline <= *request.start_at) {
    error = invalid(
        "The deadline is not later than the start (start_at): the workflow could never run.");
  }
  return error;
}

std::optional<Error> check_event(const EventRequest& request, const Limits& limits) {
  std::optional<Error> error = check_text("tenant", request.tenant, limits);
  if (!error) error = check_text("execution id", request.execution_id, limits);
  if (!error) error = check_text("event name", request.name, limits);
  if (!error) error = check_text("user id", request.user_id, limits, true);
  if (!error) error = check_text("idempotency key", request.idempotency_key, limits, true);
  if (error) return error;
  return check_payload(fmt::format("payload of event '{}'", request.name), request.payload, limits);
}

std::optional<Error> check_operator(const std::string& tenant, const std::string& execution_id,
                                    const std::string& by, const std::string& reason,
                                    const Limits& limits) {
  constexpr std::size_t kReasonBytesMax = 4'096;
  std::optional<Error> error = check_text("tenant", tenant, limits);
  if (!error) error = check_text("execution id", execution_id, limits);
  if (!error) error = check_text("name of who asks", by, limits, true);
  if (!error && reason.size() > kReasonBytesMax) {
    error = invalid(fmt::format("The reason has {} bytes; at most {} are kept.", reason.size(),
                                kReasonBytesMax));
  }
  if (!error && find_invalid_utf8(reason) != std::string_view::npos) {
    error = invalid("The reason has bytes that are no text (UTF-8).");
  }
  return error;
}

Result<ExecutionQuery> list_query_of(const ListQuery& query, const Limits& limits) {
  if (auto error = check_text("tenant", query.tenant, limits)) return std::move(*error);
  ExecutionQuery wanted;
  wanted.tenant = query.tenant;
  wanted.workflow = query.workflow;
  if (!query.status.empty()) {
    wanted.status = execution_status_from(query.status);
    if (!wanted.status) {
      return invalid(
          fmt::format("There is no status '{}'. It is one of running, paused, stuck, "
                      "completed, failed, cancelled, terminated.",
                      query.status));
    }
  }
  if (query.limit < 1 || query.limit > kListLimitMax) {
    return invalid(
        fmt::format("The limit {} is not between 1 and {}.", query.limit, kListLimitMax));
  }
  wanted.limit = query.limit;
  if (!query.cursor.empty()) {
    const char* const end = query.cursor.data() + query.cursor.size();
    const auto parsed = std::from_chars(query.cursor.data(), end, wanted.before);
    if (parsed.ec != std::errc{} || parsed.ptr != end || wanted.before < 1) {
      return invalid("The cursor is not one that a page gave.");
    }
  }
  return wanted;
}

ListPage list_page_of(const std::vector<ExecutionRecord>& records, const ExecutionQuery& query) {
  ListPage page;
  for (const ExecutionRecord& record : records) page.executions.push_back(describe(record));
  if (static_cast<int>(records.size()) == query.limit) {
    page.cursor = std::to_string(records.back().ref);
  }
  return page;
}

}  // namespace pawl
