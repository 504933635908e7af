#pragma once

#include <source_location>

#include "pawl/host.h"

namespace pawl {

// What is recorded of a place in the source. Any thread. What it gives lives as long as the process; as
// many as the program has places that ask for something.
CallSite call_site(std::source_location place);

}  // namespace pawl
