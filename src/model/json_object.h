#pragma once

// JSON objects member by member, as the model writes and reads them: what has its default is left out, and
// the bytes of nested values stay as they are.

#include <fmt/format.h>
#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <concepts>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/json_members.h"

namespace pawl {

// A list of texts as a JSON array.
inline std::string json_text_of(const std::vector<std::string>& texts) {
  std::string json = "[";
  for (const std::string& text : texts) {
    if (json.size() > 1) json += ',';
    json += boost::json::serialize(boost::json::string_view(text.data(), text.size()));
  }
  json += ']';
  return json;
}

// Puts a JSON object together member by member. Nothing is written for an empty one.
class ObjectWriter {
 public:
  void text(const std::string_view key, const std::string_view value) {
    if (value.empty()) return;
    begin(key);
    text_ += boost::json::serialize(boost::json::string_view(value.data(), value.size()));
  }
  template <std::integral T>
  void number(const std::string_view key, const T value, const T unless) {
    if (value == unless) return;
    begin(key);
    text_ += fmt::format_int(value).c_str();
  }
  void number(const std::string_view key, const double value) {
    begin(key);
    text_ += fmt::format("{}", value);
  }
  void texts(const std::string_view key, const std::vector<std::string>& values) {
    if (values.empty()) return;
    begin(key);
    char separator = '[';
    for (const std::string& value : values) {
      text_ += separator;
      text_ += boost::json::serialize(boost::json::string_view(value.data(), value.size()));
      separator = ',';
    }
    text_ += ']';
  }
  void object(const std::string_view key, const std::string_view encoded) {
    begin(key);
    text_ += encoded.empty() ? "{}" : encoded;
  }
  // A value as it stands.
  void raw(const std::string_view key, const std::string_view json) {
    begin(key);
    text_ += json;
  }
  std::string finish() && {
    if (!text_.empty()) text_ += '}';
    return std::move(text_);
  }

 private:
  void begin(const std::string_view key) {
    text_ += text_.empty() ? "{\"" : ",\"";
    text_ += key;
    text_ += "\":";
  }

  std::string text_;
};

// Reads members by name; remembers the first that has not the type it should have.
class ObjectReader {
 public:
  ObjectReader(JsonMemberViews members, std::string& wrong)
      : members_(std::move(members)), wrong_(wrong) {}

  bool has(const std::string_view key) const { return find(key) != nullptr; }
  // The very bytes of a value; empty: there is none.
  std::string_view raw(const std::string_view key) const {
    const JsonMemberView* const member = find(key);
    return member == nullptr ? std::string_view{} : member->value;
  }
  void text(const std::string_view key, std::string& value) {
    const JsonMemberView* const member = find(key);
    if (member == nullptr) return;
    if (const auto text = plain(member->value)) {
      value.assign(*text);
      return;
    }
    const boost::json::value parsed = parse(member->value);
    if (const boost::json::string* const string = parsed.if_string()) {
      value.assign(string->data(), string->size());
    } else {
      fail(key);
    }
  }
  // From the text itself, so that what was written is read back to the last bit.
  template <class T>
    requires std::is_arithmetic_v<T>
  void number(const std::string_view key, T& value) {
    const JsonMemberView* const member = find(key);
    if (member == nullptr) return;
    const char* const end = member->value.data() + member->value.size();
    const auto read = std::from_chars(member->value.data(), end, value);
    if (read.ec != std::errc{} || read.ptr != end) fail(key);
  }
  void texts(const std::string_view key, std::vector<std::string>& values) {
    const JsonMemberView* const member = find(key);
    if (member == nullptr) return;
    const boost::json::value parsed = parse(member->value);
    const boost::json::array* const array = parsed.if_array();
    if (array == nullptr) return fail(key);
    for (const boost::json::value& element : *array) {
      const boost::json::string* const string = element.if_string();
      if (string == nullptr) return fail(key);
      values.emplace_back(string->data(), string->size());
    }
  }
  // Empty where there is none, or one that is no object.
  std::optional<ObjectReader> object(const std::string_view key) {
    const JsonMemberView* const member = find(key);
    if (member == nullptr) return std::nullopt;
    auto members = member_views_of_valid(member->value);
    if (!members) {
      fail(key);
      return std::nullopt;
    }
    return ObjectReader(std::move(*members), wrong_);
  }
  void fail(const std::string_view key) {
    if (wrong_.empty()) wrong_ = key;
  }

 private:
  const JsonMemberView* find(const std::string_view key) const {
    const auto found = std::find_if(members_.begin(), members_.end(),
                                    [key](const auto& member) { return member.key == key; });
    return found == members_.end() ? nullptr : &*found;
  }
  // Without anything in it that has to be decoded.
  static std::optional<std::string_view> plain(const std::string_view text) {
    if (text.size() < 2 || text.front() != '"') return std::nullopt;
    if (text.find('\\') != std::string_view::npos) return std::nullopt;
    return text.substr(1, text.size() - 2);
  }
  static boost::json::value parse(const std::string_view text) {
    boost::system::error_code failure;
    return boost::json::parse(boost::json::string_view(text.data(), text.size()), failure);
  }

  JsonMemberViews members_;
  std::string& wrong_;
};

}  // namespace pawl
