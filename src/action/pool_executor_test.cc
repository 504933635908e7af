#include "action/pool_executor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <future>
#include <set>
#include <system_error>

#include "pawl/describe.h"

namespace pool_shapes {

struct Add {
  struct Parameters {
    int a = 0;
    int b = 0;
    std::optional<std::string> note;
  };
  struct Result {
    int sum = 0;
  };
};
PAWL_DESCRIBE(Add::Parameters, a, b, note);
PAWL_DESCRIBE(Add::Result, sum);

struct Nothing {
  struct Parameters {};
};
PAWL_DESCRIBE(Nothing::Parameters);

struct Ratio {
  struct Parameters {};
  using Result = double;
  static constexpr std::string_view name = "compute-ratio";
};
PAWL_DESCRIBE(Ratio::Parameters);

template <class T>
struct Generic {
  struct Parameters {};
};

}  // namespace pool_shapes

namespace pawl {
namespace {

using namespace std::chrono_literals;
using pool_shapes::Add;
using pool_shapes::Nothing;
using pool_shapes::Ratio;
using testing::HasSubstr;

static_assert(action_name<Add>() == "Add");
static_assert(action_name<Ratio>() == "compute-ratio");
static_assert(action_name<pool_shapes::Generic<std::string>>().starts_with("Generic<"));

class Collector final : public ActionSink {
 public:
  void action_begun(ActionBegun begun) override {
    const std::lock_guard lock(mutex_);
    begun_.push_back(begun.id);
    arrived_.notify_all();
  }
  std::vector<AttemptId> begun() {
    const std::lock_guard lock(mutex_);
    return begun_;
  }
  void actions_finished(std::vector<ActionOutcome> outcomes) override {
    const std::lock_guard lock(mutex_);
    for (ActionOutcome& outcome : outcomes) outcomes_.push_back(std::move(outcome));
    arrived_.notify_all();
  }
  std::vector<ActionOutcome> wait_for(std::size_t count) {
    std::unique_lock lock(mutex_);
    arrived_.wait(lock, [&] { return outcomes_.size() >= count; });
    return outcomes_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<ActionOutcome> outcomes_;
  std::vector<AttemptId> begun_;
};

ActionTask task(std::string name, std::string parameters, AttemptId id = 1) {
  ActionTask task;
  task.id = id;
  task.tenant = "acme";
  task.execution_id = "wf-1";
  task.execution = 7;
  task.position = 3;
  task.name = std::move(name);
  task.parameters = Payload::json(std::move(parameters));
  task.attempt = 1;
  task.idempotency_key = "k-1";
  task.event_id = "e-1";
  task.correlation_id = "corr";
  task.scheduled_at = 1'000;
  task.timeout = 60'000;
  return task;
}

// The outcome of one attempt: the payload's text, or "Name(class): message".
std::string outcome_of(PoolExecutor& pool, ActionTask one) {
  auto sink = std::make_shared<Collector>();
  pool.run({std::move(one)}, sink);
  const ActionOutcome outcome = sink->wait_for(1).at(0);
  EXPECT_EQ(outcome.execution, 7);
  EXPECT_EQ(outcome.position, 3);
  if (const auto* payload = std::get_if<Payload>(&outcome.outcome)) return payload->bytes;
  const Failure& failure = std::get<Failure>(outcome.outcome);
  return failure.name + "(" + std::string(to_string(failure.failure_class)) +
         "): " + failure.message;
}

template <class A, class F>
void add(PoolExecutor& pool, F handler) {
  pool.register_action(action_name<A>(), detail::make_action_handler<A>(std::move(handler)));
}

TEST(PoolExecutor, GivesParametersAndContextAndTakesTheResult) {
  PoolExecutor pool({.threads = 2});
  ActionContext seen;
  add<Add>(pool, [&](Add::Parameters p, const ActionContext& context) {
    seen = context;
    return Add::Result{p.a + p.b};
  });
  ActionTask given = task("add", R"({"a":1,"b":2})");
  given.idempotency_key = "k-9";
  given.attempt = 4;
  EXPECT_EQ(outcome_of(pool, given), R"({"sum":3})");
  EXPECT_EQ(seen.tenant, "acme");
  EXPECT_EQ(seen.execution_id, "wf-1");
  EXPECT_EQ(seen.action, "add");
  EXPECT_EQ(seen.idempotency_key, "k-9");
  EXPECT_EQ(seen.attempt, 4);
  EXPECT_EQ(seen.event_id, "e-1");
  EXPECT_EQ(seen.correlation_id, "corr");
  EXPECT_EQ(seen.scheduled_at.time_since_epoch(), 1s);
  EXPECT_EQ(seen.timeout, 1min);
  EXPECT_FALSE(seen.stop.stop_requested());
}

TEST(PoolExecutor, HandlersMayReturnInSeveralWays) {
  PoolExecutor pool({.threads = 1});
  int calls = 0;
  add<Nothing>(pool, [&](Nothing::Parameters) { ++calls; });
  EXPECT_EQ(outcome_of(pool, task("nothing", "{}")), "");
  EXPECT_EQ(outcome_of(pool, task("Nothing", "")), "");
  EXPECT_EQ(calls, 2);
  add<Nothing>(pool, [](Nothing::Parameters) -> pawl::Result<void, Failure> {
    return Failure{.name = "Closed", .message = "shop", .failure_class = FailureClass::permanent};
  });
  EXPECT_EQ(outcome_of(pool, task("Nothing", "{}")), "Closed(permanent): shop");
  add<Nothing>(pool, [](Nothing::Parameters) -> pawl::Result<void> {
    return Error{ErrorCode::timeout, "too slow", {}};
  });
  EXPECT_EQ(outcome_of(pool, task("Nothing", "{}")), "pawl::Error(timeout): too slow");
  add<Add>(pool, [](Add::Parameters p) -> pawl::Result<Add::Result, Failure> {
    return Add::Result{p.a * p.b};
  });
  EXPECT_EQ(outcome_of(pool, task("ADD", R"({"a":4,"b":2})")), R"({"sum":8})");
  add<Ratio>(pool, [](Ratio::Parameters) { return 0; });
  EXPECT_EQ(outcome_of(pool, task("computeRatio", "{}")), "0");
  add<Ratio>(pool, [](Ratio::Parameters) { return std::nan(""); });
  EXPECT_THAT(outcome_of(pool, task("ComputeRatio", "{}")),
              HasSubstr("ValidationError(validation): the result can't be recorded: $: is NaN"));
}

TEST(PoolExecutor, ParametersThatDoNotFitAreNotTriedAgain) {
  PoolExecutor pool({.threads = 1});
  add<Add>(pool, [](Add::Parameters) -> Add::Result {
    ADD_FAILURE() << "called";
    return {};
  });
  EXPECT_EQ(outcome_of(pool, task("Add", R"({"a":1,"b":2,"nots":"x"})")),
            "ValidationError(validation): parameters of Add: $.nots: is not declared; did you mean "
            "'note'?");
  EXPECT_EQ(outcome_of(pool, task("Add", R"({"a":1})")),
            "ValidationError(validation): parameters of Add: $.b: is required and missing");
  EXPECT_EQ(
      outcome_of(pool, task("Add", R"({"a":1,"b":"2"})")),
      "ValidationError(validation): parameters of Add: $.b: is a string and should be an integer");
}

TEST(PoolExecutor, WhatHandlersThrowIsClassified) {
  PoolExecutor pool({.threads = 1});
  const auto thrown = [&](auto what) {
    add<Nothing>(pool, [what](Nothing::Parameters) { throw what; });
    return outcome_of(pool, task("Nothing", "{}"));
  };
  const auto system = [](std::errc code) { return std::system_error(std::make_error_code(code)); };
  EXPECT_EQ(thrown(std::runtime_error("no")), "std::runtime_error(transient): no");
  EXPECT_EQ(thrown(std::invalid_argument("bad")), "std::invalid_argument(permanent): bad");
  EXPECT_THAT(thrown(system(std::errc::connection_refused)),
              HasSubstr("std::system_error(external)"));
  EXPECT_THAT(thrown(system(std::errc::timed_out)), HasSubstr("(timeout)"));
  EXPECT_THAT(thrown(system(std::errc::device_or_resource_busy)), HasSubstr("(contention)"));
  EXPECT_THAT(thrown(system(std::errc::no_such_file_or_directory)), HasSubstr("(permanent)"));
  EXPECT_THAT(thrown(system(std::errc::no_space_on_device)), HasSubstr("(transient)"));
  EXPECT_EQ(thrown(FailureException(Failure{
                .name = "Declined", .message = "m", .failure_class = FailureClass::consistency})),
            "Declined(consistency): m");
  EXPECT_EQ(thrown(std::string("text")), "std::string(transient): text");
  EXPECT_EQ(thrown(42), "int(transient): an exception of type int");
}

// rule: 15
TEST(PoolExecutor, WhoKnowsBetterClassifiesFailures) {
  PoolExecutor pool({.threads = 1});
  add<Nothing>(pool, [](Nothing::Parameters) { throw std::string("quota"); });
  const auto outcome = [&] { return outcome_of(pool, task("Nothing", "{}")); };
  pool.register_failure_classifier([](const Failure& failure) -> std::optional<FailureClass> {
    if (failure.message != "quota") return std::nullopt;
    return FailureClass::external;
  });
  EXPECT_EQ(outcome(), "std::string(external): quota");
  pool.register_failure_classifier([](const Failure&) { return std::nullopt; });
  pool.register_failure_classifier(
      [](const Failure&) -> std::optional<FailureClass> { throw std::runtime_error("no"); });
  EXPECT_EQ(outcome(), "std::string(external): quota");
  pool.register_failure_classifier([](const Failure&) { return FailureClass::permanent; });
  EXPECT_EQ(outcome(), "std::string(permanent): quota");
}

TEST(PoolExecutor, NestedExceptionsAreCauses) {
  PoolExecutor pool({.threads = 1});
  add<Nothing>(pool, [](Nothing::Parameters) {
    try {
      throw std::out_of_range("inner");
    } catch (...) {
      std::throw_with_nested(std::runtime_error("outer"));
    }
  });
  auto sink = std::make_shared<Collector>();
  pool.run({task("Nothing", "{}")}, sink);
  const Failure failure = std::get<Failure>(sink->wait_for(1).at(0).outcome);
  EXPECT_EQ(failure.message, "outer");
  ASSERT_EQ(failure.causes.size(), 1U);
  EXPECT_EQ(failure.causes[0].name, "std::out_of_range");
  EXPECT_EQ(failure.causes[0].message, "inner");
}

TEST(PoolExecutor, RunsAsManyAtOnceAsItHasThreads) {
  PoolExecutor pool({.threads = 4});
  std::barrier<> together(4);  // passes only if four handlers stand in it at once
  add<Nothing>(pool, [&](Nothing::Parameters) { together.arrive_and_wait(); });
  auto sink = std::make_shared<Collector>();
  std::vector<ActionTask> tasks;
  for (AttemptId id = 1; id <= 8; ++id) tasks.push_back(task("Nothing", "{}", id));
  pool.run(std::move(tasks), sink);
  std::set<AttemptId> answered;
  for (const ActionOutcome& outcome : sink->wait_for(8)) answered.insert(outcome.id);
  EXPECT_EQ(answered.size(), 8U);
}

// Time-outs count from there, so it must be told of each, when its handler begins and not before.
TEST(PoolExecutor, ReportsWhenAHandlerBegins) {
  PoolExecutor pool({.threads = 0});  // has one thread all the same
  EXPECT_TRUE(pool.reports_begin());
  auto sink = std::make_shared<Collector>();
  std::vector<std::size_t> known;
  add<Nothing>(pool, [&](Nothing::Parameters) { known.push_back(sink->begun().size()); });
  pool.run({task("Nothing", "{}", 7), task("Nothing", "{}", 8)}, sink);
  sink->wait_for(2);
  EXPECT_EQ(known, (std::vector<std::size_t>{1, 2}));
  EXPECT_EQ(sink->begun(), (std::vector<AttemptId>{7, 8}));
}

TEST(PoolExecutor, CannotBeClosedByAHandler) {
  PoolExecutor pool({.threads = 1});
  std::string told;
  add<Nothing>(pool, [&](Nothing::Parameters) {
    try {
      pool.close();
    } catch (const std::logic_error& refusal) {
      told = refusal.what();
    }
  });
  auto sink = std::make_shared<Collector>();
  pool.run({task("Nothing", "{}", 1)}, sink);
  sink->wait_for(1);
  EXPECT_NE(told.find("closed from one of its handlers"), std::string::npos) << told;
  pool.run({task("Nothing", "{}", 2)}, sink);
  EXPECT_EQ(sink->wait_for(2).size(), 2U) << "and is open";
}

TEST(PoolExecutor, AbortTellsTheHandlerOfThatAttemptOnly) {
  // All but their ids is the same: two tenants may use one key.
  PoolExecutor pool({.threads = 2});
  std::barrier<> started(3);
  std::promise<void> go_on;
  std::shared_future<void> told = go_on.get_future().share();
  add<Ratio>(pool, [&, told](Ratio::Parameters, const ActionContext& context) {
    started.arrive_and_wait();
    told.wait();
    return context.stop.stop_requested() ? 1.0 : 0.0;
  });
  auto sink = std::make_shared<Collector>();
  pool.run({task("ComputeRatio", "{}", 1), task("ComputeRatio", "{}", 2)}, sink);
  started.arrive_and_wait();
  pool.abort(2);
  pool.abort(3);
  go_on.set_value();
  for (const ActionOutcome& outcome : sink->wait_for(2)) {
    EXPECT_EQ(std::get<Payload>(outcome.outcome).bytes, outcome.id == 2 ? "1" : "0");
  }
  pool.abort(2);  // it is over: nobody to tell
}

TEST(PoolExecutor, WhatIsAbortedInTheQueueNeverBegins) {
  PoolExecutor pool({.threads = 1});
  std::promise<void> go_on;
  std::barrier<> started(2);
  std::atomic<int> calls = 0;
  add<Nothing>(pool, [&](Nothing::Parameters) {
    if (calls++ == 0) {
      started.arrive_and_wait();
      go_on.get_future().wait();
    }
  });
  auto sink = std::make_shared<Collector>();
  pool.run({task("Nothing", "{}", 1), task("Nothing", "{}", 2), task("Nothing", "{}", 3)}, sink);
  started.arrive_and_wait();
  pool.abort(2);
  go_on.set_value();
  const std::vector<ActionOutcome> outcomes = sink->wait_for(3);
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(std::get<Failure>(outcomes[1].outcome).name, "Aborted");
  EXPECT_EQ(outcomes[1].id, 2);
}

TEST(PoolExecutor, ClosingStopsWhatRunsAndAnswersWhatIsQueued) {
  auto sink = std::make_shared<Collector>();
  std::barrier<> started(2);
  {
    PoolExecutor pool({.threads = 1});
    add<Nothing>(pool, [&](Nothing::Parameters, const ActionContext& context) {
      started.arrive_and_wait();
      std::mutex mutex;
      std::condition_variable_any stopped;
      std::unique_lock lock(mutex);
      stopped.wait(lock, context.stop, [] { return false; });
    });
    pool.run({task("Nothing", "{}", 1), task("Nothing", "{}", 2)}, sink);
    started.arrive_and_wait();
    pool.close();
    pool.run({task("Nothing", "{}", 3)}, sink);
  }
  const std::vector<ActionOutcome> outcomes = sink->wait_for(3);
  EXPECT_EQ(outcomes.size(), 3U);
  EXPECT_EQ(std::get<Failure>(outcomes[2].outcome).message, "the pool is closed");
  EXPECT_EQ(std::get<Payload>(outcomes[0].outcome), Payload{});
  EXPECT_EQ(std::get<Failure>(outcomes[1].outcome).name, "Aborted");
}

TEST(PoolExecutor, WhatIsHeldNeverBegins) {
  PoolExecutor pool({.threads = 1});
  std::barrier<> started(2);
  std::promise<void> go_on;
  std::atomic<int> calls = 0;
  add<Nothing>(pool, [&](Nothing::Parameters) {
    ++calls;
    started.arrive_and_wait();
    go_on.get_future().wait();
  });
  auto sink = std::make_shared<Collector>();
  pool.run({task("Nothing", "{}", 1), task("Nothing", "{}", 2), task("Nothing", "{}", 3)}, sink);
  started.arrive_and_wait();
  EXPECT_EQ(pool.hold(), (std::vector<AttemptId>{2, 3}));
  EXPECT_EQ(pool.hold(), std::vector<AttemptId>{});
  go_on.set_value();
  sink->wait_for(1);
  pool.close();
  EXPECT_EQ(sink->wait_for(1).size(), 1U) << "what was held is not answered";
  EXPECT_EQ(calls, 1);
}

// Handlers that go on until the test lets them, whatever they are told.
class Deaf {
 public:
  explicit Deaf(PoolExecutor& pool) {
    add<Ratio>(pool, [this](Ratio::Parameters) {
      std::unique_lock lock(mutex_);
      ++inside_;
      changed_.notify_all();
      changed_.wait(lock, [this] { return free_ > 0; });
      --free_;
      return 1.0;
    });
  }
  void wait_until_inside(const int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return inside_ == count; });
  }
  void free(const int count) {
    const std::lock_guard lock(mutex_);
    free_ += count;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int inside_ = 0;
  int free_ = 0;
};

TEST(PoolExecutor, AHandlerThatWasGivenUpHasItsThreadReplaced) {
  PoolExecutor pool({.threads = 1});
  Deaf deaf(pool);
  add<Nothing>(pool, [](Nothing::Parameters) {});
  auto sink = std::make_shared<Collector>();
  for (AttemptId id = 1; id <= 3; ++id) {
    pool.run({task("ComputeRatio", "{}", id)}, sink);
    deaf.wait_until_inside(static_cast<int>(id));
    pool.abort(id);
    pool.abort(id);
  }
  pool.run({task("Nothing", "{}", 4)}, sink);
  EXPECT_EQ(sink->wait_for(1).at(0).id, 4);
  // They come back late, and what they give is told, to whom it may concern.
  deaf.free(3);
  EXPECT_EQ(sink->wait_for(4).size(), 4U);
  pool.run({task("Nothing", "{}", 5)}, sink);
  sink->wait_for(5);
}

// Threads that were replaced end when they come back: as many handlers run at once as were asked for.
TEST(PoolExecutor, AThreadThatComesBackLateMakesNoMoreOfThem) {
  PoolExecutor pool({.threads = 1});
  Deaf deaf(pool);
  std::atomic<int> at_once = 0;
  std::atomic<int> most = 0;
  add<Nothing>(pool, [&](Nothing::Parameters) {
    most = std::max<int>(most, ++at_once);
    std::this_thread::yield();
    --at_once;
  });
  auto sink = std::make_shared<Collector>();
  for (AttemptId id = 1; id <= 4; ++id) {
    pool.run({task("ComputeRatio", "{}", id)}, sink);
    deaf.wait_until_inside(static_cast<int>(id));
    pool.abort(id);
  }
  deaf.free(4);
  sink->wait_for(4);
  std::vector<ActionTask> many;
  for (AttemptId id = 10; id < 210; ++id) many.push_back(task("Nothing", "{}", id));
  pool.run(std::move(many), sink);
  sink->wait_for(204);
  EXPECT_EQ(most, 1);
}

TEST(PoolExecutor, AttemptsWaitWhereTooManyThreadsAreKept) {
  std::atomic<int> said = 0;
  std::string message;
  PoolExecutor pool({.threads = 1, .abandoned_threads_max = 2, .warn = [&](std::string text) {
                       ++said;
                       message = std::move(text);
                     }});
  Deaf deaf(pool);
  add<Nothing>(pool, [](Nothing::Parameters) {});
  auto sink = std::make_shared<Collector>();
  for (AttemptId id = 1; id <= 3; ++id) {
    EXPECT_EQ(said, 0);
    pool.run({task("ComputeRatio", "{}", id)}, sink);
    deaf.wait_until_inside(static_cast<int>(id));
    pool.abort(id);
  }
  EXPECT_EQ(said, 1);
  EXPECT_THAT(message,
              HasSubstr("keep 2 threads beyond those of the pool (abandoned_threads_max)"));
  pool.run({task("Nothing", "{}", 4)}, sink);
  pool.abort(4);  // in the queue, it takes no thread
  EXPECT_EQ(said, 1);
  pool.run({task("Nothing", "{}", 5)}, sink);
  EXPECT_EQ(pool.hold(), (std::vector<AttemptId>{4, 5})) << "no thread took them";
  pool.run({task("Nothing", "{}", 6)}, sink);
  deaf.free(1);
  const std::vector<ActionOutcome> outcomes = sink->wait_for(2);
  EXPECT_EQ(outcomes.at(1).id, 6);
  deaf.free(2);
}

TEST(PoolExecutor, ClosingWaitsForHandlersThatWereGivenUp) {
  auto sink = std::make_shared<Collector>();
  std::optional<Deaf> deaf;
  std::thread later;
  {
    PoolExecutor pool({.threads = 1});
    deaf.emplace(pool);
    pool.run({task("ComputeRatio", "{}", 1)}, sink);
    deaf->wait_until_inside(1);
    pool.abort(1);
    later = std::thread([&] { deaf->free(1); });
  }
  EXPECT_EQ(sink->wait_for(1).size(), 1U);
  later.join();
}

TEST(PoolExecutor, AnActionWithoutAHandlerFails) {
  PoolExecutor pool({.threads = 1});
  EXPECT_THAT(outcome_of(pool, task("Unheard", "{}")),
              HasSubstr("no handler for action 'Unheard'"));
}

}  // namespace
}  // namespace pawl
