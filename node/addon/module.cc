#include <napi.h>

#include "engine.h"

namespace {

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("Engine", pawl::node::Engine::define(env));
  return exports;
}

}  // namespace

NODE_API_MODULE(pawl, init)
