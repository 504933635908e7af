// Any bytes: either refused, or read, written and read again to the same value and the same text.

#include <cstdint>
#include <cstdlib>

#include "pawl/json.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(data, data + size);
  const pawl::Result<pawl::Json> json = pawl::Json::parse(text);
  if (!json) return 0;
  const std::string written = json->dump().value();
  const pawl::Json again = pawl::Json::parse(written).value();
  if (!(again == *json) || again.dump().value() != written) std::abort();
  return 0;
}
