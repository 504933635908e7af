#include "runtime/store_watch.h"

#include <poll.h>
#include <sqlite3.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <optional>
#include <utility>

#include "store/sqlite_connection.h"
#include "store/sqlite_schema.h"

namespace pawl {
namespace {

constexpr int kLookMs = 20;       // without notices
constexpr int kIdleLookMs = 500;  // with them, in case that one was missed
// The log is written to before the commit is synced, and only then counts: it is looked at again and
// again for a while.
constexpr int kBusyLookMs = 5;
constexpr int kBusyLooks = 20;
constexpr int kOpenAgainMs = 1'000;

}  // namespace

StoreWatch::StoreWatch(SqliteStoreOptions file, std::function<void()> changed)
    : file_{std::move(file)},
      changed_{std::move(changed)},
      closing_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)},
      thread_{[this] { run(); }} {}

StoreWatch::~StoreWatch() {
  close();
  if (closing_ >= 0) ::close(closing_);
}

void StoreWatch::close() {
  if (!thread_.joinable()) return;
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(closing_, &one, sizeof one);
  thread_.join();
}

bool StoreWatch::wait(const int notices, const int milliseconds, bool& noticed) const {
  std::array<pollfd, 2> waiting{{{closing_, POLLIN, 0}, {notices, POLLIN, 0}}};
  ::poll(waiting.data(), notices < 0 ? 1 : 2, milliseconds);
  noticed = (waiting[1].revents & POLLIN) != 0;
  if (noticed) {
    std::array<char, 4'096> read;
    while (::read(notices, read.data(), read.size()) > 0) {
    }
  }
  return waiting[0].revents == 0;
}

void StoreWatch::run() {
  const int notices = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  bool noticed = false;
  // Whoever asks the engine for something is told why its file can't be read.
  while (!look(notices) && wait(notices, kOpenAgainMs, noticed)) {
  }
  if (notices >= 0) ::close(notices);
}

// Until it is closed, or the file can't be read: false.
bool StoreWatch::look(const int notices) {
  auto connection = SqliteConnection::open(file_.path, SqliteConnection::Mode::read_only, file_.vfs,
                                           file_.busy_ms);
  if (!connection || !configure_sqlite_reader(*connection, file_)) return false;
  auto version = connection->prepare("PRAGMA data_version");
  if (!version) return false;
  // An engine keeps its log for as long as it has the file open.
  const bool told =
      notices >= 0 && ::inotify_add_watch(notices, (file_.path + "-wal").c_str(), IN_MODIFY) >= 0;
  std::optional<std::int64_t> known;
  int busy = 0;
  while (true) {
    const bool row = version->step() == SQLITE_ROW;
    const std::int64_t now = row ? version->column_int(0) : 0;
    version->reset();
    if (!row) return false;
    // The first time too: what came before the engine looked is its own to find, but not what came
    // between that and now.
    if (known != now) changed_();
    known = now;
    bool noticed = false;
    const int pause = !told ? kLookMs : busy > 0 ? kBusyLookMs : kIdleLookMs;
    if (!wait(told && busy == 0 ? notices : -1, pause, noticed)) return true;
    if (busy > 0 && --busy == 0) wait(notices, 0, noticed);
    if (noticed) busy = kBusyLooks;
  }
}

}  // namespace pawl
