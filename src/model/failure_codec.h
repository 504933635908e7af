#pragma once

#include <string>
#include <string_view>

#include "pawl/error.h"

namespace pawl {

// Failures as they are recorded and cross languages:
//   {"name","message","stack","code","details","causes":[…],"class":"transient"}
// Members that are empty are left out; name, message and class never are.

// Always gives JSON text. Bytes that are not UTF-8 become '?', details that are not JSON (or nested
// too deeply) a string, and causes nested deeper than 16 are left out: a failure must not be lost
// over its decoration.
std::string encode_failure(const Failure& failure);

// Reads any text. What is missing has its default and what has another type is ignored; text that
// is not a JSON object becomes the message of an Error. Causes nested deeper than 16 are left out.
Failure decode_failure(std::string_view text);

}  // namespace pawl
