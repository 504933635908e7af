#include "model/json_members.h"

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
      while (at_ < text_.size() && text_.substr(at_, 1).find_first_of(",}] \t\r\n") != 0) ++at_;
    }
    return text_.substr(begin, at_ - begin);
  }

 private:
  void string() {
    for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_) {
      if (text_[at_] == '\\') ++at_;
    }
    ++at_;
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

}  // namespace

Result<std::vector<JsonMemberText>> json_members(std::string_view text) {
  const Result<Json> whole = Json::parse(text);
  if (!whole) return whole.error();
  if (!whole->is_object()) {
    return Error{ErrorCode::payload_refused,
                 "$: is " + std::string(whole->kind()) + " and should be an object",
                 {}};
  }
  std::vector<JsonMemberText> members;
  members.reserve(whole->as_object().size());
  Scanner scanner(text);
  scanner.peek();
  scanner.skip_one();
  while (scanner.peek() != '}') {
    if (scanner.peek() == ',') scanner.skip_one();
    Result<Json> key = Json::parse(scanner.value());
    scanner.peek();
    scanner.skip_one();
    members.push_back({std::move(key->as_string()), scanner.value()});
  }
  return members;
}

}  // namespace pawl
