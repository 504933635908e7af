#pragma once

#include "harness/workload.h"

namespace bench {

Workload three_step();
Workload approval();
Workload event();
Workload fan_out();
Workload start();
Workload parked();
Workload idle();
Workload full_store();
Workload replay();
Workload graphs();
Workload database_actions();
Workload store_commit();
Workload long_history();
Workload raw_append();

}  // namespace bench
