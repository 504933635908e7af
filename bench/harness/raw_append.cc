#include "harness/raw_append.h"

#include <fcntl.h>
#include <unistd.h>

#include <string>

#include "harness/durations.h"
#include "harness/give_up.h"

namespace bench {

std::vector<double> append_synced(const std::filesystem::path& folder,
                                  const std::size_t block_bytes, const std::size_t blocks) {
  const std::filesystem::path file = folder / "raw-append";
  const int descriptor = open(file.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
  if (descriptor < 0) give_up("can't write " + file.string());
  const std::string bytes(block_bytes, 'x');
  std::vector<double> latencies_ms;
  latencies_ms.reserve(blocks);
  for (std::size_t i = 0; i < blocks; ++i) {
    latencies_ms.push_back(milliseconds([&] {
      if (write(descriptor, bytes.data(), block_bytes) != static_cast<ssize_t>(block_bytes) ||
          fdatasync(descriptor) != 0) {
        give_up("can't write " + file.string());
      }
    }));
  }
  close(descriptor);
  std::filesystem::remove(file);
  return latencies_ms;
}

}  // namespace bench
