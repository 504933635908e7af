#include "store/sqlite_reader.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <array>
#include <string>
#include <utility>

#include "model/json_members.h"
#include "pawl/json.h"
#include "store/sqlite_schema.h"

namespace pawl {
namespace {

// A row that this version cannot have written. Caught at the edge of the class.
struct UnreadableRow {
  std::string message;
};

#define EXECUTION_COLUMNS                                                                 \
  "execution, tenant, execution_id, workflow_name, workflow_version, status, condition, " \
  "condition_detail, current_state, in_flight, last_sequence, result, result_encoding, "  \
  "error, user_id, correlation_id, input_digest, created_at, updated_at"
#define EVENT_COLUMNS                                                           \
  "sequence, event_type, created_at, cause, position, ends_activation, codec, " \
  "event_name, payload, encoding, attributes, site"
#define RESULT_COLUMNS                                                                    \
  "execution, position, tenant, execution_id, action_name, user_key, parameters_digest, " \
  "status, attempts, cause, result, encoding, error, created_at, generation, "            \
  "seed, recorded"
#define INBOX_COLUMNS                                                                          \
  "id, execution, tenant, event_id, event_name, payload, encoding, user_id, idempotency_key, " \
  "status, attempts, last_error, answer, created_at, kind, execution_id, attributes"
#define INBOX_OPEN \
  "(status = 'pending' OR status = 'published' OR status = 'processing' OR status = 'retrying')"
// By the attention index where the status has one, else backwards through the tenant's.
#define LIST(status_condition)                                                  \
  "SELECT " EXECUTION_COLUMNS                                                   \
  " FROM workflow_executions WHERE tenant = ?1 "                                \
  "AND execution < ?2 AND (?3 IS NULL OR workflow_name = ?3) " status_condition \
  " ORDER BY execution DESC LIMIT ?4"

enum Which : std::size_t {
  kFindExecution,
  kLoadExecution,
  kHistory,
  kOpenInbox,
  kResume,
  kTimers,
  kFindResult,
  kFindInbox,
  kMail,
  kMailOf,
  kResults,
  kResultsAhead,
  kHistoryEnd,
  kRetries,
  kFindSnapshot,
  kGraphActions,
  kSyncPoints,
  kList,          // any status
  kListByStatus,  // + ExecutionStatus
  kStatementCount = kListByStatus + 7,
};

constexpr std::array<const char*, kStatementCount> kStatements{
    "SELECT " EXECUTION_COLUMNS " FROM workflow_executions WHERE tenant = ?1 AND execution_id = ?2",
    "SELECT " EXECUTION_COLUMNS " FROM workflow_executions WHERE execution = ?1",
    "SELECT " EVENT_COLUMNS
    " FROM workflow_events WHERE execution = ?1 AND sequence > ?2 "
    "ORDER BY sequence LIMIT ?3",
    "SELECT " INBOX_COLUMNS " FROM workflow_event_processing WHERE execution = ?1 AND " INBOX_OPEN
    " ORDER BY id",
    // Both halves come from partial indexes in order, so that the merge of them stops at the limit.
    "SELECT execution FROM workflow_executions WHERE (in_flight = 1 OR status = 'stuck') "
    "AND (status = 'running' OR status = 'stuck') AND execution > ?1 "
    "UNION SELECT execution FROM workflow_event_processing WHERE " INBOX_OPEN
    " AND execution > ?1 ORDER BY execution LIMIT ?2",
    "SELECT execution, position, kind, fire_at FROM workflow_timers "
    "WHERE (fire_at, execution, position) > (?1, ?2, ?3) AND execution NOT IN "
    "(SELECT execution FROM workflow_executions WHERE status = 'paused') "
    "ORDER BY fire_at, execution, position LIMIT ?4",
    "SELECT " RESULT_COLUMNS " FROM workflow_action_results WHERE tenant = ?1 AND user_key = ?2",
    "SELECT " INBOX_COLUMNS
    " FROM workflow_event_processing "
    "WHERE execution = ?1 AND execution > 0 AND idempotency_key = ?2",
    "SELECT " INBOX_COLUMNS " FROM workflow_event_processing WHERE execution = 0 AND " INBOX_OPEN
    " AND id > ?1 ORDER BY id LIMIT ?2",
    "SELECT " INBOX_COLUMNS " FROM workflow_event_processing WHERE execution = 0 AND " INBOX_OPEN
    " AND tenant = ?1 AND execution_id = ?2 ORDER BY id LIMIT ?3",
    "SELECT " RESULT_COLUMNS
    " FROM workflow_action_results "
    "WHERE execution = ?1 AND execution > 0 ORDER BY position, generation",
    "SELECT " RESULT_COLUMNS
    " FROM workflow_action_results "
    "WHERE execution = ?1 AND recorded = 0 ORDER BY position, generation",
    "SELECT coalesce(max(sequence), 0) FROM workflow_events WHERE execution = ?1",
    "SELECT sequence, codec, attributes FROM workflow_events WHERE execution = ?1 AND "
    "sequence > ?2 AND event_type = 'ExecutionRetried' ORDER BY sequence",
    "SELECT execution, sequence, tenant, status, current_state, data, created_at "
    "FROM workflow_state_snapshots WHERE execution = ?1 AND sequence <= ?2 AND codec = ?3 "
    "ORDER BY sequence DESC LIMIT 1",
    "SELECT graph, position, action_id, action_name, compensation, depends_on, action_group, "
    "sync_point, error_strategy, skipped FROM workflow_action_dependencies WHERE execution = ?1 "
    "ORDER BY graph, position",
    "SELECT graph, name, actions, reached_at FROM workflow_sync_points WHERE execution = ?1 "
    "ORDER BY graph, name",
    LIST(""),
    LIST("AND status = 'running'"),
    LIST("AND status = 'paused'"),
    LIST("AND status = 'stuck'"),
    LIST("AND status = 'completed'"),
    LIST("AND status = 'failed'"),
    LIST("AND status = 'cancelled'"),
    LIST("AND status = 'terminated'"),
};

#undef EXECUTION_COLUMNS
#undef EVENT_COLUMNS
#undef RESULT_COLUMNS
#undef INBOX_COLUMNS
#undef INBOX_OPEN
#undef LIST

template <class Enum>
Enum known(const std::optional<Enum> value, const std::string_view text, const char* column) {
  if (!value) {
    throw UnreadableRow{
        fmt::format("the store has a {} of '{}', which this version does not know", column, text)};
  }
  return *value;
}

// For a text column of an enumeration.
template <class Enum, class From>
Enum column_enum(const SqliteStatement& row, const int column, From from, const char* name) {
  const auto text = row.column_view(column);
  return known<Enum>(from(text), text, name);
}

ExecutionRecord execution_of(const SqliteStatement& row) {
  ExecutionRecord record;
  record.ref = row.column_int(0);
  record.tenant = row.column_text(1);
  record.execution_id = row.column_text(2);
  record.workflow = row.column_text(3);
  record.version = row.column_text(4);
  record.status = column_enum<ExecutionStatus>(row, 5, execution_status_from, "status");
  record.condition = column_enum<Condition>(row, 6, condition_from, "condition");
  record.condition_detail = row.column_text(7);
  record.state = row.column_text(8);
  record.in_flight = row.column_int(9) != 0;
  record.last_sequence = row.column_int(10);
  record.result = row.column_payload(11, 12);
  record.error_json = row.column_text(13);
  record.user_id = row.column_text(14);
  record.correlation_id = row.column_text(15);
  record.input_digest = row.column_text(16);
  record.created_at = row.column_int(17);
  record.updated_at = row.column_int(18);
  return record;
}

HistoryEvent event_of(const SqliteStatement& row) {
  HistoryEvent event;
  event.sequence = row.column_int(0);
  event.type = column_enum<EventType>(row, 1, event_type_from, "event type");
  event.at = row.column_int(2);
  event.cause = row.column_int(3);
  event.position = static_cast<Position>(row.column_int(4));
  event.ends_activation = row.column_int(5) != 0;
  event.codec = static_cast<int>(row.column_int(6));
  event.name = row.column_text(7);
  event.payload = row.column_payload(8, 9);
  event.attributes = row.column_text(10);
  event.site = row.column_text(11);
  return event;
}

ActionResultRecord result_of(const SqliteStatement& row) {
  ActionResultRecord result;
  result.execution = row.column_int(0);
  result.position = static_cast<Position>(row.column_int(1));
  result.tenant = row.column_text(2);
  result.execution_id = row.column_text(3);
  result.action = row.column_text(4);
  result.user_key = row.column_text(5);
  result.parameters_digest = row.column_text(6);
  result.succeeded = row.column_view(7) == "succeeded";
  result.attempts = static_cast<int>(row.column_int(8));
  result.cause = row.column_int(9);
  result.result = row.column_payload(10, 11);
  result.error_json = row.column_text(12);
  result.at = row.column_int(13);
  result.generation = static_cast<int>(row.column_int(14));
  result.seed = static_cast<std::uint64_t>(row.column_int(15));
  result.ahead = row.column_int(16) == 0;
  return result;
}

InboxRecord inbox_of(const SqliteStatement& row) {
  InboxRecord record;
  record.id = row.column_int(0);
  record.execution = row.column_int(1);
  record.tenant = row.column_text(2);
  record.event_id = row.column_text(3);
  record.event_name = row.column_text(4);
  record.payload = row.column_payload(5, 6);
  record.user_id = row.column_text(7);
  record.idempotency_key = row.column_text(8);
  record.status = column_enum<InboxStatus>(row, 9, inbox_status_from, "inbox status");
  record.attempts = static_cast<int>(row.column_int(10));
  record.last_error = row.column_text(11);
  record.answer = row.column_text(12);
  record.accepted_at = row.column_int(13);
  record.kind = column_enum<InboxKind>(row, 14, inbox_kind_from, "inbox kind");
  record.execution_id = row.column_text(15);
  record.attributes = row.column_text(16);
  if (record.execution != 0) record.execution_id.clear();
  return record;
}

TimerRecord timer_of(const SqliteStatement& row) {
  TimerRecord timer;
  timer.execution = row.column_int(0);
  timer.position = static_cast<Position>(row.column_int(1));
  timer.kind = column_enum<TimerKind>(row, 2, timer_kind_from, "timer kind");
  timer.fire_at = row.column_int(3);
  return timer;
}

StateSnapshot snapshot_of(const SqliteStatement& row) {
  StateSnapshot snapshot;
  snapshot.execution = row.column_int(0);
  snapshot.sequence = row.column_int(1);
  snapshot.tenant = row.column_text(2);
  snapshot.status = column_enum<ExecutionStatus>(row, 3, execution_status_from, "status");
  snapshot.state = row.column_text(4);
  snapshot.data_json = row.column_text(5);
  snapshot.at = row.column_int(6);
  return snapshot;
}

std::vector<std::string> texts_of(const std::string& json) {
  std::vector<std::string> texts;
  const auto elements = json_elements(json);
  if (!elements) throw UnreadableRow{fmt::format("'{}' is no list of texts", json)};
  for (const std::string_view element : *elements) {
    const auto text = Json::parse(element);
    if (!text || !text->is_string()) {
      throw UnreadableRow{fmt::format("'{}' is no list of texts", json)};
    }
    texts.push_back(text->as_string());
  }
  return texts;
}

GraphActionRecord graph_action_of(const SqliteStatement& row) {
  GraphActionRecord record;
  record.graph = static_cast<Position>(row.column_int(0));
  record.position = static_cast<Position>(row.column_int(1));
  record.action_id = row.column_text(2);
  record.action = row.column_text(3);
  record.compensation = row.column_int(4) != 0;
  record.depends_on = texts_of(row.column_text(5));
  record.group = row.column_text(6);
  record.sync_point = row.column_text(7);
  record.error_strategy = row.column_text(8);
  record.skipped = row.column_int(9) != 0;
  return record;
}

SyncPointRecord sync_point_of(const SqliteStatement& row) {
  SyncPointRecord record;
  record.graph = static_cast<Position>(row.column_int(0));
  record.name = row.column_text(1);
  record.actions = texts_of(row.column_text(2));
  record.reached_at = row.column_int(3);
  return record;
}

}  // namespace

SqliteReader::Moment::Moment(SqliteReader& reader) : connection_{reader.connection_} {
  if (!connection_.in_transaction()) {
    begun_ = connection_.execute("BEGIN");
    own_ = begun_.has_value();
  }
}

SqliteReader::Moment::~Moment() {
  if (own_ && connection_.in_transaction()) {
    [[maybe_unused]] const auto ended = connection_.execute("COMMIT");
  }
}

Result<std::unique_ptr<SqliteReader>> SqliteReader::open(const SqliteStoreOptions& options) {
  auto connection = SqliteConnection::open(options.path, SqliteConnection::Mode::read_only,
                                           options.vfs, options.busy_ms);
  if (!connection) {
    return connection.error();
  }
  if (auto configured = configure_sqlite_reader(*connection, options); !configured) {
    return configured.error();
  }
  return std::unique_ptr<SqliteReader>{new SqliteReader{std::move(*connection)}};
}

std::vector<std::string> SqliteReader::statements() {
  return {kStatements.begin(), kStatements.end()};
}

Result<SqliteStatement*> SqliteReader::statement(const std::size_t which) {
  statements_.resize(kStatementCount);
  auto& statement = statements_[which];
  if (!statement) {
    auto prepared = connection_.prepare(kStatements[which]);
    if (!prepared) {
      return prepared.error();
    }
    statement = std::move(*prepared);
  }
  return &statement;
}

template <class T, class Row>
Result<std::vector<T>> SqliteReader::collect(SqliteStatement& statement, Row row) {
  return collect<T>(statement, row, [](const T&) { return true; });
}

template <class T, class Row, class GoOn>
Result<std::vector<T>> SqliteReader::collect(SqliteStatement& statement, Row row, GoOn go_on) {
  const SqliteReset reset{statement};
  std::vector<T> rows;
  try {
    while (true) {
      const int code = statement.step();
      if (code == SQLITE_DONE) {
        return rows;
      }
      if (code != SQLITE_ROW) {
        return connection_.error(code, "reading");
      }
      rows.push_back(row(statement));
      if (!go_on(rows.back())) {
        return rows;
      }
    }
  } catch (const UnreadableRow& unreadable) {
    return Error{ErrorCode::store_invalid,
                 fmt::format("{}: {}", connection_.path(), unreadable.message)};
  }
}

template <class T, class Row>
Result<std::optional<T>> SqliteReader::first(SqliteStatement& statement, Row row) {
  auto rows = collect<T>(statement, row);
  if (!rows) {
    return rows.error();
  }
  return rows->empty() ? std::optional<T>{} : std::optional<T>{std::move(rows->front())};
}

Result<std::optional<StoredExecution>> SqliteReader::with_rest(SqliteStatement& row,
                                                               const HistoryBounds most) {
  auto record = first<ExecutionRecord>(row, execution_of);
  if (!record) {
    return record.error();
  }
  if (!*record) {
    return std::optional<StoredExecution>{};
  }
  StoredExecution stored;
  stored.record = std::move(**record);

  if (most.records > 0) {
    auto history = read_history(stored.record.ref, 0, most);
    if (!history) {
      return history.error();
    }
    stored.history = std::move(*history);
    stored.history_end = stored.history.empty() ? 0 : stored.history.back().sequence;
  }
  const bool may_go_on = stored.history.size() >= static_cast<std::size_t>(most.records) ||
                         size_in_bytes(stored.history) >= most.bytes;
  if (may_go_on) {
    auto end_statement = statement(kHistoryEnd);
    if (!end_statement) {
      return end_statement.error();
    }
    (*end_statement)->bind(1, stored.record.ref);
    auto end = first<std::int64_t>(
        **end_statement, [](const SqliteStatement& found) { return found.column_int(0); });
    if (!end) {
      return end.error();
    }
    const std::int64_t read = stored.history_end;
    stored.history_end = end->value_or(0);
    if (most.records > 0 && read < stored.history_end) {
      auto retries = read_retries(stored.record.ref, read);
      if (!retries) {
        return retries.error();
      }
      stored.retries = std::move(*retries);
    }
  }
  if (most.records == 0) {
    return std::optional<StoredExecution>{std::move(stored)};
  }
  auto inbox_statement = statement(kOpenInbox);
  if (!inbox_statement) {
    return inbox_statement.error();
  }
  (*inbox_statement)->bind(1, stored.record.ref);
  auto inbox = collect<InboxRecord>(**inbox_statement, inbox_of);
  if (!inbox) {
    return inbox.error();
  }
  stored.inbox = std::move(*inbox);
  auto mail_statement = statement(kMailOf);
  if (!mail_statement) {
    return mail_statement.error();
  }
  (*mail_statement)->bind(1, stored.record.tenant);
  (*mail_statement)->bind(2, stored.record.execution_id);
  (*mail_statement)->bind(3, std::int64_t{kMailOfExecutionMax});
  auto mail = collect<InboxRecord>(**mail_statement, inbox_of);
  if (!mail) {
    return mail.error();
  }
  stored.mail = std::move(*mail);
  auto ahead_statement = statement(kResultsAhead);
  if (!ahead_statement) {
    return ahead_statement.error();
  }
  (*ahead_statement)->bind(1, stored.record.ref);
  auto ahead = collect<ActionResultRecord>(**ahead_statement, result_of);
  if (!ahead) {
    return ahead.error();
  }
  stored.ahead = std::move(*ahead);
  return std::optional<StoredExecution>{std::move(stored)};
}

Result<std::optional<StoredExecution>> SqliteReader::find_execution(
    const std::string_view tenant, const std::string_view execution_id, const HistoryBounds most) {
  auto row = statement(kFindExecution);
  if (!row) {
    return row.error();
  }
  const Moment moment{*this};
  if (!moment.begun()) {
    return moment.begun().error();
  }
  (*row)->bind(1, tenant);
  (*row)->bind(2, execution_id);
  return with_rest(**row, most);
}

Result<std::optional<StoredExecution>> SqliteReader::load_execution(const ExecutionRef ref,
                                                                    const HistoryBounds most) {
  auto row = statement(kLoadExecution);
  if (!row) {
    return row.error();
  }
  const Moment moment{*this};
  if (!moment.begun()) {
    return moment.begun().error();
  }
  (*row)->bind(1, ref);
  return with_rest(**row, most);
}

Result<std::vector<HistoryEvent>> SqliteReader::read_history(const ExecutionRef ref,
                                                             const std::int64_t after,
                                                             const HistoryBounds most) {
  auto history = statement(kHistory);
  if (!history) {
    return history.error();
  }
  (*history)->bind(1, ref);
  (*history)->bind(2, after);
  (*history)->bind(3, std::int64_t{most.records});
  std::size_t bytes = 0;
  return collect<HistoryEvent>(**history, event_of, [&](const HistoryEvent& event) {
    return (bytes += size_in_bytes(event)) < most.bytes;
  });
}

Result<std::vector<HistoryEvent>> SqliteReader::read_retries(const ExecutionRef ref,
                                                             const std::int64_t after) {
  auto retries = statement(kRetries);
  if (!retries) {
    return retries.error();
  }
  (*retries)->bind(1, ref);
  (*retries)->bind(2, after);
  return collect<HistoryEvent>(**retries, [](const SqliteStatement& row) {
    HistoryEvent event;
    event.type = EventType::execution_retried;
    event.sequence = row.column_int(0);
    event.codec = static_cast<int>(row.column_int(1));
    event.attributes = row.column_text(2);
    return event;
  });
}

Result<std::vector<ExecutionRecord>> SqliteReader::list_executions(const ExecutionQuery& query) {
  auto list = statement(query.status ? kListByStatus + static_cast<std::size_t>(*query.status)
                                     : std::size_t{kList});
  if (!list) {
    return list.error();
  }
  (*list)->bind(1, query.tenant);
  (*list)->bind(2, query.before > 0 ? query.before : INT64_MAX);
  (*list)->bind_optional(3, query.workflow);
  (*list)->bind(4, std::int64_t{query.limit});
  return collect<ExecutionRecord>(**list, execution_of);
}

Result<std::vector<ExecutionRef>> SqliteReader::executions_to_resume(const ExecutionRef after,
                                                                     const int limit) {
  auto resume = statement(kResume);
  if (!resume) {
    return resume.error();
  }
  (*resume)->bind(1, after);
  (*resume)->bind(2, std::int64_t{limit});
  return collect<ExecutionRef>(**resume,
                               [](const SqliteStatement& row) { return row.column_int(0); });
}

Result<std::vector<TimerRecord>> SqliteReader::timers_after(const TimerRecord& after,
                                                            const int limit) {
  auto timers = statement(kTimers);
  if (!timers) {
    return timers.error();
  }
  (*timers)->bind(1, after.fire_at);
  (*timers)->bind(2, after.execution);
  (*timers)->bind(3, std::int64_t{after.position});
  (*timers)->bind(4, std::int64_t{limit});
  return collect<TimerRecord>(**timers, timer_of);
}

Result<std::optional<ActionResultRecord>> SqliteReader::find_action_result(
    const std::string_view tenant, const std::string_view user_key) {
  auto find = statement(kFindResult);
  if (!find) {
    return find.error();
  }
  (*find)->bind(1, tenant);
  (*find)->bind(2, user_key);
  return first<ActionResultRecord>(**find, result_of);
}

Result<std::optional<InboxRecord>> SqliteReader::find_inbox(
    const ExecutionRef execution, const std::string_view idempotency_key) {
  auto find = statement(kFindInbox);
  if (!find) {
    return find.error();
  }
  (*find)->bind(1, execution);
  (*find)->bind(2, idempotency_key);
  return first<InboxRecord>(**find, inbox_of);
}

Result<std::vector<InboxRecord>> SqliteReader::mail_after(const InboxId after, const int limit) {
  auto mail = statement(kMail);
  if (!mail) {
    return mail.error();
  }
  (*mail)->bind(1, after);
  (*mail)->bind(2, std::int64_t{limit});
  return collect<InboxRecord>(**mail, inbox_of);
}

Result<std::vector<GraphActionRecord>> SqliteReader::graph_actions(const ExecutionRef execution) {
  auto actions = statement(kGraphActions);
  if (!actions) {
    return actions.error();
  }
  (*actions)->bind(1, execution);
  return collect<GraphActionRecord>(**actions, graph_action_of);
}

Result<std::vector<SyncPointRecord>> SqliteReader::sync_points(const ExecutionRef execution) {
  auto points = statement(kSyncPoints);
  if (!points) {
    return points.error();
  }
  (*points)->bind(1, execution);
  return collect<SyncPointRecord>(**points, sync_point_of);
}

Result<std::vector<ActionResultRecord>> SqliteReader::action_results(const ExecutionRef execution) {
  auto results = statement(kResults);
  if (!results) {
    return results.error();
  }
  (*results)->bind(1, execution);
  return collect<ActionResultRecord>(**results, result_of);
}

Result<std::optional<StateSnapshot>> SqliteReader::find_snapshot(const ExecutionRef execution,
                                                                 const std::int64_t at) {
  auto find = statement(kFindSnapshot);
  if (!find) {
    return find.error();
  }
  (*find)->bind(1, execution);
  (*find)->bind(2, at);
  (*find)->bind(3, std::int64_t{kSnapshotCodec});
  return first<StateSnapshot>(**find, snapshot_of);
}

SqliteReaderPool::SqliteReaderPool(const SqliteStoreOptions& options)
    : ConnectionPool([options] { return SqliteReader::open(options); }, options.readers_max,
                     fmt::format("the store {}", options.path)) {}

}  // namespace pawl
