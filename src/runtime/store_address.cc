#include "runtime/store_address.h"

#include <fmt/format.h>

#include <string_view>

namespace pawl {

Result<SqliteStoreOptions> sqlite_options_of(const std::string& address) {
  constexpr std::string_view kSqliteScheme = "sqlite:";
  if (!address.starts_with(kSqliteScheme)) {
    return Error{ErrorCode::invalid_argument,
                 fmt::format("The store '{}' can't be opened: write sqlite:FILE.", address),
                 address};
  }
  SqliteStoreOptions options;
  options.path = address.substr(kSqliteScheme.size());
  return options;
}

}  // namespace pawl
