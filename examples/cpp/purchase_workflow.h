#pragma once

// From a purchase to its payment: checks in parallel, a budget, an approval with a deadline and somebody above
// who is asked next, a payment that is booked once, and what undoes all of it when no courier can be had. The
// workflow and what it speaks of; purchase.cc has what its actions do.

#include <pawl/pawl.h>

#include <chrono>
#include <cstdint>
#include <exception>
#include <string>
#include <vector>

namespace purchase {

struct Item {
  std::string name;
  int quantity = 1;
  std::int64_t cents = 0;
};
PAWL_DESCRIBE(Item, name, quantity, cents);

struct Order {
  std::string id;
  std::string department;
  std::string supplier;
  std::string address;
  std::vector<Item> items;
};
PAWL_DESCRIBE(Order, id, department, supplier, address, items);

struct Purchase {
  Order order;
  // How long each has who is asked to approve.
  std::int64_t manager_ms = 3 * 24 * 3'600'000LL;
  std::int64_t director_ms = 2 * 24 * 3'600'000LL;
};
PAWL_DESCRIBE(Purchase, order, manager_ms, director_ms);

// --- its actions: what it asks of the outside ----------------------------------------------------------

struct CheckSupplier {
  struct Parameters {
    std::string supplier;
  };
  struct Result {
    bool known = false;
  };
};
PAWL_DESCRIBE(CheckSupplier::Parameters, supplier);
PAWL_DESCRIBE(CheckSupplier::Result, known);

struct CheckItems {
  struct Parameters {
    std::vector<Item> items;
  };
  struct Result {
    std::vector<std::string> problems;
    std::int64_t cents = 0;
  };
};
PAWL_DESCRIBE(CheckItems::Parameters, items);
PAWL_DESCRIBE(CheckItems::Result, problems, cents);

struct ReserveBudget {
  struct Parameters {
    std::string department;
    std::int64_t cents = 0;
  };
  struct Result {
    bool reserved = false;
  };
};
PAWL_DESCRIBE(ReserveBudget::Parameters, department, cents);
PAWL_DESCRIBE(ReserveBudget::Result, reserved);

struct ReleaseBudget {
  struct Parameters {
    std::string department;
    std::int64_t cents = 0;
  };
};
PAWL_DESCRIBE(ReleaseBudget::Parameters, department, cents);

struct AskApprover {
  struct Parameters {
    std::string approver;
    std::string order;
  };
};
PAWL_DESCRIBE(AskApprover::Parameters, approver, order);

struct PayForOrder {
  struct Parameters {
    std::string order;
    std::string supplier;
    std::int64_t cents = 0;
  };
};
PAWL_DESCRIBE(PayForOrder::Parameters, order, supplier, cents);

struct TakeBack {
  struct Parameters {
    std::string order;
  };
};
PAWL_DESCRIBE(TakeBack::Parameters, order);

struct SendCourier {
  struct Parameters {
    std::string order;
    std::string address;
  };
  struct Result {
    std::string courier;
  };
};
PAWL_DESCRIBE(SendCourier::Parameters, order, address);
PAWL_DESCRIBE(SendCourier::Result, courier);

// --- the workflow --------------------------------------------------------------------------------------

// From this sum on somebody has to approve.
inline constexpr std::int64_t kApprovalFromCents = 100'000;

// What the first says who answers in time; empty: nobody does.
inline pawl::Task<std::string> decide(pawl::Context& ctx, Purchase purchase) {
  for (const std::string approver : {"manager", "director"}) {
    auto asked = co_await ctx.run<AskApprover>({.approver = approver, .order = purchase.order.id});
    asked.value();
    ctx.set_state("awaiting " + approver);
    const std::chrono::milliseconds within(approver == "manager" ? purchase.manager_ms
                                                                 : purchase.director_ms);
    auto decision = co_await ctx.wait_for("Approve", "Reject").within(within);
    if (decision) co_return decision->name;
  }
  co_return std::string();
}

// How it ends, if nothing goes wrong that has to be undone.
inline pawl::Task<std::string> buy(pawl::Context& ctx, Purchase purchase) {
  const Order order = purchase.order;
  ctx.set_state("validating");
  const CheckItems::Parameters wanted{.items = order.items};
  auto [supplier, items] = co_await pawl::all(ctx.run<CheckSupplier>({.supplier = order.supplier}),
                                              ctx.run<CheckItems>(wanted));
  if (!supplier.value().known || !items.value().problems.empty()) co_return "invalid";
  const std::int64_t cents = items->cents;

  ctx.set_state("budgeting");
  auto budget = co_await ctx.run<ReserveBudget>({.department = order.department, .cents = cents});
  if (!budget.value().reserved) co_return "over budget";
  ctx.compensations().add<ReleaseBudget>({.department = order.department, .cents = cents});

  if (cents >= kApprovalFromCents) {
    const std::string decision = co_await decide(ctx, purchase);
    if (decision != "Approve") co_return decision.empty() ? "not decided" : "rejected";
  }

  ctx.set_state("paying");
  auto paid = co_await ctx.run<PayForOrder>(
      {.order = order.id, .supplier = order.supplier, .cents = cents});
  paid.value();
  ctx.compensations().add<TakeBack>({.order = order.id});

  ctx.set_state("delivering");
  auto sent = co_await ctx.run<SendCourier>({.order = order.id, .address = order.address});
  co_return sent ? "delivered" : "not delivered";
}

// What does not arrive is undone, the last first, also where somebody cancels it.
inline pawl::Workflow<std::string> purchase_to_payment(pawl::Context& ctx, Purchase purchase) {
  std::string outcome;
  std::exception_ptr thrown;
  try {
    outcome = co_await buy(ctx, purchase);
  } catch (...) {
    thrown = std::current_exception();  // no co_await can stand in here
  }
  if (outcome != "delivered") {
    auto undone = co_await ctx.compensations().run();
    undone.value();  // what can't be undone ends it as failed, so that somebody looks at it
  }
  if (thrown) std::rethrow_exception(thrown);
  ctx.set_state(outcome);
  co_return outcome;
}

}  // namespace purchase
