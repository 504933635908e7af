#include "flat_reader.h"

#include <stdexcept>
#include <utility>

#include "call_sites.h"

namespace pawl::node {

namespace {

// The first element of a command. Numbers are shared with node/src/wire.ts.
enum class CommandKind : int {
  schedule_action = 0,
  wait = 1,
  withdraw = 2,
  start_timer = 3,
  set_state = 4,
  set_data = 5,
  emit = 6,
  log = 7,
  complete = 8,
  fail = 9,
  cancel = 10,
  patched = 11,
  start_child = 12,
  cancel_child = 13,
  continue_as_new = 14,
  start_graph = 15,
  run_in_place = 16,
};

// The element is the kind plus that many times the number of the call's site.
constexpr std::int64_t kCommandKindsEnd = 32;

class Scope {
 public:
  explicit Scope(napi_env env) : env_(env) { napi_open_handle_scope(env, &scope_); }
  ~Scope() { napi_close_handle_scope(env_, scope_); }
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

 private:
  napi_env env_;
  napi_handle_scope scope_ = nullptr;
};

[[noreturn]] void unexpected(const char* wanted, std::uint32_t index) {
  throw std::logic_error("element " + std::to_string(index) + " from JavaScript is no " + wanted);
}

// Optional numbers are -1 when absent.
std::optional<DurationMs> optional_duration(std::int64_t value) {
  if (value < 0) return std::nullopt;
  return value;
}

}  // namespace

std::string to_utf8(napi_env env, napi_value value) {
  char small[512];
  std::size_t size = 0;
  if (napi_get_value_string_utf8(env, value, small, sizeof small, &size) != napi_ok) {
    throw std::logic_error("a value from JavaScript is no string");
  }
  // Three bytes short of full may mean that a longer character did not fit.
  if (size + 4 < sizeof small) return std::string(small, size);
  napi_get_value_string_utf8(env, value, nullptr, 0, &size);
  std::string text(size, '\0');
  napi_get_value_string_utf8(env, value, text.data(), size + 1, &size);
  return text;
}

FlatReader::FlatReader(napi_env env, napi_value array) : env_(env), array_(array) {
  if (napi_get_array_length(env, array, &length_) != napi_ok) {
    throw std::logic_error("a value from JavaScript is no array");
  }
}

napi_value FlatReader::next() {
  napi_value value = nullptr;
  if (next_ == length_ || napi_get_element(env_, array_, next_, &value) != napi_ok) {
    throw std::logic_error("an array from JavaScript ends too early");
  }
  ++next_;
  return value;
}

double FlatReader::number() {
  double value = 0;
  if (napi_get_value_double(env_, next(), &value) != napi_ok) unexpected("number", next_ - 1);
  return value;
}

std::int64_t FlatReader::integer() {
  std::int64_t value = 0;
  if (napi_get_value_int64(env_, next(), &value) != napi_ok) unexpected("number", next_ - 1);
  return value;
}

std::string FlatReader::text() { return to_utf8(env_, next()); }

std::vector<std::string> FlatReader::texts() {
  std::vector<std::string> all(count());
  for (auto& one : all) one = text();
  return all;
}

// Of things with at least one element each, so that a wrong number asks for no memory.
std::size_t FlatReader::count() {
  const auto count = integer();
  if (count < 0 || count > static_cast<std::int64_t>(length_ - next_)) {
    unexpected("count", next_ - 1);
  }
  return static_cast<std::size_t>(count);
}

Failure FlatReader::failure() {
  Failure failure;
  failure.name = text();
  failure.message = text();
  failure.stack = text();
  failure.code = text();
  failure.details_json = text();
  failure.failure_class = static_cast<FailureClass>(integer());
  failure.causes.resize(count());
  for (auto& cause : failure.causes) cause = this->failure();
  return failure;
}

ActionOptions FlatReader::action_options() {
  ActionOptions options;
  options.timeout = optional_duration(integer());
  options.total_timeout = optional_duration(integer());
  options.heartbeat_timeout = optional_duration(integer());
  options.fail_after = optional_duration(integer());
  options.idempotency_key = text();
  if (const auto most = integer(); most > 0) options.concurrency_max = static_cast<int>(most);
  if (const auto most = integer(); most > 0) {
    options.rate_limit = RateLimit{static_cast<int>(most), integer()};
  } else {
    integer();
  }
  if (integer() == 0) return options;
  RetryPolicy retry;
  retry.max_attempts = static_cast<int>(integer());
  retry.initial_interval = integer();
  retry.backoff = number();
  retry.max_interval = integer();
  retry.jitter = number();
  retry.non_retryable = texts();
  options.retry = std::move(retry);
  return options;
}

Limits FlatReader::limits() {
  Limits limits;
  for (std::size_t* limit :
       {&limits.payload_bytes_max, &limits.requests_queued_max, &limits.events_buffered_max,
        &limits.executions_cached_max, &limits.awaitables_pending_max,
        &limits.actions_in_flight_max, &limits.actions_in_flight_per_tenant_max,
        &limits.history_page_records_max, &limits.graph_actions_max, &limits.graph_bytes_max}) {
    const auto value = integer();
    if (value > 0) *limit = static_cast<std::size_t>(value);
  }
  if (const auto value = integer(); value > 0) limits.transaction_ms_max = value;
  return limits;
}

StartGraphCommand FlatReader::graph() {
  StartGraphCommand graph;
  graph.concurrency_max = static_cast<int>(integer());
  graph.actions.resize(count());
  for (GraphAction& action : graph.actions) {
    action.id = text();
    action.name = text();
    action.parameters = payload();
    action.options = action_options();
    action.depends_on = texts();
    action.group = text();
    action.sync_point = text();
    action.on_error = static_cast<ErrorStrategy>(integer());
    action.retries = static_cast<int>(integer());
    action.compensations.resize(count());
    for (Compensation& compensation : action.compensations) {
      compensation.name = text();
      compensation.parameters = payload();
      compensation.options = action_options();
    }
  }
  return graph;
}

Command FlatReader::command(CallSite& site) {
  const std::int64_t kind = integer();
  site = call_site(kind / kCommandKindsEnd);
  const auto command_kind = static_cast<CommandKind>(kind % kCommandKindsEnd);
  switch (command_kind) {
    case CommandKind::run_in_place:
    case CommandKind::schedule_action: {
      ScheduleActionCommand command;
      command.position = static_cast<Position>(integer());
      command.name = text();
      command.parameters = payload();
      command.options = action_options();
      command.options.in_place = command_kind == CommandKind::run_in_place;
      return command;
    }
    case CommandKind::wait: {
      WaitCommand command;
      command.position = static_cast<Position>(integer());
      command.names = texts();
      command.timeout = optional_duration(integer());
      command.filtered = integer() != 0;
      return command;
    }
    case CommandKind::withdraw: return WithdrawCommand{static_cast<Position>(integer())};
    case CommandKind::start_timer: {
      StartTimerCommand command;
      command.position = static_cast<Position>(integer());
      command.duration = integer();
      return command;
    }
    case CommandKind::set_state: return SetStateCommand{text()};
    case CommandKind::set_data: {
      SetDataCommand command;
      command.key = text();
      command.value = payload();
      return command;
    }
    case CommandKind::emit: {
      EmitCommand command;
      command.name = text();
      command.payload = payload();
      command.execution_id = text();
      return command;
    }
    case CommandKind::log: {
      LogCommand command;
      command.level = static_cast<LogLevel>(integer());
      command.message = text();
      command.details = payload();
      return command;
    }
    case CommandKind::start_graph: {
      const auto position = static_cast<Position>(integer());
      StartGraphCommand command = graph();
      command.position = position;
      return command;
    }
    case CommandKind::complete: return CompleteCommand{payload()};
    case CommandKind::fail: return FailCommand{failure()};
    case CommandKind::cancel: return CancelCommand{failure()};
    case CommandKind::patched: return PatchedCommand{text()};
    case CommandKind::start_child: {
      StartChildCommand command;
      command.position = static_cast<Position>(integer());
      command.workflow = text();
      command.version = text();
      command.execution_id = text();
      command.input = payload();
      command.user_id = text();
      command.correlation_id = text();
      command.parent_close = static_cast<ParentClose>(integer());
      return command;
    }
    case CommandKind::cancel_child: return CancelChildCommand{static_cast<Position>(integer())};
    case CommandKind::continue_as_new: return ContinueAsNewCommand{payload()};
  }
  unexpected("command", next_ - 1);
}

ActivationResult FlatReader::activation_result() {
  Scope scope(env_);
  ActivationResult result;
  result.execution = integer();
  result.sequence = integer();
  auto violation = text();
  if (!violation.empty()) result.violation = std::move(violation);
  if (const auto taken = integer(); taken >= 0) result.taken = static_cast<std::size_t>(taken);
  const auto commands = integer();
  const auto elements = static_cast<std::uint32_t>(count());
  const auto whole = std::exchange(length_, next_ + elements);
  try {
    for (std::int64_t i = 0; i < commands; ++i) {
      CallSite site;
      result.commands.push_back(command(site));
      result.sites.push_back(site);
    }
    if (!at_end()) unexpected("end of the commands", next_);
  } catch (const std::exception& error) {
    result.commands.clear();
    result.violation = std::string("internal: a command can't be read: ") + error.what();
  }
  next_ = std::exchange(length_, whole);
  return result;
}

}  // namespace pawl::node
