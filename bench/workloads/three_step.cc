#include <string>
#include <utility>

#include "harness/measurement.h"
#include "harness/requests.h"
#include "workloads/actions.h"
#include "workloads/workloads.h"

namespace bench {

namespace {

pawl::Workflow<int> workflow(pawl::Context& ctx, int input) {
  int sum = input;
  for (int i = 1; i <= 3; ++i) {
    const auto done = co_await ctx.run<Step>({.number = i});
    sum += done.value().number;
  }
  co_return sum;
}

// The same with a large input, and a large result of its first action.
struct Fetch {
  struct Parameters {
    std::int64_t bytes = 0;
  };
  struct Result {
    std::string text;
  };
};
PAWL_DESCRIBE(Fetch::Parameters, bytes);
PAWL_DESCRIBE(Fetch::Result, text);

// What has that many bytes as JSON, where it is a member of that name, or by itself.
std::string text_of(const std::int64_t bytes, const std::string_view member = {}) {
  const std::size_t around = member.empty() ? 2 : member.size() + 7;
  return std::string(static_cast<std::size_t>(bytes) - around, 'x');
}

pawl::Workflow<int> with_payload(pawl::Context& ctx, std::string input) {
  const auto bytes = static_cast<std::int64_t>(input.size() + 2);
  const auto fetched = co_await ctx.run<Fetch>({.bytes = bytes});
  int sum = fetched.value().text == text_of(bytes, "text") ? 37 : 0;
  for (int i = 2; i <= 3; ++i) {
    const auto done = co_await ctx.run<Step>({.number = i});
    sum += done.value().number;
  }
  co_return sum;
}

void run(const Run& run) {
  const StoreFile store(run);
  store.remove();
  auto runtime = store.open();
  register_step(runtime);
  pawl::Payload input = pawl::Payload::json("36");
  if (run.payload == 0) {
    runtime.register_workflow("ThreeStep", &workflow).value();
  } else {
    runtime
        .register_action<Fetch>(
            [](Fetch::Parameters p) { return Fetch::Result{text_of(p.bytes, "text")}; })
        .value();
    runtime.register_workflow("ThreeStep", &with_payload).value();
    input = pawl::Payload::json('"' + text_of(run.payload) + '"');
  }
  pawl::Runtime& engine = runtime.engine();
  auto [figures, operations] =
      measure(run, engine, "workflows", [&](std::int64_t, std::function<void()> done) {
        start(engine, "ThreeStep", {}, input,
              [&engine, done = std::move(done)](const std::string& id) {
                await_completion(engine, id, "42", done);
              });
      });
  runtime.close();
  if (run.payload != 0) figures.more = {{"payload", run.payload}};
  finish(store, {.completed = operations, .actions = 3 * operations},
         static_cast<double>(operations), std::move(figures));
}

}  // namespace

Workload three_step() {
  return {.name = "three-step",
          .about = "three actions that do nothing, one after the other",
          .cases = {{.concurrency = 1, .n = 2'000}, {.concurrency = 256, .n = 100'000}},
          .any_concurrency = true,
          .any_payload = true,
          .run = &run};
}

}  // namespace bench
