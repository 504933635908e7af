#pragma once

#include <cstdint>
#include <string>

#include <pawl/runtime.h>

#include "harness/closed_loop.h"
#include "harness/report.h"
#include "harness/store_file.h"
#include "harness/workload.h"

namespace bench {

struct Measured {
  Figures figures;
  std::int64_t operations = 0;  // with those of the warm-up
};

// Runs the operations, `units_each` of the run's n in each of them, after a warm-up.
Measured measure(const Run& run, pawl::Runtime& engine, std::string unit,
                 const Operation& operation, std::int64_t units_each = 1);
Measured measure_cold(const Run& run, pawl::Runtime& engine, std::string unit,
                      const Operation& operation, std::int64_t first = 0);

// The end of a run: the store, closed by now, is counted and deleted, and the line printed. Its size is
// divided by all units that are in it.
void finish(const StoreFile& store, const Acknowledged& acknowledged, double units,
            Figures figures);

}  // namespace bench
