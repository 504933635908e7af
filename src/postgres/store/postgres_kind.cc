// PostgreSQL among the kinds of stores that a runtime can open.

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "core/store_kind.h"
#include "pawl/postgres.h"
#include "postgres/conninfo.h"
#include "postgres/store/pipeline.h"
#include "postgres/store/postgres_store.h"

namespace pawl {
namespace {

using namespace std::chrono_literals;

constexpr auto kAnswerMax = 30s;
// A look at the inbox that nobody gave word of.
constexpr auto kSweepEvery = 1s;

class PostgresSide final : public StoreSide {
 public:
  explicit PostgresSide(PostgresParameters parameters) : parameters_(std::move(parameters)) {}
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
  void watch(std::function<void()> changed) override {
    changed_ = std::move(changed);
    thread_ = std::thread([this] { run(); });
  }
  void close() override {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
      wake_.notify_all();
    }
    pipeline_.give_up();
    if (thread_.joinable()) thread_.join();
  }

 private:
  void run() {
    while (!closing_) {
      if (pipeline_.is_connected() || listen()) {
        pipeline_.wait_for_notice(kSweepEvery);
        pipeline_.take_notices();
      } else {
        std::unique_lock lock(mutex_);
        wake_.wait_for(lock, kSweepEvery, [this] { return closing_.load(); });
      }
      if (!closing_) changed_();
    }
  }

  bool listen() {
    return pipeline_.connect(parameters_, {"LISTEN workflow_inbox"}, {}, kAnswerMax).has_value();
  }

  const PostgresParameters parameters_;
  PgPipeline pipeline_;  // of the thread
  std::function<void()> changed_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<bool> closing_ = false;  // set under mutex_
  std::thread thread_;
};

Result<OpenedStore> open(const RuntimeOptions& options) {
  auto parameters = parameters_of(options.store, {});
  if (!parameters) return parameters.error();
  PostgresStoreOptions wanted;
  wanted.conninfo = options.store;
  wanted.lease = options.lease;
  auto store = open_postgres_store(std::move(wanted));
  if (!store) return store.error();
  return OpenedStore{std::move(*store), std::make_unique<PostgresSide>(std::move(*parameters))};
}

}  // namespace

void use_postgres_stores() {
  for (const char* const scheme : {"postgresql", "postgres"}) {
    add_store_kind(scheme, {"postgresql://HOST/DATABASE", &open});
  }
}

}  // namespace pawl
