#include "postgres/store/postgres_store.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <libpq-fe.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "postgres/store/rows.h"
#include "tests/support/cutting_proxy.h"
#include "tests/support/operator_rows_conformance.h"
#include "tests/support/postgres_server.h"
#include "tests/support/store_conformance.h"

namespace pawl {
namespace {

using namespace std::chrono_literals;

test::PostgresServer& server() {
  static test::PostgresServer one;
  return one;
}

struct PostgresMaker {
  std::string conninfo = server().new_database();
  std::unique_ptr<Store> open() {
    PostgresStoreOptions options;
    options.conninfo = conninfo;
    auto store = open_postgres_store(options);
    EXPECT_TRUE(store) << store.error().message;
    return store ? std::move(*store) : nullptr;
  }
};

INSTANTIATE_TYPED_TEST_SUITE_P(PostgresStore, StoreConformance, PostgresMaker);
INSTANTIATE_TYPED_TEST_SUITE_P(PostgresStore, OperatorRowsConformance, PostgresMaker);

class PostgresStoreTest : public ::testing::Test {
 protected:
  ~PostgresStoreTest() override {
    if (store_) store_->close();
  }

  Store& open(PostgresStoreOptions options = {}) {
    if (options.conninfo.empty()) options.conninfo = conninfo_;
    auto opened = open_postgres_store(options);
    if (!opened) throw std::runtime_error(opened.error().message);
    store_ = std::move(*opened);
    driver_ = std::make_unique<StoreDriver>();
    store_->start(*driver_);
    driver_->attach(*store_);
    return *store_;
  }

  // What an operator's psql does: the first column of the first row.
  std::string sql(const std::string& text) const {
    return test::PostgresServer::ask(conninfo_, text);
  }

  // An id whose execution is in that partition.
  static std::string id_in(const int partition, const int partitions) {
    for (int number = 0;; ++number) {
      std::string id = fmt::format("order-{}", number);
      if (partition_of("acme", id, partitions) == partition) return id;
    }
  }

  Transition start_of(const std::string& id) {
    return start_transition(store_->next_execution_ref("acme", id), "acme", id);
  }

  const std::string conninfo_ = server().new_database();
  int mail_ = 0;
  std::unique_ptr<StoreDriver> driver_;
  std::unique_ptr<Store> store_;
};

TEST_F(PostgresStoreTest, AnExecutionIsInThePartitionOfItsId) {
  open({.partitions = 8});
  for (int partition = 0; partition < 8; ++partition) {
    const std::string id = id_in(partition, 8);
    EXPECT_EQ(partition_of(store_->next_execution_ref("acme", id)), partition);
    ASSERT_FALSE(driver_->commit_and_wait({start_of(id)}));
  }
  EXPECT_EQ(sql("SELECT count(DISTINCT partition) FROM workflow_executions"), "8");
}

TEST_F(PostgresStoreTest, ALostPartitionLeavesTheRestOfTheBatchWhole) {
  open({.partitions = 2});
  const Transition lost = start_of(id_in(0, 2));
  const Transition kept = start_of(id_in(1, 2));
  sql("UPDATE workflow_partitions SET owner = 'another', epoch = epoch + 1 WHERE partition = 0");
  driver_->commit({{0, 0, 1, lost}, {1, 0, 1, kept}});
  driver_->wait_for(0, 1);
  driver_->wait_for(1, 1);
  ASSERT_TRUE(driver_->error_of(0, 1));
  EXPECT_NE(driver_->error_of(0, 1)->message.find("partition 0"), std::string::npos);
  EXPECT_FALSE(driver_->error_of(1, 1));
  EXPECT_EQ(sql("SELECT string_agg(execution_id, ',') FROM workflow_executions"),
            kept.created->execution_id);
}

TEST_F(PostgresStoreTest, ARefusedCommitLeavesTheOthersOfTheBatchWhole) {
  open({.partitions = 1});
  const Transition first = start_of("order-1");
  Transition again = start_of("order-1");  // another number, the same id
  const Transition other = start_of("order-2");
  driver_->commit({{0, 0, 1, first}, {1, 0, 1, again}, {2, 0, 1, other}});
  for (const std::uint32_t stream : {0U, 1U, 2U}) driver_->wait_for(stream, 1);
  EXPECT_FALSE(driver_->error_of(0, 1));
  ASSERT_TRUE(driver_->error_of(1, 1));
  EXPECT_EQ(driver_->error_of(1, 1)->code, ErrorCode::internal);
  EXPECT_FALSE(driver_->error_of(2, 1));
  EXPECT_EQ(sql("SELECT count(*) FROM workflow_executions"), "2");
}

// The connection breaks around COMMIT: whether it arrived or not, the commit is there once, and nobody is told
// that it failed.
TEST_F(PostgresStoreTest, ACommitWhoseAnswerIsLostIsLookedUp) {
  test::CuttingProxy proxy(server().port());
  const std::string database = conninfo_.substr(conninfo_.find("dbname="));
  const std::string name = database.substr(7, database.find(' ') - 7);
  PostgresStoreOptions options;
  options.conninfo = test::PostgresServer::conninfo(name, proxy.port());
  open(options);
  int number = 0;
  for (const bool delivered : {true, false, true, false}) {
    const std::string id = fmt::format("order-{}", ++number);
    proxy.cut_at(std::string("\0COMMIT\0", 8), delivered);  // by itself, and not a part of BEGIN
    const auto error = driver_->commit_and_wait({start_of(id)});
    EXPECT_FALSE(error) << error->message;
    EXPECT_EQ(proxy.cuts(), number);
    EXPECT_EQ(sql("SELECT count(*) FROM workflow_events e JOIN workflow_executions x "
                  "USING (execution) WHERE x.execution_id = '" +
                  id + "'"),
              "1");
  }
}

TEST_F(PostgresStoreTest, AServerThatIsStoppedAndStartedLosesNothing) {
  // A commit takes some time, so that the end of its session comes while it is on its way to the disk.
  test::PostgresServer own({"fsync=on", "commit_delay=5000", "commit_siblings=0"});
  PostgresStoreOptions options;
  options.conninfo = own.new_database();
  Store& store = open(options);
  const ExecutionRef ref = store.next_execution_ref("acme", "long");
  ASSERT_FALSE(driver_->commit_and_wait({start_transition(ref, "acme", "long")}));
  std::atomic<bool> over = false;
  std::atomic<std::int64_t> acknowledged = 1;
  std::thread client([&] {
    while (!over) {
      const auto error =
          driver_->commit_and_wait({append_transition(ref, "acme", acknowledged + 1, 1)});
      EXPECT_FALSE(error) << error->message;
      if (error) return;
      ++acknowledged;
    }
  });
  for (int fault = 0; fault < 8; ++fault) {
    const std::int64_t before = acknowledged;
    while (acknowledged < before + 10) std::this_thread::sleep_for(1ms);
    const bool at_once = fault % 4 == 3;  // the others tell each session that it is over
    own.stop(at_once);
    own.start();
  }
  const std::int64_t before = acknowledged;
  while (acknowledged < before + 20) std::this_thread::sleep_for(1ms);
  over = true;
  client.join();
  const auto stored = store.load_execution(ref, kWholeHistory);
  ASSERT_TRUE(stored && *stored);
  EXPECT_EQ(std::ssize((*stored)->history), acknowledged.load());
  store.close();
  store_.reset();
}

// The server ends the session while the commit syncs: it is committed, and the answer to it comes with an error.
TEST_F(PostgresStoreTest, ASessionThatIsEndedWithinACommitDoublesNothing) {
  test::PostgresServer own({"fsync=on", "commit_delay=20000", "commit_siblings=0"});
  PostgresStoreOptions options;
  options.conninfo = own.new_database();
  open(options);
  const std::unique_ptr<PGconn, decltype(&PQfinish)> shell(PQconnectdb(options.conninfo.c_str()),
                                                           &PQfinish);
  for (int number = 0; number < 8; ++number) {
    std::atomic<bool> over = false;
    std::thread killer([&] {
      while (!over) {
        PQclear(PQexec(shell.get(),
                       "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = "
                       "'COMMIT' AND state = 'active' AND pid <> pg_backend_pid()"));
        std::this_thread::sleep_for(5ms);
      }
    });
    std::this_thread::sleep_for(10ms);
    const auto error = driver_->commit_and_wait({start_of(fmt::format("order-{}", number))});
    over = true;
    killer.join();
    EXPECT_FALSE(error) << error->message;
  }
  const std::unique_ptr<PGresult, decltype(&PQclear)> counted(
      PQexec(shell.get(), "SELECT count(*) FROM workflow_events"), &PQclear);
  EXPECT_STREQ(PQgetvalue(counted.get(), 0, 0), "8");
  store_->close();
  store_.reset();
}

// What follows in a stream builds upon what was lost.
TEST_F(PostgresStoreTest, WhatFollowsALostPartitionInItsStreamIsRefusedToo) {
  open({.partitions = 2});
  const Transition lost = start_of(id_in(0, 2));
  const Transition behind = start_of(id_in(1, 2));
  sql("UPDATE workflow_partitions SET owner = 'another', epoch = epoch + 1 WHERE partition = 0");
  driver_->commit({{0, 0, 1, lost}, {0, 0, 2, behind}});
  driver_->wait_for(0, 2);
  EXPECT_TRUE(driver_->error_of(0, 1));
  EXPECT_TRUE(driver_->error_of(0, 2));
  EXPECT_EQ(sql("SELECT count(*) FROM workflow_executions"), "0");
}

TEST_F(PostgresStoreTest, AWorkerThatComesAgainUnderItsNameCountsItsCommitsAnew) {
  open({.worker = "w1"});
  store_->close();
  store_.reset();
  sql("INSERT INTO workflow_workers(worker, last_commit) VALUES ('w1', 5)");
  open({.worker = "w1"});
  EXPECT_EQ(sql("SELECT last_commit FROM workflow_workers"), "0");
}

TEST_F(PostgresStoreTest, WhoMayNotCreateTablesOpensThoseThatAreThere) {
  open();
  store_->close();
  store_.reset();
  sql("CREATE ROLE app LOGIN");
  sql("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app");
  sql("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO app");
  PostgresStoreOptions options;
  options.conninfo = conninfo_ + " user=app";
  open(options);
  EXPECT_FALSE(driver_->commit_and_wait({start_of("order-1")}));
  store_->close();
  store_.reset();
  sql("DROP OWNED BY app");
  sql("DROP ROLE app");
}

// What a worker knew of the end of a history when it lost the partition is out of date when it has that again.
TEST_F(PostgresStoreTest, AHistoryThatAnotherWorkerMadeLongerIsGoneOnWith) {
  open({.worker = "w1", .partitions = 1, .lease = 500ms});
  const Transition start = start_of("order-1");
  ASSERT_FALSE(driver_->commit_and_wait({start}));
  sql("UPDATE workflow_partitions SET owner = 'another', epoch = epoch + 1, "
      "expires_at = clock_timestamp() + interval '1 second'");
  sql("INSERT INTO workflow_events(execution, sequence, tenant, event_type, position, cause, "
      "ends_activation, codec, created_at) SELECT execution, 2, tenant, event_type, position, "
      "cause, "
      "ends_activation, codec, created_at FROM workflow_events");
  while (sql("SELECT owner FROM workflow_partitions") != "w1") std::this_thread::sleep_for(10ms);
  driver_->wait_for_partitions(1);
  const auto error = driver_->commit_and_wait({append_transition(start.execution, "acme", 3, 1)});
  EXPECT_FALSE(error) << error->message;
}

// What it stood for may not be committed, and is still in memory when the partition comes back.
TEST_F(PostgresStoreTest, ANumberThatWasGivenOutIsNotGivenAgain) {
  open({.worker = "w1", .partitions = 1, .lease = 500ms});
  ASSERT_FALSE(driver_->commit_and_wait({start_of("order-1")}));
  store_->next_execution_ref("acme", "order-2");
  const ExecutionRef last = store_->next_execution_ref("acme", "order-3");
  sql("UPDATE workflow_partitions SET owner = 'another', epoch = epoch + 1, "
      "expires_at = clock_timestamp()");
  while (sql("SELECT owner FROM workflow_partitions") != "w1") std::this_thread::sleep_for(10ms);
  driver_->wait_for_partitions(1);
  EXPECT_GT(store_->next_execution_ref("acme", "order-4"), last);
}

TEST_F(PostgresStoreTest, WorkersShareThePartitionsAsTheyComeAndGo) {
  open({.partitions = 16, .lease = 500ms});
  auto second = open_postgres_store({.conninfo = conninfo_, .lease = 500ms});
  ASSERT_TRUE(second);
  StoreDriver other;
  (*second)->start(other);
  other.attach(**second, 8);
  driver_->wait_for_partitions(8);
  for (const int partition : other.partitions()) {
    EXPECT_FALSE(driver_->partitions().contains(partition));
  }
  (*second)->close();
  driver_->wait_for_partitions(16);
  EXPECT_FALSE(driver_->commit_and_wait({start_of("order-1")}));
}

// A session that stopped within a transaction can't keep a partition for ever.
TEST_F(PostgresStoreTest, AClaimEndsWhoHoldsItUp) {
  open();
  store_->close();
  store_.reset();
  const std::unique_ptr<PGconn, decltype(&PQfinish)> stuck(PQconnectdb(conninfo_.c_str()),
                                                           &PQfinish);
  for (const char* const sql : {"BEGIN", "SELECT FROM workflow_partitions FOR KEY SHARE"}) {
    const std::unique_ptr<PGresult, decltype(&PQclear)> done(PQexec(stuck.get(), sql), &PQclear);
  }
  sql("UPDATE workflow_partitions SET owner = 'stopped', "
      "expires_at = clock_timestamp() - interval '1 minute'");
  open({.lease = 500ms});
  EXPECT_FALSE(driver_->commit_and_wait({start_of("order-1")}));
}

// What a row in the inbox is refused for, and that those of one sender have numbers in their order.
TEST_F(PostgresStoreTest, MailIsPutThereOnceAndForThoseWhoAreThere) {
  open();
  ASSERT_FALSE(driver_->commit_and_wait({start_of("order-1")}));
  const auto put = [&](InboxRecord row, const bool to_known = true) {
    row.tenant = "acme";
    row.event_id = "e-" + std::to_string(++mail_);
    std::promise<Result<MailPut>> told;
    store_->put_mail({std::move(row), to_known},
                     [&](Result<MailPut> there) { told.set_value(std::move(there)); });
    return told.get_future().get();
  };
  InboxRecord event;
  event.execution_id = "order-1";
  event.event_name = "Paid";
  const auto first = put(event);
  const auto second = put(event);
  ASSERT_TRUE(first && second);
  EXPECT_LT(first->id, second->id);
  event.idempotency_key = "k";
  const auto keyed = put(event);
  const auto again = put(event);
  ASSERT_TRUE(keyed && again);
  EXPECT_TRUE(keyed->fresh);
  EXPECT_FALSE(again->fresh);
  EXPECT_EQ(again->event_id, keyed->event_id);
  InboxRecord lost = event;
  lost.execution_id = "order-2";
  const auto unknown = put(lost);
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, ErrorCode::unknown_execution);
  InboxRecord start = lost;
  start.kind = InboxKind::start;
  start.idempotency_key.clear();
  EXPECT_TRUE(put(start, false));
  EXPECT_TRUE(put(lost)) << "its start is on its way";
  start.execution_id = "order-1";
  const auto known = put(start, false);
  ASSERT_TRUE(known);
  EXPECT_TRUE(known->known_digest);
  sql("UPDATE workflow_executions SET status = 'completed'");
  const auto ended = put(event);
  EXPECT_TRUE(ended) << "the key was used before";
  event.idempotency_key.clear();
  const auto late = put(event);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::execution_ended);
  EXPECT_EQ(sql("SELECT count(*) FROM workflow_event_processing"), "5");
}

TEST_F(PostgresStoreTest, WhatAWorkerLeftIsTakenWhenItsLeaseIsOver) {
  open();
  store_->close();
  store_.reset();
  sql("UPDATE workflow_partitions SET owner = 'killed', epoch = 41, "
      "expires_at = clock_timestamp() + interval '700 milliseconds'");
  open({.lease = 1s});
  EXPECT_FALSE(driver_->commit_and_wait({start_of("order-1")}));
  EXPECT_EQ(sql("SELECT min(epoch) FROM workflow_partitions"), "42");
}

TEST_F(PostgresStoreTest, TablesOfANewerVersionAreRefusedAndLeftAsTheyWere) {
  open();
  store_->close();
  store_.reset();
  sql("INSERT INTO workflow_migrations(number, name) VALUES (999, 'of_the_future')");
  const auto opened = open_postgres_store({.conninfo = conninfo_});
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::store_invalid);
  EXPECT_EQ(sql("SELECT count(*) FROM workflow_partitions WHERE owner IS NOT NULL"), "0");
}

// Plans are made when the store is empty, and kept: one that would read all of a tenant for an id looks as good then.
TEST_F(PostgresStoreTest, AnIdIsLookedUpByItsOwnIndexWhileTheStoreIsEmpty) {
  open();
  const std::string settings =
      "SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan; ";
  const std::string plan =
      sql(settings +
          "PREPARE look(text, text) AS SELECT execution FROM workflow_executions WHERE "
          "tenant = $1 AND execution_id = $2; EXPLAIN EXECUTE look('a', 'b')");
  EXPECT_NE(plan.find("workflow_executions_tenant_execution_id_key"), std::string::npos) << plan;
}

TEST_F(PostgresStoreTest, WhatPeopleAskInSql) {
  open();
  Transition transition = start_of("order-1");
  transition.records[0].payload = Payload::json(R"({"total":12})");
  transition.created->created_at = 1'000;
  ASSERT_FALSE(driver_->commit_and_wait({transition}));
  EXPECT_EQ(
      sql("SELECT payload::jsonb ->> 'total' FROM workflow_history WHERE execution_id = 'order-1'"),
      "12");
  EXPECT_EQ(sql("SELECT to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.MS') "
                "FROM workflow_executions"),
            "1970-01-01 00:00:01.000");
}

}  // namespace
}  // namespace pawl
