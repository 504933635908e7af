#pragma once

#include "pawl/error.h"
#include "postgres/store/pipeline.h"

namespace pawl {

// Brings the tables up to date, one worker at a time, and makes so many partitions where there are none.
// Gives how many there are.
Result<int> migrate_postgres(PgPipeline& pipeline, int partitions);

}  // namespace pawl
