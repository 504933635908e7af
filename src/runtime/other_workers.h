#pragma once

// The other workers of a store, as a host: what is registered at them and not here is run by them.
//
//   instance   (none) --StartJob--> at a worker --its end, or evicted--> (none)
//                                   at a worker --that one is gone--> (none), and what is owed is answered as lost
// What is sent and what is told to the shard goes out in the order in which it is decided: under the lock.
//
//   attempt    waits --somebody offers it--> at a worker --ended--> (answered)
//              at a worker --it does not take it--> waits
//              at a worker --that one is gone--> (none), and handed out again by who decides

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/lent_work.h"
#include "core/shard.h"
#include "core/store.h"
#include "pawl/host.h"
#include "runtime/mailbox.h"

namespace pawl {

class OtherWorkers final : public WorkflowHost, public ActionHost {
 public:
  struct Ways {
    std::function<void(std::vector<Parcel>)> send;
    // Its offer can't be read.
    std::function<void(const std::string& worker, const std::string& why)> refuse;
    // An attempt was given to somebody, who may commit what it writes to the store's database; and what became of it is
    // known. Of one that is given up in between, nothing is.
    std::function<void(const ActionTask& task)> lent;
    std::function<void(const ActionTask& task)> answered;
  };
  OtherWorkers(std::shared_ptr<Mailbox> mailbox, Ways ways);

  // All that serve now, from any thread. Gives those that are gone since; `tell`: they are told that nothing is under way
  // any more, in case they were only stopped.
  std::vector<std::string> see(const std::vector<Peer>& peers, bool tell);
  // What came of work; from any thread.
  void take(const std::string& worker, LentWork answer);
  // Something that was sent, or was to come, is lost: so is all that is under way there. `tell`: he is told.
  void lose(const std::string& worker, bool tell);
  // It is registered here from now on: attempts that wait for somebody else come back.
  void registered_here(const std::string& action);
  // Activations that are not answered.
  std::size_t owed() const;
  // Whether somebody has registered something that others have not.
  bool differ(const WorkOffer& own) const;

  void activate(std::vector<Activation> activations,
                const std::shared_ptr<ActivationSink>& sink) override;
  void evict(ExecutionRef execution) override;
  bool reports_begin() const override { return true; }
  std::vector<AttemptId> hold() override;
  void run(std::vector<ActionTask> tasks, const std::shared_ptr<ActionSink>& sink) override;
  void abort(AttemptId attempt) override;

 private:
  struct Instance {
    std::string worker;
    LentInstance number = 0;
    std::deque<std::int64_t> owed;  // sequences of activations that are not answered
  };
  struct Attempt {
    ActionTask task;
    std::string worker;  // empty: it waits for one
    bool begun = false;
  };
  using WorkByWorker = std::map<std::string, std::vector<LentWork>>;

  // What a call has decided.
  struct Outbox {
    WorkByWorker work;
    std::vector<ActivationResult> results;
    InstancesGone instances_gone;
    AttemptsGone attempts_gone;
  };

  void post(Outbox outbox);  // under the lock
  std::string choose(const std::vector<std::string>& from) const;
  using Instances = std::unordered_map<ExecutionRef, Instance>;
  void begin_instance(ExecutionRef ref, const StartJob& start, Outbox& outbox);
  void drop(Instances::iterator at, Outbox& outbox);
  void place(Attempt& attempt, Outbox& outbox);
  static void give_back(const ActionTask& task, Outbox& outbox);
  void call_off(std::map<AttemptId, Attempt>::iterator at, Outbox& outbox);
  Attempt* attempt_at(const std::string& worker, AttemptId id);
  void take_result(const std::string& worker, CodeRan ran, Outbox& outbox);
  void take_end(const std::string& worker, AttemptEnded ended, Outbox& outbox);
  void answer_as_lost(ExecutionRef execution, const Instance& instance, Outbox& outbox);
  void lose(const std::string& worker, Outbox& outbox);
  void refused(const std::string& worker);

  const std::shared_ptr<Mailbox> mailbox_;
  const Ways ways_;

  mutable std::mutex mutex_;
  // Under mutex_.
  std::map<std::string, WorkOffer> offers_;   // by worker
  std::map<std::string, std::string> texts_;  // of the offers, as they came
  // Who has it, and in which build; by name and version.
  using Offers = std::map<std::string, std::string>;
  std::map<std::pair<std::string, std::string>, Offers> workflows_;
  struct KnownAction {
    std::string name;
    ActionOptions options;
    std::vector<std::string> workers;
  };
  std::map<std::string, KnownAction> actions_;  // by meeting name
  std::map<std::string, std::size_t> load_;     // instances and attempts at a worker
  Instances instances_;
  std::map<AttemptId, Attempt> attempts_;
  LentInstance next_instance_ = 1;
  std::size_t owed_ = 0;
  // Who did not take what he was given is asked last for a while.
  std::map<std::string, std::chrono::steady_clock::time_point> refused_until_;
};

}  // namespace pawl
