#include "base/random.h"

#include <array>
#include <random>

namespace pawl {

std::uint64_t random_bits() {
  thread_local std::mt19937_64 generator = [] {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device(),
                       device(), device(), device(), device()};
    return std::mt19937_64{seed};
  }();
  return generator();
}

std::string uuid_v7(const Timestamp now, const std::uint64_t random_high,
                    const std::uint64_t random_low) {
  constexpr std::uint64_t kVersion = 0x7ULL << 12;
  constexpr std::uint64_t kVariant = 0x2ULL << 62;
  const std::array<std::uint64_t, 2> words{
      (static_cast<std::uint64_t>(now) << 16) | kVersion | (random_high & 0x0fffULL),
      kVariant | (random_low & 0x3fffffffffffffffULL)};
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(36);
  for (int nibble = 0; nibble < 32; ++nibble) {
    if (nibble == 8 || nibble == 12 || nibble == 16 || nibble == 20) text.push_back('-');
    const auto word = words[static_cast<std::size_t>(nibble / 16)];
    text.push_back(kDigits[(word >> (60 - 4 * (nibble % 16))) & 0xfU]);
  }
  return text;
}

}  // namespace pawl
