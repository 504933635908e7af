#include <string>
#include <utility>

#include "harness/measurement.h"
#include "harness/requests.h"
#include "workloads/workloads.h"

namespace bench {

namespace {

pawl::Workflow<> workflow(pawl::Context& ctx) {
  for (;;) co_await ctx.wait_for("Tick");
}

void run(const Run& run) {
  const StoreFile store(run);
  store.remove();
  auto runtime = store.open();
  runtime.register_workflow("Ticks", &workflow).value();
  pawl::Runtime& engine = runtime.engine();
  const std::string id = runtime.start_workflow("Ticks", {.tenant = kTenant}).value();
  auto [figures, operations] =
      measure(run, engine, "events", [&](std::int64_t, std::function<void()> done) {
        submit(engine, id, "Tick", std::move(done));
      });
  runtime.close();
  finish(store, {.running = 1, .events = operations}, static_cast<double>(operations),
         std::move(figures));
}

}  // namespace

Workload event() {
  return {.name = "event",
          .about = "an event to one execution, from its submission to the answer",
          .cases = {{.concurrency = 1, .n = 2'000}},
          .any_concurrency = true,
          .run = &run};
}

}  // namespace bench
