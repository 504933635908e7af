#include "core/lent_work.h"

namespace pawl {

bool ends_code(const ActivationResult& result) {
  if (result.violation) return true;
  if (result.commands.empty()) return false;
  const Command& last = result.commands.back();
  return std::holds_alternative<CompleteCommand>(last) ||
         std::holds_alternative<FailCommand>(last) || std::holds_alternative<CancelCommand>(last);
}

}  // namespace pawl
