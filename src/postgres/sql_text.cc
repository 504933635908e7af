#include "postgres/sql_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

namespace pawl {

namespace {

// What the protocol has room for.
constexpr int kParametersMax = 65'535;
constexpr std::size_t kWordsKept = 3;

bool is_digit(const char c) { return c >= '0' && c <= '9'; }
bool is_space(const char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}
bool begins_name(const char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}
bool continues_name(const char c) { return begins_name(c) || is_digit(c) || c == '$'; }

std::string upper(const std::string_view word) {
  std::string result(word);
  for (char& c : result) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return result;
}

// Passes over a statement twice: first to see whether its parameters are written $1, then to number them.
class SqlReader {
 public:
  SqlReader(const std::string_view sql, const bool backslashes)
      : sql_(sql), backslashes_(backslashes) {}

  SqlResult<SqlText> read() {
    pass();
    if (has_dollars_ && has_numbered_marks_) {
      return sql_misfit("parameters are written $1 or ?1, not both in one statement");
    }
    marks_are_operators_ = has_dollars_;
    wrong_.clear();
    at_ = 0;
    words_.clear();
    at_beginning_ = true;
    result_ = {};
    pass();
    if (!wrong_.empty()) return sql_misfit(wrong_);
    judge();
    return std::move(result_);
  }

 private:
  char peek(const std::size_t ahead = 0) const {
    return at_ + ahead < sql_.size() ? sql_[at_ + ahead] : '\0';
  }
  bool done() const { return at_ >= sql_.size(); }
  void copy_to(const std::size_t end) {
    result_.text.append(sql_.substr(at_, end - at_));
    at_ = end;
  }

  void pass() {
    while (!done()) step();
  }

  void step() {
    const char c = peek();
    if (is_space(c)) return copy_to(at_ + 1);
    if (c == '-' && peek(1) == '-') return copy_to(end_of_line(at_));
    if (c == '/' && peek(1) == '*') return copy_to(end_of_comment());
    if (c == ';' && words_.empty()) return copy_to(at_ + 1);
    if (begins_name(c)) return name();
    at_beginning_ = false;
    if (c == '\'') return copy_to(end_of_string(at_, backslashes_));
    if (c == '"') return copy_to(end_of_quotes(at_, '"'));
    if (c == '$') return dollar();
    if (c == '?') return mark();
    if (is_digit(c)) return copy_to(end_of_digits(at_));
    copy_to(at_ + 1);
  }

  std::size_t end_of_line(const std::size_t from) const {
    return std::min(sql_.find_first_of("\r\n", from), sql_.size());
  }

  // They nest.
  std::size_t end_of_comment() const {
    std::size_t depth = 0;
    std::size_t at = at_;
    while (at + 1 < sql_.size()) {
      const std::string_view two = sql_.substr(at, 2);
      if (two == "/*") {
        ++depth;
        at += 2;
      } else if (two == "*/") {
        at += 2;
        if (--depth == 0) return at;
      } else {
        ++at;
      }
    }
    return sql_.size();
  }

  std::size_t end_of_digits(std::size_t at) const {
    while (at < sql_.size() && is_digit(sql_[at])) ++at;
    return at;
  }

  // A doubled quote does not end it.
  std::size_t end_of_quotes(std::size_t at, const char quote) const {
    for (++at; at < sql_.size(); ++at) {
      if (sql_[at] != quote) continue;
      if (at + 1 == sql_.size() || sql_[at + 1] != quote) return at + 1;
      ++at;
    }
    return sql_.size();
  }

  std::size_t end_of_string(std::size_t at, const bool escapes) const {
    if (!escapes) return end_of_quotes(at, '\'');
    for (++at; at < sql_.size(); ++at) {
      if (sql_[at] == '\\') {
        ++at;
      } else if (sql_[at] == '\'') {
        if (at + 1 < sql_.size() && sql_[at + 1] == '\'') {
          ++at;
          continue;
        }
        // A string that goes on behind a line's end goes on with escapes.
        const std::size_t next = continuation(at + 1);
        if (next == std::string_view::npos) return at + 1;
        at = next;
      }
    }
    return sql_.size();
  }

  // Where the quote is with which a string goes on that has ended before `at`.
  std::size_t continuation(std::size_t at) const {
    bool line_ended = false;
    while (at < sql_.size()) {
      if (is_space(sql_[at])) {
        line_ended = line_ended || sql_[at] == '\n' || sql_[at] == '\r';
        ++at;
      } else if (sql_.substr(at, 2) == "--") {
        at = end_of_line(at);
      } else {
        break;
      }
    }
    return line_ended && at < sql_.size() && sql_[at] == '\'' ? at : std::string_view::npos;
  }

  void name() {
    std::size_t end = at_ + 1;
    while (end < sql_.size() && continues_name(sql_[end])) ++end;
    const std::string_view word = sql_.substr(at_, end - at_);
    const std::string written = upper(word);
    if (at_beginning_ && words_.size() < kWordsKept) words_.push_back(written);
    stays_ = stays_ || written == "INTO" || written == "SET_CONFIG" ||
             written.find("ADVISORY_LOCK") != std::string::npos;
    copy_to(end);
    if (peek() == '\'' && (word == "e" || word == "E")) copy_to(end_of_string(at_, true));
  }

  // A parameter, or what is quoted in dollars.
  void dollar() {
    if (is_digit(peek(1))) {
      const std::size_t end = end_of_digits(at_ + 1);
      has_dollars_ = true;
      count(number_in(at_ + 1, end), sql_.substr(at_, end - at_));
      return copy_to(end);
    }
    std::size_t end = at_ + 1;
    if (end < sql_.size() && begins_name(sql_[end])) {
      while (end < sql_.size() && continues_name(sql_[end]) && sql_[end] != '$') ++end;
    }
    if (end >= sql_.size() || sql_[end] != '$') return copy_to(at_ + 1);
    const std::string_view tag = sql_.substr(at_, end + 1 - at_);
    const std::size_t closing = sql_.find(tag, end + 1);
    copy_to(closing == std::string_view::npos ? sql_.size() : closing + tag.size());
  }

  void mark() {
    if (marks_are_operators_) return copy_to(at_ + 1);
    if (peek(1) == '?') {
      at_ += 1;
      return copy_to(at_ + 1);
    }
    const std::size_t end = end_of_digits(at_ + 1);
    const bool numbered = end > at_ + 1;
    has_numbered_marks_ = has_numbered_marks_ || numbered;
    const int number = numbered ? number_in(at_ + 1, end) : result_.parameters + 1;
    count(number, sql_.substr(at_, end - at_));
    // A digit that stands before it, or a name, would be read together with it.
    result_.text += fmt::format(" ${}", number);
    at_ = end;
    if (continues_name(peek())) result_.text += ' ';
  }

  int number_in(const std::size_t from, const std::size_t end) const {
    int number = 0;
    for (std::size_t at = from; at < end && number <= kParametersMax; ++at) {
      number = number * 10 + (sql_[at] - '0');
    }
    return number;
  }

  void count(const int number, const std::string_view written) {
    if (number < 1 || number > kParametersMax) {
      wrong_ = fmt::format("there is no parameter {}: they begin with 1 and end with {}", written,
                           kParametersMax);
      return;
    }
    result_.parameters = std::max(result_.parameters, number);
  }

  // What it does to the transaction and to the session, by its first words.
  void judge() {
    const auto word = [this](const std::size_t at) {
      return at < words_.size() ? std::string_view(words_[at]) : std::string_view{};
    };
    const std::string_view first = word(0);
    if (first == "COMMIT" || first == "END" || first == "ABORT" || first == "BEGIN" ||
        first == "START") {
      result_.ends_transaction = true;
    } else if (first == "PREPARE") {
      result_.ends_transaction = word(1) == "TRANSACTION";
    } else if (first == "ROLLBACK") {
      const std::size_t behind = word(1) == "WORK" || word(1) == "TRANSACTION" ? 2 : 1;
      result_.ends_transaction = word(behind) != "TO";
    }
    constexpr std::array<std::string_view, 13> kHarmless{
        "SELECT", "INSERT",    "UPDATE",  "DELETE",   "MERGE",   "WITH", "VALUES",
        "TABLE",  "SAVEPOINT", "RELEASE", "ROLLBACK", "EXPLAIN", "LOCK"};
    const bool harmless = std::find(kHarmless.begin(), kHarmless.end(), first) != kHarmless.end();
    // INSERT INTO and MERGE INTO make no table.
    const bool into_is_its_own = first == "INSERT" || first == "MERGE";
    result_.changes_session = !words_.empty() && (!harmless || (stays_ && !into_is_its_own));
  }

  const std::string_view sql_;
  const bool backslashes_;
  std::size_t at_ = 0;
  bool at_beginning_ = true;        // nothing but words has been seen
  std::vector<std::string> words_;  // the first ones
  bool stays_ = false;              // a word of it may leave something behind in the session
  bool has_dollars_ = false;
  bool has_numbered_marks_ = false;
  bool marks_are_operators_ = false;
  std::string wrong_;
  SqlText result_;
};

}  // namespace

SqlResult<SqlText> read_sql_text(const std::string_view sql, const bool backslashes) {
  return SqlReader(sql, backslashes).read();
}

}  // namespace pawl
