#include "core/completion_token.h"

#include <fmt/format.h>
#include <charconv>
#include <string>

namespace pawl {

namespace {

// Takes a number and what is to stand behind it from the text. False: there is none.
template <class Number>
bool take(std::string_view& text, Number& number, const int base, const std::string_view behind) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (error != std::errc{} || end == text.data() || end == text.data() + text.size()) return false;
  if (behind.find(*end) == std::string_view::npos) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}

}  // namespace

std::string completion_token(const ActionTask& task) {
  if (task.execution == 0) return {};
  return task.idempotency_key + '@' + task.tenant;
}

Result<ActionCompletionGiven> read_completion_token(const std::string_view token) {
  ActionCompletionGiven given;
  std::string_view rest = token;
  const auto skip = [&rest] {
    const char skipped = rest.front();
    rest.remove_prefix(1);
    return skipped;
  };
  const bool read = [&] {
    if (!take(rest, given.execution, 10, ":")) return false;
    skip();
    if (!take(rest, given.position, 10, ":")) return false;
    skip();
    if (!take(rest, given.seed, 16, ":@")) return false;
    if (skip() == ':') {
      if (!take(rest, given.generation, 10, "@")) return false;
      skip();
    }
    given.tenant = rest;
    return given.execution > 0 && given.position > 0 && !rest.empty();
  }();
  if (read) return given;
  constexpr std::size_t kShown = 100;
  return Error{
      ErrorCode::invalid_argument,
      fmt::format(
          "'{}' is no token of an action: it is what the handler had as its context's token.",
          token.substr(0, kShown)),
      {}};
}

Error unknown_token() {
  return {
      ErrorCode::unknown_execution, "There is no execution that has an action of that token.", {}};
}

Error ended_before_completion(const ExecutionRecord& execution) {
  return {ErrorCode::execution_ended,
          fmt::format("Execution '{}' has ended ({}), and waits for no action.",
                      execution.execution_id, to_string(execution.status)),
          execution.execution_id};
}

Error completed_before(const ExecutionRecord& execution) {
  return {ErrorCode::wrong_status,
          fmt::format("The action of that token, of execution '{}', has an outcome already: the "
                      "first one counts.",
                      execution.execution_id),
          execution.execution_id};
}

}  // namespace pawl
