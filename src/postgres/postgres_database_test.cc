#include "pawl/postgres.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "postgres/sql_state.h"
#include "tests/support/postgres_server.h"

namespace people {

struct Person {
  std::string name;
  std::int64_t age = 0;
  bool member = false;
  std::optional<double> height;
  pawl::Blob picture;
};
PAWL_DESCRIBE(Person, name, age, member, height, picture);

}  // namespace people

namespace pawl {
namespace {

using people::Person;
using test::PostgresServer;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

// One server for all tests of a process.
PostgresServer* server() {
  static const auto instance = std::make_unique<PostgresServer>();
  return instance.get();
}

class PostgresDatabaseTest : public ::testing::Test {
 protected:
  void SetUp() override {
    conninfo_ = server()->new_database();
    database_ = open_postgres_database(conninfo_);
  }
  std::unique_ptr<SqlSession> connect() {
    auto session = database_->connect(SessionUse::application);
    if (!session) throw FailureException(session.error());
    return std::move(*session);
  }
  static Failure failure_of(SqlSession& session, const std::string_view sql,
                            const std::vector<SqlValue>& parameters = {}) {
    const auto rows = session.run(sql, parameters);
    EXPECT_FALSE(rows) << sql;
    return rows ? Failure{} : rows.error();
  }
  static SqlValue one(SqlSession& session, const std::string_view sql,
                      const std::vector<SqlValue>& parameters = {}) {
    return session.run(sql, parameters).value().rows.at(0).at(0);
  }

  std::string conninfo_;
  std::shared_ptr<Database> database_;
};

TEST_F(PostgresDatabaseTest, ValuesOfEveryKindComeBackAsTheyWent) {
  const auto session = connect();
  session
      ->run(
          "CREATE TABLE t(i8 int8, i2 int2, b bool, d float8, r float4, t text, y bytea, n "
          "numeric, j jsonb, "
          "at timestamptz)",
          {})
      .value();
  const Blob bytes{std::byte{0}, std::byte{255}, std::byte{'\\'}, std::byte{'\''}};
  const std::int64_t least = std::numeric_limits<std::int64_t>::min();
  const auto added = session->run(
      "INSERT INTO t VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      {least, std::int64_t{-7}, std::int64_t{1}, 0.1, 1.5, std::string("it's ? ü \\"), bytes,
       std::string("12.50"), std::string(R"({"a": 1})"), std::string("2026-01-02T03:04:05Z")});
  ASSERT_TRUE(added) << added.error().message;
  EXPECT_EQ(added->changed, 1);
  session->run("SET timezone = 'UTC'", {}).value();
  const SqlRows rows = session->run("SELECT * FROM t", {}).value();
  EXPECT_EQ(rows.changed, 0);
  EXPECT_EQ(rows.columns.front(), "i8");
  EXPECT_EQ(
      rows.rows.at(0),
      (std::vector<SqlValue>{least, std::int64_t{-7}, std::int64_t{1}, 0.1, 1.5,
                             std::string("it's ? ü \\"), bytes, std::string("12.50"),
                             std::string(R"({"a": 1})"), std::string("2026-01-02 03:04:05+00")}));
  EXPECT_EQ(one(*session, "SELECT $1::text", {std::monostate{}}), SqlValue{});
  EXPECT_EQ(one(*session, "SELECT ?", {Blob{}}), SqlValue{Blob{}});
  session->run("SET bytea_output = 'escape'", {}).value();
  EXPECT_EQ(one(*session, "SELECT ?", {bytes}), SqlValue{bytes});
  for (const double number : {1e308, 5e-324, -0.0, std::numeric_limits<double>::infinity(), 2.0}) {
    EXPECT_EQ(one(*session, "SELECT ?::float8", {number}), SqlValue{number});
  }
  EXPECT_TRUE(std::isnan(std::get<double>(one(*session, "SELECT ?::float8", {std::nan("")}))));
}

TEST_F(PostgresDatabaseTest, RowsAreReadIntoDescribedStructs) {
  const auto session = connect();
  Transaction sql(*session);
  EXPECT_EQ(
      sql.execute(
             "CREATE TABLE people(name text, age int, member bool, height float8, picture bytea)")
          .value(),
      0);
  const Blob picture{std::byte{1}};
  EXPECT_EQ(
      sql.execute("INSERT INTO people VALUES(?, ?, ?, ?, ?)", "Ada", 36, true, nullptr, picture)
          .value(),
      1);
  const auto found =
      sql.query_one<Person>("SELECT * FROM people WHERE age > $1 AND name = $2", 30, "Ada");
  ASSERT_TRUE(found) << found.error().message;
  ASSERT_TRUE(*found);
  EXPECT_EQ((*found)->name, "Ada");
  EXPECT_EQ((*found)->age, 36);
  EXPECT_TRUE((*found)->member);
  EXPECT_EQ((*found)->height, std::nullopt);
  EXPECT_EQ((*found)->picture, picture);
  EXPECT_EQ(sql.query<bool>("SELECT 1 < 2").value(), std::vector<bool>{true});
  EXPECT_EQ(sql.execute("UPDATE people SET age = age + 1").value(), 1);
  EXPECT_EQ(sql.query_one<int>("INSERT INTO people(age) VALUES(1) RETURNING age").value(), 1);
  EXPECT_THAT(sql.query<int>("SELECT name FROM people").error().message,
              HasSubstr("no whole number"));
}

TEST_F(PostgresDatabaseTest, ErrorsSayWhatWasWrongWithWhichStatement) {
  const auto session = connect();
  session->run("CREATE TABLE t(id int PRIMARY KEY, what text NOT NULL)", {}).value();
  session->run("INSERT INTO t VALUES(1, 'x')", {}).value();
  const Failure twice = failure_of(*session, "INSERT INTO t VALUES(?, 'y')", {std::int64_t{1}});
  EXPECT_EQ(twice.name, "PostgresError");
  EXPECT_EQ(twice.code, "23505");
  EXPECT_EQ(twice.failure_class, FailureClass::consistency);
  EXPECT_THAT(twice.message,
              HasSubstr("duplicate key value violates unique constraint \"t_pkey\""));
  EXPECT_THAT(twice.message, HasSubstr("Key (id)=(1) already exists"));
  EXPECT_THAT(twice.message, HasSubstr("INSERT INTO t"));
  EXPECT_THAT(twice.details_json, HasSubstr(R"("constraint":"t_pkey")"));

  EXPECT_EQ(failure_of(*session, "SELEC 1").code, "42601");
  EXPECT_EQ(failure_of(*session, "SELECT 1/0").failure_class, FailureClass::permanent);
  EXPECT_EQ(failure_of(*session, "").code, "42601");
  const Failure two = failure_of(*session, "SELECT 1; SELECT 2");
  EXPECT_EQ(two.code, "42601");
  EXPECT_THAT(two.message, HasSubstr("multiple commands"));
  EXPECT_THAT(failure_of(*session, "SELECT ?").message,
              HasSubstr("0 parameters were given, the statement has 1"));
  EXPECT_EQ(failure_of(*session, "SELECT 1", {std::int64_t{1}}).failure_class,
            FailureClass::validation);
  EXPECT_THAT(failure_of(*session, "SELECT ?::text", {std::string("a\0b", 3)}).message,
              HasSubstr("NUL"));
  EXPECT_THAT(failure_of(*session, std::string_view("SELECT 1\0 + 1", 13)).message,
              HasSubstr("NUL"));
  EXPECT_EQ(failure_of(*session, "SELECT ?::int", {std::string("x")}).code, "22P02");
  for (const char* const sql : {"BEGIN", "COMMIT", "ROLLBACK", "PREPARE TRANSACTION 'x'"}) {
    EXPECT_EQ(failure_of(*session, sql).name, "TransactionEndedError") << sql;
  }
  EXPECT_EQ(one(*session, "SELECT 1"), SqlValue{std::int64_t{1}});
  EXPECT_EQ(failure_of(*session, "COPY t TO STDOUT").code, "0A000");
}

TEST_F(PostgresDatabaseTest, ATransactionIsCommittedOrRolledBack) {
  const auto session = connect();
  const auto other = connect();
  session->run("CREATE TABLE t(n int)", {}).value();
  session->begin().value();
  EXPECT_FALSE(session->begin());
  session->run("INSERT INTO t VALUES(1)", {}).value();
  EXPECT_EQ(one(*other, "SELECT count(*) FROM t"), SqlValue{std::int64_t{0}});
  session->commit().value();
  EXPECT_EQ(one(*other, "SELECT count(*) FROM t"), SqlValue{std::int64_t{1}});
  session->begin(IsolationLevel::repeatable_read).value();
  EXPECT_EQ(one(*session, "SHOW transaction_isolation"), SqlValue{std::string("repeatable read")});
  session->run("DELETE FROM t", {}).value();
  session->roll_back();
  EXPECT_EQ(one(*other, "SELECT count(*) FROM t"), SqlValue{std::int64_t{1}});
  // One in which a statement has failed is not committed, whoever looked away.
  session->begin().value();
  session->run("DELETE FROM t", {}).value();
  EXPECT_FALSE(session->run("SELECT 1/0", {}));
  const auto committed = session->commit();
  ASSERT_FALSE(committed);
  EXPECT_THAT(committed.error().message, HasSubstr("division by zero"));
  EXPECT_EQ(one(*other, "SELECT count(*) FROM t"), SqlValue{std::int64_t{1}});
}

TEST_F(PostgresDatabaseTest, ASessionLeavesNothingToTheNext) {
  database_ = open_postgres_database(conninfo_, {.connections_max = 1, .statement_max = 7s});
  const auto pid = [&] { return one(*connect(), "SELECT pg_backend_pid()"); };
  const SqlValue before = pid();
  {
    const auto session = connect();
    session->run("SET search_path = nowhere", {}).value();
    session->begin().value();
    session->run("CREATE TABLE never()", {}).error();
    session->run("SELECT 1", {}).error();
  }
  EXPECT_EQ(pid(), before);
  EXPECT_EQ(one(*connect(), "SHOW search_path"), SqlValue{std::string("\"$user\", public")});
  EXPECT_EQ(one(*connect(), "SHOW statement_timeout"), SqlValue{std::string("7s")});
}

TEST_F(PostgresDatabaseTest, NoMoreConnectionsThanItMayHave) {
  database_ =
      open_postgres_database(conninfo_, {.connections_max = 2, .connection_wait_max = 100ms});
  auto first = connect();
  const auto second = connect();
  const auto third = database_->connect(SessionUse::application);
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().code, "connections_max");
  EXPECT_TRUE(is_retryable(third.error().failure_class));
  first.reset();
  EXPECT_TRUE(database_->connect(SessionUse::application));
}

TEST_F(PostgresDatabaseTest, BoundsOfStatementsAndLocks) {
  database_ = open_postgres_database(conninfo_, {.statement_max = 300ms, .lock_wait_max = 100ms});
  const auto session = connect();
  const Failure slow = failure_of(*session, "SELECT pg_sleep(20)");
  EXPECT_EQ(slow.code, "57014");
  EXPECT_EQ(slow.failure_class, FailureClass::timeout);
  session->run("CREATE TABLE t(n int)", {}).value();
  session->begin().value();
  session->run("LOCK TABLE t", {}).value();
  const Failure locked = failure_of(*connect(), "SELECT * FROM t");
  EXPECT_EQ(locked.code, "55P03");
  EXPECT_EQ(locked.failure_class, FailureClass::contention);
}

TEST_F(PostgresDatabaseTest, AServerThatStartsAnewIsFoundAgain) {
  // One of its own, since others would be cut off.
  PostgresServer mine;
  database_ = open_postgres_database(mine.new_database());
  auto session = connect();
  const auto kept = connect();
  session->begin().value();
  session->run("CREATE TABLE t(n int)", {}).value();
  mine.stop();
  const Failure lost = failure_of(*session, "SELECT 1");
  EXPECT_EQ(lost.failure_class, FailureClass::external) << lost.code << lost.message;
  EXPECT_FALSE(session->commit());
  session.reset();
  const auto refused = database_->connect(SessionUse::application);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().failure_class, FailureClass::external);
  mine.start();
  EXPECT_EQ(one(*connect(), "SELECT to_regclass('t')::text"), SqlValue{});
}

TEST_F(PostgresDatabaseTest, WhatIsClosedSaysSo) {
  const auto session = connect();
  session->begin().value();
  session->run("CREATE TABLE t(n int)", {}).value();
  std::thread closing([&] {
    std::this_thread::sleep_for(100ms);
    database_->close();
  });
  EXPECT_FALSE(session->run("SELECT pg_sleep(20)", {}));
  closing.join();
  EXPECT_FALSE(session->run("SELECT 1", {}));
  EXPECT_EQ(database_->connect(SessionUse::application).error().code, "closed");
  database_ = open_postgres_database(conninfo_);
  EXPECT_EQ(one(*connect(), "SELECT to_regclass('t')::text"), SqlValue{});
}

TEST(PostgresDatabase, WhatCanNotBeConnectedToSaysWhy) {
  const auto nobody = open_postgres_database(PostgresServer::conninfo("x", test::free_port()))
                          ->connect(SessionUse::application);
  ASSERT_FALSE(nobody);
  EXPECT_EQ(nobody.error().code, "08001");
  EXPECT_EQ(nobody.error().failure_class, FailureClass::external);
  EXPECT_THAT(nobody.error().message, HasSubstr("refused"));
  const auto wrong = open_postgres_database("hots=x")->connect(SessionUse::application);
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().failure_class, FailureClass::permanent);
  EXPECT_THAT(wrong.error().message, HasSubstr("hots"));
  const auto parameters = open_postgres_database("host=10.255.255.1", {.connect_max = 100ms});
  EXPECT_FALSE(parameters->connect(SessionUse::application));
}

// rule: 15
TEST(SqlState, ClassesAreThoseOfTheTypeScriptPackage) {
  EXPECT_EQ(class_of_sql_state("40001"), FailureClass::contention);
  EXPECT_EQ(class_of_sql_state("40002"), FailureClass::consistency);
  EXPECT_EQ(class_of_sql_state("40P01"), FailureClass::contention);
  EXPECT_EQ(class_of_sql_state("23505"), FailureClass::consistency);
  EXPECT_EQ(class_of_sql_state("57014"), FailureClass::timeout);
  EXPECT_EQ(class_of_sql_state("57P01"), FailureClass::external);
  EXPECT_EQ(class_of_sql_state("57P04"), FailureClass::permanent);
  EXPECT_EQ(class_of_sql_state("25006"), FailureClass::external);
  EXPECT_EQ(class_of_sql_state("22012"), FailureClass::permanent);
  EXPECT_EQ(class_of_sql_state("P0001"), FailureClass::permanent);
  EXPECT_EQ(class_of_sql_state("XX000"), FailureClass::transient);
  EXPECT_EQ(class_of_sql_state(""), FailureClass::transient);
}

}  // namespace
}  // namespace pawl
