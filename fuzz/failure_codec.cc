// Any bytes are read as a failure, and what was read comes back from its own text.

#include <cstdint>
#include <cstdlib>

#include "model/failure_codec.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(data, data + size);
  const pawl::Failure failure = pawl::decode_failure(text);
  const std::string written = pawl::encode_failure(failure);
  if (pawl::encode_failure(pawl::decode_failure(written)) != written) std::abort();
  return 0;
}
