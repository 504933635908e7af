// The store's own database as that of actions: what its rows and its leases keep apart.

#include "postgres/store/store_database.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <libpq-fe.h>

#include <atomic>
#include <chrono>
#include <future>
#include <latch>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "core/partition.h"
#include "postgres/store/postgres_store.h"
#include "tests/support/cutting_proxy.h"
#include "tests/support/postgres_server.h"
#include "tests/support/store_driver.h"

namespace pawl {
namespace {

using namespace std::chrono_literals;

test::PostgresServer& server() {
  static test::PostgresServer one;
  return one;
}

class StoreDatabaseTest : public ::testing::Test {
 protected:
  ~StoreDatabaseTest() override {
    if (store_) store_->close();
  }

  void open(PostgresStoreOptions options = {}) {
    if (options.conninfo.empty()) options.conninfo = conninfo_;
    options.partitions = 2;
    auto opened = open_postgres_store(options);
    if (!opened) throw std::runtime_error(opened.error().message);
    store_ = std::move(*opened);
    store_->start(driver_);
    driver_.attach(*store_);
    sql("CREATE TABLE IF NOT EXISTS written(n int)");
    ref_ = store_->next_execution_ref("acme", "order-1");
    ASSERT_FALSE(commit(start_transition(ref_, "acme", "order-1")));
  }

  std::string sql(const std::string& text) const {
    return test::PostgresServer::ask(conninfo_, text);
  }
  std::optional<Error> commit(Transition transition) {
    return driver_.commit_and_wait({std::move(transition)});
  }
  std::string written() const { return sql("SELECT count(*) FROM written"); }

  // Of the execution, as it would be handed out now.
  ActionTask task(const Position position = 1) {
    ActionTask made;
    made.id = ++attempts_;
    made.tenant = "acme";
    made.execution_id = "order-1";
    made.execution = ref_;
    made.position = position;
    made.name = "Write";
    made.idempotency_key = fmt::format("k-{}", position);
    made.seed = ~std::uint64_t{0};
    made.partition = partition_of(ref_);
    made.epoch = std::stoll(sql(
        fmt::format("SELECT epoch FROM workflow_partitions WHERE partition = {}", made.partition)));
    return made;
  }
  std::variant<Payload, Failure> attempt(
      const ActionTask& task, const TransactionWork& work,
      const IsolationLevel isolation = IsolationLevel::serializable,
      const std::stop_token& stop = {}) {
    return store_->database()->attempt({task, isolation, stop}, work);
  }
  static std::variant<Payload, Failure> write(Transaction& transaction) {
    const auto done = transaction.execute("INSERT INTO written VALUES(1)");
    if (!done) return done.error();
    return Payload::json("\"done\"");
  }
  static std::string said(const std::variant<Payload, Failure>& outcome) {
    const auto* const failure = std::get_if<Failure>(&outcome);
    return failure != nullptr ? failure->code : std::get<Payload>(outcome).bytes;
  }
  // Another worker claims the partition, as soon as it may.
  void take_over() {
    sql(
        fmt::format("SELECT FROM workflow_partitions WHERE partition = {0} FOR UPDATE; "
                    "UPDATE workflow_partitions SET owner = 'another', epoch = epoch + 1 "
                    "WHERE partition = {0}",
                    partition_of(ref_)));
  }
  Transition ending(const EventType type, const std::int64_t sequence = 2) {
    Transition transition = append_transition(ref_, "acme", sequence, 1);
    transition.records.front().type = type;
    return transition;
  }
  // COMMIT is held up in the server until it is let go.
  class HeldCommit {
   public:
    explicit HeldCommit(StoreDatabaseTest& test) : shell_(PQconnectdb(test.conninfo_.c_str())) {
      // A trigger that runs with COMMIT, and waits.
      run("CREATE OR REPLACE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS "
          "'BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END'");
      run("CREATE CONSTRAINT TRIGGER hold AFTER INSERT ON written DEFERRABLE INITIALLY DEFERRED "
          "FOR EACH ROW EXECUTE FUNCTION hold()");
      run("SELECT pg_advisory_lock(7)");
    }
    ~HeldCommit() { PQfinish(shell_); }
    void wait_until_it_is_sent() {
      while (run("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") == 0) {
        std::this_thread::sleep_for(5ms);
      }
    }
    void let_go() { run("SELECT pg_advisory_unlock(7)"); }

   private:
    int run(const char* const text) {
      PGresult* const result = PQexec(shell_, text);
      const int rows = PQntuples(result);
      PQclear(result);
      return rows;
    }
    PGconn* const shell_;
  };

  const std::string conninfo_ = server().new_database();
  StoreDriver driver_;
  std::unique_ptr<Store> store_;
  ExecutionRef ref_ = 0;
  AttemptId attempts_ = 0;
};

// rule: 14
TEST_F(StoreDatabaseTest, WhatIsWrittenAndTheRowOfTheOutcomeAreOneCommit) {
  open();
  EXPECT_EQ(said(attempt(task(),
                         [&](Transaction& transaction) {
                           write(transaction);
                           return Failure{.code = "no"};
                         })),
            "no");
  EXPECT_EQ(sql("SELECT count(*) FROM workflow_action_results"), "0");
  EXPECT_EQ(said(attempt(task(), &write)), "\"done\"");
  EXPECT_EQ(sql("SELECT status || recorded || convert_from(result, 'UTF8') || seed "
                "FROM workflow_action_results"),
            "succeededfalse\"done\"-1");
  EXPECT_EQ(said(attempt(task(), &write)), "\"done\"") << "found, and not done again";
  EXPECT_EQ(written(), "1");
  const auto stored = store_->load_execution(ref_, kWholeHistory);
  ASSERT_EQ((*stored)->ahead.size(), 1U);
  EXPECT_EQ((*stored)->ahead[0].result.bytes, "\"done\"");
}

// rule: 14
TEST_F(StoreDatabaseTest, NothingIsWrittenForAnExecutionThatIsAnothersByNow) {
  open();
  const ActionTask old = task();
  take_over();
  for (const auto isolation : {IsolationLevel::read_committed, IsolationLevel::serializable}) {
    EXPECT_EQ(said(attempt(old, &write, isolation)), "lease_lost");
  }
  EXPECT_EQ(written(), "0");
  EXPECT_EQ(sql("SELECT count(*) FROM workflow_action_results"), "0");
}

// The lease is kept until the end of the transaction: against a claim, and not against a renewal.
TEST_F(StoreDatabaseTest, AClaimWaitsForATransactionAndARenewalDoesNot) {
  open();
  const ActionTask mine = task();
  for (const auto isolation : {IsolationLevel::read_committed, IsolationLevel::serializable}) {
    std::future<void> claim;
    const auto outcome = attempt(
        mine,
        [&](Transaction& transaction) {
          const auto begun = std::chrono::steady_clock::now();
          sql("UPDATE workflow_partitions SET expires_at = clock_timestamp() + interval '1 hour'");
          EXPECT_LT(std::chrono::steady_clock::now() - begun, 1s);
          if (!claim.valid()) claim = std::async(std::launch::async, [&] { take_over(); });
          EXPECT_EQ(claim.wait_for(200ms), std::future_status::timeout);
          return write(transaction);
        },
        isolation);
    EXPECT_EQ(said(outcome),
              isolation == IsolationLevel::read_committed ? "\"done\"" : "lease_lost")
        << "the first was committed before the claim";
    if (isolation == IsolationLevel::read_committed) claim.wait();
  }
  EXPECT_EQ(written(), "1");
}

// Neither the renewals of leases nor the commits of the engine are what a serializable transaction conflicts with.
TEST_F(StoreDatabaseTest, ASerializableTransactionDoesNotConflictWithTheEngine) {
  open();
  std::atomic<int> calls = 0;
  std::int64_t sequence = 2;
  for (Position position = 1; position <= 8; ++position) {
    const auto outcome = attempt(task(position), [&](Transaction& transaction) {
      ++calls;
      sql("UPDATE workflow_partitions SET expires_at = clock_timestamp() + interval '1 hour'");
      EXPECT_FALSE(commit(append_transition(ref_, "acme", sequence++, 1)));
      ActionResultRecord other;
      other.execution = ref_;
      other.position = 100 + position;
      other.tenant = "acme";
      other.action = "Other";
      Transition result = append_transition(ref_, "acme", sequence++, 1);
      result.results.push_back(other);
      EXPECT_FALSE(commit(std::move(result)));
      return write(transaction);
    });
    EXPECT_EQ(said(outcome), "\"done\"");
  }
  EXPECT_EQ(calls, 8);
}

// Nor do actions that have nothing to do with one another: their rows lie side by side.
TEST_F(StoreDatabaseTest, SerializableTransactionsOfDifferentActionsDoNotConflict) {
  open();
  sql("CREATE TABLE apart(id int PRIMARY KEY, n int)");
  sql("INSERT INTO apart SELECT i, 0 FROM generate_series(1, 10000) AS s(i)");
  sql("ANALYZE apart");
  constexpr int kThreads = 8;
  constexpr int kEach = 40;
  std::atomic<int> calls = 0;
  std::vector<ActionTask> tasks;
  for (int at = 0; at < kThreads * kEach; ++at) tasks.push_back(task());
  for (int at = 0; at < kThreads * kEach; ++at) tasks[static_cast<std::size_t>(at)].position = at;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int each = 0; each < kEach; ++each) {
        const auto outcome =
            attempt(tasks[static_cast<std::size_t>(thread * kEach + each)],
                    [&](Transaction& transaction) -> std::variant<Payload, Failure> {
                      ++calls;
                      // Each thread far from the others: not on the same page of an index.
                      const auto done = transaction.execute(
                          "UPDATE apart SET n = n + 1 WHERE id = $1", thread * 1'200 + 1);
                      if (!done) return done.error();
                      return Payload::json("1");
                    });
        EXPECT_EQ(said(outcome), "1");
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  RecordProperty("again", calls - kThreads * kEach);
  fmt::print("{} of {} were done again\n", calls - kThreads * kEach, kThreads * kEach);
  EXPECT_LE(calls, kThreads * kEach + kThreads * kEach / 20);
}

// rule: 14
TEST_F(StoreDatabaseTest, ACommitWhoseAnswerIsLostIsLookedUp) {
  test::CuttingProxy proxy(server().port());
  const std::string name = sql("SELECT current_database()");
  PostgresStoreOptions options;
  options.conninfo = test::PostgresServer::conninfo(name, proxy.port());
  open(options);
  int number = 0;
  for (const bool delivered : {true, false}) {
    const ActionTask mine = task(++number);
    const auto outcome = attempt(mine, [&](Transaction& transaction) {
      // The next COMMIT is this one's: nothing else is written meanwhile.
      proxy.cut_at(std::string("\0COMMIT\0", 8), delivered);
      return write(transaction);
    });
    EXPECT_EQ(proxy.cuts(), number);
    EXPECT_EQ(said(outcome), delivered ? "\"done\"" : "08006");
    EXPECT_EQ(written(), "1");
  }
}

// A handler can't end its transaction, and where SQL that nobody sees has done so, the row says what became of it.
TEST_F(StoreDatabaseTest, ARowThatWasCommittedWithoutAResultIsAFailure) {
  open();
  const ActionTask mine = task();
  sql(fmt::format(
      "INSERT INTO workflow_action_results(execution, position, generation, seed, tenant, "
      "action_name, status, attempts, cause, error, recorded, created_at) VALUES ({}, 1, 0, 0, "
      "'acme', 'write', 'failed', 1, 0, '{{\"name\":\"TransactionEndedError\","
      "\"message\":\"m\",\"code\":\"transaction_ended\",\"class\":\"permanent\"}}', false, now())",
      ref_));
  EXPECT_EQ(said(attempt(mine, &write)), "transaction_ended");
  EXPECT_EQ(written(), "0");
}

// rule: 14
TEST_F(StoreDatabaseTest, ACommitThatWasSentIsLetThroughAndTheEndOfTheExecutionWaitsForIt) {
  open();
  HeldCommit held(*this);
  std::stop_source stop;
  auto running = std::async(std::launch::async, [&, mine = task()] {
    return attempt(mine, &write, IsolationLevel::read_committed, stop.get_token());
  });
  held.wait_until_it_is_sent();
  // As the engine does it: first it is broken off.
  stop.request_stop();
  auto ended = std::async(std::launch::async,
                          [&] { return commit(ending(EventType::execution_terminated)); });
  EXPECT_EQ(ended.wait_for(200ms), std::future_status::timeout);
  held.let_go();
  const auto refused = ended.get();
  EXPECT_FALSE(refused) << refused->message;
  EXPECT_EQ(said(running.get()), "\"done\"");
  EXPECT_EQ(written(), "1");
  EXPECT_EQ(sql("SELECT status || recorded FROM workflow_action_results"), "succeededfalse")
      << "it came before the end";
}

// One whose COMMIT is still on its way, over a connection that is lost, and nobody can say whether it arrives.
TEST_F(StoreDatabaseTest, WhoeverGivesAnActionUpWritesItsRowWhereItsCommitMayStillArrive) {
  open();
  for (const auto type : {EventType::execution_terminated, EventType::cancel_delivered,
                          EventType::continued_as_new}) {
    const Position position = static_cast<Position>(type);
    const ActionTask mine = task(position);
    const std::int64_t last = std::stoll(sql("SELECT max(sequence) FROM workflow_events"));
    store_->database()->commit_begins(mine);
    ASSERT_FALSE(commit(ending(type, last + 1)));
    EXPECT_EQ(sql(fmt::format("SELECT status FROM workflow_action_results WHERE position = {}",
                              position)),
              "given_up");
    EXPECT_EQ(said(attempt(mine, &write)), "aborted");
    // What has no COMMIT under way leaves no row: it was broken off.
    const ActionTask quiet = task(position + 1'000);
    store_->database()->commit_begins(quiet);
    store_->database()->commit_ended(quiet);
    ASSERT_FALSE(commit(ending(type, last + 2)));
  }
  EXPECT_EQ(written(), "0");
  EXPECT_EQ(sql("SELECT count(*) FROM workflow_action_results"), "3");
}

// A retry opens what was open when the execution failed, under the same keys.
TEST_F(StoreDatabaseTest, ARetryOpensWhatWasGivenUp) {
  open();
  const ActionTask mine = task();
  store_->database()->commit_begins(mine);
  ASSERT_FALSE(commit(ending(EventType::execution_failed)));
  EXPECT_EQ(said(attempt(mine, &write)), "aborted");
  ASSERT_FALSE(commit(ending(EventType::execution_retried, 3)));
  EXPECT_EQ(said(attempt(mine, &write)), "\"done\"");
  EXPECT_EQ(written(), "1");
}

// rule: 14
TEST_F(StoreDatabaseTest, TwoAttemptsAtOnceComeToOneOutcome) {
  open();
  for (const auto isolation : {IsolationLevel::read_committed, IsolationLevel::serializable}) {
    const Position position = isolation == IsolationLevel::serializable ? 1 : 2;
    std::latch both(2);
    std::atomic<int> calls = 0;
    const auto one = [&](ActionTask mine) {
      return std::async(std::launch::async, [&, mine = std::move(mine)] {
        both.arrive_and_wait();
        return attempt(
            mine,
            [&](Transaction& transaction) {
              const int call = ++calls;
              write(transaction);
              std::this_thread::sleep_for(30ms);
              return Payload::json(std::to_string(call));
            },
            isolation);
      });
    };
    auto first = one(task(position));
    auto second = one(task(position));
    EXPECT_EQ(said(first.get()), said(second.get()));
    EXPECT_EQ(calls, 1);
  }
  EXPECT_EQ(written(), "2");
}

// rule: 14
TEST_F(StoreDatabaseTest, AKeyOfACallersIsNobodysExecution) {
  open();
  ActionTask keyed = task();
  keyed.execution = 0;
  keyed.partition = 0;
  keyed.epoch = 0;
  keyed.idempotency_key = "mine";
  keyed.parameters_digest = "d";
  keyed.position = -5;
  take_over();
  EXPECT_EQ(said(attempt(keyed, &write)), "\"done\"");
  EXPECT_EQ(said(attempt(keyed, &write)), "\"done\"");
  EXPECT_EQ(written(), "1");
  EXPECT_EQ(sql("SELECT user_key || position || parameters_digest || execution_id "
                "FROM workflow_action_results"),
            "mine0dorder-1");
  keyed.name = "Other";
  EXPECT_EQ(said(attempt(keyed, &write)), "already_exists");
}

// An action of a key is nobody's, so that another worker's transaction may have its row: what is recorded of it here
// fails when it has waited for that, and not the rest of the batch.
TEST_F(StoreDatabaseTest, ARowThatAnotherTransactionHasFailsItsOwnCommitOnly) {
  PostgresStoreOptions options;
  options.lease = 500ms;
  open(options);
  const std::unique_ptr<PGconn, decltype(&PQfinish)> other(PQconnectdb(conninfo_.c_str()),
                                                           &PQfinish);
  for (const char* const text :
       {"BEGIN",
        "INSERT INTO workflow_action_results(execution, position, generation, seed, tenant, "
        "action_name, status, attempts, cause, user_key, recorded, created_at) VALUES (0, 0, 0, 0, "
        "'acme', 'write', 'failed', 1, 0, 'k', false, now())"}) {
    PQclear(PQexec(other.get(), text));
  }
  ActionResultRecord result;
  result.tenant = "acme";
  result.action = "Write";
  result.user_key = "k";
  result.succeeded = false;
  result.error_json = R"({"name":"TimeoutError","message":"","class":"timeout"})";
  Transition recorded;
  recorded.tenant = "acme";
  recorded.results.push_back(result);
  const auto stream = static_cast<std::uint32_t>(partition_of(ref_));
  driver_.commit({{2, 0, 1, recorded}, {stream, 0, 100, append_transition(ref_, "acme", 2, 1)}});
  driver_.wait_for(stream, 100);
  EXPECT_FALSE(driver_.error_of(stream, 100));
  driver_.wait_for(2, 1);
  ASSERT_TRUE(driver_.error_of(2, 1));
  EXPECT_EQ(driver_.error_of(2, 1)->code, ErrorCode::store_unavailable);
  PQclear(PQexec(other.get(), "ROLLBACK"));
  driver_.commit({{2, 1, 2, recorded}});
  driver_.wait_for(2, 2);
  EXPECT_FALSE(driver_.error_of(2, 2));
  EXPECT_EQ(sql("SELECT status FROM workflow_action_results WHERE user_key = 'k'"), "failed");
}

// A session that stops within a transaction keeps nothing for ever, whoever waits for it.
TEST_F(StoreDatabaseTest, TheServerEndsATransactionThatIsSilent) {
  open();
  EXPECT_EQ(said(attempt(task(),
                         [&](Transaction& transaction) -> std::variant<Payload, Failure> {
                           const auto max = transaction.query_one<std::string>(
                               "SHOW idle_in_transaction_session_timeout");
                           return Payload::json('"' + max->value() + '"');
                         })),
            "\"5s\"");
  const auto session = store_->database()->connect(SessionUse::application).value();
  EXPECT_EQ(std::get<std::string>(
                session->run("SHOW idle_in_transaction_session_timeout", {}).value().rows[0][0]),
            "0")
      << "not in what follows";
}

}  // namespace
}  // namespace pawl
