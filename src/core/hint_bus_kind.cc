#include "core/hint_bus_kind.h"

#include <fmt/format.h>

#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

namespace pawl {
namespace {

struct Kinds {
  std::mutex mutex;
  std::map<std::string, HintBusKind, std::less<>> by_scheme;  // under mutex
};

// Leaked on purpose: a thread may still ask at the end of the process.
Kinds& kinds() {
  static auto* const all = new Kinds;
  return *all;
}

}  // namespace

void add_hint_bus_kind(const std::string_view scheme, HintBusKind kind) {
  const std::lock_guard lock(kinds().mutex);
  kinds().by_scheme.try_emplace(std::string(scheme), std::move(kind));
}

Result<std::unique_ptr<HintBus>> open_hint_bus(const HintBusOptions& options) {
  std::optional<HintBusKind> kind;
  std::string known;
  {
    const std::lock_guard lock(kinds().mutex);
    const std::size_t colon = options.address.find(':');
    const auto found = kinds().by_scheme.find(std::string_view(options.address).substr(0, colon));
    if (colon != std::string::npos && found != kinds().by_scheme.end()) kind = found->second;
    std::set<std::string> addresses;
    for (const auto& [scheme, one] : kinds().by_scheme) addresses.insert(one.address);
    for (const std::string& address : addresses) {
      known += known.empty() ? address : " or " + address;
    }
  }
  if (kind) return kind->open(options);
  if (known.empty()) {
    known =
        "nothing, since no part for hints is known: Redis is to be linked (pawl::redis) and made "
        "known with pawl::use_redis_hints()";
  }
  return Error{ErrorCode::invalid_argument,
               fmt::format("The address for hints can't be opened: write {}.", known),
               {}};
}

}  // namespace pawl
