// The example of a purchase, each branch of it, told four ways: the coroutine as a user has it, under the engine that
// decides, with crashes, evictions and replays; its money is as it would be if nothing had happened.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "examples/cpp/purchase_workflow.h"
#include "host/coroutine_host.h"
#include "pawl/json.h"
#include "tests/support/four_ways.h"
#include "tests/support/story_parts.h"

namespace pawl::testing {
namespace {

struct Money {
  std::int64_t budget = 500'000;
  std::map<std::string, std::int64_t> payments;

  friend bool operator==(const Money&, const Money&) = default;
};

template <class A>
typename A::Parameters parameters_of(const ActionTask& task) {
  return from_payload<typename A::Parameters>(task.parameters).value();
}

World::HostMaker host_of_purchases() {
  return [] {
    auto host = std::make_unique<CoroutineHost>();
    host->register_workflow("Story", "1.0.0",
                            detail::make_workflow_function(&purchase::purchase_to_payment));
    return host;
  };
}

// As a transaction on the store's own database: what `change` does is done once for each action, together with
// its result.
template <class Change>
ActionFunction database_action(World& world, const Change& change) {
  return [&world, change](const ActionTask& task) -> std::variant<Payload, Failure> {
    Payload result;
    const auto write = change(task, result);
    if (world.write_ahead(task, result)) {
      write();
      return result;
    }
    return world.data().results.at({task.execution, task.position, task.generation}).result;
  };
}

using Books = std::map<const World*, Money>;

void register_actions(World& world, const std::shared_ptr<Books>& books) {
  world.register_workflow("Story");
  Money& money = (*books)[&world];
  money = Money{};
  world.register_action("CheckSupplier", [](const ActionTask& task) {
    const auto p = parameters_of<purchase::CheckSupplier>(task);
    return std::variant<Payload, Failure>(
        to_payload(purchase::CheckSupplier::Result{p.supplier != "Nobody"}).value());
  });
  world.register_action("CheckItems", [](const ActionTask& task) {
    purchase::CheckItems::Result result;
    for (const purchase::Item& item : parameters_of<purchase::CheckItems>(task).items) {
      result.cents += item.quantity * item.cents;
    }
    return std::variant<Payload, Failure>(to_payload(result).value());
  });
  world.register_action(
      "AskApprover", [](const ActionTask&) { return std::variant<Payload, Failure>(Payload{}); });
  world.register_action(
      "ReserveBudget", database_action(world, [&money](const ActionTask& task, Payload& result) {
        const auto cents = parameters_of<purchase::ReserveBudget>(task).cents;
        const bool reserved = money.budget >= cents;
        result = to_payload(purchase::ReserveBudget::Result{reserved}).value();
        return [&money, cents, reserved] { money.budget -= reserved ? cents : 0; };
      }));
  world.register_action("ReleaseBudget",
                        database_action(world, [&money](const ActionTask& task, Payload&) {
                          const auto cents = parameters_of<purchase::ReleaseBudget>(task).cents;
                          return [&money, cents] { money.budget += cents; };
                        }));
  world.register_action("PayForOrder",
                        database_action(world, [&money](const ActionTask& task, Payload&) {
                          const auto p = parameters_of<purchase::PayForOrder>(task);
                          return [&money, p] { money.payments[p.order] += p.cents; };
                        }));
  world.register_action("TakeBack",
                        database_action(world, [&money](const ActionTask& task, Payload&) {
                          const auto p = parameters_of<purchase::TakeBack>(task);
                          return [&money, p] { money.payments.erase(p.order); };
                        }));
  world.register_action("SendCourier",
                        [](const ActionTask& task) -> std::variant<Payload, Failure> {
                          if (!parameters_of<purchase::SendCourier>(task).address.empty()) {
                            return to_payload(purchase::SendCourier::Result{"Quick"}).value();
                          }
                          Failure failure;
                          failure.name = "NoCourier";
                          failure.failure_class = FailureClass::permanent;
                          return failure;
                        });
}

constexpr DurationMs kHour = 3'600'000;

struct Branch {
  std::string supplier = "Desks Unlimited";
  std::string address = "1 Main Street";
  std::int64_t cents = 20'000;
  int silent = 0;          // so many of those who are asked do not answer
  std::string event = {};  // empty: none
  bool cancel = false;     // while somebody is asked
};

// A commit that failed is made again after a while.
void reach(World& world, const std::string& state) {
  constexpr int kTriesMax = 100;
  for (int tries = 0; tries < kTriesMax; ++tries) {
    const ExecutionState now = world.state(kTenant, "a");
    if (now.is_complete || now.current_state == state) return;
    world.advance(100);
  }
  FAIL() << "never " << state;
}

void expect(const Branch& branch, const std::string& status, const std::string& outcome,
            const Money& money) {
  purchase::Purchase wanted;
  wanted.order = {"a", "office", branch.supplier, branch.address, {{"desk", 1, branch.cents}}};
  wanted.manager_ms = kHour;
  wanted.director_ms = kHour;
  const std::string input = to_payload(wanted).value().bytes;
  const auto books = std::make_shared<Books>();
  tell_four_ways({host_of_purchases(), [books](World& world) { register_actions(world, books); },
                  [&](World& world) {
                    start_until_told(world, start_of("a", input));
                    world.settle();
                    int asked = 0;
                    for (const char* const state : {"awaiting manager", "awaiting director"}) {
                      if (branch.cents < purchase::kApprovalFromCents || branch.cents > 500'000)
                        break;
                      reach(world, state);
                      if (asked++ == branch.silent) break;
                      world.advance(kHour);
                    }
                    if (branch.cancel) control_until_told(world, ControlVerb::cancel, "a");
                    if (!branch.event.empty()) {
                      submit_until_told(world, event_of("a", branch.event, "decision"));
                    }
                    reach(world, "the end");
                  },
                  [&](const World& world) {
                    const ExecutionState state = world.state(kTenant, "a");
                    EXPECT_EQ(state.status, status);
                    const std::string result = outcome.empty() ? "" : '"' + outcome + '"';
                    EXPECT_EQ(state.result.bytes, result);
                    const Money& left = books->at(&world);
                    EXPECT_EQ(left.budget, money.budget);
                    EXPECT_EQ(left.payments, money.payments);
                  }});
}

// rules: 2, 14
TEST(PurchaseExample, ASmallOneIsPaidAndDelivered) {
  expect({}, "completed", "delivered", {480'000, {{"a", 20'000}}});
}

// rules: 2, 14
TEST(PurchaseExample, AnUnknownSupplierIsInvalid) {
  expect({.supplier = "Nobody"}, "completed", "invalid", {});
}

// rules: 2, 14
TEST(PurchaseExample, MoreThanThereIsIsOverBudget) {
  expect({.cents = 900'000}, "completed", "over budget", {});
}

// rules: 2, 12, 14
TEST(PurchaseExample, TheManagerApproves) {
  expect({.cents = 150'000, .event = "Approve"}, "completed", "delivered",
         {350'000, {{"a", 150'000}}});
}

// rules: 2, 12, 14
TEST(PurchaseExample, TheManagerRejectsAndTheBudgetIsReleased) {
  expect({.cents = 150'000, .event = "Reject"}, "completed", "rejected", {});
}

// rules: 2, 12, 14
TEST(PurchaseExample, TheDirectorApprovesWhenTheManagerDoesNotAnswer) {
  expect({.cents = 150'000, .silent = 1, .event = "Approve"}, "completed", "delivered",
         {350'000, {{"a", 150'000}}});
}

// rules: 2, 12, 14
TEST(PurchaseExample, NobodyDecidesAndTheBudgetIsReleased) {
  expect({.cents = 150'000, .silent = 2}, "completed", "not decided", {});
}

// rules: 2, 14, 19
TEST(PurchaseExample, NoCourierAndPaymentAndBudgetAreUndone) {
  expect({.address = ""}, "completed", "not delivered", {});
}

// rules: 2, 14, 22
TEST(PurchaseExample, CancelledWhileSomebodyIsAskedAndTheBudgetIsReleased) {
  expect({.cents = 150'000, .cancel = true}, "cancelled", "", {});
}

}  // namespace
}  // namespace pawl::testing
