#include "pawl/builtin_actions.h"

#include <fmt/format.h>

#include <future>
#include <map>
#include <mutex>
#include <vector>

#include "action/builtin_registration.h"
#include "action/nearest.h"
#include "action/record_actions.h"
#include "pawl/runtime.h"
#include "pawl/workflow_runtime.h"

namespace pawl {

namespace {

using namespace actions;

constexpr std::size_t kNameBytesMax = 255;
constexpr std::string_view kLogChannel = "log";

Failure permanent(std::string message) {
  return Failure{.name = "NonRetryableError",
                 .message = std::move(message),
                 .failure_class = FailureClass::permanent};
}

void log_with_details(const ActionContext& context, const std::optional<LogLevel> level,
                      const std::string& message, const OtherMembers& more) {
  const LogLevel at = level.value_or(LogLevel::info);
  if (more.members.empty()) {
    context.log(at, message);
  } else {
    context.log(at, message, Json(more.members));
  }
}

LogEvent::Result log_event(const LogEvent::Parameters& p, const ActionContext& context) {
  log_with_details(context, p.level, p.message, p.more);
  return {.logged = true};
}

LogAuditEvent::Result log_audit_event(const LogAuditEvent::Parameters& p,
                                      const ActionContext& context) {
  log_with_details(context, p.level, p.message, p.more);
  LogAuditEvent::Result result;
  result.recorded = true;
  result.message = p.message;
  result.level = p.level.value_or(LogLevel::info);
  result.more = p.more;
  return result;
}

// `recorded` is a member of the result's own.
std::optional<std::string> check_audit_event(const LogAuditEvent::Parameters& p) {
  for (const JsonMember& member : p.more.members) {
    if (member.key == "recorded") return "$.recorded: is said by the result alone";
  }
  return std::nullopt;
}

Payload payload_of(const std::optional<Json>& value) {
  return value ? to_payload(*value).value() : Payload{};
}

// Handlers run beside the engine, and may wait for it.
template <class T, class Call>
Result<T> answer_of(const Call& call) {
  auto answer = std::make_shared<std::promise<Result<T>>>();
  std::future<Result<T>> answered = answer->get_future();
  call([answer](Result<T> result) { answer->set_value(std::move(result)); });
  return answered.get();
}

Result<StartWorkflow::Result> start_workflow(Runtime& engine, StartWorkflow::Parameters p,
                                             const ActionContext& context) {
  StartRequest request;
  request.workflow = std::move(p.workflow);
  request.tenant = context.tenant;
  request.input = payload_of(p.input);
  request.version = p.version.value_or("");
  if (p.executionId) {
    request.execution_id = std::move(*p.executionId);
  } else {
    request.idempotency_key = context.idempotency_key;
  }
  request.correlation_id = context.correlation_id;
  auto started = answer_of<std::string>([&](Callback<std::string> done) {
    engine.start_workflow(std::move(request), std::move(done));
  });
  if (!started) return started.error();
  return StartWorkflow::Result{std::move(*started)};
}

Result<EmitEvent::Result> emit_event(Runtime& engine, EmitEvent::Parameters p,
                                     const ActionContext& context) {
  EventRequest request;
  request.tenant = context.tenant;
  request.execution_id = std::move(p.executionId);
  request.name = std::move(p.name);
  request.payload = payload_of(p.payload);
  request.idempotency_key = context.idempotency_key;
  auto sent = answer_of<EnqueueReply>([&](Callback<EnqueueReply> done) {
    engine.enqueue_event(std::move(request), std::move(done));
  });
  if (!sent) return sent.error();
  return EmitEvent::Result{std::move(sent->event_id)};
}

}  // namespace

struct NotificationChannels::Set {
  std::mutex mutex;
  std::map<std::string, NotificationChannel, std::less<>> by_name;  // under mutex
};

NotificationChannels::NotificationChannels() : set_(std::make_shared<Set>()) {
  set_->by_name.emplace(kLogChannel, [](const Notification& sent, const ActionContext& context) {
    context.log(LogLevel::info,
                fmt::format("Notification to {}: {}", sent.recipient, sent.message));
    return std::optional<Json>();
  });
}

Result<void> NotificationChannels::add(std::string name, NotificationChannel send) {
  if (name.empty() || name.size() > kNameBytesMax) {
    return Error{ErrorCode::invalid_argument,
                 fmt::format("The name of a notification channel has 1 to {} bytes, not {}",
                             kNameBytesMax, name.size()),
                 {}};
  }
  const std::lock_guard lock(set_->mutex);
  set_->by_name.insert_or_assign(std::move(name), std::move(send));
  return {};
}

std::optional<Json> NotificationChannels::send(const Notification& notification,
                                               const ActionContext& context) const {
  NotificationChannel channel;
  {
    const std::lock_guard lock(set_->mutex);
    const auto found = set_->by_name.find(notification.channel);
    if (found == set_->by_name.end()) {
      std::vector<std::string> names;
      for (const auto& [name, unused] : set_->by_name) names.push_back(name);
      throw FailureException(
          permanent(fmt::format("No notification channel '{}' is registered{}",
                                notification.channel, did_you_mean(notification.channel, names))));
    }
    channel = found->second;
  }
  return channel(notification, context);
}

Result<void> register_builtin_actions(WorkflowRuntime& runtime, const BuiltinOptions& options) {
  detail::BuiltinRegistration builtins(runtime);
  builtins.add<LogEvent>(log_event);
  builtins.add<LogAuditEvent>(log_audit_event, {}, check_audit_event);
  builtins.add<SendNotification>(
      [channels = options.channels](SendNotification::Parameters p, const ActionContext& context) {
        const Notification notification{std::move(p.recipient), std::move(p.message),
                                        p.channel.value_or(std::string(kLogChannel)),
                                        std::move(p.more)};
        SendNotification::Result result;
        result.receipt = channels.send(notification, context);
        result.sent = true;
        result.channel = notification.channel;
        return result;
      });
  builtins.add_wait<actions::Wait>({.timeout = std::chrono::days(365)});
  // The engine, and not the runtime, which may be moved. It lives until the last handler has returned.
  builtins.add<StartWorkflow>(
      [&engine = runtime.engine()](StartWorkflow::Parameters p, const ActionContext& context) {
        return start_workflow(engine, std::move(p), context);
      });
  builtins.add<EmitEvent>(
      [&engine = runtime.engine()](EmitEvent::Parameters p, const ActionContext& context) {
        return emit_event(engine, std::move(p), context);
      });
  add_record_actions(builtins);
  return builtins.result();
}

}  // namespace pawl
