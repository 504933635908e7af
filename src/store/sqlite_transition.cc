#include "store/sqlite_transition.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <string>
#include <string_view>
#include <utility>

#include "model/json_object.h"
#include "store/stream_gate.h"

namespace pawl {
namespace {

constexpr std::string_view kInsertExecution =
    "INSERT INTO workflow_executions(execution, tenant, execution_id, workflow_name, "
    "workflow_version, status, condition, condition_detail, current_state, in_flight, "
    "last_sequence, result, result_encoding, error, user_id, correlation_id, input_digest, "
    "created_at, updated_at) "
    "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)";
constexpr std::string_view kLastEvent =
    "SELECT max(sequence) FROM workflow_events WHERE execution = ?1";
constexpr std::string_view kInsertEvent =
    "INSERT INTO workflow_events(execution, sequence, tenant, event_type, event_name, position, "
    "cause, ends_activation, codec, payload, encoding, attributes, created_at, site) "
    "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
constexpr std::string_view kDeleteTimer =
    "DELETE FROM workflow_timers WHERE execution = ?1 AND position = ?2";
constexpr std::string_view kInsertTimer =
    "INSERT OR REPLACE INTO workflow_timers(execution, position, tenant, kind, fire_at) "
    "VALUES(?1, ?2, ?3, ?4, ?5)";
#define RESULT_ROW                                                                               \
  "INSERT INTO workflow_action_results(execution, position, tenant, execution_id, action_name, " \
  "status, attempts, cause, result, encoding, error, user_key, parameters_digest, created_at, "  \
  "generation, seed) "                                                                           \
  "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16) "
constexpr std::string_view kInsertResult = RESULT_ROW;
// Where the action's own transaction has written the row, that is the outcome: another one does not fit.
#define FOLLOWS_FROM_THE_ROW                                                             \
  "DO UPDATE SET recorded = 1, status = excluded.status, attempts = excluded.attempts, " \
  "cause = excluded.cause, result = excluded.result, encoding = excluded.encoding, "     \
  "error = excluded.error, seed = excluded.seed WHERE recorded = 0 AND "                 \
  "(?17 OR (status = excluded.status AND result IS excluded.result)) "
constexpr std::string_view kConfirmResult = RESULT_ROW
    "ON CONFLICT(execution, position, generation) WHERE execution > 0 " FOLLOWS_FROM_THE_ROW
    "ON CONFLICT(tenant, user_key) WHERE user_key IS NOT NULL " FOLLOWS_FROM_THE_ROW;
#undef FOLLOWS_FROM_THE_ROW
#undef RESULT_ROW
constexpr std::string_view kInsertInbox =
    "INSERT INTO workflow_event_processing(id, execution, tenant, event_id, event_name, status, "
    "attempts, payload, encoding, user_id, idempotency_key, answer, last_error, created_at, kind, "
    "execution_id, attributes) "
    "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";
constexpr std::string_view kCompleteInbox =
    "UPDATE workflow_event_processing SET status = ?2, last_error = ?3, answer = ?4, "
    "payload = CASE ?2 WHEN 'failed' THEN payload END, "
    "encoding = CASE ?2 WHEN 'failed' THEN encoding END, "
    "execution = CASE execution WHEN 0 THEN ?5 ELSE execution END WHERE id = ?1";

constexpr std::string_view kInsertSnapshot =
    "INSERT OR IGNORE INTO workflow_state_snapshots(execution, sequence, tenant, codec, status, "
    "current_state, data, created_at) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

constexpr std::string_view kInsertGraphAction =
    "INSERT INTO workflow_action_dependencies(execution, graph, position, tenant, action_id, "
    "action_name, compensation, depends_on, action_group, sync_point, error_strategy, skipped) "
    "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
constexpr std::string_view kChangeGraphAction =
    "UPDATE workflow_action_dependencies SET skipped = ?4 "
    "WHERE execution = ?1 AND graph = ?2 AND position = ?3";
constexpr std::string_view kSetSyncPoint =
    "INSERT OR REPLACE INTO workflow_sync_points(execution, graph, name, tenant, status, actions, "
    "reached_at) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)";

enum Column : unsigned {
  kStatus = 1,
  kState = 2,
  kCondition = 4,
  kConditionDetail = 8,
  kInFlight = 16,
  kResult = 32,
  kError = 64,
  kVersion = 128,
};

unsigned columns_of(const ExecutionChange& change) {
  return (change.status ? kStatus : 0u) | (change.state ? kState : 0u) |
         (change.condition ? kCondition : 0u) | (change.condition_detail ? kConditionDetail : 0u) |
         (change.in_flight ? kInFlight : 0u) | (change.result ? kResult : 0u) |
         (change.error_json ? kError : 0u) | (change.version ? kVersion : 0u);
}

// Of the histories that grew lately.
constexpr std::size_t kEndsKnownMax = 65'536;

ApplyError rows_do_not_fit(std::string message) {
  return ApplyError{0, Error{ErrorCode::internal, std::move(message)}};
}

std::optional<ApplyError> run(SqliteConnection& connection, SqliteStatement& statement,
                              const std::string_view doing, const ExecutionRef execution) {
  if (const int code = statement.run(); code != SQLITE_DONE) {
    return ApplyError{code,
                      connection.error(code, fmt::format("{} of execution {}", doing, execution))};
  }
  return std::nullopt;
}

}  // namespace

Result<SqliteTransitions> SqliteTransitions::prepare(SqliteConnection& connection) {
  SqliteTransitions prepared;
  for (auto& [statement, sql] : {std::pair{&prepared.insert_execution_, kInsertExecution},
                                 {&prepared.last_event_, kLastEvent},
                                 {&prepared.insert_event_, kInsertEvent},
                                 {&prepared.delete_timer_, kDeleteTimer},
                                 {&prepared.insert_timer_, kInsertTimer},
                                 {&prepared.insert_result_, kInsertResult},
                                 {&prepared.confirm_result_, kConfirmResult},
                                 {&prepared.insert_inbox_, kInsertInbox},
                                 {&prepared.complete_inbox_, kCompleteInbox},
                                 {&prepared.insert_snapshot_, kInsertSnapshot},
                                 {&prepared.insert_graph_action_, kInsertGraphAction},
                                 {&prepared.change_graph_action_, kChangeGraphAction},
                                 {&prepared.set_sync_point_, kSetSyncPoint}}) {
    auto result = connection.prepare(sql);
    if (!result) {
      return result.error();
    }
    *statement = std::move(*result);
  }
  return prepared;
}

std::optional<ApplyError> SqliteTransitions::keep(SqliteConnection& connection,
                                                  const StateSnapshot& snapshot) {
  insert_snapshot_.bind(1, snapshot.execution);
  insert_snapshot_.bind(2, snapshot.sequence);
  insert_snapshot_.bind(3, std::string_view{snapshot.tenant});
  insert_snapshot_.bind(4, std::int64_t{kSnapshotCodec});
  insert_snapshot_.bind(5, to_string(snapshot.status));
  insert_snapshot_.bind(6, std::string_view{snapshot.state});
  insert_snapshot_.bind(7, std::string_view{snapshot.data_json});
  insert_snapshot_.bind(8, snapshot.at);
  return run(connection, insert_snapshot_, "keeping a snapshot", snapshot.execution);
}

std::optional<ApplyError> SqliteTransitions::apply(SqliteConnection& connection,
                                                   const Transition& transition) {
  if (auto bug = malformed(transition)) {
    return ApplyError{0, std::move(*bug)};
  }
  if (transition.created) {
    if (auto failed = create(connection, *transition.created)) {
      return failed;
    }
  }
  if (transition.changed) {
    if (auto failed = change(connection, transition)) {
      return failed;
    }
  }
  if (auto failed = append(connection, transition)) {
    return failed;
  }
  if (auto failed = set_timers(connection, transition)) {
    return failed;
  }
  if (auto failed = record_results(connection, transition)) {
    return failed;
  }
  if (auto failed = show_graphs(connection, transition)) {
    return failed;
  }
  return fill_inbox(connection, transition);
}

SqliteTransitions::Step SqliteTransitions::show_graphs(SqliteConnection& connection,
                                                       const Transition& transition) {
  for (const auto& row : transition.graph_actions_added) {
    auto& insert = insert_graph_action_;
    const std::string depends_on = json_text_of(row.depends_on);
    insert.bind(1, transition.execution);
    insert.bind(2, std::int64_t{row.graph});
    insert.bind(3, std::int64_t{row.position});
    insert.bind(4, transition.tenant);
    insert.bind(5, row.action_id);
    insert.bind(6, row.action);
    insert.bind(7, std::int64_t{row.compensation});
    insert.bind(8, std::string_view{depends_on});
    insert.bind_optional(9, row.group);
    insert.bind_optional(10, row.sync_point);
    insert.bind(11, row.error_strategy);
    insert.bind(12, std::int64_t{row.skipped});
    if (auto failed = run(connection, insert, "showing a graph", transition.execution)) {
      return failed;
    }
  }
  for (const auto& change : transition.graph_actions_changed) {
    change_graph_action_.bind(1, transition.execution);
    change_graph_action_.bind(2, std::int64_t{change.graph});
    change_graph_action_.bind(3, std::int64_t{change.position});
    change_graph_action_.bind(4, std::int64_t{change.skipped});
    if (auto failed =
            run(connection, change_graph_action_, "showing a graph", transition.execution)) {
      return failed;
    }
  }
  for (const auto& point : transition.sync_points_set) {
    const std::string actions = json_text_of(point.actions);
    set_sync_point_.bind(1, transition.execution);
    set_sync_point_.bind(2, std::int64_t{point.graph});
    set_sync_point_.bind(3, point.name);
    set_sync_point_.bind(4, transition.tenant);
    set_sync_point_.bind(
        5, point.reached_at != 0 ? std::string_view{"reached"} : std::string_view{"waiting"});
    set_sync_point_.bind(6, std::string_view{actions});
    if (point.reached_at != 0) {
      set_sync_point_.bind(7, point.reached_at);
    } else {
      set_sync_point_.bind_optional(7, std::string_view{});
    }
    if (auto failed =
            run(connection, set_sync_point_, "showing a sync point", transition.execution)) {
      return failed;
    }
  }
  return std::nullopt;
}

SqliteTransitions::Step SqliteTransitions::create(SqliteConnection& connection,
                                                  const ExecutionRecord& record) {
  auto& insert = insert_execution_;
  insert.bind(1, record.ref);
  insert.bind(2, record.tenant);
  insert.bind(3, record.execution_id);
  insert.bind(4, record.workflow);
  insert.bind(5, record.version);
  insert.bind(6, to_string(record.status));
  insert.bind_optional(7, to_string(record.condition));
  insert.bind_optional(8, record.condition_detail);
  insert.bind(9, record.state);
  insert.bind(10, std::int64_t{record.in_flight});
  insert.bind(11, record.last_sequence);
  insert.bind(12, 13, record.result);
  insert.bind_optional(14, record.error_json);
  insert.bind_optional(15, record.user_id);
  insert.bind_optional(16, record.correlation_id);
  insert.bind(17, record.input_digest);
  insert.bind(18, record.created_at);
  insert.bind(19, record.updated_at);
  return run(connection, insert, "creating the row", record.ref);
}

Result<SqliteStatement*> SqliteTransitions::update_of(SqliteConnection& connection,
                                                      const unsigned columns) {
  auto& update = updates_[columns];
  if (!update) {
    std::string sql = "UPDATE workflow_executions SET last_sequence = ?2, updated_at = ?3";
    for (const auto& [column, assignment] : {std::pair{kStatus, "status = ?4"},
                                             {kState, "current_state = ?5"},
                                             {kCondition, "condition = ?6"},
                                             {kConditionDetail, "condition_detail = ?7"},
                                             {kInFlight, "in_flight = ?8"},
                                             {kResult, "result = ?9, result_encoding = ?10"},
                                             {kError, "error = ?11"},
                                             {kVersion, "workflow_version = ?12"}}) {
      if ((columns & column) != 0) {
        sql += ", ";
        sql += assignment;
      }
    }
    sql += " WHERE execution = ?1";
    auto prepared = connection.prepare(sql);
    if (!prepared) {
      return prepared.error();
    }
    update = std::move(*prepared);
  }
  return &update;
}

SqliteTransitions::Step SqliteTransitions::change(SqliteConnection& connection,
                                                  const Transition& transition) {
  const auto& change = *transition.changed;
  auto prepared = update_of(connection, columns_of(change));
  if (!prepared) {
    return ApplyError{SQLITE_ERROR, prepared.error()};
  }
  auto& update = **prepared;
  update.bind(1, transition.execution);
  update.bind(2, change.last_sequence);
  update.bind(3, change.at);
  if (change.status) {
    update.bind(4, to_string(*change.status));
  }
  if (change.state) {
    update.bind(5, *change.state);
  }
  if (change.condition) {
    update.bind_optional(6, to_string(*change.condition));
  }
  if (change.condition_detail) {
    update.bind_optional(7, *change.condition_detail);
  }
  if (change.in_flight) {
    update.bind(8, std::int64_t{*change.in_flight});
  }
  if (change.result) {
    update.bind(9, 10, *change.result);
  }
  if (change.error_json) {
    update.bind_optional(11, *change.error_json);
  }
  if (change.version) {
    update.bind(12, *change.version);
  }
  if (auto failed = run(connection, update, "changing the row", transition.execution)) {
    return failed;
  }
  if (connection.changed_rows() != 1) {
    return rows_do_not_fit(
        fmt::format("there is no row of execution {} to change", transition.execution));
  }
  return std::nullopt;
}

SqliteTransitions::Step SqliteTransitions::append(SqliteConnection& connection,
                                                  const Transition& transition) {
  if (transition.records.empty()) {
    return std::nullopt;
  }
  // A history has no gaps. That it has no record twice is up to the index.
  const auto known = ends_.find(transition.execution);
  auto last = known != ends_.end() ? std::optional{known->second} : std::nullopt;
  if (!last && transition.created) {
    last = 0;
  } else if (!last) {
    last_event_.bind(1, transition.execution);
    if (const int code = last_event_.step(); code != SQLITE_ROW) {
      last_event_.reset();
      return ApplyError{code, connection.error(code, "looking for the last record")};
    }
    last = last_event_.column_int(0);
    last_event_.reset();
  }
  if (transition.records.front().sequence > *last + 1) {
    return rows_do_not_fit(fmt::format("record {} of execution {} does not follow record {}",
                                       transition.records.front().sequence, transition.execution,
                                       *last));
  }

  auto& insert = insert_event_;
  for (const auto& record : transition.records) {
    insert.bind(1, transition.execution);
    insert.bind(2, record.sequence);
    insert.bind(3, transition.tenant);
    insert.bind(4, to_string(record.type));
    insert.bind_optional(5, record.name);
    insert.bind(6, std::int64_t{record.position});
    insert.bind(7, record.cause);
    insert.bind(8, std::int64_t{record.ends_activation});
    insert.bind(9, std::int64_t{record.codec});
    insert.bind(10, 11, record.payload);
    insert.bind_optional(12, record.attributes);
    insert.bind(13, record.at);
    insert.bind_optional(14, record.site);
    if (auto failed = run(connection, insert, "appending to the history", transition.execution)) {
      return failed;
    }
  }
  if (ends_.size() >= kEndsKnownMax) {
    ends_.clear();
  }
  ends_.insert_or_assign(transition.execution, transition.records.back().sequence);
  return std::nullopt;
}

SqliteTransitions::Step SqliteTransitions::set_timers(SqliteConnection& connection,
                                                      const Transition& transition) {
  for (const auto position : transition.timers_cleared) {
    delete_timer_.bind(1, transition.execution);
    delete_timer_.bind(2, std::int64_t{position});
    if (auto failed = run(connection, delete_timer_, "clearing a timer", transition.execution)) {
      return failed;
    }
  }
  for (const auto& timer : transition.timers_set) {
    insert_timer_.bind(1, timer.execution);
    insert_timer_.bind(2, std::int64_t{timer.position});
    insert_timer_.bind(3, transition.tenant);
    insert_timer_.bind(4, to_string(timer.kind));
    insert_timer_.bind(5, timer.fire_at);
    if (auto failed = run(connection, insert_timer_, "setting a timer", transition.execution)) {
      return failed;
    }
  }
  return std::nullopt;
}

void SqliteTransitions::bind_result(SqliteStatement& statement, const ActionResultRecord& result) {
  statement.bind(1, result.execution);
  statement.bind(2, std::int64_t{result.position});
  statement.bind(3, result.tenant);
  statement.bind_optional(4, result.execution == 0 ? result.execution_id : std::string_view{});
  statement.bind(5, result.action);
  statement.bind(6, result.succeeded ? std::string_view{"succeeded"} : std::string_view{"failed"});
  statement.bind(7, std::int64_t{result.attempts});
  statement.bind(8, result.cause);
  statement.bind(9, 10, result.result);
  statement.bind_optional(11, result.error_json);
  statement.bind_optional(12, result.user_key);
  statement.bind_optional(13,
                          result.user_key.empty() ? std::string_view{} : result.parameters_digest);
  statement.bind(14, result.at);
  statement.bind(15, std::int64_t{result.generation});
  statement.bind(16, static_cast<std::int64_t>(result.seed));
}

SqliteTransitions::Step SqliteTransitions::record_results(SqliteConnection& connection,
                                                          const Transition& transition) {
  for (const auto& result : transition.results) {
    bind_result(insert_result_, result);
    const int code = insert_result_.run();
    if (code == SQLITE_DONE) {
      continue;
    }
    if (!is_refused_row(code)) {
      return ApplyError{
          code, connection.error(
                    code, fmt::format("recording a result of execution {}", result.execution))};
    }
    // There is a row: that of a transaction of the action's own, or of another outcome.
    bind_result(confirm_result_, result);
    confirm_result_.bind(17, std::int64_t{result.overrides});
    if (auto failed = run(connection, confirm_result_, "recording a result", result.execution)) {
      return failed;
    }
    if (connection.changed_rows() != 1) {
      return rows_do_not_fit(fmt::format(
          "the action at position {} of execution {} (key '{}') has another outcome already",
          result.position, result.execution, result.user_key));
    }
  }
  return std::nullopt;
}

SqliteTransitions::Step SqliteTransitions::fill_inbox(SqliteConnection& connection,
                                                      const Transition& transition) {
  auto& insert = insert_inbox_;
  for (const auto& record : transition.inbox_added) {
    insert.bind(1, record.id);
    insert.bind(2, record.execution);
    insert.bind(3, record.tenant);
    insert.bind(4, record.event_id);
    insert.bind(5, record.event_name);
    insert.bind(6, to_string(record.status));
    insert.bind(7, std::int64_t{record.attempts});
    insert.bind(8, 9, record.payload);
    insert.bind_optional(10, record.user_id);
    insert.bind_optional(11, record.idempotency_key);
    insert.bind_optional(12, record.answer);
    insert.bind_optional(13, record.last_error);
    insert.bind(14, record.accepted_at);
    insert.bind(15, to_string(record.kind));
    insert.bind_optional(16, record.execution == 0 ? record.execution_id : std::string_view{});
    insert.bind_optional(17, record.attributes);
    if (auto failed = run(connection, insert, "filling the inbox", record.execution)) {
      return failed;
    }
  }
  for (const auto& completion : transition.inbox_completed) {
    complete_inbox_.bind(1, completion.id);
    complete_inbox_.bind(2, to_string(completion.status));
    complete_inbox_.bind_optional(3, completion.last_error);
    complete_inbox_.bind_optional(4, completion.answer);
    complete_inbox_.bind(5, transition.execution);
    if (auto failed =
            run(connection, complete_inbox_, "emptying the inbox", transition.execution)) {
      return failed;
    }
    if (connection.changed_rows() != 1) {
      return rows_do_not_fit(fmt::format("there is no inbox row {} to complete", completion.id));
    }
  }
  return std::nullopt;
}

}  // namespace pawl
