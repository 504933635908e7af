#include "pawl/compensations.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <exception>
#include <source_location>

#include "pawl/pawl.h"
#include "tests/support/coroutine_driver.h"

// The example of the header, as a user writes it.
namespace trips {

struct Plan {
  std::string city = "a city whose name does not fit into a small string";
};
PAWL_DESCRIBE(Plan, city);

struct Trip {
  std::string flight;
  std::string room;
};
PAWL_DESCRIBE(Trip, flight, room);

struct BookFlight {
  struct Parameters {
    std::string to;
  };
  using Result = std::string;
};
PAWL_DESCRIBE(BookFlight::Parameters, to);

struct BookHotel {
  struct Parameters {
    std::string city;
  };
  using Result = std::string;
};
PAWL_DESCRIBE(BookHotel::Parameters, city);

struct CancelFlight {
  struct Parameters {
    std::string flight;
  };
};
PAWL_DESCRIBE(CancelFlight::Parameters, flight);

struct CancelHotel {
  struct Parameters {
    std::string room;
  };
};
PAWL_DESCRIBE(CancelHotel::Parameters, room);

pawl::Task<Trip> book(pawl::Context& ctx, Plan plan) {
  auto flight = co_await ctx.run<BookFlight>({.to = plan.city});
  ctx.compensations().add<CancelFlight>({.flight = flight.value()});
  auto room = co_await ctx.run<BookHotel>({.city = plan.city});
  ctx.compensations().add<CancelHotel>({.room = room.value()}, {.retry = {.max_attempts = 20}});
  co_await ctx.wait_for("Confirm");
  co_return Trip{*flight, *room};
}

pawl::Workflow<Trip> journey(pawl::Context& ctx, Plan plan) {
  std::exception_ptr thrown;
  try {
    co_return co_await book(ctx, plan);
  } catch (...) {
    thrown = std::current_exception();
  }
  auto undone = co_await ctx.compensations().run();
  undone.value();
  std::rethrow_exception(thrown);
}

// What the tests below undo.
struct Undo {
  struct Parameters {
    std::string what;
    std::optional<double> price;
  };
};
PAWL_DESCRIBE(Undo::Parameters, what, price);

struct Reset {
  struct Parameters {};
};
PAWL_DESCRIBE(Reset::Parameters);

}  // namespace trips

namespace pawl {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing_support::CoroutineDriver;
using testing_support::describe;
using trips::Reset;
using trips::Undo;

void add(Context& ctx, const std::string& what) { ctx.compensations().add<Undo>({.what = what}); }

std::string run(int position, const std::string& what) {
  return "run " + std::to_string(position) + " Undo {\"what\":\"" + what + "\"}";
}

// Put away at each point, and brought back, it asks for the same again.
void expect_replays(CoroutineDriver& driver) {
  for (std::size_t count = 1; count <= driver.delivered.size(); ++count) {
    const auto again = driver.replay(count);
    for (std::size_t i = 0; i < again.size(); ++i) {
      EXPECT_EQ(describe(again[i]), describe(driver.results[i])) << "of " << count;
    }
  }
}

TEST(CompensationList, TheLastOneRunsFirstOneAfterTheOtherEachOnce) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<int> {
    Undo::Parameters named{.what = "a", .price = 2.5};
    ctx.compensations().add<Undo>(named, {.timeout = 5s});
    named.what = "changed";
    ctx.compensations().add<Reset>({}, {.retry = {.max_attempts = 7}});
    ctx.compensations().add_named("undo", named);
    auto undone = co_await ctx.compensations().run();
    EXPECT_TRUE(undone);
    undone = co_await ctx.compensations().run();
    EXPECT_TRUE(undone);
    add(ctx, "late");
    undone = co_await ctx.compensations().run();
    co_return undone ? 1 : 0;
  });
  EXPECT_THAT(describe(driver.start()),
              ElementsAre(R"(run 1 undo {"what":"changed","price":2.5})"));
  EXPECT_THAT(describe(driver.deliver({driver.completed(1)})),
              ElementsAre("run 2 Reset {} attempts=7"));
  EXPECT_THAT(describe(driver.deliver({driver.completed(2)})),
              ElementsAre(R"(run 3 Undo {"what":"a","price":2.5} timeout=5000)"));
  EXPECT_THAT(describe(driver.deliver({driver.completed(3, "\"ignored\"")})),
              ElementsAre(run(4, "late")));
  EXPECT_THAT(describe(driver.deliver({driver.completed(4)})), ElementsAre("complete 1"));
  expect_replays(driver);
}

TEST(CompensationList, WhatFailsKeepsNoneOfTheOthersAndIsAValue) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<> {
    for (const char* what : {"a", "b", "c", "d"}) add(ctx, what);
    const auto undone = co_await ctx.compensations().run();
    EXPECT_FALSE(undone);
    const CompensationFailure& left = undone.error();
    EXPECT_EQ(left.ran, 4U);
    EXPECT_EQ(left.failed.size(), 2U);
    EXPECT_EQ(left.failed.at(0).action, "Undo");
    EXPECT_EQ(left.failed.at(0).parameters.bytes, R"({"what":"d"})");
    EXPECT_EQ(left.failed.at(0).failure.name, "Boom");
    EXPECT_EQ(left.failed.at(1).failure.message, "b stays");
    EXPECT_TRUE(co_await ctx.compensations().run()) << "none is left";
    undone.value();
  });
  EXPECT_THAT(describe(driver.start()), ElementsAre(run(1, "d")));
  EXPECT_THAT(describe(driver.deliver({driver.failed(1, "\"d\" stays")})),
              ElementsAre(run(2, "c")));
  EXPECT_THAT(describe(driver.deliver({driver.completed(2)})), ElementsAre(run(3, "b")));
  EXPECT_THAT(describe(driver.deliver({driver.failed(3, "b stays")})), ElementsAre(run(4, "a")));
  const ActivationResult end = driver.deliver({driver.completed(4)});
  EXPECT_THAT(describe(end), ElementsAre("fail CompensationError: 2 of 4 compensations failed: "
                                         "Undo: \"d\" stays; Undo: b stays"));
  const Failure& failure = std::get<FailCommand>(end.commands.at(0)).failure;
  EXPECT_EQ(failure.code, "compensation_failed");
  EXPECT_EQ(failure.details_json,
            R"({"failed":[{"action":"Undo","parameters":{"what":"d"},"message":"\"d\" stays"},)"
            R"({"action":"Undo","parameters":{"what":"b"},"message":"b stays"}]})");
  ASSERT_EQ(failure.causes.size(), 1U);
  EXPECT_EQ(failure.causes[0].message, "\"d\" stays");
  expect_replays(driver);
}

TEST(CompensationList, WhatCanNotBeCarriedOrRunIsRefusedWhereItIsAdded) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<> {
    const Compensations list = ctx.compensations();
    EXPECT_THROW(list.add<Undo>({.what = "a", .price = std::nan("")}), ErrorException);
    EXPECT_THROW(list.add<Undo>({.what = std::string(2 << 20, 'a')}), ErrorException);
    EXPECT_THROW(list.add<Undo>({.what = "a"}, {.retry = {.max_attempts = 0}}),
                 std::invalid_argument);
    EXPECT_THROW(list.add_named("", Json()), ErrorException);
    EXPECT_TRUE(co_await list.run());
  });
  EXPECT_THAT(describe(driver.start()), ElementsAre("complete "));
}

TEST(CompensationList, NothingRunsByItselfAndNothingIsRecordedOfNothing) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<> {
    EXPECT_TRUE(co_await ctx.compensations().run());
    add(ctx, "kept to the end");
  });
  EXPECT_THAT(describe(driver.start()), ElementsAre("complete "));
}

TEST(CompensationList, ASecondRunWaitsForTheFirstAndHasWhatWasAddedSince) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<std::string> {
    add(ctx, "a");
    add(ctx, "b");
    auto first = ctx.compensations().run();
    add(ctx, "c");
    auto second = ctx.compensations().run();
    auto empty = ctx.compensations().run();
    const auto third = [](Context& inner) -> Task<bool> {
      co_await inner.wait_for("More");
      add(inner, "d");
      const auto undone = co_await inner.compensations().run();
      co_return undone.has_value();
    };
    auto later = third(ctx);
    const auto [one, two, three] = co_await pawl::all(first, second, empty);
    EXPECT_TRUE(one);
    EXPECT_EQ(two.error().ran, 1U);
    EXPECT_TRUE(three);
    const bool undone = co_await later;
    co_return undone ? "all" : "not all";
  });
  EXPECT_THAT(describe(driver.start()), ElementsAre(run(1, "b"), "wait 2 More"));
  EXPECT_THAT(describe(driver.deliver({driver.event(2, "More")})), IsEmpty());
  EXPECT_THAT(describe(driver.deliver({driver.completed(1)})), ElementsAre(run(3, "a")));
  EXPECT_THAT(describe(driver.deliver({driver.completed(3)})), ElementsAre(run(4, "c")));
  EXPECT_THAT(describe(driver.deliver({driver.failed(4, "c stays")})), ElementsAre(run(5, "d")));
  EXPECT_THAT(describe(driver.deliver({driver.completed(5)})), ElementsAre("complete \"all\""));
  expect_replays(driver);
}

TEST(CompensationList, TheOneUnderWayWhenItIsCancelledCountsAsFailedAndTheOthersRun) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<> {
    add(ctx, "a");
    add(ctx, "b");
    auto undoing = ctx.compensations().run();
    auto beside = ctx.sleep(1h);
    const auto undone = co_await undoing;
    EXPECT_EQ(undone.error().ran, 2U);
    EXPECT_EQ(undone.error().failed.size(), 1U);
    EXPECT_EQ(undone.error().failed.at(0).parameters.bytes, R"({"what":"b"})");
    EXPECT_EQ(undone.error().failed.at(0).failure.code, "cancelled");
    EXPECT_EQ(undone.error().failed.at(0).failure.message, "too late");
    add(ctx, "c");
    EXPECT_TRUE(co_await ctx.compensations().run());
    co_await beside;
  });
  driver.start();
  EXPECT_THAT(describe(driver.deliver({CancelJob{"too late"}})), ElementsAre(run(3, "a")));
  EXPECT_THAT(describe(driver.deliver({driver.completed(3)})), ElementsAre(run(4, "c")));
  EXPECT_THAT(describe(driver.deliver({driver.completed(4)})), ElementsAre("cancel too late"));
  expect_replays(driver);
}

TEST(CompensationList, CancelledIsThrownByWhatIsAwaitedBesideARunOnceAllRan) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<> {
    add(ctx, "a");
    add(ctx, "b");
    co_await pawl::all(ctx.compensations().run(), ctx.sleep(1h));
  });
  driver.start();
  EXPECT_THAT(describe(driver.deliver({CancelJob{}})), ElementsAre(run(3, "a")));
  EXPECT_THAT(describe(driver.deliver({driver.completed(3)})),
              ElementsAre("cancel The execution was cancelled"));
}

TEST(CompensationList, ARunThatIsDroppedGoesOn) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<> {
    add(ctx, "a");
    add(ctx, "b");
    {
      const auto dropped = ctx.compensations().run();
    }
    add(ctx, "c");
    EXPECT_TRUE(co_await ctx.compensations().run());
  });
  EXPECT_THAT(describe(driver.start()), ElementsAre(run(1, "b")));
  EXPECT_THAT(describe(driver.deliver({driver.completed(1)})), ElementsAre(run(2, "a")));
  EXPECT_THAT(describe(driver.deliver({driver.completed(2)})), ElementsAre(run(3, "c")));
  EXPECT_THAT(describe(driver.deliver({driver.completed(3)})), ElementsAre("complete "));
}

TEST(CompensationList, AnyDoesNotWithdrawARunThatLost) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<bool> {
    add(ctx, "a");
    add(ctx, "b");
    auto undoing = ctx.compensations().run();
    const auto first = co_await pawl::any(undoing, ctx.sleep(1s));
    ctx.set_state(first.index() == 1 ? "slow" : "quick");
    const auto undone = co_await undoing;
    co_return undone.has_value();
  });
  driver.start();
  EXPECT_THAT(describe(driver.deliver({driver.fired(2)})), ElementsAre("state slow"));
  EXPECT_THAT(describe(driver.deliver({driver.completed(1)})), ElementsAre(run(3, "a")));
  EXPECT_THAT(describe(driver.deliver({driver.completed(3)})), ElementsAre("complete true"));
  expect_replays(driver);
}

TEST(CompensationList, WrongUsesAreToldApart) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<> {
    EXPECT_THROW(co_await ctx.condition([&ctx]() -> bool {
      add(ctx, "from a predicate");
      return true;
    }),
                 std::logic_error);
    EXPECT_THROW(co_await ctx.condition([&ctx]() -> bool {
      const auto undoing = ctx.compensations().run();
      return true;
    }),
                 std::logic_error);
    add(ctx, "a");
    auto undoing = ctx.compensations().run();
    const auto awaits = [](CompensationRun& undone) -> Task<void> { co_await undone; };
    auto one = awaits(undoing);
    EXPECT_THROW(co_await awaits(undoing), std::logic_error) << "two at once";
    co_await one;
    EXPECT_THROW(co_await undoing, std::logic_error) << "twice";
  });
  EXPECT_THAT(describe(driver.start()), ElementsAre(run(1, "a")));
  EXPECT_THAT(describe(driver.deliver({driver.completed(1)})), ElementsAre("complete "));
}

struct Undoes {
  Context& ctx;
  ~Undoes() {
    add(ctx, "from a destructor");
    const auto undoing = ctx.compensations().run();
    EXPECT_FALSE(undoing.ready());
  }
};

TEST(CompensationList, WhatDestructorsAskForWhileTheFrameGoesIsIgnored) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<> {
    const Undoes undoes{ctx};
    add(ctx, "a");
    co_await ctx.wait_for("Go");
    EXPECT_TRUE(co_await ctx.compensations().run());
    co_await ctx.wait_for("Stop");
  });
  driver.start();
  EXPECT_THAT(describe(driver.replay(1)[0]), ElementsAre("wait 1 Go"));
  EXPECT_THAT(describe(driver.deliver({driver.event(1, "Go")})), ElementsAre(run(2, "a")));
  driver.host.evict(CoroutineDriver::kRef);
}

TEST(CompensationList, WhatIsUnderWayGoesWithTheFrame) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<> {
    const Undoes undoes{ctx};
    add(ctx, "a");
    add(ctx, "b");
    auto undoing = ctx.compensations().run();
    co_await ctx.wait_for("Go");
    co_await ctx.continue_as_new(7);
  });
  driver.start();
  driver.host.evict(CoroutineDriver::kRef);
  EXPECT_THAT(describe(driver.replay(1)[0]), ElementsAre(run(1, "b"), "wait 2 Go"));
  // The next run has a list of its own: what is under way is left.
  EXPECT_THAT(describe(driver.deliver({driver.event(2, "Go")})), ElementsAre("continue as new 7"));
}

constexpr unsigned kFirstLine = std::source_location::current().line() + 2;
Workflow<> undoes_what_it_added(Context& ctx) {
  ctx.compensations().add<Undo>({.what = "a"});  // kFirstLine
  Undo::Parameters named;
  ctx.compensations().add<Undo>(named);
  ctx.compensations().add_named("undo", named);
  co_await ctx.compensations().run();
}

TEST(CompensationList, TheRecordOfEachHasTheLineThatAddedIt) {
  CoroutineDriver driver(undoes_what_it_added);
  const auto check = [](const ActivationResult& result, unsigned offset) {
    ASSERT_EQ(result.sites.size(), 1U);
    EXPECT_THAT(
        std::string(result.sites[0]),
        HasSubstr("host/compensations_test.cc:" + std::to_string(kFirstLine + offset) + ":"));
  };
  check(driver.start(), 3);
  check(driver.deliver({driver.completed(1)}), 2);
  check(driver.deliver({driver.failed(2, "stays")}), 0);
}

// --- the example of the header ----------------------------------------------------------------

const std::string kFlight = "a flight whose number does not fit into a small string";
const std::string kRoom = "a room whose number does not fit into a small string";

void begin_journey(CoroutineDriver& driver) {
  driver.start(trips::Plan{});
  driver.deliver({driver.completed(1, '"' + kFlight + '"')});
}

TEST(CompensationsExample, BooksAndUndoesNothing) {
  CoroutineDriver driver(&trips::journey);
  begin_journey(driver);
  driver.deliver({driver.completed(2, '"' + kRoom + '"')});
  EXPECT_THAT(describe(driver.deliver({driver.event(3, "Confirm")})),
              ElementsAre(R"(complete {"flight":")" + kFlight + R"(","room":")" + kRoom + "\"}"));
}

TEST(CompensationsExample, UndoesWhatWasBookedBeforeAFailure) {
  CoroutineDriver driver(&trips::journey);
  begin_journey(driver);
  EXPECT_THAT(describe(driver.deliver({driver.failed(2, "no room")})),
              ElementsAre(R"(run 3 CancelFlight {"flight":")" + kFlight + "\"}"));
  EXPECT_THAT(describe(driver.deliver({driver.completed(3)})), ElementsAre("fail Boom: no room"));
  expect_replays(driver);
}

// rule: 22
TEST(CompensationsExample, ACancelledJourneyIsUndoneAndThenCancelled) {
  CoroutineDriver driver(&trips::journey);
  begin_journey(driver);
  driver.deliver({driver.completed(2, '"' + kRoom + '"')});
  EXPECT_THAT(describe(driver.deliver({CancelJob{"ill"}})),
              ElementsAre(R"(run 4 CancelHotel {"room":")" + kRoom + "\"} attempts=20"));
  EXPECT_THAT(describe(driver.deliver({driver.completed(4)})),
              ElementsAre(R"(run 5 CancelFlight {"flight":")" + kFlight + "\"}"));
  EXPECT_THAT(describe(driver.deliver({driver.completed(5)})), ElementsAre("cancel ill"));
  expect_replays(driver);
}

}  // namespace
}  // namespace pawl
