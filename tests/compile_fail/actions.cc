// Actions and handlers that are none. Each line with a comment has to be refused with that message.

#include <pawl/pawl.h>

struct Plain {
  int member = 0;
};

struct WithoutParameters {};

struct Undescribed {
  struct Parameters {
    std::string order_id;
  };
};

struct Charge {
  struct Parameters {
    std::string order_id;
  };
  struct Result {
    std::string receipt;
  };
};
PAWL_DESCRIBE(Charge::Parameters, order_id);
PAWL_DESCRIBE(Charge::Result, receipt);

struct UndescribedResult {
  struct Parameters {};
  using Result = Plain;
};
PAWL_DESCRIBE(UndescribedResult::Parameters);

using Parameters = Charge::Parameters;

void register_all(pawl::WorkflowRuntime& runtime) {
  // error: An action type needs a nested type Parameters: struct ChargeCard { struct Parameters
  runtime.register_action<WithoutParameters>([] {});
  // error: The action's Parameters must be described, next to their definition: PAWL_DESCRIBE(
  runtime.register_action<Undescribed>([](const Undescribed::Parameters&) {});
  // error: The action's Result must be void or something JSON can carry; describe it next to its
  runtime.register_action<UndescribedResult>(
      [](const UndescribedResult::Parameters&) { return Plain{}; });
  // error: An action's handler is called with (Parameters, const ActionContext&) or (Parameters)
  runtime.register_action<Charge>([](int) { return Charge::Result{}; });
  // error: The handler returns nothing, but the action has a Result
  runtime.register_action<Charge>([](const Parameters&) {});
  // error: The handler returns something else than the action's Result
  runtime.register_action<Charge>([](const Parameters&) { return 5; });
  // error: A handler's Result has pawl::Failure or pawl::Error as its error
  runtime.register_action<Charge>(
      [](const Parameters&) -> pawl::Result<Charge::Result, int> { return 5; });
}
