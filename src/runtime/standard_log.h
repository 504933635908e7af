#pragma once

#include "pawl/runtime.h"

namespace pawl {

// Where log lines go unless they are asked for: a line of text each. Any thread.
void log_to_standard_error(const LogLine& line);

}  // namespace pawl
