// Compensations, told four ways with the production engine and the coroutine host: what was done is
// undone in reverse, each once, whatever happens around it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <exception>
#include <set>

#include "host/coroutine_host.h"
#include "pawl/workflow.h"
#include "tests/support/four_ways.h"
#include "tests/support/story_parts.h"

namespace undo_stories {

struct Book {
  struct Parameters {
    std::string what;
  };
};
PAWL_DESCRIBE(Book::Parameters, what);

struct Undo {
  struct Parameters {
    std::string what;
  };
};
PAWL_DESCRIBE(Undo::Parameters, what);

}  // namespace undo_stories

namespace pawl::testing {
namespace {

using ::testing::ElementsAre;
using undo_stories::Book;
using undo_stories::Undo;

template <class F>
World::HostMaker host_of(F workflow) {
  return [workflow] {
    auto host = std::make_unique<CoroutineHost>();
    host->register_workflow("Story", "1.0.0", detail::make_workflow_function(workflow));
    return host;
  };
}

Failure permanent(std::string message) {
  Failure failure{.message = std::move(message)};
  failure.failure_class = FailureClass::permanent;
  return failure;
}

std::string what_of(const ActionTask& task) {
  return from_payload<Undo::Parameters>(task.parameters).value().what;
}

// Refuses to undo what is called so; what is called "slow" is never answered.
ActionFunction undo_all_but(std::string wrong) {
  return [wrong = std::move(wrong)](
             const ActionTask& task) -> std::optional<std::variant<Payload, Failure>> {
    const std::string what = what_of(task);
    if (what == "slow") return std::nullopt;
    if (what == wrong) return permanent(what + " stays");
    return Payload{};
  };
}

std::function<void(World&)> prepare(const ActionFunction& undo) {
  return [undo](World& world) {
    world.register_workflow("Story");
    world.register_action("Book", echo);
    world.register_action("Undo", undo);
  };
}

// What the code asked to be undone, in order.
std::vector<std::string> undone_in(const World& world) {
  std::vector<std::string> undone;
  for (const HistoryEvent& event : world.history(kTenant, "a")) {
    if (event.type != EventType::action_scheduled || event.name != "Undo") continue;
    undone.push_back(from_payload<Undo::Parameters>(event.payload).value().what);
  }
  return undone;
}

// A booking that fails once all is booked, with the bookings undone.
Workflow<std::string> books(Context& ctx) {
  for (const char* what : {"flight", "hotel", "car"}) {
    co_await ctx.run<Book>({.what = what});
    ctx.compensations().add<Undo>({.what = what});
  }
  co_await ctx.wait_for("Refuse");
  ctx.set_state("undoing");
  const auto undone = co_await ctx.compensations().run();
  ctx.set_state("undone");
  co_await ctx.wait_for("Close");
  const auto again = co_await ctx.compensations().run();
  if (!again) co_return "not reached";
  if (undone) co_return "undone";
  co_return undone.error().message();
}

void refuse_and_close(World& world) {
  start_until_told(world, start_of("a"));
  submit_until_told(world, event_of("a", "Refuse", "1"));
  submit_until_told(world, event_of("a", "Close", "2"));
  world.run_out();
}

TEST(Compensations, WhatWasDoneIsUndoneInReverseEachOnce) {
  tell_four_ways(
      {host_of(books), prepare(undo_all_but("nothing")), refuse_and_close, [](const World& world) {
         EXPECT_EQ(world.state(kTenant, "a").result.bytes, "\"undone\"");
         EXPECT_THAT(undone_in(world), ElementsAre("car", "hotel", "flight"));
       }});
}

TEST(Compensations, OneThatFailsKeepsNoneOfTheOthers) {
  tell_four_ways(
      {host_of(books), prepare(undo_all_but("hotel")), refuse_and_close, [](const World& world) {
         EXPECT_EQ(world.state(kTenant, "a").result.bytes,
                   "\"1 of 3 compensations failed: Undo: hotel stays\"");
         EXPECT_THAT(undone_in(world), ElementsAre("car", "hotel", "flight"));
       }});
}

// rule: 22
TEST(Compensations, TheOneUnderWayWhenItIsCancelledCountsAsFailedAndThoseBehindItRun) {
  const auto workflow = [](Context& ctx) -> Workflow<> {
    for (const char* what : {"first", "slow", "last"}) {
      ctx.compensations().add<Undo>({.what = what});
    }
    auto undoing = ctx.compensations().run();
    ctx.compensations().add<Undo>({.what = "added since"});
    auto more = ctx.compensations().run();
    const auto undone = co_await undoing;
    ctx.set_state(undone ? "undone" : undone.error().message());
    const auto rest = co_await more;
    rest.value();
    co_await ctx.wait_for("Close");
  };
  tell_four_ways(
      {host_of(workflow), prepare(undo_all_but("nothing")),
       [](World& world) {
         start_until_told(world, start_of("a"));
         while (undone_in(world).size() < 2) world.advance(1'000);
         control_until_told(world, ControlVerb::cancel, "a", "changed their mind");
         submit_until_told(world, event_of("a", "Close", "1"));
       },
       [](const World& world) {
         const ExecutionState state = world.state(kTenant, "a");
         EXPECT_EQ(state.status, "completed");
         EXPECT_EQ(state.current_state, "1 of 3 compensations failed: Undo: changed their mind");
         EXPECT_THAT(undone_in(world), ElementsAre("last", "slow", "first", "added since"));
       }});
}

// rule: 22
TEST(Compensations, ACancelledExecutionUndoesWhatItDidAndIsCancelled) {
  const auto work = [](Context& ctx) -> Task<void> {
    co_await ctx.run<Book>({.what = "flight"});
    ctx.compensations().add<Undo>({.what = "flight"});
    co_await ctx.run<Book>({.what = "hotel"});
    ctx.compensations().add<Undo>({.what = "hotel"});
    ctx.set_state("booked");
    co_await ctx.wait_for("Confirm");
  };
  const auto workflow = [work](Context& ctx) -> Workflow<> {
    std::exception_ptr thrown;
    try {
      co_await work(ctx);
      co_return;
    } catch (...) {
      thrown = std::current_exception();
    }
    auto undone = co_await ctx.compensations().run();
    undone.value();
    std::rethrow_exception(thrown);
  };
  tell_four_ways({host_of(workflow), prepare(undo_all_but("nothing")),
                  [](World& world) {
                    start_until_told(world, start_of("a"));
                    while (world.state(kTenant, "a").current_state != "booked") {
                      world.advance(1'000);
                    }
                    control_until_told(world, ControlVerb::cancel, "a", "ill");
                    world.run_out();
                  },
                  [](const World& world) {
                    EXPECT_EQ(world.state(kTenant, "a").status, "cancelled");
                    EXPECT_THAT(undone_in(world), ElementsAre("hotel", "flight"));
                  }});
}

// What could not be undone ends the execution as failed; once it can be, a retry goes on from there.
TEST(Compensations, ARetryUndoesWhatIsLeft) {
  const auto workflow = [](Context& ctx) -> Workflow<std::string> {
    ctx.compensations().add<Undo>({.what = "flight"});
    ctx.compensations().add<Undo>({.what = "hotel"});
    auto undone = co_await ctx.compensations().run();
    undone.value();
    co_return "undone";
  };
  // Refuses the flight until the execution is retried, which is seen by the key.
  const auto mended_later =
      [](const ActionTask& task) -> std::optional<std::variant<Payload, Failure>> {
    const std::string& key = task.idempotency_key;
    const bool retried = std::count(key.begin(), key.end(), ':') > 2;
    if (what_of(task) == "hotel" || retried) return Payload{};
    return permanent("the airline is closed");
  };
  tell_four_ways({host_of(workflow), prepare(mended_later),
                  [](World& world) {
                    start_until_told(world, start_of("a"));
                    if (world.state(kTenant, "a").status != "failed") world.advance(5'000);
                    EXPECT_EQ(world.state(kTenant, "a").error->name, "CompensationError");
                    EXPECT_EQ(world.state(kTenant, "a").error->details_json,
                              R"({"failed":[{"action":"Undo","parameters":{"what":"flight"},)"
                              R"("message":"the airline is closed"}]})");
                    control_until_told(world, ControlVerb::retry, "a", "the airline is open again");
                    world.run_out();
                  },
                  [](const World& world) {
                    EXPECT_EQ(world.state(kTenant, "a").result.bytes, "\"undone\"");
                    std::set<std::string> hotel;
                    for (const ActionTask& task : world.actions_run()) {
                      if (what_of(task) == "hotel") hotel.insert(task.idempotency_key);
                    }
                    EXPECT_EQ(hotel.size(), 1U) << "what was undone is left so";
                  }});
}

}  // namespace
}  // namespace pawl::testing
