#include "workloads/long_execution.h"

#include <atomic>

#include "harness/closed_loop.h"
#include "harness/durations.h"
#include "harness/give_up.h"
#include "harness/requests.h"

namespace bench {

namespace {

pawl::Workflow<> ticks(pawl::Context& ctx) {
  for (int n = 1;; ++n) {
    co_await ctx.wait_for("Tick");
    ctx.data().set("n", n);
  }
}

}  // namespace

pawl::WorkflowRuntime open_long_execution(const StoreFile& store) {
  auto runtime = store.open();
  runtime.register_workflow("Ticks", &ticks).value();
  return runtime;
}

void start_long_execution(pawl::WorkflowRuntime& runtime) {
  for (const char* const id : {"long", "beside"}) {
    runtime.start_workflow("Ticks", {.tenant = kTenant, .execution_id = id}).value();
  }
}

void grow_long_execution(pawl::WorkflowRuntime& runtime, const std::int64_t events) {
  constexpr int kAtOnce = 256;
  if (events < 1) return;
  const Operation tick = [&](std::int64_t, std::function<void()> done) {
    submit(runtime.engine(), "long", "Tick", std::move(done));
  };
  ClosedLoop(0, events, kAtOnce, tick).run();
}

double tick_ms(pawl::WorkflowRuntime& runtime, const char* const id) {
  return milliseconds([&] {
    const auto reply = runtime.submit_event(id, "Tick", {.tenant = kTenant});
    if (!reply) give_up(reply.error().message);
  });
}

double replay_ms(pawl::WorkflowRuntime& runtime, std::vector<double>& beside) {
  const std::uint64_t replays = runtime.engine().counters().replays;
  tick_ms(runtime, "beside");
  std::atomic<bool> over = false;
  std::atomic<double> ms = 0;
  submit(runtime.engine(), "long", "Tick", [&, watch = Stopwatch()] {
    ms = watch.ms();
    over = true;
  });
  while (!over) beside.push_back(tick_ms(runtime, "beside"));
  if (runtime.engine().counters().replays != replays + 2) give_up("it was not replayed");
  return ms;
}

}  // namespace bench
