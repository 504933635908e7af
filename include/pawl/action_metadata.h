#pragma once

// What an action says of itself: WorkflowRuntime::action_metadata and actions. Parameters and results are told from
// their types, as JSON has them; the rest from what the action type declares, all of which may be left out:
//
//   struct ChargeCard {
//     …
//     static constexpr std::string_view description = "Charges a card, once per order";
//     static constexpr std::string_view category = "payment";
//   };

#include <concepts>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <boost/mp11/algorithm.hpp>

#include <pawl/action.h>
#include <pawl/database.h>
#include <pawl/host.h>
#include <pawl/json.h>

namespace pawl {

// A parameter, or a member of a result.
struct ActionMember {
  std::string name;
  std::string type;      // "string", "number", "boolean", "object", "array", or "any"
  bool required = true;  // false: it may be left out

  friend bool operator==(const ActionMember&, const ActionMember&) = default;
};

struct ActionMetadata {
  std::string name;  // as it was registered
  std::string description;
  std::string category;
  std::vector<ActionMember> parameters;
  bool other_parameters = false;            // it takes more than these (OtherMembers)
  std::string result_type;                  // as ActionMember::type; empty: there is no result
  std::vector<ActionMember> result;         // its members, where it is a described struct
  std::optional<IsolationLevel> isolation;  // of a database action
  ActionOptions options;                    // as registered: retry, time-outs, limits
  bool built_in = false;                    // by register_builtin_actions
};

namespace detail {

template <class T>
inline constexpr bool is_json_array = false;
template <class T>
inline constexpr bool is_json_array<std::vector<T>> = true;

template <class T>
inline constexpr bool is_json_object =
    std::conjunction_v<std::is_class<T>, boost::describe::has_describe_members<T>>;
template <class T>
inline constexpr bool is_json_object<std::map<std::string, T>> = true;

template <class T>
struct WithoutOptional {
  using type = T;
};
template <class T>
struct WithoutOptional<std::optional<T>> {
  using type = T;
};

// What it is in JSON. "any" for Json, and for what has a codec of its own.
template <class T>
constexpr std::string_view json_type() {
  if constexpr (is_optional<T>) {
    return json_type<typename WithoutOptional<T>::type>();
  } else if constexpr (std::same_as<T, bool>) {
    return "boolean";
  } else if constexpr (std::is_arithmetic_v<T>) {
    return "number";
  } else if constexpr (std::same_as<T, std::string> || std::is_enum_v<T>) {
    return "string";
  } else if constexpr (is_json_array<T>) {
    return "array";
  } else if constexpr (is_json_object<T>) {
    return "object";
  } else {
    return "any";
  }
}

template <class T>
std::vector<ActionMember> members_of() {
  std::vector<ActionMember> members;
  if constexpr (std::is_class_v<T> && boost::describe::has_describe_members<T>::value) {
    boost::mp11::mp_for_each<DescribedMembers<T>>([&members](auto described) {
      using Member = std::remove_cvref_t<decltype(std::declval<T&>().*described.pointer)>;
      if constexpr (!std::same_as<Member, OtherMembers>) {
        members.push_back({described.name, std::string(json_type<Member>()), !is_optional<Member>});
      }
    });
  }
  return members;
}

// All but what its registration adds.
template <class A>
ActionMetadata metadata_of() {
  ActionMetadata metadata;
  metadata.name = std::string(action_name<A>());
  if constexpr (requires { std::string_view(A::description); }) {
    metadata.description = std::string(std::string_view(A::description));
  }
  if constexpr (requires { std::string_view(A::category); }) {
    metadata.category = std::string(std::string_view(A::category));
  }
  metadata.parameters = members_of<typename A::Parameters>();
  metadata.other_parameters = takes_other_members<typename A::Parameters>();
  if constexpr (!std::is_void_v<ActionResult<A>>) {
    metadata.result_type = std::string(json_type<ActionResult<A>>());
    metadata.result = members_of<ActionResult<A>>();
  }
  return metadata;
}

}  // namespace detail

}  // namespace pawl
