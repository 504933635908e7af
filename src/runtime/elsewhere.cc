#include "runtime/elsewhere.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/random.h"
#include "core/completion_token.h"
#include "core/event_answer.h"
#include "core/start_options.h"
#include "model/attributes.h"
#include "model/failure_codec.h"

namespace pawl {
namespace {

using namespace std::chrono_literals;
using SteadyClock = std::chrono::steady_clock;

constexpr std::size_t kEarlyAnswersMax = 4'096;
constexpr std::size_t kLooksAtOnceMax = 1'000;
constexpr std::chrono::milliseconds kRowPauseMax = 1s;
constexpr std::chrono::milliseconds kEndPauseMax = 500ms;
// After that time a start, and what an operator wants, is said to be durable, although nobody has taken it up yet.
constexpr auto kOwnerPatience = 5s;
constexpr auto kIdleMax = 100ms;
constexpr auto kLookGap = 5ms;

Error unknown_execution_of(const std::string& tenant, const std::string& id) {
  return {ErrorCode::unknown_execution,
          fmt::format("There is no execution '{}' in tenant '{}'.", id, tenant), id};
}

// None: its start waits to be taken up.
ControlReply reply_of(const std::string& id, const std::optional<ExecutionRecord>& record) {
  if (!record) return {id, std::string(to_string(ExecutionStatus::running)), "initial"};
  return {id, std::string(to_string(record->status)), record->state};
}

InboxKind kind_of(const ControlVerb verb) {
  switch (verb) {
    case ControlVerb::cancel: return InboxKind::cancel;
    case ControlVerb::terminate: return InboxKind::terminate;
    case ControlVerb::pause: return InboxKind::pause;
    case ControlVerb::resume: return InboxKind::resume;
    case ControlVerb::retry: break;
  }
  return InboxKind::try_again;
}

}  // namespace

Elsewhere::Elsewhere(Store& store, HintBus& bus, Clock& clock, Ways ways)
    : store_(store),
      bus_(bus),
      clock_(clock),
      ways_(std::move(ways)),
      worker_(store.worker()),
      partitions_(store.partitions()),
      thread_([this] { run(); }) {}

void Elsewhere::close() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    wake_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

// ---- sending

void Elsewhere::take(CallElsewhere call) {
  std::visit([this](auto&& one) { send(std::forward<decltype(one)>(one)); }, std::move(call.call));
}

void Elsewhere::put(MailRequest mail, Waiting waiting,
                    std::function<bool(const MailPut&)> settled) {
  if (mail.row.event_id.empty()) {
    mail.row.event_id = uuid_v7(clock_.now(), random_bits(), random_bits());
  }
  if (mail.row.accepted_at == 0) mail.row.accepted_at = clock_.now();
  Hint hint{partition_of(mail.row.tenant, mail.row.execution_id, partitions_), mail.row.tenant,
            mail.row.execution_id};
  store_.put_mail(std::move(mail),
                  [this, hint = std::move(hint), waiting = std::move(waiting),
                   settled = std::move(settled)](const Result<MailPut>& put) mutable {
                    if (!put) return ways_.answer(Reply{waiting.request, put.error()});
                    if (put->fresh) bus_.publish({std::move(hint)});
                    if (settled(*put)) return;
                    if (put->answer) return tell(waiting, *put->answer);
                    if (!put->event_id.empty()) waiting.event_id = put->event_id;
                    await(put->id, std::move(waiting));
                  });
}

void Elsewhere::send(EventSubmitted call) {
  EventRequest& event = call.event;
  Waiting waiting{call.request,       Kind::event,   event.tenant,
                  event.execution_id, call.event_id, call.deadline};
  MailRequest mail;
  mail.row.kind = InboxKind::event;
  mail.row.tenant = std::move(event.tenant);
  mail.row.execution_id = std::move(event.execution_id);
  mail.row.event_id = std::move(call.event_id);
  mail.row.event_name = std::move(event.name);
  mail.row.payload = std::move(event.payload);
  mail.row.user_id = std::move(event.user_id);
  mail.row.idempotency_key = std::move(event.idempotency_key);
  mail.row.accepted_at = call.accepted_at;
  if (!call.enqueue) mail.row.reply_to = worker_;
  put(std::move(mail), std::move(waiting),
      [this, request = call.request, enqueue = call.enqueue](const MailPut& put) {
        if (enqueue) {
          ways_.answer(Reply{request, EnqueueReply{put.event_id, std::to_string(put.id)}});
        }
        return enqueue;
      });
}

void Elsewhere::send(const StartRequested& call) {
  const StartRequest& start = call.start;
  MailRequest mail;
  mail.row.kind = InboxKind::start;
  mail.row.event_name = start.workflow;
  mail.row.payload = start.input;
  mail.row.user_id = start.user_id;
  StartedAttributes attributes;
  attributes.version = start.version;
  attributes.user_id = start.user_id;
  attributes.correlation_id = start.correlation_id;
  attributes.seed = call.seed;
  attributes.idempotency_key = start.idempotency_key;
  attributes.start_at = start.start_at.value_or(0);
  attributes.deadline = start.deadline ? std::max<Timestamp>(*start.deadline, 1) : 0;
  mail.row.attributes = encode(attributes);
  Waiting waiting{call.request, Kind::start, start.tenant, start.execution_id};
  put_beginning(std::move(mail), std::move(waiting), start_digest(start), start_clash(start));
}

void Elsewhere::put_beginning(MailRequest mail, Waiting waiting, std::string digest, Error clash) {
  mail.to_known = false;
  mail.row.tenant = waiting.tenant;
  mail.row.execution_id = waiting.execution_id;
  mail.row.reply_to = worker_;
  auto settled = [this, request = waiting.request, id = waiting.execution_id,
                  digest = std::move(digest), clash = std::move(clash)](const MailPut& put) {
    if (!put.known_digest) return false;
    ways_.answer(*put.known_digest == digest ? Reply{request, id} : Reply{request, clash});
    return true;
  };
  put(std::move(mail), std::move(waiting), std::move(settled));
}

void Elsewhere::send(const ControlRequested& call) {
  const ControlRequest& control = call.control;
  MailRequest mail;
  mail.row.kind = kind_of(call.verb);
  mail.row.tenant = control.tenant;
  mail.row.execution_id = control.execution_id;
  mail.row.reply_to = worker_;
  mail.row.attributes = encode(OperatorAttributes{control.by, control.reason});
  Waiting waiting{call.request, Kind::control, control.tenant, control.execution_id};
  put(std::move(mail), std::move(waiting), [](const MailPut&) { return false; });
}

void Elsewhere::send(const ForkPrepared& call) {
  const ForkRequest& fork = call.fork;
  MailRequest mail;
  mail.row.kind = InboxKind::fork;
  mail.row.event_name = fork.execution_id;
  mail.row.attributes = encode(ForkedAttributes{*fork.at_sequence, fork.by, fork.reason});
  Waiting waiting{call.request, Kind::start, fork.tenant, fork.fork_id};
  put_beginning(std::move(mail), std::move(waiting), fork_digest(fork), fork_clash(fork));
}

void Elsewhere::send(ActionCompletionGiven call) {
  const std::lock_guard lock(mutex_);
  completions_.push_back(std::move(call));
  wake_.notify_all();
}

void Elsewhere::send(CompletionAwaited call) {
  const std::lock_guard lock(mutex_);
  asked_ = true;
  ends_.push_back(EndAwaited{call.request, std::move(call.tenant), std::move(call.execution_id),
                             call.deadline, SteadyClock::now(), 10ms});
  wake_.notify_all();
}

// ---- answers

void Elsewhere::await(const InboxId row, Waiting waiting) {
  std::string answer;
  {
    const std::lock_guard lock(mutex_);
    const auto early = early_.extract(row);
    if (early.empty()) {
      waiting.since = SteadyClock::now();
      waiting.look_at = waiting.since + waiting.pause;
      waiting_.insert_or_assign(row, std::move(waiting));
      asked_ = true;
      wake_.notify_all();
      return;
    }
    answer = std::move(early.mapped());
  }
  tell(waiting, answer);
}

void Elsewhere::tell(const Waiting& waiting, const std::string& answer) {
  if (auto error = error_in_answer(answer)) {
    return ways_.answer(Reply{waiting.request, std::move(*error)});
  }
  switch (waiting.kind) {
    case Kind::start: return ways_.answer(Reply{waiting.request, waiting.execution_id});
    case Kind::event: {
      auto reply = decode_answer(answer);
      if (!reply) return ways_.answer(Reply{waiting.request, reply.error()});
      return ways_.answer(Reply{waiting.request, std::move(*reply)});
    }
    case Kind::control: break;
  }
  auto reply = decode_control_answer(answer);
  if (!reply) return ways_.answer(Reply{waiting.request, reply.error()});
  ways_.answer(Reply{waiting.request, std::move(*reply)});
}

void Elsewhere::answers_arrived(std::vector<AnswerHint> answers) {
  std::vector<std::pair<Waiting, std::string>> told;
  {
    const std::lock_guard lock(mutex_);
    for (AnswerHint& answer : answers) {
      const auto waiting = waiting_.find(answer.row);
      if (waiting == waiting_.end()) {
        if (early_.size() >= kEarlyAnswersMax) early_.erase(early_.begin());
        early_.insert_or_assign(answer.row, std::move(answer.answer));
      } else if (answer.answer.empty() && waiting->second.kind != Kind::start) {
        waiting->second.look_at = {};  // it was too long for the bus
        asked_ = true;
        wake_.notify_all();
      } else {
        told.emplace_back(std::move(waiting->second), std::move(answer.answer));
        waiting_.erase(waiting);
      }
    }
  }
  for (const auto& [waiting, answer] : told) tell(waiting, answer);
}

void Elsewhere::hints_arrived(std::vector<HintReceived> hints) {
  ways_.take_hints(std::move(hints));
}

void Elsewhere::hints_missed() { ways_.look_for_mail(); }

// ---- looking, where no hint came

void Elsewhere::run() {
  std::unique_lock lock(mutex_);
  while (!closing_) {
    SteadyTime next = SteadyClock::now() + kIdleMax;
    for (const auto& [row, waiting] : waiting_) next = std::min(next, waiting.look_at);
    for (const EndAwaited& end : ends_) next = std::min(next, end.look_at);
    // Those that are asked for meanwhile are looked at together.
    next = std::max(next, SteadyClock::now() + kLookGap);
    wake_.wait_until(lock, next, [this] {
      return closing_ || !completions_.empty() || std::exchange(asked_, false);
    });
    if (closing_) break;
    std::vector<ActionCompletionGiven> completions = std::exchange(completions_, {});
    lock.unlock();
    for (ActionCompletionGiven& given : completions) {
      const auto found = store_.load_execution(given.execution, kNoHistory);
      if (!found) {
        ways_.answer(Reply{given.request, found.error()});
        continue;
      }
      if (!*found || (*found)->record.tenant != given.tenant) {
        ways_.answer(Reply{given.request, unknown_token()});
        continue;
      }
      const ExecutionRecord& record = (*found)->record;
      MailRequest mail;
      mail.row.kind = InboxKind::completion;
      mail.row.tenant = record.tenant;
      mail.row.execution_id = record.execution_id;
      mail.row.reply_to = worker_;
      const auto* const failure = std::get_if<Failure>(&given.outcome);
      mail.row.payload = failure != nullptr ? Payload::json(encode_failure(*failure))
                                            : std::move(std::get<Payload>(given.outcome));
      mail.row.attributes = encode(
          CompletionAttributes{given.position, given.generation, given.seed, failure != nullptr});
      Waiting waiting{given.request, Kind::control, record.tenant, record.execution_id};
      put(std::move(mail), std::move(waiting), [](const MailPut&) { return false; });
    }
    const auto now = SteadyClock::now();
    look_at_rows(now);
    look_at_ends(now);
    end_waits();
    lock.lock();
  }
}

std::optional<ExecutionRecord> Elsewhere::find(const std::string& tenant, const std::string& id) {
  auto found = store_.find_execution(tenant, id, kNoHistory);
  if (!found || !*found) return std::nullopt;
  return std::move((*found)->record);
}

void Elsewhere::look_at_rows(const SteadyTime now) {
  std::vector<InboxId> rows;
  {
    const std::lock_guard lock(mutex_);
    for (auto& [row, waiting] : waiting_) {
      if (waiting.look_at > now) continue;
      rows.push_back(row);
      waiting.pause = std::min<std::chrono::milliseconds>(2 * waiting.pause, kRowPauseMax);
      waiting.look_at = now + waiting.pause;
      if (rows.size() == kLooksAtOnceMax) break;
    }
  }
  if (rows.empty()) return;
  const auto settled = store_.settled_mail(rows);
  if (!settled) return;
  const auto take = [this](const InboxId row) -> std::optional<Waiting> {
    const std::lock_guard lock(mutex_);
    auto waiting = waiting_.extract(row);
    if (waiting.empty()) return std::nullopt;
    return std::move(waiting.mapped());
  };
  for (const InboxRecord& row : *settled) {
    std::erase(rows, row.id);
    const auto waiting = take(row.id);
    if (!waiting) continue;
    if (!row.answer.empty() || waiting->kind == Kind::start) {
      tell(*waiting, row.answer);
    } else if (row.status == InboxStatus::failed) {
      ways_.answer(Reply{waiting->request,
                         Error{ErrorCode::wrong_status, row.last_error, waiting->execution_id}});
    } else if (const auto record = find(waiting->tenant, waiting->execution_id)) {
      if (waiting->kind == Kind::event) {
        ways_.answer(Reply{
            waiting->request,
            EventReply{record->execution_id, waiting->event_id, record->state,
                       std::string(to_string(record->status)), is_terminal(record->status), true}});
      } else {
        ways_.answer(Reply{waiting->request, reply_of(record->execution_id, record)});
      }
    }
  }
  // Those that nobody takes up now: it is durable, and that is all that can be said.
  for (const InboxId row : rows) {
    Kind kind = Kind::control;
    std::string tenant;
    std::string id;
    SteadyTime since;
    {
      const std::lock_guard lock(mutex_);
      const auto waiting = waiting_.find(row);
      if (waiting == waiting_.end()) continue;
      kind = waiting->second.kind;
      tenant = waiting->second.tenant;
      id = waiting->second.execution_id;
      since = waiting->second.since;
    }
    if (kind != Kind::event) {
      if (now - since <= kOwnerPatience) continue;
      const auto waiting = take(row);
      if (!waiting) continue;
      if (kind == Kind::start) {
        ways_.answer(Reply{waiting->request, id});
        continue;
      }
      ways_.answer(Reply{waiting->request, reply_of(id, find(tenant, id))});
    } else {
      const auto record = find(tenant, id);
      const bool rests = record && (record->status == ExecutionStatus::paused ||
                                    record->status == ExecutionStatus::stuck ||
                                    record->condition == Condition::no_worker);
      if (!rests) continue;
      if (const auto waiting = take(row)) {
        ways_.answer(Reply{waiting->request,
                           EventReply{id, waiting->event_id, record->state,
                                      std::string(to_string(record->status)), false, false}});
      }
    }
  }
}

void Elsewhere::look_at_ends(const SteadyTime now) {
  std::vector<EndAwaited> due;
  {
    const std::lock_guard lock(mutex_);
    for (auto at = ends_.begin(); at != ends_.end() && due.size() < kLooksAtOnceMax;) {
      if (at->look_at > now) {
        ++at;
        continue;
      }
      due.push_back(std::move(*at));
      at = ends_.erase(at);
    }
  }
  if (due.empty()) return;
  std::vector<std::pair<std::string, std::string>> wanted;
  wanted.reserve(due.size());
  for (const EndAwaited& end : due) wanted.emplace_back(end.tenant, end.execution_id);
  const auto statuses = store_.statuses(wanted);
  for (std::size_t at = 0; at < due.size(); ++at) {
    EndAwaited& end = due[at];
    if (statuses && !(*statuses)[at]) {
      ways_.answer(Reply{end.request, unknown_execution_of(end.tenant, end.execution_id)});
      continue;
    }
    if (statuses && is_terminal(*(*statuses)[at])) {
      ways_.answer(Reply{end.request, CompletionReached{end.tenant, end.execution_id, nullptr}});
      continue;
    }
    end.pause = std::min<std::chrono::milliseconds>(end.pause * 3 / 2 + 5ms, kEndPauseMax);
    end.look_at = now + end.pause;
    const std::lock_guard lock(mutex_);
    ends_.push_back(std::move(end));
  }
}

// Callers who wait for so long and no longer.
void Elsewhere::end_waits() {
  const Timestamp now = clock_.now();
  std::vector<Reply> late;
  {
    const std::lock_guard lock(mutex_);
    for (auto at = waiting_.begin(); at != waiting_.end();) {
      const Waiting& waiting = at->second;
      if (!waiting.deadline || *waiting.deadline > now) {
        ++at;
        continue;
      }
      late.push_back(
          Reply{waiting.request,
                Error{ErrorCode::timeout,
                      fmt::format("The step that takes event {} was not durable within the time "
                                  "given. The event is taken all the same.",
                                  waiting.event_id),
                      waiting.event_id}});
      at = waiting_.erase(at);
    }
    for (auto at = ends_.begin(); at != ends_.end();) {
      if (!at->deadline || *at->deadline > now) {
        ++at;
        continue;
      }
      late.push_back(
          Reply{at->request, Error{ErrorCode::timeout,
                                   "The execution has not ended within the time given. It goes on.",
                                   {}}});
      at = ends_.erase(at);
    }
  }
  for (Reply& reply : late) ways_.answer(std::move(reply));
}

}  // namespace pawl
