#include "client_object.h"

#include <optional>
#include <utility>

#include "async_call.h"
#include "json_text.h"
#include "request_text.h"

namespace pawl::node {

// Filled once, by the call that opens, before any other is made.
struct ClientObject::Slot {
  std::optional<Client> client;
};

namespace {

template <class T, class Append>
std::string answer_text(const Result<T>& result, Append append) {
  if (!result) return refusal_text(result.error());
  std::string text = "[0,";
  append(text, *result);
  text += ']';
  return text;
}

}  // namespace

Napi::Function ClientObject::define(Napi::Env env) {
  return DefineClass(
      env, "Client",
      {InstanceMethod("open", &ClientObject::open), InstanceMethod("start", &ClientObject::start),
       InstanceMethod("enqueue", &ClientObject::enqueue),
       InstanceMethod("control", &ClientObject::control),
       InstanceMethod("completeAction", &ClientObject::complete),
       InstanceMethod("state", &ClientObject::state),
       InstanceMethod("history", &ClientObject::history),
       InstanceMethod("list", &ClientObject::list),
       InstanceMethod("listDeadLetters", &ClientObject::list_dead_letters),
       InstanceMethod("changeDeadLetter", &ClientObject::change_dead_letter),
       InstanceMethod("close", &ClientObject::close)});
}

ClientObject::ClientObject(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<ClientObject>(info), slot_(std::make_shared<Slot>()) {}

Napi::Value ClientObject::open(const Napi::CallbackInfo& info) {
  return call_async(info.Env(), [slot = slot_, store = text_of(info, 0)] {
    auto client = Client::open(store);
    if (!client) return refusal_text(client.error());
    slot->client.emplace(std::move(*client));
    return std::string("[0,null]");
  });
}

Napi::Value ClientObject::call(const Napi::CallbackInfo& info,
                               std::function<std::string(Client&)> work) {
  return call_async(info.Env(),
                    [slot = slot_, work = std::move(work)] { return work(*slot->client); });
}

Napi::Value ClientObject::start(const Napi::CallbackInfo& info) {
  return call(info, [request = start_of(info, 0)](Client& client) {
    return answer_text(client.start_workflow(request), append_string);
  });
}

Napi::Value ClientObject::enqueue(const Napi::CallbackInfo& info) {
  return call(info, [request = event_of(info, 0)](Client& client) {
    return answer_text(client.enqueue_event(request), append_enqueue_reply);
  });
}

Napi::Value ClientObject::control(const Napi::CallbackInfo& info) {
  const bool cancel = integer_of(info, 0) == 0;
  ControlRequest request{text_of(info, 1), text_of(info, 2), text_of(info, 3), text_of(info, 4)};
  return call(info, [cancel, request = std::move(request)](Client& client) {
    return answer_text(
        cancel ? client.cancel_workflow(request) : client.terminate_workflow(request),
        append_control_reply);
  });
}

Napi::Value ClientObject::complete(const Napi::CallbackInfo& info) {
  return call(info, [request = completion_of(info, 0)](Client& client) {
    return answer_text(client.complete_action(request), append_control_reply);
  });
}

Napi::Value ClientObject::state(const Napi::CallbackInfo& info) {
  const auto at = integer_of(info, 2);
  return call(info, [tenant = text_of(info, 0), id = text_of(info, 1), at](Client& client) {
    return answer_text(client.get_execution_state(
                           id, tenant, at < 0 ? std::nullopt : std::optional<std::int64_t>(at)),
                       append_state);
  });
}

Napi::Value ClientObject::history(const Napi::CallbackInfo& info) {
  return call(info, [tenant = text_of(info, 0), id = text_of(info, 1)](Client& client) {
    return answer_text(client.get_history(id, tenant), append_history);
  });
}

Napi::Value ClientObject::list(const Napi::CallbackInfo& info) {
  return call(info, [query = list_query_of(info, 0)](Client& client) {
    return answer_text(client.list_executions(query), append_list_page);
  });
}

Napi::Value ClientObject::list_dead_letters(const Napi::CallbackInfo& info) {
  return call(info, [query = dead_letter_query_of(info, 0)](Client& client) {
    return answer_text(client.list_dead_letters(query), append_dead_letter_page);
  });
}

Napi::Value ClientObject::change_dead_letter(const Napi::CallbackInfo& info) {
  const bool retry = integer_of(info, 0) == 0;
  DeadLetterRequest request{text_of(info, 1), text_of(info, 2)};
  return call(info, [retry, request = std::move(request)](Client& client) {
    return answer_text(retry ? client.retry_dead_letter(request) : client.drop_dead_letter(request),
                       append_dead_letter);
  });
}

Napi::Value ClientObject::close(const Napi::CallbackInfo& info) {
  return call(info, [](Client& client) {
    client.close();
    return std::string("[0,null]");
  });
}

}  // namespace pawl::node
