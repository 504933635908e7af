#include "postgres/postgres_database.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>
#include <utility>

#include "base/crash_point.h"
#include "postgres/conninfo.h"
#include "postgres/outcome_rows.h"
#include "postgres/postgres_session.h"

namespace pawl {

namespace {

using namespace std::chrono_literals;

// How often a transaction that met another one's is tried again, at once, before the attempt has failed.
constexpr int kConflictsMax = 5;
// Of the pauses between these: doubled each time, with jitter.
constexpr auto kConflictPause = 10ms;
// How long it looks for what became of a commit whose answer was lost.
constexpr auto kLookUpMax = 20s;
constexpr auto kLookUpPause = 200ms;

double jitter() {
  thread_local std::minstd_rand random{std::random_device{}()};
  return std::uniform_real_distribution<double>(0.5, 1.5)(random);
}

Failure closed() { return connection_failure("the database is closed", "closed"); }

Failure outcome_unknown(const std::string_view action, Failure cause) {
  Failure failure;
  failure.name = "OutcomeUnknownError";
  failure.message = fmt::format(
      "Whether the transaction of '{}' was committed is not known: the connection was lost while "
      "it was, and the "
      "database can not be asked ({}). The next attempt finds out",
      action, cause.message);
  failure.code = "outcome_unknown";
  failure.failure_class = FailureClass::external;
  failure.causes.push_back(std::move(cause));
  return failure;
}

// Its worker has not noticed yet: of what it would record nothing is taken.
Failure lease_lost(const std::string& action) {
  return postgres_failure(
      fmt::format("the execution of '{}' was taken over by another worker: nothing was written",
                  action),
      "lease_lost", FailureClass::external);
}

}  // namespace

PostgresDatabase::PostgresDatabase(const std::string& conninfo, PostgresDatabaseOptions options)
    : options_(options), connections_max_(std::max<std::size_t>(1, options.connections_max)) {
  std::vector<std::string> settings;
  if (options_.statement_max > 0ms) {
    settings.push_back(fmt::format("statement_timeout={}", options_.statement_max.count()));
  }
  if (options_.lock_wait_max > 0ms) {
    settings.push_back(fmt::format("lock_timeout={}", options_.lock_wait_max.count()));
  }
  auto parameters = parameters_of(conninfo, settings);
  if (!parameters) {
    wrong_ =
        postgres_failure(parameters.error().message, "invalid_argument", FailureClass::permanent);
    return;
  }
  parameters_ = std::move(*parameters);
  parameters_.connect_max = options_.connect_max;
}

SqlResult<std::unique_ptr<SqlSession>> PostgresDatabase::connect(SessionUse) {
  auto connection = acquire({});
  if (!connection) return connection.error();
  return std::unique_ptr<SqlSession>(
      std::make_unique<PostgresSession>(shared_from_this(), std::move(*connection)));
}

// --- the pool ----------------------------------------------------------------------------------

SqlResult<std::shared_ptr<PostgresConnection>> PostgresDatabase::acquire(
    const std::stop_token stop) {
  if (wrong_) return *wrong_;
  while (true) {
    auto taken = take_place(stop);
    if (!taken) return taken.error();
    if (*taken == nullptr) return connect_new(stop);
    if ((*taken)->is_quiet()) return std::move(*taken);
    drop_one();  // its server has ended it
  }
}

// One that was kept; none: there is room for a new one, which is counted already.
SqlResult<std::shared_ptr<PostgresConnection>> PostgresDatabase::take_place(
    const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  const bool has_place = changed_.wait_for(lock, stop, options_.connection_wait_max, [this] {
    return closed_ || !kept_.empty() || open_ < connections_max_;
  });
  if (closed_) return closed();
  if (stop.stop_requested()) return attempt_given_up();
  if (!has_place) {
    return postgres_failure(
        fmt::format("all {} connections (connections_max) were in use for {} ms", connections_max_,
                    options_.connection_wait_max.count()),
        "connections_max", FailureClass::contention);
  }
  if (kept_.empty()) {
    ++open_;
    return std::shared_ptr<PostgresConnection>{};
  }
  auto connection = std::move(kept_.back());
  kept_.pop_back();
  return connection;
}

SqlResult<std::shared_ptr<PostgresConnection>> PostgresDatabase::connect_new(
    const std::stop_token& stop) {
  auto connection = std::make_shared<PostgresConnection>();
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(known_, [](const auto& known) { return known.expired(); });
    known_.push_back(connection);
    if (closed_) connection->break_off();
  }
  const std::stop_callback on_stop(stop, [&connection] { connection->break_off(); });
  if (auto failed = connection->connect(parameters_)) {
    drop_one();
    return *failed;
  }
  return connection;
}

void PostgresDatabase::drop_one() {
  const std::lock_guard lock(mutex_);
  --open_;
  changed_.notify_all();
}

void PostgresDatabase::release(std::shared_ptr<PostgresConnection> connection) {
  const bool good = connection->is_usable() && !connection->is_broken_off() &&
                    connection->transaction() == PQTRANS_IDLE;
  if (!good) connection->close();
  const std::lock_guard lock(mutex_);
  if (good && !closed_) {
    kept_.push_back(std::move(connection));
  } else {
    --open_;
  }
  changed_.notify_all();
}

void PostgresDatabase::close() {
  std::vector<std::shared_ptr<PostgresConnection>> ended;
  std::vector<std::shared_ptr<PostgresConnection>> used;
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    ended.swap(kept_);
    open_ -= ended.size();
    for (const auto& known : known_) {
      auto connection = known.lock();
      const bool is_kept = std::find(ended.begin(), ended.end(), connection) != ended.end();
      if (connection != nullptr && !is_kept) used.push_back(std::move(connection));
    }
    changed_.notify_all();
  }
  for (const auto& connection : used) connection->break_off();
}

// --- attempts ----------------------------------------------------------------------------------

// False: nobody waits for it any more.
bool PostgresDatabase::pause(const std::chrono::milliseconds time, const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, stop, time, [this] { return closed_; });
  return !stop.stop_requested() && !closed_;
}

std::variant<Payload, Failure> PostgresDatabase::attempt(const DatabaseAttempt& attempt,
                                                         const TransactionWork& work) {
  if (auto prepared = prepare_outcomes(attempt.stop); !prepared) return prepared.error();
  std::chrono::milliseconds between = kConflictPause;
  for (int conflicts = 0;; ++conflicts, between *= 2) {
    Tried tried = try_once(attempt, work);
    auto* const failure = std::get_if<Failure>(&tried.outcome);
    if (failure == nullptr) return std::move(tried.outcome);
    if (failure->code == "42P01") look_for_outcomes_again();
    if (tried.unsure) return look_up(attempt, std::move(*failure));
    if (attempt.stop.stop_requested()) return attempt_given_up();
    if (!tried.conflict || conflicts == kConflictsMax) return std::move(tried.outcome);
    const auto time = std::chrono::duration<double, std::milli>(between) * jitter();
    if (!pause(std::chrono::duration_cast<std::chrono::milliseconds>(time), attempt.stop)) {
      return attempt_given_up();
    }
  }
}

PostgresDatabase::Tried PostgresDatabase::try_once(const DatabaseAttempt& attempt,
                                                   const TransactionWork& work) {
  auto connection = acquire(attempt.stop);
  if (!connection) return {connection.error()};
  PostgresSession session(shared_from_this(), *connection);
  // Before the connection goes back.
  const std::stop_callback on_stop(attempt.stop, [&session] { session.break_off(); });
  const auto row = outcome_row(session, attempt.task);
  Tried tried{run_attempt(attempt, session, *row, work)};
  session.roll_back();
  tried.conflict = session.has_conflict();
  tried.unsure = session.is_unsure();
  if (!tried.unsure) commit_ended(attempt.task);
  return tried;
}

// The row is there before the work is done: another attempt at the same action waits for this one.
std::variant<Payload, Failure> PostgresDatabase::run_attempt(const DatabaseAttempt& attempt,
                                                             PostgresSession& session,
                                                             OutcomeRow& row,
                                                             const TransactionWork& work) {
  const std::string& action = attempt.task.name;
  if (auto begun = session.begin(attempt.isolation); !begun) return begun.error();
  auto claimed = row.claim(std::nullopt);
  crash_point("database.claimed");
  if (!claimed) return session.reason_for(claimed.error(), action);
  if (*claimed == RowClaim::not_owner) return lease_lost(action);
  if (*claimed == RowClaim::taken) {
    auto recorded = row.recorded();
    if (!recorded) return session.reason_for(recorded.error(), action);
    return std::move(*recorded);
  }
  if (attempt.stop.stop_requested()) return attempt_given_up();
  Transaction transaction(session);
  auto outcome = work(transaction);
  if (attempt.stop.stop_requested()) return attempt_given_up();
  if (auto* const failure = std::get_if<Failure>(&outcome)) {
    return session.reason_for(std::move(*failure), action);
  }
  crash_point("database.before_record");
  if (auto recorded = row.record(std::get<Payload>(outcome)); !recorded) {
    return session.reason_for(recorded.error(), action);
  }
  // Before the look at whether it is still wanted: whoever gives it up says so first, and then looks for this.
  commit_begins(attempt.task);
  if (attempt.stop.stop_requested()) return attempt_given_up();
  crash_point("database.before_commit");
  if (auto committed = session.commit(); !committed) {
    return session.reason_for(committed.error(), action);
  }
  crash_point("database.after_commit");
  return outcome;
}

// What became of a commit, from a database that may not answer yet.
std::variant<Payload, Failure> PostgresDatabase::look_up(const DatabaseAttempt& attempt,
                                                         Failure failure) {
  const SteadyTime end = std::chrono::steady_clock::now() + kLookUpMax;
  while (true) {
    LookedUp found = look_up_once(attempt, failure, end);
    if (found.is_known) {
      commit_ended(attempt.task);
      return std::move(found.outcome);
    }
    if (std::chrono::steady_clock::now() >= end || !pause(kLookUpPause, attempt.stop)) {
      return outcome_unknown(attempt.task.name, std::get<Failure>(found.outcome));
    }
  }
}

// A transaction that is about to be committed is waited for. `failure`: what the attempt came to, if it was not.
PostgresDatabase::LookedUp PostgresDatabase::look_up_once(const DatabaseAttempt& attempt,
                                                          const Failure& failure,
                                                          const SteadyTime until) {
  const auto not_known = [](Failure why) { return LookedUp{std::move(why), false}; };
  auto connection = acquire(attempt.stop);
  if (!connection) return not_known(connection.error());
  PostgresSession session(shared_from_this(), *connection);
  const std::stop_callback on_stop(attempt.stop, [&session] { session.break_off(); });
  if (auto begun = session.begin(IsolationLevel::read_committed); !begun) {
    return not_known(begun.error());
  }
  const auto row = outcome_row(session, attempt.task);
  const auto claimed = row->claim(until);
  if (!claimed) return not_known(claimed.error());
  if (*claimed == RowClaim::mine) return {failure};
  // Whoever has claimed it waited for that transaction, and follows its row.
  if (*claimed == RowClaim::not_owner) return {lease_lost(attempt.task.name)};
  auto recorded = row->recorded();
  if (recorded) return {std::move(*recorded)};
  // What is there may be a failure, such as that the action was given up.
  return {recorded.error(), recorded.error().failure_class == FailureClass::permanent};
}

SqlResult<void> PostgresDatabase::prepare_outcomes(const std::stop_token& stop) {
  {
    const std::lock_guard lock(mutex_);
    if (outcome_table_) return {};
  }
  auto connection = acquire(stop);
  if (!connection) return connection.error();
  PostgresSession session(shared_from_this(), *connection);
  const std::stop_callback on_stop(stop, [&session] { session.break_off(); });
  auto found = find_outcome_table(session);
  if (!found) return found.error();
  const std::lock_guard lock(mutex_);
  outcome_table_ = std::move(*found);
  return {};
}

std::unique_ptr<OutcomeRow> PostgresDatabase::outcome_row(PostgresSession& session,
                                                          const ActionTask& task) {
  std::string table;
  {
    const std::lock_guard lock(mutex_);
    table = outcome_table_.value_or("pawl_action_results");
  }
  return application_outcome_row(session, std::move(table), task);
}

void PostgresDatabase::look_for_outcomes_again() {
  const std::lock_guard lock(mutex_);
  outcome_table_.reset();
}

std::shared_ptr<Database> open_postgres_database(std::string conninfo,
                                                 PostgresDatabaseOptions options) {
  return std::make_shared<PostgresDatabase>(conninfo, options);
}

}  // namespace pawl
