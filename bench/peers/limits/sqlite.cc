// How fast SQLite by itself commits rows like those of a history:  sqlite FILE SECONDS
//
// A line of JSON for each way. The file is removed before and after each.
#include <sqlite3.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

using Clock = std::chrono::steady_clock;

struct Way {
  const char* name;
  const char* synchronous;
  int rows;        // of a commit
  bool scattered;  // Each row goes to a page of its own; or else all of them to the end.
};

void must(bool holds, sqlite3* database) {
  if (holds) return;
  std::fprintf(stderr, "sqlite: %s\n", sqlite3_errmsg(database));
  std::exit(1);
}

void run(sqlite3* database, const std::string& sql) {
  must(sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK, database);
}

void remove_file(const std::string& file) {
  for (const char* suffix : {"", "-wal", "-shm"}) unlink((file + suffix).c_str());
}

void measure(const std::string& file, const Way& way, double seconds) {
  remove_file(file);
  sqlite3* database = nullptr;
  must(sqlite3_open(file.c_str(), &database) == SQLITE_OK, database);
  run(database, "PRAGMA journal_mode = WAL");
  run(database, std::string("PRAGMA synchronous = ") + way.synchronous);
  run(database,
      std::string("CREATE TABLE events (execution INTEGER NOT NULL, sequence INTEGER NOT NULL, ") +
          "type TEXT NOT NULL, at INTEGER NOT NULL, payload BLOB, " +
          (way.scattered ? "PRIMARY KEY (execution, sequence)) WITHOUT ROWID"
                         : "PRIMARY KEY (sequence))"));
  sqlite3_stmt* insert = nullptr;
  must(sqlite3_prepare_v2(database, "INSERT INTO events VALUES (?, ?, 'ActionCompleted', ?, ?)", -1,
                          &insert, nullptr) == SQLITE_OK,
       database);

  const std::string payload(120, 'p');
  uint64_t random = 88'172'645'463'325'252;
  int64_t sequence = 0;
  int64_t commits = 0;
  const Clock::time_point start = Clock::now();
  double passed = 0;
  while (passed < seconds) {
    run(database, "BEGIN IMMEDIATE");
    for (int row = 0; row < way.rows; ++row) {
      random ^= random << 13U;
      random ^= random >> 7U;
      random ^= random << 17U;
      sqlite3_bind_int64(insert, 1, static_cast<int64_t>(random));
      sqlite3_bind_int64(insert, 2, ++sequence);
      sqlite3_bind_int64(insert, 3, 1'700'000'000'000 + commits);
      sqlite3_bind_blob(insert, 4, payload.data(), static_cast<int>(payload.size()), SQLITE_STATIC);
      must(sqlite3_step(insert) == SQLITE_DONE, database);
      sqlite3_reset(insert);
    }
    run(database, "COMMIT");
    ++commits;
    passed = std::chrono::duration<double>(Clock::now() - start).count();
  }
  sqlite3_finalize(insert);
  sqlite3_close(database);
  remove_file(file);
  std::printf("{\"limit\":\"SQLite, %s\",\"per_s\":%.1f,\"rows_per_s\":%.0f}\n", way.name,
              static_cast<double>(commits) / passed, static_cast<double>(sequence) / passed);
  std::fflush(stdout);
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) {
    std::fputs("usage: sqlite FILE SECONDS\n", stderr);
    return 2;
  }
  for (const Way& way : {
           Way{"synced commits of 1 row at the end", "FULL", 1, false},
           Way{"synced commits of 100 rows at the end", "FULL", 100, false},
           Way{"synced commits of 1 row anywhere", "FULL", 1, true},
           Way{"synced commits of 100 rows anywhere", "FULL", 100, true},
           Way{"commits of 1 row at the end", "NORMAL", 1, false},
           Way{"commits of 100 rows at the end", "NORMAL", 100, false},
       }) {
    measure(arguments[1], way, std::atof(arguments[2]));
  }
}
