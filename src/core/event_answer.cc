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

Result<EventReply> decode_answer(const std::string_view text) {
  const auto unreadable = [&] {
    return Error{ErrorCode::internal,
                 "the recorded answer to an event can't be read: " + std::string(text),
                 {}};
  };
  boost::system::error_code failure;
  const json::value value = json::parse(json::string_view(text.data(), text.size()), failure);
  if (failure || !value.is_object()) return unreadable();
  EventReply reply;
  const json::object& object = value.get_object();
  const auto text_of = [&](const char* const key, std::string& field) {
    const json::value* const member = object.if_contains(key);
    if (member == nullptr || !member->is_string()) return false;
    field.assign(member->get_string().data(), member->get_string().size());
    return true;
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
  if (!complete) return unreadable();
  return reply;
}

}  // namespace pawl
