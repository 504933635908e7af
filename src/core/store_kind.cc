#include "core/store_kind.h"

#include <fmt/format.h>

#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

namespace pawl {
namespace {

// Leaked on purpose: a thread may still ask at the end of the process.
std::mutex& kinds_mutex() {
  static auto* const mutex = new std::mutex;
  return *mutex;
}

std::map<std::string, StoreKind, std::less<>>& kinds() {
  static auto* const all = new std::map<std::string, StoreKind, std::less<>>;
  return *all;
}

// Without the password of a user.
std::string shown(const std::string& address) {
  const std::size_t user = address.find("://");
  const std::size_t host = address.rfind('@');
  if (user == std::string::npos || host == std::string::npos || host < user) return address;
  return address.substr(0, user + 3) + "…" + address.substr(host);
}

}  // namespace

void add_store_kind(const std::string_view scheme, StoreKind kind) {
  const std::lock_guard lock(kinds_mutex());
  kinds().try_emplace(std::string(scheme), std::move(kind));
}

Result<OpenedStore> open_store(const RuntimeOptions& options) {
  std::optional<StoreKind> kind;
  std::string known;
  {
    const std::lock_guard lock(kinds_mutex());
    const std::size_t colon = options.store.find(':');
    const auto found = kinds().find(std::string_view(options.store).substr(0, colon));
    if (colon != std::string::npos && found != kinds().end()) kind = found->second;
    std::set<std::string> addresses;
    for (const auto& [scheme, one] : kinds()) addresses.insert(one.address);
    for (const std::string& address : addresses) {
      known += known.empty() ? address : " or " + address;
    }
  }
  if (kind) return kind->open(options);
  const bool postgres = options.store.starts_with("postgres");
  return Error{
      ErrorCode::invalid_argument,
      fmt::format("The store '{}' can't be opened: write {}.{}", shown(options.store), known,
                  postgres ? " PostgreSQL is a part that is to be linked (pawl::postgres) and "
                             "made known with pawl::use_postgres_stores()."
                           : ""),
      shown(options.store)};
}

}  // namespace pawl
