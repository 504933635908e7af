#include <string>
#include <utility>

#include "harness/measurement.h"
#include "harness/requests.h"
#include "workloads/actions.h"
#include "workloads/workloads.h"

namespace bench {

namespace {

pawl::Workflow<std::string> workflow(pawl::Context& ctx) {
  co_await ctx.wait_for("Submit");
  (co_await ctx.run<Step>({.number = 1})).value();
  const pawl::Event decision = co_await ctx.wait_for("Approve", "Reject");
  (co_await ctx.run<Step>({.number = 2})).value();
  co_return decision.name;
}

void run(const Run& run) {
  const StoreFile store(run);
  store.remove();
  auto runtime = store.open();
  register_step(runtime);
  runtime.register_workflow("Approval", &workflow).value();
  pawl::Runtime& engine = runtime.engine();
  auto [figures, operations] =
      measure(run, engine, "workflows", [&](std::int64_t number, std::function<void()> done) {
        const char* const decision = number % 2 == 0 ? "Approve" : "Reject";
        start(engine, "Approval",
              [&engine, decision, done = std::move(done)](const std::string& id) {
                submit(engine, id, "Submit", [&engine, decision, done, id] {
                  submit(engine, id, decision, [&engine, decision, done, id] {
                    await_completion(engine, id, '"' + std::string(decision) + '"', done);
                  });
                });
              });
      });
  runtime.close();
  finish(store, {.completed = operations, .actions = 2 * operations, .events = 2 * operations},
         static_cast<double>(operations), std::move(figures));
}

}  // namespace

Workload approval() {
  return {.name = "approval",
          .about = "an event, an action, one of two events, an action",
          .cases = {{.concurrency = 64, .n = 50'000}},
          .any_concurrency = true,
          .run = &run};
}

}  // namespace bench
