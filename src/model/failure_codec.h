#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "pawl/error.h"

namespace pawl {

// Failures as they are recorded and cross languages:
//   {"name","message","stack","code","details","causes":[…],"class":"transient"}
// Members that are empty are left out; name, message and class never are.

// What is kept of a failure, in bytes of UTF-8. A text that is longer is cut between characters and
// ends in "… (N bytes)", N being what it had.
inline constexpr std::size_t kFailureNameBytesMax = 1'024;  // the code, too
inline constexpr std::size_t kFailureMessageBytesMax = 16 * 1024;
inline constexpr std::size_t kFailureStackBytesMax = 32 * 1024;
inline constexpr std::size_t kFailureDetailsBytesMax =
    64 * 1024;  // as JSON; longer: the begin, as text
// With all its causes; of those that go beyond, the texts and then the causes are left out.
inline constexpr std::size_t kFailureBytesMax = 256 * 1024;

// Always gives JSON text. Bytes that are not UTF-8 become '?', details that are not JSON (or nested
// too deeply) a string, and causes nested deeper than 16 are left out: a failure must not be lost
// over its decoration.
std::string encode_failure(const Failure& failure);

// Reads any text. What is missing has its default and what has another type is ignored; text that
// is not a JSON object becomes the message of an Error. Causes nested deeper than 16 are left out.
Failure decode_failure(std::string_view text);

// What is left of it once it has been recorded and read. Code is only ever given that, so that it
// sees the same now and on replay. The same again changes nothing.
Failure as_recorded(const Failure& failure);

}  // namespace pawl
