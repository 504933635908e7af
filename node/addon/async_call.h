#pragma once

#include <functional>
#include <string>

#include <napi.h>

#include <pawl/error.h>

namespace pawl::node {

// Runs `work` on a thread of Node's pool; the promise settles with the text that it gives.
Napi::Promise call_async(Napi::Env env, std::function<std::string()> work);

// [code, message, subject], which src/ makes an error of. [0, value] is a success.
std::string refusal_text(const Error& error);

}  // namespace pawl::node
