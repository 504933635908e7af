#include "database_object.h"

#include <cmath>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "flat_reader.h"
#include "request_text.h"

namespace pawl::node {
namespace {

// Beyond it, a number of JavaScript is not exact any more.
constexpr std::int64_t kExactMax = std::int64_t{1} << 53;

// Of this environment; worker threads have their own.
struct Classes {
  Napi::FunctionReference database;
  Napi::FunctionReference session;
};

Classes& classes_of(const Napi::Env env) {
  auto* classes = env.GetInstanceData<Classes>();
  if (classes == nullptr) {
    classes = new Classes;
    env.SetInstanceData(classes);
  }
  return *classes;
}

Napi::Value error_of(const Napi::Env env, const Failure& failure) {
  const auto text = [&](const std::string& from) { return Napi::String::New(env, from); };
  const Napi::Error error = Napi::Error::New(env, failure.message);
  Napi::Object object = error.Value();
  object.Set("name", text(failure.name));
  object.Set("code", text(failure.code));
  object.Set("failureClass", text(std::string(to_string(failure.failure_class))));
  return object;
}

Napi::Value to_js(const Napi::Env env, const SqlValue& value) {
  switch (value.index()) {
    case 1: {
      const std::int64_t number = std::get<std::int64_t>(value);
      if (number > kExactMax || number < -kExactMax) return Napi::BigInt::New(env, number);
      return Napi::Number::New(env, static_cast<double>(number));
    }
    case 2: return Napi::Number::New(env, std::get<double>(value));
    case 3: return Napi::String::New(env, std::get<std::string>(value));
    case 4: {
      const auto& blob = std::get<Blob>(value);
      return Napi::Buffer<char>::Copy(env, reinterpret_cast<const char*>(blob.data()), blob.size());
    }
    default: return env.Null();
  }
}

SqlValue to_sql(const Napi::Value& value, const std::uint32_t index) {
  if (value.IsNull() || value.IsUndefined()) return std::monostate{};
  if (value.IsString()) return to_utf8(value.Env(), value);
  if (value.IsBoolean()) return std::int64_t{value.As<Napi::Boolean>().Value()};
  if (value.IsBigInt()) {
    bool lossless = false;
    const std::int64_t number = value.As<Napi::BigInt>().Int64Value(&lossless);
    if (lossless) return number;
  }
  if (value.IsNumber()) {
    const double number = value.As<Napi::Number>().DoubleValue();
    if (number == std::trunc(number) && std::abs(number) <= static_cast<double>(kExactMax) &&
        !(number == 0 && std::signbit(number))) {
      return static_cast<std::int64_t>(number);
    }
    if (std::isfinite(number)) return number;
  }
  if (value.IsTypedArray()) {
    const auto array = value.As<Napi::TypedArray>();
    const auto* const bytes =
        static_cast<const std::byte*>(array.ArrayBuffer().Data()) + array.ByteOffset();
    return Blob(bytes, bytes + array.ByteLength());
  }
  throw Napi::TypeError::New(
      value.Env(),
      "parameter " + std::to_string(index + 1) +
          " is nothing that SQL has: it can be a finite number, a bigint of 64 bits, a "
          "string, a boolean, bytes, or null");
}

// {"columns": [...], "rows": [{column: value}, …], "changed", "lastId"}
Napi::Value rows_of(const Napi::Env env, const SqlRows& from) {
  Napi::Object result = Napi::Object::New(env);
  std::vector<Napi::String> columns;
  columns.reserve(from.columns.size());
  for (const std::string& column : from.columns) columns.push_back(Napi::String::New(env, column));
  Napi::Array rows = Napi::Array::New(env, from.rows.size());
  for (std::uint32_t at = 0; at < from.rows.size(); ++at) {
    const Napi::HandleScope scope(env);
    Napi::Object row = Napi::Object::New(env);
    for (std::size_t column = 0; column < columns.size(); ++column) {
      row.Set(columns[column], to_js(env, from.rows[at][column]));
    }
    rows.Set(at, row);
  }
  result.Set("rows", rows);
  result.Set("hasRows", Napi::Boolean::New(env, !from.columns.empty()));
  result.Set("changed", to_js(env, from.changed));
  result.Set("lastId", to_js(env, from.last_id));
  return result;
}

// Runs on a thread of the pool; what it comes to is made a value on the JavaScript thread.
template <class T>
class SqlCall final : public Napi::AsyncWorker {
 public:
  using Work = std::function<SqlResult<T>()>;
  using ToJs = std::function<Napi::Value(Napi::Env, T&)>;

  static Napi::Promise queue(const Napi::Env env, Work work, ToJs to_value) {
    auto* const call = new SqlCall(env, std::move(work), std::move(to_value));
    const Napi::Promise promise = call->settled_.Promise();
    call->Queue();  // deletes itself when it is through
    return promise;
  }

 private:
  SqlCall(const Napi::Env env, Work work, ToJs to_value)
      : Napi::AsyncWorker(env),
        settled_(Napi::Promise::Deferred::New(env)),
        work_(std::move(work)),
        to_value_(std::move(to_value)) {}

  void Execute() override { result_.emplace(work_()); }
  void OnOK() override {
    work_ = nullptr;
    if (*result_) {
      settled_.Resolve(to_value_(Env(), **result_));
    } else {
      settled_.Reject(error_of(Env(), result_->error()));
    }
  }
  void OnError(const Napi::Error& error) override { settled_.Reject(error.Value()); }

  const Napi::Promise::Deferred settled_;
  Work work_;
  const ToJs to_value_;
  std::optional<SqlResult<T>> result_;
};

struct Nothing {};

Napi::Value undefined(const Napi::Env env, Nothing&) { return env.Undefined(); }

Napi::Value text_or_undefined(const Napi::Env env, std::optional<Payload>& outcome) {
  if (!outcome) return env.Undefined();
  return Napi::String::New(env, outcome->bytes);
}

SqlResult<Nothing> nothing_of(const SqlResult<void>& result) {
  if (!result) return result.error();
  return Nothing{};
}

}  // namespace

ActionTask task_of(const Napi::Env env, const Napi::Value& fields) {
  FlatReader reader(env, fields);
  ActionTask task;
  task.tenant = reader.text();
  task.execution_id = reader.text();
  task.execution = reader.integer();
  task.position = static_cast<Position>(reader.integer());
  task.name = reader.text();
  task.attempt = static_cast<int>(reader.integer());
  task.idempotency_key = reader.text();
  // As append_task wrote it: generation, seed, partition, epoch, digest.
  const std::string row = reader.text();
  std::size_t begin = 0;
  const auto next = [&row, &begin] {
    const std::size_t end = row.find(':', begin);
    if (end == std::string::npos) throw std::logic_error("a row of an outcome without its parts");
    const std::size_t from = std::exchange(begin, end + 1);
    return row.substr(from, end - from);
  };
  task.generation = std::stoi(next());
  task.seed = std::stoull(next());
  task.partition = std::stoi(next());
  task.epoch = std::stoll(next());
  task.parameters_digest = row.substr(begin);
  return task;
}

// --- databases

Napi::Function DatabaseObject::define(Napi::Env env) {
  const Napi::Function defined = DefineClass(env, "Database",
                                             {InstanceMethod("connect", &DatabaseObject::connect),
                                              InstanceMethod("close", &DatabaseObject::close)});
  classes_of(env).database = Napi::Persistent(defined);
  classes_of(env).session = Napi::Persistent(SessionObject::define(env));
  return defined;
}

Napi::Value DatabaseObject::make(Napi::Env env, std::shared_ptr<Database> database) {
  const auto external = Napi::External<std::shared_ptr<Database>>::New(env, &database);
  return classes_of(env).database.New({external});
}

DatabaseObject::DatabaseObject(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<DatabaseObject>(info) {
  if (info[0].IsExternal()) {
    database_ = *info[0].As<Napi::External<std::shared_ptr<Database>>>().Data();
    return;
  }
  database_ = open_sqlite_database(text_of(info, 0));
  own_ = true;
}

Napi::Value DatabaseObject::connect(const Napi::CallbackInfo& info) {
  using Session = std::shared_ptr<SqlSession>;
  const auto use =
      info[0].As<Napi::Boolean>().Value() ? SessionUse::actions : SessionUse::application;
  return SqlCall<Session>::queue(
      info.Env(),
      [database = database_, use]() -> SqlResult<Session> {
        auto session = database->connect(use);
        if (!session) return session.error();
        return Session(std::move(*session));
      },
      [](Napi::Env env, Session& session) -> Napi::Value {
        const auto external = Napi::External<Session>::New(env, &session);
        return classes_of(env).session.New({external});
      });
}

Napi::Value DatabaseObject::close(const Napi::CallbackInfo& info) {
  return SqlCall<Nothing>::queue(
      info.Env(),
      [database = database_, own = own_]() -> SqlResult<Nothing> {
        if (own) database->close();
        return Nothing{};
      },
      undefined);
}

// --- sessions

Napi::Function SessionObject::define(Napi::Env env) {
  return DefineClass(
      env, "Session",
      {InstanceMethod("run", &SessionObject::run), InstanceMethod("begin", &SessionObject::begin),
       InstanceMethod("commit", &SessionObject::commit),
       InstanceMethod("rollBack", &SessionObject::roll_back),
       InstanceMethod("breakOff", &SessionObject::break_off),
       InstanceMethod("commitOutcome", &SessionObject::commit_outcome),
       InstanceMethod("findOutcome", &SessionObject::find_outcome),
       InstanceMethod("close", &SessionObject::close)});
}

SessionObject::SessionObject(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<SessionObject>(info) {
  if (!info[0].IsExternal())
    throw Napi::TypeError::New(info.Env(), "a database makes its sessions");
  session_ = *info[0].As<Napi::External<std::shared_ptr<SqlSession>>>().Data();
}

Napi::Value SessionObject::run(const Napi::CallbackInfo& info) {
  std::vector<SqlValue> parameters;
  const auto given = info[1].As<Napi::Array>();
  parameters.reserve(given.Length());
  for (std::uint32_t index = 0; index < given.Length(); ++index) {
    parameters.push_back(to_sql(given.Get(index), index));
  }
  return SqlCall<SqlRows>::queue(
      info.Env(),
      [session = session_, sql = text_of(info, 0), parameters = std::move(parameters)] {
        return session->run(sql, parameters);
      },
      [](Napi::Env env, SqlRows& rows) { return rows_of(env, rows); });
}

Napi::Value SessionObject::begin(const Napi::CallbackInfo& info) {
  return SqlCall<Nothing>::queue(
      info.Env(), [session = session_] { return nothing_of(session->begin()); }, undefined);
}

Napi::Value SessionObject::commit(const Napi::CallbackInfo& info) {
  return SqlCall<Nothing>::queue(
      info.Env(), [session = session_] { return nothing_of(session->commit()); }, undefined);
}

Napi::Value SessionObject::roll_back(const Napi::CallbackInfo& info) {
  return SqlCall<Nothing>::queue(
      info.Env(),
      [session = session_]() -> SqlResult<Nothing> {
        session->roll_back();
        return Nothing{};
      },
      undefined);
}

void SessionObject::break_off(const Napi::CallbackInfo&) {
  if (session_ != nullptr) session_->break_off();
}

Napi::Value SessionObject::commit_outcome(const Napi::CallbackInfo& info) {
  return SqlCall<Payload>::queue(
      info.Env(),
      [session = session_, task = task_of(info.Env(), info[0]),
       result = Payload::json(text_of(info, 1))] { return session->commit_outcome(task, result); },
      [](Napi::Env env, Payload& outcome) -> Napi::Value {
        return Napi::String::New(env, outcome.bytes);
      });
}

Napi::Value SessionObject::find_outcome(const Napi::CallbackInfo& info) {
  return SqlCall<std::optional<Payload>>::queue(
      info.Env(),
      [session = session_, task = task_of(info.Env(), info[0])] {
        return session->find_outcome(task);
      },
      text_or_undefined);
}

Napi::Value SessionObject::close(const Napi::CallbackInfo& info) {
  return SqlCall<Nothing>::queue(
      info.Env(),
      [session = std::exchange(session_, nullptr)]() mutable -> SqlResult<Nothing> {
        session.reset();
        return Nothing{};
      },
      undefined);
}

}  // namespace pawl::node
