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

void run(const Run& run) {
  const StoreFile store(run);
  store.remove();
  auto runtime = store.open();
  register_step(runtime);
  runtime.register_workflow("ThreeStep", &workflow).value();
  pawl::Runtime& engine = runtime.engine();
  auto [figures, operations] =
      measure(run, engine, "workflows", [&](std::int64_t, std::function<void()> done) {
        start(engine, "ThreeStep", {}, pawl::Payload::json("36"),
              [&engine, done = std::move(done)](const std::string& id) {
                await_completion(engine, id, "42", done);
              });
      });
  runtime.close();
  finish(store, {.completed = operations, .actions = 3 * operations},
         static_cast<double>(operations), std::move(figures));
}

}  // namespace

Workload three_step() {
  return {.name = "three-step",
          .about = "three actions that do nothing, one after the other",
          .cases = {{.concurrency = 1, .n = 2'000}, {.concurrency = 256, .n = 100'000}},
          .any_concurrency = true,
          .run = &run};
}

}  // namespace bench
