#pragma once

// Looking after the file of a store: a copy of it while an engine runs, and a check that goes deeper
// than the database's own.

#include <cstdint>
#include <string>
#include <vector>

#include <pawl/error.h>

namespace pawl {

struct BackupReport {
  std::string path;  // of the copy, in full
  std::uint64_t bytes = 0;
};

struct IntegrityOptions {
  int findings_max = 100;  // 1 to 10,000; the check ends with the first beyond it
};

// One thing that is not as it must be.
struct IntegrityFinding {
  std::string tenant;         // empty: not of one tenant
  std::string execution_id;   // empty: not of one execution
  std::int64_t sequence = 0;  // of the record that it is about; 0: of none
  std::string what;
};

struct IntegrityReport {
  std::vector<IntegrityFinding> findings;
  bool more = false;             // there may be others: findings_max was reached
  std::uint64_t executions = 0;  // that were looked at
  std::uint64_t records = 0;     // of their histories

  bool sound() const { return findings.empty(); }
};

// Reads a store from beginning to end, whether an engine has it open (here or in another process) or
// not, and writes nothing to it. Beside the database's own check of its pages and indexes: histories
// run from 1 without a gap, can be read, and follow from one another; each execution's row says what
// its history adds up to; results and timers are those of the histories, and none is missing;
// snapshots too; and nothing belongs to an execution that is not there.
//
// Executions are looked at one by one, each as of one moment, and histories in pages, so that neither
// a large store nor a busy engine matters. Takes about as long as reading all of it.
//
// `store` is sqlite:FILE. What is found wrong is reported, no error. Errors: invalid_argument;
// store_unavailable (there is no such file, it can't be read); store_invalid (it is no store, or one
// of another version).
Result<IntegrityReport> check_store(const std::string& store, const IntegrityOptions& options = {});

}  // namespace pawl
