#include "core/partition.h"

#include <string>

#include "base/digest.h"

namespace pawl {

int partition_of(const std::string_view tenant, const std::string_view execution_id,
                 const int partitions) {
  if (partitions == 1) return 0;
  std::string key(tenant);
  key += '\0';
  key += execution_id;
  return static_cast<int>(digest64(key) % static_cast<std::uint64_t>(partitions));
}

}  // namespace pawl
