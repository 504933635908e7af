#include <string>
#include <utility>
#include <vector>

#include "harness/measurement.h"
#include "harness/requests.h"
#include "workloads/actions.h"
#include "workloads/workloads.h"

namespace bench {

namespace {

constexpr int kActions = 100;

pawl::Workflow<int> workflow(pawl::Context& ctx) {
  std::vector<pawl::ActionCall<Step::Result>> calls;
  calls.reserve(kActions);
  for (int i = 0; i < kActions; ++i) calls.push_back(ctx.run<Step>({.number = 1}));
  int sum = 0;
  for (const auto& done : co_await pawl::all(std::move(calls))) sum += done.value().number;
  co_return sum;
}

void run(const Run& run) {
  const StoreFile store(run);
  store.remove();
  auto runtime = store.open();
  register_step(runtime);
  runtime.register_workflow("FanOut", &workflow).value();
  pawl::Runtime& engine = runtime.engine();
  auto [figures, operations] = measure(
      run, engine, "actions",
      [&](std::int64_t, std::function<void()> done) {
        start(engine, "FanOut", [&engine, done = std::move(done)](const std::string& id) {
          await_completion(engine, id, std::to_string(kActions), done);
        });
      },
      kActions);
  runtime.close();
  finish(store, {.completed = operations, .actions = kActions * operations},
         static_cast<double>(kActions * operations), std::move(figures));
}

}  // namespace

Workload fan_out() {
  return {.name = "fan-out",
          .about = "100 actions side by side, and a join",
          .cases = {{.concurrency = 16, .n = 400'000}},
          .any_concurrency = true,
          .run = &run};
}

}  // namespace bench
