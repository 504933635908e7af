#include "pawl/http_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "action/builtin_registration.h"
#include "base/base64.h"
#include "base/utf8.h"
#include "http/http_exchange.h"

namespace pawl {
namespace {

using actions::HttpRequest;

constexpr std::array<std::string_view, 7> kMethods{"GET",   "HEAD",   "POST",   "PUT",
                                                   "PATCH", "DELETE", "OPTIONS"};
// The connection's own affair.
constexpr std::array<std::string_view, 8> kFramingHeaders{
    "connection", "content-length",    "expect", "keep-alive", "te",
    "trailer",    "transfer-encoding", "upgrade"};
constexpr std::string_view kKeyHeader = "idempotency-key";
constexpr std::string_view kBytes = "$bytes";
constexpr std::int64_t kResponseBytesDefault = 1024 * 1024;
constexpr std::chrono::milliseconds kTimeoutDefault = std::chrono::seconds(30);
// Far beyond the time-out of the attempt.
constexpr std::chrono::milliseconds kTimeoutMax = std::chrono::hours(24);
// Of the body of an error, as far as it goes into the history.
constexpr std::size_t kErrorTextMax = 4096;

std::string upper_case(std::string text) {
  for (char& c : text) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return text;
}

std::string lower_case(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

std::string trimmed(const std::string& text) {
  const std::size_t from = text.find_first_not_of(" \t");
  if (from == std::string::npos) return {};
  return text.substr(from, text.find_last_not_of(" \t") - from + 1);
}

std::string method_of(const HttpRequest::Parameters& p) {
  return upper_case(p.method.value_or("GET"));
}

bool has_body(const HttpRequest::Parameters& p) { return p.body && !p.body->is_null(); }

bool is_header_name(const std::string& name) {
  constexpr std::string_view kLetters =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~";
  return !name.empty() && name.find_first_not_of(kLetters) == std::string::npos;
}

bool is_header_value(const std::string& value) {
  return std::all_of(value.begin(), value.end(),
                     [](const char c) { return (c >= ' ' && c < '\x7f') || c == '\t'; });
}

std::optional<std::string> check_headers(const std::map<std::string, std::string>& headers) {
  for (const auto& [name, value] : headers) {
    if (!is_header_name(name)) return fmt::format("'{}' is no name of a header", name);
    if (!is_header_value(value)) {
      return fmt::format("{} has a character in it that is not of ASCII, or ends a line", name);
    }
    const std::string lower = lower_case(name);
    if (std::find(kFramingHeaders.begin(), kFramingHeaders.end(), lower) != kFramingHeaders.end()) {
      return fmt::format("{} is set by the connection itself", name);
    }
  }
  return std::nullopt;
}

std::optional<std::string> check_url(const std::string& text) {
  const auto url = parse_http_url(text);
  return url ? refusal_of(*url) : "is no URL";
}

std::optional<std::string> check(const HttpRequest::Parameters& p) {
  if (const auto wrong = check_url(p.url)) return "$.url: " + *wrong;
  const std::string method = method_of(p);
  if (std::find(kMethods.begin(), kMethods.end(), method) == kMethods.end()) {
    return fmt::format("$.method: must be one of {}", fmt::join(kMethods, ", "));
  }
  if (p.headers) {
    if (const auto wrong = check_headers(*p.headers)) return "$.headers: " + *wrong;
  }
  if (p.responseBytesMax.value_or(0) < 0) return "$.responseBytesMax: must not be negative";
  if (has_body(p) && (method == "GET" || method == "HEAD")) {
    return fmt::format("$.body: {} has none", method);
  }
  return std::nullopt;
}

// {"$bytes": base64}
std::optional<std::string> bytes_of(const Json& body) {
  if (!body.is_object() || body.as_object().size() != 1) return std::nullopt;
  const Json* const text = body.find(kBytes);
  if (text == nullptr || !text->is_string()) return std::nullopt;
  return from_base64(text->as_string());
}

void add_body(HttpCall& call, const Json& body) {
  const char* kind = "application/json";
  if (body.is_string()) {
    kind = "text/plain; charset=utf-8";
    call.body = body.as_string();
  } else if (auto bytes = bytes_of(body)) {
    kind = "application/octet-stream";
    call.body = std::move(*bytes);
  } else {
    call.body = body.dump().value();
  }
  call.headers.try_emplace("content-type", kind);
}

HttpCall call_of(const HttpRequest::Parameters& p, const ActionContext& context) {
  HttpCall call;
  call.method = method_of(p);
  call.url = *parse_http_url(p.url);
  if (p.headers) {
    for (const auto& [name, value] : *p.headers) {
      const auto [at, is_new] = call.headers.try_emplace(lower_case(name), trimmed(value));
      if (!is_new) at->second += ", " + trimmed(value);
    }
  }
  call.headers.try_emplace(std::string(kKeyHeader), context.idempotency_key);
  if (has_body(p)) add_body(call, *p.body);
  return call;
}

// Bytes that are no UTF-8 become U+FFFD; a mark of byte order goes.
std::string as_text(std::string_view bytes) {
  constexpr std::string_view kMark = "\xef\xbb\xbf";
  constexpr std::string_view kReplacement = "\xef\xbf\xbd";
  if (bytes.starts_with(kMark)) bytes.remove_prefix(kMark.size());
  std::string text;
  for (std::size_t invalid = find_invalid_utf8(bytes); invalid != std::string_view::npos;
       invalid = find_invalid_utf8(bytes)) {
    text.append(bytes.substr(0, invalid));
    text.append(kReplacement);
    bytes.remove_prefix(invalid + 1);
  }
  return text.append(bytes);
}

bool is_of(const std::string& media_type, const std::string_view what) {
  return media_type.starts_with("application/") &&
         (media_type == fmt::format("application/{}", what) ||
          media_type.ends_with(fmt::format("+{}", what)));
}

Json body_of(const HttpAnswer& answer) {
  if (answer.body.empty()) return nullptr;
  const auto kind = answer.headers.find("content-type");
  const std::string media_type =
      kind == answer.headers.end()
          ? ""
          : trimmed(lower_case(kind->second.substr(0, kind->second.find(';'))));
  const bool is_json = is_of(media_type, "json");
  if (!is_json && !media_type.starts_with("text/") && !is_of(media_type, "xml")) {
    return Json::object({{std::string(kBytes), to_base64(answer.body)}});
  }
  std::string text = as_text(answer.body);
  if (is_json) {
    if (Result<Json> value = Json::parse(text)) return std::move(*value);
  }
  return text;
}

Json excerpt_of(const Json& body) {
  if (bytes_of(body)) return body.dump().value().size() <= kErrorTextMax ? body : Json("…");
  const std::string text = body.is_string() ? body.as_string() : body.dump().value();
  if (text.size() <= kErrorTextMax) return body;
  std::size_t end = kErrorTextMax;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0U) == 0x80U) --end;
  return text.substr(0, end) + "…";
}

FailureClass class_of(const int status) {
  switch (status) {
    case 400:
    case 422: return FailureClass::validation;
    case 408:
    case 504: return FailureClass::timeout;
    case 409:
    case 412: return FailureClass::consistency;
    case 423: return FailureClass::contention;
    case 425:
    case 429: return FailureClass::external;
    case 501:
    case 505: return FailureClass::permanent;
    default: return status >= 500 ? FailureClass::external : FailureClass::permanent;
  }
}

Failure http_error(const std::string& method, const HttpUrl& url, HttpRequest::Result answer) {
  Failure failure;
  failure.name = "HttpError";
  failure.message = fmt::format("{} {} was answered with {}", method, url.shown(), answer.status);
  failure.code = fmt::format("HTTP_{}", answer.status);
  failure.failure_class = class_of(answer.status);
  answer.body = excerpt_of(answer.body);
  failure.details_json = to_payload(answer).value().bytes;
  return failure;
}

pawl::Result<HttpRequest::Result, Failure> call_http(const HttpRequest::Parameters& p,
                                                     const ActionContext& context) {
  const HttpCall call = call_of(p, context);
  HttpLimits limits;
  limits.timeout = std::min(p.timeout ? p.timeout->ms() : kTimeoutDefault, kTimeoutMax);
  limits.response_bytes_max =
      static_cast<std::size_t>(p.responseBytesMax.value_or(kResponseBytesDefault));
  auto answered = exchange(call, limits, context.stop);
  if (auto* const failure = std::get_if<Failure>(&answered)) return std::move(*failure);
  HttpAnswer& answer = std::get<HttpAnswer>(answered);
  HttpRequest::Result result;
  result.body = body_of(answer);
  result.status = answer.status;
  result.url = std::move(answer.url);
  result.headers = std::move(answer.headers);
  if (result.status < 400 || p.acceptErrors.value_or(false)) return result;
  return http_error(call.method, call.url, std::move(result));
}

}  // namespace

Result<void> register_http_request(WorkflowRuntime& runtime) {
  if (!set_up_http()) return Error{ErrorCode::internal, "libcurl can't be set up", {}};
  detail::BuiltinRegistration builtins(runtime);
  // The time-out of the exchange is shorter, and says what it was that took so long.
  builtins.add<HttpRequest>(call_http, {.timeout = std::chrono::hours(1)}, check);
  return builtins.result();
}

}  // namespace pawl
