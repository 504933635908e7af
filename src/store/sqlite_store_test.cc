#include "store/sqlite_store.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "tests/support/store_conformance.h"
#include "tests/support/temporary_folder.h"

namespace pawl {
namespace {

struct SqliteMaker {
  TemporaryFolder folder;
  std::unique_ptr<Store> open() {
    auto store = open_sqlite_store({.path = folder.file("pawl.db")});
    EXPECT_TRUE(store) << store.error().message;
    return store ? std::move(*store) : nullptr;
  }
};

INSTANTIATE_TYPED_TEST_SUITE_P(Sqlite, StoreConformance, SqliteMaker);

}  // namespace
}  // namespace pawl
