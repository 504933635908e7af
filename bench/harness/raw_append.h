#pragma once

#include <cstddef>
#include <filesystem>
#include <vector>

namespace bench {

// How long each of so many blocks takes that are appended to a file there, each synced (fdatasync)
// before the next: what the disk asks for being durable, whoever asks.
std::vector<double> append_synced(const std::filesystem::path& folder, std::size_t block_bytes,
                                  std::size_t blocks);

}  // namespace bench
