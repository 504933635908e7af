#include "pawl/database_action.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "pawl/pawl.h"
#include "tests/support/temporary_folder.h"

namespace invoices {

struct Settle {
  struct Parameters {
    std::string id;
    std::int64_t cents = 0;
    std::string how;
  };
  struct Result {
    std::int64_t changed = 0;
    std::int64_t left = 0;
  };
};
// Counts without end, at first.
struct Count {
  struct Parameters {
    std::string id;
  };
  struct Result {
    std::int64_t attempt = 0;
  };
};
PAWL_DESCRIBE(Count::Parameters, id);
PAWL_DESCRIBE(Count::Result, attempt);

PAWL_DESCRIBE(Settle::Parameters, id, cents, how);
PAWL_DESCRIBE(Settle::Result, changed, left);

struct Invoice {
  std::string id;
  std::int64_t cents = 0;
  std::optional<std::string> note;
  bool paid = false;
};
PAWL_DESCRIBE(Invoice, id, cents, note, paid);

struct Order {
  std::string id;
  std::string how;
};
PAWL_DESCRIBE(Order, id, how);

pawl::Workflow<std::int64_t> pay(pawl::Context& ctx, Order order) {
  const auto settled = co_await ctx.run<Settle>({.id = order.id, .cents = 100, .how = order.how});
  if (!settled) throw pawl::FailureException(settled.error());
  co_return settled->left;
}

}  // namespace invoices

namespace pawl {
namespace {

using invoices::Count;
using invoices::Invoice;
using invoices::Order;
using invoices::Settle;
using ::testing::HasSubstr;

class DatabaseActionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    runtime_.emplace(
        WorkflowRuntime::open({.store = "sqlite:" + folder_.file("store.db"), .log = [](auto&) {}})
            .value());
    session_ = runtime_->database()->connect(SessionUse::application).value();
    sql("CREATE TABLE invoices(id TEXT PRIMARY KEY, cents INTEGER NOT NULL, note TEXT, paid "
        "INTEGER)");
    sql("INSERT INTO invoices VALUES('a', 150, NULL, 0), ('b', 50, 'rush', 1)");
    runtime_->register_workflow("Pay", &invoices::pay).value();
    runtime_
        ->register_database_action<Settle>(
            [this](const Settle::Parameters& p, Transaction& sql,
                   const ActionContext& context) -> SqlResult<Settle::Result> {
              ++calls_;
              const auto changed =
                  sql.execute("UPDATE invoices SET cents = cents - ? WHERE id = ?", p.cents, p.id);
              if (!changed) return changed.error();
              if (p.how == "throws") throw std::runtime_error("no");
              if (p.how == "again" && context.attempt == 1) throw std::runtime_error("once");
              if (p.how == "too large") {
                return SqlResult<Settle::Result>(sql_misfit(std::string(10, 'x')));
              }
              const auto left =
                  sql.query_one<std::int64_t>("SELECT cents FROM invoices WHERE id = ?", p.id);
              if (!left) return left.error();
              return Settle::Result{.changed = *changed, .left = left->value_or(-1)};
            },
            {.run = {.retry = {.max_attempts = 2,
                               .initial_interval = std::chrono::milliseconds(1)}}})
        .value();
  }

  SqlRows sql(const std::string_view text) { return session_->run(text, {}).value(); }
  std::int64_t cents() {
    return std::get<std::int64_t>(sql("SELECT cents FROM invoices WHERE id = 'a'").rows[0][0]);
  }
  Result<ExecutionState> paid(const std::string& how) {
    const std::string id =
        runtime_->start_workflow("Pay", Order{"a", how}, {.tenant = "acme"}).value();
    runtime_->wait_for_workflow_completion(id, {.tenant = "acme"}).value();
    return runtime_->get_execution_state(id, {.tenant = "acme"});
  }

  TemporaryFolder folder_;
  std::optional<WorkflowRuntime> runtime_;
  std::unique_ptr<SqlSession> session_;
  std::atomic<int> calls_ = 0;
};

// rule: 14
TEST_F(DatabaseActionTest, WritesWhatItsWorkflowIsToldOf) {
  EXPECT_EQ(paid("well").value().result.bytes, "50");
  EXPECT_EQ(cents(), 50);
  EXPECT_EQ(calls_, 1);
}

// rules: 14, 15
TEST_F(DatabaseActionTest, AFailureWritesNothingAndTheNextAttemptBeginsAnew) {
  EXPECT_EQ(paid("throws").value().status, "failed");
  EXPECT_EQ(cents(), 150);
  EXPECT_EQ(calls_, 2);
  EXPECT_EQ(paid("again").value().result.bytes, "50");
  EXPECT_EQ(cents(), 50);
}

// rule: 14
TEST_F(DatabaseActionTest, RunsOncePerKeyOutsideOfWorkflowsToo) {
  for (int i = 0; i < 2; ++i) {
    const auto settled = runtime_->execute_action<Settle>(
        {"a", 100, "well"}, {.tenant = "acme", .idempotency_key = "pay-a"});
    ASSERT_TRUE(settled) << settled.error().message;
    EXPECT_EQ(settled->left, 50);
  }
  EXPECT_EQ(calls_, 1);
  EXPECT_EQ(cents(), 50);
  EXPECT_EQ(runtime_->check_integrity().value().findings.size(), 0U);
}

// rule: 14
TEST_F(DatabaseActionTest, WhoeverTriesToEndItsTransactionHasNothingCommitted) {
  runtime_
      ->register_database_action<Count>([](const Count::Parameters& p, Transaction& sql) {
        sql.execute("UPDATE invoices SET cents = 1 WHERE id = 'a'").value();
        const auto ended = sql.execute(p.id);
        return Count::Result{ended ? 1 : 2};
      })
      .value();
  for (const char* const text : {"ROLLBACK", "COMMIT", "END", "BEGIN"}) {
    const auto counted =
        runtime_->execute_action<Count>({text}, {.tenant = "acme", .idempotency_key = text});
    ASSERT_FALSE(counted) << text;
    EXPECT_THAT(counted.error().message, HasSubstr("committed and rolled back for you")) << text;
    EXPECT_EQ(cents(), 150) << text;
  }
}

// rules: 14, 15
TEST_F(DatabaseActionTest, AStatementThatRunsOnWhenItsTimeIsUpIsBrokenOff) {
  runtime_
      ->register_database_action<Count>(
          [](const Count::Parameters& p, Transaction& sql,
             const ActionContext& context) -> SqlResult<Count::Result> {
            const auto changed =
                sql.execute("UPDATE invoices SET cents = cents - 1 WHERE id = ?", p.id);
            if (!changed) return changed.error();
            if (context.attempt == 1) {
              const auto counted = sql.query<std::int64_t>(
                  "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) "
                  "SELECT count(*) FROM t");
              if (!counted) return counted.error();
            }
            return Count::Result{context.attempt};
          },
          {.run = {.retry = {.initial_interval = std::chrono::milliseconds(1)},
                   .timeout = std::chrono::milliseconds(200)}})
      .value();
  const auto counted =
      runtime_->execute_action<Count>({"a"}, {.tenant = "acme", .idempotency_key = "count"});
  ASSERT_TRUE(counted) << counted.error().message;
  EXPECT_GE(counted->attempt, 2);
  EXPECT_EQ(cents(), 149);
}

// rule: 14
TEST_F(DatabaseActionTest, WhatIsCommittedWithItsWritesIsNotCompletedFromElsewhere) {
  runtime_
      ->register_database_action<Count>(
          [](const Count::Parameters& p, Transaction& sql,
             const ActionContext& context) -> SqlResult<Count::Result> {
            sql.execute("UPDATE invoices SET cents = cents - 1 WHERE id = ?", p.id).value();
            context.complete_later();
            return Count::Result{context.attempt};
          })
      .value();
  const auto counted =
      runtime_->execute_action<Count>({"a"}, {.tenant = "acme", .idempotency_key = "count"});
  ASSERT_FALSE(counted);
  EXPECT_THAT(counted.error().message, HasSubstr("can't be completed from elsewhere"));
  EXPECT_EQ(cents(), 150);
}

// rule: 15
TEST_F(DatabaseActionTest, WhoKnowsBetterSaysWhichFailuresAreTriedAgain) {
  runtime_->register_failure_classifier([](const Failure& failure) -> std::optional<FailureClass> {
    if (failure.code != "SQLITE_CONSTRAINT_PRIMARYKEY") return std::nullopt;
    return FailureClass::transient;
  });
  int calls = 0;
  runtime_
      ->register_database_action<Count>(
          [&calls](const Count::Parameters& p, Transaction& sql) -> SqlResult<Count::Result> {
            const auto added = sql.execute("INSERT INTO invoices VALUES(?, 1, NULL, 0)",
                                           ++calls == 1 ? "a" : p.id);
            if (!added) return added.error();
            return Count::Result{calls};
          },
          {.run = {.retry = {.initial_interval = std::chrono::milliseconds(1)}}})
      .value();
  const auto counted =
      runtime_->execute_action<Count>({"c"}, {.tenant = "acme", .idempotency_key = "count"});
  ASSERT_TRUE(counted) << counted.error().message;
  EXPECT_EQ(counted->attempt, 2);
}

// rules: 14, 15
TEST_F(DatabaseActionTest, AnSqliteFileOfItsOwnKeepsOutcomesToo) {
  const std::string path = folder_.file("shop.db");
  const auto file = open_sqlite_database(path);
  auto shop = file->connect(SessionUse::application).value();
  shop->run("CREATE TABLE stock(id TEXT PRIMARY KEY, n INTEGER NOT NULL)", {}).value();
  shop->run("INSERT INTO stock VALUES('a', 10)", {}).value();
  const auto left = [&shop] {
    return std::get<std::int64_t>(shop->run("SELECT n FROM stock", {}).value().rows[0][0]);
  };
  const auto take = [this](const Count::Parameters& p, Transaction& sql,
                           const ActionContext& context) -> SqlResult<Count::Result> {
    ++calls_;
    const auto taken = sql.execute("UPDATE stock SET n = n - 1 WHERE id = 'a'");
    if (!taken) return taken.error();
    if (p.id == "fails" || (p.id == "again" && context.attempt == 1)) {
      throw std::runtime_error("not now");
    }
    if (p.id == "forges") {
      const auto forged = sql.execute("UPDATE pawl_action_results SET result = '{\"attempt\":99}'");
      if (!forged) return forged.error();
    }
    if (p.id == "ends and does not look") {
      const auto ended = sql.execute("ROLLBACK");
      return Count::Result{ended ? 1 : 2};
    }
    if (p.id == "ends") {
      const auto ended = sql.execute("COMMIT");
      if (!ended) return ended.error();
    }
    return Count::Result{context.attempt};
  };
  DatabaseActionOptions options;
  options.run.retry.max_attempts = 2;
  options.run.retry.initial_interval = std::chrono::milliseconds(1);
  options.database = file;
  runtime_->register_database_action<Count>(take, options).value();
  const auto ask = [](WorkflowRuntime& runtime, const std::string& id) {
    return runtime.execute_action<Count>({id}, {.tenant = "acme", .idempotency_key = "k-" + id});
  };
  EXPECT_EQ(ask(*runtime_, "again").value().attempt, 2);
  EXPECT_EQ(left(), 9);
  for (const char* const id : {"fails", "forges", "ends", "ends and does not look"}) {
    EXPECT_FALSE(ask(*runtime_, id)) << id;
    EXPECT_EQ(left(), 9) << id;
  }
  // Others who have the same file and stores of their own.
  calls_ = 0;
  const auto open = [this](const std::string& store) {
    return WorkflowRuntime::open({.store = "sqlite:" + folder_.file(store), .log = [](auto&) {}})
        .value();
  };
  auto other = open("other.db");
  other.register_database_action<Count>(take, options).value();
  EXPECT_EQ(ask(other, "again").value().attempt, 2);
  EXPECT_EQ(calls_, 0);
  auto third = open("third.db");
  third
      .register_database_action<Settle>(
          [](const Settle::Parameters&, Transaction&) { return Settle::Result{}; }, options)
      .value();
  const auto taken =
      third.execute_action<Settle>({"a", 1, ""}, {.tenant = "acme", .idempotency_key = "k-again"});
  ASSERT_FALSE(taken);
  EXPECT_THAT(taken.error().message, HasSubstr("used for the action 'Count'"));
}

TEST_F(DatabaseActionTest, RowsAreReadIntoDescribedStructs) {
  Transaction transaction(*session_);
  const auto rows =
      transaction.query<Invoice>("SELECT * FROM invoices WHERE cents > $1 ORDER BY id", 10);
  ASSERT_TRUE(rows) << rows.error().message;
  ASSERT_EQ(rows->size(), 2U);
  EXPECT_EQ((*rows)[0].note, std::nullopt);
  EXPECT_EQ((*rows)[1].note, "rush");
  EXPECT_TRUE((*rows)[1].paid);
  EXPECT_EQ(transaction.query_one<std::string>("SELECT id FROM invoices WHERE cents = 1").value(),
            std::nullopt);
  const auto short_of = transaction.query<Invoice>("SELECT id FROM invoices");
  ASSERT_FALSE(short_of);
  EXPECT_THAT(short_of.error().message, HasSubstr("no column 'cents'"));
  EXPECT_EQ(short_of.error().failure_class, FailureClass::validation);
  EXPECT_THAT(transaction.query<int>("SELECT id FROM invoices").error().message,
              HasSubstr("is no whole number"));
  EXPECT_THAT(transaction.query<int>("SELECT id, cents FROM invoices").error().message,
              HasSubstr("one column"));
  EXPECT_THAT(transaction.query<std::int8_t>("SELECT 300").error().message,
              HasSubstr("does not fit"));
  EXPECT_EQ(
      transaction.execute("INSERT INTO invoices VALUES(?, ?, ?, ?)", "c", 1, nullptr, true).value(),
      1);
}

}  // namespace
}  // namespace pawl
