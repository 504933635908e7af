#include "runtime/store_care.h"

#include <fmt/format.h>

#include <utility>

#include "store/integrity_check.h"
#include "store/sqlite_backup.h"

namespace pawl {
namespace {

// Backups and checks that wait or run.
constexpr int kCareQueuedMax = 8;

}  // namespace

template <class T, class Work>
void StoreCare::queue(Callback<T> done, Work work) {
  if (queued_.fetch_add(1) >= kCareQueuedMax) {
    --queued_;
    return done(Error{ErrorCode::overloaded,
                      fmt::format("{} backups and checks of the store are under way, the most that "
                                  "are taken at once. Try again later.",
                                  kCareQueuedMax),
                      {}});
  }
  const bool posted = thread_.post([this, done, work = std::move(work)] {
    Result<T> result = work();
    --queued_;
    done(std::move(result));
  });
  if (posted) return;
  --queued_;
  done(Error{ErrorCode::closed, "The runtime is closed. Open a new one to go on.", {}});
}

void StoreCare::backup(std::string path, Callback<BackupReport> done) {
  queue<BackupReport>(std::move(done),
                      [this, path = std::move(path)] { return backup_sqlite(file_, path, stop_); });
}

void StoreCare::check(const IntegrityOptions options, Callback<IntegrityReport> done) {
  queue<IntegrityReport>(std::move(done),
                         [this, options] { return check_sqlite(file_, options, stop_); });
}

void StoreCare::close() {
  stop_ = true;
  thread_.close();
}

}  // namespace pawl
