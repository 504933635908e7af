#include <utility>

#include "harness/measurement.h"
#include "harness/requests.h"
#include "workloads/workloads.h"

namespace bench {

namespace {

pawl::Workflow<> workflow(pawl::Context& ctx) { co_await ctx.wait_for("Go"); }

void run(const Run& run) {
  const StoreFile store(run);
  store.remove();
  auto runtime = store.open();
  runtime.register_workflow("Waiting", &workflow).value();
  pawl::Runtime& engine = runtime.engine();
  auto [figures, operations] =
      measure(run, engine, "starts", [&](std::int64_t, std::function<void()> done) {
        start(engine, "Waiting", [done = std::move(done)](const std::string&) { done(); });
      });
  runtime.close();
  finish(store, {.running = operations}, static_cast<double>(operations), std::move(figures));
}

}  // namespace

Workload start() {
  return {.name = "start",
          .about = "a start, until it is durable, of an execution that waits",
          .cases = {{.concurrency = 256, .n = 200'000}},
          .any_concurrency = true,
          .run = &run};
}

}  // namespace bench
