#include "runtime/sqlite_kind.h"

#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include "core/store_kind.h"
#include "runtime/store_address.h"
#include "runtime/store_care.h"
#include "runtime/store_watch.h"
#include "store/sqlite_store.h"
#include "store/store_file.h"

namespace pawl {
namespace {

class SqliteSide final : public StoreSide {
 public:
  explicit SqliteSide(SqliteStoreOptions file) : file_(file), care_(std::move(file)) {}

  void backup(std::string path, Callback<BackupReport> done) override {
    care_.backup(std::move(path), std::move(done));
  }
  void check(const IntegrityOptions options, Callback<IntegrityReport> done) override {
    care_.check(options, std::move(done));
  }
  void watch(std::function<void()> changed) override { watch_.emplace(file_, std::move(changed)); }
  void close() override {
    watch_.reset();
    care_.close();
  }

 private:
  const SqliteStoreOptions file_;
  StoreCare care_;
  std::optional<StoreWatch> watch_;
};

Result<OpenedStore> open_sqlite(const RuntimeOptions& options) {
  auto file = sqlite_options_of(options.store);
  if (!file) return file.error();
  auto path = resolve_store_path(file->path);
  if (!path) return path.error();
  file->path = std::move(*path);
  file->transaction_max = std::chrono::milliseconds(options.limits.transaction_ms_max);
  auto store = open_sqlite_store(*file);
  if (!store) return store.error();
  return OpenedStore{std::move(*store), std::make_unique<SqliteSide>(std::move(*file))};
}

}  // namespace

void add_sqlite_stores() { add_store_kind("sqlite", {"sqlite:FILE", &open_sqlite}); }

}  // namespace pawl
