#pragma once

// What workflow code can co_await: action calls, waits, conditions, sleeps, tasks, runs of compensations,
// and all() and any() of these.
//
// An awaitable starts when it is created, not when it is awaited: two calls that are both created
// before the first is awaited run side by side. It may be stored, moved, and awaited once, later. An
// awaitable that is dropped stays started: a wait may still take an event, an action still runs. Only
// any() withdraws; and a condition that is dropped is, since its predicate goes with it.
//
// Coroutines that became ready are resumed one after the other, in the order in which they became so,
// which is the order of what happened in the history. Everything here belongs to the one execution
// that created it, and to the thread that runs its activation.

#include <array>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <source_location>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <pawl/action.h>
#include <pawl/describe.h>
#include <pawl/error.h>
#include <pawl/graph.h>
#include <pawl/host.h>
#include <pawl/json.h>

namespace pawl {

// Thrown by a co_await when the execution is cancelled. Not a std::exception, so that a handler for
// those does not swallow it. Catch it to clean up, and throw it on: an execution whose workflow ends by
// it is `cancelled`, one that returns is `completed`.
class Cancelled {
 public:
  explicit Cancelled(std::string reason) : reason_(std::move(reason)) {}
  // As the one who cancelled gave it; may be empty.
  const std::string& reason() const { return reason_; }

 private:
  std::string reason_;
};

struct Event;

// The default argument of what workflow code asks with: the line of the call. It is kept with the record
// of what was asked, and named where code departs from its history.
using Here = std::source_location;

namespace detail {

class Instance;

// Someone to tell that an awaitable is ready. Told at most once per subscription.
class Waiter {
 public:
  virtual void notify() noexcept = 0;

 protected:
  Waiter() = default;
  Waiter(const Waiter&) = default;
  Waiter& operator=(const Waiter&) = default;
  ~Waiter() = default;
};

// A member of the list of coroutines that are ready to go on. Leaves it when destroyed.
struct ReadyLink {
  ReadyLink* previous = nullptr;
  ReadyLink* next = nullptr;
  std::coroutine_handle<> handle;

  ReadyLink() = default;
  ReadyLink(const ReadyLink&) = delete;
  ReadyLink& operator=(const ReadyLink&) = delete;
  ~ReadyLink() { unlink(); }

  void unlink() {
    if (previous == nullptr) return;
    previous->next = next;
    next->previous = previous;
    previous = next = nullptr;
  }
};

// Puts it at the end of the running instance's list.
void make_ready(ReadyLink& link) noexcept;

// One open position of an execution, shared by the instance, which waits for its outcome, and the
// awaitable, which may be gone by then.
struct Pending {
  enum class Kind : std::uint8_t { action, wait, timer, child };
  using Outcome = std::variant<std::monostate, Payload, Failure, ReceivedEvent>;

  Kind kind = Kind::action;
  bool done = false;
  bool withdrawn = false;
  bool cancelled = false;
  bool taken = false;
  // Of a child that was awaited when its parent was cancelled: it can be awaited again.
  bool kept = false;
  bool heard = false;  // whoever awaited it has been told
  bool ended = false;  // the outcome is there
  Position position = 0;
  unsigned references = 0;
  std::uint64_t order = 0;       // of becoming done, within the execution
  std::uint64_t activation = 0;  // in which it was created
  std::size_t command = 0;       // its index among the commands of that activation
  Instance* instance = nullptr;
  Waiter* waiter = nullptr;
  Outcome outcome;  // nothing: a sleep that is over, a wait that timed out
  // Of a condition only.
  std::function<bool()> predicate;
  bool met = false;
  std::exception_ptr thrown;  // by the predicate
  // Of a wait with a filter only.
  std::function<bool(const Event&)> filter;
};

class PendingPointer {
 public:
  PendingPointer() = default;
  explicit PendingPointer(Pending* pending) : pending_(pending) { ++pending_->references; }
  PendingPointer(PendingPointer&& other) noexcept
      : pending_(std::exchange(other.pending_, nullptr)) {}
  PendingPointer& operator=(PendingPointer&& other) noexcept {
    std::swap(pending_, other.pending_);
    return *this;
  }
  PendingPointer(const PendingPointer& other) : PendingPointer(other.pending_) {}
  PendingPointer& operator=(const PendingPointer&) = delete;
  ~PendingPointer() {
    if (pending_ != nullptr && --pending_->references == 0) delete pending_;
  }
  Pending& operator*() const { return *pending_; }
  Pending* operator->() const { return pending_; }
  Pending* get() const { return pending_; }

 private:
  Pending* pending_ = nullptr;
};

// A lambda can't be told from other classes, so on that compiler all are refused that could be one.
template <class F>
concept CallableSafeInCoAwait =
    !PAWL_AGGREGATES_BREAK_IN_CO_AWAIT || std::is_lvalue_reference_v<F> ||
    std::is_trivially_copyable_v<std::remove_cvref_t<F>> ||
    std::same_as<std::remove_cvref_t<F>, std::function<bool()>>;

void withdraw(Pending& pending);
void set_timeout(Pending& pending, std::chrono::milliseconds timeout);
void set_filter(Pending& pending, std::function<bool(const Event&)> filter);
void cancel_child(const Pending& pending, Here here);
// Nobody holds the condition any more: its predicate must not be asked again.
void drop_condition(Pending& pending) noexcept;

// What every awaitable has: ready(), order() once ready, subscribe(waiter or null), withdraw(), and
// take(), which gives the result.
struct AwaitableTag {};

template <class A>
concept Awaitable = std::is_base_of_v<AwaitableTag, std::remove_cvref_t<A>>;

template <Awaitable A>
using Taken = decltype(std::declval<std::remove_reference_t<A>&>().take());

// void has no place in a tuple or a variant.
template <class T>
using Regular = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

template <class A>
Regular<Taken<A>> take_regular(A& awaitable) {
  if constexpr (std::is_void_v<Taken<A>>) {
    awaitable.take();
    return {};
  } else {
    return awaitable.take();
  }
}

class PendingAwaitable : public AwaitableTag {
 public:
  PendingAwaitable(PendingAwaitable&&) = default;
  PendingAwaitable& operator=(PendingAwaitable&&) = default;

  bool ready() const;
  std::uint64_t order() const { return pending_->order; }
  void subscribe(Waiter* waiter);
  void withdraw() { detail::withdraw(*pending_); }

 protected:
  explicit PendingAwaitable(PendingPointer pending) : pending_(std::move(pending)) {}
  ~PendingAwaitable() = default;
  Pending::Outcome take_outcome();

  PendingPointer pending_;
};

}  // namespace detail

// A call of an action. Gives Result<A::Result, Failure>: what the handler returned, or, after the last
// attempt, what it failed with.
template <class R>
class [[nodiscard]] ActionCall : public detail::PendingAwaitable {
 public:
  explicit ActionCall(detail::PendingPointer pending) : PendingAwaitable(std::move(pending)) {}

  pawl::Result<R, Failure> take() {
    detail::Pending::Outcome outcome = take_outcome();
    if (Failure* failure = std::get_if<Failure>(&outcome)) return std::move(*failure);
    if constexpr (std::is_void_v<R>) {
      return {};
    } else {
      pawl::Result<R> value = from_payload<R>(std::get<Payload>(outcome));
      // In place: a Failure can be made of a string too, and so may be what a string is taken for.
      if (value) return {boost::system::in_place_value, std::move(*value)};
      return detail::validation_failure("the action's result is of another shape: " +
                                        value.error().message);
    }
  }
};

// A graph of actions. Gives GraphOutcomes once all is over; a failure of an action is no error of it.
class [[nodiscard]] GraphCall : public detail::PendingAwaitable {
 public:
  explicit GraphCall(detail::PendingPointer pending) : PendingAwaitable(std::move(pending)) {}
  GraphOutcomes take() {
    detail::Pending::Outcome outcome = take_outcome();
    return GraphOutcomes::read(std::get<Payload>(outcome)).value();
  }
};

// An event that a wait took.
struct Event {
  std::string id;
  std::string name;
  std::string user_id;                                         // empty: none was given
  std::chrono::sys_time<std::chrono::milliseconds> timestamp;  // when it was accepted
  std::int64_t sequence = 0;                                   // of its record in the history
  Payload payload;

  // Errors: as from_payload.
  template <class T>
  pawl::Result<T> payload_as() const {
    return from_payload<T>(payload);
  }
};

namespace detail {
Event event_of(ReceivedEvent&& received);
}

// A wait with a bound. Gives nothing when no event came in time.
class [[nodiscard]] TimedWait : public detail::PendingAwaitable {
 public:
  explicit TimedWait(detail::PendingPointer pending) : PendingAwaitable(std::move(pending)) {}
  std::optional<Event> take();
};

// A wait for the first event of one of some names.
class [[nodiscard]] Wait : public detail::PendingAwaitable {
 public:
  explicit Wait(detail::PendingPointer pending) : PendingAwaitable(std::move(pending)) {}
  Event take();

  // Only for such events; those that it says no to stay for others. Right where it was created.
  //
  //   co_await ctx.wait_for("Paid").where([&](const pawl::Event& e) { return e.user_id == owner; })
  //
  // It is asked once for each event and only looks: what changes something or asks for something throws
  // std::logic_error in it. What it took is in the history, so that a replay asks nothing. Where it
  // throws, the execution is set aside as stuck until a mended definition is registered. What it refers
  // to must live as long as the wait.
  template <class F>
    requires std::is_invocable_r_v<bool, F&, const Event&> &&
             std::copy_constructible<std::remove_cvref_t<F>>
  Wait where(F&& filter) && {
    static_assert(
        detail::CallableSafeInCoAwait<F>,
        "GCC 12 would free twice what this filter captures by value when it is made within "
        "the co_await expression. Capture by reference, or name the filter first: "
        "auto mine = [name](const pawl::Event& e) { ... }; "
        "co_await ctx.wait_for(\"Paid\").where(mine);");
    detail::set_filter(*pending_, std::function<bool(const Event&)>(std::forward<F>(filter)));
    return Wait(std::move(pending_));
  }

  // Bounds it; right where it was created, before anything is awaited. Throws std::logic_error later.
  TimedWait within(std::chrono::milliseconds timeout) && {
    detail::set_timeout(*pending_, timeout);
    return TimedWait(std::move(pending_));
  }
};

namespace detail {

class ConditionAwaitable : public PendingAwaitable {
 public:
  ConditionAwaitable(ConditionAwaitable&&) = default;
  ConditionAwaitable& operator=(ConditionAwaitable&&) = default;

 protected:
  explicit ConditionAwaitable(PendingPointer pending) : PendingAwaitable(std::move(pending)) {}
  ~ConditionAwaitable() {
    if (pending_.get() != nullptr) drop_condition(*pending_);
  }
};

}  // namespace detail

// A condition with a bound. Gives whether it was met in time.
class [[nodiscard]] TimedConditionWait : public detail::ConditionAwaitable {
 public:
  explicit TimedConditionWait(detail::PendingPointer pending)
      : ConditionAwaitable(std::move(pending)) {}
  bool take() {
    static_cast<void>(take_outcome());
    return pending_->met;
  }
};

// A wait for something of this execution to be true.
class [[nodiscard]] ConditionWait : public detail::ConditionAwaitable {
 public:
  explicit ConditionWait(detail::PendingPointer pending) : ConditionAwaitable(std::move(pending)) {}
  void take() { static_cast<void>(take_outcome()); }

  // Bounds it; right where it was created, before anything is awaited. Throws std::logic_error later.
  TimedConditionWait within(std::chrono::milliseconds timeout) && {
    if (!pending_->done) detail::set_timeout(*pending_, timeout);
    return TimedConditionWait(std::move(pending_));
  }
};

// Another execution, begun by this one. Awaiting it gives Result<R, Failure>: its result, or the
// ChildFailedError (code child_failed, child_cancelled or child_terminated; the cause is its own error).
// It need not be awaited: it goes on by itself until this execution ends.
//
// A cancellation of this execution is thrown out of the co_await that waits for a child then. The child
// is asked to end as its ParentClose says; awaited again, it gives how it ended.
template <class R>
class [[nodiscard]] Child : public detail::PendingAwaitable {
 public:
  Child(detail::PendingPointer pending, std::string execution_id)
      : PendingAwaitable(std::move(pending)), execution_id_(std::move(execution_id)) {}

  const std::string& execution_id() const { return execution_id_; }
  // Asks it to end; what it ends with is still to be awaited.
  void cancel(Here here = Here::current()) const { detail::cancel_child(*pending_, here); }

  pawl::Result<R, Failure> take() {
    detail::Pending::Outcome outcome = take_outcome();
    if (Failure* failure = std::get_if<Failure>(&outcome)) return std::move(*failure);
    if constexpr (std::is_void_v<R>) {
      return {};
    } else {
      pawl::Result<R> value = from_payload<R>(std::get<Payload>(outcome));
      if (value) return {boost::system::in_place_value, std::move(*value)};
      return detail::validation_failure("the child's result is of another shape: " +
                                        value.error().message);
    }
  }

 private:
  std::string execution_id_;
};

// Nothing comes behind it: see Context::continue_as_new().
class [[nodiscard]] NextRun : public detail::PendingAwaitable {
 public:
  explicit NextRun(detail::PendingPointer pending) : PendingAwaitable(std::move(pending)) {}
  void take() {}
};

class [[nodiscard]] Sleep : public detail::PendingAwaitable {
 public:
  explicit Sleep(detail::PendingPointer pending) : PendingAwaitable(std::move(pending)) {}
  void take() { static_cast<void>(take_outcome()); }
};

namespace detail {

// Beneath a co_await: what the suspended coroutine waits for.
class AwaiterBase {
 public:
  virtual void withdraw() = 0;

 protected:
  ~AwaiterBase() = default;
};

template <class A>
class [[nodiscard]] Awaiter final : private Waiter, private AwaiterBase {
 public:
  explicit Awaiter(A& awaitable) : awaitable_(awaitable) {}
  Awaiter(const Awaiter&) = delete;
  Awaiter& operator=(const Awaiter&) = delete;
  ~Awaiter() {
    if (awaiting_ != nullptr) awaitable_.subscribe(nullptr);
  }

  bool await_ready() const { return awaitable_.ready(); }

  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> handle) {
    link_.handle = handle;
    awaitable_.subscribe(this);
    awaiting_ = &handle.promise().awaiting;
    *awaiting_ = this;
  }

  decltype(auto) await_resume() {
    if (awaiting_ != nullptr) {
      *std::exchange(awaiting_, nullptr) = nullptr;
      awaitable_.subscribe(nullptr);
    }
    return awaitable_.take();
  }

 private:
  void notify() noexcept override { make_ready(link_); }
  void withdraw() override { awaitable_.withdraw(); }

  A& awaitable_;
  ReadyLink link_;
  AwaiterBase** awaiting_ = nullptr;  // set while suspended
};

// Shared by the promises of workflows and tasks.
struct PromiseBase {
  AwaiterBase* awaiting = nullptr;
  std::exception_ptr thrown;

  template <class A>
  auto await_transform(A&& awaitable) {
    static_assert(
        Awaitable<A>,
        "A workflow can only co_await what Pawl records: ctx.run, ctx.wait_for, ctx.start_child, "
        "ctx.condition, ctx.sleep, ctx.compensations().run, pawl::all, pawl::any, pawl::Task. "
        "Anything else would not be there on replay; do it in an action.");
    if constexpr (Awaitable<A>) return Awaiter<std::remove_reference_t<A>>(awaitable);
  }
  void unhandled_exception() noexcept { thrown = std::current_exception(); }
};

// The order in which something became ready, after all that did so far.
std::uint64_t next_order() noexcept;

struct TaskPromiseBase : PromiseBase {
  bool done = false;
  bool withdrawn = false;
  std::uint64_t order = 0;
  Waiter* waiter = nullptr;

  struct FinalAwaiter {
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> handle) const noexcept {
      TaskPromiseBase& promise = handle.promise();
      promise.done = true;
      promise.order = next_order();
      if (promise.waiter != nullptr) promise.waiter->notify();
    }
    void await_resume() const noexcept {}
  };

  // Runs at once, up to its first suspension.
  std::suspend_never initial_suspend() const noexcept { return {}; }
  FinalAwaiter final_suspend() const noexcept { return {}; }
};

template <class T>
struct TaskPromise : TaskPromiseBase {
  std::optional<T> value;
  template <std::convertible_to<T> U = T>
  void return_value(U&& from) {
    value.emplace(std::forward<U>(from));
  }
  T take() { return std::move(*value); }
};

template <>
struct TaskPromise<void> : TaskPromiseBase {
  void return_void() const noexcept {}
  void take() const noexcept {}
};

[[noreturn]] void throw_awaited_twice();
[[noreturn]] void throw_withdrawn();

}  // namespace detail

// A coroutine that a workflow is made of:
//
//   pawl::Task<Receipt> charge(pawl::Context& ctx, Order order) { …; co_return receipt; }
//   Receipt receipt = co_await charge(ctx, order);
//
// It runs at once, up to its first suspension, and goes on whether or not it is awaited; like all()
// and any() it may be awaited once. What it throws is thrown by the co_await. Destroying a task that
// is under way ends it where it stands. Parameters by value, except Context&.
template <class T>
class [[nodiscard]] Task : public detail::AwaitableTag {
 public:
  struct promise_type : detail::TaskPromise<T> {
    Task get_return_object() {
      return Task(std::coroutine_handle<promise_type>::from_promise(*this));
    }
  };

  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Task() {
    if (handle_) handle_.destroy();
  }

  bool ready() const {
    if (!handle_) detail::throw_awaited_twice();
    if (handle_.promise().withdrawn) detail::throw_withdrawn();
    return handle_.promise().done;
  }
  std::uint64_t order() const { return handle_.promise().order; }
  void subscribe(detail::Waiter* waiter) { handle_.promise().waiter = waiter; }
  void withdraw() {
    if (handle_.promise().done) return;
    handle_.promise().withdrawn = true;
    if (handle_.promise().awaiting != nullptr) handle_.promise().awaiting->withdraw();
  }
  T take() {
    Task ended = std::move(*this);  // the frame goes when the result has been taken
    if (ended.handle_.promise().thrown) std::rethrow_exception(ended.handle_.promise().thrown);
    return ended.handle_.promise().take();
  }

 private:
  explicit Task(std::coroutine_handle<promise_type> handle) : handle_(handle) {}

  std::coroutine_handle<promise_type> handle_;
};

namespace detail {

// all() of a tuple of awaitables or of references to them.
template <class... As>
class [[nodiscard]] All : public AwaitableTag {
 public:
  explicit All(As&&... awaitables) : awaitables_(std::forward<As>(awaitables)...) {}
  All(All&& other) noexcept : awaitables_(std::move(other.awaitables_)) {}
  All& operator=(All&&) = delete;

  bool ready() const {
    return std::apply([](auto&... each) { return (true & ... & each.ready()); }, awaitables_);
  }
  std::uint64_t order() const {
    std::uint64_t last = 0;
    std::apply([&](auto&... each) { ((last = std::max(last, each.order())), ...); }, awaitables_);
    return last;
  }
  void subscribe(Waiter* waiter) {
    waiter_ = waiter;
    remaining_ = 0;
    std::size_t index = 0;
    const auto one = [&](auto& each) {
      Part& part = parts_[index++];
      part.all = this;
      const bool wanted = waiter != nullptr && !each.ready();
      if (wanted) ++remaining_;
      if (wanted || waiter == nullptr) each.subscribe(wanted ? &part : nullptr);
    };
    std::apply([&](auto&... each) { (one(each), ...); }, awaitables_);
  }
  void withdraw() {
    std::apply([](auto&... each) { (each.withdraw(), ...); }, awaitables_);
  }
  std::tuple<Regular<Taken<As>>...> take() {
    return std::apply(
        [](auto&... each) { return std::tuple<Regular<Taken<As>>...>{take_regular(each)...}; },
        awaitables_);
  }

 private:
  struct Part final : Waiter {
    All* all = nullptr;
    void notify() noexcept override {
      if (--all->remaining_ == 0) all->waiter_->notify();
    }
  };

  std::tuple<As...> awaitables_;
  std::array<Part, sizeof...(As)> parts_;
  std::size_t remaining_ = 0;
  Waiter* waiter_ = nullptr;
};

template <class A>
class [[nodiscard]] AllOf : public AwaitableTag {
 public:
  explicit AllOf(std::vector<A> awaitables)
      : awaitables_(std::move(awaitables)), parts_(awaitables_.size()) {}
  AllOf(AllOf&&) = default;

  bool ready() const {
    bool all = true;
    for (const A& each : awaitables_) all &= each.ready();
    return all;
  }
  std::uint64_t order() const {
    std::uint64_t last = 0;
    for (const A& each : awaitables_) last = std::max(last, each.order());
    return last;
  }
  void subscribe(Waiter* waiter) {
    waiter_ = waiter;
    remaining_ = 0;
    for (std::size_t i = 0; i < awaitables_.size(); ++i) {
      parts_[i].all = this;
      const bool wanted = waiter != nullptr && !awaitables_[i].ready();
      if (wanted) ++remaining_;
      if (wanted || waiter == nullptr) awaitables_[i].subscribe(wanted ? &parts_[i] : nullptr);
    }
  }
  void withdraw() {
    for (A& each : awaitables_) each.withdraw();
  }
  std::vector<Regular<Taken<A>>> take() {
    std::vector<Regular<Taken<A>>> results;
    results.reserve(awaitables_.size());
    for (A& each : awaitables_) results.push_back(take_regular(each));
    return results;
  }

 private:
  struct Part final : Waiter {
    AllOf* all = nullptr;
    void notify() noexcept override {
      if (--all->remaining_ == 0) all->waiter_->notify();
    }
  };

  std::vector<A> awaitables_;
  std::vector<Part> parts_;
  std::size_t remaining_ = 0;
  Waiter* waiter_ = nullptr;
};

inline constexpr std::size_t kNoWinner = std::size_t(-1);

// Which of some awaitables was first. The caller shows them by index.
class Race {
 public:
  // The one that became ready first, of those that are.
  template <class ReadyAt, class OrderAt>
  void look(std::size_t count, ReadyAt ready_at, OrderAt order_at) {
    if (winner_ != kNoWinner) return;
    for (std::size_t i = 0; i < count; ++i) {
      if (ready_at(i) && (winner_ == kNoWinner || order_at(i) < order_at(winner_))) winner_ = i;
    }
  }

  struct Part final : Waiter {
    Race* race = nullptr;
    std::size_t index = 0;
    void notify() noexcept override {
      if (race->winner_ != kNoWinner) return;
      race->winner_ = index;
      if (race->waiter != nullptr) race->waiter->notify();
    }
  };

  std::size_t winner() const { return winner_; }
  Waiter* waiter = nullptr;

 private:
  std::size_t winner_ = kNoWinner;
};

template <class... As>
class [[nodiscard]] Any : public AwaitableTag {
 public:
  using Value = std::variant<Regular<Taken<As>>...>;

  explicit Any(As&&... awaitables) : awaitables_(std::forward<As>(awaitables)...) {}
  Any(Any&& other) noexcept : awaitables_(std::move(other.awaitables_)) {}
  Any& operator=(Any&&) = delete;

  bool ready() const {
    const std::array<bool, sizeof...(As)> ready =
        std::apply([](auto&... each) { return std::array<bool, sizeof...(As)>{each.ready()...}; },
                   awaitables_);
    const std::array<std::uint64_t, sizeof...(As)> order = orders(ready);
    race_.look(
        sizeof...(As), [&](std::size_t i) { return ready[i]; },
        [&](std::size_t i) { return order[i]; });
    return race_.winner() != kNoWinner;
  }
  std::uint64_t order() const {
    std::uint64_t found = 0;
    std::size_t index = 0;
    const auto one = [&](const auto& each) {
      if (index++ == race_.winner()) found = each.order();
    };
    std::apply([&](auto&... each) { (one(each), ...); }, awaitables_);
    return found;
  }
  void subscribe(Waiter* waiter) {
    race_.waiter = waiter;
    std::size_t index = 0;
    const auto one = [&](auto& each) {
      Race::Part& part = parts_[index];
      part.race = &race_;
      part.index = index++;
      each.subscribe(waiter != nullptr ? &part : nullptr);
    };
    std::apply([&](auto&... each) { (one(each), ...); }, awaitables_);
  }
  void withdraw() {
    std::apply([](auto&... each) { (each.withdraw(), ...); }, awaitables_);
  }
  Value take() {
    std::size_t index = 0;
    const auto lose = [&](auto& each) {
      if (index++ != race_.winner() && !each.ready()) each.withdraw();
    };
    std::apply([&](auto&... each) { (lose(each), ...); }, awaitables_);
    return take_winner(std::index_sequence_for<As...>{});
  }

 private:
  std::array<std::uint64_t, sizeof...(As)> orders(
      const std::array<bool, sizeof...(As)>& ready) const {
    std::array<std::uint64_t, sizeof...(As)> all{};
    std::size_t index = 0;
    const auto one = [&](const auto& each) {
      if (ready[index]) all[index] = each.order();
      ++index;
    };
    std::apply([&](auto&... each) { (one(each), ...); }, awaitables_);
    return all;
  }

  template <std::size_t... I>
  Value take_winner(std::index_sequence<I...>) {
    std::optional<Value> value;
    const auto one = [&]<std::size_t Index>(std::integral_constant<std::size_t, Index>) {
      if (Index == race_.winner()) {
        value.emplace(std::in_place_index<Index>, take_regular(std::get<Index>(awaitables_)));
      }
    };
    (one(std::integral_constant<std::size_t, I>{}), ...);
    return std::move(*value);
  }

  std::tuple<As...> awaitables_;
  std::array<Race::Part, sizeof...(As)> parts_;
  mutable Race race_;
};

}  // namespace detail

// The first of many: which one, and what it gave.
template <class T>
struct First {
  std::size_t index = 0;
  T value;
};

namespace detail {

template <class A>
class [[nodiscard]] AnyOf : public AwaitableTag {
 public:
  explicit AnyOf(std::vector<A> awaitables)
      : awaitables_(std::move(awaitables)), parts_(awaitables_.size()) {
    if (awaitables_.empty()) throw std::invalid_argument("any() of nothing would wait for ever");
  }
  AnyOf(AnyOf&&) = default;

  bool ready() const {
    race_.look(
        awaitables_.size(), [&](std::size_t i) { return awaitables_[i].ready(); },
        [&](std::size_t i) { return awaitables_[i].order(); });
    return race_.winner() != kNoWinner;
  }
  std::uint64_t order() const { return awaitables_[race_.winner()].order(); }
  void subscribe(Waiter* waiter) {
    race_.waiter = waiter;
    for (std::size_t i = 0; i < awaitables_.size(); ++i) {
      parts_[i].race = &race_;
      parts_[i].index = i;
      awaitables_[i].subscribe(waiter != nullptr ? &parts_[i] : nullptr);
    }
  }
  void withdraw() {
    for (A& each : awaitables_) each.withdraw();
  }
  First<Regular<Taken<A>>> take() {
    for (std::size_t i = 0; i < awaitables_.size(); ++i) {
      if (i != race_.winner() && !awaitables_[i].ready()) awaitables_[i].withdraw();
    }
    return {race_.winner(), take_regular(awaitables_[race_.winner()])};
  }

 private:
  std::vector<A> awaitables_;
  std::vector<Race::Part> parts_;
  mutable Race race_;
};

}  // namespace detail

// Ready when all are; gives a tuple of what each gives (std::monostate for void). Named awaitables are
// referred to, others moved in. What a task throws is thrown once all are ready, the first in order of
// the arguments.
template <detail::Awaitable... As>
  requires(sizeof...(As) > 0)
[[nodiscard]] detail::All<As...> all(As&&... awaitables) {
  return detail::All<As...>(std::forward<As>(awaitables)...);
}

// The same for any number of one kind; gives a vector, in their order.
template <detail::Awaitable A>
[[nodiscard]] detail::AllOf<A> all(std::vector<A> awaitables) {
  return detail::AllOf<A>(std::move(awaitables));
}

// Ready when the first is, in the order of the history; gives a variant, whose index() tells which.
// The others are withdrawn: their waits take no event and their sleeps end, in order of the arguments;
// so it is with what a losing task waits for, and a named one must not be awaited any more. An action
// can't be withdrawn: it runs on, and its result is recorded. Two that become ready in the same
// activation are both so: the later one's event is consumed, and a named awaitable can still be awaited
// for it.
template <detail::Awaitable... As>
  requires(sizeof...(As) > 0)
[[nodiscard]] detail::Any<As...> any(As&&... awaitables) {
  return detail::Any<As...>(std::forward<As>(awaitables)...);
}

// The same for any number of one kind. Throws std::invalid_argument if there is none.
template <detail::Awaitable A>
[[nodiscard]] detail::AnyOf<A> any(std::vector<A> awaitables) {
  return detail::AnyOf<A>(std::move(awaitables));
}

}  // namespace pawl
