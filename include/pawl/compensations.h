#pragma once

// Actions that undo what a workflow has done so far. The list is the code's own: nothing runs by itself,
// neither on failure nor on cancellation, nor in a destructor, which could not wait for it.
//
//   pawl::Task<Trip> book(pawl::Context& ctx, Plan plan) {
//     auto flight = co_await ctx.run<BookFlight>({.to = plan.city});
//     ctx.compensations().add<CancelFlight>({.flight = flight.value()});
//     auto room = co_await ctx.run<BookHotel>({.city = plan.city});
//     ctx.compensations().add<CancelHotel>({.room = room.value()}, {.retry = {.max_attempts = 20}});
//     co_await ctx.wait_for("Confirm");
//     co_return Trip{*flight, *room};
//   }
//
//   pawl::Workflow<Trip> journey(pawl::Context& ctx, Plan plan) {
//     std::exception_ptr thrown;
//     try {
//       co_return co_await book(ctx, plan);
//     } catch (...) {  // a booking that failed, or a cancellation; no co_await can stand in here
//       thrown = std::current_exception();
//     }
//     auto undone = co_await ctx.compensations().run();  // CancelHotel, then CancelFlight
//     undone.value();                  // fails the execution where something is left to be undone by hand
//     std::rethrow_exception(thrown);  // ends as failed; or as cancelled, where it was
//   }
//
// An action that may have had its effect although it failed (a time-out) is undone only if add() stands
// before it, and then the compensation must cope with nothing having been done.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <pawl/action.h>
#include <pawl/awaitable.h>
#include <pawl/error.h>
#include <pawl/host.h>
#include <pawl/json.h>

namespace pawl {

class Context;

// A compensation that failed.
struct FailedCompensation {
  std::string action;  // its name
  Payload parameters;  // as they were given
  Failure failure;     // of its last attempt
};

// Some of the compensations failed: what they were to undo is still there. All the others ran.
struct CompensationFailure {
  std::vector<FailedCompensation> failed;  // in the order in which they ran
  std::size_t ran = 0;                     // with those

  // "1 of 2 compensations failed: CancelHotel: no such room".
  std::string message() const;
  // As the execution fails that lets it through: a CompensationError (code compensation_failed), whose
  // details name each one that failed.
  Failure as_failure() const;
};

// What value() does: throws FailureException.
[[noreturn]] void throw_exception_from_error(const CompensationFailure& failure,
                                             const boost::source_location&);

namespace detail {
struct CompensationBatch;
}

// What Compensations::run() began. It goes on whether or not it is awaited, for as long as the workflow
// does; any() does not withdraw it.
class [[nodiscard]] CompensationRun : public detail::AwaitableTag {
 public:
  explicit CompensationRun(std::shared_ptr<detail::CompensationBatch> batch)
      : batch_(std::move(batch)) {}
  CompensationRun(CompensationRun&&) noexcept = default;
  CompensationRun& operator=(CompensationRun&&) noexcept = default;

  bool ready() const;
  std::uint64_t order() const;
  void subscribe(detail::Waiter* waiter);
  void withdraw() {}
  Result<void, CompensationFailure> take();

 private:
  std::shared_ptr<detail::CompensationBatch> batch_;
};

// The list of one execution: see Context::compensations().
class Compensations {
 public:
  // Adds the action that undoes what was just done. What is given as parameters is copied before this
  // returns; forms, options and what it throws are those of Context::run(). The record of the action has
  // the line of this call.
  template <class A>
    requires HasParameters<A> && DescribedWithPawlDescribe<typename A::Parameters>
  void add(const Braces<typename A::Parameters>& written = {}, const RunOptions& options = {},
           Here here = Here::current()) const {
    typename A::Parameters parameters{};
    written.pawl_give(parameters);
    keep<A>(parameters, options, here);
  }
  template <class A, class P>
    requires HasParameters<A> && std::same_as<std::remove_cvref_t<P>, typename A::Parameters>
  void add(P&& parameters, const RunOptions& options = {}, Here here = Here::current()) const {
    keep<A>(parameters, options, here);
  }

  // The same for an action without a type here: one that another language registered.
  template <class P>
  void add_named(std::string_view name, const P& parameters, const RunOptions& options = {},
                 Here here = Here::current()) const {
    add_action(name, to_payload(parameters).value(), action_options(options), here);
  }

  // Runs what was added and did not run yet: the last one first, one after the other, each once. What is
  // added later is for another run(), which waits for those before it. One that fails after its last
  // attempt does not keep the others from running. One that is under way when the execution is cancelled
  // counts as failed, since nobody knows how far it came, and those behind it run: this throws Cancelled
  // nowhere.
  CompensationRun run() const;

 private:
  friend class Context;
  explicit Compensations(detail::Instance& instance) : instance_(instance) {}

  template <class A>
  void keep(const typename A::Parameters& parameters, const RunOptions& options, Here here) const {
    assert_action_type<A>();
    add_action(action_name<A>(), to_payload(parameters).value(), action_options(options), here);
  }
  void add_action(std::string_view name, Payload parameters, ActionOptions options,
                  Here here) const;

  detail::Instance& instance_;
};

}  // namespace pawl
