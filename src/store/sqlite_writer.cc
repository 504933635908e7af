#include "store/sqlite_writer.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <iterator>
#include <string_view>
#include <utility>

#include "base/crash_point.h"
#include "store/sqlite_schema.h"

namespace pawl {

Result<std::unique_ptr<SqliteWriter>> SqliteWriter::create(SqliteConnection connection,
                                                           WriteTurn& turn,
                                                           const SqliteStoreOptions& options) {
  auto transitions = SqliteTransitions::prepare(connection);
  if (!transitions) {
    return transitions.error();
  }
  std::unique_ptr<SqliteWriter> writer{
      new SqliteWriter{std::move(connection), std::move(*transitions), turn, options}};
  for (auto& [statement, sql] : {std::pair<SqliteStatement*, std::string_view>{
                                     &writer->statements_.begin, "BEGIN IMMEDIATE"},
                                 {&writer->statements_.commit, "COMMIT"},
                                 {&writer->statements_.rollback, "ROLLBACK"},
                                 {&writer->statements_.savepoint, "SAVEPOINT one"},
                                 {&writer->statements_.release, "RELEASE one"},
                                 {&writer->statements_.rollback_to, "ROLLBACK TO one"}}) {
    auto prepared = writer->connection_.prepare(sql);
    if (!prepared) {
      return prepared.error();
    }
    *statement = std::move(*prepared);
  }
  // Called at the end of each commit with the length of the log.
  sqlite3_wal_hook(
      writer->connection_.handle(),
      [](void* pages, sqlite3*, const char*, int length) {
        *static_cast<int*>(pages) = length;
        return SQLITE_OK;
      },
      &writer->log_pages_);
  return writer;
}

void SqliteWriter::start(CommitSink& sink) {
  sink_ = &sink;
  thread_ = std::thread{[this] { run(); }};
}

void SqliteWriter::commit(std::vector<CommitRequest> requests) {
  if (requests.empty()) {
    return;
  }
  {
    const std::lock_guard lock{mutex_};
    if (!closing_) {
      queued_.fetch_add(requests.size(), std::memory_order_relaxed);
      queue_.push_back(std::move(requests));
      wake_.notify_one();
      return;
    }
    // Outcomes are told in order: a later one says that all before it are settled.
    if (!ended_) {
      late_.insert(late_.end(), std::move_iterator{requests.begin()},
                   std::move_iterator{requests.end()});
      return;
    }
  }
  refuse(requests);
}

void SqliteWriter::keep(StateSnapshot snapshot) {
  const std::lock_guard lock{mutex_};
  if (!closing_ && to_keep_.size() < kSnapshotsQueuedMax) {
    to_keep_.push_back(std::move(snapshot));
    wake_.notify_one();
  }
}

void SqliteWriter::refuse(const Batch& batch) {
  OutcomeList outcomes;
  for (const auto& request : batch) {
    outcomes.add(request, Error{ErrorCode::closed,
                                fmt::format("the store {} is closed", connection_.path())});
  }
  sink_->commits_finished(outcomes.outcomes());
}

void SqliteWriter::stop() {
  {
    const std::lock_guard lock{mutex_};
    closing_ = true;
    wake_.notify_one();
  }
  if (thread_.joinable()) {
    thread_.join();
  }
}

void SqliteWriter::disconnect() {
  if (stopped_) {
    // What the disk did not confirm stays where it is, for the next one to look at.
    sqlite3_db_config(connection_.handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  }
  statements_ = {};
  transitions_ = {};
  connection_.close();
}

void SqliteWriter::run() {
  Batch batch;
  while (take(batch)) {
    if (!batch.empty() || !snapshots_.empty()) {
      const auto answers = commit_batch(batch);
      queued_.fetch_sub(batch.size(), std::memory_order_relaxed);
      report(batch, answers);
    }
    checkpoint_if_due();
  }
  while (true) {
    {
      const std::lock_guard lock{mutex_};
      batch = std::exchange(late_, {});
      ended_ = batch.empty();
      if (ended_) {
        return;
      }
    }
    refuse(batch);
  }
}

void SqliteWriter::report(const Batch& batch, const Answers& answers) {
  if (batch.empty()) {
    return;
  }
  OutcomeList outcomes;
  for (std::size_t index = 0; index < batch.size(); ++index) {
    outcomes.add(batch[index], answers[index]);
  }
  sink_->commits_finished(outcomes.outcomes());
}

// False: it is to end.
bool SqliteWriter::take(Batch& batch) {
  batch.clear();
  snapshots_.clear();
  bool checkpoint = false;
  if (taken_.size() < batch_max_) {
    std::vector<std::vector<CommitRequest>> queue;
    {
      std::unique_lock lock{mutex_};
      // It may be another one who is.
      if (thread_at_work_ && taken_.empty()) {
        at_work_ = thread_at_work_ = false;
      }
      wake_.wait(lock, [&] {
        const bool something = !queue_.empty() || !to_keep_.empty() || checkpoint_wanted_;
        return !taken_.empty() || (!at_work_ && (something || closing_));
      });
      at_work_ = thread_at_work_ = true;
      checkpoint = std::exchange(checkpoint_wanted_, false);
      queue.swap(queue_);
      snapshots_.swap(to_keep_);
    }
    std::size_t queued = 0;
    std::size_t bytes = 0;
    for (const auto& requests : queue) {
      queued += requests.size();
      for (const CommitRequest& request : requests) {
        bytes += size_in_bytes(request.transition);
      }
    }
    // All of it is the next batch, as a rule; the rest of what is more waits in taken_.
    const bool fits = taken_.empty() && queued <= batch_max_ && bytes <= batch_bytes_max_;
    batch.reserve(std::min(queued, batch_max_));
    for (auto& requests : queue) {
      const auto first = std::move_iterator{requests.begin()};
      const auto last = std::move_iterator{requests.end()};
      if (fits) {
        batch.insert(batch.end(), first, last);
      } else {
        taken_.insert(taken_.end(), first, last);
      }
    }
  }
  std::size_t bytes = 0;
  while (!taken_.empty() && batch.size() < batch_max_ && bytes < batch_bytes_max_) {
    bytes += size_in_bytes(taken_.front().transition);
    batch.push_back(std::move(taken_.front()));
    taken_.pop_front();
  }
  return !batch.empty() || !snapshots_.empty() || checkpoint;
}

bool SqliteWriter::commit_here(std::vector<CommitRequest>& requests) {
  {
    const std::lock_guard lock{mutex_};
    if (closing_ || at_work_ || checkpoint_wanted_ || !queue_.empty() || !to_keep_.empty()) {
      return false;
    }
    at_work_ = true;
  }
  const bool done = commit_at_once(requests);
  const std::lock_guard lock{mutex_};
  at_work_ = false;
  checkpoint_wanted_ = checkpoint_wanted_ || checkpoint_is_due();
  if (checkpoint_wanted_ || closing_ || !queue_.empty() || !to_keep_.empty()) {
    wake_.notify_one();
  }
  return done;
}

// False: nothing was done, since that would wait for somebody, or is for the thread to find out about.
bool SqliteWriter::commit_at_once(const Batch& batch) {
  snapshots_.clear();
  const bool refused = std::any_of(batch.begin(), batch.end(), [this](const CommitRequest& one) {
    return gate_.refusal(one).has_value();
  });
  if (stopped_ || refused || !turn_.try_take_for_engine()) {
    return false;
  }
  sqlite3_busy_handler(connection_.handle(), nullptr, nullptr);
  const int code = begin();
  wait_for_other_writers(connection_, busy_ms_);
  if (code != SQLITE_DONE) {
    turn_.give_back();
    return false;
  }
  Answers answers(batch.size());
  if (!write_batch(batch, answers, false)) {
    try_batch(batch, answers, true);
  }
  turn_.give_back();
  report(batch, answers);
  return true;
}

SqliteWriter::Answers SqliteWriter::commit_batch(const Batch& batch) {
  Answers answers(batch.size());
  bool all_refused = true;
  for (std::size_t index = 0; index < batch.size(); ++index) {
    answers[index] = stopped_ ? stopped_ : gate_.refusal(batch[index]);
    all_refused = all_refused && answers[index].has_value();
  }
  const bool anything = !all_refused || (!snapshots_.empty() && !stopped_);
  if (anything && !try_in_turn(batch, answers, false)) {
    try_in_turn(batch, answers, true);
  }
  return answers;
}

bool SqliteWriter::try_in_turn(const Batch& batch, Answers& answers, const bool one_by_one) {
  turn_.take_for_engine();
  const bool settled = try_batch(batch, answers, one_by_one);
  turn_.give_back();
  return settled;
}

int SqliteWriter::begin() {
  crash_point("store.before_begin");
  return statements_.begin.run();
}

bool SqliteWriter::try_batch(const Batch& batch, Answers& answers, const bool one_by_one) {
  if (const int code = begin(); code != SQLITE_DONE) {
    fail_rest(batch, answers, storage_failed(code, "beginning a transaction"));
    return true;
  }
  return write_batch(batch, answers, one_by_one);
}

bool SqliteWriter::write_batch(const Batch& batch, Answers& answers, const bool one_by_one) {
  for (std::size_t index = 0; index < batch.size(); ++index) {
    if (answers[index]) {
      continue;
    }
    if (one_by_one) {
      answers[index] = gate_.refusal(batch[index]);
      if (answers[index]) {
        continue;
      }
      if (const int code = statements_.savepoint.run(); code != SQLITE_DONE) {
        fail_rest(batch, answers, storage_failed(code, "setting a savepoint"));
        return true;
      }
    }
    if (auto failed = transitions_.apply(connection_, batch[index].transition)) {
      if (!failed->refused_rows() || !connection_.in_transaction()) {
        fail_rest(batch, answers, storage_failed(failed->code, failed->error, false));
        return true;
      }
      if (!one_by_one) {
        roll_back();
        return false;
      }
      gate_.fail(batch[index], failed->error);
      answers[index] = std::move(failed->error);
      transitions_.undone();
      if (const int code = statements_.rollback_to.run(); code != SQLITE_DONE) {
        fail_rest(batch, answers, storage_failed(code, "undoing a commit"));
        return true;
      }
    }
    if (one_by_one) {
      if (const int code = statements_.release.run(); code != SQLITE_DONE) {
        fail_rest(batch, answers, storage_failed(code, "releasing a savepoint"));
        return true;
      }
    }
  }
  if (!keep_snapshots(batch, answers)) {
    return true;
  }
  crash_point("store.before_commit");
  if (const int code = statements_.commit.run(); code != SQLITE_DONE) {
    fail_rest(batch, answers, storage_failed(code, "committing", true));
    return true;
  }
  crash_point("store.after_commit");
  return true;
}

// A snapshot that can't be kept is left out. False: the transaction is gone with it.
bool SqliteWriter::keep_snapshots(const Batch& batch, Answers& answers) {
  for (const StateSnapshot& snapshot : snapshots_) {
    const auto failed = transitions_.keep(connection_, snapshot);
    if (failed && !connection_.in_transaction()) {
      fail_rest(batch, answers, storage_failed(failed->code, failed->error, false));
      return false;
    }
  }
  return true;
}

void SqliteWriter::fail_rest(const Batch& batch, Answers& answers, const Error& error) {
  for (std::size_t index = 0; index < batch.size(); ++index) {
    if (!answers[index]) {
      gate_.fail(batch[index], error);
      answers[index] = error;
    }
  }
}

void SqliteWriter::roll_back() {
  transitions_.undone();
  // SQLite ends the transaction by itself at some errors. A rollback only forgets; what it could
  // report has been reported.
  if (connection_.in_transaction()) {
    statements_.rollback.run();
  }
}

Error SqliteWriter::storage_failed(const int code, Error error, const bool while_committing) {
  roll_back();
  if (is_failed_sync(code)) {
    stopped_ = Error{ErrorCode::store_unavailable,
                     fmt::format("the store takes no more commits until it is opened again, since "
                                 "the disk did not confirm a write: {}",
                                 error.message)};
  }
  // The end of a transaction may be on its way to the disk although its writing failed: a full disk
  // is certain to have cut it short, other errors are not.
  if (while_committing && (code & 0xff) == SQLITE_IOERR) {
    error.code = ErrorCode::outcome_unknown;
    error.message = "it is not known whether this commit is durable: " + error.message;
  }
  return error;
}

bool SqliteWriter::checkpoint_is_due() {
  if (stopped_ || log_pages_ < checkpoint_pages_) {
    checkpoint_next_ = checkpoint_pages_;
    return false;
  }
  return log_pages_ >= checkpoint_next_;
}

void SqliteWriter::checkpoint_if_due() {
  if (!checkpoint_is_due()) {
    return;
  }
  const int code = sqlite3_wal_checkpoint_v2(connection_.handle(), nullptr,
                                             SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
  if (is_failed_sync(code)) {
    [[maybe_unused]] const auto error = storage_failed(code, "checkpointing");
  }
  // If it was cut short, by a reader or for want of space, everything is still in the log: try again
  // when the log has grown by some more.
  checkpoint_next_ = log_pages_ + checkpoint_pages_ / 4;
}

}  // namespace pawl
