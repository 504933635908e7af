#pragma once

// Actions whose writes and outcome are one commit. See WorkflowRuntime::register_database_action.

#include <concepts>
#include <functional>
#include <memory>
#include <utility>
#include <variant>

#include <pawl/action.h>
#include <pawl/database.h>

namespace pawl {

struct DatabaseActionOptions {
  RunOptions run = {};
  std::shared_ptr<Database> database = nullptr;  // none: the store's own
  // Of the transaction. SQLite has one writer at a time, so that all are serializable there.
  IsolationLevel isolation = IsolationLevel::serializable;
};

namespace detail {

using TransactionWork = std::function<std::variant<Payload, Failure>(Transaction& transaction)>;

// One attempt: `work` in a transaction that is committed with its result. What an attempt before it has
// committed is given in place of it. Throws what `work` throws, with nothing written.
std::variant<Payload, Failure> run_in_transaction(Database& database, const ActionContext& context,
                                                  const TransactionWork& work);

template <class A, class F>
decltype(auto) call_database_handler(F& handler, typename A::Parameters&& parameters,
                                     Transaction& transaction, const ActionContext& context) {
  if constexpr (std::invocable<F&, typename A::Parameters&&, Transaction&, const ActionContext&>) {
    return handler(std::move(parameters), transaction, context);
  } else if constexpr (std::invocable<F&, typename A::Parameters&&, Transaction&>) {
    return handler(std::move(parameters), transaction);
  } else {
    static_assert(std::invocable<F&, typename A::Parameters&&, Transaction&>,
                  "A database action's handler is called with (Parameters, Transaction&, const "
                  "ActionContext&) or (Parameters, Transaction&)");
  }
}

template <class A, class F>
ActionHandler make_database_handler(F handler, std::shared_ptr<Database> database) {
  auto shared = std::make_shared<F>(std::move(handler));
  return [shared, database = std::move(database)](
             const Payload& payload,
             const ActionContext& context) -> std::variant<Payload, Failure> {
    return run_in_transaction(*database, context, [&](Transaction& transaction) {
      const ActionHandler typed = make_action_handler<A>(
          [&](typename A::Parameters&& parameters, const ActionContext&) -> decltype(auto) {
            return call_database_handler<A>(*shared, std::move(parameters), transaction, context);
          });
      return typed(payload, context);
    });
  };
}

}  // namespace detail

}  // namespace pawl
