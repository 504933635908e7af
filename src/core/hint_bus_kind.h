#pragma once

// Kinds of buses for hints, by how their addresses begin ("redis:"). Each needs a library of its own, and so is a
// part that programs link, and add before they open a bus.

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/hint_bus.h"
#include "pawl/error.h"

namespace pawl {

struct HintBusOptions {
  std::string address;
  std::string store;   // whose hints: several stores may share a server
  std::string worker;  // this process, by a name that is new at each start
};

struct HintBusKind {
  std::string address;  // as people are told to write it: "redis://HOST"
  // Connects to nothing yet: a server that is away is no error. Errors: invalid_argument.
  std::function<Result<std::unique_ptr<HintBus>>(const HintBusOptions& options)> open;
};

// Any thread. Again, under the same scheme: the first one stays.
void add_hint_bus_kind(std::string_view scheme, HintBusKind kind);

// By its address. Errors: invalid_argument where no kind has it; those of the kind. None has the address itself,
// which may have a password in it.
Result<std::unique_ptr<HintBus>> open_hint_bus(const HintBusOptions& options);

}  // namespace pawl
