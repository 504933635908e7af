// Any bytes: where they are an object, each slice is JSON, stands within the text, and has the value
// that the whole has under that key.

#include <cstdint>
#include <cstdlib>

#include "model/json_members.h"
#include "pawl/json.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(data, data + size);
  const pawl::Result<pawl::Json> whole = pawl::Json::parse(text);
  const auto members = pawl::json_members(text);
  if (members.has_value() != (whole.has_value() && whole->is_object())) std::abort();
  if (!members) return 0;
  pawl::Json together = pawl::Json::object();
  for (const pawl::JsonMemberText& member : *members) {
    if (member.value.data() < text.data() ||
        member.value.data() + member.value.size() > text.data() + text.size()) {
      std::abort();
    }
    together.set(member.key, pawl::Json::parse(member.value).value());
  }
  if (!(together == *whole)) std::abort();
  return 0;
}
