#include <napi.h>

#include "client_object.h"
#include "engine.h"
#include "store_check.h"

namespace {

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("Engine", pawl::node::Engine::define(env));
  exports.Set("Client", pawl::node::ClientObject::define(env));
  exports.Set("checkStore", Napi::Function::New(env, pawl::node::check_store, "checkStore"));
  return exports;
}

}  // namespace

NODE_API_MODULE(pawl, init)
