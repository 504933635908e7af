// A user's first program: it knows the installed headers and nothing else of Pawl.
#include <pawl/pawl.h>

#include <cstdio>
#include <string>

struct Double {
  struct Parameters {
    int number = 0;
  };
  using Result = int;
};
PAWL_DESCRIBE(Double::Parameters, number);

pawl::Workflow<int> first(pawl::Context& ctx, int number) {
  const auto doubled = co_await ctx.run<Double>({.number = number});
  co_return doubled.value();
}

int main() {
  pawl::WorkflowRuntimeOptions options;
  options.store = "sqlite:consumer.db";
  auto runtime = pawl::WorkflowRuntime::open(options).value();
  runtime.register_action<Double>([](Double::Parameters p) { return 2 * p.number; }).value();
  runtime.register_workflow("First", &first).value();
  const std::string id = runtime.start_workflow("First", 21, {.tenant = "me"}).value();
  const auto done = runtime.wait_for_workflow_completion<int>(id, {.tenant = "me"}).value();
  std::printf("pawl, C++: %s, %d\n", done.status.c_str(), done.result.value_or(0));
  return done.result == 42 ? 0 : 1;
}
