#include "redis/redis_keys.h"

#include <fmt/format.h>

namespace pawl {
namespace {

std::string plain(const std::string_view name) {
  std::string text;
  for (const char byte : name) {
    const bool kept = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                      (byte >= '0' && byte <= '9') || byte == '_' || byte == '-' || byte == '.';
    text += kept ? std::string(1, byte) : fmt::format("%{:02X}", static_cast<unsigned char>(byte));
  }
  return text;
}

}  // namespace

// Empty braces would decide nothing.
RedisKeys::RedisKeys(const std::string_view prefix, const std::string_view store)
    : base_(fmt::format("{}:{{{}}}:", plain(prefix), store.empty() ? "%" : plain(store))) {}

}  // namespace pawl
