// PostgreSQL among the kinds of stores that a runtime can open.

#include <fmt/format.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "core/hint_bus_kind.h"
#include "core/store_kind.h"
#include "pawl/postgres.h"
#include "postgres/conninfo.h"
#include "postgres/store/notify_bus.h"
#include "postgres/store/postgres_store.h"

namespace pawl {
namespace {

using namespace std::chrono_literals;

// A look at the inbox that nobody gave word of.
constexpr auto kSweepEvery = 1s;

class PostgresSide final : public StoreSide {
 public:
  ~PostgresSide() override { close(); }

  void backup(std::string, Callback<BackupReport> done) override {
    done(Error{ErrorCode::invalid_argument,
               "A store in PostgreSQL is backed up by PostgreSQL's own tools: pg_dump, or "
               "pg_basebackup with the write-ahead log.",
               {}});
  }
  void check(IntegrityOptions, Callback<IntegrityReport> done) override {
    done(Error{ErrorCode::invalid_argument,
               "A store in PostgreSQL can't be checked by this version; its tables have the "
               "constraints that matter.",
               {}});
  }
  // Whatever the bus told of, or did not.
  void watch(std::function<void()> changed) override {
    thread_ = std::thread([this, changed = std::move(changed)] {
      std::unique_lock lock(mutex_);
      while (!wake_.wait_for(lock, kSweepEvery, [this] { return closing_; })) {
        lock.unlock();
        changed();
        lock.lock();
      }
    });
  }
  void close() override {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
      wake_.notify_all();
    }
    if (thread_.joinable()) thread_.join();
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  bool closing_ = false;  // under mutex_
  std::thread thread_;
};

Result<OpenedStore> open(const RuntimeOptions& options) {
  auto parameters = parameters_of(options.store, {});
  if (!parameters) return parameters.error();
  PostgresStoreOptions wanted;
  wanted.conninfo = options.store;
  wanted.lease = options.lease;
  wanted.partitions = options.partitions;
  auto store = open_postgres_store(std::move(wanted));
  if (!store) return store.error();
  std::unique_ptr<HintBus> bus;
  if (options.redis.empty()) {
    bus = make_notify_bus(std::move(*parameters), (*store)->worker());
  } else {
    auto opened = open_hint_bus({options.redis, (*store)->identity(), (*store)->worker()});
    if (!opened) return opened.error();
    bus = std::move(*opened);
  }
  return OpenedStore{std::move(*store), std::make_unique<PostgresSide>(), std::move(bus)};
}

}  // namespace

void use_postgres_stores() {
  for (const char* const scheme : {"postgresql", "postgres"}) {
    add_store_kind(scheme, {"postgresql://HOST/DATABASE", &open});
  }
}

}  // namespace pawl
