#include "model/failure_codec.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/utf8.h"
#include "pawl/json.h"

namespace pawl {

namespace {

constexpr int kCausesDepthMax = 16;

// With the causes around it (two levels each), the whole stays within what can be parsed.
constexpr std::size_t kDetailsDepthMax = 256;
static_assert(kDetailsDepthMax + 2 * (kCausesDepthMax + 1) <= kJsonDepthMax);

std::size_t depth_of(const Json& json) {
  std::size_t deepest = 0;
  if (json.is_array()) {
    for (const Json& element : json.as_array()) deepest = std::max(deepest, depth_of(element));
    return deepest + 1;
  }
  if (json.is_object()) {
    for (const JsonMember& member : json.as_object()) {
      deepest = std::max(deepest, depth_of(member.value));
    }
    return deepest + 1;
  }
  return 0;
}

// As much of the text as `max` bytes hold, cut between characters, with a mark that tells how long it
// was. What is cut already is not cut again.
std::string cut_text(const std::string_view text, const std::size_t max) {
  if (text.size() <= max) return std::string(text);
  const std::string mark = fmt::format("… ({} bytes)", text.size());
  if (mark.size() > max) return {};
  std::size_t end = max - mark.size();
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
  return std::string(text.substr(0, end)) + mark;
}

void write_text(JsonWriter& writer, std::string_view text) {
  if (find_invalid_utf8(text) == std::string_view::npos) {
    writer.string(text);
    return;
  }
  std::string mended(text);
  for (std::size_t at = find_invalid_utf8(mended); at != std::string::npos;) {
    mended[at] = '?';
    const std::size_t next = find_invalid_utf8(std::string_view(mended).substr(at + 1));
    at = next == std::string_view::npos ? next : at + 1 + next;
  }
  writer.string(mended);
}

// Writes a failure and its causes, all of them within kFailureBytesMax.
class FailureWriter {
 public:
  std::string write(const Failure& failure) && {
    write(failure, 0);
    return std::move(writer_.text);
  }

 private:
  void write(const Failure& failure, const int depth) {
    writer_.open('{');
    writer_.key("name", true);
    write_bounded(failure.name, kFailureNameBytesMax);
    member("message", failure.message, kFailureMessageBytesMax);
    if (!failure.stack.empty()) member("stack", failure.stack, kFailureStackBytesMax);
    if (!failure.code.empty()) member("code", failure.code, kFailureNameBytesMax);
    if (!failure.details_json.empty()) write_details(failure.details_json);
    if (!failure.causes.empty() && depth < kCausesDepthMax) write_causes(failure.causes, depth);
    writer_.key("class", false);
    writer_.string(to_string(failure.failure_class));
    writer_.close('}');
  }

  void member(const std::string_view key, const std::string_view text, const std::size_t max) {
    writer_.key(key, false);
    write_bounded(text, max);
  }

  void write_bounded(const std::string_view text, const std::size_t max) {
    const std::string cut = cut_text(text, std::min(max, left_));
    left_ -= cut.size();
    write_text(writer_, cut);
  }

  // As JSON if they are, and small enough; else as a text, which is JSON when it is read again.
  void write_details(const std::string& text) {
    constexpr std::size_t kEscapedBytesMax = 6;  // that one byte becomes
    const std::size_t max = std::min(kFailureDetailsBytesMax, left_);
    writer_.key("details", false);
    const std::size_t before = writer_.text.size();
    const Result<Json> details = Json::parse(text);
    std::string json;
    if (details && depth_of(*details) <= kDetailsDepthMax) json = details->dump().value();
    if (!json.empty() && json.size() <= max) {
      writer_.text += json;
    } else {
      write_text(writer_, cut_text(text, (max - std::min<std::size_t>(max, 2)) / kEscapedBytesMax));
    }
    left_ -= std::min(left_, writer_.text.size() - before);
  }

  void write_causes(const std::vector<Failure>& causes, const int depth) {
    writer_.key("causes", false);
    writer_.open('[');
    bool first = true;
    for (const Failure& cause : causes) {
      if (left_ < kFailureCauseBytes) break;
      left_ -= kFailureCauseBytes;
      if (!first) writer_.text += ',';
      first = false;
      write(cause, depth + 1);
    }
    writer_.close(']');
  }

  // What the members of each cause take beside their texts, so that many small ones have a bound.
  static constexpr std::size_t kFailureCauseBytes = 64;

  JsonWriter writer_;
  std::size_t left_ = kFailureBytesMax;
};

FailureClass failure_class_from(std::string_view name) {
  for (int number = 0; number <= static_cast<int>(FailureClass::consistency); ++number) {
    const auto failure_class = static_cast<FailureClass>(number);
    if (to_string(failure_class) == name) return failure_class;
  }
  return FailureClass::transient;
}

Failure read_failure(const Json& json, int depth) {
  Failure failure;
  const auto text = [&](std::string_view key, std::string& to) {
    const Json* member = json.find(key);
    if (member != nullptr && member->is_string()) to = member->as_string();
  };
  text("name", failure.name);
  text("message", failure.message);
  text("stack", failure.stack);
  text("code", failure.code);
  if (const Json* details = json.find("details")) {
    failure.details_json = details->dump().value();  // what was parsed can be written
  }
  if (const Json* causes = json.find("causes");
      causes != nullptr && causes->is_array() && depth < kCausesDepthMax) {
    for (const Json& cause : causes->as_array()) {
      if (cause.is_object()) failure.causes.push_back(read_failure(cause, depth + 1));
    }
  }
  std::string failure_class;
  text("class", failure_class);
  failure.failure_class = failure_class_from(failure_class);
  return failure;
}

}  // namespace

std::string encode_failure(const Failure& failure) { return FailureWriter{}.write(failure); }

Failure as_recorded(const Failure& failure) { return decode_failure(encode_failure(failure)); }

Failure decode_failure(std::string_view text) {
  Result<Json> json = Json::parse(text);
  if (json && json->is_object()) return read_failure(*json, 0);
  Failure failure;
  failure.message = std::string(text);
  return failure;
}

}  // namespace pawl
