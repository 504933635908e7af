#pragma once

#include <string>
#include <vector>

#include "pawl/error.h"
#include "postgres/postgres_connection.h"

namespace pawl {

// What libpq is given for a conninfo or an address ("postgresql://…"), with our defaults for what it leaves open.
// `settings` are of the session ("lock_timeout=500"). Fails with invalid_argument where it can't be understood.
Result<PostgresParameters> parameters_of(const std::string& conninfo,
                                         const std::vector<std::string>& settings);

}  // namespace pawl
