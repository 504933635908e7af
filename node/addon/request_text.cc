#include "request_text.h"

#include <optional>

#include "flat_reader.h"

namespace pawl::node {

std::string text_of(const Napi::CallbackInfo& info, const std::size_t index) {
  return to_utf8(info.Env(), info[index]);
}

std::int64_t integer_of(const Napi::CallbackInfo& info, const std::size_t index) {
  return info[index].As<Napi::Number>().Int64Value();
}

namespace {

// '' where there is none, else milliseconds as text, which JavaScript has checked.
std::optional<Timestamp> optional_time(const Napi::CallbackInfo& info, const std::size_t index) {
  const std::string text = text_of(info, index);
  if (text.empty()) return std::nullopt;
  return std::stoll(text);
}

}  // namespace

StartRequest start_of(const Napi::CallbackInfo& info, const std::size_t first) {
  StartRequest request;
  request.workflow = text_of(info, first);
  request.tenant = text_of(info, first + 1);
  request.input = Payload::json(text_of(info, first + 2));
  request.version = text_of(info, first + 3);
  request.execution_id = text_of(info, first + 4);
  request.user_id = text_of(info, first + 5);
  request.correlation_id = text_of(info, first + 6);
  request.idempotency_key = text_of(info, first + 7);
  request.start_at = optional_time(info, first + 8);
  request.deadline = optional_time(info, first + 9);
  return request;
}

EventRequest event_of(const Napi::CallbackInfo& info, const std::size_t first) {
  EventRequest request;
  request.tenant = text_of(info, first);
  request.execution_id = text_of(info, first + 1);
  request.name = text_of(info, first + 2);
  request.payload = Payload::json(text_of(info, first + 3));
  request.user_id = text_of(info, first + 4);
  request.idempotency_key = text_of(info, first + 5);
  return request;
}

ListQuery list_query_of(const Napi::CallbackInfo& info, const std::size_t first) {
  ListQuery query;
  query.tenant = text_of(info, first);
  query.workflow = text_of(info, first + 1);
  query.status = text_of(info, first + 2);
  query.cursor = text_of(info, first + 3);
  query.limit = static_cast<int>(integer_of(info, first + 4));
  return query;
}

DeadLetterQuery dead_letter_query_of(const Napi::CallbackInfo& info, const std::size_t first) {
  DeadLetterQuery query;
  query.tenant = text_of(info, first);
  query.execution_id = text_of(info, first + 1);
  query.cursor = text_of(info, first + 2);
  query.limit = static_cast<int>(integer_of(info, first + 3));
  return query;
}

CompleteActionRequest completion_of(const Napi::CallbackInfo& info, const std::size_t first) {
  CompleteActionRequest request;
  request.token = text_of(info, first);
  FlatReader reader(info.Env(), info[first + 1]);
  if (reader.integer() != 0) {
    request.outcome = reader.payload();
  } else {
    request.outcome = reader.failure();
  }
  return request;
}

}  // namespace pawl::node
