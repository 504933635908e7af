#pragma once

#include <filesystem>

namespace bench {

// Prints a line of what figures depend on: the machine, the file system of the folder, how its disk
// syncs, and what the settings of a store in it are, as read back from SQLite.
void report_machine(const std::filesystem::path& folder);

}  // namespace bench
