#include "runtime/store_address.h"

#include <fmt/format.h>

#include <string_view>

namespace pawl {
namespace {

// What is no file may have a password in it.
std::string shown(const std::string& address) {
  const std::size_t scheme = address.find("://");
  return scheme == std::string::npos ? address : address.substr(0, scheme) + "://…";
}

}  // namespace

Result<SqliteStoreOptions> sqlite_options_of(const std::string& address) {
  constexpr std::string_view kSqliteScheme = "sqlite:";
  if (!address.starts_with(kSqliteScheme)) {
    return Error{ErrorCode::invalid_argument,
                 fmt::format("The store '{}' can't be opened: write sqlite:FILE.", shown(address)),
                 shown(address)};
  }
  SqliteStoreOptions options;
  options.path = address.substr(kSqliteScheme.size());
  return options;
}

}  // namespace pawl
