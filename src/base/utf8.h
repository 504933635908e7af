#pragma once

#include <cstddef>
#include <string_view>

namespace pawl {

// The offset of the first byte that does not belong to well-formed UTF-8 (Unicode 15, table 3-7: no
// surrogates, no overlong forms, nothing above U+10FFFF), or npos.
std::size_t find_invalid_utf8(std::string_view text);

}  // namespace pawl
