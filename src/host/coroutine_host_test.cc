#include "host/coroutine_host.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "pawl/pawl.h"
#include "tests/support/coroutine_driver.h"

namespace host_shapes {

struct Item {
  std::string name;
  std::optional<int> count;
};
PAWL_DESCRIBE(Item, name, count);

struct Step {
  struct Parameters {
    std::string name;
    std::optional<Item> item;
    std::vector<std::string> tags;
    std::uint8_t small = 0;
    Item nested;
  };
  using Result = std::string;
};
PAWL_DESCRIBE(Step::Parameters, name, item, tags, small, nested);

struct Quiet {
  struct Parameters {};
};
PAWL_DESCRIBE(Quiet::Parameters);

// Named as the macro's own parts are, or were.
struct Send {
  struct Parameters {
    std::string to;
    int give = 0;
    int from = 0;
  };
};
PAWL_DESCRIBE(Send::Parameters, to, give, from);

}  // namespace host_shapes

namespace pawl {
namespace {

using namespace std::chrono_literals;
using host_shapes::Item;
using host_shapes::Quiet;
using host_shapes::Send;
using host_shapes::Step;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;
using testing_support::CoroutineDriver;
using testing_support::describe;
using Lines = std::vector<std::string>;

// --- cancellation ---------------------------------------------------------------------------

// rule: 22
TEST(CoroutineHost, CancellingThrowsAtEachOpenAwaitInOrderOfCreationAndWhatFollowsWorks) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<> {
    auto step = ctx.run<Quiet>();
    auto wait = ctx.wait_for("Approve");
    std::string thrown;
    try {
      co_await wait;
    } catch (const Cancelled& cancelled) {
      thrown = cancelled.reason();
    }
    EXPECT_TRUE(ctx.is_cancelled());
    EXPECT_THROW(co_await step, Cancelled);
    ctx.set_state("cleaning up: " + thrown);
    co_await ctx.run<Quiet>();
    throw Cancelled(thrown);
  });
  driver.start();
  EXPECT_THAT(describe(driver.deliver({CancelJob{"too late"}})),
              ElementsAre("state cleaning up: too late", "run 3 Quiet {}"));
  EXPECT_THAT(describe(driver.deliver({CoroutineDriver::completed(3)})),
              ElementsAre("cancel too late"));
}

TEST(CoroutineHost, AllAndTasksThrowCancelledToo) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<std::string> {
    auto task = [](Context& inner) -> Task<int> {
      co_await inner.sleep(1h);
      co_return 1;
    };
    try {
      co_await pawl::all(ctx.run<Quiet>(), task(ctx));
    } catch (const Cancelled&) {
      co_return "returned";
    }
    co_return "not reached";
  });
  driver.start();
  EXPECT_THAT(describe(driver.deliver({CancelJob{}})), ElementsAre("complete \"returned\""));
}

// rule: 23
TEST(CoroutineHost, AfterACancellationChildrenAreAwaitedAgain) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<std::string> {
    auto first = ctx.start_child<int>("Count", 1);
    auto second = ctx.start_child<int>("Count", 2);
    auto third = ctx.start_child<int>("Count", 3);  // awaited by nobody when it comes
    EXPECT_THROW(co_await pawl::all(first, second), Cancelled);
    third.cancel();
    const auto one = co_await first;
    second.cancel();
    const auto [two, three] = co_await pawl::all(second, third);
    first.cancel();  // it has ended
    EXPECT_THROW(co_await first, std::logic_error) << "its outcome was given";
    co_return fmt::format("{} {} {}", *one, *two, three.error().code);
  });
  driver.start();
  EXPECT_THAT(describe(driver.deliver({CancelJob{"enough", true}})), ElementsAre("cancel child 3"));
  const auto ended = [](const Position position, const std::string& result) {
    return ChildJob{position, Payload::json(result)};
  };
  EXPECT_THAT(describe(driver.deliver({ended(2, "22")})), IsEmpty());
  EXPECT_THAT(describe(driver.deliver({ended(1, "11")})), IsEmpty())
      << "the second has ended, before it was awaited again and cancelled";
  Failure failure{.name = "ChildFailedError", .message = "failed", .code = "child_failed"};
  EXPECT_THAT(describe(driver.deliver({ChildJob{3, failure}})),
              ElementsAre("complete \"11 22 child_failed\""));
}

TEST(CoroutineHost, InHistoriesOfBuildsThatLetGoOfThemTheyAreNot) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<> {
    auto child = ctx.start_child<int>("Count", 1);
    EXPECT_THROW(co_await child, Cancelled);
    child.cancel();
    EXPECT_THROW(co_await child, std::logic_error);
  });
  driver.start();
  EXPECT_THAT(describe(driver.deliver({CancelJob{"enough"}})), ElementsAre("complete "));
}

TEST(CoroutineHost, CancelledOfItsOwnAccordIsAFailure) {
  CoroutineDriver driver(+[](Context&) -> Workflow<> {
    throw Cancelled("nobody asked");
    co_return;
  });
  EXPECT_THAT(describe(driver.start()), ElementsAre("fail CancelledError: nobody asked"));
}

// --- patches --------------------------------------------------------------------------------

TEST(CoroutineHost, WhatIsAskedForTheFirstTimeIsPatchedAndRecordedOnce) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<int> {
    int patched = 0;
    for (int n = 0; n < 2; ++n) {
      patched += int{ctx.patched("faster")} + int{ctx.patched("faster")};
      co_await ctx.wait_for("Next");
    }
    EXPECT_THROW(ctx.patched(""), ErrorException);
    co_return patched;
  });
  EXPECT_THAT(describe(driver.start()), ElementsAre("patched faster", "wait 1 Next"));
  EXPECT_THAT(describe(driver.deliver({CoroutineDriver::event(1, "Next")})),
              ElementsAre("wait 2 Next"));
  driver.deliver({CoroutineDriver::event(2, "Next")});
  const auto again = driver.replay(3);
  EXPECT_THAT(describe(again[0]), ElementsAre("patched faster", "wait 1 Next"));
  EXPECT_THAT(describe(again[2]), ElementsAre("complete 4"));
}

TEST(CoroutineHost, WhatCameByBeforeThePatchIsNotPatchedAndStaysSo) {
  bool deployed = false;
  CoroutineDriver driver([&deployed](Context& ctx) -> Workflow<> {
    for (int n = 0; n < 2; ++n) {
      if (deployed) ctx.set_state(ctx.patched("faster") ? "fast" : "slow");
      co_await ctx.wait_for("Next");
    }
    if (deployed && ctx.patched("later")) ctx.set_state("late");
  });
  driver.start();
  deployed = true;
  EXPECT_THAT(describe(driver.replay(1)[0]), ElementsAre("state slow", "wait 1 Next"));
  EXPECT_THAT(describe(driver.deliver({CoroutineDriver::event(1, "Next")})),
              ElementsAre("state slow", "wait 2 Next"));
  EXPECT_THAT(describe(driver.deliver({CoroutineDriver::event(2, "Next")})),
              ElementsAre("patched later", "state late", "complete "));
}

// --- conditions -----------------------------------------------------------------------------

TEST(CoroutineHost, AConditionThatIsTrueAlreadyIsNoRecord) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<std::string> {
    ctx.set_state("open");
    co_await ctx.condition([&ctx] { return ctx.current_state() == "open"; });
    const bool met = co_await ctx.condition([] { return true; }).within(1s);
    co_await ctx.run<Quiet>();
    co_return met ? "met" : "not met";
  });
  EXPECT_THAT(describe(driver.start()), ElementsAre("state open", "run 1 Quiet {}"));
  EXPECT_THAT(describe(driver.deliver({driver.completed(1)})), ElementsAre("complete \"met\""));
}

TEST(CoroutineHost, AConditionIsMetByVariablesOfTheCodeOnceItRests) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<int> {
    int approvals = 0;
    auto counts = [](Context& inner, int& count) -> Task<void> {
      for (;;) {
        co_await inner.wait_for("Approve");
        ++count;
      }
    };
    const auto counting = counts(ctx, approvals);
    co_await ctx.condition([&approvals] { return approvals >= 2; });
    co_return approvals;
  });
  EXPECT_THAT(describe(driver.start()), ElementsAre("wait 1 Approve", "wait 2 "));
  EXPECT_THAT(describe(driver.deliver({driver.event(1, "Approve")})),
              ElementsAre("wait 3 Approve"));
  EXPECT_THAT(describe(driver.deliver({driver.event(3, "Approve")})),
              ElementsAre("wait 4 Approve", "withdraw 2", "complete 2"));
  const auto again = driver.replay(3);
  for (std::size_t i = 0; i < again.size(); ++i) {
    EXPECT_EQ(describe(again[i]), describe(driver.results[i]));
  }
}

TEST(CoroutineHost, StateAndDataThatPassAreSeenByConditionsInOrderOfCreation) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<std::string> {
    std::string order;
    auto when = [](Context& inner, std::string state, std::string& said) -> Task<void> {
      co_await inner.condition([&] { return inner.current_state() == state; });
      said += state + " ";
    };
    auto second = when(ctx, "packed", order);
    auto first = when(ctx, "paid", order);
    auto data = ctx.condition([&ctx] { return ctx.data().get<int>("n") == 1; });
    auto erased = ctx.condition(
        [&ctx] { return ctx.current_state() == "sent" && !ctx.data().contains("n"); });
    co_await ctx.wait_for("Go");
    ctx.set_state("paid");
    ctx.set_state("packed");
    ctx.data().set("n", 1);
    ctx.data().set("n", 2);
    ctx.set_state("sent");
    ctx.data().erase("n");
    co_await erased;
    co_await data;
    co_await pawl::all(first, second);
    co_return order;
  });
  EXPECT_THAT(describe(driver.start()),
              ElementsAre("wait 1 ", "wait 2 ", "wait 3 ", "wait 4 ", "wait 5 Go"));
  EXPECT_THAT(describe(driver.deliver({driver.event(5, "Go")})),
              ElementsAre("state paid", "withdraw 2", "state packed", "withdraw 1", "data n 1",
                          "withdraw 3", "data n 2", "state sent", "erase n", "withdraw 4",
                          "complete \"paid packed \""));
}

TEST(CoroutineHost, OneConditionCanMeetAnother) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<int> {
    int step = 0;
    auto follow = [](Context& inner, int& at, int from) -> Task<void> {
      co_await inner.condition([&at, from] { return at == from; });
      ++at;
    };
    // The first one depends on what the second one does.
    const auto later = follow(ctx, step, 2);
    const auto sooner = follow(ctx, step, 1);
    co_await ctx.wait_for("Go");
    step = 1;
    co_await ctx.condition([&step] { return step == 3; });
    co_return step;
  });
  driver.start();
  EXPECT_THAT(describe(driver.deliver({driver.event(3, "Go")})),
              ElementsAre("wait 4 ", "withdraw 2", "withdraw 1", "withdraw 4", "complete 3"));
}

TEST(CoroutineHost, AConditionRunsOutOfTime) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<bool> {
    const std::string wanted = "a name that is longer than what a string keeps in itself";
    const auto met = [&ctx, wanted] { return ctx.current_state() == wanted; };
    co_return co_await ctx.condition(met).within(50ms);
  });
  EXPECT_THAT(describe(driver.start()), ElementsAre("wait 1  50"));
  EXPECT_THAT(describe(driver.deliver({driver.timed_out(1)})), ElementsAre("complete false"));
}

TEST(CoroutineHost, WhatAPredicateThrowsIsThrownAtTheAwait) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<std::string> {
    std::string caught;
    try {
      co_await ctx.condition([]() -> bool { throw std::runtime_error("at once"); });
    } catch (const std::runtime_error& error) {
      caught = error.what();
    }
    auto waits = ctx.condition([&ctx] { return ctx.data().get<int>("n").value_or(0) == 1; });
    ctx.data().set("n", "text");
    try {
      co_await waits;
    } catch (const ErrorException& error) {
      caught += " later";
    }
    co_return caught;
  });
  EXPECT_THAT(describe(driver.start()), ElementsAre("wait 1 ", R"(data n "text")", "withdraw 1",
                                                    R"(complete "at once later")"));
}

TEST(CoroutineHost, APredicateMayOnlyLook) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<int> {
    const std::vector<std::function<void()>> asks{
        [&ctx] { ctx.set_state("x"); },
        [&ctx] { ctx.data().set("x", 1); },
        [&ctx] { ctx.data().erase("n"); },
        [&ctx] { ctx.emit("X"); },
        [&ctx] { static_cast<void>(ctx.random()); },
        [&ctx] { static_cast<void>(ctx.uuid()); },
        [&ctx] { ctx.log.info("x"); },
        [&ctx] { static_cast<void>(ctx.wait_for("X")); },
        [&ctx] { static_cast<void>(ctx.sleep(1s)); },
        [&ctx] { static_cast<void>(ctx.run<Quiet>()); },
        [&ctx] { static_cast<void>(ctx.condition([] { return true; })); },
    };
    int refused = 0;
    for (const auto& ask : asks) {
      try {
        co_await ctx.condition([&ask] {
          ask();
          return true;
        });
      } catch (const std::logic_error& error) {
        EXPECT_THAT(error.what(), HasSubstr("which may only look"));
        ++refused;
      }
    }
    co_return refused;
  });
  EXPECT_THAT(describe(driver.start(Item{.name = "n", .count = {}})), ElementsAre("complete 11"));
}

TEST(CoroutineHost, ConditionsAreWithdrawnByAnyAndWhenDropped) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<std::size_t> {
    {
      const std::size_t local = ctx.tenant().size() + 2;
      auto dropped = ctx.condition([&local] { return local == 2; });
    }
    auto first = co_await pawl::any(ctx.condition([&ctx] { return ctx.current_state() == "x"; }),
                                    ctx.wait_for("Go"));
    co_return first.index();
  });
  EXPECT_THAT(describe(driver.start()),
              ElementsAre("wait 1 ", "withdraw 1", "wait 2 ", "wait 3 Go"));
  EXPECT_THAT(describe(driver.deliver({driver.event(3, "Go")})),
              ElementsAre("withdraw 2", "complete 1"));
}

// ---- children, other executions, the next run

TEST(CoroutineHost, AChildHasAnIdOfItsOwnAndGivesItsResultOrTheFailure) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<std::string> {
    ChildOptions options;
    options.execution_id = "mine";
    options.parent_close = ParentClose::abandon;
    const std::string wanted = "two";
    auto first = ctx.start_child<int>("Count", 1);
    auto second = ctx.start_child<int>("Count", wanted, options);
    ctx.set_state(first.execution_id() + " " + second.execution_id());
    second.cancel();
    auto [one, two] = co_await pawl::all(std::move(first), std::move(second));
    co_return fmt::format("{} {} {}", *one, two.error().name, two.error().causes.at(0).message);
  });
  const ActivationResult started = driver.start();
  EXPECT_THAT(describe(started), ElementsAre("child 1 Count wf-1/1 1", "child 2 Count mine \"two\"",
                                             "state wf-1/1 mine", "cancel child 2"));
  EXPECT_EQ(std::get<StartChildCommand>(started.commands[1]).parent_close, ParentClose::abandon);
  Failure failure{.name = "ChildFailedError", .message = "failed", .code = "child_failed"};
  failure.causes.push_back(Failure{.message = "no stock"});
  EXPECT_THAT(describe(driver.deliver({ChildJob{2, failure}})), ElementsAre());
  EXPECT_THAT(describe(driver.deliver({ChildJob{1, Payload::json("7")}})),
              ElementsAre("complete \"7 ChildFailedError no stock\""));
}

TEST(CoroutineHost, TheNextRunEndsThisOneWhereverItStands) {
  int destroyed = 0;
  struct Counter {
    int& destroyed;
    ~Counter() { ++destroyed; }
  };
  CoroutineDriver driver([&](Context& ctx, int n) -> Workflow<int> {
    const Counter counter{destroyed};
    ctx.set_state("run");
    auto event = co_await ctx.wait_for("Next");
    if (n < 2) co_await ctx.continue_as_new(n + 1);
    co_return n;
  });
  EXPECT_THAT(describe(driver.start(1)), ElementsAre("state run", "wait 1 Next"));
  EXPECT_THAT(describe(driver.deliver({driver.event(1, "Next")})),
              ElementsAre("continue as new 2"));
  EXPECT_EQ(destroyed, 1);
  StartJob next{.tenant = "acme", .execution_id = "wf-1", .workflow = "Tested", .version = "1.0.0"};
  next.input = Payload::json("2");
  next.first_position = 2;
  EXPECT_THAT(describe(driver.deliver({next})), ElementsAre("state run", "wait 2 Next"));
  EXPECT_THAT(describe(driver.deliver({driver.event(2, "Next")})), ElementsAre("complete 2"));
}

TEST(CoroutineHost, EventsToOthersNameThem) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<> {
    ctx.emit_to("other", "Go", 5);
    ctx.emit_to("other", "Stop");
    EXPECT_THROW(ctx.emit_to("", "Stop"), ErrorException);
    co_return;
  });
  const ActivationResult result = driver.start();
  EXPECT_EQ(std::get<EmitCommand>(result.commands.at(0)).execution_id, "other");
  EXPECT_THAT(describe(result), ElementsAre("emit Go 5", "emit Stop ", "complete "));
}

TEST(CoroutineHost, FiltersAreAskedAboutOffersAndOnlyLook) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<std::string> {
    const auto big = [](const Event& event) { return event.payload_as<int>().value() > 10; };
    auto event = co_await ctx.wait_for("Number").where(big).within(std::chrono::seconds(1));
    auto next = co_await ctx.wait_for("Number").where([&ctx](const Event&) {
      ctx.set_state("no");
      return true;
    });
    co_return event->payload.bytes + next.payload.bytes;
  });
  EXPECT_THAT(describe(driver.start()), ElementsAre("wait 1 Number filtered 1000"));
  const auto offer = [&](const Position position, std::vector<std::string> payloads) {
    Activation question;
    question.execution = CoroutineDriver::kRef;
    for (std::string& payload : payloads) {
      question.offers.push_back(EventOffer{
          position, ReceivedEvent{.name = "Number", .payload = Payload::json(std::move(payload))}});
    }
    return driver.send(std::move(question));
  };
  EXPECT_EQ(offer(1, {"1", "2"}).taken, std::nullopt);
  EXPECT_EQ(offer(1, {"1", "12", "13"}).taken, 1U);
  EXPECT_EQ(offer(1, {"\"text\""}).violation.value_or("").substr(0, 40),
            "the filter of a wait for 'Number' threw:");
  EXPECT_THAT(describe(driver.deliver({driver.event(1, "Number", "12")})),
              ElementsAre("wait 2 Number filtered"));
  EXPECT_NE(offer(2, {"1"}).violation.value_or("").find("only look"), std::string::npos);
}

TEST(CoroutineHost, CancellingThrowsAtAConditionToo) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<> {
    try {
      co_await ctx.condition([&ctx] { return ctx.is_cancelled(); });
    } catch (const Cancelled&) {
      ctx.set_state("told");
      throw;
    }
  });
  driver.start();
  EXPECT_THAT(describe(driver.deliver({CancelJob{"enough"}})),
              ElementsAre("state told", "cancel enough"));
}

TEST(CoroutineHost, PuttingAConditionAwayIssuesNoCommand) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<> {
    int n = 0;
    co_await ctx.condition([&n] { return n == 1; });
  });
  EXPECT_THAT(describe(driver.start()), ElementsAre("wait 1 "));
  driver.host.evict(CoroutineDriver::kRef);
  EXPECT_THAT(describe(driver.replay(1)[0]), ElementsAre("wait 1 "));
}

// --- what the context gives -------------------------------------------------------------------

TEST(CoroutineHost, StateDataAndEventsBecomeCommandsInProgramOrder) {
  CoroutineDriver driver(+[](Context& ctx, Item item) -> Workflow<std::string> {
    EXPECT_EQ(ctx.current_state(), "initial");
    EXPECT_EQ(ctx.data().get<std::string>("name"), item.name);
    EXPECT_EQ(ctx.data().get<int>("absent"), std::nullopt);
    EXPECT_EQ(ctx.tenant(), "acme");
    EXPECT_EQ(ctx.user_id(), "ann");
    EXPECT_EQ(ctx.execution_id(), "wf-1");
    EXPECT_EQ(ctx.correlation_id(), "corr");
    EXPECT_EQ(ctx.version(), "1.0.0");
    ctx.set_state("busy");
    EXPECT_EQ(ctx.current_state(), "busy");
    ctx.data().set("item", item);
    ctx.data().set("name", "other");
    ctx.data().erase("item");
    ctx.data().erase("never there");
    EXPECT_THAT(ctx.data().keys(), ElementsAre("name"));
    ctx.emit("Ping");
    ctx.emit("Pong", item);
    ctx.log.info("{} of {}", 1, item.name);
    ctx.log.error("braces {{}}");
    co_return "done";
  });
  EXPECT_THAT(describe(driver.start(Item{.name = "pen", .count = {}})),
              ElementsAre("state busy", R"(data item {"name":"pen"})", R"(data name "other")",
                          "erase item", "emit Ping ", R"(emit Pong {"name":"pen"})", "log 1 of pen",
                          "log braces {}", R"(complete "done")"));
}

TEST(CoroutineHost, ReplayWritesNoLogLine) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<> {
    ctx.log.info("before");
    co_await ctx.sleep(1s);
    ctx.log.warn("after");
  });
  driver.start();
  EXPECT_THAT(describe(driver.deliver({driver.fired(1)})), ElementsAre("log after", "complete "));
  const auto again = driver.replay(2);
  EXPECT_THAT(describe(again[0]), ElementsAre("sleep 1 1000"));
  EXPECT_THAT(describe(again[1]), ElementsAre("complete "));
}

TEST(CoroutineHost, DataIsTheInputsMembers) {
  CoroutineDriver driver(+[](Context& ctx, Json) -> Workflow<std::string> {
    std::string all;
    for (const std::string& key : ctx.data().keys()) {
      all += key + "=" + ctx.data().get(key)->dump().value() + " ";
    }
    co_return all;
  });
  EXPECT_THAT(describe(driver.start_with(Payload::json(R"({"b":[1, 2],"a":{"x":1.50},"a":7})"))),
              ElementsAre(R"(complete "a=7 b=[1,2] ")"));
  EXPECT_THAT(describe(driver.start_with(Payload::json("[1]"))), ElementsAre(R"(complete "")"));
}

TEST(CoroutineHost, DataOfAnotherShapeFailsTheWorkflow) {
  CoroutineDriver driver(+[](Context& ctx, Json) -> Workflow<> {
    static_cast<void>(ctx.data().get<int>("name"));
    co_return;
  });
  EXPECT_THAT(
      describe(driver.start(Item{.name = "pen", .count = {}})),
      ElementsAre("fail pawl::ErrorException: data 'name' has another shape: $: is a string "
                  "and should be an integer"));
}

// rule: 13
TEST(CoroutineHost, TimeRandomAndUuidRepeat) {
  std::vector<std::string> seen;
  const auto workflow = [&seen](Context& ctx) -> Workflow<> {
    for (int i = 0; i < 2; ++i) {
      const double number = ctx.random();
      EXPECT_GE(number, 0);
      EXPECT_LT(number, 1);
      seen.push_back(
          fmt::format("{} {} {}", ctx.now().time_since_epoch().count(), number, ctx.uuid()));
      co_await ctx.sleep(1s);
    }
  };
  CoroutineDriver driver(workflow);
  driver.start();
  driver.deliver({driver.fired(1)});
  const std::vector<std::string> live = std::exchange(seen, {});
  ASSERT_EQ(live.size(), 2U);
  EXPECT_NE(live[0], live[1]);
  EXPECT_THAT(live[0], StartsWith("1700000000000 "));
  EXPECT_THAT(live[1], StartsWith("1700000001000 "));
  EXPECT_THAT(
      live[0].substr(live[0].rfind(' ') + 1),
      testing::MatchesRegex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"));
  driver.replay(2);
  EXPECT_EQ(seen, live);
  // Histories depend on the generator: these may never change.
  EXPECT_EQ(live[0], "1700000000000 0.7415648787718233 28efe333-b266-4103-8752-6757130f9f52");
}

// --- calls of actions -------------------------------------------------------------------------

TEST(CoroutineHost, MembersOfParametersMayHaveAnyName) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<> {
    co_await ctx.run<Send>({.to = "mia", .give = 1, .from = 2});
  });
  EXPECT_THAT(describe(driver.start()),
              ElementsAre(R"(run 1 Send {"to":"mia","give":1,"from":2})"));
}

TEST(CoroutineHost, ParametersAreWrittenAsBracesOrNamed) {
  CoroutineDriver driver(+[](Context& ctx, Item item) -> Workflow<> {
    const std::string base = "a name that is longer than a small string ";
    std::vector<std::string> tags;
    tags.push_back(base + "tag");
    const Item inner{.name = base, .count = 3};
    const auto one = co_await ctx.run<Step>({.name = base + item.name, .item = item, .tags = tags});
    EXPECT_EQ(*one, "r1");
    const auto two =
        co_await ctx.run<Step>({.name = "literal", .small = 255, .nested = inner}, {.timeout = 5s});
    EXPECT_EQ(*two, "r2");
    Step::Parameters named;
    named.name = base;
    const auto three = co_await ctx.run<Step>(named);
    EXPECT_EQ(*three, "r3");
    const auto four = co_await ctx.run<Quiet>();
    EXPECT_TRUE(four.has_value());
    const auto five = co_await ctx.run_named<Json>("from_elsewhere", item);
    EXPECT_TRUE(five->is_null());
  });
  const std::string base = "a name that is longer than a small string ";
  const std::string rest = R"("tags":[],"small":0,"nested":{"name":""}})";
  EXPECT_THAT(describe(driver.start(Item{.name = "pen", .count = 2})),
              ElementsAre(R"(run 1 Step {"name":")" + base +
                          R"(pen","item":{"name":"pen","count":2},"tags":[")" + base +
                          R"(tag"],"small":0,"nested":{"name":""}})"));
  EXPECT_THAT(
      describe(driver.deliver({driver.completed(1, "\"r1\"")})),
      ElementsAre(R"(run 2 Step {"name":"literal","tags":[],"small":255,"nested":{"name":")" +
                  base + R"(","count":3}} timeout=5000)"));
  EXPECT_THAT(describe(driver.deliver({driver.completed(2, "\"r2\"")})),
              ElementsAre(R"(run 3 Step {"name":")" + base + "\"," + rest));
  EXPECT_THAT(describe(driver.deliver({driver.completed(3, "\"r3\"")})),
              ElementsAre("run 4 Quiet {}"));
  EXPECT_THAT(describe(driver.deliver({driver.completed(4)})),
              ElementsAre(R"(run 5 from_elsewhere {"name":"pen","count":2})"));
  EXPECT_THAT(describe(driver.deliver({driver.completed(5, "null")})), ElementsAre("complete "));
}

TEST(CoroutineHost, OptionsReachTheCommand) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<> {
    co_await ctx.run<Quiet>({}, {.retry = {.max_attempts = 2,
                                           .initial_interval = 10ms,
                                           .backoff = 3,
                                           .max_interval = 1s,
                                           .jitter = 0,
                                           .non_retryable = pawl::names("Declined", "E42")}});
  });
  const auto result = driver.start();
  const auto& command = std::get<ScheduleActionCommand>(result.commands.at(0));
  EXPECT_EQ(command.options.retry, (RetryPolicy{.max_attempts = 2,
                                                .initial_interval = 10,
                                                .backoff = 3,
                                                .max_interval = 1'000,
                                                .jitter = 0,
                                                .non_retryable = {"Declined", "E42"}}));
  EXPECT_EQ(command.options.timeout, std::nullopt);
}

TEST(CoroutineHost, BadOptionsAndParametersThrowInTheWorkflow) {
  CoroutineDriver driver(+[](Context& ctx, int which) -> Workflow<> {
    const int large = 256;
    if (which == 0) co_await ctx.run<Quiet>({}, {.retry = {.max_attempts = 0}});
    if (which == 1) co_await ctx.run<Quiet>({}, {.timeout = 0ms});
    if (which == 2) co_await ctx.run<Step>({.name = "\xFF"});
    if (which == 3) co_await ctx.run<Step>({.small = large});
    if (which == 4) co_await ctx.wait_for(std::vector<std::string>());
    if (which == 5) co_await ctx.run_named("x", std::nan(""));
    if (which == 6) co_await pawl::any(std::vector<Sleep>());
  });
  const auto failure = [&](int which) { return describe(driver.start(which)).at(0); };
  EXPECT_THAT(failure(0), HasSubstr("retry.max_attempts must be 1"));
  EXPECT_THAT(failure(1), HasSubstr("timeout must be more"));
  EXPECT_THAT(failure(2), HasSubstr("$.name: is not UTF-8"));
  EXPECT_THAT(failure(3), HasSubstr("256 does not fit"));
  EXPECT_THAT(failure(4), HasSubstr("needs the name of an event"));
  EXPECT_THAT(failure(5), HasSubstr("NaN"));
  EXPECT_THAT(failure(6), HasSubstr("any() of nothing"));
}

TEST(CoroutineHost, AResultOfAnotherShapeIsAFailure) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<std::string> {
    const auto result = co_await ctx.run<Step>({.name = "x"});
    co_return result ? "fine" : result.error().name + ": " + result.error().message;
  });
  driver.start();
  EXPECT_THAT(
      describe(driver.deliver({driver.completed(1, "17")})),
      ElementsAre("complete \"ValidationError: the action's result is of another shape: $: is "
                  "a number and should be a string\""));
}

// --- waits ------------------------------------------------------------------------------------

Workflow<std::string> waits(Context& ctx) {
  const Event first = co_await ctx.wait_for("A");
  EXPECT_EQ(first.id, "e-A");
  EXPECT_EQ(first.user_id, "bob");
  EXPECT_EQ(first.sequence, 9);
  EXPECT_EQ(first.payload_as<Item>()->name, "pen");
  EXPECT_FALSE(first.payload_as<int>().has_value());
  std::vector<std::string> names;
  names.push_back("B");
  names.push_back("C");
  const auto second = co_await ctx.wait_for(names).within(1s);
  const std::string third = "D";
  const auto fourth = co_await ctx.wait_for(third, "E", std::string_view("F")).within(-1s);
  co_return (second ? second->name : "none") + (fourth ? fourth->name : "none");
}

// rule: 12
TEST(CoroutineHost, WaitsTakeEventsOrRunOutOfTime) {
  CoroutineDriver driver(&waits);
  EXPECT_THAT(describe(driver.start()), ElementsAre("wait 1 A"));
  EXPECT_THAT(describe(driver.deliver({driver.event(1, "A", R"({"name":"pen"})")})),
              ElementsAre("wait 2 B,C 1000"));
  EXPECT_THAT(describe(driver.deliver({driver.timed_out(2)})), ElementsAre("wait 3 D,E,F 0"));
  EXPECT_THAT(describe(driver.deliver({driver.event(3, "E")})), ElementsAre(R"(complete "noneE")"));
}

TEST(CoroutineHost, AnAwaitableStartsWhenItIsCreated) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<std::string> {
    auto wait = ctx.wait_for("A");
    auto call = ctx.run<Step>({.name = "x"});
    co_await ctx.sleep(1s);
    const auto result = co_await call;  // came while nobody awaited it
    const Event event = co_await std::move(wait);
    co_return *result + event.name;
  });
  EXPECT_THAT(describe(driver.start()),
              ElementsAre("wait 1 A", StartsWith("run 2 Step"), "sleep 3 1000"));
  EXPECT_THAT(describe(driver.deliver({driver.completed(2, "\"r\"")})), IsEmpty());
  EXPECT_THAT(describe(driver.deliver({driver.fired(3)})), IsEmpty());
  EXPECT_THAT(describe(driver.deliver({driver.event(1, "A")})), ElementsAre(R"(complete "rA")"));
}

TEST(CoroutineHost, WithinBelongsRightBehindTheWait) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<> {
    auto wait = ctx.wait_for("A");
    co_await ctx.sleep(1s);
    co_await std::move(wait).within(1s);
  });
  driver.start();
  EXPECT_THAT(describe(driver.deliver({driver.fired(2)})),
              ElementsAre(HasSubstr("within() came too late")));
}

TEST(CoroutineHost, AwaitingTwiceIsAnError) {
  CoroutineDriver driver(+[](Context& ctx, bool moved) -> Workflow<> {
    auto wait = ctx.sleep(1s);
    if (moved) {
      auto other = std::move(wait);
      co_await other;
    }
    co_await wait;
    co_await wait;
  });
  for (const bool moved : {false, true}) {
    driver.start(moved);
    EXPECT_THAT(describe(driver.deliver({driver.fired(1)})),
                ElementsAre(HasSubstr("awaited twice")));
  }
}

TEST(CoroutineHost, TwoCoroutinesCannotAwaitOne) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<> {
    auto sleep = ctx.sleep(1s);
    const auto other = [](Sleep& same) -> Task<void> { co_await same; };
    auto task = other(sleep);
    co_await sleep;
    co_await task;
  });
  EXPECT_THAT(describe(driver.start()),
              ElementsAre("sleep 1 1000", HasSubstr("two coroutines await the same awaitable")));
}

// --- all and any ------------------------------------------------------------------------------

TEST(CoroutineHost, AllGivesEachResultInOrder) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<std::string> {
    auto named = ctx.run<Step>({.name = "c"});
    auto [a, event, slept, c] = co_await pawl::all(
        ctx.run<Step>({.name = "a"}), ctx.wait_for("E").within(9s), ctx.sleep(1s), named);
    static_assert(std::is_same_v<decltype(slept), std::monostate>);
    co_return (a ? *a : a.error().message) + (event ? event->name : "-") + *c;
  });
  EXPECT_THAT(describe(driver.start()),
              ElementsAre(HasSubstr("run 1"), HasSubstr("run 2"), "wait 3 E 9000", "sleep 4 1000"));
  EXPECT_THAT(describe(driver.deliver({driver.completed(1, "\"C\""), driver.fired(4)})), IsEmpty());
  EXPECT_THAT(describe(driver.deliver({driver.event(3, "E"), driver.failed(2, "no")})),
              ElementsAre(R"(complete "noEC")"));
}

TEST(CoroutineHost, AllOfManyGivesAVector) {
  CoroutineDriver driver(+[](Context& ctx, int count) -> Workflow<std::string> {
    std::vector<ActionCall<std::string>> calls;
    for (int i = 0; i < count; ++i) calls.push_back(ctx.run<Step>({.name = std::to_string(i)}));
    std::string all;
    for (const auto& result : co_await pawl::all(std::move(calls))) all += *result;
    co_return all;
  });
  EXPECT_THAT(describe(driver.start(0)), ElementsAre(R"(complete "")"));
  driver.start(3);
  driver.deliver({driver.completed(2, "\"1\""), driver.completed(3, "\"2\"")});
  EXPECT_THAT(describe(driver.deliver({driver.completed(1, "\"0\"")})),
              ElementsAre(R"(complete "012")"));
}

Workflow<std::string> first_of_three(Context& ctx) {
  auto first = co_await pawl::any(ctx.wait_for("A"), ctx.sleep(1s), ctx.run<Step>({.name = "x"}));
  co_await ctx.sleep(2s);
  switch (first.index()) {
    case 0: co_return std::get<0>(first).name;
    case 1: co_return "slept";
    default: co_return *std::get<2>(first);
  }
}

// rule: 8
TEST(CoroutineHost, AnyGivesTheFirstAndWithdrawsTheOthers) {
  {
    CoroutineDriver driver(&first_of_three);
    driver.start();
    EXPECT_THAT(describe(driver.deliver({driver.event(1, "A")})),
                ElementsAre("withdraw 2", "sleep 4 2000"));
    // The action runs on; its result comes to nobody.
    EXPECT_THAT(describe(driver.deliver({driver.completed(3, "\"late\"")})), IsEmpty());
    EXPECT_THAT(describe(driver.deliver({driver.fired(4)})), ElementsAre(R"(complete "A")"));
  }
  {
    CoroutineDriver driver(&first_of_three);
    driver.start();
    EXPECT_THAT(describe(driver.deliver({driver.completed(3, "\"quick\"")})),
                ElementsAre("withdraw 1", "withdraw 2", "sleep 4 2000"));
    EXPECT_THAT(describe(driver.deliver({driver.fired(4)})), ElementsAre(R"(complete "quick")"));
  }
}

TEST(CoroutineHost, OfTwoInOneActivationTheFirstInTheHistoryWins) {
  for (const bool event_first : {false, true}) {
    CoroutineDriver driver(&first_of_three);
    driver.start();
    std::vector<Job> jobs = {driver.fired(2), driver.event(1, "A")};
    if (event_first) std::swap(jobs[0], jobs[1]);
    // Neither is withdrawn: both have happened.
    EXPECT_THAT(describe(driver.deliver(std::move(jobs))), ElementsAre("sleep 4 2000"));
    EXPECT_THAT(describe(driver.deliver({driver.fired(4)})),
                ElementsAre(event_first ? R"(complete "A")" : R"(complete "slept")"));
  }
}

TEST(CoroutineHost, AnyOfWhatIsReadyTakesTheEarliest) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<int> {
    auto a = ctx.sleep(1s);
    auto b = ctx.wait_for("B");
    auto c = ctx.wait_for("C");
    co_await ctx.wait_for("Go");
    const auto first = co_await pawl::any(a, b, c);
    // Named, and it was ready: its event is still there.
    EXPECT_EQ((co_await b).name, "B");
    co_return static_cast<int>(first.index());
  });
  driver.start();
  driver.deliver({driver.event(3, "C")});
  driver.deliver({driver.event(2, "B")});
  EXPECT_THAT(describe(driver.deliver({driver.event(4, "Go")})),
              ElementsAre("withdraw 1", "complete 2"));
}

TEST(CoroutineHost, AnyOfManyTellsWhich) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<std::string> {
    std::vector<Wait> waits;
    for (int i = 0; i < 4; ++i) waits.push_back(ctx.wait_for("E" + std::to_string(i)));
    const auto [index, event] = co_await pawl::any(std::move(waits));
    co_return std::to_string(index) + event.name;
  });
  driver.start();
  EXPECT_THAT(describe(driver.deliver({driver.event(3, "E2")})),
              ElementsAre("withdraw 1", "withdraw 2", "withdraw 4", R"(complete "2E2")"));
}

TEST(CoroutineHost, AWithdrawnAwaitableCannotBeAwaited) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<> {
    auto a = ctx.sleep(1s);
    auto b = ctx.sleep(2s);
    co_await pawl::any(a, b);
    co_await b;
  });
  driver.start();
  EXPECT_THAT(describe(driver.deliver({driver.fired(1)})),
              ElementsAre("withdraw 2", HasSubstr("any() has withdrawn")));
}

TEST(CoroutineHost, AllAndAnyNest) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<std::string> {
    auto [either, slept] = co_await pawl::all(
        pawl::any(ctx.wait_for("A"), pawl::all(ctx.wait_for("B"), ctx.wait_for("C"))),
        ctx.sleep(1s));
    static_cast<void>(slept);
    co_return either.index() == 0 ? std::get<0>(either).name
                                  : std::get<1>(std::get<1>(either)).name;
  });
  driver.start();
  driver.deliver({driver.event(3, "C")});
  driver.deliver({driver.event(2, "B")});
  EXPECT_THAT(describe(driver.deliver({driver.fired(4)})),
              ElementsAre("withdraw 1", R"(complete "C")"));
}

// --- tasks ------------------------------------------------------------------------------------

Task<int> add_later(Context& ctx, int a, int b) {
  co_await ctx.sleep(1s);
  co_return a + b;
}

Task<std::string> nested(Context& ctx, std::string name) {
  const int sum = co_await add_later(ctx, 1, 2);
  auto result = co_await ctx.run<Step>({.name = name + std::to_string(sum)});
  if (!result) throw std::runtime_error(result.error().message);
  co_return *result;
}

TEST(CoroutineHost, TasksRunAtOnceAndNest) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<std::string> {
    auto one = nested(ctx, "a task's name that is longer than a small string");
    auto two = nested(ctx, "b");
    ctx.set_state("both under way");
    const std::string second = co_await two;
    co_return second + co_await std::move(one);
  });
  EXPECT_THAT(describe(driver.start()),
              ElementsAre("sleep 1 1000", "sleep 2 1000", "state both under way"));
  EXPECT_THAT(describe(driver.deliver({driver.fired(2), driver.fired(1)})),
              ElementsAre(HasSubstr(R"(run 3 Step {"name":"b3")"), HasSubstr("run 4 Step")));
  driver.deliver({driver.completed(4, "\"A\"")});
  EXPECT_THAT(describe(driver.deliver({driver.completed(3, "\"B\"")})),
              ElementsAre(R"(complete "BA")"));
}

TEST(CoroutineHost, ATaskThatNeverSuspendsIsReadyAtOnce) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<int> {
    const auto quick = [](int value) -> Task<int> { co_return value; };
    int sum = 0;
    for (int i = 0; i < 20'000; ++i) sum += co_await quick(i);
    static_cast<void>(ctx);
    co_return sum;
  });
  EXPECT_THAT(describe(driver.start()), ElementsAre("complete 199990000"));
}

TEST(CoroutineHost, WhatATaskThrowsIsThrownWhereItIsAwaited) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<std::string> {
    auto fine = nested(ctx, "fine");
    auto bad = nested(ctx, "bad");
    try {
      auto [a, b] = co_await pawl::all(fine, bad);
      co_return a + b;
    } catch (const std::runtime_error& thrown) {
      co_return thrown.what();
    }
  });
  driver.start();
  driver.deliver({driver.fired(1), driver.fired(2)});
  driver.deliver({driver.failed(4, "broken")});
  EXPECT_THAT(describe(driver.deliver({driver.completed(3, "\"x\"")})),
              ElementsAre(R"(complete "broken")"));
}

TEST(CoroutineHost, ALosingTaskIsWithdrawnWithAllThatItAwaits) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<std::size_t> {
    const auto inner = [](Context& c) -> Task<void> {
      co_await pawl::all(c.wait_for("X"), c.sleep(9s), add_later(c, 1, 1));
    };
    const auto first = co_await pawl::any(inner(ctx), ctx.wait_for("Stop"));
    co_await ctx.wait_for("End");
    co_return first.index();
  });
  EXPECT_THAT(describe(driver.start()),
              ElementsAre("wait 1 X", "sleep 2 9000", "sleep 3 1000", "wait 4 Stop"));
  EXPECT_THAT(describe(driver.deliver({driver.event(4, "Stop")})),
              ElementsAre("withdraw 1", "withdraw 2", "withdraw 3", "wait 5 End"));
  EXPECT_THAT(describe(driver.deliver({driver.event(5, "End")})), ElementsAre("complete 1"));
}

TEST(CoroutineHost, ADroppedTaskStandsStillAndItsWaitsStay) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<> {
    {
      auto dropped = add_later(ctx, 1, 2);
    }
    co_await ctx.wait_for("End");
  });
  EXPECT_THAT(describe(driver.start()), ElementsAre("sleep 1 1000", "wait 2 End"));
  EXPECT_THAT(describe(driver.deliver({driver.fired(1)})), IsEmpty());
  EXPECT_THAT(describe(driver.deliver({driver.event(2, "End")})), ElementsAre("complete "));
}

TEST(CoroutineHost, ReadyCoroutinesGoOnInTheOrderOfTheHistory) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<> {
    const auto worker = [](Context& c, int number) -> Task<void> {
      co_await c.wait_for("Go" + std::to_string(number));
      c.set_state(std::to_string(number));
    };
    std::vector<Task<void>> workers;
    for (int i = 1; i <= 4; ++i) workers.push_back(worker(ctx, i));
    co_await pawl::all(std::move(workers));
  });
  driver.start();
  EXPECT_THAT(describe(driver.deliver({driver.event(3, "Go3"), driver.event(1, "Go1"),
                                       driver.event(4, "Go4"), driver.event(2, "Go2")})),
              ElementsAre("state 3", "state 1", "state 4", "state 2", "complete "));
}

// --- ends -------------------------------------------------------------------------------------

struct OddError : std::logic_error {
  using std::logic_error::logic_error;
};

TEST(CoroutineHost, WhatTheWorkflowThrowsIsItsFailure) {
  CoroutineDriver driver(+[](Context& ctx, int which) -> Workflow<> {
    ctx.set_state("thrown");
    switch (which) {
      case 0: throw OddError("odd");
      case 1: throw 42;
      case 2: throw FailureException(Failure{.name = "Mine", .message = "kept", .code = "E1"});
      default: break;
    }
    const Result<int, Failure> failed = Failure{.name = "Inner", .message = "as value"};
    static_cast<void>(failed.value());
    co_return;
  });
  const auto failure = [&](int which) { return describe(driver.start(which)).at(1); };
  EXPECT_EQ(failure(0), "fail pawl::(anonymous namespace)::OddError: odd");
  EXPECT_EQ(failure(1), "fail int: an exception of type int");
  EXPECT_EQ(failure(2), "fail Mine: kept");
  EXPECT_EQ(failure(3), "fail Inner: as value");
  EXPECT_EQ(driver.host.instances(), 0U);
}

TEST(CoroutineHost, AResultThatJsonCannotCarryFailsTheWorkflow) {
  CoroutineDriver driver(+[](Context&) -> Workflow<double> { co_return std::nan(""); });
  EXPECT_THAT(
      describe(driver.start()),
      ElementsAre("fail ValidationError: the workflow's result can't be recorded: $: is NaN, "
                  "which JSON has no number for"));
}

TEST(CoroutineHost, AnInputThatDoesNotFitFailsTheWorkflow) {
  CoroutineDriver driver(+[](Context&, Item) -> Workflow<> { co_return; });
  EXPECT_THAT(
      describe(driver.start_with(Payload::json(R"({"count":1})"))),
      ElementsAre("fail ValidationError: the input of Tested does not fit: $.name: is required "
                  "and missing"));
  EXPECT_THAT(describe(driver.start_with(Payload::json(R"({"name":"a","more":1})"))),
              ElementsAre("complete "));
}

// --- rules ------------------------------------------------------------------------------------

TEST(CoroutineHost, AnUnregisteredVersionIsAViolation) {
  CoroutineDriver driver(+[](Context&) -> Workflow<> { co_return; }, "2.0.0");
  Activation activation;
  activation.execution = 1;
  activation.jobs.push_back(StartJob{.workflow = "Tested", .version = "1.0.0"});
  EXPECT_THAT(
      describe(driver.send(activation)),
      ElementsAre("violation workflow 'Tested' version '1.0.0' is not registered in this process"));
}

TEST(CoroutineHost, AnActivationWithoutItsStartIsAViolation) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<> { co_await ctx.sleep(1s); });
  driver.start();
  driver.host.evict(CoroutineDriver::kRef);
  EXPECT_THAT(describe(driver.deliver({driver.fired(1)})),
              ElementsAre(HasSubstr("no instance here")));
}

TEST(CoroutineHost, AnOutcomeThatTheCodeDoesNotExpectIsAViolation) {
  const auto report = [](std::vector<Job> jobs) {
    CoroutineDriver driver(+[](Context& ctx) -> Workflow<> { co_await ctx.sleep(1s); });
    driver.start();
    return describe(driver.deliver(std::move(jobs))).at(0);
  };
  EXPECT_THAT(report({CoroutineDriver::fired(2)}),
              HasSubstr("an outcome for sleep number 2, but the code has not come so far there"));
  EXPECT_THAT(report({CoroutineDriver::event(1, "A")}),
              HasSubstr("number 1 is a wait in the history, and a sleep in the code"));
  EXPECT_THAT(report({CoroutineDriver::fired(1), CoroutineDriver::fired(1)}),
              HasSubstr("nothing open"));
}

TEST(CoroutineHost, AWithdrawnTaskCannotBeAwaited) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<> {
    auto stuck = [](Context& c) -> Task<void> { co_await c.wait_for("Never"); }(ctx);
    auto other = [](Task<void>& task) -> Task<void> { co_await task; }(stuck);
    co_await pawl::any(ctx.sleep(1s), other);
    co_await other;
  });
  driver.start();
  EXPECT_THAT(describe(driver.deliver({driver.fired(2)})),
              ElementsAre("withdraw 1", HasSubstr("any() has withdrawn")));
}

TEST(CoroutineHost, UseFromAnotherThreadIsRefusedAndReported) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<> {
    std::string what;
    std::thread([&] {
      try {
        ctx.set_state("from outside");
      } catch (const std::logic_error& refused) {
        what = refused.what();
      }
    }).join();
    EXPECT_THAT(what, HasSubstr("ctx.set_state() was used outside"));
    co_await ctx.sleep(1s);
  });
  EXPECT_THAT(describe(driver.start()),
              ElementsAre(StartsWith("violation the workflow's context was used")));
}

// --- putting away -----------------------------------------------------------------------------

// Does everything a context can do when it is destroyed.
struct Meddler {
  Context& ctx;
  ~Meddler() {
    ctx.set_state("meddled");
    ctx.data().set("x", 1);
    ctx.data().erase("name");
    ctx.emit("Meddled");
    ctx.log.info("meddled");
    static_cast<void>(ctx.random());
    static_cast<void>(ctx.uuid());
    static_cast<void>(ctx.wait_for("Meddled").within(1s));
    static_cast<void>(ctx.run<Quiet>());
    static_cast<void>(add_later(ctx, 1, 2));
    auto sleep = ctx.sleep(1s);
    sleep.withdraw();
  }
};

Workflow<std::string> story(Context& ctx, Item item) {
  const Meddler meddler{ctx};
  ctx.set_state("begun " + item.name);
  auto early = ctx.wait_for("Late");
  const auto one = co_await ctx.run<Step>({.name = item.name + " and a text that needs the heap"});
  auto both = co_await pawl::all(nested(ctx, "x"), ctx.wait_for("A").within(1min));
  ctx.data().set("random", ctx.uuid());
  auto first = co_await pawl::any(nested(ctx, "y"), ctx.wait_for("B"), ctx.sleep(5s));
  const Event late = co_await early;
  co_return (one ? *one : "failed") + std::get<0>(both) + std::to_string(first.index()) + late.name;
}

// Answers whatever is open, at random, in random batches; gives all commands in order.
struct RandomStory {
  explicit RandomStory(unsigned seed) : random(seed), driver(&story) {
    note(driver.start(Item{.name = "pen", .count = {}}));
    while (!open.empty() && !ended) {
      std::vector<Job> jobs;
      for (unsigned n = 1 + static_cast<unsigned>(random()) % 3; n > 0 && !open.empty(); --n) {
        auto it = open.begin();
        std::advance(it, static_cast<int>(static_cast<unsigned>(random()) % open.size()));
        jobs.push_back(answer(it->second));
        open.erase(it);
      }
      note(driver.deliver(std::move(jobs)));
    }
  }

  Job answer(const Command& command) {
    if (const auto* run = std::get_if<ScheduleActionCommand>(&command)) {
      return CoroutineDriver::completed(run->position,
                                        "\"r" + std::to_string(run->position) + "\"");
    }
    if (const auto* wait = std::get_if<WaitCommand>(&command)) {
      if (wait->timeout && random() % 2 == 0) return CoroutineDriver::timed_out(wait->position);
      return CoroutineDriver::event(wait->position, wait->names[0]);
    }
    return CoroutineDriver::fired(std::get<StartTimerCommand>(command).position);
  }

  void note(const ActivationResult& result) {
    EXPECT_EQ(result.violation, std::nullopt);
    for (const Command& command : result.commands) {
      if (const auto* run = std::get_if<ScheduleActionCommand>(&command))
        open[run->position] = command;
      if (const auto* wait = std::get_if<WaitCommand>(&command)) open[wait->position] = command;
      if (const auto* timer = std::get_if<StartTimerCommand>(&command))
        open[timer->position] = command;
      if (const auto* gone = std::get_if<WithdrawCommand>(&command)) open.erase(gone->position);
      ended = ended || std::holds_alternative<CompleteCommand>(command);
    }
  }

  std::mt19937 random;
  std::map<Position, Command> open;
  bool ended = false;
  CoroutineDriver driver;
};

// rule: 2
TEST(CoroutineHost, AnyHistoryReplaysToTheSameCommandsFromEveryPoint) {
  for (unsigned seed = 0; seed < 60; ++seed) {
    RandomStory told(seed);
    ASSERT_TRUE(told.ended) << seed;
    for (std::size_t upto = 1; upto <= told.driver.delivered.size(); ++upto) {
      const auto again = told.driver.replay(upto);
      for (std::size_t i = 0; i < upto; ++i) {
        ASSERT_EQ(describe(again[i], false), describe(told.driver.results[i], false))
            << seed << " " << i;
      }
    }
  }
}

TEST(CoroutineHost, PuttingAwayIssuesNoCommandAndCanHappenAnywhere) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    RandomStory told(seed);
    for (std::size_t upto = 1; upto < told.driver.delivered.size(); ++upto) {
      told.driver.replay(upto);
      EXPECT_EQ(told.driver.host.instances(), 1U);
      told.driver.host.evict(CoroutineDriver::kRef);
      EXPECT_EQ(told.driver.host.instances(), 0U);
    }
    // When the coroutine comes to its end, its destructors are code like any other.
    told.driver.results.pop_back();
    for (const ActivationResult& result : told.driver.results) {
      for (const std::string& line : describe(result))
        EXPECT_THAT(line, testing::Not(HasSubstr("meddled")));
    }
  }
}

TEST(CoroutineHost, AStartReplacesTheInstance) {
  CoroutineDriver driver(&story);
  const auto first = describe(driver.start(Item{.name = "a", .count = {}}));
  EXPECT_EQ(describe(driver.start(Item{.name = "a", .count = {}})), first);
  EXPECT_EQ(driver.host.instances(), 1U);
}

TEST(CoroutineHost, SeveralExecutionsInOneCallStayApart) {
  CoroutineHost host;
  host.register_workflow("W", "1",
                         detail::make_workflow_function(+[](Context& ctx, int n) -> Workflow<int> {
                           co_await ctx.sleep(1s);
                           co_return n;
                         }));
  struct Sink : ActivationSink {
    void activations_completed(std::vector<ActivationResult> completed) override {
      for (auto& each : completed) results.push_back(std::move(each));
    }
    std::vector<ActivationResult> results;
  };
  auto sink = std::make_shared<Sink>();
  std::vector<Activation> batch;
  for (ExecutionRef ref = 1; ref <= 50; ++ref) {
    Activation start;
    start.execution = ref;
    start.sequence = 1;
    start.jobs.push_back(
        StartJob{.workflow = "W", .version = "1", .input = Payload::json(std::to_string(ref))});
    batch.push_back(std::move(start));
    Activation fire;
    fire.execution = ref;
    fire.sequence = 3;
    fire.jobs.push_back(TimerJob{1});
    batch.push_back(std::move(fire));
  }
  host.activate(std::move(batch), sink);
  ASSERT_EQ(sink->results.size(), 100U);
  for (std::size_t i = 0; i < 100; ++i) {
    EXPECT_EQ(sink->results[i].execution, static_cast<ExecutionRef>(i / 2 + 1));
    EXPECT_THAT(describe(sink->results[i]),
                ElementsAre(i % 2 == 0 ? "sleep 1 1000" : "complete " + std::to_string(i / 2 + 1)));
  }
  EXPECT_EQ(host.instances(), 0U);
}

TEST(CoroutineHost, LiveInstancesKeepTheirFunctionWhenItIsReplaced) {
  CoroutineDriver driver(+[](Context& ctx) -> Workflow<int> {
    co_await ctx.sleep(1s);
    co_return 1;
  });
  driver.start();
  driver.host.register_workflow("Tested", "1.0.0",
                                detail::make_workflow_function(+[](Context& ctx) -> Workflow<int> {
                                  co_await ctx.sleep(1s);
                                  co_return 2;
                                }));
  EXPECT_THAT(describe(driver.deliver({driver.fired(1)})), ElementsAre("complete 1"));
  driver.start();
  EXPECT_THAT(describe(driver.deliver({driver.fired(1)})), ElementsAre("complete 2"));
}

}  // namespace
}  // namespace pawl
