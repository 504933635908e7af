#pragma once

namespace pawl {

// Makes stores in SQLite files known to open_store(). Any thread; again: no effect.
void add_sqlite_stores();

}  // namespace pawl
