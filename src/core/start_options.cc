#include "core/start_options.h"

#include <fmt/format.h>

#include "base/digest.h"

namespace pawl {

std::string keyed_execution_id(const std::string_view tenant, const std::string_view workflow,
                               const std::string_view idempotency_key) {
  // None of them has a NUL.
  std::string text = "start";
  for (const std::string_view part : {tenant, workflow, idempotency_key}) {
    text.push_back('\0');
    text += part;
  }
  std::string id = digest_text(text);
  id[12] = '8';
  constexpr std::string_view kVariants = "89ab";
  const char digit = id[16];
  const int value = digit <= '9' ? digit - '0' : digit - 'a' + 10;
  id[16] = kVariants[static_cast<std::size_t>(value % 4)];
  for (const std::size_t at : {20, 16, 12, 8}) id.insert(at, 1, '-');
  return id;
}

std::string derived_child_id(const std::string_view parent, const Position position,
                             const int generation) {
  std::string id = fmt::format("{}/{}", parent, position);
  if (generation > 0) id += fmt::format(":{}", generation);
  return id;
}

std::string start_digest(const StartRequest& start) {
  std::string text = start.workflow;
  text.push_back('\0');
  text += start.version;
  text.push_back('\0');
  text += start.input.bytes;
  return digest_text(text);
}

Error start_clash(const StartRequest& start) {
  return Error{ErrorCode::already_exists,
               start.idempotency_key.empty()
                   ? fmt::format("Execution '{}' exists with another workflow, version or input. "
                                 "Start under another id, or leave the id out to get a new one.",
                                 start.execution_id)
                   : fmt::format("Idempotency key '{}' was given with another version or input "
                                 "before, for execution '{}'. Give another start another key.",
                                 start.idempotency_key, start.execution_id),
               start.execution_id};
}

std::string fork_digest(const ForkRequest& fork) {
  return digest_text(fmt::format("fork\n{}\n{}", fork.execution_id, fork.at_sequence.value_or(0)));
}

Error fork_clash(const ForkRequest& fork) {
  return Error{ErrorCode::already_exists,
               fmt::format("Execution '{}' exists, and is not that fork. Fork under another id, or "
                           "leave it out to get a new one.",
                           fork.fork_id),
               fork.fork_id};
}

}  // namespace pawl
