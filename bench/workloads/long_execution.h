#pragma once

// One execution with a long history, and another one beside it.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <pawl/pawl.h>

#include "harness/store_file.h"

namespace bench {

inline constexpr int kRecordsOfTick = 3;  // EventReceived, DataSet, WaitStarted

// Opens it with the workflow of the two.
pawl::WorkflowRuntime open_long_execution(const StoreFile& store);

// Starts both.
void start_long_execution(pawl::WorkflowRuntime& runtime);

// Sends it so many events, many at once.
void grow_long_execution(pawl::WorkflowRuntime& runtime, std::int64_t events);

// Sends an event and waits until it is processed; gives how long that took.
double tick_ms(pawl::WorkflowRuntime& runtime, const char* id = "long");

// Has it replayed from its first record, by an event, and gives how long that took.
double replay_ms(pawl::WorkflowRuntime& runtime);

// The same while events go to the other one, and how long each of these took.
struct ReplayBeside {
  double ms = 0;
  std::vector<double> beside_ms;
};
ReplayBeside replay_beside(pawl::WorkflowRuntime& runtime);

}  // namespace bench
