#pragma once

// Where the file of a store really is, and whose it is.

#include <string>
#include <string_view>
#include <utility>

#include "pawl/error.h"

namespace pawl {

// The one name of the file, whatever links and relative parts it was given with; the file itself need
// not exist. Errors: invalid_argument (empty, ":memory:"), store_unavailable (no such folder),
// store_invalid (a folder, a device, a file with several hard links: SQLite's log beside the file
// goes by name, so two names would be two logs).
Result<std::string> resolve_store_path(std::string_view path);

// Makes the names in the store's folder durable: the file's, its log's.
// Errors: store_unavailable.
Result<void> sync_store_folder(const std::string& path);

// The right to run an engine on a store: an operating system's lock on the file "<path>-lock", which
// ends with the process that holds it, however it ends. It keeps other engines out, also of the same
// process, and no readers. The lock file stays behind; without the lock it means nothing.
class StoreLock {
 public:
  // Errors: store_in_use, which names the process that has it; store_unavailable.
  static Result<StoreLock> acquire(const std::string& path);

  ~StoreLock();
  StoreLock(StoreLock&& other) noexcept : descriptor_{std::exchange(other.descriptor_, -1)} {}
  StoreLock& operator=(StoreLock&&) = delete;

 private:
  explicit StoreLock(int descriptor) : descriptor_{descriptor} {}

  int descriptor_ = -1;
};

}  // namespace pawl
