#include <napi.h>

#include "call_sites.h"
#include "client_object.h"
#include "database_object.h"
#include "engine.h"
#include "flat_reader.h"
#include "store_check.h"

#ifdef PAWL_WITH_POSTGRES
#include <pawl/postgres.h>
#ifdef PAWL_WITH_REDIS
#include <pawl/redis.h>
#endif
#endif

namespace {

Napi::Value define_site(const Napi::CallbackInfo& info) {
  const std::string site = pawl::node::to_utf8(info.Env(), info[0]);
  return Napi::Number::New(info.Env(), static_cast<double>(pawl::node::define_call_site(site)));
}

Napi::Value check_graph(const Napi::CallbackInfo& info) {
  const pawl::Limits limits = pawl::node::FlatReader(info.Env(), info[1]).limits();
  const auto graph = pawl::node::FlatReader(info.Env(), info[0]).graph();
  const auto error = pawl::check_graph(graph, limits);
  if (!error) return info.Env().Undefined();
  auto refusal = Napi::Array::New(info.Env(), 2);
  refusal.Set(0U, Napi::Number::New(info.Env(), static_cast<int>(error->code)));
  refusal.Set(1U, Napi::String::New(info.Env(), error->message));
  return refusal;
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
#ifdef PAWL_WITH_POSTGRES
  pawl::use_postgres_stores();
  constexpr bool kPostgres = true;
#else
  constexpr bool kPostgres = false;
#endif
#ifdef PAWL_WITH_REDIS
  pawl::use_redis_hints();
#endif
  exports.Set("hasPostgres", Napi::Boolean::New(env, kPostgres));
  exports.Set("Engine", pawl::node::Engine::define(env));
  exports.Set("Client", pawl::node::ClientObject::define(env));
  exports.Set("Database", pawl::node::DatabaseObject::define(env));
  exports.Set("checkStore", Napi::Function::New(env, pawl::node::check_store, "checkStore"));
  exports.Set("checkGraph", Napi::Function::New(env, check_graph, "checkGraph"));
  exports.Set("defineSite", Napi::Function::New(env, define_site, "defineSite"));
  return exports;
}

}  // namespace

NODE_API_MODULE(pawl, init)
