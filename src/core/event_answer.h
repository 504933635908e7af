#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "pawl/error.h"
#include "pawl/runtime.h"

namespace pawl {

// What a caller was told, as it is kept in the row of the inbox: beside an idempotency key, or for who waits in
// another process.
std::string encode_answer(const EventReply& reply);
std::string encode_answer(const ControlReply& reply);
std::string encode_answer(const Error& error);

// An error that was told is the error.
Result<EventReply> decode_answer(std::string_view text);
Result<ControlReply> decode_control_answer(std::string_view text);
// None: it is no error.
std::optional<Error> error_in_answer(std::string_view text);

}  // namespace pawl
