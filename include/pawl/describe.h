#pragma once

// PAWL_DESCRIBE(Type, member, ...): makes a struct of public members known to Pawl. It stands behind
// the definition, in the same namespace:
//
//   namespace shop {
//   struct ChargeCard {
//     struct Parameters {
//       std::string order_id;
//       std::optional<std::string> currency;
//     };
//     struct Result {
//       std::string receipt;
//     };
//   };
//   PAWL_DESCRIBE(ChargeCard::Parameters, order_id, currency)
//   PAWL_DESCRIBE(ChargeCard::Result, receipt)
//   }
//
// It is BOOST_DESCRIBE_STRUCT, which is all that JSON needs, and the way in which parameters are
// written at a call: ctx.run<ChargeCard>({.order_id = order.id}). A member that is a struct or a list
// itself is given as a named value there. Structs with bases take BOOST_DESCRIBE_STRUCT and are passed
// as named values altogether.

#include <boost/describe.hpp>
#include <boost/preprocessor/seq/for_each.hpp>
#include <boost/preprocessor/variadic/to_seq.hpp>
#include <concepts>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

// GCC up to 12 copies the members of an aggregate bit by bit when it is made within a co_await
// expression, and then destroys both: a string's memory is freed twice. What is trivially copyable,
// or not an aggregate, comes to no harm.
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
#define PAWL_AGGREGATES_BREAK_IN_CO_AWAIT 1
#else
#define PAWL_AGGREGATES_BREAK_IN_CO_AWAIT 0
#endif

namespace pawl {

template <class T>
using Braces = decltype(pawl_braces(static_cast<T**>(nullptr)));

// T was described with PAWL_DESCRIBE, so that it can be written as {.member = ...} at a call.
template <class T>
concept DescribedWithPawlDescribe = requires { typename Braces<T>; };

namespace detail {

// On a compiler that would free it twice, an aggregate that may have been made within the co_await
// expression is not accepted: name it first.
template <class U>
concept SafeInCoAwait = !PAWL_AGGREGATES_BREAK_IN_CO_AWAIT || std::is_lvalue_reference_v<U> ||
                        !std::is_aggregate_v<std::remove_cvref_t<U>> ||
                        std::is_trivially_copyable_v<std::remove_cvref_t<U>>;

}  // namespace detail

// A member of a call's braces: refers to what was written there until the call has read it. Never
// kept any longer.
// Trivially copyable, which is why braces of these are safe in co_await on every compiler.
template <class T>
class Arg {
 public:
  Arg() = default;

  template <class U>
    requires(std::convertible_to<U, T> && !std::same_as<std::remove_cvref_t<U>, Arg> &&
             (!std::same_as<T, bool> || std::same_as<std::remove_cvref_t<U>, bool>) &&
             !(std::integral<T> && std::floating_point<std::remove_cvref_t<U>>) &&
             detail::SafeInCoAwait<U>)
  Arg(U&& from)
      : from_(const_cast<void*>(static_cast<const volatile void*>(&from))), give_(&give_as<U>) {}

  // Leaves `to` with its own default where nothing was written.
  void give(T& to) const {
    if (give_ != nullptr) give_(from_, to);
  }

 private:
  template <class U>
  static void give_as(void* from, T& to) {
    auto& value = *static_cast<std::remove_reference_t<U>*>(from);
    using Value = std::remove_cvref_t<U>;
    if constexpr (std::integral<T> && std::integral<Value> && !std::same_as<T, Value>) {
      if (static_cast<Value>(static_cast<T>(value)) != value ||
          (static_cast<T>(value) < T{}) != (value < Value{})) {
        throw std::out_of_range(std::to_string(value) + " does not fit the parameter's type");
      }
      to = static_cast<T>(value);
    } else if constexpr (std::is_arithmetic_v<T> && std::is_arithmetic_v<Value>) {
      to = static_cast<T>(value);
    } else {
      to = static_cast<U&&>(value);
    }
  }

  void* from_ = nullptr;
  void (*give_)(void*, T&) = nullptr;
};

}  // namespace pawl

// NOLINTNEXTLINE(bugprone-macro-parentheses): the name of a member can't stand in any
#define PAWL_DESCRIBE_MEMBER_(r, Type, member) ::pawl::Arg<decltype(Type::member)> member{};
#define PAWL_DESCRIBE_GIVE_(r, Type, member) member.give(pawl_to.member);

#define PAWL_DESCRIBE(Type, ...)                                                 \
  BOOST_DESCRIBE_STRUCT(Type, (), (__VA_ARGS__))                                 \
  [[maybe_unused]] inline auto pawl_braces(Type**) {                             \
    struct Written {                                                             \
      __VA_OPT__(BOOST_PP_SEQ_FOR_EACH(PAWL_DESCRIBE_MEMBER_, Type,              \
                                       BOOST_PP_VARIADIC_TO_SEQ(__VA_ARGS__)))   \
      void pawl_give([[maybe_unused]] Type& pawl_to) const {                     \
        __VA_OPT__(BOOST_PP_SEQ_FOR_EACH(PAWL_DESCRIBE_GIVE_, Type,              \
                                         BOOST_PP_VARIADIC_TO_SEQ(__VA_ARGS__))) \
      }                                                                          \
    };                                                                           \
    return Written{};                                                            \
  }                                                                              \
  static_assert(true)
