// Workflows that are none. Each line with a comment has to be refused with that message.

#include <pawl/pawl.h>

struct Plain {
  int member = 0;
};

struct Order {
  std::string id;
};
PAWL_DESCRIBE(Order, id);

struct Charge {
  struct Parameters {
    std::string order_id;
  };
};
PAWL_DESCRIBE(Charge::Parameters, order_id);

int no_coroutine(pawl::Context&) { return 5; }

pawl::Workflow<> by_reference(pawl::Context&, const Order&) { co_return; }

pawl::Workflow<> undescribed_input(pawl::Context&, Plain) { co_return; }

pawl::Workflow<Plain> undescribed_result(pawl::Context&) { co_return Plain{}; }

void register_all(pawl::WorkflowRuntime& runtime) {
  // error: A workflow is a coroutine pawl::Workflow<T>(pawl::Context&, Input), or without Input
  runtime.register_workflow("A", &no_coroutine);
  // error: A workflow takes its input by value: a reference would dangle at the first co_await
  runtime.register_workflow("B", &by_reference);
  // error: The workflow's input must be described, next to its definition: PAWL_DESCRIBE(Order, id
  runtime.register_workflow("C", &undescribed_input);
  // error: The workflow's result must be described, next to its definition: PAWL_DESCRIBE(Receipt
  runtime.register_workflow("D", &undescribed_result);
}

pawl::Workflow<> foreign(pawl::Context& ctx) {
  // error: A workflow can only co_await what Pawl records: ctx.run, ctx.wait_for, ctx.start_child
  co_await std::suspend_always{};
  // error: Pawl does not know how to carry this type as JSON. If it is a struct, describe it next
  ctx.data().set("plain", Plain{});
}

pawl::Workflow<> parameters_made_in_place(pawl::Context& ctx, Order order) {
  // error (GCC 12): GCC 12 would free the members of this value twice when it is made within the
  co_await ctx.run<Charge>(Charge::Parameters{order.id});
  // error (GCC 12): co_await expression. Name the parameters first: Parameters p{...}; ctx.run_named(
  co_await ctx.run_named("charge", Charge::Parameters{order.id});
}
