// Database actions on the store's own file, beside actions that write nothing: what the transaction and its
// outcome cost.

#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <pawl/pawl.h>

#include "harness/give_up.h"
#include "harness/measurement.h"
#include "harness/requests.h"
#include "workloads/workloads.h"

namespace bench {

namespace {

struct Increment {
  struct Parameters {
    int counter = 0;
  };
};
PAWL_DESCRIBE(Increment::Parameters, counter);

struct Nothing {
  struct Parameters {
    int counter = 0;
  };
};
PAWL_DESCRIBE(Nothing::Parameters, counter);

pawl::Workflow<void> increments(pawl::Context& ctx) {
  (co_await ctx.run<Increment>({.counter = 1})).value();
}

pawl::Workflow<void> does_nothing(pawl::Context& ctx) {
  (co_await ctx.run<Nothing>({.counter = 1})).value();
}

Measured measure_one(const Run& run, pawl::Runtime& engine, const char* variant,
                     const char* workflow) {
  Measured measured =
      measure(run, engine, "actions", [&](std::int64_t, std::function<void()> done) {
        start(engine, workflow, [&engine, done = std::move(done)](const std::string& id) {
          await_completion(engine, id, "", done);
        });
      });
  measured.figures.variant = variant;
  return measured;
}

void run(const Run& run) {
  const StoreFile store(run);
  store.remove();
  auto runtime = store.open(8);
  auto session = runtime.database()->connect(pawl::SessionUse::application).value();
  session->run("CREATE TABLE counters(id INTEGER PRIMARY KEY, n INTEGER NOT NULL)", {}).value();
  session->run("INSERT INTO counters VALUES(1, 0)", {}).value();
  runtime.register_action<Nothing>([](const Nothing::Parameters&) {}).value();
  runtime
      .register_database_action<Increment>(
          [](const Increment::Parameters& p, pawl::Transaction& sql) {
            sql.execute("UPDATE counters SET n = n + 1 WHERE id = ?", p.counter).value();
          })
      .value();
  runtime.register_workflow("Increments", &increments).value();
  runtime.register_workflow("DoesNothing", &does_nothing).value();
  Measured simple = measure_one(run, runtime.engine(), "simple_action", "DoesNothing");
  Measured database = measure_one(run, runtime.engine(), "database_action", "Increments");
  const auto counted =
      pawl::Transaction(*session).query_one<std::int64_t>("SELECT n FROM counters").value();
  if (counted != database.operations) {
    give_up(fmt::format("counted {}, not {}", counted.value_or(0), database.operations));
  }
  session.reset();
  runtime.close();
  const std::int64_t actions = simple.operations + database.operations;
  const double bytes_each = store.bytes() / static_cast<double>(actions);
  store.check({.completed = actions, .actions = actions});
  store.remove();
  for (Figures* const figures : {&simple.figures, &database.figures}) {
    figures->disk_bytes_each = bytes_each;
    report(*figures);
  }
}

}  // namespace

Workload database_actions() {
  return {.name = "database-actions",
          .about = "actions that write to the store's file in their own commit, beside others",
          .cases = {{.concurrency = 256, .n = 10'000}},
          .any_concurrency = true,
          .run = &run};
}

}  // namespace bench
