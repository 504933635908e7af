#pragma once

// How C++ values become payloads and back. JSON carries:
//
//   bool, std::string, integers, float, double, enums (described: by name)
//   std::optional<T>        as a member: left out when empty; elsewhere null
//   std::vector<T>, std::map<std::string, T>
//   structs that are described, member by member:
//
//       struct Order {
//         std::string id;
//         std::optional<std::string> note;
//         std::vector<Line> lines;
//       };
//       BOOST_DESCRIBE_STRUCT(Order, (), (id, note, lines))
//
//   pawl::Json              any JSON value, for what has no fixed shape
//   pawl::OtherMembers      as a member of a struct: what an object has beside the declared members
//   what has a pawl::JsonCodec<T> of its own
//
// Refused, with the path to it: NaN, infinities, integers beyond 2^53 either way (JavaScript would
// read another number), text that is not UTF-8, more than kJsonDepthMax levels of nesting.
//
// Doubles are written in the fewest digits that read back as the same double, and read as exactly
// the double nearest to the text.

#include <algorithm>
#include <boost/describe.hpp>
#include <boost/mp11.hpp>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <pawl/error.h>
#include <pawl/payload.h>

namespace pawl {

inline constexpr std::size_t kJsonDepthMax = 512;

// The largest integer that a double, and so JavaScript, holds together with all smaller ones.
inline constexpr std::int64_t kJsonIntegerMax = std::int64_t{1} << 53;

struct JsonMember;

// Any JSON value. Objects keep the order of their members; of members with the same key, parsing
// keeps the last, as JavaScript does. A value type; not synchronised.
class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::vector<JsonMember>;

  // Defined below JsonMember, which a variant of these has to know.
  Json();  // null
  Json(std::nullptr_t);
  template <std::same_as<bool> T>  // and nothing that merely converts to bool, such as a pointer
  Json(T value);
  template <std::integral T>
    requires(!std::same_as<T, bool>)
  Json(T value);
  Json(double value);
  Json(const char* value);
  Json(std::string_view value);
  Json(std::string value);
  Json(Array value);
  Json(Object value);
  Json(const Json&);
  Json(Json&&) noexcept;
  Json& operator=(const Json&);
  Json& operator=(Json&&) noexcept;
  ~Json();

  // Json::object({{"id", "o-1"}, {"lines", 3}}). Not inside of a co_await: GCC 12 rejects lists there.
  static Json object(std::initializer_list<JsonMember> members = {});

  // Errors: payload_refused, with the offset of the first byte that is wrong.
  static Result<Json> parse(std::string_view text);
  // Errors: payload_refused, with the path.
  Result<std::string> dump() const;

  bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
  bool is_bool() const { return std::holds_alternative<bool>(value_); }
  // Written without fraction and exponent, and within 2^53 either way.
  bool is_integer() const { return std::holds_alternative<std::int64_t>(value_); }
  bool is_number() const { return is_integer() || std::holds_alternative<double>(value_); }
  bool is_string() const { return std::holds_alternative<std::string>(value_); }
  bool is_array() const { return std::holds_alternative<Array>(value_); }
  bool is_object() const { return std::holds_alternative<Object>(value_); }
  // "null", "a boolean", "a number", "a string", "an array", "an object".
  std::string_view kind() const;

  // Throw std::bad_variant_access on another kind.
  bool as_bool() const { return std::get<bool>(value_); }
  std::int64_t as_integer() const { return std::get<std::int64_t>(value_); }
  double as_double() const {
    return is_integer() ? static_cast<double>(as_integer()) : std::get<double>(value_);
  }
  const std::string& as_string() const { return std::get<std::string>(value_); }
  std::string& as_string() { return std::get<std::string>(value_); }
  const Array& as_array() const { return std::get<Array>(value_); }
  Array& as_array() { return std::get<Array>(value_); }
  const Object& as_object() const { return std::get<Object>(value_); }
  Object& as_object() { return std::get<Object>(value_); }

  // The member's value, or nothing where there is no such member or this is no object.
  const Json* find(std::string_view key) const;
  // Adds or replaces a member; null becomes an object first. Throws std::bad_variant_access on
  // another kind.
  void set(std::string_view key, Json value);

  // Numbers are equal when their values are, 1 and 1.0 too; objects when they have the same members
  // in any order.
  friend bool operator==(const Json& a, const Json& b);

 private:
  std::variant<std::monostate, bool, std::int64_t, double, std::string, Array, Object> value_;
};

struct JsonMember {
  std::string key;
  Json value;
};

inline Json::Json() = default;
inline Json::Json(std::nullptr_t) {}
template <std::same_as<bool> T>
Json::Json(T value) : value_(value) {}
template <std::integral T>
  requires(!std::same_as<T, bool>)
Json::Json(T value) {
  if (std::in_range<std::int64_t>(value)) {
    value_ = static_cast<std::int64_t>(value);
  } else {
    value_ = static_cast<double>(value);
  }
}
inline Json::Json(double value) : value_(value) {}
inline Json::Json(const char* value) : value_(std::string(value)) {}
inline Json::Json(std::string_view value) : value_(std::string(value)) {}
inline Json::Json(std::string value) : value_(std::move(value)) {}
inline Json::Json(Array value) : value_(std::move(value)) {}
inline Json::Json(Object value) : value_(std::move(value)) {}
inline Json::Json(const Json&) = default;
inline Json::Json(Json&&) noexcept = default;
inline Json& Json::operator=(const Json&) = default;
inline Json& Json::operator=(Json&&) noexcept = default;
inline Json::~Json() = default;

inline Json Json::object(std::initializer_list<JsonMember> members) {
  return Json(Object(members));
}

// As a member of a described struct: what the object has beside the members that are declared, in order.
struct OtherMembers {
  Json::Object members;
};

// Why a value was refused. The path grows from the inside out: whoever called for a part that
// failed puts its own step in front.
class JsonFault {
 public:
  explicit operator bool() const { return !message_.empty(); }
  // Notes what is wrong at the current place; returns false, for `return fault.at_here(...)`.
  bool at_here(std::string message);
  bool in_member(std::string_view key);
  bool in_element(std::size_t index);
  // "$.lines[2].price: NaN is not a JSON number"
  std::string to_string() const;

 private:
  std::string message_;
  std::string path_;
};

// Appends JSON text. Each call returns false once something was refused.
class JsonWriter {
 public:
  std::string text;
  JsonFault fault;

  void null() { text += "null"; }
  bool boolean(bool value);
  bool integer(std::int64_t value);
  bool integer(std::uint64_t value);
  bool number(double value);
  bool string(std::string_view value);
  bool key(std::string_view key, bool first);
  bool value(const Json& value);
  // Around arrays and objects; counts the depth.
  bool open(char bracket);
  void close(char bracket);

 private:
  std::size_t depth_ = 0;
};

enum class UnknownMembers : std::uint8_t {
  ignore,  // a newer writer may have added some
  refuse,  // parameters: a misspelt name must not pass as a missing option
};

struct JsonReader {
  UnknownMembers unknown_members = UnknownMembers::ignore;
  JsonFault fault;

  // Whether `from` is of that kind; a fault otherwise.
  bool expect(const Json& from, bool is_of_kind, std::string_view kind);
  bool unknown_member(std::string_view key, const std::vector<std::string>& declared);
};

// The codec of one type. Specialise it for types of your own that are not described:
//
//   template <>
//   struct pawl::JsonCodec<Money> {
//     static bool write(const Money& from, JsonWriter& writer) { return writer.string(from.text()); }
//     static bool read(Json& from, Money& to, JsonReader& reader) {   // may move out of `from`
//       if (!reader.expect(from, from.is_string(), "a string")) return false;
//       return to.assign(from.as_string()) || reader.fault.at_here("is not an amount");
//     }
//   };
template <class T>
struct JsonCodec;

template <class T>
concept JsonValue = requires { sizeof(JsonCodec<T>); } && std::default_initializable<T>;

#define PAWL_ASSERT_JSON_VALUE(T)                                                               \
  static_assert(::pawl::JsonValue<T>, #T                                                        \
                ": Pawl does not know how to carry this type as JSON. If it is a struct, "      \
                "describe it next to its definition: BOOST_DESCRIBE_STRUCT(Type, (), (member, " \
                "...)); an enum: BOOST_DESCRIBE_ENUM(Type, value, ...); else specialise "       \
                "pawl::JsonCodec<Type>. It must be default-constructible.")

template <>
struct JsonCodec<Json> {
  static bool write(const Json& from, JsonWriter& writer) { return writer.value(from); }
  static bool read(Json& from, Json& to, JsonReader&) {
    to = std::move(from);
    return true;
  }
};

template <>
struct JsonCodec<bool> {
  static bool write(bool from, JsonWriter& writer) { return writer.boolean(from); }
  static bool read(Json& from, bool& to, JsonReader& reader) {
    if (!reader.expect(from, from.is_bool(), "a boolean")) return false;
    to = from.as_bool();
    return true;
  }
};

template <>
struct JsonCodec<std::string> {
  static bool write(const std::string& from, JsonWriter& writer) { return writer.string(from); }
  static bool read(Json& from, std::string& to, JsonReader& reader) {
    if (!reader.expect(from, from.is_string(), "a string")) return false;
    to = std::move(from.as_string());
    return true;
  }
};

namespace detail {
// A number as an integer, or a fault: has a fraction, is beyond 2^53 or outside of [low, high].
bool read_integer(const Json& from, std::int64_t low, std::int64_t high, std::int64_t& to,
                  JsonReader& reader);
bool read_number(const Json& from, double& to, JsonReader& reader);
}  // namespace detail

template <std::integral T>
  requires(!std::same_as<T, bool>)
struct JsonCodec<T> {
  static bool write(T from, JsonWriter& writer) {
    if constexpr (std::is_signed_v<T>) {
      return writer.integer(std::int64_t{from});
    } else {
      return writer.integer(std::uint64_t{from});
    }
  }
  static bool read(Json& from, T& to, JsonReader& reader) {
    constexpr auto low = std::numeric_limits<T>::min();
    constexpr auto high = std::numeric_limits<T>::max();
    std::int64_t value = 0;
    if (!detail::read_integer(
            from, std::in_range<std::int64_t>(low) ? static_cast<std::int64_t>(low) : INT64_MIN,
            std::in_range<std::int64_t>(high) ? static_cast<std::int64_t>(high) : INT64_MAX, value,
            reader)) {
      return false;
    }
    to = static_cast<T>(value);
    return true;
  }
};

template <>
struct JsonCodec<double> {
  static bool write(double from, JsonWriter& writer) { return writer.number(from); }
  static bool read(Json& from, double& to, JsonReader& reader) {
    return detail::read_number(from, to, reader);
  }
};

template <>
struct JsonCodec<float> {
  static bool write(float from, JsonWriter& writer) {
    return writer.number(static_cast<double>(from));
  }
  static bool read(Json& from, float& to, JsonReader& reader) {
    double wide = 0;
    if (!detail::read_number(from, wide, reader)) return false;
    if (std::abs(wide) > static_cast<double>(std::numeric_limits<float>::max())) {
      return reader.fault.at_here("is too large for a float");
    }
    to = static_cast<float>(wide);
    return true;
  }
};

template <class T>
struct JsonCodec<std::optional<T>> {
  static bool write(const std::optional<T>& from, JsonWriter& writer) {
    PAWL_ASSERT_JSON_VALUE(T);
    if (from) return JsonCodec<T>::write(*from, writer);
    writer.null();
    return true;
  }
  static bool read(Json& from, std::optional<T>& to, JsonReader& reader) {
    to.reset();
    return from.is_null() || JsonCodec<T>::read(from, to.emplace(), reader);
  }
};

template <class T>
struct JsonCodec<std::vector<T>> {
  static bool write(const std::vector<T>& from, JsonWriter& writer) {
    PAWL_ASSERT_JSON_VALUE(T);
    if (!writer.open('[')) return false;
    std::size_t index = 0;
    for (const T& element : from) {
      if (index != 0) writer.text += ',';
      if (!JsonCodec<T>::write(element, writer)) return writer.fault.in_element(index);
      ++index;
    }
    writer.close(']');
    return true;
  }
  static bool read(Json& from, std::vector<T>& to, JsonReader& reader) {
    if (!reader.expect(from, from.is_array(), "an array")) return false;
    to.clear();
    to.reserve(from.as_array().size());
    for (Json& element : from.as_array()) {
      T value{};
      if (!JsonCodec<T>::read(element, value, reader)) return reader.fault.in_element(to.size());
      to.push_back(std::move(value));
    }
    return true;
  }
};

template <class T>
struct JsonCodec<std::map<std::string, T>> {
  static bool write(const std::map<std::string, T>& from, JsonWriter& writer) {
    PAWL_ASSERT_JSON_VALUE(T);
    if (!writer.open('{')) return false;
    bool first = true;
    for (const auto& [key, value] : from) {
      if (!writer.key(key, first) || !JsonCodec<T>::write(value, writer)) {
        return writer.fault.in_member(key);
      }
      first = false;
    }
    writer.close('}');
    return true;
  }
  static bool read(Json& from, std::map<std::string, T>& to, JsonReader& reader) {
    if (!reader.expect(from, from.is_object(), "an object")) return false;
    to.clear();
    for (JsonMember& member : from.as_object()) {
      if (!JsonCodec<T>::read(member.value, to[member.key], reader)) {
        return reader.fault.in_member(member.key);
      }
    }
    return true;
  }
};

template <class T>
  requires(std::is_enum_v<T> && boost::describe::has_describe_enumerators<T>::value)
struct JsonCodec<T> {
  static bool write(T from, JsonWriter& writer) {
    const char* name = boost::describe::enum_to_string(from, nullptr);
    if (name != nullptr) return writer.string(name);
    return writer.fault.at_here("is a number that the enum has no name for");
  }
  static bool read(Json& from, T& to, JsonReader& reader) {
    if (!reader.expect(from, from.is_string(), "a string")) return false;
    std::string names;
    bool found = false;
    boost::mp11::mp_for_each<boost::describe::describe_enumerators<T>>([&](auto enumerator) {
      if (from.as_string() == enumerator.name) {
        to = enumerator.value;
        found = true;
      }
      names += names.empty() ? "" : ", ";
      names += enumerator.name;
    });
    if (found) return true;
    return reader.fault.at_here("is '" + from.as_string() + "', which is none of " + names);
  }
};

namespace detail {

template <class T>
using DescribedMembers = boost::describe::describe_members<T, boost::describe::mod_public |
                                                                  boost::describe::mod_inherited>;

template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;

// Whether a described struct has a member of type OtherMembers.
template <class T>
constexpr bool takes_other_members() {
  bool takes = false;
  if constexpr (boost::describe::has_describe_members<T>::value) {
    boost::mp11::mp_for_each<DescribedMembers<T>>([&takes](auto described) {
      using Member = std::remove_cvref_t<decltype(std::declval<T&>().*described.pointer)>;
      takes = takes || std::same_as<Member, OtherMembers>;
    });
  }
  return takes;
}

}  // namespace detail

template <class T>
  requires(std::is_class_v<T> && boost::describe::has_describe_members<T>::value)
struct JsonCodec<T> {
  static bool write(const T& from, JsonWriter& writer) {
    if (!writer.open('{')) return false;
    bool first = true;
    bool fine = true;
    boost::mp11::mp_for_each<detail::DescribedMembers<T>>([&](auto described) {
      using Member = std::remove_cvref_t<decltype(from.*described.pointer)>;
      const Member& member = from.*described.pointer;
      if (!fine) return;
      if constexpr (std::same_as<Member, OtherMembers>) {
        fine = write_others(member, writer, first);
      } else {
        PAWL_ASSERT_JSON_VALUE(Member);
        if constexpr (detail::is_optional<Member>) {
          if (!member) return;
        }
        fine = (writer.key(described.name, first) && JsonCodec<Member>::write(member, writer)) ||
               writer.fault.in_member(described.name);
        first = false;
      }
    });
    if (fine) writer.close('}');
    return fine;
  }

  static bool read(Json& from, T& to, JsonReader& reader) {
    if (!reader.expect(from, from.is_object(), "an object")) return false;
    constexpr std::size_t count = boost::mp11::mp_size<detail::DescribedMembers<T>>::value;
    bool seen[count + 1] = {};
    forget_others(to);
    for (JsonMember& member : from.as_object()) {
      bool known = false;
      bool fine = true;
      std::size_t index = 0;
      boost::mp11::mp_for_each<detail::DescribedMembers<T>>([&](auto described) {
        using Member = std::remove_cvref_t<decltype(to.*described.pointer)>;
        const std::size_t at = index++;
        if constexpr (!std::same_as<Member, OtherMembers>) {
          if (known || member.key != described.name) return;
          known = seen[at] = true;
          PAWL_ASSERT_JSON_VALUE(Member);
          fine = JsonCodec<Member>::read(member.value, to.*described.pointer, reader);
        }
      });
      if (!fine) return reader.fault.in_member(member.key);
      if (known || keep_other(member, to)) continue;
      if (reader.unknown_members == UnknownMembers::refuse) {
        return reader.unknown_member(member.key, names());
      }
    }
    bool fine = true;
    std::size_t index = 0;
    boost::mp11::mp_for_each<detail::DescribedMembers<T>>([&](auto described) {
      using Member = std::remove_cvref_t<decltype(to.*described.pointer)>;
      if (seen[index++] || !fine) return;
      if constexpr (detail::is_optional<Member>) {
        (to.*described.pointer).reset();
      } else if constexpr (!std::same_as<Member, OtherMembers>) {
        reader.fault.at_here("is required and missing");
        fine = reader.fault.in_member(described.name);
      }
    });
    return fine;
  }

  // Those that are declared.
  static std::vector<std::string> names() {
    std::vector<std::string> all;
    boost::mp11::mp_for_each<detail::DescribedMembers<T>>([&](auto described) {
      using Member = std::remove_cvref_t<decltype(std::declval<T&>().*described.pointer)>;
      if constexpr (!std::same_as<Member, OtherMembers>) all.emplace_back(described.name);
    });
    return all;
  }

 private:
  static bool write_others(const OtherMembers& others, JsonWriter& writer, bool& first) {
    const std::vector<std::string> declared = names();
    for (const JsonMember& member : others.members) {
      if (std::find(declared.begin(), declared.end(), member.key) != declared.end()) {
        writer.fault.at_here("is declared, and can't be among the other members");
        return writer.fault.in_member(member.key);
      }
      if (!writer.key(member.key, first) || !writer.value(member.value)) {
        return writer.fault.in_member(member.key);
      }
      first = false;
    }
    return true;
  }

  static void forget_others(T& to) {
    boost::mp11::mp_for_each<detail::DescribedMembers<T>>([&](auto described) {
      using Member = std::remove_cvref_t<decltype(to.*described.pointer)>;
      if constexpr (std::same_as<Member, OtherMembers>) (to.*described.pointer).members.clear();
    });
  }

  // False: there is no place for it.
  static bool keep_other(JsonMember& member, T& to) {
    bool kept = false;
    boost::mp11::mp_for_each<detail::DescribedMembers<T>>([&](auto described) {
      using Member = std::remove_cvref_t<decltype(to.*described.pointer)>;
      if constexpr (std::same_as<Member, OtherMembers>) {
        if (!kept) (to.*described.pointer).members.push_back(std::move(member));
        kept = true;
      }
    });
    return kept;
  }
};

// The payload of a value. Errors: payload_refused, with the path.
template <class T>
Result<Payload> to_payload(const T& value) {
  if constexpr (std::same_as<T, Payload>) {
    return value;
  } else if constexpr (std::convertible_to<const T&, std::string_view>) {
    JsonWriter writer;
    if (writer.string(value)) return Payload::json(std::move(writer.text));
    return Error{ErrorCode::payload_refused, writer.fault.to_string(), {}};
  } else {
    PAWL_ASSERT_JSON_VALUE(T);
    JsonWriter writer;
    if (JsonCodec<T>::write(value, writer)) return Payload::json(std::move(writer.text));
    return Error{ErrorCode::payload_refused, writer.fault.to_string(), {}};
  }
}

// The value of a payload. A payload that is none reads as null: right for optional, Json and, since
// a call without arguments is natural, for structs all of whose members are optional.
// Errors: payload_refused (not JSON), validation (another shape), each with the path or the place.
template <class T>
Result<T> from_payload(const Payload& payload,
                       UnknownMembers unknown_members = UnknownMembers::ignore) {
  if constexpr (std::same_as<T, Payload>) {
    return payload;
  } else {
    PAWL_ASSERT_JSON_VALUE(T);
    Json json;
    if (!payload.is_none()) {
      Result<Json> parsed = Json::parse(payload.bytes);
      if (!parsed) return std::move(parsed).error();
      json = std::move(*parsed);
    } else if constexpr (std::is_class_v<T> && boost::describe::has_describe_members<T>::value) {
      json = Json::object();
    }
    T value{};
    JsonReader reader{unknown_members, {}};
    if (!JsonCodec<T>::read(json, value, reader)) {
      return Error{ErrorCode::validation, reader.fault.to_string(), {}};
    }
    return value;
  }
}

// The value as Json, for where any JSON value is taken. Throws ErrorException where JSON can't carry it.
template <class T>
Json to_json(const T& value) {
  return from_payload<Json>(to_payload(value).value()).value();
}

}  // namespace pawl
