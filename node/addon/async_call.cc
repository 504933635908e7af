#include "async_call.h"

#include <utility>

#include "json_text.h"

namespace pawl::node {
namespace {

class AsyncCall final : public Napi::AsyncWorker {
 public:
  AsyncCall(Napi::Env env, std::function<std::string()> work)
      : Napi::AsyncWorker(env),
        settled_(Napi::Promise::Deferred::New(env)),
        work_(std::move(work)) {}

  Napi::Promise promise() const { return settled_.Promise(); }

 private:
  void Execute() override { text_ = work_(); }
  void OnOK() override { settled_.Resolve(Napi::String::New(Env(), text_)); }
  void OnError(const Napi::Error& error) override { settled_.Reject(error.Value()); }

  const Napi::Promise::Deferred settled_;
  const std::function<std::string()> work_;
  std::string text_;
};

}  // namespace

Napi::Promise call_async(Napi::Env env, std::function<std::string()> work) {
  // Deletes itself when it is through.
  auto* const call = new AsyncCall(env, std::move(work));
  const Napi::Promise promise = call->promise();
  call->Queue();
  return promise;
}

std::string refusal_text(const Error& error) {
  std::string text = "[";
  append_number(text, static_cast<int>(error.code));
  text += ',';
  append_string(text, error.message);
  text += ',';
  append_string(text, error.subject);
  text += ']';
  return text;
}

}  // namespace pawl::node
