#pragma once

// The built-in action that calls a server by HTTP, with the names, parameters and results that it has in TypeScript.
// Link pawl::http, which needs libcurl; in an installed package find_package(pawl COMPONENTS http).
//
//   pawl::register_http_request(runtime).value();
//
//   auto answer = co_await ctx.run<pawl::actions::HttpRequest>(
//       {.url = url, .method = "POST", .body = pawl::to_json(order)});
//   if (!answer) …   // HttpError, with the code "HTTP_422", say
//
// What fails is classified by its status: 408, 425, 429 and those from 500 on, but for 501 and 505, are tried again,
// and so is what the network did. The environment's proxies and .netrc are not looked at.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include <pawl/action.h>
#include <pawl/action_duration.h>
#include <pawl/describe.h>
#include <pawl/error.h>
#include <pawl/json.h>

namespace pawl {

class WorkflowRuntime;

namespace actions {

struct HttpRequest {
  struct Parameters {
    std::string url;                    // http: or https:, without user name and password
    std::optional<std::string> method;  // none: GET
    // Idempotency-Key is that of the action, unless it is here: the same on each attempt.
    std::optional<std::map<std::string, std::string>> headers;
    // Text as it is, {"$bytes": base64} as bytes, all else as JSON. Content-Type follows from it, unless it is
    // among the headers.
    std::optional<Json> body;
    std::optional<ActionDuration> timeout;         // of the whole exchange; none: 30 s
    std::optional<std::int64_t> responseBytesMax;  // of the body of an answer; none: 1 MiB
    // What becomes of an answer from 400 on: false, a failure; true, a result like any other.
    std::optional<bool> acceptErrors;
  };
  struct Result {
    std::int32_t status = 0;
    std::string url;                             // where the answer came from in the end
    std::map<std::string, std::string> headers;  // by lower-case name
    // JSON as its value, text as text, anything else as {"$bytes": base64}; null where there is none.
    Json body;
  };
  static constexpr std::string_view name = "http_request";
  static constexpr std::string_view description =
      "Calls a server by HTTP, with the idempotency key of the action as a header";
  static constexpr std::string_view category = "integration";
};
PAWL_DESCRIBE(HttpRequest::Parameters, url, method, headers, body, timeout, responseBytesMax,
              acceptErrors);
PAWL_DESCRIBE(HttpRequest::Result, status, url, headers, body);

}  // namespace actions

// A user's own action of that name stays where it was registered before, and can take its place later, with
// `replace`. Errors: already_exists where this was done before; internal where libcurl can't be set up.
Result<void> register_http_request(WorkflowRuntime& runtime);

}  // namespace pawl
