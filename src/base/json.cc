#include "pawl/json.h"

#include <algorithm>
#include <array>
#include <boost/json/basic_parser_impl.hpp>
#include <charconv>

#include "base/name.h"
#include "base/utf8.h"

namespace pawl {

namespace {

// Up to so many members, looking at each other one is quicker than sorting.
constexpr std::size_t kFewMembers = 16;

// Whether the magnitude of a decimal number that fits no double is below one: it underflowed then.
bool is_tiny(std::string_view text) {
  // The place of the first digit that is not zero, counted from the decimal point: 12.5 has 2,
  // 0.05 has -1.
  std::int64_t place = 0;
  bool after_point = false;
  bool found = false;
  std::int64_t exponent = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == 'e' || c == 'E') {
      std::size_t begin = i + 1;
      if (begin < text.size() && text[begin] == '+') ++begin;
      const auto [end, failed] =
          std::from_chars(text.data() + begin, text.data() + text.size(), exponent);
      if (failed != std::errc{}) return begin < text.size() && text[begin] == '-';
      break;
    }
    if (c == '.') {
      after_point = true;
    } else if (c >= '0' && c <= '9') {
      found = found || c != '0';
      if (!after_point && found) ++place;
      if (after_point && !found) --place;
    }
  }
  return place + exponent <= 0;
}

// The double nearest to a number in JSON's grammar; nothing where that would be infinite.
std::optional<double> nearest_double(std::string_view text) {
  double value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed == std::errc::result_out_of_range) {
    if (!is_tiny(text)) return std::nullopt;
    return text.front() == '-' ? -0.0 : 0.0;
  }
  if (failed != std::errc{} || !std::isfinite(value)) return std::nullopt;
  return value;
}

// Builds a Json from what the parser reports. The parser has its own idea of each number, which it
// rounds in two steps; the text that it gives along is read anew here.
class TreeBuilder {
 public:
  static constexpr std::size_t max_object_size = std::size_t(-1);
  static constexpr std::size_t max_array_size = std::size_t(-1);
  static constexpr std::size_t max_key_size = std::size_t(-1);
  static constexpr std::size_t max_string_size = std::size_t(-1);

  using Text = boost::json::string_view;
  using Failed = boost::json::error_code;

  Json root;
  bool number_too_large = false;

  bool on_document_begin(Failed&) { return true; }
  bool on_document_end(Failed&) { return true; }
  bool on_object_begin(Failed&) { return begin(Json(Json::Object())); }
  bool on_object_end(std::size_t, Failed&) {
    keep_last_of_each_key(open_.back().container.as_object());
    return end();
  }
  bool on_array_begin(Failed&) { return begin(Json(Json::Array())); }
  bool on_array_end(std::size_t, Failed&) { return end(); }
  bool on_key_part(Text part, std::size_t, Failed&) { return gather(part); }
  bool on_key(Text part, std::size_t, Failed&) {
    gather(part);
    open_.back().key = std::exchange(text_, {});
    return true;
  }
  bool on_string_part(Text part, std::size_t, Failed&) { return gather(part); }
  bool on_string(Text part, std::size_t, Failed&) {
    gather(part);
    return add(Json(std::exchange(text_, {})));
  }
  bool on_number_part(Text part, Failed&) { return gather(part); }
  bool on_int64(std::int64_t, Text part, Failed& failed) { return number(part, failed); }
  bool on_uint64(std::uint64_t, Text part, Failed& failed) { return number(part, failed); }
  bool on_double(double, Text part, Failed& failed) { return number(part, failed); }
  bool on_bool(bool value, Failed&) { return add(Json(value)); }
  bool on_null(Failed&) { return add(Json()); }
  bool on_comment_part(Text, Failed&) { return true; }
  bool on_comment(Text, Failed&) { return true; }

 private:
  struct Open {
    Json container;
    std::string key;
  };

  bool gather(Text part) {
    text_.append(part.data(), part.size());
    return true;
  }

  bool number(Text part, Failed& failed) {
    gather(part);
    const std::string text = std::exchange(text_, {});
    std::int64_t integer = 0;
    const char* const end = text.data() + text.size();
    const auto [read, error] = std::from_chars(text.data(), end, integer);
    const bool exact = error == std::errc{} && read == end && integer <= kJsonIntegerMax &&
                       integer >= -kJsonIntegerMax;
    // "-0" is a number that integers do not have.
    if (exact && text != "-0") return add(Json(integer));
    const std::optional<double> value = nearest_double(text);
    if (value) return add(Json(*value));
    number_too_large = true;
    failed = boost::json::error::exponent_overflow;
    return false;
  }

  bool begin(Json container) {
    open_.push_back({std::move(container), {}});
    return true;
  }

  bool end() {
    Json done = std::move(open_.back().container);
    open_.pop_back();
    return add(std::move(done));
  }

  bool add(Json value) {
    if (open_.empty()) {
      root = std::move(value);
    } else if (open_.back().container.is_array()) {
      open_.back().container.as_array().push_back(std::move(value));
    } else {
      open_.back().container.as_object().push_back(
          {std::exchange(open_.back().key, {}), std::move(value)});
    }
    return true;
  }

  static void keep_last_of_each_key(Json::Object& members) {
    std::vector<bool> dropped;
    const auto drop = [&](std::size_t index) {
      dropped.resize(members.size());
      dropped[index] = true;
    };
    if (members.size() <= kFewMembers) {
      for (std::size_t i = 0; i < members.size(); ++i) {
        for (std::size_t j = i + 1; j < members.size(); ++j) {
          if (members[i].key != members[j].key) continue;
          drop(i);
          break;
        }
      }
    } else {
      std::vector<std::size_t> order(members.size());
      for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
      std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        const int compared = members[a].key.compare(members[b].key);
        return compared != 0 ? compared < 0 : a < b;
      });
      for (std::size_t i = 0; i + 1 < order.size(); ++i) {
        if (members[order[i]].key == members[order[i + 1]].key) drop(order[i]);
      }
    }
    if (dropped.empty()) return;
    std::size_t kept = 0;
    for (std::size_t i = 0; i < members.size(); ++i) {
      if (dropped[i]) continue;
      if (kept != i) members[kept] = std::move(members[i]);
      ++kept;
    }
    members.resize(kept);
  }

  std::vector<Open> open_;
  std::string text_;
};

bool is_identifier(std::string_view key) {
  if (key.empty() || (key.front() >= '0' && key.front() <= '9')) return false;
  return std::all_of(key.begin(), key.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '$';
  });
}

constexpr const char* kBeyond =
    "is an integer beyond 2^53, which JavaScript would read as another number; carry it as a "
    "string";

}  // namespace

Result<Json> Json::parse(std::string_view text) {
  boost::json::parse_options options;
  options.max_depth = kJsonDepthMax;
  boost::json::basic_parser<TreeBuilder> parser(options);
  boost::json::error_code failed;
  std::size_t used = parser.write_some(false, text.data(), text.size(), failed);
  while (used < text.size() && !failed &&
         std::string_view(" \t\r\n").find(text[used]) != std::string_view::npos)
    ++used;
  if (!failed && used == text.size()) return std::move(parser.handler().root);
  std::string why = failed ? failed.message() : "something follows after the value";
  if (parser.handler().number_too_large) why = "the number is too large for a double";
  if (text.empty()) why = "there is no text";
  return Error{ErrorCode::payload_refused,
               "not JSON: " + why + ", at byte " + std::to_string(used) + " of " +
                   std::to_string(text.size()),
               {}};
}

Result<std::string> Json::dump() const {
  JsonWriter writer;
  if (writer.value(*this)) return std::move(writer.text);
  return Error{ErrorCode::payload_refused, writer.fault.to_string(), {}};
}

std::string_view Json::kind() const {
  constexpr std::array<std::string_view, 7> kinds = {
      "null", "a boolean", "a number", "a number", "a string", "an array", "an object"};
  return kinds[value_.index()];
}

const Json* Json::find(std::string_view key) const {
  if (!is_object()) return nullptr;
  for (const JsonMember& member : as_object()) {
    if (member.key == key) return &member.value;
  }
  return nullptr;
}

void Json::set(std::string_view key, Json value) {
  if (is_null()) value_ = Object();
  for (JsonMember& member : as_object()) {
    if (member.key != key) continue;
    member.value = std::move(value);
    return;
  }
  as_object().push_back({std::string(key), std::move(value)});
}

bool operator==(const Json& a, const Json& b) {
  if (a.is_number() && b.is_number()) {
    if (a.is_integer() && b.is_integer()) return a.as_integer() == b.as_integer();
    return !(a.as_double() < b.as_double()) && !(a.as_double() > b.as_double());
  }
  if (a.is_object() && b.is_object()) {
    const Json::Object& members = a.as_object();
    if (members.size() != b.as_object().size()) return false;
    return std::all_of(members.begin(), members.end(), [&](const JsonMember& member) {
      const Json* other = b.find(member.key);
      return other != nullptr && member.value == *other;
    });
  }
  if (a.is_array() && b.is_array()) return a.as_array() == b.as_array();
  if (a.is_string() && b.is_string()) return a.as_string() == b.as_string();
  if (a.is_bool() && b.is_bool()) return a.as_bool() == b.as_bool();
  return a.is_null() && b.is_null();
}

bool JsonFault::at_here(std::string message) {
  if (message_.empty()) message_ = std::move(message);
  return false;
}

bool JsonFault::in_member(std::string_view key) {
  std::string step = is_identifier(key) ? "." + std::string(key) : "['" + std::string(key) + "']";
  path_.insert(0, step);
  return false;
}

bool JsonFault::in_element(std::size_t index) {
  path_.insert(0, "[" + std::to_string(index) + "]");
  return false;
}

std::string JsonFault::to_string() const { return "$" + path_ + ": " + message_; }

bool JsonWriter::boolean(bool value) {
  text += value ? "true" : "false";
  return true;
}

bool JsonWriter::integer(std::int64_t value) {
  if (value > kJsonIntegerMax || value < -kJsonIntegerMax) return fault.at_here(kBeyond);
  std::array<char, 24> digits;
  const auto [end, failed] = std::to_chars(digits.data(), digits.data() + digits.size(), value);
  text.append(digits.data(), end);
  return true;
}

bool JsonWriter::integer(std::uint64_t value) {
  if (value > static_cast<std::uint64_t>(kJsonIntegerMax)) return fault.at_here(kBeyond);
  return integer(static_cast<std::int64_t>(value));
}

bool JsonWriter::number(double value) {
  if (std::isnan(value)) return fault.at_here("is NaN, which JSON has no number for");
  if (std::isinf(value)) return fault.at_here("is infinite, which JSON has no number for");
  std::array<char, 40> digits;
  const auto [end, failed] = std::to_chars(digits.data(), digits.data() + digits.size(), value);
  text.append(digits.data(), end);
  return true;
}

bool JsonWriter::string(std::string_view value) {
  const std::size_t invalid = find_invalid_utf8(value);
  if (invalid != std::string_view::npos) {
    return fault.at_here("is not UTF-8 (at byte " + std::to_string(invalid) + ")");
  }
  constexpr std::string_view hex = "0123456789abcdef";
  text += '"';
  std::size_t plain = 0;  // from here on nothing needs an escape
  for (std::size_t i = 0; i < value.size(); ++i) {
    const auto c = static_cast<unsigned char>(value[i]);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    text.append(value, plain, i - plain);
    plain = i + 1;
    text += '\\';
    switch (c) {
      case '"': text += '"'; break;
      case '\\': text += '\\'; break;
      case '\b': text += 'b'; break;
      case '\f': text += 'f'; break;
      case '\n': text += 'n'; break;
      case '\r': text += 'r'; break;
      case '\t': text += 't'; break;
      default: text += {'u', '0', '0', hex[c >> 4], hex[c & 15]};
    }
  }
  text.append(value, plain);
  text += '"';
  return true;
}

bool JsonWriter::key(std::string_view key, bool first) {
  if (!first) text += ',';
  if (!string(key)) return false;
  text += ':';
  return true;
}

bool JsonWriter::value(const Json& value) {
  if (value.is_null()) {
    null();
    return true;
  }
  if (value.is_bool()) return boolean(value.as_bool());
  if (value.is_integer()) return integer(value.as_integer());
  if (value.is_number()) return number(value.as_double());
  if (value.is_string()) return string(value.as_string());
  if (value.is_array()) return JsonCodec<Json::Array>::write(value.as_array(), *this);
  if (!open('{')) return false;
  bool first = true;
  for (const JsonMember& member : value.as_object()) {
    if (!key(member.key, first) || !this->value(member.value)) return fault.in_member(member.key);
    first = false;
  }
  close('}');
  return true;
}

bool JsonWriter::open(char bracket) {
  if (++depth_ > kJsonDepthMax) {
    return fault.at_here("is nested deeper than " + std::to_string(kJsonDepthMax) + " levels");
  }
  text += bracket;
  return true;
}

void JsonWriter::close(char bracket) {
  --depth_;
  text += bracket;
}

bool JsonReader::expect(const Json& from, bool is_of_kind, std::string_view kind) {
  if (is_of_kind) return true;
  return fault.at_here("is " + std::string(from.kind()) + " and should be " + std::string(kind));
}

bool JsonReader::unknown_member(std::string_view key, const std::vector<std::string>& declared) {
  std::string message = "is not declared";
  const std::vector<std::string> near = nearest_names(key, declared, 1);
  if (!near.empty()) {
    message += "; did you mean '" + near.front() + "'?";
  } else if (declared.empty()) {
    message += "; there are no parameters";
  } else {
    message += "; there are";
    for (const std::string& name : declared) {
      message += (&name == declared.data() ? " '" : ", '") + name + "'";
    }
  }
  fault.at_here(std::move(message));
  return fault.in_member(key);
}

namespace detail {

bool read_integer(const Json& from, std::int64_t low, std::int64_t high, std::int64_t& to,
                  JsonReader& reader) {
  if (!reader.expect(from, from.is_number(), "an integer")) return false;
  if (from.is_integer()) {
    to = from.as_integer();
  } else {
    const double number = from.as_double();
    if (number != std::trunc(number)) {
      return reader.fault.at_here("has a fraction and should be an integer");
    }
    // 2^53 itself would have come as an integer: this was rounded from one beyond.
    if (std::abs(number) >= static_cast<double>(kJsonIntegerMax))
      return reader.fault.at_here(kBeyond);
    to = static_cast<std::int64_t>(number);
  }
  if (to >= low && to <= high) return true;
  return reader.fault.at_here("is " + std::to_string(to) + ", outside of " + std::to_string(low) +
                              " to " + std::to_string(high));
}

bool read_number(const Json& from, double& to, JsonReader& reader) {
  if (!reader.expect(from, from.is_number(), "a number")) return false;
  to = from.as_double();
  return true;
}

}  // namespace detail

}  // namespace pawl
