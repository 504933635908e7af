#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "pawl/workflow_runtime.h"

namespace pawl::detail {

// Registers actions as built-in ones. One that the user has registered under such a name stays. What has no
// template is in src/runtime, which knows the runtime's parts.
class BuiltinRegistration {
 public:
  explicit BuiltinRegistration(WorkflowRuntime& runtime) : runtime_(runtime) {}

  template <class A>
  using Check = std::function<std::optional<std::string>(const typename A::Parameters&)>;

  // `check`: what is wrong with parameters whose types are right, if anything is.
  template <class A, class F>
  void add(F handler, const RunOptions& defaults = {}, Check<A> check = {}) {
    ActionDescription description = described<A>(defaults);
    ActionHandler typed = make_action_handler<A>(std::move(handler));
    if (check) {
      const auto misfit = [check = std::move(check)](const Payload& payload) {
        return misfit_of<A>(payload, check);
      };
      description.check = misfit;
      typed = [misfit, typed = std::move(typed)](
                  const Payload& payload,
                  const ActionContext& context) -> std::variant<Payload, Failure> {
        if (auto wrong = misfit(payload)) return std::move(*wrong);
        return typed(payload, context);
      };
    }
    finish(std::move(description), metadata<A>(), std::move(typed));
  }

  // On the store's own database.
  template <class A, class F>
  void add_to_database(F handler) {
    ActionMetadata about = metadata<A>();
    about.isolation = IsolationLevel::read_committed;
    auto typed =
        make_database_handler<A>(std::move(handler), runtime_.database(), *about.isolation);
    finish(described<A>({}), std::move(about), std::move(typed));
  }

  // The action that waits, which has no handler.
  template <class A>
  void add_wait(const RunOptions& defaults) {
    finish(described<A>(defaults), metadata<A>(), std::nullopt);
  }

  // What went wrong first, if anything did.
  Result<void> result() const { return result_; }

 private:
  template <class A>
  static ActionDescription described(const RunOptions& defaults) {
    ActionDescription description;
    description.name = std::string(action_name<A>());
    description.options = action_options(defaults);
    description.check = detail::misfit_of<A>;
    return description;
  }
  template <class A>
  static ActionMetadata metadata() {
    ActionMetadata about = metadata_of<A>();
    about.built_in = true;
    return about;
  }
  template <class A>
  static std::optional<Failure> misfit_of(const Payload& payload, const Check<A>& check) {
    auto parameters = from_payload<typename A::Parameters>(payload, UnknownMembers::refuse);
    if (!parameters) return detail::misfit_of<A>(payload);
    auto wrong = check(*parameters);
    if (!wrong) return std::nullopt;
    return validation_failure("parameters of " + std::string(action_name<A>()) + ": " + *wrong);
  }
  void finish(ActionDescription description, ActionMetadata metadata,
              std::optional<ActionHandler> handler);
  Result<void> add_to_waits(ActionDescription description, ActionMetadata metadata);

  WorkflowRuntime& runtime_;
  Result<void> result_;
};

}  // namespace pawl::detail
