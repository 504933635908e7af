#include "model/failure_codec.h"

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

void write_failure(JsonWriter& writer, const Failure& failure, int depth) {
  writer.open('{');
  bool first = true;
  const auto member = [&](std::string_view key, std::string_view text) {
    writer.key(key, first);
    first = false;
    write_text(writer, text);
  };
  member("name", failure.name);
  member("message", failure.message);
  if (!failure.stack.empty()) member("stack", failure.stack);
  if (!failure.code.empty()) member("code", failure.code);
  if (!failure.details_json.empty()) {
    const Result<Json> details = Json::parse(failure.details_json);
    if (details && depth_of(*details) <= kDetailsDepthMax) {
      writer.key("details", false);
      writer.text += failure.details_json;
    } else {
      member("details", failure.details_json);
    }
  }
  if (!failure.causes.empty() && depth < kCausesDepthMax) {
    writer.key("causes", false);
    writer.open('[');
    for (const Failure& cause : failure.causes) {
      if (&cause != failure.causes.data()) writer.text += ',';
      write_failure(writer, cause, depth + 1);
    }
    writer.close(']');
  }
  member("class", to_string(failure.failure_class));
  writer.close('}');
}

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

std::string encode_failure(const Failure& failure) {
  JsonWriter writer;
  write_failure(writer, failure, 0);
  return std::move(writer.text);
}

Failure decode_failure(std::string_view text) {
  Result<Json> json = Json::parse(text);
  if (json && json->is_object()) return read_failure(*json, 0);
  Failure failure;
  failure.message = std::string(text);
  return failure;
}

}  // namespace pawl
