#pragma once

// An action is a type: its name, its parameters, its result. Workflow code calls it with
// ctx.run<A>(…); a handler for it, registered with the engine, does the work.
//
//   struct ChargeCard {
//     struct Parameters { std::string order_id; };
//     struct Result { std::string receipt; };                  // or left out: there is none
//     static constexpr std::string_view name = "charge_card";  // or left out: the type's own name
//   };
//   PAWL_DESCRIBE(ChargeCard::Parameters, order_id)
//   PAWL_DESCRIBE(ChargeCard::Result, receipt)
//
// Names of actions meet in every casing: ChargeCard, chargeCard and charge_card are one action,
// whichever language it is called from.

#include <array>
#include <chrono>
#include <concepts>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include <pawl/describe.h>
#include <pawl/error.h>
#include <pawl/host.h>
#include <pawl/json.h>
#include <pawl/payload.h>

namespace pawl {

template <class A>
concept HasParameters = requires { typename A::Parameters; };

namespace detail {

template <class A>
struct ResultOf {
  using type = void;
};
template <class A>
  requires requires { typename A::Result; }
struct ResultOf<A> {
  using type = typename A::Result;
};

// The name of a type without its namespaces.
template <class A>
constexpr std::string_view type_name() {
  std::string_view text = __PRETTY_FUNCTION__;
  text.remove_prefix(text.find("A = ") + 4);
  text = text.substr(0, text.find_first_of(";]"));
  const std::size_t scope = text.substr(0, text.find('<')).rfind("::");
  return scope == std::string_view::npos ? text : text.substr(scope + 2);
}

}  // namespace detail

template <class A>
using ActionResult = typename detail::ResultOf<A>::type;

// A::name, or the name of the type without its namespaces.
template <class A>
constexpr std::string_view action_name() {
  if constexpr (requires { std::string_view(A::name); }) {
    return A::name;
  } else {
    return detail::type_name<A>();
  }
}

// What makes a type an action, each with the error that says what is missing.
template <class A>
constexpr void assert_action_type() {
  static_assert(HasParameters<A>,
                "An action type needs a nested type Parameters: struct ChargeCard { struct "
                "Parameters { std::string order_id; }; struct Result { ... }; };");
  if constexpr (HasParameters<A>) {
    static_assert(JsonValue<typename A::Parameters>,
                  "The action's Parameters must be described, next to their definition: "
                  "PAWL_DESCRIBE(ChargeCard::Parameters, order_id, ...)");
  }
  if constexpr (!std::is_void_v<ActionResult<A>>) {
    static_assert(JsonValue<ActionResult<A>>,
                  "The action's Result must be void or something JSON can carry; describe it next "
                  "to its definition: PAWL_DESCRIBE(ChargeCard::Result, receipt, ...)");
  }
}

// Up to eight names of failures, as literals: pawl::names("CardDeclined", "Fraud").
using NameList = std::array<std::string_view, 8>;
template <std::size_t... N>
  requires(sizeof...(N) <= std::tuple_size_v<NameList>)
consteval NameList names(const char (&... name)[N]) {
  return NameList{std::string_view(name)...};
}

// Options of a call are trivially copyable, so that GCC 12 takes them in co_await (see Arg).
struct RetryOptions {
  std::optional<int> max_attempts;  // in all, with the first; 1 to 1,000,000
  std::optional<std::chrono::milliseconds> initial_interval;
  std::optional<double> backoff;
  std::optional<std::chrono::milliseconds> max_interval;
  std::optional<double> jitter;  // 0 to 1: plus or minus this share of the interval
  NameList non_retryable = {};   // failures by name or code
};

struct RunOptions {
  // When any of it is given, the call has a policy of its own: what is not given is as in
  // RetryPolicy{}, not as the action was registered.
  RetryOptions retry = {};
  std::optional<std::chrono::milliseconds> timeout = std::nullopt;  // of one attempt
  // Over all attempts and the pauses between them, from when it was scheduled.
  std::optional<std::chrono::milliseconds> total_timeout = std::nullopt;
  // An attempt whose handler has not called context.heartbeat() for that long is given up.
  std::optional<std::chrono::milliseconds> heartbeat_timeout = std::nullopt;
  // Of a registration: how many attempts at it run at once, and how many begin within a time, in this process.
  // One that was given up no longer counts, though its handler may go on: have it heed ActionContext::stop.
  std::optional<int> concurrency_max = std::nullopt;
  std::optional<RateLimit> rate_limit = std::nullopt;
  // Of a call: how long it waits for its handler to be registered, and then fails. None: for ever.
  std::optional<std::chrono::milliseconds> fail_after = std::nullopt;
  // Of a call: what has the same key in the tenant is one action with one outcome, whoever calls it. Another
  // action, or other parameters, under it fail with an AlreadyExistsError. A failure stays, too.
  std::string_view idempotency_key = {};
};

static_assert(std::is_trivially_copyable_v<RunOptions>);

// The same as values of the border. Throws std::invalid_argument on numbers out of range.
ActionOptions action_options(const RunOptions& options);

namespace detail {

// What Pawl's own handlers need of an attempt.
struct AttemptLink {
  const ActionTask* task = nullptr;
  std::size_t payload_bytes_max = 0;
  std::function<void(Payload progress)> beat = {};
  bool* deferred = nullptr;
  std::function<void(LogLevel level, std::string message, Payload details)> log = {};
};

}  // namespace detail

// What a handler is told beside the parameters.
struct ActionContext {
  std::string tenant;
  std::string execution_id;
  std::string action;           // as it was called
  std::string idempotency_key;  // the same on every attempt, across restarts: hand it on
  int attempt = 1;
  std::string event_id;  // of the event that led to it; empty: the start
  std::string correlation_id;
  std::chrono::sys_time<std::chrono::milliseconds> scheduled_at;
  // After it the attempt counts as failed; it began with the handler. One that goes on all the same
  // keeps its thread, and another one takes its place: WorkflowRuntimeOptions::abandoned_threads_max.
  std::chrono::milliseconds timeout{0};
  // Asked to stop when the attempt timed out or its execution ended, and when the engine closes and
  // has waited long enough: whatever the handler returns is ignored then.
  std::stop_token stop;
  // What an attempt before this one told with its last heartbeat; none: nothing that is known. After a crash
  // of the process it is what an attempt told that failed before.
  Payload progress;
  detail::AttemptLink link;

  // The handler is alive, which its heartbeat time-out wants to hear again and again, and perhaps so far.
  void heartbeat() const { link.beat(Payload{}); }
  // Throws ErrorException for what can't be carried.
  template <class T>
  void heartbeat(const T& reached) const {
    link.beat(to_payload(reached).value());
  }

  // A line of the log, at once; also on attempts that fail. `details` is what JSON can carry.
  void log(LogLevel level, std::string message) const { link.log(level, std::move(message), {}); }
  template <class T>
  void log(LogLevel level, std::string message, const T& details) const {
    link.log(level, std::move(message),
             Payload::json("[" + to_payload(details).value().bytes + "]"));
  }

  // For an action that ends elsewhere: hand the token to whoever is to complete it, call complete_later(), and
  // return. What is returned says nothing then; the action goes on to be open, without an attempt, until
  // WorkflowRuntime::complete_action or fail_action. Empty outside of a workflow, and under a key of the
  // caller's, where that can't be.
  std::string token;
  void complete_later() const { *link.deferred = true; }
};

using FailureClassifier = std::function<std::optional<FailureClass>(const Failure& failure)>;

namespace detail {

using ActionHandler =
    std::function<std::variant<Payload, Failure>(const Payload& parameters, const ActionContext&)>;

Failure failure_of(const Error& error);
// Parameters or a result that don't have their shape. Class validation: not tried again.
Failure validation_failure(std::string message);

template <class T>
inline constexpr bool is_result = false;
template <class T, class E>
inline constexpr bool is_result<boost::system::result<T, E>> = true;

template <class T>
std::variant<Payload, Failure> outcome_of(const T& value) {
  Result<Payload> payload = to_payload(value);
  if (payload) return std::move(*payload);
  return validation_failure("the result can't be recorded: " + payload.error().message);
}

template <class A, class F>
decltype(auto) call_handler(F& handler, typename A::Parameters&& parameters,
                            const ActionContext& context) {
  if constexpr (std::invocable<F&, typename A::Parameters&&, const ActionContext&>) {
    return handler(std::move(parameters), context);
  } else if constexpr (std::invocable<F&, typename A::Parameters&&>) {
    return handler(std::move(parameters));
  } else {
    static_assert(std::invocable<F&, typename A::Parameters&&>,
                  "An action's handler is called with (Parameters, const ActionContext&) or "
                  "(Parameters)");
  }
}

// What is wrong with parameters of A, if anything is.
template <class A>
std::optional<Failure> misfit_of(const Payload& payload) {
  const auto parameters = from_payload<typename A::Parameters>(payload, UnknownMembers::refuse);
  if (parameters) return std::nullopt;
  return validation_failure("parameters of " + std::string(action_name<A>()) + ": " +
                            parameters.error().message);
}

// Wraps a typed handler. It is shared by all threads that run attempts.
template <class A, class F>
ActionHandler make_action_handler(F handler) {
  assert_action_type<A>();
  auto shared = std::make_shared<F>(std::move(handler));
  return [shared](const Payload& payload,
                  const ActionContext& context) -> std::variant<Payload, Failure> {
    auto parameters = from_payload<typename A::Parameters>(payload, UnknownMembers::refuse);
    if (!parameters) {
      return validation_failure("parameters of " + std::string(action_name<A>()) + ": " +
                                parameters.error().message);
    }
    using Returned = decltype(call_handler<A>(*shared, std::move(*parameters), context));
    if constexpr (std::is_void_v<Returned>) {
      static_assert(std::is_void_v<ActionResult<A>>,
                    "The handler returns nothing, but the action has a Result");
      call_handler<A>(*shared, std::move(*parameters), context);
      return Payload{};
    } else if constexpr (is_result<std::remove_cvref_t<Returned>>) {
      auto returned = call_handler<A>(*shared, std::move(*parameters), context);
      using Value = typename std::remove_cvref_t<Returned>::value_type;
      if (!returned) {
        if constexpr (std::convertible_to<decltype(returned.error()), Error>) {
          return failure_of(returned.error());
        } else {
          static_assert(std::convertible_to<decltype(returned.error()), Failure>,
                        "A handler's Result has pawl::Failure or pawl::Error as its error");
          return Failure(returned.error());
        }
      }
      if constexpr (std::is_void_v<Value>) {
        static_assert(std::is_void_v<ActionResult<A>>,
                      "The handler returns nothing, but the action has a Result");
        return Payload{};
      } else {
        static_assert(std::convertible_to<Value, ActionResult<A>>,
                      "The handler returns something else than the action's Result");
        return outcome_of<ActionResult<A>>(*returned);
      }
    } else {
      static_assert(std::convertible_to<Returned, ActionResult<A>>,
                    "The handler returns something else than the action's Result");
      return outcome_of<ActionResult<A>>(call_handler<A>(*shared, std::move(*parameters), context));
    }
  };
}

}  // namespace detail

}  // namespace pawl
