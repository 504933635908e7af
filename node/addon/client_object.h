#pragma once

#include <functional>
#include <memory>
#include <string>

#include <napi.h>

#include <pawl/client.h>

namespace pawl::node {

// pawl::Client for JavaScript (class NativeClient of node/src/addon.ts). Each call runs on a thread of
// Node's pool, and settles with JSON: [0, value], or [code, message, subject] of a refusal.
class ClientObject final : public Napi::ObjectWrap<ClientObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit ClientObject(const Napi::CallbackInfo& info);

 private:
  struct Slot;

  Napi::Value open(const Napi::CallbackInfo& info);
  Napi::Value start(const Napi::CallbackInfo& info);
  Napi::Value enqueue(const Napi::CallbackInfo& info);
  Napi::Value control(const Napi::CallbackInfo& info);
  Napi::Value complete(const Napi::CallbackInfo& info);
  Napi::Value state(const Napi::CallbackInfo& info);
  Napi::Value history(const Napi::CallbackInfo& info);
  Napi::Value list(const Napi::CallbackInfo& info);
  Napi::Value list_dead_letters(const Napi::CallbackInfo& info);
  Napi::Value change_dead_letter(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  Napi::Value call(const Napi::CallbackInfo& info, std::function<std::string(Client&)> work);

  std::shared_ptr<Slot> slot_;
};

}  // namespace pawl::node
