#include "http/http_exchange.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <climits>
#include <memory>

#include "base/duration.h"

namespace pawl {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRedirectsMax = 20;
constexpr int kPollMs = 1'000;

struct Cleanup {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
struct CleanupMulti {
  void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
};
using Easy = std::unique_ptr<CURL, Cleanup>;
using Multi = std::unique_ptr<CURLM, CleanupMulti>;
using Url = std::unique_ptr<CURLU, Cleanup>;
using HeaderList = std::unique_ptr<curl_slist, Cleanup>;

// Empty where it has no such part.
std::string part_of(CURLU* const url, const CURLUPart part, const unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK) return {};
  std::string copied(text);
  curl_free(text);
  return copied;
}

// What an exchange fills.
struct Receiver {
  std::string body;
  std::size_t bytes_max = 0;
  bool too_large = false;
};

std::size_t receive(const char* const bytes, const std::size_t, const std::size_t count,
                    void* const to) {
  auto& receiver = *static_cast<Receiver*>(to);
  if (count > receiver.bytes_max - receiver.body.size()) {
    receiver.too_large = true;
    return 0;  // gives up
  }
  receiver.body.append(bytes, count);
  return count;
}

HeaderList list_of(const HttpCall& call) {
  curl_slist* list = nullptr;
  const auto add = [&list](const std::string& line) {
    if (curl_slist* const longer = curl_slist_append(list, line.c_str())) list = longer;
  };
  for (const auto& [name, value] : call.headers) {
    // "name;" is how libcurl is told to send a header without a value.
    add(value.empty() ? name + ";" : fmt::format("{}: {}", name, value));
  }
  add("Expect:");  // no waiting for leave to send
  if (!call.headers.contains("content-type")) add("Content-Type:");
  return HeaderList(list);
}

void prepare(CURL* const easy, const HttpCall& call, curl_slist* const headers,
             Receiver& receiver) {
  curl_easy_setopt(easy, CURLOPT_URL, call.url.text.c_str());
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_PROXY, "");
  curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "");
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &receive);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &receiver);
  const bool needs_length = call.method == "POST" || call.method == "PUT" || call.method == "PATCH";
  if (call.body || needs_length) {
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call.body ? call.body->data() : "");
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(call.body ? call.body->size() : 0));
  }
  if (call.method == "HEAD") {
    curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
  } else {
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, call.method.c_str());
  }
}

// Until it is over, or asked to stop.
std::optional<CURLcode> perform(CURL* const easy, const std::stop_token& stop) {
  const Multi multi(curl_multi_init());
  if (!multi || curl_multi_add_handle(multi.get(), easy) != CURLM_OK) return CURLE_FAILED_INIT;
  const std::stop_callback wake(stop, [&multi] { curl_multi_wakeup(multi.get()); });
  std::optional<CURLcode> ended;
  while (!ended && !stop.stop_requested()) {
    int running = 0;
    if (curl_multi_perform(multi.get(), &running) != CURLM_OK) ended = CURLE_FAILED_INIT;
    int left = 0;
    while (const CURLMsg* const message = curl_multi_info_read(multi.get(), &left)) {
      if (message->msg == CURLMSG_DONE) ended = message->data.result;
    }
    if (!ended) curl_multi_poll(multi.get(), nullptr, 0, kPollMs, nullptr);
  }
  curl_multi_remove_handle(multi.get(), easy);
  return ended;
}

// Headers are bytes; those beyond ASCII are read as ISO 8859-1.
std::string as_utf8(const std::string_view latin1) {
  std::string text;
  for (const char c : latin1) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      text += c;
    } else {
      text += static_cast<char>(0xc0 | byte >> 6);
      text += static_cast<char>(0x80 | (byte & 0x3f));
    }
  }
  return text;
}

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

HttpHeaders headers_of(CURL* const easy) {
  HttpHeaders headers;
  curl_header* header = nullptr;
  while ((header = curl_easy_nextheader(easy, CURLH_HEADER, -1, header)) != nullptr) {
    std::string& value = headers[lower_case(as_utf8(header->name))];
    if (!value.empty()) value += ", ";
    value += as_utf8(header->value);
  }
  return headers;
}

Failure network_failure(const HttpCall& call, const CURLcode code) {
  Failure failure;
  failure.name = "HttpRequestError";
  failure.message =
      fmt::format("{} {} failed: {}", call.method, call.url.shown(), curl_easy_strerror(code));
  failure.code = fmt::format("curl:{}", static_cast<int>(code));
  switch (code) {
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_NOT_BUILT_IN:
    case CURLE_BAD_FUNCTION_ARGUMENT:
    case CURLE_UNKNOWN_OPTION: failure.failure_class = FailureClass::permanent; break;
    case CURLE_OUT_OF_MEMORY:
    case CURLE_FAILED_INIT: failure.failure_class = FailureClass::transient; break;
    default: failure.failure_class = FailureClass::external; break;
  }
  return failure;
}

Failure too_late(const HttpCall& call, const HttpLimits& limits) {
  return Failure{
      .name = "TimeoutError",
      .message = fmt::format("{} {} was not answered within {}", call.method, call.url.shown(),
                             format_duration_ms(limits.timeout.count())),
      .failure_class = FailureClass::timeout};
}

Failure refused(std::string message, std::string code) {
  return Failure{.name = "NonRetryableError",
                 .message = std::move(message),
                 .code = std::move(code),
                 .failure_class = FailureClass::permanent};
}

void drop(HttpHeaders& headers, const std::initializer_list<const char*> names) {
  for (const char* const name : names) headers.erase(name);
}

// The call that a redirect leads to.
std::variant<HttpCall, Failure> redirected(const HttpCall& call, const int status,
                                           const std::string& location) {
  const auto url = parse_http_url(location);
  std::string wrong = url ? refusal_of(*url).value_or("") : "is no URL";
  if (!wrong.empty()) {
    return refused(
        fmt::format("{} {} was redirected to what {}", call.method, call.url.shown(), wrong),
        "redirect_refused");
  }
  HttpCall next = call;
  next.url = *url;
  const bool reads = call.method == "GET" || call.method == "HEAD";
  if ((status == 303 && !reads) || ((status == 301 || status == 302) && call.method == "POST")) {
    next.method = "GET";
    next.body.reset();
    drop(next.headers,
         {"content-type", "content-encoding", "content-language", "content-location"});
  }
  if (next.url.origin != call.url.origin) {
    drop(next.headers, {"authorization", "proxy-authorization", "cookie", "host"});
  }
  return next;
}

bool is_redirect(const int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// One call and its answer; `location` is where it redirects to, or empty.
std::variant<HttpAnswer, Failure> ask(const HttpCall& call, const HttpLimits& limits,
                                      const Clock::time_point until, const std::stop_token& stop,
                                      std::string& location) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
  if (left <= 0) return too_late(call, limits);
  const Easy easy(curl_easy_init());
  const HeaderList headers = list_of(call);
  if (!easy) return network_failure(call, CURLE_FAILED_INIT);
  Receiver receiver;
  receiver.bytes_max = limits.response_bytes_max;
  prepare(easy.get(), call, headers.get(), receiver);
  curl_easy_setopt(easy.get(), CURLOPT_TIMEOUT_MS,
                   static_cast<long>(std::min<std::int64_t>(left, INT_MAX)));
  const std::optional<CURLcode> code = perform(easy.get(), stop);
  if (!code)
    return Failure{.name = "Aborted", .message = "the call was broken off", .code = "aborted"};
  if (receiver.too_large) {
    return refused(fmt::format("{} {} was answered with more than {} bytes (responseBytesMax)",
                               call.method, call.url.shown(), limits.response_bytes_max),
                   "response_too_large");
  }
  if (*code == CURLE_OPERATION_TIMEDOUT) return too_late(call, limits);
  if (*code != CURLE_OK) return network_failure(call, *code);
  HttpAnswer answer;
  long status = 0;
  curl_easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &status);
  answer.status = static_cast<int>(status);
  answer.url = call.url.text;
  answer.headers = headers_of(easy.get());
  answer.body = std::move(receiver.body);
  char* redirect = nullptr;
  curl_easy_getinfo(easy.get(), CURLINFO_REDIRECT_URL, &redirect);
  if (redirect != nullptr && is_redirect(answer.status)) location = redirect;
  return answer;
}

}  // namespace

bool set_up_http() {
  static const bool is_there = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  return is_there;
}

std::optional<HttpUrl> parse_http_url(const std::string& text) {
  const Url url(curl_url());
  constexpr unsigned kFlags = CURLU_NON_SUPPORT_SCHEME | CURLU_URLENCODE;
  if (!url || curl_url_set(url.get(), CURLUPART_URL, text.c_str(), kFlags) != CURLUE_OK) {
    return std::nullopt;
  }
  HttpUrl parsed;
  parsed.scheme = part_of(url.get(), CURLUPART_SCHEME);
  parsed.has_credentials = !part_of(url.get(), CURLUPART_USER).empty() ||
                           !part_of(url.get(), CURLUPART_PASSWORD).empty();
  const std::string port = part_of(url.get(), CURLUPART_PORT, CURLU_NO_DEFAULT_PORT);
  parsed.origin =
      fmt::format("{}://{}{}{}", parsed.scheme, lower_case(part_of(url.get(), CURLUPART_HOST)),
                  port.empty() ? "" : ":", port);
  parsed.path = part_of(url.get(), CURLUPART_PATH);
  curl_url_set(url.get(), CURLUPART_FRAGMENT, nullptr, 0);
  parsed.text = part_of(url.get(), CURLUPART_URL);
  return parsed;
}

std::optional<std::string> refusal_of(const HttpUrl& url) {
  if (url.scheme != "http" && url.scheme != "https") {
    return fmt::format("can't be called by {}:", url.scheme);
  }
  if (url.has_credentials) {
    return "has a user name or a password in it: they go into a header, Authorization";
  }
  return std::nullopt;
}

std::variant<HttpAnswer, Failure> exchange(HttpCall call, const HttpLimits& limits,
                                           const std::stop_token& stop) {
  const Clock::time_point until = Clock::now() + limits.timeout;
  for (int redirects = 0; redirects <= kRedirectsMax; ++redirects) {
    std::string location;
    auto answer = ask(call, limits, until, stop, location);
    if (std::holds_alternative<Failure>(answer) || location.empty()) return answer;
    auto next = redirected(call, std::get<HttpAnswer>(answer).status, location);
    if (auto* const failure = std::get_if<Failure>(&next)) return std::move(*failure);
    call = std::move(std::get<HttpCall>(next));
  }
  return Failure{.name = "HttpRequestError",
                 .message = fmt::format("{} {} was redirected more than {} times", call.method,
                                        call.url.shown(), kRedirectsMax),
                 .code = "redirected_too_often",
                 .failure_class = FailureClass::permanent};
}

}  // namespace pawl
