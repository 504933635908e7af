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

OtherWorkers::OtherWorkers(std::shared_ptr<Mailbox> mailbox, Ways ways)
    : mailbox_(std::move(mailbox)), ways_(std::move(ways)) {}

void OtherWorkers::post(Outbox outbox) {
  if (!outbox.work.empty()) {
    std::vector<Parcel> parcels;
    for (const auto& [worker, work] : outbox.work) {
      parcels.push_back({worker, encode_lent_work(work)});
    }
    ways_.send(std::move(parcels));
  }
  for (const AttemptsGone::Attempt& attempt : outbox.attempts_gone.attempts) {
    attempts_.erase(attempt.id);
  }
  if (!outbox.results.empty()) mailbox_->activations_completed(std::move(outbox.results));
  if (!outbox.instances_gone.executions.empty()) mailbox_->post(std::move(outbox.instances_gone));
  if (!outbox.attempts_gone.attempts.empty()) mailbox_->post(std::move(outbox.attempts_gone));
}

// ---- who there is

std::vector<std::string> OtherWorkers::see(const std::vector<Peer>& peers, const bool tell) {
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

    std::map<std::pair<std::string, std::string>, Offers> workflows;
    std::map<std::string, KnownAction> actions;
    for (const auto& [worker, offer] : offers_) {
      for (const OfferedWorkflow& workflow : offer.workflows) {
        workflows[{workflow.name, workflow.version}].emplace(worker, workflow.build);
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
    for (const auto& [workflow, offers] : workflows) {
      const Offers& known = workflows_[workflow];
      const bool fresh = std::any_of(offers.begin(), offers.end(), [&known](const auto& offer) {
        const auto before = known.find(offer.first);
        return before == known.end() || before->second != offer.second;
      });
      if (fresh) {
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
    for (const std::string& worker : gone) {
      if (tell) outbox.work[worker].push_back(AllLost{});
      lose(worker, outbox);
    }
    // Those that wait: who did not want them may have left, or has had enough time.
    for (auto& [id, attempt] : attempts_) {
      if (attempt.worker.empty()) place(attempt, outbox);
    }
    for (Input& change : changes) mailbox_->post(std::move(change));
    post(std::move(outbox));
  }
  for (const auto& [worker, why] : unreadable) ways_.refuse(worker, why);
  return gone;
}

bool OtherWorkers::differ(const WorkOffer& own) const {
  const std::lock_guard lock(mutex_);
  const auto names_of = [](const WorkOffer& offer) {
    std::set<std::pair<std::string, std::string>> names;
    for (const OfferedWorkflow& one : offer.workflows) names.emplace(one.name, one.version);
    for (const OfferedAction& one : offer.actions) names.emplace(meeting_name(one.name), "");
    return names;
  };
  const auto known = names_of(own);
  return std::any_of(offers_.begin(), offers_.end(),
                     [&](const auto& offered) { return names_of(offered.second) != known; });
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
  const std::lock_guard lock(mutex_);
  Outbox outbox;
  for (Activation& activation : activations) {
    const ExecutionRef ref = activation.execution;
    if (starts(activation))
      begin_instance(ref, std::get<StartJob>(activation.jobs.front()), outbox);
    const auto found = instances_.find(ref);
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
  post(std::move(outbox));
}

// At a worker that offers its code, where there is one.
void OtherWorkers::begin_instance(const ExecutionRef ref, const StartJob& start, Outbox& outbox) {
  if (const auto before = instances_.find(ref); before != instances_.end()) {
    drop(before, outbox);
  }
  const auto offered = workflows_.find({start.workflow, start.version});
  if (offered == workflows_.end()) return;
  std::vector<std::string> workers;
  for (const auto& [worker, build] : offered->second) workers.push_back(worker);
  std::string worker = choose(workers);
  ++load_[worker];
  instances_.emplace(ref, Instance{std::move(worker), next_instance_++, {}});
}

void OtherWorkers::evict(const ExecutionRef execution) {
  const std::lock_guard lock(mutex_);
  const auto found = instances_.find(execution);
  if (found == instances_.end()) return;
  Outbox outbox;
  drop(found, outbox);
  post(std::move(outbox));
}

void OtherWorkers::drop(const Instances::iterator at, Outbox& outbox) {
  outbox.work[at->second.worker].push_back(DropInstance{at->second.number, at->first});
  answer_as_lost(at->first, at->second, outbox);
  instances_.erase(at);
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
  const std::lock_guard lock(mutex_);
  Outbox outbox;
  for (ActionTask& task : tasks) {
    const AttemptId id = task.id;
    place(attempts_.try_emplace(id, Attempt{std::move(task), {}}).first->second, outbox);
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
  if (attempt.worker.empty()) return give_back(task, outbox);
  ++load_[attempt.worker];
  ways_.lent(task);
  outbox.work[attempt.worker].push_back(RunAttempt{task});
}

void OtherWorkers::give_back(const ActionTask& task, Outbox& outbox) {
  outbox.attempts_gone.attempts.push_back({task.id, task.execution, task.position});
}

void OtherWorkers::registered_here(const std::string& action) {
  const std::lock_guard lock(mutex_);
  Outbox outbox;
  for (const auto& [id, attempt] : attempts_) {
    if (attempt.worker.empty() && meeting_name(attempt.task.name) == action) {
      give_back(attempt.task, outbox);
    }
  }
  post(std::move(outbox));
}

void OtherWorkers::abort(const AttemptId id) {
  const std::lock_guard lock(mutex_);
  const auto found = attempts_.find(id);
  if (found == attempts_.end()) return;
  Outbox outbox;
  call_off(found, outbox);
  post(std::move(outbox));
}

// Whoever has it is told. That he may have committed what it writes is not forgotten.
void OtherWorkers::call_off(const std::map<AttemptId, Attempt>::iterator at, Outbox& outbox) {
  const auto& [id, attempt] = *at;
  if (!attempt.worker.empty()) {
    --load_[attempt.worker];
    outbox.work[attempt.worker].push_back(AbortAttempt{id});
  }
  attempts_.erase(at);
}

std::vector<AttemptId> OtherWorkers::hold() {
  const std::lock_guard lock(mutex_);
  Outbox outbox;
  std::vector<AttemptId> held;
  for (auto at = attempts_.begin(); at != attempts_.end();) {
    const auto next = std::next(at);
    if (!at->second.begun) {
      held.push_back(at->first);
      call_off(at, outbox);
    }
    at = next;
  }
  post(std::move(outbox));
  return held;
}

// ---- what came of it

void OtherWorkers::take(const std::string& worker, LentWork answer) {
  const std::lock_guard lock(mutex_);
  Outbox outbox;
  if (auto* const ran = std::get_if<CodeRan>(&answer)) {
    take_result(worker, std::move(*ran), outbox);
  } else if (const auto* const began = std::get_if<AttemptBegan>(&answer)) {
    if (Attempt* const attempt = attempt_at(worker, began->attempt)) {
      attempt->begun = true;
      const ActionTask& task = attempt->task;
      mailbox_->post(ActionBegun{task.id, task.execution, task.position});
    }
  } else if (auto* const alive = std::get_if<AttemptAlive>(&answer)) {
    if (const Attempt* const attempt = attempt_at(worker, alive->attempt)) {
      const ActionTask& task = attempt->task;
      mailbox_->post(
          ActionHeartbeat{task.id, task.execution, task.position, std::move(alive->progress)});
    }
  } else if (auto* const ended = std::get_if<AttemptEnded>(&answer)) {
    take_end(worker, std::move(*ended), outbox);
  }
  post(std::move(outbox));
}

OtherWorkers::Attempt* OtherWorkers::attempt_at(const std::string& worker, const AttemptId id) {
  const auto found = attempts_.find(id);
  return found != attempts_.end() && found->second.worker == worker ? &found->second : nullptr;
}

void OtherWorkers::take_result(const std::string& worker, CodeRan ran, Outbox& outbox) {
  const auto found = instances_.find(ran.result.execution);
  if (found == instances_.end() || found->second.worker != worker ||
      found->second.number != ran.instance || found->second.owed.empty()) {
    return;
  }
  if (ran.result.lost) {
    refused(worker);
    answer_as_lost(found->first, found->second, outbox);
    instances_.erase(found);
    return;
  }
  found->second.owed.pop_front();
  --owed_;
  const bool over = ends_code(ran.result);
  outbox.results.push_back(std::move(ran.result));
  if (!over) return;
  // What it owes beyond that is never answered.
  answer_as_lost(found->first, found->second, outbox);
  instances_.erase(found);
}

void OtherWorkers::take_end(const std::string& worker, AttemptEnded ended, Outbox& outbox) {
  Attempt* const attempt = attempt_at(worker, ended.attempt);
  if (attempt == nullptr) return;
  const ActionTask& task = attempt->task;
  --load_[worker];
  // A failure may be that of a COMMIT of which nobody knows.
  if (!ended.begun || std::holds_alternative<Payload>(ended.outcome)) ways_.answered(task);
  if (ended.begun) {
    mailbox_->actions_finished({ActionOutcome{task.id, task.execution, task.position,
                                              std::move(ended.outcome), ended.deferred}});
    attempts_.erase(ended.attempt);
    return;
  }
  refused(worker);
  attempt->worker.clear();
  if (task.in_place) {
    // Its instance is not to be had there: it is built somewhere else.
    if (const auto code = instances_.find(task.execution); code != instances_.end()) {
      if (code->second.owed.empty()) outbox.instances_gone.executions.push_back(task.execution);
      drop(code, outbox);
    }
    return give_back(task, outbox);
  }
  const auto known = actions_.find(meeting_name(task.name));
  // Whoever is alone with it is asked again when a while has passed.
  if (known != actions_.end() && known->second.workers.size() > 1) place(*attempt, outbox);
}

void OtherWorkers::lose(const std::string& worker, const bool tell) {
  const std::lock_guard lock(mutex_);
  Outbox outbox;
  if (tell) outbox.work[worker].push_back(AllLost{});
  lose(worker, outbox);
  post(std::move(outbox));
}

void OtherWorkers::lose(const std::string& worker, Outbox& outbox) {
  for (auto at = instances_.begin(); at != instances_.end();) {
    if (at->second.worker != worker) {
      ++at;
      continue;
    }
    if (at->second.owed.empty()) outbox.instances_gone.executions.push_back(at->first);
    answer_as_lost(at->first, at->second, outbox);
    at = instances_.erase(at);
  }
  for (const auto& [id, attempt] : attempts_) {
    if (attempt.worker == worker) give_back(attempt.task, outbox);
  }
  load_.erase(worker);
  refused_until_.erase(worker);
}

}  // namespace pawl
