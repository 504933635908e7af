#pragma once

#include <atomic>
#include <string>

#include "pawl/runtime.h"
#include "runtime/reader_pool.h"
#include "store/sqlite_store.h"

namespace pawl {

// Backups and checks of the file that an engine has open: one after the other, on a thread of their
// own, over connections of their own, so that nothing waits for them.
class StoreCare {
 public:
  explicit StoreCare(SqliteStoreOptions file) : file_(std::move(file)) {}

  void backup(std::string path, Callback<BackupReport> done);
  void check(IntegrityOptions options, Callback<IntegrityReport> done);
  // What is under way is given up, and answers `closed`.
  void close();

 private:
  template <class T, class Work>
  void queue(Callback<T> done, Work work);

  const SqliteStoreOptions file_;
  std::atomic<bool> stop_ = false;
  std::atomic<int> queued_ = 0;  // at most kCareQueuedMax
  ReaderPool thread_{1};
};

}  // namespace pawl
