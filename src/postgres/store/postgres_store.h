#pragma once

// The store in a PostgreSQL database, which many workers share: each owns some of its partitions, and writes to
// those only.

#include <chrono>
#include <memory>
#include <string>

#include "core/store.h"
#include "pawl/error.h"

namespace pawl {

struct PostgresStoreOptions {
  // As libpq takes it: "host=… dbname=…" or "postgresql://…".
  std::string conninfo;
  // Of this worker, and of no other one that lives; empty: made up.
  std::string worker;
  // Of a store that is made by this call; one that is there keeps what it was made with.
  int partitions = 16;
  std::chrono::milliseconds lease{10'000};
  std::chrono::milliseconds connect_max{10'000};
  // For how long a commit is tried again where the server can't be reached, before it fails.
  std::chrono::milliseconds retry_max{10'000};
  int readers_max = 4;
};

// Connects, makes the tables where there are none and brings them up to date. The worker owns nothing before
// Store::take_part(). Errors: invalid_argument; store_unavailable; store_invalid where the tables are of a newer
// version.
Result<std::unique_ptr<Store>> open_postgres_store(PostgresStoreOptions options);

}  // namespace pawl
