#pragma once

// Hints over PostgreSQL itself: NOTIFY, where there is no other bus. Channels are of a partition, for whoever owns it,
// and of a worker, for answers.

#include <memory>
#include <string>

#include "core/hint_bus.h"
#include "postgres/postgres_connection.h"

namespace pawl {

// `worker` is the one whose answers come here.
std::unique_ptr<HintBus> make_notify_bus(PostgresParameters parameters, std::string worker);

}  // namespace pawl
