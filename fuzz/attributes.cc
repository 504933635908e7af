// Any bytes as the attributes of any record: refused, or read to something that is written and read
// back the same.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "model/attributes.h"
#include "model/history_event.h"

namespace {

template <class Attributes>
void check(const std::string_view text) {
  const auto read = pawl::decode<Attributes>(text, pawl::kHistoryCodec);
  if (!read) return;
  const auto again = pawl::decode<Attributes>(pawl::encode(*read), pawl::kHistoryCodec);
  if (!again || !(*again == *read)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check<pawl::StartedAttributes>(text);
  check<pawl::ReceivedAttributes>(text);
  check<pawl::DeliveredAttributes>(text);
  check<pawl::ScheduledAttributes>(text);
  check<pawl::OutcomeAttributes>(text);
  check<pawl::WaitAttributes>(text);
  check<pawl::TimerAttributes>(text);
  check<pawl::AttemptFailedAttributes>(text);
  check<pawl::OperatorAttributes>(text);
  check<pawl::RetriedAttributes>(text);
  check<pawl::ForkedAttributes>(text);
  check<pawl::HeldAttributes>(text);
  check<pawl::EmittedAttributes>(text);
  check<pawl::ChildAttributes>(text);
  check<pawl::ChildEndedAttributes>(text);
  return 0;
}
