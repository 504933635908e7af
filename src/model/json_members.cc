#include "model/json_members.h"

#include <optional>
#include <utility>

#include "pawl/json.h"

namespace pawl {

namespace {

// Walks over text that is known to be valid JSON, so that it need not look for mistakes.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  char peek() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\r' || text_[at_] == '\n')) {
      ++at_;
    }
    return at_ < text_.size() ? text_[at_] : '\0';
  }

  void skip_one() { ++at_; }

  std::string_view value() {
    const char first = peek();
    const std::size_t begin = at_;
    if (first == '"') {
      string();
    } else if (first == '{' || first == '[') {
      container();
    } else {
      while (at_ < text_.size() && !ends_value(text_[at_])) ++at_;
    }
    return text_.substr(begin, at_ - begin);
  }

 private:
  static bool ends_value(const char c) {
    return c == ',' || c == '}' || c == ']' || c == ' ' || c == '\t' || c == '\r' || c == '\n';
  }

  void string() {
    const std::size_t size = text_.size();
    std::size_t at = at_ + 1;
    for (; at < size && text_[at] != '"'; ++at) {
      if (text_[at] == '\\') ++at;
    }
    at_ = at + 1;
  }

  void container() {
    std::size_t depth = 0;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '"') {
        string();
        continue;
      }
      ++at_;
      if (c == '{' || c == '[') ++depth;
      if ((c == '}' || c == ']') && --depth == 0) return;
    }
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

Error misfit(const std::string_view text, const std::string_view wanted) {
  const Result<Json> whole = Json::parse(text);
  if (!whole) return whole.error();
  return {ErrorCode::payload_refused,
          "$: is " + std::string(whole->kind()) + " and should be " + std::string(wanted),
          {}};
}

std::optional<Error> misfit_as_json(const std::string_view text) {
  const Result<Json> whole = Json::parse(text);
  if (!whole) return whole.error();
  return std::nullopt;
}

}  // namespace

Result<std::vector<std::string_view>> elements_of_valid(const std::string_view text) {
  Scanner scanner(text);
  if (scanner.peek() != '[') return misfit(text, "an array");
  scanner.skip_one();
  std::vector<std::string_view> elements;
  while (scanner.peek() != ']') {
    if (scanner.peek() == ',') scanner.skip_one();
    scanner.peek();
    elements.push_back(scanner.value());
    if (elements.back().empty()) return misfit(text, "an array");
  }
  return elements;
}

Result<JsonMemberViews> member_views_of_valid(const std::string_view text) {
  Scanner scanner(text);
  if (scanner.peek() != '{') return misfit(text, "an object");
  scanner.skip_one();
  JsonMemberViews members;
  while (scanner.peek() != '}') {
    if (scanner.peek() == ',') scanner.skip_one();
    if (scanner.peek() != '"') return misfit(text, "an object");
    const std::string_view key = scanner.value();
    if (scanner.peek() != ':') return misfit(text, "an object");
    scanner.skip_one();
    if (key.size() < 2) return misfit(text, "an object");
    scanner.peek();
    members.push_back({key.substr(1, key.size() - 2), scanner.value()});
    if (members.back().value.empty()) return misfit(text, "an object");
  }
  return members;
}

Result<std::vector<JsonMemberText>> members_of_valid(const std::string_view text) {
  const auto views = member_views_of_valid(text);
  if (!views) return views.error();
  std::vector<JsonMemberText> members;
  members.reserve(views->size());
  for (const JsonMemberView& view : *views) {
    std::string& key = members.emplace_back(std::string(view.key), view.value).key;
    if (key.find('\\') == std::string::npos) continue;
    Result<Json> decoded = Json::parse('"' + key + '"');
    if (!decoded) return decoded.error();
    key = std::move(decoded->as_string());
  }
  return members;
}

Result<std::vector<std::string_view>> json_elements(const std::string_view text) {
  if (auto wrong = misfit_as_json(text)) return std::move(*wrong);
  return elements_of_valid(text);
}

Result<std::vector<JsonMemberText>> json_members(const std::string_view text) {
  if (auto wrong = misfit_as_json(text)) return std::move(*wrong);
  return members_of_valid(text);
}

}  // namespace pawl
