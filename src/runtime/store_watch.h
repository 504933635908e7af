#pragma once

// Tells when something was committed to a store's file, by whatever process.

#include <functional>
#include <thread>

#include "store/sqlite_store.h"

namespace pawl {

// The kernel tells when the log beside the file is written to, which is the moment to look at SQLite's
// count of commits; so an idle store costs nothing, and a foreign commit is seen within milliseconds.
// Where the kernel can't (it watches a bounded number of files), it looks at that count every 20 ms.
// docs/decisions/0062-noticing-foreign-commits.md has figures.
//
// A thread and a connection of its own.
class StoreWatch {
 public:
  // `changed` is called on the watch's thread; it must only post. Commits of this process are told too,
  // those that come close together at once.
  StoreWatch(SqliteStoreOptions file, std::function<void()> changed);
  ~StoreWatch();
  StoreWatch(const StoreWatch&) = delete;
  StoreWatch& operator=(const StoreWatch&) = delete;

  // `changed` is not called any more once it returns. Idempotent; by one thread, and not from `changed`.
  void close();

 private:
  void run();
  bool look(int notices);
  // False once closed. True: there was a notice, or the time is over.
  bool wait(int notices, int milliseconds, bool& noticed) const;

  const SqliteStoreOptions file_;
  const std::function<void()> changed_;
  int closing_ = -1;  // an event descriptor: readable from close() on
  std::thread thread_;
};

}  // namespace pawl
