#pragma once

// Kinds of stores, by how their addresses begin ("sqlite:", "postgresql:"). A kind that needs a library of its own
// is a part that programs link, and add before they open a store.

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/hint_bus.h"
#include "core/store.h"
#include "pawl/error.h"
#include "pawl/runtime.h"
#include "pawl/store_care.h"

namespace pawl {

// What stands beside a store that an engine has open.
class StoreSide {
 public:
  virtual ~StoreSide() = default;

  // See Runtime.
  virtual void backup(std::string path, Callback<BackupReport> done) = 0;
  virtual void check(IntegrityOptions options, Callback<IntegrityReport> done) = 0;
  // Once, before close(). Others may have put something into the inbox; on a thread of its own, which must
  // only post.
  virtual void watch(std::function<void()> changed) = 0;
  // What is under way is given up, and nobody is told anything any more. Idempotent; by one thread.
  virtual void close() = 0;
};

struct OpenedStore {
  std::unique_ptr<Store> store;
  std::unique_ptr<StoreSide> side;
  std::unique_ptr<HintBus> bus;  // of a store that several processes can have open
};

struct StoreKind {
  std::string address;  // as people are told to write it: "sqlite:FILE"
  // Errors as Runtime::open.
  std::function<Result<OpenedStore>(const RuntimeOptions& options)> open;
};

// Any thread. Again, under the same scheme: the first one stays.
void add_store_kind(std::string_view scheme, StoreKind kind);

// By its address. Errors: invalid_argument where no kind has it; those of the kind.
Result<OpenedStore> open_store(const RuntimeOptions& options);

}  // namespace pawl
