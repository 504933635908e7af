// The built-in actions on records, on the store's own database.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "pawl/builtin_actions.h"
#include "pawl/pawl.h"
#include "tests/support/temporary_folder.h"

namespace pawl {
namespace {

using namespace actions;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kRobert = "Robert'); DROP TABLE products;--";

class RecordActionsTest : public testing::Test {
 protected:
  void SetUp() override {
    register_builtin_actions(runtime_).value();
    session_ = runtime_.database()->connect(SessionUse::application).value();
    sql("CREATE TABLE products(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, stock INTEGER "
        "DEFAULT 0, details TEXT, \"order\" TEXT, picture BLOB, price REAL, sold BOOLEAN)");
  }

  SqlRows sql(const std::string_view text) { return session_->run(text, {}).value(); }
  std::vector<std::int64_t> stocks() {
    std::vector<std::int64_t> all;
    for (const auto& row : sql("SELECT stock FROM products ORDER BY id").rows) {
      all.push_back(std::get<std::int64_t>(row[0]));
    }
    return all;
  }
  template <class A>
  auto run(const typename A::Parameters& parameters) {
    return runtime_.execute_action<A>(
        parameters, {.tenant = "acme", .idempotency_key = "k-" + std::to_string(++keys_)});
  }
  // What the action said, when it refused.
  template <class A>
  std::string refusal(const typename A::Parameters& parameters) {
    const auto refused = run<A>(parameters);
    if (refused) return "was not refused";
    return refused.error().message + " " + refused.error().subject;
  }

  TemporaryFolder folder_;
  WorkflowRuntime runtime_ =
      WorkflowRuntime::open({.store = "sqlite:" + folder_.file("store.db"), .log = [](auto&) {}})
          .value();
  std::unique_ptr<SqlSession> session_;
  int keys_ = 0;
};

// rules: 14, 15
TEST_F(RecordActionsTest, RecordsAreCreatedChangedAndDeleted) {
  const Columns given{{"name", kRobert},  {"details", Json::object({{"size", Json::Array{1, 2}}})},
                      {"order", nullptr}, {"picture", Json::object({{"$bytes", "AP8="}})},
                      {"price", 1.5},     {"sold", true}};
  const auto created = run<CreateDatabaseRecord>({"products", given});
  ASSERT_TRUE(created) << created.error().message;
  const Columns expected{{"id", 1},          {"name", kRobert},
                         {"stock", 0},       {"details", R"({"size":[1,2]})"},
                         {"order", nullptr}, {"picture", Json::object({{"$bytes", "AP8="}})},
                         {"price", 1.5},     {"sold", 1}};
  EXPECT_EQ(created->record, expected);
  EXPECT_TRUE(std::holds_alternative<Blob>(sql("SELECT picture FROM products").rows[0][0]));
  for (const char* const name : {"b", "c"}) {
    run<CreateDatabaseRecord>({"products", {{"name", name}, {"order", "x"}}}).value();
  }
  const auto change = [this](const Columns& where, const Columns& changes) {
    return run<UpdateDatabaseRecord>({"products", where, changes}).value().count;
  };
  EXPECT_EQ(change({{"order", nullptr}}, {{"stock", 5}}), 1);
  EXPECT_EQ(change({{"name", Json::Array{"b", "c"}}, {"order", "x"}}, {{"stock", 7}}), 2);
  EXPECT_EQ(change({{"name", "' OR 1 = 1 --"}}, {{"stock", 9}}), 0);
  EXPECT_EQ(change({{"name", Json::Array{}}}, {{"stock", 9}}), 0);
  EXPECT_EQ(run<DeleteDatabaseRecord>({"products", {{"stock", 7}}}).value().count, 2);
  EXPECT_THAT(stocks(), ElementsAre(5));
}

// rules: 15, 26
TEST_F(RecordActionsTest, WhatIsNoTableOrColumnOfTheApplicationsIsRefused) {
  run<CreateDatabaseRecord>({"products", {{"name", "a"}}}).value();
  const std::pair<CreateDatabaseRecord::Parameters, const char*> creations[] = {
      {{"product", {{"name", "x"}}}, "There is no table 'product'. Did you mean 'products'?"},
      {{"products", {{"nmae", "x"}}},
       "record: the table 'products' has no column 'nmae'. Did you mean 'name'?"},
      {{"products", {}}, "record has no column: say which"},
      {{"products", {{"name) VALUES (1); --", "x"}}}, "has no column"},
      {{"products; DROP TABLE products", {{"name", "x"}}}, "There is no table"},
      {{"products\"", {{"name", "x"}}}, "There is no table"},
      {{"a.b.c", {{"name", "x"}}}, "is no name of a table"},
      {{".products", {{"name", "x"}}}, "is no name of a table"},
      {{"", {{"name", "x"}}}, "is no name of a table"},
      {{"main.products", {{"name", "x"}}}, "SQLite has no schemas"},
  };
  for (const auto& [parameters, message] : creations) {
    EXPECT_THAT(refusal<CreateDatabaseRecord>(parameters), HasSubstr(message));
  }
  EXPECT_THAT(refusal<UpdateDatabaseRecord>({"products", {}, {{"name", "x"}}}),
              HasSubstr("where has no column: say which"));
  EXPECT_THAT(refusal<UpdateDatabaseRecord>({"products", {{"id", 1}}, {}}),
              HasSubstr("changes has no column: say which"));
  EXPECT_THAT(refusal<DeleteDatabaseRecord>({"products", {}}), HasSubstr("where has no column"));
  for (const char* const table :
       {"workflow_events", "WORKFLOW_EVENTS", "pawl_action_results", "sqlite_schema",
        "pg_catalog.pg_class", "information_schema.sql_features", "main.workflow_events"}) {
    EXPECT_THAT(refusal<DeleteDatabaseRecord>({table, {{"id", 1}}}),
                HasSubstr("none of the application's"))
        << table;
  }
  EXPECT_THAT(refusal<CreateDatabaseRecord>({"products", {{"nmae", "x"}}}),
              HasSubstr("\"validation\""));
  EXPECT_THAT(refusal<CreateDatabaseRecord>({"products", {{"name", "a"}}}),
              HasSubstr("SQLITE_CONSTRAINT_UNIQUE"));
  EXPECT_THAT(stocks(), ElementsAre(0));
}

TEST_F(RecordActionsTest, NamesAreQuotedAndLargeNumbersAreText) {
  sql("CREATE TABLE \"odd \"\" table\"(\"a \"\" b\" INTEGER)");
  sql("INSERT INTO \"odd \"\" table\" VALUES(0)");
  EXPECT_EQ(
      run<UpdateDatabaseRecord>({"odd \" table", {{"a \" b", 0}}, {{"a \" b", 1}}}).value().count,
      1);
  sql("CREATE TABLE big(n INTEGER DEFAULT 9223372036854775807, m INTEGER)");
  EXPECT_EQ(run<CreateDatabaseRecord>({"big", {{"m", 1}}}).value().record,
            (Columns{{"n", "9223372036854775807"}, {"m", 1}}));
}

}  // namespace
}  // namespace pawl
