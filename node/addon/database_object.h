#pragma once

#include <memory>

#include <napi.h>

#include <pawl/database.h>
#include <pawl/host.h>

namespace pawl::node {

// From what outcomeRow of node/src/action_runner.ts has written; without the id of its attempt.
ActionTask task_of(Napi::Env env, const Napi::Value& fields);

// A database for JavaScript (class NativeDatabase of node/src/addon.ts): the store's own, as the engine
// gives it, or any SQLite file. Its calls run on threads of Node's pool.
class DatabaseObject final : public Napi::ObjectWrap<DatabaseObject> {
 public:
  // Keeps the class for make(), for this environment.
  static Napi::Function define(Napi::Env env);
  static Napi::Value make(Napi::Env env, std::shared_ptr<Database> database);
  // new Database(path), or as make() says.
  explicit DatabaseObject(const Napi::CallbackInfo& info);

 private:
  Napi::Value connect(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  std::shared_ptr<Database> database_;
  bool own_ = false;  // a file of this object's: the store's is closed with the store
};

// pawl::SqlSession for JavaScript (class NativeSession): one call at a time, which its caller sees to.
class SessionObject final : public Napi::ObjectWrap<SessionObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit SessionObject(const Napi::CallbackInfo& info);

 private:
  Napi::Value run(const Napi::CallbackInfo& info);
  Napi::Value begin(const Napi::CallbackInfo& info);
  Napi::Value commit(const Napi::CallbackInfo& info);
  Napi::Value roll_back(const Napi::CallbackInfo& info);
  void break_off(const Napi::CallbackInfo& info);
  Napi::Value commit_outcome(const Napi::CallbackInfo& info);
  Napi::Value find_outcome(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  std::shared_ptr<SqlSession> session_;
};

}  // namespace pawl::node
