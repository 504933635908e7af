#include "postgres/store/membership.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <future>
#include <optional>
#include <utility>

#include "base/clock.h"
#include "postgres/store/columns.h"

namespace pawl {
namespace {

using namespace std::chrono_literals;
using SteadyClock = std::chrono::steady_clock;

constexpr auto kAnswerMax = 30s;
constexpr std::chrono::milliseconds kTendMax = 500ms;
constexpr std::chrono::milliseconds kTendMin = 20ms;
constexpr auto kPauseAfterFailure = 200ms;
// An answer that took longer tells too little of when it was given, but for a clock that was set meanwhile.
constexpr std::chrono::milliseconds kTimeAnswerMax = 50ms;
// A lease that ran out so long ago and can't be claimed is held up by a transaction that does not end.
constexpr std::chrono::milliseconds kHangsAfter = 1s;
// Of rows whose owner was lost, with each statement: about what a worker takes up at once.
constexpr int kRowsCountedMax = 16'384;

constexpr PgStatement kEnter{
    "enter",
    "INSERT INTO workflow_workers AS w (worker) VALUES ($1::text) ON CONFLICT (worker) DO UPDATE "
    "SET last_commit = 0, started_at = clock_timestamp(), seen_at = clock_timestamp()"};
constexpr PgStatement kShow{
    "show",
    "INSERT INTO workflow_workers AS w (worker, serving, offer) VALUES ($1::text, $2::boolean, "
    "$3::text) ON CONFLICT (worker) DO UPDATE SET serving = $2::boolean, "
    "seen_at = clock_timestamp(), offer = $3::text, offer_version = w.offer_version + "
    "CASE WHEN w.offer IS DISTINCT FROM $3::text THEN 1 ELSE 0 END"};
constexpr PgStatement kIdentity{"identity", "SELECT id::text FROM workflow_store"};
constexpr PgStatement kLeave{"leave", "DELETE FROM workflow_workers WHERE worker = $1::text"};
// Those that nobody will ask for any more.
constexpr PgStatement kForget{
    "forget",
    "DELETE FROM workflow_workers WHERE seen_at < clock_timestamp() - interval '1 day' - "
    "10 * $1::bigint * interval '1 millisecond'"};
constexpr PgStatement kWorkers{
    "workers",
    "SELECT worker, offer_version FROM workflow_workers WHERE serving AND "
    "seen_at > clock_timestamp() - $1::bigint * interval '1 millisecond' ORDER BY worker"};
constexpr PgStatement kOffers{
    "offers", "SELECT worker, offer FROM workflow_workers WHERE worker = ANY($1::text[])"};
// For workers that are gone. Who was slow notices by the numbers that they are missing.
constexpr PgStatement kForgetParcels{
    "forget_parcels",
    "DELETE FROM workflow_parcels WHERE created_at < clock_timestamp() - interval '1 minute' - "
    "10 * $1::bigint * interval '1 millisecond'"};
constexpr PgStatement kPartitions{
    "partitions",
    "SELECT partition, coalesce(owner, ''), owner IS NULL OR expires_at < clock_timestamp(), "
    "owner IS NOT NULL AND expires_at < clock_timestamp() - $1::bigint * interval '1 millisecond' "
    "FROM workflow_partitions ORDER BY partition"};
#define INBOX_OPEN "status IN ('pending', 'published', 'processing', 'retrying')"
#define TAKES_EVENTS \
  "(x.status NOT IN ('paused', 'stuck') AND x.condition IS DISTINCT FROM 'scheduled')"
// By an array: a join could be planned as a look at the whole table.
constexpr PgStatement kCountMail{
    "count_mail",
    "UPDATE workflow_event_processing SET owners_lost = owners_lost + 1 WHERE id = ANY(ARRAY("
    "SELECT m.id FROM unnest($1::integer[]) AS p(partition), LATERAL "
    "(SELECT id, kind, tenant, execution_id FROM workflow_event_processing WHERE execution = 0 "
    "AND " INBOX_OPEN
    " AND partition = p.partition ORDER BY id LIMIT $2::bigint) m "
    "LEFT JOIN LATERAL (SELECT * FROM workflow_executions w WHERE w.tenant = m.tenant AND "
    "w.execution_id = m.execution_id LIMIT 1) x ON true "
    "WHERE m.kind <> 'event' OR x.execution IS NULL OR " TAKES_EVENTS
    " ORDER BY m.id LIMIT $2::bigint))"};
constexpr PgStatement kCountAccepted{
    "count_accepted",
    "UPDATE workflow_event_processing SET owners_lost = owners_lost + 1 WHERE id = ANY(ARRAY("
    "SELECT m.id FROM unnest($1::integer[]) AS p(partition), LATERAL "
    "(SELECT id, execution FROM workflow_event_processing WHERE execution > 0 AND " INBOX_OPEN
    " AND execution > (p.partition::bigint << 43) AND "
    "execution < ((p.partition + 1)::bigint << 43) LIMIT $2::bigint) m "
    "JOIN LATERAL (SELECT * FROM workflow_executions w WHERE w.execution = m.execution LIMIT 1) x "
    "ON true WHERE " TAKES_EVENTS " ORDER BY m.id LIMIT $2::bigint))"};
#undef TAKES_EVENTS
#undef INBOX_OPEN
constexpr PgStatement kTime{"time", "SELECT clock_timestamp()"};
constexpr PgStatement kBackend{"backend", "SELECT pg_backend_pid()::bigint"};

}  // namespace

// What the tables say about everybody.
struct Membership::Survey {
  std::vector<std::string> workers;            // that take part, by name
  std::map<std::string, std::int64_t> offers;  // of the others: in which version
  std::vector<int> free;
  std::vector<int> hanging;  // of those: for too long already
};

Membership::Membership(MembershipOptions options, std::unique_ptr<PgPipeline> pipeline,
                       Leases& leases, PostgresNumbers& numbers)
    : options_(std::move(options)),
      pipeline_(std::move(pipeline)),
      rows_(*pipeline_, options_.worker, options_.lease),
      leases_(leases),
      numbers_(numbers) {}

const std::vector<PgStatement>& Membership::statements() {
  static const std::vector<PgStatement> all = [] {
    std::vector<PgStatement> some = LeaseRows::statements();
    some.insert(some.end(), PostgresNumbers::statements().begin(),
                PostgresNumbers::statements().end());
    for (const PgStatement& one :
         {kEnter, kIdentity, kShow, kLeave, kForget, kForgetParcels, kWorkers, kOffers, kPartitions,
          kCountMail, kCountAccepted, kTime, kBackend})
      some.push_back(one);
    return some;
  }();
  return all;
}

Result<void> Membership::enter() {
  pipeline_->add(kEnter.name, PgParameters().add_text(options_.worker));
  pipeline_->add(kIdentity.name);
  const auto entered = pipeline_->run();
  if (!entered) return error_of(entered.error(), "entering the worker");
  if (PQntuples(entered->back().get()) != 0) {
    identity_ = PgRow(entered->back().get(), 0).text(0);
  }
  if (const auto taken = numbers_.take_block(*pipeline_); !taken) {
    return error_of(taken.error(), "taking numbers of inbox rows");
  }
  if (const auto asked = ask_for_time(); !asked) {
    return error_of(asked.error(), "asking for the time");
  }
  return {};
}

PgOutcome<void> Membership::ask_for_time() {
  SystemClock clock;
  const auto before = SteadyClock::now();
  const Timestamp sent_at = clock.now();
  pipeline_->add(kTime.name);
  const auto answer = pipeline_->run();
  if (!answer) return answer.error();
  const auto took =
      std::chrono::duration_cast<std::chrono::milliseconds>(SteadyClock::now() - before);
  answered_at_ = SteadyClock::now();
  const DurationMs ahead = PgRow(answer->front().get(), 0).time(0) - (sent_at + took.count() / 2);
  const bool in_doubt = std::abs(ahead - clock_ahead_) <= took.count() / 2;
  if (clock_known_ && took > kTimeAnswerMax && in_doubt) return {};
  clock_ahead_ = ahead;
  clock_known_ = true;
  return {};
}

StoreHealth Membership::health() const {
  const auto silent_for = SteadyClock::now() - answered_at_.load();
  const std::lock_guard lock(mutex_);
  return {std::chrono::duration_cast<std::chrono::milliseconds>(silent_for), trouble_};
}

void Membership::start(CommitSink& sink) {
  sink_ = &sink;
  thread_ = std::thread([this] { run(); });
}

void Membership::take_part(std::function<bool()> works) {
  const std::lock_guard lock(mutex_);
  works_ = std::move(works);
  serving_ = true;
  serving_changed_ = true;
  wake_.notify_all();
}

void Membership::give_back(const PartitionLease left) {
  const std::lock_guard lock(mutex_);
  left_.push_back(left);
  wake_.notify_all();
}

void Membership::offer(std::string offer) {
  const std::lock_guard lock(mutex_);
  offer_ = std::move(offer);
  serving_changed_ = true;
  wake_.notify_all();
}

void Membership::hurry() {
  const std::lock_guard lock(mutex_);
  hurry_ = true;
  wake_.notify_all();
}

void Membership::lose(const PartitionLease lost) {
  if (leases_.remove(lost.partition, lost.epoch)) sink_->partition_lost(lost);
}

std::chrono::milliseconds Membership::pause() const {
  return std::clamp(options_.lease / 6, kTendMin, kTendMax);
}

void Membership::run() {
  std::unique_lock lock(mutex_);
  while (!closing_) {
    const auto due = [this] { return closing_ || hurry_ || serving_changed_ || !left_.empty(); };
    wake_.wait_for(lock, pause(), due);
    if (closing_) break;
    hurry_ = false;
    lock.unlock();
    // What fails is tried again with the next turn; a lease that runs out meanwhile is another's to claim.
    const auto tended = tend();
    lock.lock();
    trouble_ = tended ? std::string{} : tended.error().message;
    if (!tended) wake_.wait_for(lock, kPauseAfterFailure, [this] { return closing_; });
  }
}

PgOutcome<void> Membership::tend() {
  if (!pipeline_->is_connected()) {
    auto connected = pipeline_->connect(
        options_.parameters,
        {"SET jit = off", fmt::format("SET lock_timeout = {}", options_.lease.count())},
        statements(), kAnswerMax);
    if (!connected) return connected;
  }
  if (numbers_.needs_block()) {
    if (auto taken = numbers_.take_block(*pipeline_); !taken) return taken;
  }
  bool serving = false;
  bool show_now = false;
  std::function<bool()> works;
  std::vector<PartitionLease> left;
  {
    const std::lock_guard lock(mutex_);
    serving = serving_;
    works = works_;
    show_now = std::exchange(serving_changed_, false);
    left.swap(left_);
  }
  const auto now = SteadyClock::now();
  if (!left.empty()) {
    if (auto released = release(left); !released) {
      const std::lock_guard lock(mutex_);
      left_.insert(left_.end(), left.begin(), left.end());
      return released;
    }
  }
  if (works && !works()) return {};
  if (serving && shown_at_ != SteadyClock::time_point{} && now - shown_at_ > options_.lease) {
    // The others took this worker for dead.
    offers_seen_.clear();
    sink_->peers_seen({});
  }
  if (now - renewed_at_ >= options_.lease / 3) {
    if (auto renewed = renew(); !renewed) return renewed;
    renewed_at_ = now;
    if (auto asked = ask_for_time(); !asked) return asked;
  }
  if (show_now || now - shown_at_ >= options_.lease / 3) {
    if (auto shown = show(); !shown) return shown;
    shown_at_ = now;
  }
  if (!serving) return {};
  const auto all = survey();
  if (!all) return all.error();
  if (auto looked = look_at_peers(*all); !looked) return looked;
  return share(*all);
}

PgOutcome<void> Membership::show() {
  bool serving = false;
  std::string offer;
  {
    const std::lock_guard lock(mutex_);
    serving = serving_;
    offer = offer_;
  }
  pipeline_->add(kShow.name,
                 PgParameters().add_text(options_.worker).add(serving).add_optional_text(offer));
  pipeline_->add(kForget.name, PgParameters().add(std::int64_t{options_.lease.count()}));
  pipeline_->add(kForgetParcels.name, PgParameters().add(std::int64_t{options_.lease.count()}));
  if (const auto shown = pipeline_->run(); !shown) return shown.error();
  return {};
}

PgOutcome<void> Membership::renew() {
  const std::vector<PartitionLease> had = leases_.all();
  if (had.empty()) return {};
  const auto renewed = rows_.renew(had);
  if (!renewed) return renewed.error();
  for (const PartitionLease& lease : had) {
    const bool kept = std::find(renewed->begin(), renewed->end(), lease) != renewed->end();
    if (!kept) lose(lease);
  }
  return {};
}

PgOutcome<void> Membership::release(const std::vector<PartitionLease>& left) {
  // From here on nothing is written under it any more.
  for (const PartitionLease& lease : left) {
    leases_.remove(lease.partition, lease.epoch);
  }
  return rows_.release(left);
}

PgOutcome<Membership::Survey> Membership::survey() {
  pipeline_->add(kWorkers.name, PgParameters().add(std::int64_t{options_.lease.count()}));
  pipeline_->add(kPartitions.name, PgParameters().add(std::int64_t{kHangsAfter.count()}));
  const auto answers = pipeline_->run();
  if (!answers) return answers.error();
  answered_at_ = SteadyClock::now();
  Survey all;
  const PGresult* const workers = (*answers)[0].get();
  for (int row = 0; row < PQntuples(workers); ++row) {
    const PgRow worker(workers, row);
    all.workers.push_back(worker.text(0));
    if (all.workers.back() != options_.worker) {
      all.offers.emplace(all.workers.back(), worker.integer(1));
    }
  }
  const PGresult* const partitions = (*answers)[1].get();
  for (int row = 0; row < PQntuples(partitions); ++row) {
    const PgRow partition(partitions, row);
    const int number = static_cast<int>(partition.integer(0));
    if (leases_.epoch_of(number) || !partition.flag(2)) continue;
    all.free.push_back(number);
    if (partition.flag(3)) all.hanging.push_back(number);
  }
  return all;
}

PgOutcome<void> Membership::look_at_peers(const Survey& survey) {
  const auto now = SteadyClock::now();
  if (survey.offers != offers_seen_) {
    PgColumn wanted(PgType::text);
    for (const auto& [worker, version] : survey.offers) wanted.add(std::string_view(worker));
    std::vector<Peer> peers;
    if (wanted.size() > 0) {
      pipeline_->add(kOffers.name, PgParameters().add_array(wanted.bytes()));
      const auto answers = pipeline_->run();
      if (!answers) return answers.error();
      const PGresult* const rows = answers->front().get();
      for (int row = 0; row < PQntuples(rows); ++row) {
        peers.push_back({PgRow(rows, row).text(0), PgRow(rows, row).text(1)});
      }
    }
    offers_seen_ = survey.offers;
    peers_ = std::move(peers);
  } else if (now - peers_told_at_ < options_.lease / 3) {
    return {};
  }
  peers_told_at_ = now;
  sink_->peers_seen(peers_);
  return {};
}

PgOutcome<void> Membership::share(const Survey& survey) {
  const auto self = std::find(survey.workers.begin(), survey.workers.end(), options_.worker);
  if (self == survey.workers.end()) {
    shown_at_ = {};  // it was slow to show itself, or somebody took its row away
    return {};
  }
  const int count = static_cast<int>(survey.workers.size());
  const int before = static_cast<int>(self - survey.workers.begin());
  const int share = options_.partitions / count + (before < options_.partitions % count ? 1 : 0);
  const std::vector<PartitionLease> owned = leases_.all();
  std::erase_if(wanted_, [&owned](const auto& wanted) {
    return std::find(owned.begin(), owned.end(), PartitionLease{wanted.first, wanted.second}) ==
           owned.end();
  });
  const int kept = static_cast<int>(owned.size() - wanted_.size());
  if (kept > share) {
    int surplus = kept - share;
    for (auto lease = owned.rbegin(); lease != owned.rend() && surplus > 0; ++lease) {
      if (!wanted_.emplace(lease->partition, lease->epoch).second) continue;
      --surplus;
      sink_->partition_wanted(*lease, options_.lease);
    }
    return {};
  }
  if (kept == share || survey.free.empty()) return {};
  // Workers begin at places of their own, so that they don't all reach for the same ones.
  const std::size_t first =
      survey.free.size() * static_cast<std::size_t>(before) / static_cast<std::size_t>(count);
  std::vector<int> wanted;
  for (std::size_t at = 0; at < survey.free.size(); ++at) {
    if (static_cast<int>(wanted.size()) == share - kept) break;
    wanted.push_back(survey.free[(first + at) % survey.free.size()]);
  }
  if (auto claimed = claim(wanted); !claimed) return claimed;
  for (const int partition : survey.hanging) {
    const bool missed = std::find(wanted.begin(), wanted.end(), partition) != wanted.end() &&
                        !leases_.epoch_of(partition);
    if (!missed) continue;
    const auto taken = claim_from_who_hangs(partition);
    if (!taken) return taken.error();
  }
  return {};
}

PgOutcome<void> Membership::claim(const std::vector<int>& wanted) {
  const auto claimed = rows_.claim(wanted);
  if (!claimed) return claimed.error();
  const auto taken = take(*claimed);
  if (!taken) return taken.error();
  return {};
}

PgOutcome<std::vector<PartitionLease>> Membership::take(
    const std::vector<LeaseRows::Claimed>& claimed) {
  std::vector<PartitionLease> leases;
  std::vector<int> orphaned;
  for (const auto& [lease, was_left] : claimed) {
    leases.push_back(lease);
    if (!was_left) orphaned.push_back(lease.partition);
  }
  if (leases.empty()) return leases;
  if (auto learned = numbers_.learn(*pipeline_, leases); !learned) return learned.error();
  // Before they are taken up: what ends this worker, too, is counted by then.
  if (auto counted = count_lost_owners(orphaned); !counted) return counted.error();
  leases_.add(leases);
  sink_->partitions_taken(leases);
  return leases;
}

// What waited to be delivered when their owners ended. An event that its execution does not take just now ends nobody.
PgOutcome<void> Membership::count_lost_owners(const std::vector<int>& orphaned) {
  if (orphaned.empty()) return {};
  PgColumn partitions(PgType::int4);
  for (const int partition : orphaned) partitions.add(std::int32_t{partition});
  for (const PgStatement& count : {kCountMail, kCountAccepted}) {
    pipeline_->add(count.name,
                   PgParameters().add_array(partitions.bytes()).add(std::int64_t{kRowsCountedMax}));
  }
  if (const auto counted = pipeline_->run(); !counted) return counted.error();
  return {};
}

// Whoever holds up a claim on a lease that ran out is ended by the server: its transaction is not to keep a partition
// from everybody.
PgOutcome<std::vector<PartitionLease>> Membership::claim_from_who_hangs(const int partition) {
  pipeline_->add(kBackend.name);
  const auto backend = pipeline_->run();
  if (!backend) return backend.error();
  const std::int64_t self = PgRow(backend->front().get(), 0).integer(0);
  std::atomic<bool> done = false;
  const auto end_blockers = std::async(std::launch::async, [&] {
    PgPipeline other;
    if (!other.connect(options_.parameters, {}, {}, kAnswerMax)) return;
    const std::string sql = fmt::format(
        "SELECT pg_terminate_backend(pid) FROM unnest(pg_blocking_pids({})) AS b(pid)", self);
    const auto until = SteadyClock::now() + options_.lease;
    while (!done && SteadyClock::now() < until) {
      other.add_sql(sql.c_str());
      if (!other.run()) return;
      std::this_thread::sleep_for(kTendMin);
    }
  });
  auto claimed = rows_.claim_waiting(partition);
  done = true;
  end_blockers.wait();
  if (!claimed) return claimed.error();
  return take(*claimed);
}

void Membership::close() {
  if (std::exchange(closed_, true)) return;
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    wake_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
  if (!pipeline_->is_connected()) return;
  std::vector<PartitionLease> left = leases_.all();
  {
    const std::lock_guard lock(mutex_);
    left.insert(left.end(), left_.begin(), left_.end());
  }
  if (left.empty() || rows_.release(left)) {
    pipeline_->add(kLeave.name, PgParameters().add_text(options_.worker));
    [[maybe_unused]] const auto gone = pipeline_->run();
  }
  pipeline_->close();
}

}  // namespace pawl
