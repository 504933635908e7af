#pragma once

// The parts that the executions of a store are spread over, so that several workers can share it. A store of one
// process has one.

#include <cstdint>
#include <string_view>

#include "model/execution_record.h"

namespace pawl {

inline constexpr int kPartitionsMax = 1'024;
// The number of an execution begins with that of its partition: together they have 53 bits, which a JavaScript
// number holds.
inline constexpr int kExecutionNumberBits = 43;

constexpr ExecutionRef execution_ref(const int partition, const std::int64_t number) {
  return (ExecutionRef{partition} << kExecutionNumberBits) | number;
}

constexpr int partition_of(const ExecutionRef ref) {
  return static_cast<int>(ref >> kExecutionNumberBits);
}

// Which of so many has the execution of that id.
int partition_of(std::string_view tenant, std::string_view execution_id, int partitions);

// A partition that somebody owns, under the number of that ownership.
struct PartitionLease {
  int partition = 0;
  std::int64_t epoch = 0;

  friend bool operator==(const PartitionLease&, const PartitionLease&) = default;
};

}  // namespace pawl
