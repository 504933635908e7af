#pragma once

// A workflow is a coroutine that takes the context, and its input by value:
//
//   pawl::Workflow<Receipt> checkout(pawl::Context& ctx, Order order) {
//     ctx.set_state("awaiting_payment");
//     auto paid = co_await ctx.run<ChargeCard>({.order_id = order.id});
//     if (!paid) co_return Receipt::failed();
//     auto decision = co_await ctx.wait_for("Approve", "Reject").within(72h);
//     …
//   }
//
// It may be stopped at any co_await and run again from the start, in another process, years later:
// then everything that it awaits gives what it gave the first time. So its course may depend on its
// input, on what it awaits, and on the context; never on clocks, random numbers, globals or threads of
// its own. Side effects belong into actions. Destructors may run whenever the execution is put away;
// what they ask of the context is ignored.
//
// GCC 12 miscompiles some expressions that contain a co_await: aggregates made within it (see
// PAWL_DESCRIBE for parameters; name any others before), lambdas made there that capture by value what
// must be freed, `a ? b : c` between awaitables, and braced lists such as {"a", "b"} as arguments.
// Clang and GCC 13 take them all.
//
// Cancelling makes each co_await that is open throw Cancelled; an execution whose coroutine ends by that
// is cancelled. What it begins afterwards works as ever, so that it can put things right.
//
// An exception that leaves the coroutine ends the execution as failed, with the type's name and what().

#include <chrono>
#include <concepts>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <pawl/action.h>
#include <pawl/awaitable.h>
#include <pawl/compensations.h>
#include <pawl/error.h>
#include <pawl/host.h>
#include <pawl/json.h>

namespace pawl {

class Context;

namespace detail {

struct WorkflowPromiseBase : PromiseBase {
  std::optional<Result<Payload>> result;

  std::suspend_always initial_suspend() const noexcept { return {}; }
  std::suspend_always final_suspend() const noexcept { return {}; }
};

template <class T>
struct WorkflowPromise : WorkflowPromiseBase {
  template <std::convertible_to<T> U = T>
  void return_value(U&& from) {
    const T& value = from;
    result = to_payload(value);
  }
};

template <>
struct WorkflowPromise<void> : WorkflowPromiseBase {
  void return_void() { result = Payload{}; }
};

// The outermost frame, whatever its type. Owned by whoever holds it.
struct RootFrame {
  std::coroutine_handle<> handle;
  WorkflowPromiseBase* promise = nullptr;
};

// Makes the frame, suspended before its first line. Errors: the input does not fit.
using WorkflowFunction = std::function<Result<RootFrame>(Context&, const Payload& input)>;

}  // namespace detail

// What a workflow's function returns. T is its result: void, or what JSON can carry.
template <class T = void>
class [[nodiscard]] Workflow {
 public:
  struct promise_type : detail::WorkflowPromise<T> {
    Workflow get_return_object() {
      return Workflow(std::coroutine_handle<promise_type>::from_promise(*this));
    }
  };

  Workflow(Workflow&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Workflow& operator=(Workflow&&) = delete;
  ~Workflow() {
    if (handle_) handle_.destroy();
  }

  // For the host: gives the frame away.
  detail::RootFrame release() && {
    const auto handle = std::exchange(handle_, nullptr);
    return {handle, &handle.promise()};
  }

 private:
  explicit Workflow(std::coroutine_handle<promise_type> handle) : handle_(handle) {}

  std::coroutine_handle<promise_type> handle_;
};

// Values kept by key with the execution, to be read from outside at any point of its history. Its first
// content are the members of the input, where that is an object.
class Data {
 public:
  // Nothing where the key is not there. Throws ErrorException where the value is not a T.
  template <class T = Json>
  std::optional<T> get(std::string_view key) const {
    const std::string* text = find(key);
    if (text == nullptr) return std::nullopt;
    Result<T> value = from_payload<T>(Payload::json(*text));
    if (!value) throw_unfit(key, value.error());
    return std::move(*value);
  }
  // Throws ErrorException where JSON can't carry it.
  template <class T>
  void set(std::string_view key, const T& value, Here here = Here::current()) {
    store(key, to_payload(value).value(), here);
  }
  void erase(std::string_view key, Here here = Here::current());
  bool contains(std::string_view key) const { return find(key) != nullptr; }
  std::vector<std::string> keys() const;

 private:
  friend class Context;
  explicit Data(detail::Instance& instance) : instance_(instance) {}
  const std::string* find(std::string_view key) const;
  void store(std::string_view key, Payload value, Here here);
  [[noreturn]] static void throw_unfit(std::string_view key, const Error& error);

  detail::Instance& instance_;
};

// Lines that are written once the activation is durable, and not again on replay.
class Log {
 public:
  template <class... Args>
  void debug(fmt::format_string<Args...> text, Args&&... args) const {
    line(LogLevel::debug, text, std::forward<Args>(args)...);
  }
  template <class... Args>
  void info(fmt::format_string<Args...> text, Args&&... args) const {
    line(LogLevel::info, text, std::forward<Args>(args)...);
  }
  template <class... Args>
  void warn(fmt::format_string<Args...> text, Args&&... args) const {
    line(LogLevel::warn, text, std::forward<Args>(args)...);
  }
  template <class... Args>
  void error(fmt::format_string<Args...> text, Args&&... args) const {
    line(LogLevel::error, text, std::forward<Args>(args)...);
  }

 private:
  friend class Context;
  explicit Log(detail::Instance& instance) : instance_(instance) {}
  template <class... Args>
  void line(LogLevel level, fmt::format_string<Args...> text, Args&&... args) const {
    if (wanted()) write(level, fmt::format(text, std::forward<Args>(args)...));
  }
  bool wanted() const;
  void write(LogLevel level, std::string message) const;

  detail::Instance& instance_;
};

// How a child is started.
struct ChildOptions {
  std::string version;         // empty: the highest that is registered
  std::string execution_id;    // empty: the parent's, "/", the position; ":", the retry
  std::string user_id;         // empty: the parent's
  std::string correlation_id;  // empty: the parent's
  ParentClose parent_close = ParentClose::cancel;
};

// A name, and where it was written: for what takes any number of them.
struct NameHere {
  template <std::convertible_to<std::string_view> Name>
  NameHere(const Name& given, Here place = Here::current())  // NOLINT(*-explicit-*)
      : name(given), here(place) {}

  std::string_view name;
  Here here;
};

// The execution, as its workflow sees it. Lives as long as the workflow's frame; used by the workflow's
// coroutines only, while they run. Elsewhere (another thread, a callback) its members throw
// std::logic_error, and the execution is set aside as stuck. Names and values over the runtime's limits
// (name_bytes_max, payload_bytes_max) throw ErrorException.
class Context {
 public:
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // Calls an action. What is given as parameters is copied before this returns.
  //
  //   co_await ctx.run<ChargeCard>({.order_id = order.id}, {.retry = {.max_attempts = 5}})
  //   co_await ctx.run<ChargeCard>(parameters)           // a named value
  //
  // Throws ErrorException where JSON can't carry the parameters, std::invalid_argument on bad options.
  template <class A>
    requires HasParameters<A> && DescribedWithPawlDescribe<typename A::Parameters>
  ActionCall<ActionResult<A>> run(const Braces<typename A::Parameters>& written = {},
                                  const RunOptions& options = {}, Here here = Here::current()) {
    typename A::Parameters parameters{};
    written.pawl_give(parameters);
    return call<A>(parameters, options, here);
  }
  template <class A, class P>
    requires HasParameters<A> && std::same_as<std::remove_cvref_t<P>, typename A::Parameters>
  ActionCall<ActionResult<A>> run(P&& parameters, const RunOptions& options = {},
                                  Here here = Here::current()) {
    static_assert(detail::SafeInCoAwait<P>,
                  "GCC 12 would free the members of this value twice when it is made within the "
                  "co_await expression. Write ctx.run<Action>({.member = value}), or name the "
                  "parameters first: Action::Parameters p{...}; ctx.run<Action>(p).");
    return call<A>(parameters, options, here);
  }

  // The same for an action without a type here: one that another language registered. R is what its
  // result is read as.
  template <class R = Json, class P>
  ActionCall<R> run_named(std::string_view name, P&& parameters, const RunOptions& options = {},
                          Here here = Here::current()) {
    static_assert(detail::SafeInCoAwait<P>,
                  "GCC 12 would free the members of this value twice when it is made within the "
                  "co_await expression. Name the parameters first: Parameters p{...}; "
                  "ctx.run_named(name, p).");
    return ActionCall<R>(
        start_action(name, to_payload(parameters).value(), action_options(options), here));
  }

  // Runs actions as their dependencies let them, without this code in between; see pawl/graph.h. Throws
  // ErrorException, before anything runs, for a graph that can't: no action in it, an id that comes twice, a
  // dependency that is unknown, actions that wait for one another, or more than Limits allows.
  GraphCall execute_actions(const Graph& graph, Here here = Here::current()) {
    return GraphCall(start_graph(graph, here));
  }

  // Waits for the first event of one of these names; one that came before is taken first. Add
  // .within(72h) for a bound.
  template <std::convertible_to<std::string_view>... Names>
  Wait wait_for(const NameHere& first, const Names&... others) {
    std::vector<std::string> all;
    all.reserve(1 + sizeof...(Names));
    all.emplace_back(first.name);
    (all.emplace_back(std::string_view(others)), ...);
    return Wait(start_wait(std::move(all), first.here));
  }
  Wait wait_for(std::vector<std::string> names, Here here = Here::current()) {
    return Wait(start_wait(std::move(names), here));
  }

  // Waits until the predicate gives true; at once, where it does already. Add .within(72h) for a bound,
  // and it gives whether the predicate was met in time.
  //
  //   co_await ctx.condition([&] { return approvals >= 2; });
  //
  // It is asked after each change of state or data, and whenever the code of an activation has nothing
  // more to do; conditions in order of creation. It sees what the workflow's code sees, and may only
  // look: what changes something or asks for something throws std::logic_error in it. What it throws is
  // thrown by the co_await. What it refers to must live as long as what this returns.
  template <class F>
    requires std::is_invocable_r_v<bool, F&> && std::copy_constructible<std::remove_cvref_t<F>>
  ConditionWait condition(F&& predicate, Here here = Here::current()) {
    static_assert(detail::CallableSafeInCoAwait<F>,
                  "GCC 12 would free twice what this predicate captures by value when it is made "
                  "within the co_await expression. Capture by reference, or name the predicate "
                  "first: auto met = [name] { ... }; co_await ctx.condition(met);");
    return ConditionWait(start_condition(std::function<bool()>(std::forward<F>(predicate)), here));
  }

  // Durable: survives restarts, and takes no thread.
  Sleep sleep(std::chrono::milliseconds duration, Here here = Here::current()) {
    return Sleep(start_timer(duration, here));
  }

  // Whether the execution was cancelled. Every co_await of what was open then throws Cancelled.
  bool is_cancelled() const;

  // For code that changes while executions of it are under way: new code behind `if (patched("id"))`,
  // what was there before in the else. True where the code comes by for the first time from now on,
  // recorded in the history, and then always; false for the rest of an execution that came by before
  // the patch existed. An execution that is under way and comes by later has it true from there.
  // An id names one change; all calls with it in an execution agree. Taking the call out again makes
  // executions that have it recorded depart: do that in a new version of the workflow. Throws
  // ErrorException where the id is empty or too long.
  bool patched(std::string_view change_id, Here here = Here::current());

  // "initial" before the first set_state.
  const std::string& current_state() const;
  void set_state(std::string_view state, Here here = Here::current());

  Data data() const { return Data(instance_); }

  // What is to be undone when things go wrong: see <pawl/compensations.h>.
  //
  //   ctx.compensations().add<RefundCard>({.charge = paid->charge});
  //   …
  //   auto undone = co_await ctx.compensations().run();   // Result<void, CompensationFailure>
  Compensations compensations() const { return Compensations(instance_); }

  // Another execution, of the same tenant, which runs by itself. Its id, where none is given, is made of
  // this one's and the position, and so the same on every replay.
  //
  //   auto parcel = ctx.start_child<Tracking>("ship-parcel", order);
  //   …
  //   auto tracking = co_await parcel;      // Result<Tracking, Failure>
  //
  // R is what its result is read as. Unless `options.parent_close` says otherwise it is cancelled when
  // this execution ends, is cancelled or goes on as new before it. Where nobody has registered the
  // workflow, it waits until somebody does ("no_worker"). Throws ErrorException where JSON can't carry
  // the input.
  template <class R = Json, class I>
  Child<R> start_child(std::string_view workflow, const I& input, const ChildOptions& options = {},
                       Here here = Here::current()) {
    std::string id;
    detail::PendingPointer pending =
        start_child_execution(workflow, to_payload(input).value(), options, id, here);
    return Child<R>(std::move(pending), std::move(id));
  }
  template <class R = Json>
  Child<R> start_child(const NameHere& workflow) {
    std::string id;
    detail::PendingPointer pending =
        start_child_execution(workflow.name, Payload{}, {}, id, workflow.here);
    return Child<R>(std::move(pending), std::move(id));
  }

  // Begins the workflow anew under the same id, with another input: for executions that live for long,
  // whose history would grow without end.
  //
  //   co_await ctx.continue_as_new(next);   // nothing comes behind it
  //
  // Events that nobody took are carried over. Timers, waits and actions under way are dropped, children
  // are left as when an execution ends; state and data are those of a beginning.
  template <class I>
  NextRun continue_as_new(const I& input, Here here = Here::current()) {
    return go_on_as_new(to_payload(input).value(), here);
  }
  NextRun continue_as_new(Here here = Here::current()) { return go_on_as_new(input(), here); }

  // Sends an event to another execution of this tenant, once this activation is durable; it gets it once.
  // Where there is no such execution, or it has ended, a warning is logged.
  void emit_to(std::string_view execution_id, const NameHere& name) {
    emit_payload_to(execution_id, name.name, Payload{}, name.here);
  }
  template <class T>
  void emit_to(std::string_view execution_id, std::string_view name, const T& payload,
               Here here = Here::current()) {
    emit_payload_to(execution_id, name, to_payload(payload).value(), here);
  }

  // Sends an event to this execution, as if a client had. Throws ErrorException where JSON can't carry
  // the payload.
  void emit(const NameHere& name) { emit_payload(name.name, Payload{}, name.here); }
  template <class T>
  void emit(std::string_view name, const T& payload, Here here = Here::current()) {
    emit_payload(name, to_payload(payload).value(), here);
  }

  // The time of the activation: the same until the next co_await, never going backwards.
  std::chrono::sys_time<std::chrono::milliseconds> now() const;
  // From 0 to below 1, and a version 4 UUID: the same on every replay.
  double random();
  std::string uuid();

  const Log log;

  // In what a fork has of the history of another execution, the id of that one.
  const std::string& execution_id() const;
  const std::string& tenant() const;
  const std::string& user_id() const;  // empty: none was given
  const std::string& correlation_id() const;
  const std::string& workflow() const;
  const std::string& version() const;
  // As it was given to the start.
  const Payload& input() const;
  // Whether what runs now ran before. For debugging only: a workflow must not depend on it.
  bool is_replaying() const;

 private:
  friend class detail::Instance;
  explicit Context(detail::Instance& instance) : log(Log(instance)), instance_(instance) {}

  template <class A>
  ActionCall<ActionResult<A>> call(const typename A::Parameters& parameters,
                                   const RunOptions& options, Here here) {
    assert_action_type<A>();
    return ActionCall<ActionResult<A>>(start_action(
        action_name<A>(), to_payload(parameters).value(), action_options(options), here));
  }
  detail::PendingPointer start_action(std::string_view name, Payload parameters,
                                      ActionOptions options, Here here);
  detail::PendingPointer start_graph(const Graph& graph, Here here);
  detail::PendingPointer start_wait(std::vector<std::string> names, Here here);
  detail::PendingPointer start_condition(std::function<bool()> predicate, Here here);
  detail::PendingPointer start_timer(std::chrono::milliseconds duration, Here here);
  detail::PendingPointer start_child_execution(std::string_view workflow, Payload input,
                                               const ChildOptions& options, std::string& id,
                                               Here here);
  NextRun go_on_as_new(Payload input, Here here);
  void emit_payload(std::string_view name, Payload payload, Here here);
  void emit_payload_to(std::string_view target, std::string_view name, Payload payload, Here here);

  detail::Instance& instance_;
};

namespace detail {

template <class F>
struct WorkflowSignature : WorkflowSignature<decltype(&F::operator())> {};
template <class T>
struct WorkflowSignature<Workflow<T> (*)(Context&)> {
  using Result = T;
  using Input = void;
};
template <class T, class I>
struct WorkflowSignature<Workflow<T> (*)(Context&, I)> {
  using Result = T;
  using Input = I;
};
template <class C, class T>
struct WorkflowSignature<Workflow<T> (C::*)(Context&) const>
    : WorkflowSignature<Workflow<T> (*)(Context&)> {};
template <class C, class T, class I>
struct WorkflowSignature<Workflow<T> (C::*)(Context&, I) const>
    : WorkflowSignature<Workflow<T> (*)(Context&, I)> {};

template <class F>
concept WorkflowCallable = requires { typename WorkflowSignature<F>::Input; };

// Wraps a workflow's function: a pointer, or an object with a const operator(), which is kept.
template <class F>
WorkflowFunction make_workflow_function(F function) {
  static_assert(
      WorkflowCallable<F>,
      "A workflow is a coroutine pawl::Workflow<T>(pawl::Context&, Input), or without Input");
  if constexpr (WorkflowCallable<F>) {
    using Input = typename WorkflowSignature<F>::Input;
    using Output = typename WorkflowSignature<F>::Result;
    static_assert(
        !std::is_reference_v<Input>,
        "A workflow takes its input by value: a reference would dangle at the first co_await");
    static_assert(std::is_void_v<Input> || std::same_as<Input, Payload> || JsonValue<Input>,
                  "The workflow's input must be described, next to its definition: "
                  "PAWL_DESCRIBE(Order, id, ...)");
    static_assert(std::is_void_v<Output> || JsonValue<Output>,
                  "The workflow's result must be described, next to its definition: "
                  "PAWL_DESCRIBE(Receipt, order_id, ...)");
    auto shared = std::make_shared<const F>(std::move(function));
    return [shared](Context& context, const Payload& payload) -> pawl::Result<RootFrame> {
      if constexpr (std::is_void_v<Input>) {
        static_cast<void>(payload);
        return (*shared)(context).release();
      } else {
        pawl::Result<Input> input = from_payload<Input>(payload);
        if (!input) return std::move(input).error();
        return (*shared)(context, std::move(*input)).release();
      }
    };
  } else {
    return {};
  }
}

}  // namespace detail

}  // namespace pawl
