#pragma once

// Actions that come with Pawl, under the names, with the parameters and results that they have in TypeScript too.
//
//   pawl::BuiltinOptions builtins;
//   builtins.channels.register_notification_channel(
//       "mail", [&](const pawl::Notification& n, const pawl::ActionContext& context) {
//         return mailer.send(n.recipient, n.message, context.idempotency_key);   // the receipt
//       }).value();
//   pawl::register_builtin_actions(runtime, builtins).value();
//
//   co_await ctx.run<pawl::actions::SendNotification>(
//       {.recipient = "ann@example.com", .message = text, .channel = "mail"});
//
// Members have the names of their JSON; a Json is made of anything else by pawl::to_json(order). http_request is
// apart, in pawl/http_request.h, since it needs libcurl.

#include <concepts>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <pawl/action.h>
#include <pawl/action_duration.h>
#include <pawl/describe.h>
#include <pawl/error.h>
#include <pawl/json.h>

namespace pawl {

class WorkflowRuntime;

BOOST_DESCRIBE_ENUM(LogLevel, debug, info, warn, error)

namespace actions {

// Writes a log line; what is given beside is logged with it.
struct LogEvent {
  struct Parameters {
    std::string message;
    std::optional<LogLevel> level;  // none: info
    OtherMembers more;
  };
  struct Result {
    bool logged = false;
  };
  static constexpr std::string_view name = "log_event";
  static constexpr std::string_view description = "Writes a log line";
  static constexpr std::string_view category = "logging";
};
PAWL_DESCRIBE(LogEvent::Parameters, message, level, more);
PAWL_DESCRIBE(LogEvent::Result, logged);

// The same, and all of it is the result, so that the history has it.
struct LogAuditEvent {
  struct Parameters {
    std::string message;
    std::optional<LogLevel> level;
    OtherMembers more;
  };
  struct Result {
    bool recorded = false;
    std::string message;
    LogLevel level = LogLevel::info;
    OtherMembers more;
  };
  static constexpr std::string_view name = "log_audit_event";
  static constexpr std::string_view description =
      "Records what was done, by whom, to what; the history keeps it";
  static constexpr std::string_view category = "logging";
};
PAWL_DESCRIBE(LogAuditEvent::Parameters, message, level, more);
PAWL_DESCRIBE(LogAuditEvent::Result, recorded, message, level, more);

// Delivers through one of BuiltinOptions::channels. A channel that nobody registered is a permanent failure.
struct SendNotification {
  struct Parameters {
    std::string recipient;
    std::string message;
    std::optional<std::string> channel;  // none: "log", which logs it
    OtherMembers more;
  };
  struct Result {
    bool sent = false;
    std::string channel;
    std::optional<Json> receipt;
  };
  static constexpr std::string_view name = "send_notification";
  static constexpr std::string_view description =
      "Sends a message to a recipient over a channel; the channel \"log\" logs it";
  static constexpr std::string_view category = "communication";
};
PAWL_DESCRIBE(SendNotification::Parameters, recipient, message, channel, more);
PAWL_DESCRIBE(SendNotification::Result, sent, channel, receipt);

// Counts from when it was asked for, through restarts, and holds no thread. Workflows have ctx.sleep, which holds
// no attempt of an action either.
struct Wait {
  struct Parameters {
    ActionDuration duration;
  };
  struct Result {
    std::int64_t waited = 0;  // ms
  };
  static constexpr std::string_view name = "wait";
  static constexpr std::string_view description =
      "Waits. Workflows have ctx.sleep, which holds nothing open meanwhile";
  static constexpr std::string_view category = "control";
};
PAWL_DESCRIBE(Wait::Parameters, duration);
PAWL_DESCRIBE(Wait::Result, waited);

// Starts an execution of the same tenant, once. Workflows have ctx.start_child for those that are theirs.
struct StartWorkflow {
  struct Parameters {
    std::string workflow;
    std::optional<Json> input;
    std::optional<std::string> version;
    std::optional<std::string> executionId;  // none: made of the idempotency key
  };
  struct Result {
    std::string executionId;
  };
  static constexpr std::string_view name = "start_workflow";
  static constexpr std::string_view description =
      "Starts an execution by itself, once. Workflows have ctx.start_child for those that are "
      "theirs";
  static constexpr std::string_view category = "workflow";
};
PAWL_DESCRIBE(StartWorkflow::Parameters, workflow, input, version, executionId);
PAWL_DESCRIBE(StartWorkflow::Result, executionId);

// Sends an event to an execution of the same tenant, once. Workflows have ctx.emit_to.
struct EmitEvent {
  struct Parameters {
    std::string executionId;
    std::string name;
    std::optional<Json> payload;
  };
  struct Result {
    std::string eventId;
  };
  static constexpr std::string_view name = "emit_event";
  static constexpr std::string_view description =
      "Sends an event to an execution, once, and gives its id. Workflows have ctx.emit_to";
  static constexpr std::string_view category = "workflow";
};
PAWL_DESCRIBE(EmitEvent::Parameters, executionId, name, payload);
PAWL_DESCRIBE(EmitEvent::Result, eventId);

// Records of the application's tables in the store's own database, each as a database action. Tables and columns
// that are not there are refused, and so are tables of Pawl's and SQLite's own. Objects and lists go into columns
// as JSON, {"$bytes": base64} as a blob; blobs come out so, and integers beyond 2^53 as text.
using Columns = std::map<std::string, Json>;

struct CreateDatabaseRecord {
  struct Parameters {
    std::string table;
    Columns record;
  };
  struct Result {
    Columns record;  // as it is in the table, with defaults
  };
  static constexpr std::string_view name = "create_database_record";
  static constexpr std::string_view description =
      "Inserts a record into a table, and gives it as it is then";
  static constexpr std::string_view category = "database";
};
PAWL_DESCRIBE(CreateDatabaseRecord::Parameters, table, record);
PAWL_DESCRIBE(CreateDatabaseRecord::Result, record);

struct UpdateDatabaseRecord {
  struct Parameters {
    std::string table;
    Columns where;  // of each column its value, null, or a list of values; not empty
    Columns changes;
  };
  struct Result {
    std::int64_t count = 0;
  };
  static constexpr std::string_view name = "update_database_record";
  static constexpr std::string_view description =
      "Changes the records of a table that match, and gives how many there were";
  static constexpr std::string_view category = "database";
};
PAWL_DESCRIBE(UpdateDatabaseRecord::Parameters, table, where, changes);
PAWL_DESCRIBE(UpdateDatabaseRecord::Result, count);

struct DeleteDatabaseRecord {
  struct Parameters {
    std::string table;
    Columns where;  // as above
  };
  struct Result {
    std::int64_t count = 0;
  };
  static constexpr std::string_view name = "delete_database_record";
  static constexpr std::string_view description =
      "Deletes the records of a table that match, and gives how many there were";
  static constexpr std::string_view category = "database";
};
PAWL_DESCRIBE(DeleteDatabaseRecord::Parameters, table, where);
PAWL_DESCRIBE(DeleteDatabaseRecord::Result, count);

}  // namespace actions

// What send_notification was given.
struct Notification {
  std::string recipient;
  std::string message;
  std::string channel;
  OtherMembers more;
};

// Delivers a notification; what it gives is the receipt. Called again when it throws, as a handler is, and from
// several threads at once.
using NotificationChannel =
    std::function<std::optional<Json>(const Notification&, const ActionContext&)>;

// The channels of send_notification, "log" among them. Copies are one set of channels. Any thread.
class NotificationChannels {
 public:
  NotificationChannels();
  NotificationChannels(const NotificationChannels&) = default;
  NotificationChannels& operator=(const NotificationChannels&) = default;

  // `send` is called with (const Notification&, const ActionContext&), and returns nothing, or what JSON can
  // carry. It takes the place of another one of that name. Errors: invalid_argument.
  template <class F>
  Result<void> register_notification_channel(std::string name, F send) {
    return add(std::move(name), [send = std::move(send)](const Notification& notification,
                                                         const ActionContext& context) {
      using Returned = decltype(send(notification, context));
      if constexpr (std::is_void_v<Returned>) {
        send(notification, context);
        return std::optional<Json>();
      } else if constexpr (std::convertible_to<Returned, std::optional<Json>>) {
        return std::optional<Json>(send(notification, context));
      } else {
        return std::optional<Json>(to_json(send(notification, context)));
      }
    });
  }

  // Throws FailureException, permanent, where there is none of that name.
  std::optional<Json> send(const Notification& notification, const ActionContext& context) const;

 private:
  struct Set;
  Result<void> add(std::string name, NotificationChannel send);

  std::shared_ptr<Set> set_;
};

struct BuiltinOptions {
  NotificationChannels channels = {};
};

// Registers all of pawl::actions above. A user's own action of such a name stays where it was registered before,
// and can take the place of the built-in one later, with `replace`.
// Errors: already_exists where this was done before; as WorkflowRuntime::register_action.
Result<void> register_builtin_actions(WorkflowRuntime& runtime, const BuiltinOptions& options = {});

}  // namespace pawl
