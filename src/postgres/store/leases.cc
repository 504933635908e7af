#include "postgres/store/leases.h"

#include <utility>

#include "postgres/store/columns.h"

namespace pawl {
namespace {

// FOR UPDATE waits for the transactions that look at the row (FOR KEY SHARE); a plain UPDATE would not.
constexpr PgStatement kClaim{
    "claim",
    "WITH free AS MATERIALIZED (SELECT partition, owner FROM workflow_partitions "
    "WHERE partition = ANY($3::integer[]) AND (owner IS NULL OR expires_at < clock_timestamp()) "
    "ORDER BY partition FOR UPDATE SKIP LOCKED) "
    "UPDATE workflow_partitions p SET owner = $1::text, epoch = p.epoch + 1, "
    "expires_at = clock_timestamp() + $2::bigint * interval '1 millisecond' "
    "FROM free WHERE p.partition = free.partition RETURNING p.partition, p.epoch, "
    "free.owner IS NULL"};
constexpr PgStatement kClaimWaiting{
    "claim_waiting",
    "WITH free AS MATERIALIZED (SELECT partition, owner FROM workflow_partitions "
    "WHERE partition = $3::integer AND (owner IS NULL OR expires_at < clock_timestamp()) "
    "FOR UPDATE) "
    "UPDATE workflow_partitions p SET owner = $1::text, epoch = p.epoch + 1, "
    "expires_at = clock_timestamp() + $2::bigint * interval '1 millisecond' "
    "FROM free WHERE p.partition = free.partition RETURNING p.partition, p.epoch, "
    "free.owner IS NULL"};
constexpr PgStatement kRenew{
    "renew",
    "UPDATE workflow_partitions p SET "
    "expires_at = clock_timestamp() + $2::bigint * interval '1 millisecond' "
    "FROM unnest($3::integer[], $4::bigint[]) AS r(partition, epoch) "
    "WHERE p.partition = r.partition AND p.owner = $1::text AND p.epoch = r.epoch "
    "RETURNING p.partition, p.epoch"};
constexpr PgStatement kRelease{
    "release",
    "UPDATE workflow_partitions p SET owner = NULL, expires_at = '-infinity' "
    "FROM unnest($3::integer[], $4::bigint[]) AS r(partition, epoch) "
    "WHERE p.partition = r.partition AND p.owner = $1::text AND p.epoch = r.epoch AND $2::bigint > "
    "0 "
    "RETURNING p.partition, p.epoch"};

std::vector<PartitionLease> leases_of(const PgResult& result) {
  std::vector<PartitionLease> leases;
  for (int row = 0; row < PQntuples(result.get()); ++row) {
    const PgRow lease(result.get(), row);
    leases.push_back({static_cast<int>(lease.integer(0)), lease.integer(1)});
  }
  return leases;
}

std::vector<LeaseRows::Claimed> claimed_of(const PgResult& result) {
  std::vector<LeaseRows::Claimed> claimed;
  for (int row = 0; row < PQntuples(result.get()); ++row) {
    const PgRow lease(result.get(), row);
    claimed.push_back({{static_cast<int>(lease.integer(0)), lease.integer(1)}, lease.flag(2)});
  }
  return claimed;
}

}  // namespace

void Leases::add(const std::vector<PartitionLease>& leases) {
  const std::lock_guard lock(mutex_);
  for (const PartitionLease& lease : leases) epochs_.insert_or_assign(lease.partition, lease.epoch);
}

bool Leases::remove(const int partition, const std::int64_t epoch) {
  const std::lock_guard lock(mutex_);
  const auto held = epochs_.find(partition);
  if (held == epochs_.end() || held->second != epoch) return false;
  epochs_.erase(held);
  return true;
}

std::optional<std::int64_t> Leases::epoch_of(const int partition) const {
  const std::lock_guard lock(mutex_);
  const auto held = epochs_.find(partition);
  if (held == epochs_.end()) return std::nullopt;
  return held->second;
}

std::vector<PartitionLease> Leases::all() const {
  const std::lock_guard lock(mutex_);
  std::vector<PartitionLease> leases;
  for (const auto& [partition, epoch] : epochs_) leases.push_back({partition, epoch});
  return leases;
}

const std::vector<PgStatement>& LeaseRows::statements() {
  static const std::vector<PgStatement> all{kClaim, kClaimWaiting, kRenew, kRelease};
  return all;
}

PgOutcome<std::vector<LeaseRows::Claimed>> LeaseRows::claim(const std::vector<int>& partitions) {
  PgColumn wanted(PgType::int4);
  for (const int partition : partitions) wanted.add(std::int32_t{partition});
  pipeline_.add(
      kClaim.name,
      PgParameters().add_text(worker_).add(std::int64_t{lease_.count()}).add_array(wanted.bytes()));
  auto answers = pipeline_.run();
  if (!answers) return answers.error();
  return claimed_of(answers->front());
}

PgOutcome<std::vector<LeaseRows::Claimed>> LeaseRows::claim_waiting(const int partition) {
  pipeline_.add(kClaimWaiting.name, PgParameters()
                                        .add_text(worker_)
                                        .add(std::int64_t{lease_.count()})
                                        .add(std::int32_t{partition}));
  auto answers = pipeline_.run();
  if (!answers) return answers.error();
  return claimed_of(answers->front());
}

PgOutcome<std::vector<PartitionLease>> LeaseRows::run(const char* const statement,
                                                      const std::vector<PartitionLease>& leases) {
  PgColumn partitions(PgType::int4);
  PgColumn epochs(PgType::int8);
  for (const PartitionLease& lease : leases) {
    partitions.add(std::int32_t{lease.partition});
    epochs.add(lease.epoch);
  }
  pipeline_.add(statement, PgParameters()
                               .add_text(worker_)
                               .add(std::int64_t{lease_.count()})
                               .add_array(partitions.bytes())
                               .add_array(epochs.bytes()));
  auto answers = pipeline_.run();
  if (!answers) return answers.error();
  return leases_of(answers->front());
}

PgOutcome<std::vector<PartitionLease>> LeaseRows::renew(const std::vector<PartitionLease>& leases) {
  return run(kRenew.name, leases);
}

PgOutcome<void> LeaseRows::release(const std::vector<PartitionLease>& leases) {
  auto released = run(kRelease.name, leases);
  if (!released) return released.error();
  return {};
}

}  // namespace pawl
