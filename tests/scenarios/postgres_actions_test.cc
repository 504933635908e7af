// Database actions on PostgreSQL: what handlers, servers and connections do to a transaction, and what is told then.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <latch>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "pawl/pawl.h"
#include "pawl/postgres.h"
#include "tests/support/cutting_proxy.h"
#include "tests/support/postgres_server.h"
#include "tests/support/temporary_folder.h"

namespace banking {

struct Move {
  struct Parameters {
    std::string how;
    std::int64_t number = 0;
  };
  struct Result {
    std::string text;
  };
};
PAWL_DESCRIBE(Move::Parameters, how, number);
PAWL_DESCRIBE(Move::Result, text);

struct Look {
  struct Parameters {
    std::string how;
  };
  using Result = std::string;
};
PAWL_DESCRIBE(Look::Parameters, how);

pawl::Workflow<std::string> transfer(pawl::Context& ctx, Move::Parameters wanted) {
  const auto moved = co_await ctx.run<Move>({.how = wanted.how, .number = wanted.number});
  if (!moved) throw pawl::FailureException(moved.error());
  co_return moved->text;
}

}  // namespace banking

namespace pawl {
namespace {

using banking::Look;
using banking::Move;
using test::CuttingProxy;
using test::PostgresServer;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

constexpr std::string_view kTake = "UPDATE accounts SET cents = cents - 100 WHERE id = 'a'";

PostgresServer* server() {
  static const auto instance = std::make_unique<PostgresServer>();
  return instance.get();
}

Move::Result said(std::string text) { return {.text = std::move(text)}; }

struct How {
  IsolationLevel isolation = IsolationLevel::read_committed;
  int max_attempts = 3;
  std::optional<std::chrono::milliseconds> timeout = std::nullopt;
};

class PostgresActions : public ::testing::Test {
 protected:
  using Handler = std::function<SqlResult<Move::Result>(const Move::Parameters&, Transaction&,
                                                        const ActionContext&)>;

  void SetUp() override { open(server()->new_database()); }
  // What the test looks with goes straight to the server, through whatever the actions' connections go.
  void open(const std::string& direct, const std::string& through = "",
            PostgresDatabaseOptions options = {}) {
    runtime_.reset();
    if (straight_ == nullptr) {
      straight_ = open_postgres_database(direct);
      sql("CREATE TABLE accounts(id text PRIMARY KEY, cents int NOT NULL)");
      sql("INSERT INTO accounts VALUES('a', 500), ('b', 500)");
    }
    database_ = open_postgres_database(through.empty() ? direct : through, options);
    conninfo_ = direct;
    open_runtime("store.db");
  }
  void open_runtime(const std::string& file) {
    runtime_.reset();
    runtime_.emplace(
        WorkflowRuntime::open(
            {.store = "sqlite:" + folder_.file(file), .action_threads = 4, .log = [](auto&) {}})
            .value());
    runtime_->register_workflow("Transfer", &banking::transfer).value();
  }
  DatabaseActionOptions options_of(const How& how) const {
    return {.run = {.retry = {.max_attempts = how.max_attempts,
                              .initial_interval = std::chrono::milliseconds(1)},
                    .timeout = how.timeout},
            .database = database_,
            .isolation = how.isolation};
  }
  void on_move(Handler handler, const How& how = {}) {
    runtime_
        ->register_database_action<Move>(
            [this, handler = std::move(handler)](const Move::Parameters& wanted, Transaction& sql,
                                                 const ActionContext& context) {
              ++calls_;
              return handler(wanted, sql, context);
            },
            options_of(how), true)
        .value();
  }

  SqlRows sql(const std::string_view text, const std::vector<SqlValue>& parameters = {}) {
    auto rows = straight_->connect(SessionUse::application).value()->run(text, parameters);
    if (!rows) throw FailureException(rows.error());
    return std::move(*rows);
  }
  std::int64_t number(const std::string_view text) {
    return std::get<std::int64_t>(sql(text).rows.at(0).at(0));
  }
  std::int64_t cents(const std::string& id = "a") {
    return std::get<std::int64_t>(
        sql("SELECT cents FROM accounts WHERE id = $1", {id}).rows.at(0).at(0));
  }
  std::int64_t outcomes() { return number("SELECT count(*) FROM public.pawl_action_results"); }

  std::string start(const std::string& how = "", const std::int64_t with = 0) {
    return runtime_->start_workflow("Transfer", Move::Parameters{how, with}, {.tenant = "acme"})
        .value();
  }
  ExecutionState ended(const std::string& id) {
    return runtime_->wait_for_workflow_completion(id, {.tenant = "acme"}).value().state;
  }
  ExecutionState run(const std::string& how = "", const std::int64_t with = 0) {
    return ended(start(how, with));
  }
  Result<std::string> ask(const std::string& key) {
    const auto asked =
        runtime_->execute_action<Move>({}, {.tenant = "acme", .idempotency_key = key});
    if (!asked) return asked.error();
    return Result<std::string>(boost::system::in_place_value, asked->text);
  }

  // A handler's usual beginning.
  static std::optional<Failure> take(Transaction& sql) {
    const auto taken = sql.execute(kTake);
    if (!taken) return taken.error();
    return std::nullopt;
  }

  TemporaryFolder folder_;
  std::string conninfo_;
  std::shared_ptr<Database> straight_;
  std::shared_ptr<Database> database_;
  std::optional<WorkflowRuntime> runtime_;
  std::atomic<int> calls_ = 0;
};

// rule: 14
TEST_F(PostgresActions, WhatAHandlerWritesAndItsResultAreOneCommit) {
  on_move([](auto&, Transaction& sql, auto&) -> SqlResult<Move::Result> {
    if (auto failed = take(sql)) return *failed;
    return said("done");
  });
  EXPECT_EQ(run().result.bytes, "\"done\"");
  EXPECT_EQ(cents(), 400);
  const SqlRows kept = sql("SELECT tenant, action_name, result FROM pawl_action_results");
  EXPECT_EQ(kept.rows.at(0), (std::vector<SqlValue>{std::string("acme"), std::string("Move"),
                                                    std::string(R"({"text":"done"})")}));
  // The store has none of it but the outcome.
  EXPECT_EQ(runtime_->check_integrity().value().findings.size(), 0U);
}

// rules: 14, 15
TEST_F(PostgresActions, AFailureWritesNothingAndTheNextAttemptBeginsAnew) {
  on_move([](const Move::Parameters& wanted, Transaction& sql,
             const ActionContext& context) -> SqlResult<Move::Result> {
    if (auto failed = take(sql)) return *failed;
    if (wanted.how == "throws") throw std::runtime_error("no");
    if (wanted.how == "again" && context.attempt == 1) return Failure{.message = "once"};
    if (wanted.how == "breaks a rule") {
      const auto added = sql.execute("INSERT INTO accounts VALUES(?, ?)", "a", 1);
      if (!added) return added.error();
    }
    return said(std::to_string(context.attempt));
  });
  EXPECT_EQ(run("throws").status, "failed");
  EXPECT_EQ(calls_, 3);
  EXPECT_EQ(cents(), 500);
  EXPECT_EQ(outcomes(), 0);
  EXPECT_EQ(run("again").result.bytes, "\"2\"");
  EXPECT_EQ(cents(), 400);
  calls_ = 0;
  const ExecutionState broken = run("breaks a rule");
  EXPECT_EQ(broken.error->code, "23505");
  EXPECT_EQ(calls_, 1) << "a violated constraint is not tried again";
  EXPECT_EQ(cents(), 400);
}

// rule: 14
TEST_F(PostgresActions, TheLevelThatIsAskedForIsTheTransactions) {
  for (const auto& [level, name] : {std::pair{IsolationLevel::read_uncommitted, "read committed"},
                                    std::pair{IsolationLevel::read_committed, "read committed"},
                                    std::pair{IsolationLevel::repeatable_read, "repeatable read"},
                                    std::pair{IsolationLevel::serializable, "serializable"}}) {
    on_move(
        [](auto&, Transaction& sql, auto&) -> SqlResult<Move::Result> {
          return said(sql.query_one<std::string>("SHOW transaction_isolation").value().value());
        },
        {.isolation = level});
    EXPECT_EQ(run().result.bytes, fmt::format("\"{}\"", name));
  }
}

// rules: 14, 15
TEST_F(PostgresActions, OfTwoThatReadWhatTheOtherWritesOneIsDoneAgain) {
  // Each account may be emptied as long as the other one is not.
  std::latch both_have_read(2);
  on_move(
      [&](const Move::Parameters& wanted, Transaction& sql,
          const ActionContext&) -> SqlResult<Move::Result> {
        const auto sum = sql.query_one<std::int64_t>("SELECT sum(cents)::int8 FROM accounts");
        if (!sum) return sum.error();
        if (calls_ <= 2) both_have_read.arrive_and_wait();
        if (**sum < 1'000) return said("too late");
        const auto emptied = sql.execute("UPDATE accounts SET cents = 0 WHERE id = ?", wanted.how);
        if (!emptied) return emptied.error();
        return said("emptied");
      },
      {.isolation = IsolationLevel::serializable, .max_attempts = 1});
  const std::string first = start("a");
  const std::string second = start("b");
  const std::vector<std::string> ends{ended(first).result.bytes, ended(second).result.bytes};
  EXPECT_THAT(ends, ::testing::UnorderedElementsAre("\"emptied\"", "\"too late\""));
  EXPECT_EQ(number("SELECT sum(cents)::int8 FROM accounts"), 500);
  EXPECT_EQ(calls_, 3);
}

// rules: 14, 15
TEST_F(PostgresActions, OneOfADeadlockIsDoneAgain) {
  std::latch both_have_one(2);
  on_move(
      [&](const Move::Parameters& wanted, Transaction& sql,
          const ActionContext&) -> SqlResult<Move::Result> {
        const bool waits = calls_ <= 2;
        for (const std::string& id : {wanted.how, std::string(wanted.how == "a" ? "b" : "a")}) {
          const auto taken = sql.execute("UPDATE accounts SET cents = cents - 1 WHERE id = $1", id);
          if (!taken) return taken.error();
          if (waits && id == wanted.how) both_have_one.arrive_and_wait();
        }
        return said("done");
      },
      {.max_attempts = 1});
  const std::string first = start("a");
  const std::string second = start("b");
  EXPECT_EQ(ended(first).status, "completed");
  EXPECT_EQ(ended(second).status, "completed");
  EXPECT_EQ(cents("a"), 498);
  EXPECT_EQ(cents("b"), 498);
  EXPECT_EQ(calls_, 3);
}

// rules: 14, 15
TEST_F(PostgresActions, AConflictThatTheHandlerHidesOrReplacesIsDoneAgainAsAWhole) {
  on_move(
      [&](const Move::Parameters& wanted, Transaction& sql,
          const ActionContext&) -> SqlResult<Move::Result> {
        if (auto failed = take(sql)) return *failed;
        if (calls_ % 3 == 0) return said("done");
        const auto failed =
            sql.execute("DO $$ BEGIN RAISE EXCEPTION 'made up' USING ERRCODE = '40001'; END $$");
        EXPECT_FALSE(failed);
        if (wanted.how == "handed on") return failed.error();
        if (wanted.how == "thrown") throw std::invalid_argument("no luck");
        if (wanted.how == "replaced") {
          return Failure{.message = "no luck", .failure_class = FailureClass::permanent};
        }
        return said("never");
      },
      {.max_attempts = 1});
  for (const char* const how : {"handed on", "thrown", "replaced", "hidden"}) {
    EXPECT_EQ(run(how).result.bytes, "\"done\"") << how;
  }
  EXPECT_EQ(calls_, 12);
  EXPECT_EQ(cents(), 100);
}

// rules: 14, 15
TEST_F(PostgresActions, ConflictsWithoutEndAreContentionAfterSixCalls) {
  on_move(
      [](auto&, Transaction& sql, auto&) -> SqlResult<Move::Result> {
        return sql.execute("DO $$ BEGIN RAISE EXCEPTION 'made up' USING ERRCODE = '40P01'; END $$")
            .error();
      },
      {.max_attempts = 2});
  const ExecutionState state = run();
  EXPECT_EQ(state.error->code, "40P01");
  EXPECT_EQ(state.error->failure_class, FailureClass::contention);
  EXPECT_EQ(calls_, 12);
}

// rules: 14, 15
TEST_F(PostgresActions, AFailedStatementThatTheHandlerHidesFailsTheActionForWhatItWas) {
  on_move([](const Move::Parameters& wanted, Transaction& sql,
             const ActionContext&) -> SqlResult<Move::Result> {
    if (auto failed = take(sql)) return *failed;
    EXPECT_FALSE(sql.execute("INSERT INTO accounts VALUES('a', 1)"));
    if (wanted.how == "goes on") {
      EXPECT_FALSE(sql.execute("SELECT 1"));
    }
    return said("done");
  });
  for (const char* const how : {"returns", "goes on"}) {
    const ExecutionState state = run(how);
    EXPECT_EQ(state.error->name, "HiddenFailureError");
    EXPECT_EQ(state.error->code, "23505");
    EXPECT_EQ(state.error->failure_class, FailureClass::consistency);
    EXPECT_THAT(state.error->message, HasSubstr("'Move' has failed"));
    EXPECT_THAT(state.error->message, HasSubstr("duplicate key"));
  }
  EXPECT_EQ(calls_, 2);
  EXPECT_EQ(cents(), 500);
  EXPECT_EQ(outcomes(), 0);
}

// rule: 14
TEST_F(PostgresActions, AHandlerCanNotEndItsTransactionBySql) {
  on_move([](const Move::Parameters& wanted, Transaction& sql,
             const ActionContext&) -> SqlResult<Move::Result> {
    if (auto failed = take(sql)) return *failed;
    const auto ended = sql.execute(wanted.how);
    if (!ended) return ended.error();
    return said("never");
  });
  for (const char* const statement : {"ROLLBACK", "rollback and chain", "COMMIT", "/* x */ END",
                                      "ABORT", "BEGIN", "PREPARE TRANSACTION 'x'"}) {
    const ExecutionState state = run(statement);
    EXPECT_EQ(state.error->name, "TransactionEndedError") << statement;
    EXPECT_EQ(state.error->failure_class, FailureClass::permanent);
  }
  EXPECT_EQ(run("SELECT 1; COMMIT").error->code, "42601");
  EXPECT_EQ(run("DO $$ BEGIN COMMIT; END $$").error->code, "2D000");
  // What makes the row another's is noticed too.
  EXPECT_EQ(run("DELETE FROM pawl_action_results").error->name, "TransactionEndedError");
  EXPECT_EQ(calls_, 10);
  EXPECT_EQ(cents(), 500);
  EXPECT_EQ(outcomes(), 0);
}

// rule: 14
TEST_F(PostgresActions, WhoeverTriesToEndItsTransactionHasNothingCommitted) {
  on_move([](const Move::Parameters& wanted, Transaction& sql,
             const ActionContext&) -> SqlResult<Move::Result> {
    if (auto failed = take(sql)) return *failed;
    return said(sql.execute(wanted.how) ? "ended" : "was not looked at");
  });
  for (const char* const statement : {"ROLLBACK", "COMMIT"}) {
    EXPECT_EQ(run(statement).error->name, "TransactionEndedError") << statement;
  }
  EXPECT_EQ(cents(), 500);
  EXPECT_EQ(outcomes(), 0);
}

// rule: 14
TEST_F(PostgresActions, WhatStatementsLeaveInASessionIsNotThereForTheNext) {
  on_move([](const Move::Parameters& wanted, Transaction& sql,
             const ActionContext&) -> SqlResult<Move::Result> {
    const auto done = sql.query<std::string>(wanted.how);
    if (!done) return done.error();
    return said(done->empty() ? "none" : done->front());
  });
  const std::string leaves =
      "SELECT set_config('pawl.left', concat(current_setting('pawl.left', true), 'x'), false)";
  for (int time = 0; time < 2; ++time) {
    const ExecutionState into = run("SELECT 1 AS n INTO TEMP t2");
    EXPECT_EQ(into.status, "completed") << (into.error ? into.error->message : "");
    EXPECT_THAT(run(leaves).result.bytes, HasSubstr("\"x\""));
  }
}

// rule: 14
TEST_F(PostgresActions, SavepointsAreTheHandlersOwn) {
  on_move([](const Move::Parameters& wanted, Transaction& sql,
             const ActionContext&) -> SqlResult<Move::Result> {
    sql.execute("SAVEPOINT before").value();
    EXPECT_FALSE(sql.execute("INSERT INTO accounts VALUES('a', 1)"));
    sql.execute("ROLLBACK TO before").value();
    if (wanted.how == "left open") sql.execute("SAVEPOINT open").value();
    if (auto failed = take(sql)) return *failed;
    return said("done");
  });
  EXPECT_EQ(run("closed").result.bytes, "\"done\"");
  EXPECT_EQ(run("left open").result.bytes, "\"done\"");
  EXPECT_EQ(cents(), 300);
}

// rules: 14, 15
TEST_F(PostgresActions, WhatTheCommitRefusesIsNotDone) {
  sql("CREATE TABLE owners(account text REFERENCES accounts DEFERRABLE INITIALLY DEFERRED)");
  on_move([](auto&, Transaction& sql, auto&) -> SqlResult<Move::Result> {
    if (auto failed = take(sql)) return *failed;
    sql.execute("INSERT INTO owners VALUES('nobody')").value();
    return said("done");
  });
  const ExecutionState state = run();
  EXPECT_EQ(state.error->code, "23503");
  EXPECT_EQ(state.error->failure_class, FailureClass::consistency);
  EXPECT_EQ(cents(), 500);
  EXPECT_EQ(outcomes(), 0);
}

// rules: 14, 15
TEST_F(PostgresActions, AStatementThatRunsWhenTimeIsUpIsCancelled) {
  on_move(
      [](auto&, Transaction& sql, const ActionContext& context) -> SqlResult<Move::Result> {
        // Also what is locked outside of the savepoint is let go.
        if (auto failed = take(sql)) return *failed;
        sql.execute("SAVEPOINT s").value();
        if (context.attempt == 1) {
          EXPECT_FALSE(sql.execute("SELECT pg_sleep(20)"));
          EXPECT_FALSE(sql.execute("SELECT 1"));
          std::this_thread::sleep_for(500ms);
        }
        return said(std::to_string(context.attempt));
      },
      {.max_attempts = 2, .timeout = 1'000ms});
  const auto began = std::chrono::steady_clock::now();
  EXPECT_EQ(run().result.bytes, "\"2\"");
  EXPECT_LT(std::chrono::steady_clock::now() - began, 5s);
  EXPECT_EQ(cents(), 400);
  EXPECT_EQ(number("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%sleep(20)%' AND "
                   "state = 'active' AND pid <> pg_backend_pid()"),
            0);
}

// rules: 14, 15
TEST_F(PostgresActions, WhatIsOpenWhenTimeIsUpIsRolledBackThoughTheHandlerGoesOn) {
  std::promise<void> second_is_done;
  on_move(
      [&](auto&, Transaction& sql, const ActionContext& context) -> SqlResult<Move::Result> {
        if (auto failed = take(sql)) return *failed;
        if (context.attempt == 1) {
          // It looks neither at context.stop nor at the database.
          EXPECT_EQ(second_is_done.get_future().wait_for(20s), std::future_status::ready);
          EXPECT_FALSE(sql.execute("SELECT 1"));
        }
        return said(std::to_string(context.attempt));
      },
      {.max_attempts = 2, .timeout = 1'000ms});
  EXPECT_EQ(run().result.bytes, "\"2\"");
  second_is_done.set_value();
  runtime_->close();
  EXPECT_EQ(cents(), 400);
  EXPECT_EQ(calls_, 2);
}

// rules: 14, 15
TEST_F(PostgresActions, WhoseTimeIsUpBeforeItHasAConnectionCallsNoHandler) {
  open(conninfo_, "", {.connections_max = 1});
  on_move([](auto&, Transaction&, auto&) -> SqlResult<Move::Result> { return said("x"); },
          {.max_attempts = 1, .timeout = 200ms});
  auto held = database_->connect(SessionUse::application).value();
  EXPECT_EQ(run().error->name, "TimeoutError");
  held.reset();
  std::this_thread::sleep_for(50ms);
  EXPECT_EQ(calls_, 0);
}

// rules: 14, 15
TEST_F(PostgresActions, WhoseTimeIsUpWhileItWaitsForAnotherOneCallsNoHandler) {
  std::vector<int> attempts;
  on_move(
      [&](auto&, Transaction&, const ActionContext& context) -> SqlResult<Move::Result> {
        attempts.push_back(context.attempt);
        return said(std::to_string(context.attempt));
      },
      {.timeout = 400ms});
  ask("first").value();
  // As an attempt in another process would have it.
  const auto other = straight_->connect(SessionUse::application).value();
  other->begin().value();
  other->run("INSERT INTO pawl_action_results VALUES('acme', 'k', 'move', '')", {}).value();
  auto asked = std::async(std::launch::async, [&] { return ask("k"); });
  std::this_thread::sleep_for(600ms);
  other->roll_back();
  EXPECT_EQ(asked.get().value(), "2");
  EXPECT_EQ(attempts, (std::vector{1, 2}));
}

class PostgresLostAnswer : public PostgresActions {};

// rule: 14
TEST_F(PostgresLostAnswer, ACommitWhoseAnswerIsLostIsLookedUp) {
  CuttingProxy proxy(server()->port());
  const auto at = conninfo_.find("dbname=");
  open(conninfo_, PostgresServer::conninfo(
                      conninfo_.substr(at + 7, conninfo_.find(' ', at) - at - 7), proxy.port()));
  on_move(
      [](auto&, Transaction& sql, const ActionContext& context) -> SqlResult<Move::Result> {
        if (auto failed = take(sql)) return *failed;
        return said(std::to_string(context.attempt));
      },
      {.max_attempts = 2});
  EXPECT_EQ(run().result.bytes, "\"1\"");
  EXPECT_EQ(cents(), 400);
  const std::string commit("\0COMMIT\0", 8);
  proxy.cut_at(commit, true);
  EXPECT_EQ(run().result.bytes, "\"1\"") << "it was committed, and is found";
  EXPECT_EQ(cents(), 300);
  EXPECT_EQ(calls_, 2);
  proxy.cut_at(commit, false);
  EXPECT_EQ(run().result.bytes, "\"2\"") << "it was not, and is tried again";
  EXPECT_EQ(cents(), 200);
  EXPECT_EQ(calls_, 4);
  // Any other statement: the attempt has failed, and nothing is written.
  proxy.cut_at("SET cents", true);
  EXPECT_EQ(run().result.bytes, "\"2\"");
  EXPECT_EQ(cents(), 100);
  EXPECT_EQ(proxy.cuts(), 3);
}

// rule: 14
TEST_F(PostgresActions, RunsOncePerKeyOutsideOfWorkflowsToo) {
  on_move([&](auto&, Transaction& sql, auto&) -> SqlResult<Move::Result> {
    if (auto failed = take(sql)) return *failed;
    return said(std::to_string(calls_.load()));
  });
  EXPECT_EQ(ask("k").value(), "1");
  EXPECT_EQ(ask("k").value(), "1");
  // Another process, with a store of its own and the same database; and what TypeScript has done there.
  open_runtime("other.db");
  on_move([](auto&, Transaction&, auto&) -> SqlResult<Move::Result> { return said("never"); });
  EXPECT_EQ(ask("k").value(), "1");
  sql("INSERT INTO pawl_action_results VALUES('acme', 'ts', 'move', '', '{\"text\":\"moved\"}')");
  EXPECT_EQ(ask("ts").value(), "moved");
  EXPECT_EQ(calls_, 1);
  EXPECT_EQ(cents(), 400);
  runtime_
      ->register_database_action<Look>(
          [](const Look::Parameters&, Transaction&) { return std::string("seen"); }, options_of({}))
      .value();
  open_runtime("third.db");
  runtime_
      ->register_database_action<Look>(
          [](const Look::Parameters&, Transaction&) { return std::string("seen"); }, options_of({}))
      .value();
  const auto another =
      runtime_->execute_action<Look>({}, {.tenant = "acme", .idempotency_key = "k"});
  ASSERT_FALSE(another);
  EXPECT_THAT(another.error().message, HasSubstr("'k' was used for the action 'Move'"));
}

// rules: 14, 15
TEST_F(PostgresActions, AServerThatStartsAnewInTheMiddleLosesNothing) {
  PostgresServer mine;
  straight_.reset();
  open(mine.new_database());
  on_move([&](auto&, Transaction& sql, const ActionContext& context) -> SqlResult<Move::Result> {
    if (auto failed = take(sql)) return *failed;
    if (context.attempt == 1) {
      mine.stop(true);
      mine.start();
      const auto lost = sql.execute("SELECT 1");
      EXPECT_FALSE(lost);
      return lost.error();
    }
    return said(std::to_string(context.attempt));
  });
  EXPECT_EQ(run().result.bytes, "\"2\"");
  EXPECT_EQ(cents(), 400);
  EXPECT_EQ(outcomes(), 1);
  runtime_->close();
}

// rule: 14
TEST_F(PostgresActions, AHandlerMayChangeWhereTablesAreLookedFor) {
  sql("CREATE SCHEMA acme");
  sql("CREATE TABLE acme.accounts(id text PRIMARY KEY, cents int)");
  sql("INSERT INTO acme.accounts VALUES('a', 700)");
  on_move([](const Move::Parameters& wanted, Transaction& sql,
             const ActionContext&) -> SqlResult<Move::Result> {
    sql.execute(wanted.how + " search_path = acme").value();
    if (auto failed = take(sql)) return *failed;
    return said("done");
  });
  for (const char* const set : {"SET LOCAL", "SET", "SET"}) EXPECT_EQ(run(set).status, "completed");
  EXPECT_EQ(number("SELECT cents FROM acme.accounts"), 400);
  EXPECT_EQ(cents(), 500);
  EXPECT_EQ(outcomes(), 3);
}

// rule: 14
TEST_F(PostgresActions, OfTwoAttemptsAtOnceTheSecondGetsWhatTheFirstHasCommitted) {
  // As two processes have one each.
  const std::vector databases{open_postgres_database(conninfo_), open_postgres_database(conninfo_)};
  std::atomic<int> done = 0;
  for (const auto level : {IsolationLevel::read_committed, IsolationLevel::repeatable_read,
                           IsolationLevel::serializable}) {
    for (int i = 0; i < 10; ++i) {
      ActionTask task;
      task.tenant = "acme";
      task.name = "Move";
      task.idempotency_key = fmt::format("{} {}", static_cast<int>(level), i);
      const auto attempt = [&](const std::shared_ptr<Database>& database) {
        return database->attempt({task, level, {}},
                                 [&](Transaction& sql) -> std::variant<Payload, Failure> {
                                   if (auto failed = take(sql)) return *failed;
                                   std::this_thread::sleep_for(2ms);
                                   return Payload::json(std::to_string(++done));
                                 });
      };
      auto other = std::async(std::launch::async, attempt, databases[1]);
      const auto first = attempt(databases[0]);
      const auto second = other.get();
      ASSERT_TRUE(std::holds_alternative<Payload>(first)) << std::get<Failure>(first).message;
      EXPECT_EQ(first, second);
    }
  }
  EXPECT_EQ(cents(), 500 - 100 * 30);
  EXPECT_EQ(outcomes(), 30);
}

// rule: 14
TEST_F(PostgresActions, MoreExecutionsThanConnections) {
  open(conninfo_, "", {.connections_max = 2});
  on_move([](auto&, Transaction& sql, auto&) -> SqlResult<Move::Result> {
    if (auto failed = take(sql)) return *failed;
    return said("done");
  });
  std::vector<std::string> ids;
  for (int i = 0; i < 100; ++i) ids.push_back(start());
  for (const std::string& id : ids) EXPECT_EQ(ended(id).status, "completed");
  EXPECT_EQ(cents(), 500 - 100 * 100);
  EXPECT_EQ(outcomes(), 100);
}

TEST_F(PostgresActions, WhoMayNotCreateTheTableIsToldWhatToDo) {
  sql("CREATE USER clerk");
  sql("REVOKE CREATE ON SCHEMA public FROM PUBLIC");
  open(conninfo_, conninfo_ + " user=clerk");
  on_move([](auto&, Transaction&, auto&) -> SqlResult<Move::Result> { return said("x"); });
  const ExecutionState state = run();
  EXPECT_EQ(state.error->failure_class, FailureClass::permanent);
  EXPECT_THAT(state.error->message, HasSubstr("Have it created: CREATE TABLE"));
  EXPECT_EQ(calls_, 0);
}

}  // namespace
}  // namespace pawl
