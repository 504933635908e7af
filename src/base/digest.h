#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace pawl {

// Stable across versions and machines (XXH3): stored, and used to place executions in partitions.
// Tells accidental differences apart; not for secrets.
std::uint64_t digest64(std::string_view bytes);
std::string digest_text(std::string_view bytes);  // 32 hexadecimal digits

}  // namespace pawl
