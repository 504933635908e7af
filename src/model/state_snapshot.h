#pragma once

// What the records of a history up to a point add up to for those who look at it: state, data and
// status. Kept beside a long history, so that any point of it can be told without reading it all. It
// says nothing that the records don't say, and can be lost.

#include <cstdint>
#include <string>

#include "model/execution_record.h"

namespace pawl {

// What folds records into states. One that was made by another number is passed over.
inline constexpr int kSnapshotCodec = 1;

struct StateSnapshot {
  ExecutionRef execution = 0;
  std::int64_t sequence =
      0;  // of the last record in it: the end of an activation, not of the whole
  std::string tenant;
  ExecutionStatus status = ExecutionStatus::running;  // running or paused
  std::string state;
  std::string data_json;  // an object
  Timestamp at = 0;       // of the last record

  friend bool operator==(const StateSnapshot&, const StateSnapshot&) = default;
};

}  // namespace pawl
