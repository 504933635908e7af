#include "base/digest.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <fmt/format.h>

namespace pawl {

std::uint64_t digest64(const std::string_view bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

std::string digest_text(const std::string_view bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

}  // namespace pawl
