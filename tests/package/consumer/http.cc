// Whoever calls servers by HTTP has it by another library and header.
#include <pawl/http_request.h>
#include <pawl/pawl.h>

#include <cstdio>

int main() {
  pawl::WorkflowRuntimeOptions options;
  options.store = "sqlite:consumer_http.db";
  auto runtime = pawl::WorkflowRuntime::open(options).value();
  pawl::register_http_request(runtime).value();
  pawl::actions::HttpRequest::Parameters request;
  request.url = "ftp://127.0.0.1/";
  const auto answer = runtime.execute_action<pawl::actions::HttpRequest>(
      request, {.tenant = "me", .idempotency_key = "1"});
  std::printf("pawl, C++ over HTTP: %s\n", answer ? "?" : answer.error().message.c_str());
  return !answer && answer.error().code == pawl::ErrorCode::validation ? 0 : 1;
}
