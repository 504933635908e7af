#include "runtime/other_workers.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/name.h"
#include "runtime/lent_work_codec.h"

namespace pawl {
namespace {

using namespace std::chrono_literals;
using SteadyClock = std::chrono::steady_clock;

constexpr auto kRefusedFor = 500ms;

bool starts(const Activation& activation) {
  return !activation.jobs.empty() && std::holds_alternative<StartJob>(activation.jobs.front());
}

}  // namespace

OtherWorkers::OtherWorkers(
    std::shared_ptr<Mailbox> mailbox, std::function<void(std::vector<Parcel>)> send,
    std::function<void(const std::string& worker, const std::string& why)> refuse)
    : mailbox_(std::move(mailbox)), send_(std::move(send)), refuse_(std::move(refuse)) {}

void OtherWorkers::post(Outbox outbox) {
  if (!outbox.work.empty()) {
    std::vector<Parcel> parcels;
    for (const auto& [worker, work] : outbox.work) {
      parcels.push_back({worker, encode_lent_work(work)});
    }
    send_(std::move(parcels));
  }
  if (!outbox.results.empty()) mailbox_->activations_completed(std::move(outbox.results));
  if (!outbox.instances_gone.executions.empty()) mailbox_->post(std::move(outbox.instances_gone));
  if (!outbox.attempts_gone.attempts.empty()) mailbox_->post(std::move(outbox.attempts_gone));
}

// ---- who there is

std::vector<std::string> OtherWorkers::see(const std::vector<Peer>& peers) {
  Outbox outbox;
  std::vector<std::string> gone;
  std::vector<Input> changes;
  std::vector<std::pair<std::string, std::string>> unreadable;
  {
    const std::lock_guard lock(mutex_);
    std::set<std::string> here;
    for (const Peer& peer : peers) {
      here.insert(peer.worker);
      const auto [text, fresh] = texts_.try_emplace(peer.worker);
      if (!fresh && text->second == peer.offer) continue;
      text->second = peer.offer;
      WorkOffer& offer = offers_[peer.worker];
      offer = {};
      if (peer.offer.empty()) continue;
      if (auto read = decode_offer(peer.offer)) {
        offer = std::move(*read);
      } else {
        unreadable.emplace_back(peer.worker, read.error().message);
      }
    }
    for (const auto& [worker, text] : texts_) {
      if (!here.contains(worker)) gone.push_back(worker);
    }
    for (const std::string& worker : gone) {
      texts_.erase(worker);
      offers_.erase(worker);
    }

    std::map<std::pair<std::string, std::string>, std::vector<std::string>> workflows;
    std::map<std::string, KnownAction> actions;
    for (const auto& [worker, offer] : offers_) {
      for (const OfferedWorkflow& workflow : offer.workflows) {
        workflows[{workflow.name, workflow.version}].push_back(worker);
      }
      for (const OfferedAction& action : offer.actions) {
        KnownAction& known = actions[meeting_name(action.name)];
        // Where they differ, those of the first count for all.
        if (known.workers.empty()) {
          known.name = action.name;
          known.options = action.options;
        }
        known.workers.push_back(worker);
      }
    }
    for (const auto& [workflow, workers] : workflows) {
      if (!workflows_.contains(workflow)) {
        changes.emplace_back(WorkflowRegistered{workflow.first, workflow.second, kOtherWorkers});
      }
    }
    for (const auto& [workflow, workers] : workflows_) {
      if (!workflows.contains(workflow)) {
        changes.emplace_back(WorkflowWithdrawn{workflow.first, workflow.second});
      }
    }
    for (const auto& [meeting, action] : actions) {
      const auto known = actions_.find(meeting);
      if (known != actions_.end() && known->second.name == action.name &&
          known->second.options == action.options) {
        continue;
      }
      // How many of them run at once, and how often one begins, counts where they run.
      ActionOptions options = action.options;
      options.concurrency_max.reset();
      options.rate_limit.reset();
      changes.emplace_back(
          ActionRegistered{action.name, std::move(options), kOtherWorkers, std::nullopt, true});
    }
    for (const auto& [meeting, action] : actions_) {
      if (!actions.contains(meeting)) changes.emplace_back(ActionWithdrawn{action.name});
    }
    workflows_ = std::move(workflows);
    actions_ = std::move(actions);
    // One that was stopped, and comes back, is to keep nothing of it.
    for (const std::string& worker : gone) {
      if (lose(worker, outbox)) outbox.work[worker].push_back(AllLost{});
    }
    // Those that wait: who did not want them may have left, or has had enough time.
    for (auto& [id, attempt] : attempts_) {
      if (attempt.worker.empty()) place(attempt, outbox);
    }
    for (const AttemptsGone::Attempt& attempt : outbox.attempts_gone.attempts) {
      attempts_.erase(attempt.id);
    }
  }
  for (const auto& [worker, why] : unreadable) refuse_(worker, why);
  for (Input& change : changes) mailbox_->post(std::move(change));
  post(std::move(outbox));
  return gone;
}

bool OtherWorkers::differ(const WorkOffer& own) const {
  const std::lock_guard lock(mutex_);
  return std::any_of(offers_.begin(), offers_.end(),
                     [&own](const auto& offered) { return !(offered.second == own); });
}

std::size_t OtherWorkers::owed() const {
  const std::lock_guard lock(mutex_);
  return owed_;
}

// The one that has least to do.
std::string OtherWorkers::choose(const std::vector<std::string>& from) const {
  const auto now = SteadyClock::now();
  const auto cost = [&](const std::string& worker) {
    const auto refused = refused_until_.find(worker);
    const auto load = load_.find(worker);
    return std::pair(refused != refused_until_.end() && refused->second > now,
                     load == load_.end() ? std::size_t{0} : load->second);
  };
  const auto best =
      std::min_element(from.begin(), from.end(),
                       [&](const auto& one, const auto& other) { return cost(one) < cost(other); });
  return best == from.end() ? std::string{} : *best;
}

void OtherWorkers::refused(const std::string& worker) {
  refused_until_[worker] = SteadyClock::now() + kRefusedFor;
}

// ---- code

void OtherWorkers::activate(std::vector<Activation> activations,
                            const std::shared_ptr<ActivationSink>& /*sink*/) {
  Outbox outbox;
  {
    const std::lock_guard lock(mutex_);
    for (Activation& activation : activations) {
      const ExecutionRef ref = activation.execution;
      auto found = instances_.find(ref);
      if (starts(activation)) {
        const StartJob& start = std::get<StartJob>(activation.jobs.front());
        if (found != instances_.end()) {
          outbox.work[found->second.worker].push_back(DropInstance{found->second.number, ref});
          --load_[found->second.worker];
          instances_.erase(found);
        }
        const auto offered = workflows_.find({start.workflow, start.version});
        std::string worker = offered == workflows_.end() ? std::string{} : choose(offered->second);
        found = instances_.end();
        if (!worker.empty()) {
          ++load_[worker];
          found = instances_.emplace(ref, Instance{std::move(worker), next_instance_++, {}}).first;
        }
      }
      if (found == instances_.end()) {
        ActivationResult& result = outbox.results.emplace_back();
        result.execution = ref;
        result.sequence = activation.sequence;
        result.lost = true;
        continue;
      }
      Instance& instance = found->second;
      instance.owed.push_back(activation.sequence);
      ++owed_;
      outbox.work[instance.worker].push_back(RunCode{instance.number, std::move(activation)});
    }
  }
  post(std::move(outbox));
}

void OtherWorkers::evict(const ExecutionRef execution) {
  Outbox outbox;
  {
    const std::lock_guard lock(mutex_);
    const auto found = instances_.find(execution);
    if (found == instances_.end()) return;
    const Instance& instance = found->second;
    outbox.work[instance.worker].push_back(DropInstance{instance.number, execution});
    answer_as_lost(execution, instance, outbox);
    instances_.erase(found);
  }
  post(std::move(outbox));
}

// Each activation has one answer.
void OtherWorkers::answer_as_lost(const ExecutionRef execution, const Instance& instance,
                                  Outbox& outbox) {
  for (const std::int64_t sequence : instance.owed) {
    ActivationResult& result = outbox.results.emplace_back();
    result.execution = execution;
    result.sequence = sequence;
    result.lost = true;
  }
  owed_ -= instance.owed.size();
  --load_[instance.worker];
}

// ---- actions

void OtherWorkers::run(std::vector<ActionTask> tasks, const std::shared_ptr<ActionSink>& /*sink*/) {
  Outbox outbox;
  {
    const std::lock_guard lock(mutex_);
    for (ActionTask& task : tasks) {
      const AttemptId id = task.id;
      const auto [attempt, fresh] = attempts_.try_emplace(id, Attempt{std::move(task), {}});
      place(attempt->second, outbox);
    }
    for (const AttemptsGone::Attempt& attempt : outbox.attempts_gone.attempts) {
      attempts_.erase(attempt.id);
    }
  }
  post(std::move(outbox));
}

// At a worker, where there is one. Where nobody has the action any more, that is to be seen at its execution.
void OtherWorkers::place(Attempt& attempt, Outbox& outbox) {
  const ActionTask& task = attempt.task;
  if (task.in_place) {
    const auto code = instances_.find(task.execution);
    if (code != instances_.end()) {
      attempt.worker = code->second.worker;
    } else {
      outbox.instances_gone.executions.push_back(task.execution);
    }
  } else {
    const auto known = actions_.find(meeting_name(task.name));
    if (known != actions_.end()) attempt.worker = choose(known->second.workers);
    // Outside of executions there is nothing that would show it.
    if (attempt.worker.empty() && task.execution == 0) return;
  }
  if (attempt.worker.empty()) {
    outbox.attempts_gone.attempts.push_back({task.id, task.execution, task.position});
    return;
  }
  ++load_[attempt.worker];
  outbox.work[attempt.worker].push_back(RunAttempt{task});
}

void OtherWorkers::abort(const AttemptId id) {
  Outbox outbox;
  {
    const std::lock_guard lock(mutex_);
    const auto found = attempts_.find(id);
    if (found == attempts_.end()) return;
    if (!found->second.worker.empty()) {
      --load_[found->second.worker];
      outbox.work[found->second.worker].push_back(AbortAttempt{id});
    }
    attempts_.erase(found);
  }
  post(std::move(outbox));
}

// ---- what came of it

void OtherWorkers::take(const std::string& worker, LentWork answer) {
  Outbox outbox;
  std::optional<Input> told;
  {
    const std::lock_guard lock(mutex_);
    if (auto* const ran = std::get_if<CodeRan>(&answer)) {
      const auto found = instances_.find(ran->result.execution);
      if (found == instances_.end() || found->second.worker != worker ||
          found->second.number != ran->instance || found->second.owed.empty()) {
        return;
      }
      if (ran->result.lost) {
        refused(worker);
        answer_as_lost(found->first, found->second, outbox);
        instances_.erase(found);
      } else {
        found->second.owed.pop_front();
        --owed_;
        if (ends_code(ran->result)) {
          // What it owes beyond that is never answered.
          answer_as_lost(found->first, found->second, outbox);
          instances_.erase(found);
        }
        outbox.results.insert(outbox.results.begin(), std::move(ran->result));
      }
    } else {
      const auto of = [&](const AttemptId id) {
        const auto found = attempts_.find(id);
        return found != attempts_.end() && found->second.worker == worker ? found : attempts_.end();
      };
      if (const auto* const began = std::get_if<AttemptBegan>(&answer)) {
        if (const auto at = of(began->attempt); at != attempts_.end()) {
          const ActionTask& task = at->second.task;
          told = ActionBegun{task.id, task.execution, task.position};
        }
      } else if (auto* const alive = std::get_if<AttemptAlive>(&answer)) {
        if (const auto at = of(alive->attempt); at != attempts_.end()) {
          const ActionTask& task = at->second.task;
          told =
              ActionHeartbeat{task.id, task.execution, task.position, std::move(alive->progress)};
        }
      } else if (auto* const ended = std::get_if<AttemptEnded>(&answer)) {
        const auto at = of(ended->attempt);
        if (at == attempts_.end()) return;
        --load_[worker];
        const ActionTask& task = at->second.task;
        if (ended->begun) {
          told = ActionOutcome{task.id, task.execution, task.position, std::move(ended->outcome),
                               ended->deferred};
          attempts_.erase(at);
        } else {
          refused(worker);
          at->second.worker.clear();
          const auto known = actions_.find(meeting_name(task.name));
          const bool others = known != actions_.end() && known->second.workers.size() > 1;
          // Whoever is alone with it is asked again when a while has passed.
          if (task.in_place || others) place(at->second, outbox);
          for (const AttemptsGone::Attempt& gone : outbox.attempts_gone.attempts) {
            attempts_.erase(gone.id);
          }
        }
      }
    }
  }
  if (told) mailbox_->post(std::move(*told));
  post(std::move(outbox));
}

void OtherWorkers::lose(const std::string& worker) {
  Outbox outbox;
  {
    const std::lock_guard lock(mutex_);
    lose(worker, outbox);
  }
  post(std::move(outbox));
}

bool OtherWorkers::lose(const std::string& worker, Outbox& outbox) {
  const std::size_t before = instances_.size() + attempts_.size();
  for (auto at = instances_.begin(); at != instances_.end();) {
    if (at->second.worker != worker) {
      ++at;
      continue;
    }
    if (at->second.owed.empty()) outbox.instances_gone.executions.push_back(at->first);
    answer_as_lost(at->first, at->second, outbox);
    at = instances_.erase(at);
  }
  for (auto at = attempts_.begin(); at != attempts_.end();) {
    if (at->second.worker != worker) {
      ++at;
      continue;
    }
    const ActionTask& task = at->second.task;
    outbox.attempts_gone.attempts.push_back({task.id, task.execution, task.position});
    at = attempts_.erase(at);
  }
  load_.erase(worker);
  refused_until_.erase(worker);
  return instances_.size() + attempts_.size() < before;
}

}  // namespace pawl
