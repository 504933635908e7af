#pragma once

#include <string>

namespace bench {

// A benchmark that cannot go on says why and ends the process: a figure is right, or there is none.
[[noreturn]] void give_up(const std::string& why);

}  // namespace bench
