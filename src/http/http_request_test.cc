// The action http_request, against a server in this process.
#include "pawl/http_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "http/http_exchange.h"
#include "pawl/pawl.h"
#include "tests/support/http_server.h"
#include "tests/support/temporary_folder.h"

namespace http_shapes {

struct Called {
  std::string name;
  std::string message;
  std::string code;
  std::string failure_class;
  pawl::Json details;
  std::optional<pawl::Json> body;
};
PAWL_DESCRIBE(Called, name, message, code, failure_class, details, body);

// What became of one call, which is tried `attempts` times.
struct Plan {
  pawl::actions::HttpRequest::Parameters request;
  int attempts = 1;
};
PAWL_DESCRIBE(Plan, request, attempts);

pawl::Workflow<Called> call(pawl::Context& ctx, Plan plan) {
  pawl::RunOptions options;
  options.retry.max_attempts = plan.attempts;
  options.retry.initial_interval = std::chrono::milliseconds(1);
  const auto answer = co_await ctx.run<pawl::actions::HttpRequest>(plan.request, options);
  Called called;
  if (answer) {
    called.body = answer->body;
    co_return called;
  }
  called.name = answer.error().name;
  called.message = answer.error().message;
  called.code = answer.error().code;
  called.failure_class = std::string(to_string(answer.error().failure_class));
  if (!answer.error().details_json.empty()) {
    called.details = pawl::Json::parse(answer.error().details_json).value();
  }
  co_return called;
}

}  // namespace http_shapes

namespace pawl {
namespace {

using namespace std::chrono_literals;
using actions::HttpRequest;
using http_shapes::Called;
using http_shapes::Plan;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

using Answer = HttpServer::Answer;
using Request = HttpServer::Request;

class HttpRequestTest : public testing::Test {
 protected:
  void SetUp() override {
    register_http_request(runtime_).value();
    runtime_.register_workflow("Call", &http_shapes::call).value();
  }

  // Outside of any workflow.
  Result<HttpRequest::Result> call(const HttpRequest::Parameters& parameters) {
    return runtime_.execute_action<HttpRequest>(
        parameters, {.tenant = "acme", .idempotency_key = "call-" + std::to_string(++calls_)});
  }
  std::string start(const HttpRequest::Parameters& parameters, const int attempts = 1) {
    return runtime_.start_workflow("Call", Plan{parameters, attempts}, {.tenant = "acme"}).value();
  }
  Called called(const HttpRequest::Parameters& parameters, const int attempts = 1) {
    const auto done = runtime_.wait_for_workflow_completion<Called>(start(parameters, attempts),
                                                                    {.tenant = "acme"});
    return done.value().result.value();
  }
  static HttpRequest::Parameters to(const std::string& url) {
    HttpRequest::Parameters parameters;
    parameters.url = url;
    return parameters;
  }

  TemporaryFolder folder_;
  WorkflowRuntime runtime_ =
      WorkflowRuntime::open({.store = "sqlite:" + folder_.file("store.db"), .log = [](auto&) {}})
          .value();
  int calls_ = 0;
};

TEST_F(HttpRequestTest, WhatItMakesOfAnAnswer) {
  const std::map<std::string, std::pair<std::string, std::string>> answers{
      {"/json", {"application/json", R"({"a":[1,null]})"}},
      {"/problem", {"application/problem+JSON; charset=utf-8", R"({"b":2})"}},
      {"/broken", {"application/json", R"({"b":)"}},
      {"/text",
       {"text/plain",
        "gr\xc3\xbc\xc3\x9f"
        "e"}},
      {"/latin1", {"text/plain", "gr\xfc"}},
      {"/xml", {"application/atom+xml", "<a/>"}},
      {"/bytes", {"application/pdf", std::string("\0\xff", 2)}},
      {"/nothing", {"text/plain", ""}}};
  HttpServer server([&answers](const Request& request, Answer& answer) {
    const auto& [type, body] = answers.at(request.target);
    answer.send(200, "Content-Type: " + type + "\r\nX-Kind: a\r\nX-Kind: b\r\nX-Latin: \xfc\r\n",
                body);
  });
  const auto body_of = [&](const std::string& path) {
    const auto answer = call(to(server.url() + path)).value();
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.url, server.url() + path);
    EXPECT_EQ(answer.headers.at("x-kind"), "a, b");
    EXPECT_EQ(answer.headers.at("x-latin"), "\xc3\xbc");
    return answer.body.dump().value();
  };
  EXPECT_EQ(body_of("/json"), R"({"a":[1,null]})");
  EXPECT_EQ(body_of("/problem"), R"({"b":2})");
  EXPECT_EQ(body_of("/broken"), R"("{\"b\":")");
  EXPECT_EQ(body_of("/text"),
            "\"gr\xc3\xbc\xc3\x9f"
            "e\"");
  EXPECT_EQ(body_of("/latin1"), "\"gr\xef\xbf\xbd\"");
  EXPECT_EQ(body_of("/xml"), R"("<a/>")");
  EXPECT_EQ(body_of("/bytes"), R"({"$bytes":"AP8="})");
  EXPECT_EQ(body_of("/nothing"), "null");
}

TEST_F(HttpRequestTest, WhatIsPackedCountsAsUnpacked) {
  const std::string packed(
      "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xcb\x48\xcd\xc9\xc9\x57\xc8\x40\x90\x00\x80\x88\xf9"
      "\xe5\x11\x00\x00\x00",
      28);
  HttpServer server([&packed](const Request& request, Answer& answer) {
    EXPECT_THAT(request.headers.at("accept-encoding"), HasSubstr("gzip"));
    answer.send(200, "Content-Type: text/plain\r\nContent-Encoding: gzip\r\n", packed);
  });
  EXPECT_EQ(call(to(server.url())).value().body, Json("hello hello hello"));
  HttpRequest::Parameters few = to(server.url());
  few.responseBytesMax = 16;
  EXPECT_EQ(called(few).code, "response_too_large");
}

TEST_F(HttpRequestTest, IsDescribedAsInTypeScript) {
  const auto metadata = runtime_.action_metadata("httpRequest");
  ASSERT_TRUE(metadata);
  EXPECT_TRUE(metadata->built_in);
  EXPECT_EQ(metadata->category, "integration");
  EXPECT_EQ(metadata->options.timeout, 3'600'000);
  EXPECT_THAT(
      metadata->parameters,
      ElementsAre(ActionMember{"url", "string", true}, ActionMember{"method", "string", false},
                  ActionMember{"headers", "object", false}, ActionMember{"body", "any", false},
                  ActionMember{"timeout", "any", false},
                  ActionMember{"responseBytesMax", "number", false},
                  ActionMember{"acceptErrors", "boolean", false}));
  EXPECT_EQ(register_http_request(runtime_).error().code, ErrorCode::already_exists);
}

TEST_F(HttpRequestTest, WhatItSends) {
  HttpServer server([](const Request&, Answer& answer) { answer.send(200, "", ""); });
  const auto send = [&](const std::string& path, const std::string& method,
                        std::optional<Json> body,
                        const std::map<std::string, std::string>& headers = {}) {
    HttpRequest::Parameters parameters = to(server.url() + path);
    parameters.method = method;
    parameters.body = std::move(body);
    if (!headers.empty()) parameters.headers = headers;
    call(parameters).value();
  };
  send("/a?q=1#part", "post", Json::object({{"amount", 5}}),
       {{"X-Own", " mine "}, {"X-Empty", ""}});
  send("", "PUT", "text");
  send("", "PATCH", Json::object({{"$bytes", "QQ=="}}));
  send("", "POST", "<a/>", {{"content-type", "application/xml"}, {"Idempotency-Key", "own"}});
  send("", "DELETE", {});
  send("", "POST", {});
  send("", "HEAD", {});
  std::vector<std::string> lines;
  for (const Request& request : server.seen()) {
    const auto header = [&request](const std::string& name) {
      const auto found = request.headers.find(name);
      return found == request.headers.end() ? "-" : found->second;
    };
    lines.push_back(request.method + " " + request.target + " " + header("content-type") + " " +
                    header("content-length") + " " + header("idempotency-key") + " " +
                    request.body);
  }
  EXPECT_THAT(lines, ElementsAre("POST /a?q=1 application/json 12 call-1 {\"amount\":5}",
                                 "PUT / text/plain; charset=utf-8 4 call-2 text",
                                 "PATCH / application/octet-stream 1 call-3 A",
                                 "POST / application/xml 4 own <a/>", "DELETE / - - call-5 ",
                                 "POST / - 0 call-6 ", "HEAD / - - call-7 "));
  EXPECT_EQ(server.seen()[0].headers.at("x-own"), "mine");
  EXPECT_EQ(server.seen()[0].headers.at("x-empty"), "");
}

// rules: 14, 15
TEST_F(HttpRequestTest, AServerThatIsBusyIsAskedAgainUnderTheSameKeyAndOneThatRefusesIsNot) {
  std::atomic<int> busy = 2;
  HttpServer server([&busy](const Request& request, Answer& answer) {
    int status = 200;
    if (request.target == "/busy?secret=1" && busy-- > 0) status = 503;
    if (request.target == "/refuses?secret=1") status = 422;
    answer.send(status, "Content-Type: application/json\r\n", R"({"why":"because"})");
  });
  EXPECT_EQ(called(to(server.url() + "/busy?secret=1"), 4).body.value(),
            Json::object({{"why", "because"}}));
  const Called refused = called(to(server.url() + "/refuses?secret=1"), 4);
  EXPECT_EQ(refused.name, "HttpError");
  EXPECT_EQ(refused.code, "HTTP_422");
  EXPECT_EQ(refused.message, "GET " + server.url() + "/refuses was answered with 422");
  EXPECT_EQ(refused.failure_class, "validation");
  EXPECT_EQ(*refused.details.find("status"), Json(422));
  EXPECT_EQ(*refused.details.find("body"), Json::object({{"why", "because"}}));
  HttpRequest::Parameters accepting = to(server.url() + "/refuses?secret=1");
  accepting.acceptErrors = true;
  EXPECT_EQ(call(accepting).value().status, 422);
  std::vector<std::string> keys;
  for (const Request& request : server.seen()) {
    keys.push_back(request.headers.at("idempotency-key"));
  }
  ASSERT_EQ(keys.size(), 5U);
  EXPECT_EQ(keys[0], keys[1]);
  EXPECT_EQ(keys[1], keys[2]);
  EXPECT_EQ(std::set(keys.begin(), keys.end()).size(), 3U);
}

// rule: 15
TEST_F(HttpRequestTest, AnswersAreClassifiedByTheirStatus) {
  HttpServer server([](const Request& request, Answer& answer) {
    answer.send(std::stoi(request.target.substr(1)), "", "");
  });
  const std::map<int, std::string> classes{
      {400, "validation"},  {401, "permanent"},  {404, "permanent"}, {408, "timeout"},
      {409, "consistency"}, {423, "contention"}, {429, "external"},  {500, "external"},
      {501, "permanent"},   {502, "external"},   {503, "external"},  {504, "timeout"}};
  for (const auto& [status, expected] : classes) {
    EXPECT_EQ(called(to(server.url() + "/" + std::to_string(status))).failure_class, expected)
        << status;
  }
}

// rules: 15, 26
TEST_F(HttpRequestTest, AnAnswerThatIsTooLargeOneThatNeverComesAndNobodyThere) {
  HttpServer server([](const Request& request, Answer& answer) {
    if (request.target == "/never") {
      answer.wait_for_end();
    } else if (request.target == "/endless") {
      answer.write("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
      while (answer.write(std::string(1024, 'x'))) {
      }
    } else if (request.target == "/slow") {
      answer.write("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
      while (answer.write("x")) std::this_thread::sleep_for(5ms);
    } else if (request.target == "/exact") {
      answer.send(200, "Content-Type: text/plain\r\n", std::string(10, 'x'));
    }
  });
  HttpRequest::Parameters large = to(server.url() + "/endless");
  large.responseBytesMax = 10'000;
  const Called too_large = called(large, 4);
  EXPECT_EQ(too_large.message, "GET " + server.url() +
                                   "/endless was answered with more than 10000 bytes "
                                   "(responseBytesMax)");
  EXPECT_EQ(too_large.code, "response_too_large");
  EXPECT_EQ(too_large.failure_class, "permanent");
  EXPECT_EQ(server.seen().size(), 1U);
  HttpRequest::Parameters exact = to(server.url() + "/exact");
  exact.responseBytesMax = 10;
  EXPECT_EQ(call(exact).value().body, Json(std::string(10, 'x')));
  exact.responseBytesMax = 9;
  EXPECT_EQ(called(exact).code, "response_too_large");

  for (const std::string path : {"/never", "/slow"}) {
    HttpRequest::Parameters late = to(server.url() + path);
    late.timeout = 50ms;
    const Called timed_out = called(late);
    EXPECT_EQ(timed_out.name, "TimeoutError");
    EXPECT_EQ(timed_out.message, "GET " + server.url() + path + " was not answered within 50ms");
    EXPECT_EQ(timed_out.failure_class, "timeout");
  }
  const Called gone =
      called(to("http://127.0.0.1:" + std::to_string(closed_port()) + "/?secret=1"));
  EXPECT_EQ(gone.failure_class, "external");
  EXPECT_EQ(gone.code, "curl:7");
  EXPECT_THAT(gone.message, testing::Not(HasSubstr("secret")));
  HttpServer silent([](const Request&, Answer&) {});
  EXPECT_EQ(called(to(silent.url())).failure_class, "external");
}

TEST_F(HttpRequestTest, RedirectsAreFollowedAsBrowsersDo) {
  HttpServer other([](const Request& request, Answer& answer) {
    answer.send(200, "Content-Type: text/plain\r\n", request.method);
  });
  HttpServer server([&other](const Request& request, Answer& answer) {
    const auto redirect = [&answer](const int status, const std::string& location) {
      answer.send(status, "Location: " + location + "\r\n", "elsewhere");
    };
    const std::string& path = request.target;
    if (path == "/see-other") return redirect(303, "/here");
    if (path == "/again") return redirect(307, "/here");
    if (path == "/other") return redirect(302, other.url() + "/there");
    if (path == "/file") return redirect(302, "file:///etc/passwd");
    if (path == "/ftp") return redirect(301, "ftp://127.0.0.1/");
    if (path == "/secret") return redirect(302, "http://ann:secret@127.0.0.1/");
    if (path == "/round") return redirect(302, "/round");
    if (path == "/nowhere") return answer.send(302, "", "");
    answer.send(200, "Content-Type: text/plain\r\n", request.method + " " + request.body);
  });
  HttpRequest::Parameters post = to(server.url() + "/see-other");
  post.method = "POST";
  post.body = "text";
  post.headers = HttpHeaders{{"Authorization", "secret"}, {"Cookie", "c"}, {"X-Own", "mine"}};
  const auto seen_other = call(post).value();
  EXPECT_EQ(seen_other.body, Json("GET "));
  EXPECT_EQ(seen_other.url, server.url() + "/here");
  EXPECT_EQ(server.seen().back().headers.at("authorization"), "secret");
  EXPECT_FALSE(server.seen().back().headers.contains("content-type"));
  post.url = server.url() + "/again";
  EXPECT_EQ(call(post).value().body, Json("POST text"));
  post.url = server.url() + "/other";
  EXPECT_EQ(call(post).value().body, Json("GET"));
  const auto headers = other.seen().back().headers;
  EXPECT_FALSE(headers.contains("authorization"));
  EXPECT_FALSE(headers.contains("cookie"));
  EXPECT_EQ(headers.at("x-own"), "mine");
  EXPECT_EQ(headers.at("idempotency-key"), "call-3");
  EXPECT_EQ(call(to(server.url() + "/nowhere")).value().status, 302);

  for (const auto& [path, message] :
       std::vector<std::pair<std::string, std::string>>{{"/file", "can't be called by file:"},
                                                        {"/ftp", "can't be called by ftp:"},
                                                        {"/secret", "has a user name"}}) {
    const Called refused = called(to(server.url() + path));
    EXPECT_THAT(refused.message, HasSubstr(message));
    EXPECT_EQ(refused.failure_class, "permanent") << path;
  }
  EXPECT_EQ(called(to(server.url() + "/round")).code, "redirected_too_often");
}

TEST_F(HttpRequestTest, ACallUnderWayIsBrokenOffWhenItsExecutionEnds) {
  std::atomic<bool> gone = false;
  HttpServer server([&gone](const Request&, Answer& answer) { gone = answer.wait_for_end(); });
  const std::string id = start(to(server.url()));
  const auto until = [](const auto& met) {
    for (int i = 0; i < 2'000 && !met(); ++i) std::this_thread::sleep_for(5ms);
    return met();
  };
  ASSERT_TRUE(until([&server] { return server.seen().size() == 1; }));
  runtime_.terminate_workflow(id, {.tenant = "acme"}).value();
  EXPECT_TRUE(until([&gone] { return gone.load(); }));
}

TEST_F(HttpRequestTest, WhatCanNotBeMeantIsRefusedBeforeAnythingIsSent) {
  HttpServer server([](const Request&, Answer& answer) { answer.send(200, "", ""); });
  const auto refusal = [this](const std::string& url, const auto& change) {
    HttpRequest::Parameters parameters = to(url);
    change(parameters);
    const auto refused = call(parameters);
    if (refused) return std::string("was not refused");
    EXPECT_EQ(refused.error().code, ErrorCode::validation);
    // The same from a workflow.
    const Called failed = called(parameters);
    EXPECT_EQ(failed.failure_class, "validation");
    EXPECT_EQ(failed.message, refused.error().message);
    return refused.error().message;
  };
  const auto as_it_is = [](HttpRequest::Parameters&) {};
  EXPECT_THAT(refusal("", as_it_is), HasSubstr("url: is no URL"));
  EXPECT_THAT(refusal("nowhere", as_it_is), HasSubstr("url: is no URL"));
  EXPECT_THAT(refusal("http://", as_it_is), HasSubstr("url: is no URL"));
  EXPECT_THAT(refusal("file:///etc/passwd", as_it_is), HasSubstr("can't be called by file:"));
  EXPECT_THAT(refusal("gopher://127.0.0.1/", as_it_is), HasSubstr("can't be called by gopher:"));
  EXPECT_THAT(refusal("http://ann:secret@example.com/", as_it_is),
              HasSubstr("has a user name or a password"));
  EXPECT_THAT(refusal("http://ann@example.com/", as_it_is), HasSubstr("has a user name"));
  const std::string url = server.url();
  EXPECT_THAT(refusal(url, [](auto& p) { p.method = "BREW"; }),
              HasSubstr("method: must be one of GET, HEAD"));
  EXPECT_THAT(refusal(url, [](auto& p) { p.headers = HttpHeaders{{"a b", "1"}}; }),
              HasSubstr("headers: 'a b' is no name of a header"));
  EXPECT_THAT(refusal(url, [](auto& p) { p.headers = HttpHeaders{{"a", "1\r\nb: 2"}}; }),
              HasSubstr("headers: a has a character"));
  EXPECT_THAT(refusal(url, [](auto& p) { p.headers = HttpHeaders{{"Content-Length", "1"}}; }),
              HasSubstr("is set by the connection itself"));
  EXPECT_THAT(refusal(url, [](auto& p) { p.responseBytesMax = -1; }),
              HasSubstr("responseBytesMax"));
  EXPECT_THAT(refusal(url, [](auto& p) { p.body = Json::object(); }),
              HasSubstr("body: GET has none"));
  EXPECT_THAT(server.seen(), IsEmpty());
}

TEST(HttpUrlTest, IsShownWithoutWhatMayBeSecret) {
  const auto url = parse_http_url("HTTPS://Example.COM:8443/a b?token=x#part");
  ASSERT_TRUE(url);
  EXPECT_EQ(url->shown(), "https://example.com:8443/a%20b");
  EXPECT_EQ(url->text.find('#'), std::string::npos);
  EXPECT_EQ(parse_http_url("http://example.com:80")->shown(), "http://example.com/");
}

}  // namespace
}  // namespace pawl
