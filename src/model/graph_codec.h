#pragma once

// Graphs of actions as a history has them, in the payload of a GraphStarted record:
//   {"concurrencyMax":10,"actions":[{"id","name","parameters","options","dependsOn":[…],"group","syncPoint",
//    "onError":2,"retries":3,"compensations":[{"name","parameters","options"}]}]}
// Members that are empty or have their default are left out. The bytes of parameters stay as they are.

#include <string>
#include <string_view>

#include "pawl/error.h"
#include "pawl/host.h"

namespace pawl {

std::string encode_graph(const StartGraphCommand& graph);

// Without its position. Errors: internal, for what encode_graph() did not write.
Result<StartGraphCommand> decode_graph(std::string_view text);

}  // namespace pawl
