#include "postgres/store/writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <set>
#include <string_view>
#include <utility>

#include "base/crash_point.h"
#include "core/execution_fold.h"
#include "postgres/store/columns.h"

namespace pawl {
namespace {

using namespace std::chrono_literals;

// A connection that says nothing for so long, or for the time of the lease, is as good as lost.
constexpr std::chrono::milliseconds kAnswerMax = 2s;
constexpr auto kPauseMin = 20ms;
constexpr auto kPauseMax = 500ms;
// For how long it is tried to find out whether a commit took place whose answer was lost.
constexpr auto kLookUpMax = 60s;
constexpr auto kLookUpWhileClosing = 1s;  // from each failure on
constexpr std::size_t kEndsKnownMax = 65'536;

constexpr PgStatement kHold{
    "hold",
    "SELECT p.partition FROM workflow_partitions p WHERE (p.partition, p.epoch) IN "
    "(SELECT * FROM unnest($2::integer[], $3::bigint[])) AND p.owner = $1::text "
    "ORDER BY p.partition FOR KEY SHARE"};
constexpr PgStatement kEnds{
    "ends",
    "SELECT r.execution, coalesce((SELECT max(sequence) FROM workflow_events e "
    "WHERE e.execution = r.execution), 0) FROM unnest($1::bigint[]) AS r(execution)"};
constexpr PgStatement kMark{
    "mark",
    "INSERT INTO workflow_workers AS w (worker, last_commit) VALUES ($1::text, $2::bigint) "
    "ON CONFLICT (worker) DO UPDATE SET last_commit = excluded.last_commit, "
    "seen_at = clock_timestamp()"};
// Waits for a transaction that is not through yet.
constexpr PgStatement kLookUp{
    "look_up", "SELECT last_commit FROM workflow_workers WHERE worker = $1::text FOR UPDATE"};

std::vector<PgStatement> all_statements() {
  std::vector<PgStatement> all = BatchRows::statements();
  for (const PgStatement& one : {kHold, kEnds, kMark, kLookUp}) all.push_back(one);
  return all;
}

std::int64_t rows_written(const PgResult& result) {
  const std::string_view text = PQcmdTuples(result.get());
  std::int64_t rows = 0;
  std::from_chars(text.data(), text.data() + text.size(), rows);
  return rows;
}

// The rows themselves are at fault: they break a rule of the table, or can't be kept.
bool is_refused(const PgFailure& failure) {
  // Data, integrity, the same row twice; limits of the server; rules and triggers of an operator's.
  for (const std::string_view of : {"22", "23", "21", "42", "44", "54", "P0"}) {
    if (failure.state.starts_with(of)) return true;
  }
  return false;
}

// Behind any other error, the session may be what is wrong: its plans, its settings, its server.
bool is_good_after(const PgFailure& failure) {
  return is_refused(failure) || failure.state.starts_with("40") || failure.state == "55P03";
}

// What belongs to no execution is written under the partition that the stream is named after; under none where it
// is of no partition either.
std::optional<int> partition_for(const CommitRequest& request, const int partitions) {
  if (request.transition.execution > 0) return partition_of(request.transition.execution);
  if (request.stream < static_cast<unsigned>(partitions)) return static_cast<int>(request.stream);
  return std::nullopt;
}

bool is_among(const PgResult& partitions, const int partition) {
  for (int row = 0; row < PQntuples(partitions.get()); ++row) {
    if (PgRow(partitions.get(), row).integer(0) == partition) return true;
  }
  return false;
}

Error lost_lease(const int partition) {
  return {
      ErrorCode::store_unavailable,
      fmt::format("partition {} was taken over by another worker: nothing was written", partition),
      {}};
}

}  // namespace

PostgresWriter::PostgresWriter(PostgresWriterOptions options, Leases& leases, SentCommits& sent,
                               std::function<void(PartitionLease)> lost)
    : options_(std::move(options)), leases_(leases), sent_(sent), lost_(std::move(lost)) {}

// The one that its partition is held under, if that is the one that it was decided under.
std::optional<std::int64_t> PostgresWriter::epoch_for(const CommitRequest& request) const {
  const auto partition = partition_for(request, options_.partitions);
  if (!partition) return std::nullopt;
  const auto held = leases_.epoch_of(*partition);
  return held && (request.epoch == 0 || request.epoch == *held) ? held : std::nullopt;
}

void PostgresWriter::start(CommitSink& sink) {
  sink_ = &sink;
  thread_ = std::thread([this] { run(); });
}

void PostgresWriter::commit(std::vector<CommitRequest> requests) {
  if (requests.empty()) return;
  {
    const std::lock_guard lock(mutex_);
    if (!closing_) {
      queued_.fetch_add(requests.size(), std::memory_order_relaxed);
      queue_.push_back(std::move(requests));
      wake_.notify_one();
      return;
    }
    // Outcomes are told in order: a later one says that all before it are settled.
    if (!ended_) {
      std::move(requests.begin(), requests.end(), std::back_inserter(late_));
      return;
    }
  }
  report(requests, Answers(requests.size(), Error{ErrorCode::closed, "the store is closed", {}}));
}

void PostgresWriter::keep(StateSnapshot snapshot) {
  const std::lock_guard lock(mutex_);
  if (closing_ || to_keep_.size() >= kSnapshotsQueuedMax) return;
  to_keep_.push_back(std::move(snapshot));
  wake_.notify_one();
}

void PostgresWriter::stop() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    wake_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

void PostgresWriter::report(const Batch& batch, const Answers& answers) {
  if (batch.empty()) return;
  OutcomeList outcomes;
  for (std::size_t at = 0; at < batch.size(); ++at) outcomes.add(batch[at], answers[at]);
  sink_->commits_finished(outcomes.outcomes());
}

void PostgresWriter::run() {
  Batch batch;
  while (take(batch)) {
    const Answers answers = commit_batch(batch);
    queued_.fetch_sub(batch.size(), std::memory_order_relaxed);
    report(batch, answers);
  }
  for (;;) {
    {
      const std::lock_guard lock(mutex_);
      batch = std::exchange(late_, {});
      ended_ = batch.empty();
      if (ended_) break;
    }
    report(batch, Answers(batch.size(), Error{ErrorCode::closed, "the store is closed", {}}));
  }
  pipeline_.close();
}

// False: it is to end.
bool PostgresWriter::take(Batch& batch) {
  batch.clear();
  snapshots_.clear();
  if (taken_.size() < kCommitBatchMax) {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] {
      return !taken_.empty() || !queue_.empty() || !to_keep_.empty() || closing_;
    });
    for (auto& requests : queue_) {
      std::move(requests.begin(), requests.end(), std::back_inserter(taken_));
    }
    queue_.clear();
    snapshots_.swap(to_keep_);
  }
  std::size_t bytes = 0;
  while (!taken_.empty() && batch.size() < kCommitBatchMax && bytes < kCommitBatchBytesMax) {
    bytes += size_in_bytes(taken_.front().transition);
    batch.push_back(std::move(taken_.front()));
    taken_.pop_front();
  }
  return !batch.empty() || !snapshots_.empty();
}

// False: there is no time for it.
bool PostgresWriter::pause(const std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  return !wake_.wait_for(lock, time, [this] { return closing_; });
}

void PostgresWriter::fail(const CommitRequest& request, std::optional<Error>& answer,
                          const Error& error) {
  gate_.fail(request, error);
  ends_.erase(request.transition.execution);
  answer = error;
}

PostgresWriter::Answers PostgresWriter::commit_batch(const Batch& batch) {
  Answers answers(batch.size());
  std::vector<std::size_t> wanted;
  for (std::size_t at = 0; at < batch.size(); ++at) {
    answers[at] = gate_.refusal(batch[at]);
    if (!answers[at]) wanted.push_back(at);
  }
  if (!wanted.empty() || !snapshots_.empty()) settle(batch, answers, std::move(wanted));
  return answers;
}

void PostgresWriter::settle(const Batch& batch, Answers& answers, std::vector<std::size_t> wanted) {
  const SteadyTime until = std::chrono::steady_clock::now() + options_.retry_max;
  std::chrono::milliseconds wait = kPauseMin;
  for (;;) {
    const Tried tried = try_once(batch, answers, wanted);
    if (tried.end == Tried::End::settled) return;
    std::erase_if(wanted, [&](const std::size_t at) { return answers[at].has_value(); });
    const bool in_time = std::chrono::steady_clock::now() < until;
    if (tried.end == Tried::End::again && in_time && pause(wait)) {
      wait = std::min<std::chrono::milliseconds>(2 * wait, kPauseMax);
      continue;
    }
    // They can be made again, and are not to fail what others wait for.
    if (tried.end == Tried::End::refused && !std::exchange(snapshots_, {}).empty()) continue;
    const bool by_one_of_them =
        tried.end == Tried::End::refused || tried.end == Tried::End::held_up;
    if (by_one_of_them && wanted.size() > 1) {
      for (const std::size_t at : wanted) {
        answers[at] = gate_.refusal(batch[at]);
        if (!answers[at]) settle(batch, answers, {at});
      }
      return;
    }
    for (const std::size_t at : wanted) fail(batch[at], answers[at], tried.error);
    return;
  }
}

PgOutcome<void> PostgresWriter::connect() {
  if (pipeline_.is_connected()) return {};
  ends_.clear();
  const auto lease = options_.lease.count();
  return pipeline_.connect(
      options_.parameters,
      {// An owner that is stopped within a transaction gives the next one its turn.
       fmt::format("SET idle_in_transaction_session_timeout = {}", std::max<long>(lease / 2, 1)),
       fmt::format("SET lock_timeout = {}", lease), "SET jit = off",
       // Rows are found by their keys, whatever was known of the tables when the plan was made.
       "SET plan_cache_mode = force_generic_plan", "SET enable_seqscan = off",
       "SET enable_hashjoin = off", "SET enable_mergejoin = off",
       // What is reported as durable is; a stricter setting stays.
       "SELECT set_config('synchronous_commit', 'on', false) "
       "WHERE current_setting('synchronous_commit') = 'off'"},
      all_statements(), std::max(kAnswerMax, options_.lease));
}

void PostgresWriter::roll_back() {
  ends_.clear();
  if (!pipeline_.is_connected()) return;
  pipeline_.add_sql("ROLLBACK");
  if (!pipeline_.run()) pipeline_.close();
}

PostgresWriter::Tried PostgresWriter::after_failure(const PgFailure& failure,
                                                    const std::string_view doing) {
  Error error = error_of(failure, doing);
  if (failure.connection) {
    ends_.clear();
    return {Tried::End::again, std::move(error)};
  }
  if (is_good_after(failure)) {
    roll_back();
  } else {
    ends_.clear();
    pipeline_.close();
  }
  if (is_refused(failure)) {
    error.code = ErrorCode::internal;
    return {Tried::End::refused, std::move(error)};
  }
  const bool held_up = failure.state == "55P03";
  return {held_up ? Tried::End::held_up : Tried::End::again, std::move(error)};
}

// Those whose partition is still this worker's; what becomes of the others, and of what builds upon them, is
// told.
std::vector<std::size_t> PostgresWriter::keep_held(const Batch& batch, Answers& answers,
                                                   const std::vector<std::size_t>& wanted,
                                                   const PgResult& held) {
  std::set<int> partitions;
  for (int row = 0; row < PQntuples(held.get()); ++row) {
    partitions.insert(static_cast<int>(PgRow(held.get(), row).integer(0)));
  }
  std::erase_if(snapshots_, [&](const StateSnapshot& snapshot) {
    return !partitions.contains(partition_of(snapshot.execution));
  });
  std::vector<std::size_t> kept;
  for (const std::size_t at : wanted) {
    const auto partition = partition_for(batch[at], options_.partitions);
    if (auto refused = gate_.refusal(batch[at])) {
      answers[at] = std::move(refused);
    } else if (!partition || (partitions.contains(*partition) && epoch_for(batch[at]))) {
      kept.push_back(at);
    } else {
      fail(batch[at], answers[at], lost_lease(*partition));
    }
  }
  return kept;
}

// A history has no gaps. That it has no record twice is up to the index.
std::optional<Error> PostgresWriter::gap(const Batch& batch, const std::vector<std::size_t>& wanted,
                                         const PgResult* const ends, const Epochs& epochs) {
  if (ends != nullptr) {
    for (int row = 0; row < PQntuples(ends->get()); ++row) {
      const PgRow end(ends->get(), row);
      const ExecutionRef execution = end.integer(0);
      ends_.insert_or_assign(execution, KnownEnd{epochs.at(execution), end.integer(1)});
    }
  }
  std::unordered_map<ExecutionRef, std::int64_t> last;
  for (const std::size_t at : wanted) {
    const Transition& transition = batch[at].transition;
    if (auto bug = malformed(transition)) return bug;
    if (transition.records.empty()) continue;
    const auto [known, fresh] = last.try_emplace(transition.execution, 0);
    if (const auto end = ends_.find(transition.execution); fresh && end != ends_.end()) {
      known->second = end->second.sequence;
    }
    if (transition.records.front().sequence > known->second + 1) {
      return Error{
          ErrorCode::internal,
          fmt::format("record {} of execution {} does not follow record {}",
                      transition.records.front().sequence, transition.execution, known->second),
          {}};
    }
    known->second = transition.records.back().sequence;
  }
  return std::nullopt;
}

void PostgresWriter::remember_ends(const Batch& batch, const std::vector<std::size_t>& written,
                                   const Epochs& epochs) {
  if (ends_.size() >= kEndsKnownMax) ends_.clear();
  for (const std::size_t at : written) {
    const Transition& transition = batch[at].transition;
    if (transition.records.empty()) continue;
    ends_.insert_or_assign(transition.execution, KnownEnd{epochs.at(transition.execution),
                                                          transition.records.back().sequence});
  }
}

// With what becomes of actions whose own COMMIT may have been sent: one that is open when all of its execution is
// closed is given up, and one that is open again is not.
void PostgresWriter::add_rows(BatchRows& rows, const Transition& transition,
                              std::vector<ExecutionRef>& given_up) const {
  rows.add(transition);
  for (const HistoryEvent& event : transition.records) {
    if (event.type == EventType::execution_retried) rows.take_back(transition.execution);
    if (!ExecutionFold::closes_all(event.type)) continue;
    for (ActionResultRecord& row : sent_.of(transition.execution)) {
      given_up.push_back(row.execution);
      rows.give_up(std::move(row));
    }
  }
}

PostgresWriter::Tried PostgresWriter::try_once(const Batch& batch, Answers& answers,
                                               const std::vector<std::size_t>& wanted) {
  crash_point("store.before_begin");
  if (auto connected = connect(); !connected) {
    return {Tried::End::again, error_of(connected.error(), "connecting to the store")};
  }
  PgColumn partitions(PgType::int4);
  PgColumn epochs(PgType::int8);
  PgColumn unknown(PgType::int8);
  std::set<std::pair<int, std::int64_t>> asked;
  std::set<ExecutionRef> ends_asked;
  Epochs under;
  const auto ask_for = [&](const std::optional<int> partition,
                           const std::optional<std::int64_t> epoch) {
    if (!partition || !epoch || !asked.insert({*partition, *epoch}).second) return;
    partitions.add(std::int32_t{*partition});
    epochs.add(*epoch);
  };
  for (const StateSnapshot& snapshot : snapshots_) {
    const int partition = partition_of(snapshot.execution);
    ask_for(partition, leases_.epoch_of(partition));
  }
  for (const std::size_t at : wanted) {
    const std::optional<std::int64_t> epoch = epoch_for(batch[at]);
    ask_for(partition_for(batch[at], options_.partitions), epoch);
    const Transition& transition = batch[at].transition;
    if (transition.records.empty()) continue;
    under.insert_or_assign(transition.execution, epoch.value_or(0));
    const auto known = ends_.find(transition.execution);
    if (known != ends_.end() && known->second.epoch != epoch) ends_.erase(known);
    if (transition.created || ends_.contains(transition.execution) ||
        !ends_asked.insert(transition.execution).second) {
      continue;
    }
    unknown.add(transition.execution);
  }
  pipeline_.add_sql("BEGIN ISOLATION LEVEL READ COMMITTED");
  pipeline_.add(kHold.name, PgParameters()
                                .add_text(options_.worker)
                                .add_array(partitions.bytes())
                                .add_array(epochs.bytes()));
  if (unknown.size() > 0) pipeline_.add(kEnds.name, PgParameters().add_array(unknown.bytes()));
  const auto begun = pipeline_.run();
  if (!begun) return after_failure(begun.error(), "beginning a transaction");
  const std::vector<std::size_t> kept = keep_held(batch, answers, wanted, (*begun)[1]);
  for (const auto& [partition, epoch] : asked) {
    if (!is_among((*begun)[1], partition)) lost_({partition, epoch});
  }
  if (kept.empty() && snapshots_.empty()) {
    roll_back();
    return {};
  }
  if (auto broken = gap(batch, kept, unknown.size() > 0 ? &(*begun)[2] : nullptr, under)) {
    roll_back();
    return {Tried::End::refused, std::move(*broken)};
  }

  BatchRows rows(options_.partitions);
  std::vector<ExecutionRef> given_up;
  for (const std::size_t at : kept) add_rows(rows, batch[at].transition, given_up);
  for (const StateSnapshot& snapshot : snapshots_) rows.add(snapshot);
  const std::vector<BatchStatement> statements = rows.queue(pipeline_);
  // Never the same again: one that was sent may arrive later.
  const std::int64_t marker = ++last_marker_;
  pipeline_.add(kMark.name, PgParameters().add_text(options_.worker).add(marker));
  const auto written = pipeline_.run();
  if (!written) return after_failure(written.error(), "writing a commit");
  for (std::size_t at = 0; at < statements.size(); ++at) {
    const auto expected = statements[at].rows;
    if (!expected || rows_written((*written)[at]) == *expected) continue;
    Error misfit{ErrorCode::internal,
                 fmt::format("{} rows of {} were there to be written by '{}': what is committed is "
                             "not what the engine knows, or an action has another outcome already",
                             rows_written((*written)[at]), *expected, statements[at].name),
                 {}};
    roll_back();
    return {Tried::End::refused, std::move(misfit)};
  }

  crash_point("store.before_commit");
  pipeline_.add_sql("COMMIT");
  const auto ended = pipeline_.run();
  if (!ended) {
    // Whatever the server says in the end: it may have committed before it said so.
    ends_.clear();
    pipeline_.close();
    Tried tried = look_up(marker);
    if (tried.end != Tried::End::settled) return tried;
  } else if (std::string_view(PQcmdStatus(ended->front().get())) != "COMMIT") {
    roll_back();
    return {Tried::End::again, Error{ErrorCode::store_unavailable, "a commit was rolled back", {}}};
  }
  crash_point("store.after_commit");
  snapshots_.clear();
  remember_ends(batch, kept, under);
  for (const ExecutionRef execution : given_up) sent_.forget(execution);
  return {};
}

// The answer to a COMMIT was lost: whether it took place, the worker's own row says.
PostgresWriter::Tried PostgresWriter::look_up(const std::int64_t marker) {
  SteadyTime until = std::chrono::steady_clock::now() + kLookUpMax;
  std::chrono::milliseconds wait = kPauseMin;
  std::string why;
  while (std::chrono::steady_clock::now() < until) {
    if (auto connected = connect(); connected) {
      pipeline_.add(kLookUp.name, PgParameters().add_text(options_.worker));
      const auto answers = pipeline_.run();
      if (answers) {
        if (PQntuples(answers->front().get()) == 0) {
          why =
              fmt::format("the row of worker '{}' is gone from workflow_workers", options_.worker);
          break;
        }
        const bool committed = PgRow(answers->front().get(), 0).integer(0) == marker;
        return {committed ? Tried::End::settled : Tried::End::again,
                Error{ErrorCode::store_unavailable, "the connection was lost within a commit", {}}};
      }
      why = answers.error().message;
      if (!answers.error().connection) pipeline_.close();
    } else {
      why = connected.error().message;
    }
    if (!pause(wait))
      until = std::min(until, std::chrono::steady_clock::now() + kLookUpWhileClosing);
    wait = std::min<std::chrono::milliseconds>(2 * wait, kPauseMax);
  }
  return {Tried::End::failed,
          Error{ErrorCode::outcome_unknown,
                fmt::format("it is not known whether this commit is durable: {}", why),
                {}}};
}

}  // namespace pawl
