#pragma once

#include <span>

namespace pawl {

// One step of a schema, from a numbered file. What was released is never changed; the next step is a
// new file.
struct Migration {
  int number;
  const char* name;
  const char* sql;
};

// By number, 1, 2, 3 … Embedded by the build from src/store/migrations.
std::span<const Migration> sqlite_migrations();
std::span<const Migration> postgres_migrations();

}  // namespace pawl
