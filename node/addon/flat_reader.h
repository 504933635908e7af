#pragma once

// Values that come from JavaScript lie one after the other in one plain array: reading elements is
// the cheapest that Node-API offers. Who writes them is our own TypeScript (node/src/wire.ts); an
// element of the wrong kind is a fault of ours and throws std::logic_error, which the methods of the
// addon hand on to JavaScript as an Error.

#include <cstdint>
#include <string>
#include <vector>

#include <node_api.h>

#include <pawl/host.h>
#include <pawl/runtime.h>

namespace pawl::node {

class FlatReader {
 public:
  FlatReader(napi_env env, napi_value array);

  bool at_end() const { return next_ == length_; }
  double number();
  std::int64_t integer();
  std::string text();
  Payload payload() { return Payload::json(text()); }
  std::vector<std::string> texts();  // a count, then as many strings

  Failure failure();
  ActionOptions action_options();
  Limits limits();            // in the order of node/src/runtime.ts; -1 leaves the default
  StartGraphCommand graph();  // from its concurrency on
  Command command(CallSite& site);
  // Reads execution, sequence, violation (or ""), how many commands there are, how many elements
  // they have, and the commands. What is no command there is a violation of this result alone: the
  // next one is read from where it begins.
  ActivationResult activation_result();

 private:
  std::size_t count();
  napi_value next();

  napi_env env_;
  napi_value array_;
  std::uint32_t length_ = 0;
  std::uint32_t next_ = 0;
};

// A string of JavaScript as UTF-8.
std::string to_utf8(napi_env env, napi_value value);

}  // namespace pawl::node
