#include "postgres/sql_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace pawl {
namespace {

using ::testing::HasSubstr;

std::string text_of(const std::string_view sql, const bool backslashes = false) {
  const auto read = read_sql_text(sql, backslashes);
  return read ? read->text : "refused: " + read.error().message;
}

int parameters_of(const std::string_view sql) { return read_sql_text(sql).value().parameters; }

TEST(SqlText, MarksAreNumbered) {
  EXPECT_EQ(text_of("SELECT ?, ?"), "SELECT  $1,  $2");
  EXPECT_EQ(text_of("UPDATE t SET a=a-? WHERE b=?::int"), "UPDATE t SET a=a- $1 WHERE b= $2::int");
  EXPECT_EQ(text_of("SELECT ?2, ?1, ?"), "SELECT  $2,  $1,  $3");
  EXPECT_EQ(text_of("SELECT 1?AND"), "SELECT 1 $1 AND");
  EXPECT_EQ(parameters_of("SELECT ?3"), 3);
  EXPECT_EQ(parameters_of("SELECT 1"), 0);
}

TEST(SqlText, DollarsStay) {
  EXPECT_EQ(text_of("SELECT $2, $1"), "SELECT $2, $1");
  EXPECT_EQ(parameters_of("SELECT $2, $1, $1"), 2);
  // A name may have dollars in it.
  EXPECT_EQ(parameters_of("SELECT a$1 FROM b$2"), 0);
}

TEST(SqlText, OperatorsWithQuestionMarks) {
  EXPECT_EQ(text_of("SELECT a ?? 'k', a ??| b, a ??& ?"), "SELECT a ? 'k', a ?| b, a ?&  $1");
  EXPECT_EQ(text_of("SELECT a ? $1, a ?| $2, b @? $3"), "SELECT a ? $1, a ?| $2, b @? $3");
}

TEST(SqlText, WhatIsQuotedIsLeftAlone) {
  for (const std::string sql : {
           R"(SELECT '?', 'it''s ? $9')",
           R"(SELECT E'\'?', e'a\\', E'''?')",
           "SELECT E'a'\n  -- ?\n '\\'?'",
           R"(SELECT "a?""$7?" FROM "?")",
           "SELECT 1 -- ? $5\n",
           "SELECT 1 --?",
           "SELECT /* ? /* $3 ? */ ? */ 1",
           "SELECT $$ ? $1 $x$ ' $$",
           "SELECT $a_1$ ? $$ $b$ $a_1$",
           "SELECT $a$ never closed ?",
           "SELECT 'never closed ?",
           "SELECT /* never closed ?",
           "SELECT U&'?', B'1', x'?'",
       }) {
    EXPECT_EQ(text_of(sql), sql);
    EXPECT_EQ(parameters_of(sql), 0) << sql;
  }
  // Without E a backslash is one, unless the server has it otherwise.
  EXPECT_EQ(text_of(R"(SELECT 'a\', ?)"), R"(SELECT 'a\',  $1)");
  EXPECT_EQ(text_of(R"(SELECT 'a\', ?')", true), R"(SELECT 'a\', ?')");
  // Here the E is the end of a name.
  EXPECT_EQ(text_of(R"(SELECT date'a\', ?)"), R"(SELECT date'a\',  $1)");
  // No line ends between these two.
  EXPECT_EQ(text_of(R"(SELECT E'a' '\', ?)"), R"(SELECT E'a' '\',  $1)");
}

TEST(SqlText, NumbersThatAreNone) {
  for (const std::string sql :
       {"SELECT $0", "SELECT ?0", "SELECT $65536", "SELECT ?99999999999999999999"}) {
    EXPECT_THAT(text_of(sql), HasSubstr("refused: there is no parameter")) << sql;
  }
  EXPECT_THAT(text_of("SELECT $1, ?2"), HasSubstr("not both"));
}

TEST(SqlText, WhatEndsATransaction) {
  for (const char* const sql :
       {"COMMIT", "commit and chain", "END", "ABORT", "BEGIN", "START TRANSACTION", "ROLLBACK",
        "ROLLBACK WORK", "ROLLBACK AND CHAIN", " ; /* x */ -- y\n ROLLBACK", "ROLLBACK;",
        "PREPARE TRANSACTION 'x'", "COMMIT PREPARED 'x'"}) {
    EXPECT_TRUE(read_sql_text(sql)->ends_transaction) << sql;
  }
  for (const char* const sql :
       {"ROLLBACK TO a", "rollback to savepoint a", "ROLLBACK WORK TO a", "SAVEPOINT commit",
        "RELEASE a", "SELECT 'COMMIT'", "PREPARE x AS SELECT 1", "(SELECT 1) -- COMMIT", ""}) {
    EXPECT_FALSE(read_sql_text(sql)->ends_transaction) << sql;
  }
}

TEST(SqlText, WhatMayStayInTheSession) {
  for (const char* const sql :
       {"SET search_path = x", "LISTEN x", "CREATE TEMP TABLE x()", "DO $$$$",
        "SELECT 1 INTO TEMP t", "with a as (select 1) select * into temporary t from a",
        "SELECT set_config('a.b', '1', false)", "SELECT pg_advisory_lock(7)"}) {
    EXPECT_TRUE(read_sql_text(sql)->changes_session) << sql;
  }
  for (const char* const sql : {"SELECT 1", "with x AS (SELECT 1) SELECT 1", "(SELECT 1)",
                                "INSERT INTO x SELECT 1", "SELECT 'INTO'"}) {
    EXPECT_FALSE(read_sql_text(sql)->changes_session) << sql;
  }
}

}  // namespace
}  // namespace pawl
