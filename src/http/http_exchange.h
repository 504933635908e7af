#pragma once

// One exchange with a server, over libcurl.

#include <chrono>
#include <cstddef>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <variant>

#include "pawl/error.h"

namespace pawl {

struct HttpUrl {
  std::string text;  // as it is called: encoded, without fragment
  std::string scheme;
  std::string origin;  // "https://example.com:8443"
  std::string path;
  bool has_credentials = false;

  // For people: without its query, which may hold secrets.
  std::string shown() const { return origin + path; }
};

// Nothing where it is no URL.
std::optional<HttpUrl> parse_http_url(const std::string& text);
// What is wrong with it, if anything is: "can't be called by file:".
std::optional<std::string> refusal_of(const HttpUrl& url);

using HttpHeaders = std::map<std::string, std::string>;  // by lower-case name

struct HttpCall {
  std::string method;
  HttpUrl url;
  HttpHeaders headers;
  std::optional<std::string> body;
};

struct HttpAnswer {
  int status = 0;
  std::string url;
  HttpHeaders headers;
  std::string body;
};

struct HttpLimits {
  std::chrono::milliseconds timeout{0};  // of all of it, redirects too
  std::size_t response_bytes_max = 0;
};

// Whether libcurl is there to be used. Any thread; the first call sets it up.
bool set_up_http();

// Follows redirects as fetch() of browsers does: up to 20, to http: and https: only, and without credentials to
// another origin. Ends early, with any failure, where it is asked to stop.
std::variant<HttpAnswer, Failure> exchange(HttpCall call, const HttpLimits& limits,
                                           const std::stop_token& stop);

}  // namespace pawl
