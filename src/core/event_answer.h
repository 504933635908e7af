#pragma once

#include <string>
#include <string_view>

#include "pawl/error.h"
#include "pawl/runtime.h"

namespace pawl {

// What a caller was told about an event, as it is kept beside an idempotency key.
std::string encode_answer(const EventReply& reply);
Result<EventReply> decode_answer(std::string_view text);

}  // namespace pawl
