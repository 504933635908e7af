#include "harness/machine.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <pawl/json.h>

#include "harness/durations.h"
#include "harness/give_up.h"
#include "harness/raw_append.h"
#include "harness/report.h"
#include "harness/store_file.h"
#include "runtime/store_address.h"
#include "store/sqlite_connection.h"
#include "store/sqlite_schema.h"

namespace bench {

namespace {

constexpr std::size_t kBlockBytes = 4'096;
constexpr std::size_t kBlocks = 500;

std::string cpu_model() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

std::int64_t memory_mib() {
  return std::int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE) / (1024 * 1024);
}

// How many threads wanted to run in the last minute: figures count when nothing else does.
double load_average() {
  double load = 0;
  getloadavg(&load, 1);
  return load;
}

// Of the mount with the longest path above the folder; of several there, the last is the one that is seen.
std::string file_system(const std::filesystem::path& folder) {
  const std::string path = std::filesystem::canonical(folder).string() + "/";
  std::ifstream mounts("/proc/self/mounts");
  std::string found = "unknown";
  std::size_t longest = 0;
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string device;
    std::string place;
    std::string type;
    std::string options;
    words >> device >> place >> type >> options;
    if (place != "/") place += '/';
    if (path.starts_with(place) && place.size() >= longest) {
      longest = place.size();
      found = fmt::format("{} ({})", type, options);
    }
  }
  return found;
}

// Opened and set up by the engine's own code, as its writer is.
pawl::Json settings_of_a_store(const std::filesystem::path& folder) {
  const StoreFile store(folder / "machine.db");
  store.remove();
  store.open().close();
  const auto options = pawl::sqlite_options_of("sqlite:" + store.path().string()).value();
  pawl::Json settings = pawl::Json::object({});
  {
    auto writer =
        pawl::SqliteConnection::open(options.path, pawl::SqliteConnection::Mode::read_write,
                                     options.vfs, options.busy_ms)
            .value();
    pawl::configure_sqlite_writer(writer, options).value();
    for (const char* const name :
         {"journal_mode", "synchronous", "page_size", "cache_size", "wal_autocheckpoint",
          "journal_size_limit", "mmap_size", "temp_store", "auto_vacuum"}) {
      settings.set(name, writer.query_text(std::string("PRAGMA ") + name).value());
    }
    settings.set("sqlite", writer.query_text("SELECT sqlite_version()").value());
  }
  store.remove();
  return settings;
}

}  // namespace

void report_machine(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (!std::filesystem::is_directory(folder)) give_up("there is no folder " + folder.string());
  utsname system{};
  uname(&system);
  std::vector<double> appends = append_synced(folder, kBlockBytes, kBlocks);
  std::sort(appends.begin(), appends.end());
  print_line(pawl::Json::object({{"workload", "machine"},
                                 {"cores", std::int64_t{std::thread::hardware_concurrency()}},
                                 {"cpu", cpu_model()},
                                 {"kernel", std::string(system.sysname) + " " + system.release},
                                 {"memory_mib", memory_mib()},
                                 {"load_average", rounded(load_average())},
                                 {"folder", std::filesystem::canonical(folder).string()},
                                 {"file_system", file_system(folder)},
                                 {"settings", settings_of_a_store(folder)},
                                 {"raw_append_p50_ms", rounded(quantile(appends, 0.5))},
                                 {"raw_append_p99_ms", rounded(quantile(appends, 0.99))}}));
}

}  // namespace bench
