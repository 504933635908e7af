#pragma once

// Reading the arguments of a call from JavaScript, which has checked them.

#include <cstddef>
#include <cstdint>
#include <string>

#include <napi.h>

#include <pawl/runtime.h>

namespace pawl::node {

std::string text_of(const Napi::CallbackInfo& info, std::size_t index);
std::int64_t integer_of(const Napi::CallbackInfo& info, std::size_t index);
// From that argument on: workflow, tenant, input, version, executionId, userId, correlationId,
// idempotencyKey, startAt, deadline
StartRequest start_of(const Napi::CallbackInfo& info, std::size_t first);
// tenant, executionId, name, payload, userId, idempotencyKey
EventRequest event_of(const Napi::CallbackInfo& info, std::size_t first);
CompleteActionRequest completion_of(const Napi::CallbackInfo& info, std::size_t first);
// tenant, workflow, status, cursor, limit
ListQuery list_query_of(const Napi::CallbackInfo& info, std::size_t first);

// tenant, executionId, cursor, limit
DeadLetterQuery dead_letter_query_of(const Napi::CallbackInfo& info, std::size_t first);

}  // namespace pawl::node
