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

namespace {

void expect_replays(pawl::WorkflowRuntime& runtime, const std::uint64_t replays) {
  if (runtime.engine().counters().replays != replays) give_up("it was not replayed");
}

}  // namespace

double replay_ms(pawl::WorkflowRuntime& runtime) {
  const std::uint64_t replays = runtime.engine().counters().replays;
  const double ms = tick_ms(runtime);
  expect_replays(runtime, replays + 1);
  return ms;
}

ReplayBeside replay_beside(pawl::WorkflowRuntime& runtime) {
  const std::uint64_t replays = runtime.engine().counters().replays;
  tick_ms(runtime, "beside");
  std::atomic<bool> over = false;
  std::atomic<double> ms = 0;
  submit(runtime.engine(), "long", "Tick", [&, watch = Stopwatch()] {
    ms = watch.ms();
    over = true;
  });
  ReplayBeside took;
  while (!over) took.beside_ms.push_back(tick_ms(runtime, "beside"));
  expect_replays(runtime, replays + 2);
  took.ms = ms;
  return took;
}

}  // namespace bench
