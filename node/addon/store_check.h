#pragma once

#include <napi.h>

namespace pawl::node {

// checkStore(store, findingsMax): the check of a store's file without an engine, on a thread of
// Node's pool. Settles with JSON: [0, report], or [code, message, subject] of a refusal.
Napi::Value check_store(const Napi::CallbackInfo& info);

}  // namespace pawl::node
