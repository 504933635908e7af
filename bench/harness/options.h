#pragma once

#include <string>
#include <vector>

#include "harness/workload.h"

namespace bench {

// Reads `WORKLOAD [--concurrency C] [--n N] [--payload BYTES] [--seconds S] [--folder DIR]`; what is not said is as in the workload's
// first case of that concurrency. Gives up where something is wrong, and says what there is.
Run parse_run(const std::vector<std::string>& arguments, const std::vector<Workload>& workloads);

const Workload& find_workload(const std::string& name, const std::vector<Workload>& workloads);

std::string help(const std::vector<Workload>& workloads);

// A line of JSON for each case of each workload, for whoever runs all of them.
std::string list(const std::vector<Workload>& workloads);

}  // namespace bench
