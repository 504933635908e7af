#pragma once

// A worker among others: the thread that renews its leases, takes its share of the partitions, and gives back what
// is more than that. Shares follow from the rows of workflow_workers, so that nobody has to lead:
//
//   nobody's, or run out --fewer than its share--> taken --more than its share--> wanted --given back--> nobody's
//   taken --another claimed it--> lost

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/store.h"
#include "postgres/store/leases.h"
#include "postgres/store/numbers.h"
#include "postgres/store/pipeline.h"

namespace pawl {

struct MembershipOptions {
  PostgresParameters parameters;
  std::string worker;
  int partitions = 1;
  std::chrono::milliseconds lease{10'000};
};

class Membership {
 public:
  // `pipeline` is connected, with statements() prepared.
  Membership(MembershipOptions options, std::unique_ptr<PgPipeline> pipeline, Leases& leases,
             PostgresNumbers& numbers);
  ~Membership() { close(); }

  static const std::vector<PgStatement>& statements();

  // Puts the worker's row there. Once, before the others.
  Result<void> enter();
  // Of the store; once it has entered.
  const std::string& identity() const { return identity_; }
  // How far the clock of the server is ahead of this machine's, as far as the way there and back lets that be told.
  DurationMs clock_ahead() const { return clock_ahead_; }
  // Of the server, which is asked several times within a lease.
  StoreHealth health() const;
  void start(CommitSink& sink);
  // See Store::take_part().
  void take_part(std::function<bool()> works);
  void give_back(PartitionLease left);
  // See Store::offer().
  void offer(std::string offer);
  // Somebody found that it is another's.
  void lose(PartitionLease lost);
  // Numbers are running out.
  void hurry();
  // Renews no more, and gives back all that is left. Idempotent.
  void close();

 private:
  using SteadyTime = std::chrono::steady_clock::time_point;
  struct Survey;

  void run();
  PgOutcome<void> tend();
  PgOutcome<void> ask_for_time();
  PgOutcome<void> renew();
  PgOutcome<void> show();
  PgOutcome<void> release(const std::vector<PartitionLease>& left);
  PgOutcome<Survey> survey();
  PgOutcome<void> look_at_peers(const Survey& survey);
  PgOutcome<void> share(const Survey& survey);
  PgOutcome<void> claim(const std::vector<int>& wanted);
  PgOutcome<std::vector<PartitionLease>> take(const std::vector<LeaseRows::Claimed>& claimed);
  PgOutcome<void> count_lost_owners(const std::vector<int>& orphaned);
  PgOutcome<std::vector<PartitionLease>> claim_from_who_hangs(int partition);
  std::chrono::milliseconds pause() const;

  const MembershipOptions options_;
  // Of the thread, once it runs.
  const std::unique_ptr<PgPipeline> pipeline_;
  LeaseRows rows_;
  Leases& leases_;
  PostgresNumbers& numbers_;
  std::string identity_;
  std::atomic<DurationMs> clock_ahead_ = 0;
  bool clock_known_ = false;
  std::atomic<SteadyTime> answered_at_{};
  CommitSink* sink_ = nullptr;
  SteadyTime renewed_at_{};
  SteadyTime shown_at_{};
  std::map<int, std::int64_t> wanted_;               // to be given back: partition and epoch
  std::map<std::string, std::int64_t> offers_seen_;  // of the others: in which version
  std::vector<Peer> peers_;
  SteadyTime peers_told_at_{};

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  // Guarded by mutex_.
  std::function<bool()> works_;
  bool serving_ = false;
  bool serving_changed_ = false;
  std::string offer_;
  std::string trouble_;  // of the last turn; empty: none
  bool hurry_ = false;
  bool closing_ = false;
  std::vector<PartitionLease> left_;

  bool closed_ = false;
  std::thread thread_;
};

}  // namespace pawl
