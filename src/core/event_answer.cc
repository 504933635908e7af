#include "core/event_answer.h"

#include <boost/json.hpp>

namespace pawl {

namespace json = boost::json;

std::string encode_answer(const EventReply& reply) {
  return json::serialize(json::object{{"executionId", reply.execution_id},
                                      {"eventId", reply.event_id},
                                      {"currentState", reply.current_state},
                                      {"status", reply.status},
                                      {"isComplete", reply.is_complete},
                                      {"consumed", reply.consumed}});
}

std::string encode_answer(const ControlReply& reply) {
  return json::serialize(json::object{{"executionId", reply.execution_id},
                                      {"status", reply.status},
                                      {"currentState", reply.current_state}});
}

std::string encode_answer(const Error& error) {
  return json::serialize(json::object{{"error", json::object{{"code", static_cast<int>(error.code)},
                                                             {"name", to_string(error.code)},
                                                             {"message", error.message},
                                                             {"subject", error.subject}}}});
}

namespace {

Error unreadable_answer(const std::string_view text) {
  return {ErrorCode::internal, "a recorded answer can't be read: " + std::string(text), {}};
}

std::optional<json::object> object_of(const std::string_view text) {
  boost::system::error_code failure;
  json::value value = json::parse(json::string_view(text.data(), text.size()), failure);
  if (failure || !value.is_object()) return std::nullopt;
  return std::move(value.get_object());
}

bool take_text(const json::object& object, const char* const key, std::string& field) {
  const json::value* const member = object.if_contains(key);
  if (member == nullptr || !member->is_string()) return false;
  field.assign(member->get_string().data(), member->get_string().size());
  return true;
}

}  // namespace

std::optional<Error> error_in_answer(const std::string_view text) {
  const auto object = object_of(text);
  if (!object) return std::nullopt;
  const json::value* const member = object->if_contains("error");
  if (member == nullptr || !member->is_object()) return std::nullopt;
  const json::object& told = member->get_object();
  Error error;
  const json::value* const code = told.if_contains("code");
  if (code == nullptr || !code->is_int64() || !take_text(told, "message", error.message)) {
    return unreadable_answer(text);
  }
  error.code = static_cast<ErrorCode>(code->get_int64());
  take_text(told, "subject", error.subject);
  return error;
}

Result<ControlReply> decode_control_answer(const std::string_view text) {
  if (auto error = error_in_answer(text)) return std::move(*error);
  const auto object = object_of(text);
  ControlReply reply;
  if (!object || !take_text(*object, "executionId", reply.execution_id) ||
      !take_text(*object, "status", reply.status) ||
      !take_text(*object, "currentState", reply.current_state)) {
    return unreadable_answer(text);
  }
  return reply;
}

Result<EventReply> decode_answer(const std::string_view text) {
  if (auto error = error_in_answer(text)) return std::move(*error);
  const auto parsed = object_of(text);
  if (!parsed) return unreadable_answer(text);
  EventReply reply;
  const json::object& object = *parsed;
  const auto text_of = [&](const char* const key, std::string& field) {
    return take_text(object, key, field);
  };
  const auto flag_of = [&](const char* const key, bool& field) {
    const json::value* const member = object.if_contains(key);
    if (member == nullptr || !member->is_bool()) return false;
    field = member->get_bool();
    return true;
  };
  const bool complete =
      text_of("executionId", reply.execution_id) && text_of("eventId", reply.event_id) &&
      text_of("currentState", reply.current_state) && text_of("status", reply.status) &&
      flag_of("isComplete", reply.is_complete) && flag_of("consumed", reply.consumed);
  if (!complete) return unreadable_answer(text);
  return reply;
}

}  // namespace pawl
