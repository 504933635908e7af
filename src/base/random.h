#pragma once

#include <cstdint>
#include <string>

#include "pawl/time.h"

namespace pawl {

// Spreads one 64-bit value over all others: the step of the SplitMix64 generator (Steele, Lea, Flood,
// "Fast splittable pseudorandom number generators", 2014).
constexpr std::uint64_t mix_bits(std::uint64_t value) {
  value += 0x9e3779b97f4a7c15ULL;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ULL;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebULL;
  return value ^ (value >> 31);
}

// 64 bits of the system's randomness, from a generator of this thread's own.
std::uint64_t random_bits();

// An identifier that sorts by time (RFC 9562, version 7), in its 36-character form.
std::string uuid_v7(Timestamp now, std::uint64_t random_high, std::uint64_t random_low);

}  // namespace pawl
