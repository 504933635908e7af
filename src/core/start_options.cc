#include "core/start_options.h"

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

}  // namespace pawl
