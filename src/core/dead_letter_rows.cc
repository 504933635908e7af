#include "core/dead_letter_rows.h"

#include <fmt/format.h>

#include <charconv>
#include <utility>

#include "model/limit_checks.h"

namespace pawl {
namespace {

Error invalid(std::string message, std::string subject = {}) {
  return {ErrorCode::invalid_argument, std::move(message), std::move(subject)};
}

bool parse_id(const std::string& text, InboxId& id) {
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, id);
  return parsed.ec == std::errc{} && parsed.ptr == end && id > 0;
}

}  // namespace

Error no_dead_letter(const std::string_view tenant, const InboxId id) {
  return invalid(fmt::format("There is no dead letter {} in tenant '{}'. A list of them gives "
                             "their ids.",
                             id, tenant),
                 std::to_string(id));
}

Error not_dead(const InboxId id, const std::string_view status, const bool dropped) {
  std::string why = "it waits in the inbox to be delivered";
  if (status == to_string(InboxStatus::completed)) why = "it was delivered";
  if (dropped) why = "it was dropped, and its payload with it";
  return Error{ErrorCode::wrong_status, fmt::format("{} is no dead letter: {}.", id, why),
               std::to_string(id)};
}

Error sent_again(const InboxId id, const std::string_view idempotency_key) {
  return Error{ErrorCode::wrong_status,
               fmt::format("Dead letter {} can't be retried: what was sent once more under its "
                           "idempotency key '{}' is in the inbox. Drop it.",
                           id, idempotency_key),
               std::to_string(id)};
}

Result<DeadLetterSearch> dead_letter_search_of(const DeadLetterQuery& query, const Limits& limits) {
  if (auto error = check_text("tenant", query.tenant, limits)) return std::move(*error);
  if (auto error = check_text("execution id", query.execution_id, limits, true)) {
    return std::move(*error);
  }
  if (query.limit < 1 || query.limit > kDeadLettersMax) {
    return invalid(
        fmt::format("The limit {} is not between 1 and {}.", query.limit, kDeadLettersMax));
  }
  DeadLetterSearch search{query.tenant, query.execution_id, 0, query.limit};
  if (!query.cursor.empty() && !parse_id(query.cursor, search.after)) {
    return invalid("The cursor is not one that a page gave.");
  }
  return search;
}

Result<InboxId> dead_letter_id_of(const DeadLetterRequest& request, const Limits& limits) {
  if (auto error = check_text("tenant", request.tenant, limits)) return std::move(*error);
  InboxId id = 0;
  if (parse_id(request.id, id)) return id;
  return invalid(fmt::format("'{}' is no id of a dead letter: they are numbers, as a list of them "
                             "gives them.",
                             request.id.substr(0, limits.name_bytes_max)),
                 request.id);
}

DeadLetterPage dead_letter_page_of(DeadLetterRows::Page page) {
  DeadLetterPage given;
  if (page.more && !page.letters.empty()) given.cursor = page.letters.back().id;
  given.letters = std::move(page.letters);
  return given;
}

}  // namespace pawl
