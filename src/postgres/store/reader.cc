#include "postgres/store/reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "model/json_members.h"
#include "pawl/json.h"
#include "postgres/store/columns.h"

namespace pawl {
namespace {

using namespace std::chrono_literals;

constexpr auto kAnswerMax = 10s;

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
#define INBOX_COLUMNS                                                                            \
  "id, execution, tenant, event_id, event_name, payload, encoding, user_id, idempotency_key, "   \
  "status, attempts, last_error, answer, created_at, kind, execution_id, attributes, reply_to, " \
  "owners_lost"
#define INBOX_OPEN "status IN ('pending', 'published', 'processing', 'retrying')"

constexpr PgStatement kExecutionOfId{
    "execution_of_id",
    "SELECT execution FROM workflow_executions WHERE tenant = $1::text AND "
    "execution_id = $2::text"};
constexpr PgStatement kExecution{"execution",
                                 "SELECT " EXECUTION_COLUMNS
                                 " FROM workflow_executions WHERE execution = $1::bigint"};
constexpr PgStatement kHistory{
    // What is beyond the bound of bytes is not sent.
    "history",
    "SELECT " EVENT_COLUMNS
    " FROM (SELECT *, sum(coalesce(octet_length(payload), 0) + "
    "coalesce(octet_length(attributes), 0)) OVER (ORDER BY sequence) - "
    "coalesce(octet_length(payload), 0) - coalesce(octet_length(attributes), 0) AS before "
    "FROM workflow_events WHERE execution = $1::bigint AND sequence > $2::bigint "
    "ORDER BY sequence LIMIT $3::bigint) page WHERE before < $4::bigint ORDER BY sequence"};
constexpr PgStatement kHistoryEnd{
    "history_end",
    "SELECT coalesce(max(sequence), 0) FROM workflow_events WHERE execution = $1::bigint"};
constexpr PgStatement kRetries{
    "retries",
    "SELECT sequence, codec, attributes FROM workflow_events WHERE execution = $1::bigint AND "
    "sequence > $2::bigint AND event_type = 'ExecutionRetried' ORDER BY sequence"};
constexpr PgStatement kOpenInbox{
    "open_inbox",
    "SELECT " INBOX_COLUMNS
    " FROM workflow_event_processing WHERE execution = $1::bigint AND execution > 0 AND " INBOX_OPEN
    " ORDER BY id"};
constexpr PgStatement kMailOf{
    "mail_of",
    "SELECT " INBOX_COLUMNS " FROM workflow_event_processing WHERE execution = 0 AND " INBOX_OPEN
    " AND (tenant, execution_id) = (SELECT tenant, execution_id FROM workflow_executions "
    "WHERE execution = $1::bigint) ORDER BY id LIMIT $2::bigint"};
constexpr PgStatement kResultsAhead{
    "results_ahead", "SELECT " RESULT_COLUMNS
                     " FROM workflow_action_results WHERE execution = $1::bigint AND NOT recorded "
                     "ORDER BY position, generation"};
// Of several partitions: what each has, by an index of its own, and of that the first.
constexpr PgStatement kResume{
    "resume",
    "SELECT r.execution FROM unnest($1::integer[]) AS p(partition), LATERAL ("
    "(SELECT x.execution FROM workflow_executions x WHERE (x.in_flight OR x.status = 'stuck') AND "
    "x.status IN ('running', 'stuck') AND x.partition = p.partition AND x.execution > $2::bigint "
    "ORDER BY x.execution LIMIT $3::bigint) UNION "
    "(SELECT DISTINCT e.execution FROM workflow_event_processing e WHERE e.execution > 0 AND "
    "e." INBOX_OPEN
    " AND e.execution > $2::bigint AND e.execution > (p.partition::bigint << 43) AND "
    "e.execution < ((p.partition + 1)::bigint << 43) ORDER BY e.execution LIMIT $3::bigint)) r "
    "ORDER BY r.execution LIMIT $3::bigint"};
constexpr PgStatement kTimers{
    "timers",
    "SELECT r.execution, r.position, r.kind, r.fire_at FROM unnest($1::integer[]) AS p(partition), "
    "LATERAL (SELECT * FROM workflow_timers t WHERE t.partition = p.partition AND "
    "(t.fire_at, t.execution, t.position) > ($2::timestamptz, $3::bigint, $4::integer) AND "
    // Not as a join: a plan that goes through all that are paused for each timer would do.
    "(SELECT x.status FROM workflow_executions x WHERE x.execution = t.execution) "
    "IS DISTINCT FROM 'paused' "
    "ORDER BY t.fire_at, t.execution, t.position LIMIT $5::bigint) r "
    "ORDER BY r.fire_at, r.execution, r.position LIMIT $5::bigint"};
constexpr PgStatement kFindResult{
    "find_result", "SELECT " RESULT_COLUMNS
                   " FROM workflow_action_results WHERE tenant = $1::text AND user_key = $2::text"};
constexpr PgStatement kFindInbox{
    "find_inbox",
    "SELECT " INBOX_COLUMNS
    " FROM workflow_event_processing WHERE execution = $1::bigint AND execution > 0 AND "
    "idempotency_key = $2::text"};
constexpr PgStatement kMail{
    "mail",
    "SELECT " INBOX_COLUMNS
    " FROM (SELECT r.* FROM unnest($1::integer[]) AS p(partition), LATERAL "
    "(SELECT * FROM workflow_event_processing e WHERE e.execution = 0 AND e." INBOX_OPEN
    " AND e.partition = p.partition AND e.id > $2::bigint ORDER BY e.id LIMIT $3::bigint) r) mail "
    "ORDER BY id LIMIT $3::bigint"};
constexpr PgStatement kStatuses{
    // One whose start is still to be taken up is on its way.
    "statuses",
    "SELECT coalesce((SELECT x.status FROM workflow_executions x WHERE x.tenant = u.tenant AND "
    "x.execution_id = u.id LIMIT 1), (SELECT 'running' FROM workflow_event_processing s WHERE "
    "s.execution = 0 AND s.tenant = u.tenant AND s.execution_id = u.id AND s.kind = 'start' AND "
    "s." INBOX_OPEN
    " LIMIT 1)) FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS u(tenant, id, at) "
    "ORDER BY u.at"};
constexpr PgStatement kSettledMail{
    "settled_mail",
    "SELECT " INBOX_COLUMNS
    " FROM workflow_event_processing WHERE id = ANY($1::bigint[]) AND status IN ('completed', "
    "'failed')"};
constexpr PgStatement kResults{
    "results_of", "SELECT " RESULT_COLUMNS
                  " FROM workflow_action_results WHERE execution = $1::bigint AND execution > 0 "
                  "ORDER BY position, generation"};
constexpr PgStatement kFindSnapshot{
    "find_snapshot",
    "SELECT execution, sequence, tenant, status, current_state, data, created_at "
    "FROM workflow_state_snapshots WHERE execution = $1::bigint AND sequence <= $2::bigint AND "
    "codec = $3::integer ORDER BY sequence DESC LIMIT 1"};
constexpr PgStatement kGraphActions{
    "graph_actions_of",
    "SELECT graph, position, action_id, action_name, compensation, depends_on, action_group, "
    "sync_point, error_strategy, skipped FROM workflow_action_dependencies WHERE execution = "
    "$1::bigint "
    "ORDER BY graph, position"};
constexpr PgStatement kSyncPoints{"sync_points_of",
                                  "SELECT graph, name, actions, reached_at FROM "
                                  "workflow_sync_points WHERE execution = $1::bigint "
                                  "ORDER BY graph, name"};
constexpr PgStatement kList{
    "list",
    "SELECT " EXECUTION_COLUMNS
    " FROM workflow_executions WHERE tenant COLLATE \"C\" = $1::text AND execution < $2::bigint "
    "AND "
    "($3::text IS NULL OR workflow_name = $3::text) AND ($4::text IS NULL OR status = $4::text) "
    "ORDER BY execution DESC LIMIT $5::bigint"};
// An index has these few.
constexpr PgStatement kListOfAttention{
    "list_of_attention",
    "SELECT " EXECUTION_COLUMNS
    " FROM workflow_executions WHERE tenant = $1::text AND execution < $2::bigint AND "
    "($3::text IS NULL OR workflow_name = $3::text) AND status = $4::text AND "
    "status IN ('failed', 'stuck', 'paused') ORDER BY execution DESC LIMIT $5::bigint"};

const std::vector<PgStatement>& all_statements() {
  static const std::vector<PgStatement> all{
      kExecutionOfId, kExecution,    kHistory,        kHistoryEnd, kRetries,      kOpenInbox,
      kMailOf,        kResultsAhead, kResume,         kTimers,     kFindResult,   kFindInbox,
      kMail,          kSettledMail,  kStatuses,       kResults,    kFindSnapshot, kGraphActions,
      kSyncPoints,    kList,         kListOfAttention};
  return all;
}

#undef EXECUTION_COLUMNS
#undef EVENT_COLUMNS
#undef RESULT_COLUMNS
#undef INBOX_COLUMNS
#undef INBOX_OPEN

template <class Enum, class From>
Enum column_enum(const PgRow& row, const int column, From from, const char* const name) {
  const auto value = from(row.view(column));
  if (!value) {
    throw UnreadableRow{fmt::format("the store has a {} of '{}', which this version does not know",
                                    name, row.view(column))};
  }
  return *value;
}

ExecutionRecord execution_of(const PgRow& row) {
  ExecutionRecord record;
  record.ref = row.integer(0);
  record.tenant = row.text(1);
  record.execution_id = row.text(2);
  record.workflow = row.text(3);
  record.version = row.text(4);
  record.status = column_enum<ExecutionStatus>(row, 5, execution_status_from, "status");
  record.condition = column_enum<Condition>(row, 6, condition_from, "condition");
  record.condition_detail = row.text(7);
  record.state = row.text(8);
  record.in_flight = row.flag(9);
  record.last_sequence = row.integer(10);
  record.result = row.payload(11, 12);
  record.error_json = row.text(13);
  record.user_id = row.text(14);
  record.correlation_id = row.text(15);
  record.input_digest = row.text(16);
  record.created_at = row.time(17);
  record.updated_at = row.time(18);
  return record;
}

HistoryEvent event_of(const PgRow& row) {
  HistoryEvent event;
  event.sequence = row.integer(0);
  event.type = column_enum<EventType>(row, 1, event_type_from, "event type");
  event.at = row.time(2);
  event.cause = row.integer(3);
  event.position = static_cast<Position>(row.integer(4));
  event.ends_activation = row.flag(5);
  event.codec = static_cast<int>(row.integer(6));
  event.name = row.text(7);
  event.payload = row.payload(8, 9);
  event.attributes = row.text(10);
  event.site = row.text(11);
  return event;
}

HistoryEvent retry_of(const PgRow& row) {
  HistoryEvent event;
  event.type = EventType::execution_retried;
  event.sequence = row.integer(0);
  event.codec = static_cast<int>(row.integer(1));
  event.attributes = row.text(2);
  return event;
}

ActionResultRecord result_of(const PgRow& row) {
  ActionResultRecord result;
  result.execution = row.integer(0);
  result.position = static_cast<Position>(row.integer(1));
  result.tenant = row.text(2);
  result.execution_id = row.text(3);
  result.action = row.text(4);
  result.user_key = row.text(5);
  result.parameters_digest = row.text(6);
  result.succeeded = row.view(7) == "succeeded";
  result.attempts = static_cast<int>(row.integer(8));
  result.cause = row.integer(9);
  result.result = row.payload(10, 11);
  result.error_json = row.text(12);
  result.at = row.time(13);
  result.generation = static_cast<int>(row.integer(14));
  result.seed = static_cast<std::uint64_t>(row.integer(15));
  result.ahead = !row.flag(16);
  return result;
}

InboxRecord inbox_of(const PgRow& row) {
  InboxRecord record;
  record.id = row.integer(0);
  record.execution = row.integer(1);
  record.tenant = row.text(2);
  record.event_id = row.text(3);
  record.event_name = row.text(4);
  record.payload = row.payload(5, 6);
  record.user_id = row.text(7);
  record.idempotency_key = row.text(8);
  record.status = column_enum<InboxStatus>(row, 9, inbox_status_from, "inbox status");
  record.attempts = static_cast<int>(row.integer(10));
  record.last_error = row.text(11);
  record.answer = row.text(12);
  record.accepted_at = row.time(13);
  record.kind = column_enum<InboxKind>(row, 14, inbox_kind_from, "inbox kind");
  record.execution_id = row.text(15);
  record.attributes = row.text(16);
  record.reply_to = row.text(17);
  record.owners_lost = static_cast<int>(row.integer(18));
  if (record.execution != 0) record.execution_id.clear();
  return record;
}

TimerRecord timer_of(const PgRow& row) {
  return {row.integer(0), static_cast<Position>(row.integer(1)),
          column_enum<TimerKind>(row, 2, timer_kind_from, "timer kind"), row.time(3)};
}

StateSnapshot snapshot_of(const PgRow& row) {
  StateSnapshot snapshot;
  snapshot.execution = row.integer(0);
  snapshot.sequence = row.integer(1);
  snapshot.tenant = row.text(2);
  snapshot.status = column_enum<ExecutionStatus>(row, 3, execution_status_from, "status");
  snapshot.state = row.text(4);
  snapshot.data_json = row.text(5);
  snapshot.at = row.time(6);
  return snapshot;
}

std::vector<std::string> texts_of(const std::string_view json) {
  const auto unreadable = [json] {
    return UnreadableRow{fmt::format("'{}' is no list of texts", json)};
  };
  std::vector<std::string> texts;
  const auto elements = json_elements(json);
  if (!elements) throw unreadable();
  for (const std::string_view element : *elements) {
    const auto text = Json::parse(element);
    if (!text || !text->is_string()) throw unreadable();
    texts.push_back(text->as_string());
  }
  return texts;
}

GraphActionRecord graph_action_of(const PgRow& row) {
  GraphActionRecord record;
  record.graph = static_cast<Position>(row.integer(0));
  record.position = static_cast<Position>(row.integer(1));
  record.action_id = row.text(2);
  record.action = row.text(3);
  record.compensation = row.flag(4);
  record.depends_on = texts_of(row.view(5));
  record.group = row.text(6);
  record.sync_point = row.text(7);
  record.error_strategy = row.text(8);
  record.skipped = row.flag(9);
  return record;
}

SyncPointRecord sync_point_of(const PgRow& row) {
  return {static_cast<Position>(row.integer(0)), row.text(1), texts_of(row.view(2)), row.time(3)};
}

ExecutionRef ref_of(const PgRow& row) { return row.integer(0); }

template <class T, class Row>
std::vector<T> all_of(const PgResult& result, Row row) {
  std::vector<T> all;
  const int count = PQntuples(result.get());
  all.reserve(static_cast<std::size_t>(count));
  for (int at = 0; at < count; ++at) all.push_back(row(PgRow(result.get(), at)));
  return all;
}

// Up to the record that reaches the bound of bytes.
std::vector<HistoryEvent> page_of(const PgResult& result, const HistoryBounds most) {
  std::vector<HistoryEvent> page;
  const int count = PQntuples(result.get());
  page.reserve(static_cast<std::size_t>(count));
  std::size_t bytes = 0;
  for (int at = 0; at < count && bytes < most.bytes; ++at) {
    page.push_back(event_of(PgRow(result.get(), at)));
    bytes += size_in_bytes(page.back());
  }
  return page;
}

PgColumn partitions_of(const std::vector<PartitionLease>& leases) {
  PgColumn partitions(PgType::int4);
  for (const PartitionLease& lease : leases) partitions.add(std::int32_t{lease.partition});
  return partitions;
}

PgParameters history_parameters(const ExecutionRef ref, const std::int64_t after,
                                const HistoryBounds most) {
  constexpr std::size_t kMost = std::numeric_limits<std::int64_t>::max();
  return PgParameters()
      .add(ref)
      .add(after)
      .add(std::int64_t{most.records})
      .add(static_cast<std::int64_t>(std::min(most.bytes, kMost)));
}

template <class Read>
auto readable(Read read) -> Result<decltype(read())> {
  try {
    return read();
  } catch (const UnreadableRow& unreadable) {
    return Error{ErrorCode::store_invalid, unreadable.message, {}};
  }
}

}  // namespace

template <class Queue>
Result<std::vector<PgResult>> PostgresReader::run(Queue queue, const std::string_view doing) {
  for (bool again = false;; again = true) {
    if (!pipeline_.is_connected()) {
      const auto connected = pipeline_.connect(
          parameters_,
          {"SET jit = off", "SET plan_cache_mode = force_generic_plan", "SET enable_seqscan = off"},
          all_statements(), kAnswerMax);
      if (!connected) return error_of(connected.error(), "connecting to the store");
    }
    queue(pipeline_);
    auto answers = pipeline_.run();
    if (answers) return std::move(*answers);
    if (!answers.error().connection || again) {
      // It may have left a transaction open.
      pipeline_.close();
      return error_of(answers.error(), doing);
    }
  }
}

template <class T, class Row, class Queue>
Result<std::vector<T>> PostgresReader::rows(Queue queue, Row row) {
  const auto answers = run(queue, "reading the store");
  if (!answers) return answers.error();
  return readable([&] { return all_of<T>(answers->front(), row); });
}

template <class T, class Row, class Queue>
Result<std::optional<T>> PostgresReader::first(Queue queue, Row row) {
  auto all = rows<T>(queue, row);
  if (!all) return all.error();
  return all->empty() ? std::optional<T>{} : std::optional<T>{std::move(all->front())};
}

Result<std::optional<StoredExecution>> PostgresReader::find_execution(
    const std::string_view tenant, const std::string_view execution_id, const HistoryBounds most) {
  // The number of an id is the same for good.
  const auto ref = first<ExecutionRef>(
      [&](PgPipeline& pipeline) {
        pipeline.add(kExecutionOfId.name, PgParameters().add_text(tenant).add_text(execution_id));
      },
      ref_of);
  if (!ref) return ref.error();
  if (!*ref) return std::optional<StoredExecution>{};
  return load_execution(**ref, most);
}

Result<std::optional<StoredExecution>> PostgresReader::load_execution(const ExecutionRef ref,
                                                                      const HistoryBounds most) {
  const PgParameters of = PgParameters().add(ref);
  const auto answers = run(
      [&](PgPipeline& pipeline) {
        pipeline.add_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
        pipeline.add(kExecution.name, of);
        pipeline.add(kHistory.name, history_parameters(ref, 0, most));
        pipeline.add(kHistoryEnd.name, of);
        if (most.records == 0) return;
        pipeline.add(kOpenInbox.name, of);
        pipeline.add(kMailOf.name, PgParameters().add(ref).add(std::int64_t{kMailOfExecutionMax}));
        pipeline.add(kResultsAhead.name, of);
      },
      "reading an execution");
  if (!answers) return answers.error();
  auto read = readable([&]() -> std::optional<StoredExecution> {
    const auto& all = *answers;
    if (PQntuples(all[1].get()) == 0) return std::nullopt;
    StoredExecution stored;
    stored.record = execution_of(PgRow(all[1].get(), 0));
    stored.history = page_of(all[2], most);
    stored.history_end = PgRow(all[3].get(), 0).integer(0);
    if (most.records == 0) return stored;
    stored.inbox = all_of<InboxRecord>(all[4], inbox_of);
    stored.mail = all_of<InboxRecord>(all[5], inbox_of);
    stored.ahead = all_of<ActionResultRecord>(all[6], result_of);
    return stored;
  });
  if (!read) {
    pipeline_.close();
    return read.error();
  }
  std::int64_t last = 0;
  bool cut = false;
  if (*read && most.records > 0) {
    last = (*read)->history.empty() ? 0 : (*read)->history.back().sequence;
    cut = last < (*read)->history_end;
  }
  const auto rest = [&](PgPipeline& pipeline) {
    if (cut) pipeline.add(kRetries.name, PgParameters().add(ref).add(last));
    pipeline.add_sql("COMMIT");
  };
  rest(pipeline_);
  const auto ended = pipeline_.run();
  if (!ended) {
    pipeline_.close();
    return error_of(ended.error(), "reading an execution");
  }
  if (cut) (*read)->retries = all_of<HistoryEvent>(ended->front(), retry_of);
  return std::move(*read);
}

Result<std::vector<HistoryEvent>> PostgresReader::read_history(const ExecutionRef ref,
                                                               const std::int64_t after,
                                                               const HistoryBounds most) {
  const auto answers = run(
      [&](PgPipeline& pipeline) {
        pipeline.add(kHistory.name, history_parameters(ref, after, most));
      },
      "reading a history");
  if (!answers) return answers.error();
  return readable([&] { return page_of(answers->front(), most); });
}

Result<std::vector<ExecutionRecord>> PostgresReader::list_executions(const ExecutionQuery& query) {
  const bool attention = query.status && (*query.status == ExecutionStatus::failed ||
                                          *query.status == ExecutionStatus::stuck ||
                                          *query.status == ExecutionStatus::paused);
  return rows<ExecutionRecord>(
      [&](PgPipeline& pipeline) {
        PgParameters parameters;
        parameters.add_text(query.tenant)
            .add(query.before > 0 ? query.before : std::numeric_limits<std::int64_t>::max())
            .add_optional_text(query.workflow)
            .add_optional_text(query.status ? to_string(*query.status) : std::string_view{})
            .add(std::int64_t{query.limit});
        pipeline.add(attention ? kListOfAttention.name : kList.name, parameters);
      },
      execution_of);
}

Result<std::vector<ExecutionRef>> PostgresReader::executions_to_resume(
    const std::vector<PartitionLease>& of, const ExecutionRef after, const int limit) {
  return rows<ExecutionRef>(
      [&](PgPipeline& pipeline) {
        PgColumn partitions = partitions_of(of);
        pipeline.add(
            kResume.name,
            PgParameters().add_array(partitions.bytes()).add(after).add(std::int64_t{limit}));
      },
      ref_of);
}

Result<std::vector<TimerRecord>> PostgresReader::timers_after(const std::vector<PartitionLease>& of,
                                                              const TimerRecord& after,
                                                              const int limit) {
  return rows<TimerRecord>(
      [&](PgPipeline& pipeline) {
        PgColumn partitions = partitions_of(of);
        pipeline.add(kTimers.name, PgParameters()
                                       .add_array(partitions.bytes())
                                       .add_time(after.fire_at)
                                       .add(after.execution)
                                       .add(std::int32_t{after.position})
                                       .add(std::int64_t{limit}));
      },
      timer_of);
}

Result<std::optional<ActionResultRecord>> PostgresReader::find_action_result(
    const std::string_view tenant, const std::string_view user_key) {
  return first<ActionResultRecord>(
      [&](PgPipeline& pipeline) {
        pipeline.add(kFindResult.name, PgParameters().add_text(tenant).add_text(user_key));
      },
      result_of);
}

Result<std::optional<InboxRecord>> PostgresReader::find_inbox(
    const ExecutionRef execution, const std::string_view idempotency_key) {
  return first<InboxRecord>(
      [&](PgPipeline& pipeline) {
        pipeline.add(kFindInbox.name, PgParameters().add(execution).add_text(idempotency_key));
      },
      inbox_of);
}

Result<std::vector<InboxRecord>> PostgresReader::mail_after(const std::vector<PartitionLease>& of,
                                                            const InboxId after, const int limit) {
  return rows<InboxRecord>(
      [&](PgPipeline& pipeline) {
        PgColumn partitions = partitions_of(of);
        pipeline.add(
            kMail.name,
            PgParameters().add_array(partitions.bytes()).add(after).add(std::int64_t{limit}));
      },
      inbox_of);
}

Result<std::vector<std::optional<ExecutionStatus>>> PostgresReader::statuses(
    const std::vector<std::pair<std::string, std::string>>& executions) {
  return rows<std::optional<ExecutionStatus>>(
      [&](PgPipeline& pipeline) {
        PgColumn tenants(PgType::text);
        PgColumn ids(PgType::text);
        for (const auto& [tenant, id] : executions) {
          tenants.add(std::string_view(tenant));
          ids.add(std::string_view(id));
        }
        pipeline.add(kStatuses.name,
                     PgParameters().add_array(tenants.bytes()).add_array(ids.bytes()));
      },
      [](const PgRow& row) { return execution_status_from(row.view(0)); });
}

Result<std::vector<InboxRecord>> PostgresReader::settled_mail(const std::vector<InboxId>& rows_of) {
  return rows<InboxRecord>(
      [&](PgPipeline& pipeline) {
        PgColumn ids(PgType::int8);
        for (const InboxId id : rows_of) ids.add(id);
        pipeline.add(kSettledMail.name, PgParameters().add_array(ids.bytes()));
      },
      inbox_of);
}

Result<std::vector<ActionResultRecord>> PostgresReader::action_results(
    const ExecutionRef execution) {
  return rows<ActionResultRecord>(
      [&](PgPipeline& pipeline) { pipeline.add(kResults.name, PgParameters().add(execution)); },
      result_of);
}

Result<std::vector<GraphActionRecord>> PostgresReader::graph_actions(const ExecutionRef execution) {
  return rows<GraphActionRecord>(
      [&](PgPipeline& pipeline) {
        pipeline.add(kGraphActions.name, PgParameters().add(execution));
      },
      graph_action_of);
}

Result<std::vector<SyncPointRecord>> PostgresReader::sync_points(const ExecutionRef execution) {
  return rows<SyncPointRecord>(
      [&](PgPipeline& pipeline) { pipeline.add(kSyncPoints.name, PgParameters().add(execution)); },
      sync_point_of);
}

Result<std::optional<StateSnapshot>> PostgresReader::find_snapshot(const ExecutionRef execution,
                                                                   const std::int64_t at) {
  return first<StateSnapshot>(
      [&](PgPipeline& pipeline) {
        pipeline.add(kFindSnapshot.name,
                     PgParameters().add(execution).add(at).add(std::int32_t{kSnapshotCodec}));
      },
      snapshot_of);
}

PostgresReaders::PostgresReaders(const PostgresParameters& parameters, const int most)
    // It connects when it is first used.
    : ConnectionPool(
          [parameters]() -> Result<std::unique_ptr<PostgresReader>> {
            return std::make_unique<PostgresReader>(parameters);
          },
          most, "the store") {}

}  // namespace pawl
