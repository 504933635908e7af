#include <napi.h>

#include "call_sites.h"
#include "client_object.h"
#include "engine.h"
#include "flat_reader.h"
#include "store_check.h"

namespace {

Napi::Value define_site(const Napi::CallbackInfo& info) {
  const std::string site = pawl::node::to_utf8(info.Env(), info[0]);
  return Napi::Number::New(info.Env(), static_cast<double>(pawl::node::define_call_site(site)));
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("Engine", pawl::node::Engine::define(env));
  exports.Set("Client", pawl::node::ClientObject::define(env));
  exports.Set("checkStore", Napi::Function::New(env, pawl::node::check_store, "checkStore"));
  exports.Set("defineSite", Napi::Function::New(env, define_site, "defineSite"));
  return exports;
}

}  // namespace

NODE_API_MODULE(pawl, init)
