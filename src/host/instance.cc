#include "host/instance.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/start_options.h"
#include "model/failure_from_exception.h"
#include "model/json_members.h"
#include "model/limit_checks.h"

namespace pawl::detail {

namespace {

thread_local Instance* running_instance = nullptr;
thread_local Instance* dying_instance = nullptr;

// Sets a variable for as long as it lives.
class Scoped {
 public:
  Scoped(Instance*& variable, Instance* value)
      : variable_(variable), before_(std::exchange(variable, value)) {}
  Scoped(const Scoped&) = delete;
  Scoped& operator=(const Scoped&) = delete;
  ~Scoped() { variable_ = before_; }

 private:
  Instance*& variable_;
  Instance* before_;
};

std::string_view word_for(Pending::Kind kind) {
  switch (kind) {
    case Pending::Kind::action: return "action";
    case Pending::Kind::wait: return "wait";
    case Pending::Kind::timer: return "sleep";
    case Pending::Kind::child: return "child";
  }
  return "awaitable";
}

}  // namespace

Failure failure_of(const Cancelled& cancelled) {
  Failure failure{
      .name = "CancelledError",
      .message = cancelled.reason().empty() ? "The execution was cancelled" : cancelled.reason(),
      .code = "cancelled"};
  failure.failure_class = FailureClass::permanent;
  return failure;
}

Instance* Instance::running() { return running_instance; }

Instance::Instance(std::shared_ptr<const WorkflowFunction> function, const Limits& limits)
    : function_(std::move(function)), limits_(limits), context_(*this) {
  ready_.previous = ready_.next = &ready_;
}

Instance::~Instance() { destroy_frame(); }

void Instance::destroy_frame() {
  for (auto& [position, pending] : open_) pending->instance = nullptr;
  const Scoped nobody_runs(running_instance, nullptr);
  const Scoped dying(dying_instance, this);
  compensations.stop();
  if (!root_.handle) return;
  root_.promise = nullptr;
  std::exchange(root_.handle, nullptr).destroy();
}

bool Instance::may_use(const char* what) {
  if (running_instance == this) return true;
  if (dying_instance == this) return false;
  // Whoever this is must not touch the instance: it only leaves word for the thread that owns it.
  misused_.store(true, std::memory_order_relaxed);
  throw std::logic_error(fmt::format(
      "{} was used outside of its execution's code: from another thread, a callback, or another "
      "workflow",
      what));
}

bool Instance::may_ask(const char* what) {
  if (!may_use(what)) return false;
  if (!judging_) return true;
  throw std::logic_error(fmt::format(
      "{} was used by the predicate of a condition, which may only look at what is there", what));
}

void Instance::violate(std::string report) {
  if (!violation_) violation_ = std::move(report);
}

void Instance::activate(Activation activation, ActivationResult& result) {
  ++activation_number_;
  now = activation.now;
  replaying = activation.replaying;
  recorded_patches_ = std::move(activation.patches);
  if (!activation.execution_id.empty()) start.execution_id = activation.execution_id;
  generation = activation.generation;
  result_ = &result;
  violation_.reset();
  {
    const Scoped runs(running_instance, this);
    for (Job& job : activation.jobs) {
      std::visit([this](auto& each) { apply(each); }, job);
    }
    if (!violation_) run_ready();
  }
  if (!violation_ && misused_.load(std::memory_order_relaxed)) {
    violate(
        "the workflow's context was used outside of its code, from another thread, a callback or "
        "another workflow; only its own coroutines may, while they run");
  }
  if (!violation_) end();
  result_ = nullptr;
  result.violation = std::move(violation_);
}

void Instance::apply(StartJob& job) {
  if (root_.handle || ended_) return violate("a second start for an execution that runs");
  const std::string known = std::move(start.execution_id);
  start = std::move(job);
  if (!known.empty()) start.execution_id = known;
  last_position_ = start.first_position - 1;
  random_state_ = start.seed;
  if (Result<std::vector<JsonMemberText>> members = json_members(start.input.bytes)) {
    for (JsonMemberText& member : *members) {
      data.insert_or_assign(std::move(member.key), std::string(member.value));
    }
  }
  try {
    Result<RootFrame> made = (*function_)(context_, start.input);
    if (!made) {
      failed_to_start_ = validation_failure(
          fmt::format("the input of {} does not fit: {}", start.workflow, made.error().message));
      return;
    }
    root_ = *made;
    root_link_.handle = root_.handle;
    make_ready(root_link_);
  } catch (...) {
    failed_to_start_ = failure_from_current_exception();
  }
}

void Instance::apply(EventJob& job) {
  finish(Pending::Kind::wait, job.position, std::move(job.event));
}

void Instance::apply(WaitTimedOutJob& job) {
  finish(Pending::Kind::wait, job.position, std::monostate{});
}

void Instance::apply(TimerJob& job) {
  finish(Pending::Kind::timer, job.position, std::monostate{});
}

void Instance::apply(ActionJob& job) {
  if (Payload* payload = std::get_if<Payload>(&job.outcome)) {
    finish(Pending::Kind::action, job.position, std::move(*payload));
  } else {
    finish(Pending::Kind::action, job.position, std::move(std::get<Failure>(job.outcome)));
  }
}

void Instance::apply(ChildJob& job) {
  if (Payload* payload = std::get_if<Payload>(&job.outcome)) {
    finish(Pending::Kind::child, job.position, std::move(*payload));
  } else {
    finish(Pending::Kind::child, job.position, std::move(std::get<Failure>(job.outcome)));
  }
}

void Instance::ask(const Activation& question, ActivationResult& result) {
  now = question.now;
  replaying = false;
  const Scoped runs(running_instance, this);
  judging_ = true;
  for (std::size_t index = 0; index < question.offers.size(); ++index) {
    const EventOffer& offer = question.offers[index];
    const auto found = open_.find(offer.position);
    if (found == open_.end() || !found->second->filter) {
      result.violation = fmt::format(
          "number {} is a wait with a filter in the history, and not in the code", offer.position);
      break;
    }
    try {
      if (!found->second->filter(event_of(ReceivedEvent(offer.event)))) continue;
      result.taken = index;
    } catch (...) {
      result.violation = fmt::format(
          "the filter of a wait for '{}' threw: {}. It must say yes or no to any event "
          "of that name. Mend it, and register the definition with `replace`.",
          offer.event.name, failure_from_current_exception().message);
    }
    break;
  }
  judging_ = false;
}

void Instance::continue_as_new(Payload input, Here here) {
  if (next_input_) return;
  next_input_ = std::move(input);
  next_run_asked_at_ = call_site(here);
}

void Instance::apply(CancelJob& job) {
  cancel_reason = std::move(job.reason);
  std::vector<PendingPointer> all;
  all.reserve(open_.size());
  for (auto& [position, pending] : open_) all.push_back(pending);
  std::sort(all.begin(), all.end(), [](const PendingPointer& left, const PendingPointer& right) {
    return left->position < right->position;
  });
  open_.clear();
  conditions_.clear();
  for (const PendingPointer& pending : all) {
    if (job.keeps_children && pending->kind == Pending::Kind::child) {
      open_.emplace(pending->position, pending);
      if (pending->waiter == nullptr) continue;
      pending->kept = true;
    }
    pending->done = true;
    pending->cancelled = true;
    pending->order = next_order();
    if (pending->waiter != nullptr) std::exchange(pending->waiter, nullptr)->notify();
  }
}

void Instance::finish(Pending::Kind kind, Position position, Pending::Outcome outcome) {
  const auto found = open_.find(position);
  if (found == open_.end()) {
    return violate(fmt::format(
        "the history has an outcome for {} number {}, but the code has {} there", word_for(kind),
        position, position > last_position_ ? "not come so far" : "nothing open"));
  }
  if (found->second->kind != kind) {
    return violate(fmt::format("number {} is a {} in the history, and a {} in the code", position,
                               word_for(kind), word_for(found->second->kind)));
  }
  const PendingPointer pending = std::move(found->second);
  open_.erase(found);
  conditions_.erase(position);
  pending->done = true;
  pending->ended = true;
  pending->order = next_order();
  pending->outcome = std::move(outcome);
  if (pending->waiter != nullptr) std::exchange(pending->waiter, nullptr)->notify();
}

void Instance::run_ready() {
  do {
    while (ready_.next != &ready_) {
      ReadyLink& link = *ready_.next;
      const std::coroutine_handle<> handle = link.handle;
      link.unlink();
      handle.resume();
      if (root_.handle.done() || next_input_) return;
    }
    look();
  } while (ready_.next != &ready_);
}

bool Instance::judge(Pending& pending) {
  judging_ = true;
  try {
    pending.met = pending.predicate();
  } catch (...) {
    pending.thrown = std::current_exception();
  }
  judging_ = false;
  return pending.met || pending.thrown != nullptr;
}

void Instance::look() {
  for (auto next = conditions_.begin(); next != conditions_.end();) {
    const PendingPointer pending = next->second;
    if (judge(*pending) && !pending->withdrawn) {
      close(*pending);
      pending->withdrawn = false;  // to the engine it is; to the code it is done
      pending->done = true;
      pending->order = next_order();
      if (pending->waiter != nullptr) std::exchange(pending->waiter, nullptr)->notify();
    }
    // A predicate may have dropped a condition, so no iterator is kept.
    next = conditions_.upper_bound(pending->position);
  }
}

void Instance::end() {
  if (failed_to_start_) {
    give(FailCommand{std::move(*failed_to_start_)});
    ended_ = true;
    return;
  }
  if (!root_.handle) return violate("it was never started");
  if (next_input_) {
    give(ContinueAsNewCommand{std::move(*next_input_)}, next_run_asked_at_);
    ended_ = true;
    destroy_frame();
    open_.clear();
    conditions_.clear();
    return;
  }
  if (!root_.handle.done()) {
    if (open_.empty()) {
      violate(
          "the workflow waits, but for nothing that could ever happen: what it awaits was "
          "withdrawn by any(), or belongs to something that ended");
    }
    return;
  }
  if (root_.promise->thrown) {
    try {
      std::rethrow_exception(root_.promise->thrown);
    } catch (const Cancelled& cancelled) {
      if (cancel_reason) {
        give(CancelCommand{failure_of(cancelled)});
      } else {
        give(FailCommand{failure_of(cancelled)});
      }
    } catch (...) {
      give(FailCommand{failure_from_current_exception()});
    }
  } else {
    const Result<Payload>& result = *root_.promise->result;
    const std::optional<Error> refused =
        result ? pawl::check_payload("result", *result, limits_) : result.error();
    if (refused) {
      give(FailCommand{
          validation_failure("the workflow's result can't be recorded: " + refused->message)});
    } else {
      give(CompleteCommand{*result});
    }
  }
  ended_ = true;
  destroy_frame();
  open_.clear();
  conditions_.clear();
}

void Instance::check_name(const std::string_view what, const std::string_view name) const {
  if (auto refused = check_text(what, name, limits_)) throw ErrorException(std::move(*refused));
}

void Instance::check_payload(const std::string_view what, const Payload& payload) const {
  if (auto refused = pawl::check_payload(what, payload, limits_)) {
    throw ErrorException(std::move(*refused));
  }
}

void Instance::check_action(const std::string_view name, const Payload& parameters) const {
  check_name("action name", name);
  check_payload(fmt::format("parameters of action '{}'", name), parameters);
}

void Instance::give(Command command, const CallSite site) {
  if (!site.empty()) {
    result_->sites.resize(result_->commands.size() + 1);
    result_->sites.back() = site;
  }
  result_->commands.push_back(std::move(command));
}

PendingPointer Instance::open(Pending::Kind kind) {
  PendingPointer pending(new Pending);
  pending->kind = kind;
  enrol(pending);
  return pending;
}

PendingPointer Instance::schedule(std::string_view name, Payload parameters, ActionOptions options,
                                  const CallSite site) {
  PendingPointer pending = open(Pending::Kind::action);
  give(ScheduleActionCommand{.position = pending->position,
                             .name = std::string(name),
                             .parameters = std::move(parameters),
                             .options = std::move(options)},
       site);
  return pending;
}

void Instance::enrol(const PendingPointer& pending) {
  pending->instance = this;
  pending->position = ++last_position_;
  pending->activation = activation_number_;
  pending->command = commands().size();
  open_.emplace(pending->position, pending);
}

PendingPointer Instance::open_condition(std::function<bool()> predicate, Here here) {
  PendingPointer pending(new Pending);
  pending->kind = Pending::Kind::wait;
  pending->predicate = std::move(predicate);
  if (judge(*pending)) {
    // It would be so on every replay: there is nothing to record.
    pending->done = true;
    pending->order = next_order();
    return pending;
  }
  enrol(pending);
  conditions_.emplace(pending->position, pending);
  give(WaitCommand{.position = pending->position, .names = {}, .timeout = {}}, call_site(here));
  return pending;
}

void Instance::close(Pending& pending) {
  pending.withdrawn = true;
  give(WithdrawCommand{pending.position});
  open_.erase(pending.position);
  conditions_.erase(pending.position);
}

void Instance::make_ready(ReadyLink& link) {
  link.unlink();
  link.previous = ready_.previous;
  link.next = &ready_;
  ready_.previous->next = &link;
  ready_.previous = &link;
}

// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014). Histories
// depend on it: it can't be changed.
std::uint64_t Instance::next_random() {
  std::uint64_t z = random_state_ += 0x9E37'79B9'7F4A'7C15U;
  z = (z ^ z >> 30) * 0xBF58'476D'1CE4'E5B9U;
  z = (z ^ z >> 27) * 0x94D0'49BB'1331'11EBU;
  return z ^ z >> 31;
}

double Instance::random() {
  return static_cast<double>(next_random() >> 11) * 0x1.0p-53;  // the 53 bits that a double has
}

std::string Instance::uuid() {
  const std::uint64_t high = (next_random() & ~std::uint64_t{0xF000}) | 0x4000;
  const std::uint64_t low = (next_random() & ~(std::uint64_t{3} << 62)) | std::uint64_t{1} << 63;
  return fmt::format("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", high >> 32, high >> 16 & 0xFFFF,
                     high & 0xFFFF, low >> 48, low & 0xFFFF'FFFF'FFFF);
}

bool Instance::patched(std::string_view change_id, Here here) {
  const auto [told, first] = patches.try_emplace(std::string(change_id), false);
  if (told->second) return true;
  const bool recorded = std::find(recorded_patches_.begin(), recorded_patches_.end(), change_id) !=
                        recorded_patches_.end();
  // Code that passed here before the patch existed was not told so: it goes on as it began.
  if (!recorded && (replaying || !first)) return false;
  told->second = true;
  give(PatchedCommand{told->first}, call_site(here));
  return true;
}

// --- awaitables -------------------------------------------------------------------------------

void make_ready(ReadyLink& link) noexcept {
  if (Instance* instance = Instance::running()) instance->make_ready(link);
}

std::uint64_t next_order() noexcept {
  Instance* instance = Instance::running();
  return instance == nullptr ? 0 : instance->next_order();
}

void withdraw(Pending& pending) {
  const bool goes_on =
      pending.kind == Pending::Kind::action || pending.kind == Pending::Kind::child;
  if (pending.done || pending.withdrawn || goes_on) return;
  if (pending.instance != nullptr && pending.instance->may_use("any()")) {
    pending.instance->close(pending);
  }
}

void drop_condition(Pending& pending) noexcept {
  if (pending.done || pending.withdrawn || pending.instance == nullptr) return;
  if (pending.instance == Instance::running()) pending.instance->close(pending);
}

void set_timeout(Pending& pending, std::chrono::milliseconds timeout) {
  Instance* instance = pending.instance;
  if (instance == nullptr || !instance->may_use("within()")) return;
  if (pending.activation != instance->activation_number() || pending.done) {
    throw std::logic_error(
        "within() came too late: it belongs right behind wait_for(), before anything is awaited");
  }
  std::get<WaitCommand>(instance->commands()[pending.command]).timeout =
      std::max<DurationMs>(0, timeout.count());
}

void set_filter(Pending& pending, std::function<bool(const Event&)> filter) {
  Instance* instance = pending.instance;
  if (instance == nullptr || !instance->may_use("where()")) return;
  if (pending.activation != instance->activation_number() || pending.done) {
    throw std::logic_error(
        "where() came too late: it belongs right behind wait_for(), before anything is awaited");
  }
  pending.filter = std::move(filter);
  std::get<WaitCommand>(instance->commands()[pending.command]).filtered = true;
}

void cancel_child(const Pending& pending, Here here) {
  Instance* instance = pending.instance;
  const bool ended = pending.kept ? pending.ended : pending.done;
  if (instance == nullptr || ended || !instance->may_ask("cancel() of a child")) return;
  instance->give(CancelChildCommand{pending.position}, call_site(here));
}

bool PendingAwaitable::ready() const {
  if (pending_.get() == nullptr || pending_->taken) throw_awaited_twice();
  if (pending_->withdrawn) throw_withdrawn();
  if (pending_->kept && pending_->heard) {
    // Another co_await than the one that the cancellation was thrown out of.
    pending_->kept = pending_->cancelled = false;
    pending_->done = pending_->ended;
  }
  return pending_->done;
}

void PendingAwaitable::subscribe(Waiter* waiter) {
  if (pending_.get() == nullptr) return;
  if (waiter != nullptr && pending_->waiter != nullptr && pending_->waiter != waiter) {
    throw std::logic_error("two coroutines await the same awaitable: await it in one of them");
  }
  if (waiter == nullptr && pending_->cancelled) pending_->heard = true;
  pending_->waiter = waiter;
}

Pending::Outcome PendingAwaitable::take_outcome() {
  pending_->taken = !pending_->kept;
  if (pending_->thrown) std::rethrow_exception(pending_->thrown);
  if (pending_->cancelled) throw Cancelled(pending_->instance->cancel_reason.value_or(""));
  return std::move(pending_->outcome);
}

void throw_awaited_twice() {
  throw std::logic_error("an awaitable was awaited twice, or after it was moved from");
}

void throw_withdrawn() {
  throw std::logic_error("an awaitable was awaited that any() has withdrawn");
}

Event event_of(ReceivedEvent&& received) {
  return Event{.id = std::move(received.id),
               .name = std::move(received.name),
               .user_id = std::move(received.user_id),
               .timestamp = std::chrono::sys_time<std::chrono::milliseconds>(
                   std::chrono::milliseconds(received.timestamp)),
               .sequence = received.sequence,
               .payload = std::move(received.payload)};
}

}  // namespace pawl::detail

namespace pawl {

using detail::Instance;
using detail::Pending;
using detail::PendingPointer;

std::optional<Event> TimedWait::take() {
  Pending::Outcome outcome = take_outcome();
  if (auto* received = std::get_if<ReceivedEvent>(&outcome)) {
    return detail::event_of(std::move(*received));
  }
  return std::nullopt;
}

Event Wait::take() {
  Pending::Outcome outcome = take_outcome();
  return detail::event_of(std::move(std::get<ReceivedEvent>(outcome)));
}

namespace {

// What a context gives while its frame is destroyed: it never becomes ready.
PendingPointer nothing() { return PendingPointer(new Pending); }

}  // namespace

PendingPointer Context::start_action(std::string_view name, Payload parameters,
                                     ActionOptions options, Here here) {
  if (!instance_.may_ask("ctx.run()")) return nothing();
  instance_.check_action(name, parameters);
  return instance_.schedule(name, std::move(parameters), std::move(options), call_site(here));
}

PendingPointer Context::start_graph(const Graph& graph, Here here) {
  if (!instance_.may_ask("ctx.execute_actions()")) return nothing();
  StartGraphCommand command{0, graph.actions(), graph.concurrency_max()};
  if (auto error = check_graph(command, instance_.limits()))
    throw ErrorException(std::move(*error));
  PendingPointer pending = instance_.open(Pending::Kind::action);
  instance_.reserve(positions_of(command) - 1);
  command.position = pending->position;
  instance_.give(std::move(command), call_site(here));
  return pending;
}

PendingPointer Context::start_wait(std::vector<std::string> names, Here here) {
  if (!instance_.may_ask("ctx.wait_for()")) return nothing();
  if (names.empty()) throw std::invalid_argument("wait_for() needs the name of an event");
  for (const std::string& name : names) instance_.check_name("name of an event to wait for", name);
  PendingPointer pending = instance_.open(Pending::Kind::wait);
  instance_.give(
      WaitCommand{.position = pending->position, .names = std::move(names), .timeout = {}},
      call_site(here));
  return pending;
}

PendingPointer Context::start_condition(std::function<bool()> predicate, Here here) {
  if (!instance_.may_ask("ctx.condition()")) return nothing();
  return instance_.open_condition(std::move(predicate), here);
}

PendingPointer Context::start_timer(std::chrono::milliseconds duration, Here here) {
  if (!instance_.may_ask("ctx.sleep()")) return nothing();
  PendingPointer pending = instance_.open(Pending::Kind::timer);
  instance_.give(StartTimerCommand{.position = pending->position,
                                   .duration = std::max<DurationMs>(0, duration.count())},
                 call_site(here));
  return pending;
}

bool Context::is_cancelled() const { return instance_.cancel_reason.has_value(); }

bool Context::patched(std::string_view change_id, Here here) {
  if (!instance_.may_ask("ctx.patched()")) {
    const auto told = instance_.patches.find(change_id);
    return told != instance_.patches.end() && told->second;
  }
  instance_.check_name("id of a change", change_id);
  return instance_.patched(change_id, here);
}

const std::string& Context::current_state() const {
  instance_.may_use("ctx.current_state()");
  return instance_.state;
}

void Context::set_state(std::string_view state, Here here) {
  if (!instance_.may_ask("ctx.set_state()")) return;
  instance_.check_name("state", state);
  instance_.state = state;
  instance_.give(SetStateCommand{instance_.state}, call_site(here));
  instance_.look();
}

PendingPointer Context::start_child_execution(std::string_view workflow, Payload input,
                                              const ChildOptions& options, std::string& id,
                                              Here here) {
  if (!instance_.may_ask("ctx.start_child()")) return nothing();
  instance_.check_name("name of a child's workflow", workflow);
  instance_.check_payload(fmt::format("input of child '{}'", workflow), input);
  for (const auto& [what, text] : {std::pair{"version of a child's workflow", &options.version},
                                   {"user id of a child", &options.user_id},
                                   {"correlation id of a child", &options.correlation_id}}) {
    if (!text->empty()) instance_.check_name(what, *text);
  }
  id = options.execution_id.empty()
           ? derived_child_id(execution_id(), instance_.next_position(), instance_.generation)
           : options.execution_id;
  instance_.check_name("id of a child execution", id);
  PendingPointer pending = instance_.open(Pending::Kind::child);
  StartChildCommand command;
  command.position = pending->position;
  command.workflow = workflow;
  command.version = options.version;
  command.execution_id = id;
  command.input = std::move(input);
  command.user_id = options.user_id;
  command.correlation_id = options.correlation_id;
  command.parent_close = options.parent_close;
  instance_.give(std::move(command), call_site(here));
  return pending;
}

NextRun Context::go_on_as_new(Payload input, Here here) {
  if (!instance_.may_ask("ctx.continue_as_new()")) return NextRun(nothing());
  instance_.check_payload("input of the next run", input);
  instance_.continue_as_new(std::move(input), here);
  return NextRun(nothing());
}

void Context::emit_payload_to(std::string_view target, std::string_view name, Payload payload,
                              Here here) {
  if (!instance_.may_ask("ctx.emit_to()")) return;
  instance_.check_name("id of the execution to emit to", target);
  instance_.check_name("name of an event to emit", name);
  instance_.check_payload(fmt::format("payload of event '{}'", name), payload);
  instance_.give(EmitCommand{std::string(name), std::move(payload), std::string(target)},
                 call_site(here));
}

void Context::emit_payload(std::string_view name, Payload payload, Here here) {
  if (!instance_.may_ask("ctx.emit()")) return;
  instance_.check_name("name of an event to emit", name);
  instance_.check_payload(fmt::format("payload of event '{}'", name), payload);
  instance_.give(EmitCommand{std::string(name), std::move(payload), {}}, call_site(here));
}

std::chrono::sys_time<std::chrono::milliseconds> Context::now() const {
  instance_.may_use("ctx.now()");
  return std::chrono::sys_time<std::chrono::milliseconds>(std::chrono::milliseconds(instance_.now));
}

double Context::random() { return instance_.may_ask("ctx.random()") ? instance_.random() : 0; }

std::string Context::uuid() {
  return instance_.may_ask("ctx.uuid()") ? instance_.uuid() : std::string();
}

// What was given at the start never changes, and so may be read from anywhere.
const std::string& Context::execution_id() const { return instance_.start.execution_id; }
const std::string& Context::tenant() const { return instance_.start.tenant; }
const std::string& Context::user_id() const { return instance_.start.user_id; }
const std::string& Context::correlation_id() const { return instance_.start.correlation_id; }
const std::string& Context::workflow() const { return instance_.start.workflow; }
const std::string& Context::version() const { return instance_.start.version; }
const Payload& Context::input() const { return instance_.start.input; }

bool Context::is_replaying() const {
  instance_.may_use("ctx.is_replaying()");
  return instance_.replaying;
}

void Data::erase(std::string_view key, Here here) {
  if (!instance_.may_ask("ctx.data()")) return;
  const auto found = instance_.data.find(key);
  if (found == instance_.data.end()) return;
  instance_.data.erase(found);
  instance_.give(SetDataCommand{std::string(key), Payload{}}, call_site(here));
  instance_.look();
}

std::vector<std::string> Data::keys() const {
  instance_.may_use("ctx.data()");
  std::vector<std::string> keys;
  keys.reserve(instance_.data.size());
  for (const auto& [key, text] : instance_.data) keys.push_back(key);
  return keys;
}

const std::string* Data::find(std::string_view key) const {
  instance_.may_use("ctx.data()");
  const auto found = instance_.data.find(key);
  return found == instance_.data.end() ? nullptr : &found->second;
}

void Data::store(std::string_view key, Payload value, Here here) {
  if (!instance_.may_ask("ctx.data()")) return;
  instance_.check_name("key of data", key);
  instance_.check_payload(fmt::format("data '{}'", key), value);
  instance_.data.insert_or_assign(std::string(key), value.bytes);
  instance_.give(SetDataCommand{std::string(key), std::move(value)}, call_site(here));
  instance_.look();
}

void Data::throw_unfit(std::string_view key, const Error& error) {
  throw ErrorException(Error{error.code,
                             fmt::format("data '{}' has another shape: {}", key, error.message),
                             error.subject});
}

bool Log::wanted() const { return instance_.may_ask("ctx.log") && !instance_.replaying; }

void Log::write(LogLevel level, std::string message) const {
  instance_.give(LogCommand{level, std::move(message), Payload{}});
}

}  // namespace pawl
