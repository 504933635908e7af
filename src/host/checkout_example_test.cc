// The example that the C++ surface was designed around, as a user writes it: it must compile with both
// compilers and hold under their sanitizers.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pawl/pawl.h>

#include "tests/support/coroutine_driver.h"

namespace shop {

using namespace std::chrono_literals;

struct Order {
  std::string id;
  double amount = 0;
};
PAWL_DESCRIBE(Order, id, amount);

struct Receipt {
  std::string order_id;
  std::string courier;
  bool ok = true;
  static Receipt failed() { return Receipt{.ok = false}; }
};
PAWL_DESCRIBE(Receipt, order_id, courier, ok);

struct ChargeCard {
  struct Parameters {
    std::string order_id;
    std::string currency = "a currency whose name does not fit into a small string";
  };
  struct Result {
    std::string charge_id;
  };
};
PAWL_DESCRIBE(ChargeCard::Parameters, order_id, currency);
PAWL_DESCRIBE(ChargeCard::Result, charge_id);

struct NotifyFailure {
  struct Parameters {
    std::string reason;
  };
};
PAWL_DESCRIBE(NotifyFailure::Parameters, reason);

struct Pack {
  struct Parameters {
    std::string order_id;
  };
};
PAWL_DESCRIBE(Pack::Parameters, order_id);

struct BookCourier {
  struct Parameters {
    std::string order_id;
  };
  struct Result {
    std::string courier;
  };
};
PAWL_DESCRIBE(BookCourier::Parameters, order_id);
PAWL_DESCRIBE(BookCourier::Result, courier);

pawl::Workflow<Receipt> checkout(pawl::Context& ctx, Order order) {
  ctx.set_state("awaiting_payment");
  auto paid = co_await ctx.run<ChargeCard>({.order_id = order.id}, {.retry = {.max_attempts = 5}});
  if (!paid) {
    co_await ctx.run<NotifyFailure>({.reason = paid.error().message});
    co_return Receipt::failed();
  }
  auto decision = co_await ctx.wait_for("Approve", "Reject").within(72h);
  if (!decision || decision->name == "Reject") co_return Receipt::failed();
  auto [packed, booked] =
      co_await pawl::all(ctx.run<Pack>({order.id}), ctx.run<BookCourier>({order.id}));
  if (!packed || !booked) co_return Receipt::failed();
  co_return Receipt{order.id, booked->courier};
}

}  // namespace shop

namespace pawl {
namespace {

using testing::ElementsAre;
using testing_support::CoroutineDriver;
using testing_support::describe;

const std::string kLongId = "order-" + std::string(100, '1');

TEST(CheckoutExample, RunsToItsEnd) {
  CoroutineDriver driver(&shop::checkout);
  EXPECT_THAT(describe(driver.start(shop::Order{.id = kLongId, .amount = 9.5})),
              ElementsAre("state awaiting_payment",
                          "run 1 ChargeCard {\"order_id\":\"" + kLongId +
                              "\",\"currency\":\"a currency whose name does not fit into a small "
                              "string\"} attempts=5"));
  EXPECT_THAT(describe(driver.deliver({driver.completed(1, R"({"charge_id":"ch-1"})")})),
              ElementsAre("wait 2 Approve,Reject 259200000"));
  EXPECT_THAT(describe(driver.deliver({driver.event(2, "Approve")})),
              ElementsAre("run 3 Pack {\"order_id\":\"" + kLongId + "\"}",
                          "run 4 BookCourier {\"order_id\":\"" + kLongId + "\"}"));
  EXPECT_THAT(describe(driver.deliver({driver.completed(4, R"({"courier":"Quick"})")})),
              ElementsAre());
  EXPECT_THAT(
      describe(driver.deliver({driver.completed(3)})),
      ElementsAre("complete {\"order_id\":\"" + kLongId + "\",\"courier\":\"Quick\",\"ok\":true}"));
  EXPECT_EQ(driver.host.instances(), 0U);
}

// rule: 19
TEST(CheckoutExample, AFailureIsAValue) {
  CoroutineDriver driver(&shop::checkout);
  driver.start(shop::Order{.id = kLongId});
  EXPECT_THAT(describe(driver.deliver({driver.failed(1, "no funds")})),
              ElementsAre(R"(run 2 NotifyFailure {"reason":"no funds"})"));
  EXPECT_THAT(describe(driver.deliver({driver.failed(2, "no mail")})),
              ElementsAre(R"(complete {"order_id":"","courier":"","ok":false})"));
}

// rule: 12
TEST(CheckoutExample, TheWaitIsBounded) {
  CoroutineDriver driver(&shop::checkout);
  driver.start(shop::Order{.id = kLongId});
  driver.deliver({driver.completed(1, R"({"charge_id":"ch-1"})")});
  EXPECT_THAT(describe(driver.deliver({driver.timed_out(2)})),
              ElementsAre(R"(complete {"order_id":"","courier":"","ok":false})"));
}

// Put away at each point where it waits, and brought back, it asks for the same again and ends alike.
TEST(CheckoutExample, CanBePutAwayAtEveryPoint) {
  CoroutineDriver driver(&shop::checkout);
  const std::vector<std::vector<Job>> story = {{driver.completed(1, R"({"charge_id":"ch-1"})")},
                                               {driver.event(2, "Approve")},
                                               {driver.completed(4, R"({"courier":"Quick"})")},
                                               {driver.completed(3)}};
  driver.start(shop::Order{.id = kLongId});
  for (const std::vector<Job>& jobs : story) {
    const auto again = driver.replay(driver.delivered.size());
    for (std::size_t i = 0; i < again.size(); ++i) {
      EXPECT_EQ(describe(again[i]), describe(driver.results[i]));
    }
    driver.deliver(jobs);
  }
  EXPECT_THAT(describe(driver.results.back()), ElementsAre(testing::StartsWith("complete")));
}

}  // namespace
}  // namespace pawl
