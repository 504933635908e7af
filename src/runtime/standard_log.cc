#include "runtime/standard_log.h"

#include <fmt/format.h>

#include <cstdio>
#include <string>

namespace pawl {

void log_to_standard_error(const LogLine& line) {
  constexpr const char* kNames[] = {"debug", "info", "warn", "error"};
  std::string text = fmt::format("pawl {}", kNames[static_cast<std::size_t>(line.level)]);
  if (!line.execution_id.empty()) {
    text += fmt::format(" [{}{}{}]", line.workflow, line.workflow.empty() ? "" : " ",
                        line.execution_id);
  }
  text += fmt::format(" {}", line.message);
  if (!line.details.is_none()) text += fmt::format(" {}", line.details.bytes);
  fmt::print(stderr, "{}\n", text);
}

}  // namespace pawl
