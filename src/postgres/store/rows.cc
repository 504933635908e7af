#include "postgres/store/rows.h"

#include <array>
#include <string>
#include <string_view>

#include "base/digest.h"
#include "model/json_object.h"
#include "postgres/store/columns.h"

namespace pawl {
namespace {

// 53 bits in all, so that JavaScript counts them exactly.
constexpr int kNumberBits = 43;

constexpr PgStatement kInsertExecutions{
    "insert_executions",
    "INSERT INTO workflow_executions(execution, partition, tenant, execution_id, workflow_name, "
    "workflow_version, status, condition, condition_detail, current_state, in_flight, "
    "last_sequence, "
    "result, result_encoding, error, user_id, correlation_id, input_digest, created_at, "
    "updated_at) "
    "SELECT * FROM unnest($1::bigint[], $2::integer[], $3::text[], $4::text[], $5::text[], "
    "$6::text[], "
    "$7::text[], $8::text[], $9::text[], $10::text[], $11::boolean[], $12::bigint[], $13::bytea[], "
    "$14::smallint[], $15::text[], $16::text[], $17::text[], $18::text[], $19::timestamptz[], "
    "$20::timestamptz[])"};

// Of a column that stays, the bit in `columns` is not set.
enum Column : std::int32_t {
  kStatus = 1,
  kState = 2,
  kCondition = 4,
  kConditionDetail = 8,
  kInFlight = 16,
  kResult = 32,
  kError = 64,
  kVersion = 128,
};
constexpr PgStatement kUpdateExecutions{
    "update_executions",
    "UPDATE workflow_executions x SET last_sequence = r.last_sequence, updated_at = r.updated_at, "
    "status = CASE WHEN r.columns & 1 <> 0 THEN r.status ELSE x.status END, "
    "current_state = CASE WHEN r.columns & 2 <> 0 THEN r.state ELSE x.current_state END, "
    "condition = CASE WHEN r.columns & 4 <> 0 THEN r.condition ELSE x.condition END, "
    "condition_detail = CASE WHEN r.columns & 8 <> 0 THEN r.detail ELSE x.condition_detail END, "
    "in_flight = CASE WHEN r.columns & 16 <> 0 THEN r.in_flight ELSE x.in_flight END, "
    "result = CASE WHEN r.columns & 32 <> 0 THEN r.result ELSE x.result END, "
    "result_encoding = CASE WHEN r.columns & 32 <> 0 THEN r.encoding ELSE x.result_encoding END, "
    "error = CASE WHEN r.columns & 64 <> 0 THEN r.error ELSE x.error END, "
    "workflow_version = CASE WHEN r.columns & 128 <> 0 THEN r.version ELSE x.workflow_version END "
    "FROM unnest($1::bigint[], $2::integer[], $3::bigint[], $4::timestamptz[], $5::text[], "
    "$6::text[], "
    "$7::text[], $8::text[], $9::boolean[], $10::bytea[], $11::smallint[], $12::text[], "
    "$13::text[]) "
    "AS r(execution, columns, last_sequence, updated_at, status, state, condition, detail, "
    "in_flight, "
    "result, encoding, error, version) WHERE x.execution = r.execution"};

constexpr PgStatement kInsertEvents{
    "insert_events",
    "INSERT INTO workflow_events(execution, sequence, tenant, event_type, event_name, position, "
    "cause, "
    "ends_activation, codec, payload, encoding, attributes, site, created_at) "
    "SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], "
    "$6::integer[], "
    "$7::bigint[], $8::boolean[], $9::smallint[], $10::bytea[], $11::smallint[], $12::text[], "
    "$13::text[], $14::timestamptz[])"};

constexpr PgStatement kDeleteTimers{"delete_timers",
                                    "DELETE FROM workflow_timers t USING unnest($1::bigint[], "
                                    "$2::integer[]) AS r(execution, position) "
                                    "WHERE t.execution = r.execution AND t.position = r.position"};
constexpr PgStatement kUpsertTimers{
    "upsert_timers",
    "INSERT INTO workflow_timers(execution, position, partition, tenant, kind, fire_at) "
    "SELECT * FROM unnest($1::bigint[], $2::integer[], $3::integer[], $4::text[], $5::text[], "
    "$6::timestamptz[]) ON CONFLICT (execution, position) DO UPDATE SET kind = excluded.kind, "
    "fire_at = excluded.fire_at"};

#define RESULT_ROWS                                                                              \
  "INSERT INTO workflow_action_results AS x (execution, position, generation, seed, tenant, "    \
  "execution_id, action_name, status, attempts, cause, result, encoding, error, user_key, "      \
  "parameters_digest, created_at) SELECT r.execution, r.position, r.generation, r.seed, "        \
  "r.tenant, "                                                                                   \
  "r.execution_id, r.action, r.status, r.attempts, r.cause, r.result, r.encoding, r.error, "     \
  "r.user_key, r.digest, r.at FROM unnest($1::bigint[], $2::integer[], $3::integer[], "          \
  "$4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[], $9::integer[], $10::bigint[], " \
  "$11::bytea[], $12::smallint[], $13::text[], $14::text[], $15::text[], $16::timestamptz[]) "   \
  "AS r(execution, position, generation, seed, tenant, execution_id, action, status, attempts, " \
  "cause, result, encoding, error, user_key, digest, at) "
// Where the action's own transaction has written the row, that is the outcome: another one does not fit.
#define FOLLOWS_FROM_THE_ROW                                                                \
  "DO UPDATE SET recorded = true, status = excluded.status, attempts = excluded.attempts, " \
  "cause = excluded.cause, result = excluded.result, encoding = excluded.encoding, "        \
  "error = excluded.error, seed = excluded.seed WHERE NOT x.recorded"
#define SAME_OUTCOME \
  " AND x.status = excluded.status AND x.result IS NOT DISTINCT FROM excluded.result"
constexpr PgStatement kResults{
    "results", RESULT_ROWS
    "ON CONFLICT (execution, position, generation) WHERE execution > 0 " FOLLOWS_FROM_THE_ROW
        SAME_OUTCOME};
constexpr PgStatement kResultsByKey{
    "results_by_key", RESULT_ROWS
    "ON CONFLICT (tenant, user_key) WHERE user_key IS NOT NULL " FOLLOWS_FROM_THE_ROW SAME_OUTCOME};
// What the row says can't be handed over, and the history has something else in its place.
constexpr PgStatement kOverridingResults{
    "overriding_results", RESULT_ROWS
    "ON CONFLICT (execution, position, generation) WHERE execution > 0 " FOLLOWS_FROM_THE_ROW};
constexpr PgStatement kOverridingResultsByKey{
    "overriding_results_by_key",
    RESULT_ROWS "ON CONFLICT (tenant, user_key) WHERE user_key IS NOT NULL " FOLLOWS_FROM_THE_ROW};
// It waits for a transaction that has written the row and is about to be committed; then that is what stands.
constexpr PgStatement kGiveUp{
    "give_up",
    "INSERT INTO workflow_action_results (execution, position, generation, seed, tenant, "
    "action_name, status, attempts, cause, error, created_at) "
    "SELECT r.execution, r.position, r.generation, r.seed, r.tenant, r.action, 'given_up', "
    "r.attempts, 0, r.error, r.at FROM unnest($1::bigint[], $2::integer[], $3::integer[], "
    "$4::bigint[], $5::text[], $6::text[], $7::integer[], $8::text[], $9::timestamptz[]) "
    "AS r(execution, position, generation, seed, tenant, action, attempts, error, at) "
    "ON CONFLICT DO NOTHING"};
constexpr PgStatement kTakeBack{
    "take_back",
    "DELETE FROM workflow_action_results WHERE execution = ANY($1::bigint[]) AND execution > 0 "
    "AND status = 'given_up'"};
#undef SAME_OUTCOME
#undef FOLLOWS_FROM_THE_ROW
#undef RESULT_ROWS

constexpr PgStatement kInsertGraphActions{
    "insert_graph_actions",
    "INSERT INTO workflow_action_dependencies(execution, graph, position, tenant, action_id, "
    "action_name, compensation, depends_on, action_group, sync_point, error_strategy, skipped) "
    "SELECT * FROM unnest($1::bigint[], $2::integer[], $3::integer[], $4::text[], $5::text[], "
    "$6::text[], "
    "$7::boolean[], $8::text[], $9::text[], $10::text[], $11::text[], $12::boolean[])"};
constexpr PgStatement kChangeGraphActions{
    "change_graph_actions",
    "UPDATE workflow_action_dependencies x SET skipped = r.skipped "
    "FROM unnest($1::bigint[], $2::integer[], $3::integer[], $4::boolean[]) "
    "AS r(execution, graph, position, skipped) "
    "WHERE x.execution = r.execution AND x.graph = r.graph AND x.position = r.position"};
constexpr PgStatement kUpsertSyncPoints{
    "upsert_sync_points",
    "INSERT INTO workflow_sync_points(execution, graph, name, tenant, status, actions, reached_at) "
    "SELECT * FROM unnest($1::bigint[], $2::integer[], $3::text[], $4::text[], $5::text[], "
    "$6::text[], "
    "$7::timestamptz[]) ON CONFLICT (execution, graph, name) DO UPDATE SET status = "
    "excluded.status, "
    "actions = excluded.actions, reached_at = excluded.reached_at"};

constexpr PgStatement kInsertInbox{
    "insert_inbox",
    "INSERT INTO workflow_event_processing(id, execution, partition, tenant, execution_id, kind, "
    "event_id, event_name, status, attempts, payload, encoding, attributes, user_id, "
    "idempotency_key, "
    "answer, last_error, created_at) SELECT * FROM unnest($1::bigint[], $2::bigint[], "
    "$3::integer[], "
    "$4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::integer[], "
    "$11::bytea[], $12::smallint[], $13::text[], $14::text[], $15::text[], $16::text[], "
    "$17::text[], "
    "$18::timestamptz[])"};
constexpr PgStatement kCompleteInbox{
    "complete_inbox",
    "UPDATE workflow_event_processing x SET status = r.status, last_error = r.last_error, "
    "answer = r.answer, payload = CASE r.status WHEN 'failed' THEN x.payload END, "
    "encoding = CASE r.status WHEN 'failed' THEN x.encoding END, "
    "execution = CASE x.execution WHEN 0 THEN r.execution ELSE x.execution END "
    "FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bigint[]) "
    "AS r(id, status, last_error, answer, execution) WHERE x.id = r.id AND "
    "x.status IN ('pending', 'published', 'processing', 'retrying')"};

constexpr PgStatement kInsertSnapshots{
    "insert_snapshots",
    "INSERT INTO workflow_state_snapshots(execution, sequence, tenant, codec, status, "
    "current_state, "
    "data, created_at) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], "
    "$4::smallint[], "
    "$5::text[], $6::text[], $7::text[], $8::timestamptz[]) ON CONFLICT DO NOTHING"};

// The columns of one statement; a row is added to each of them.
template <std::size_t Count>
class Rows {
 public:
  explicit Rows(const PgType (&types)[Count]) {
    columns_.reserve(Count);
    for (const PgType type : types) columns_.emplace_back(type);
  }
  PgColumn& operator[](const std::size_t column) { return columns_[column - 1]; }  // as in the SQL
  std::int32_t size() const { return columns_.front().size(); }

  void queue(PgPipeline& pipeline, const PgStatement& statement, const bool counts,
             std::vector<BatchStatement>& written) {
    if (size() == 0) return;
    PgParameters parameters;
    for (PgColumn& column : columns_) parameters.add_array(column.bytes());
    pipeline.add(statement.name, parameters);
    written.push_back(
        {statement.name, counts ? std::optional<std::int64_t>(size()) : std::nullopt});
  }

 private:
  std::vector<PgColumn> columns_;
};

constexpr auto kText = PgType::text;
constexpr auto kBytes = PgType::bytes;
constexpr auto kInt2 = PgType::int2;
constexpr auto kInt4 = PgType::int4;
constexpr auto kInt8 = PgType::int8;
constexpr auto kBool = PgType::boolean;
constexpr auto kTime = PgType::time;

// What comes later wins.
void merge(ExecutionChange& change, const ExecutionChange& later) {
  const auto take = [](auto& into, const auto& from) {
    if (from) into = from;
  };
  take(change.status, later.status);
  take(change.version, later.version);
  take(change.state, later.state);
  take(change.condition, later.condition);
  take(change.condition_detail, later.condition_detail);
  take(change.in_flight, later.in_flight);
  take(change.result, later.result);
  take(change.error_json, later.error_json);
  change.last_sequence = later.last_sequence;
  change.at = later.at;
}

void merge(ExecutionRecord& record, const ExecutionChange& later) {
  const auto take = [](auto& into, const auto& from) {
    if (from) into = *from;
  };
  take(record.status, later.status);
  take(record.version, later.version);
  take(record.state, later.state);
  take(record.condition, later.condition);
  take(record.condition_detail, later.condition_detail);
  take(record.in_flight, later.in_flight);
  take(record.result, later.result);
  take(record.error_json, later.error_json);
  record.last_sequence = later.last_sequence;
  record.updated_at = later.at;
}

std::int32_t columns_of(const ExecutionChange& change) {
  return (change.status ? kStatus : 0) | (change.state ? kState : 0) |
         (change.condition ? kCondition : 0) | (change.condition_detail ? kConditionDetail : 0) |
         (change.in_flight ? kInFlight : 0) | (change.result ? kResult : 0) |
         (change.error_json ? kError : 0) | (change.version ? kVersion : 0);
}

}  // namespace

const std::vector<PgStatement>& BatchRows::statements() {
  static const std::vector<PgStatement> all{
      kInsertExecutions,       kUpdateExecutions, kInsertEvents, kDeleteTimers,
      kUpsertTimers,           kResults,          kResultsByKey, kOverridingResults,
      kOverridingResultsByKey, kGiveUp,           kTakeBack,     kInsertGraphActions,
      kChangeGraphActions,     kUpsertSyncPoints, kInsertInbox,  kCompleteInbox,
      kInsertSnapshots};
  return all;
}

void BatchRows::add(const StateSnapshot& snapshot) { snapshots_.push_back(&snapshot); }

void BatchRows::add(const Transition& transition) {
  transitions_.push_back(&transition);
  if (transition.created) executions_[transition.execution].created = *transition.created;
  if (transition.changed) {
    ExecutionRow& row = executions_[transition.execution];
    if (row.created) {
      merge(*row.created, *transition.changed);
    } else if (row.changed) {
      merge(*row.changed, *transition.changed);
    } else {
      row.changed = *transition.changed;
    }
  }
  for (const Position position : transition.timers_cleared) {
    timers_[{transition.execution, position}] = {};
  }
  for (const TimerRecord& timer : transition.timers_set) {
    timers_[{timer.execution, timer.position}] = {&timer, &transition.tenant};
  }
  for (const InboxRecord& record : transition.inbox_added) inbox_[record.id].added = &record;
  for (const InboxCompletion& completion : transition.inbox_completed) {
    InboxRow& row = inbox_[completion.id];
    row.completed = &completion;
    row.completed_by = transition.execution;
  }
  for (const GraphActionRecord& action : transition.graph_actions_added) {
    GraphRow& row = graphs_[{transition.execution, action.graph, action.position}];
    row.added = &action;
    row.tenant = &transition.tenant;
  }
  for (const GraphActionChange& change : transition.graph_actions_changed) {
    graphs_[{transition.execution, change.graph, change.position}].skipped = change.skipped;
  }
  for (const SyncPointRecord& point : transition.sync_points_set) {
    points_[{transition.execution, point.graph, point.name}] = {&point, &transition.tenant};
  }
}

void BatchRows::take_back(const ExecutionRef execution) {
  std::erase_if(given_up_, [=](const auto& row) { return row.execution == execution; });
  taken_back_.push_back(execution);
}

std::vector<BatchStatement> BatchRows::queue(PgPipeline& pipeline) const {
  std::vector<BatchStatement> written;
  queue_executions(pipeline, written);
  queue_events(pipeline, written);
  queue_timers(pipeline, written);
  queue_results(pipeline, written);
  queue_given_up(pipeline, written);
  queue_graphs(pipeline, written);
  queue_inbox(pipeline, written);
  queue_snapshots(pipeline, written);
  return written;
}

void BatchRows::queue_executions(PgPipeline& pipeline, std::vector<BatchStatement>& written) const {
  Rows<20> created({kInt8, kInt4, kText,  kText, kText, kText, kText, kText, kText, kText,
                    kBool, kInt8, kBytes, kInt2, kText, kText, kText, kText, kTime, kTime});
  Rows<13> changed(
      {kInt8, kInt4, kInt8, kTime, kText, kText, kText, kText, kBool, kBytes, kInt2, kText, kText});
  for (const auto& [ref, row] : executions_) {
    if (row.created) {
      const ExecutionRecord& record = *row.created;
      created[1].add(ref);
      created[2].add(std::int32_t{partition_of(ref)});
      created[3].add(std::string_view(record.tenant));
      created[4].add(std::string_view(record.execution_id));
      created[5].add(std::string_view(record.workflow));
      created[6].add(std::string_view(record.version));
      created[7].add(to_string(record.status));
      created[8].add_optional(to_string(record.condition));
      created[9].add_optional(record.condition_detail);
      created[10].add(std::string_view(record.state));
      created[11].add(record.in_flight);
      created[12].add(record.last_sequence);
      add_payload(created[13], created[14], record.result);
      created[15].add_optional(record.error_json);
      created[16].add_optional(record.user_id);
      created[17].add_optional(record.correlation_id);
      created[18].add(std::string_view(record.input_digest));
      created[19].add_time(record.created_at);
      created[20].add_time(record.updated_at);
      continue;
    }
    const ExecutionChange& change = *row.changed;
    changed[1].add(ref);
    changed[2].add(columns_of(change));
    changed[3].add(change.last_sequence);
    changed[4].add_time(change.at);
    changed[5].add_optional(change.status ? to_string(*change.status) : std::string_view{});
    if (change.state) {
      changed[6].add(std::string_view(*change.state));
    } else {
      changed[6].add_null();
    }
    changed[7].add_optional(change.condition ? to_string(*change.condition) : std::string_view{});
    changed[8].add_optional(change.condition_detail.value_or(std::string{}));
    changed[9].add(change.in_flight.value_or(false));
    add_payload(changed[10], changed[11], change.result.value_or(Payload{}));
    changed[12].add_optional(change.error_json.value_or(std::string{}));
    changed[13].add_optional(change.version.value_or(std::string{}));
  }
  created.queue(pipeline, kInsertExecutions, true, written);
  changed.queue(pipeline, kUpdateExecutions, true, written);
}

void BatchRows::queue_events(PgPipeline& pipeline, std::vector<BatchStatement>& written) const {
  Rows<14> rows({kInt8, kInt8, kText, kText, kText, kInt4, kInt8, kBool, kInt2, kBytes, kInt2,
                 kText, kText, kTime});
  for (const Transition* const transition : transitions_) {
    for (const HistoryEvent& event : transition->records) {
      rows[1].add(transition->execution);
      rows[2].add(event.sequence);
      rows[3].add(std::string_view(transition->tenant));
      rows[4].add(to_string(event.type));
      rows[5].add_optional(event.name);
      rows[6].add(std::int32_t{event.position});
      rows[7].add(event.cause);
      rows[8].add(event.ends_activation);
      rows[9].add(static_cast<std::int16_t>(event.codec));
      add_payload(rows[10], rows[11], event.payload);
      rows[12].add_optional(event.attributes);
      rows[13].add_optional(event.site);
      rows[14].add_time(event.at);
    }
  }
  rows.queue(pipeline, kInsertEvents, true, written);
}

void BatchRows::queue_timers(PgPipeline& pipeline, std::vector<BatchStatement>& written) const {
  Rows<2> cleared({kInt8, kInt4});
  Rows<6> set({kInt8, kInt4, kInt4, kText, kText, kTime});
  for (const auto& [key, row] : timers_) {
    if (row.set == nullptr) {
      cleared[1].add(key.first);
      cleared[2].add(std::int32_t{key.second});
      continue;
    }
    set[1].add(key.first);
    set[2].add(std::int32_t{key.second});
    set[3].add(std::int32_t{partition_of(key.first)});
    set[4].add(std::string_view(*row.tenant));
    set[5].add(to_string(row.set->kind));
    set[6].add_time(row.set->fire_at);
  }
  cleared.queue(pipeline, kDeleteTimers, false, written);
  set.queue(pipeline, kUpsertTimers, true, written);
}

void BatchRows::queue_results(PgPipeline& pipeline, std::vector<BatchStatement>& written) const {
  using ResultRows = Rows<16>;
  constexpr PgType kTypes[16] = {kInt8, kInt4, kInt4,  kInt8, kText, kText, kText, kText,
                                 kInt4, kInt8, kBytes, kInt2, kText, kText, kText, kTime};
  // By whether it overrides, and whether it has a key of the caller's.
  std::array<ResultRows, 4> all{ResultRows(kTypes), ResultRows(kTypes), ResultRows(kTypes),
                                ResultRows(kTypes)};
  for (const Transition* const transition : transitions_) {
    for (const ActionResultRecord& result : transition->results) {
      ResultRows& rows = all[(result.overrides ? 2U : 0U) + (result.user_key.empty() ? 0U : 1U)];
      rows[1].add(result.execution);
      rows[2].add(std::int32_t{result.position});
      rows[3].add(std::int32_t{result.generation});
      rows[4].add(static_cast<std::int64_t>(result.seed));
      rows[5].add(std::string_view(result.tenant));
      rows[6].add_optional(result.execution == 0 ? std::string_view(result.execution_id)
                                                 : std::string_view{});
      rows[7].add(std::string_view(result.action));
      rows[8].add(result.succeeded ? std::string_view("succeeded") : std::string_view("failed"));
      rows[9].add(std::int32_t{result.attempts});
      rows[10].add(result.cause);
      add_payload(rows[11], rows[12], result.result);
      rows[13].add_optional(result.error_json);
      rows[14].add_optional(result.user_key);
      rows[15].add_optional(result.user_key.empty() ? std::string_view{}
                                                    : std::string_view(result.parameters_digest));
      rows[16].add_time(result.at);
    }
  }
  constexpr std::array<const PgStatement*, 4> kOf{&kResults, &kResultsByKey, &kOverridingResults,
                                                  &kOverridingResultsByKey};
  for (std::size_t at = 0; at < all.size(); ++at) all[at].queue(pipeline, *kOf[at], true, written);
}

// Behind the results: an action that has one in this commit is not given up by it.
void BatchRows::queue_given_up(PgPipeline& pipeline, std::vector<BatchStatement>& written) const {
  Rows<1> taken_back({kInt8});
  for (const ExecutionRef execution : taken_back_) taken_back[1].add(execution);
  taken_back.queue(pipeline, kTakeBack, false, written);
  Rows<9> rows({kInt8, kInt4, kInt4, kInt8, kText, kText, kInt4, kText, kTime});
  for (const ActionResultRecord& row : given_up_) {
    rows[1].add(row.execution);
    rows[2].add(std::int32_t{row.position});
    rows[3].add(std::int32_t{row.generation});
    rows[4].add(static_cast<std::int64_t>(row.seed));
    rows[5].add(std::string_view(row.tenant));
    rows[6].add(std::string_view(row.action));
    rows[7].add(std::int32_t{row.attempts});
    rows[8].add(std::string_view(row.error_json));
    rows[9].add_time(row.at);
  }
  rows.queue(pipeline, kGiveUp, false, written);
}

void BatchRows::queue_graphs(PgPipeline& pipeline, std::vector<BatchStatement>& written) const {
  Rows<12> added(
      {kInt8, kInt4, kInt4, kText, kText, kText, kBool, kText, kText, kText, kText, kBool});
  Rows<4> changed({kInt8, kInt4, kInt4, kBool});
  for (const auto& [key, row] : graphs_) {
    const auto& [execution, graph, position] = key;
    if (row.added == nullptr) {
      changed[1].add(execution);
      changed[2].add(std::int32_t{graph});
      changed[3].add(std::int32_t{position});
      changed[4].add(*row.skipped);
      continue;
    }
    const GraphActionRecord& action = *row.added;
    added[1].add(execution);
    added[2].add(std::int32_t{graph});
    added[3].add(std::int32_t{position});
    added[4].add(std::string_view(*row.tenant));
    added[5].add(std::string_view(action.action_id));
    added[6].add(std::string_view(action.action));
    added[7].add(action.compensation);
    added[8].add(std::string_view(json_text_of(action.depends_on)));
    added[9].add_optional(action.group);
    added[10].add_optional(action.sync_point);
    added[11].add(std::string_view(action.error_strategy));
    added[12].add(row.skipped.value_or(action.skipped));
  }
  added.queue(pipeline, kInsertGraphActions, true, written);
  changed.queue(pipeline, kChangeGraphActions, false, written);

  Rows<7> points({kInt8, kInt4, kText, kText, kText, kText, kTime});
  for (const auto& [key, row] : points_) {
    const auto& [execution, graph, name] = key;
    points[1].add(execution);
    points[2].add(std::int32_t{graph});
    points[3].add(std::string_view(name));
    points[4].add(std::string_view(*row.tenant));
    points[5].add(row.set->reached_at != 0 ? std::string_view("reached")
                                           : std::string_view("waiting"));
    points[6].add(std::string_view(json_text_of(row.set->actions)));
    if (row.set->reached_at != 0) {
      points[7].add_time(row.set->reached_at);
    } else {
      points[7].add_null();
    }
  }
  points.queue(pipeline, kUpsertSyncPoints, true, written);
}

void BatchRows::queue_inbox(PgPipeline& pipeline, std::vector<BatchStatement>& written) const {
  Rows<18> added({kInt8, kInt8, kInt4, kText, kText, kText, kText, kText, kText, kInt4, kBytes,
                  kInt2, kText, kText, kText, kText, kText, kTime});
  Rows<5> completed({kInt8, kText, kText, kText, kInt8});
  for (const auto& [id, row] : inbox_) {
    if (row.added == nullptr) {
      completed[1].add(id);
      completed[2].add(to_string(row.completed->status));
      completed[3].add_optional(row.completed->last_error);
      completed[4].add_optional(row.completed->answer);
      completed[5].add(row.completed_by);
      continue;
    }
    // What is completed in the commit that it came with was never seen open.
    const InboxRecord& record = *row.added;
    const bool done = row.completed != nullptr;
    const bool mail = record.execution == 0;
    added[1].add(id);
    added[2].add(mail && done ? row.completed_by : record.execution);
    added[3].add(std::int32_t{mail ? partition_of(record.tenant, record.execution_id, partitions_)
                                   : partition_of(record.execution)});
    added[4].add(std::string_view(record.tenant));
    added[5].add_optional(mail ? std::string_view(record.execution_id) : std::string_view{});
    added[6].add(to_string(record.kind));
    added[7].add(std::string_view(record.event_id));
    added[8].add(std::string_view(record.event_name));
    added[9].add(to_string(done ? row.completed->status : record.status));
    added[10].add(std::int32_t{record.attempts});
    const bool in_history = done && row.completed->status != InboxStatus::failed;
    add_payload(added[11], added[12], in_history ? Payload{} : record.payload);
    added[13].add_optional(record.attributes);
    added[14].add_optional(record.user_id);
    added[15].add_optional(record.idempotency_key);
    added[16].add_optional(done ? row.completed->answer : record.answer);
    added[17].add_optional(done ? row.completed->last_error : record.last_error);
    added[18].add_time(record.accepted_at);
  }
  added.queue(pipeline, kInsertInbox, true, written);
  completed.queue(pipeline, kCompleteInbox, true, written);
}

void BatchRows::queue_snapshots(PgPipeline& pipeline, std::vector<BatchStatement>& written) const {
  Rows<8> rows({kInt8, kInt8, kText, kInt2, kText, kText, kText, kTime});
  for (const StateSnapshot* const snapshot : snapshots_) {
    rows[1].add(snapshot->execution);
    rows[2].add(snapshot->sequence);
    rows[3].add(std::string_view(snapshot->tenant));
    rows[4].add(static_cast<std::int16_t>(kSnapshotCodec));
    rows[5].add(to_string(snapshot->status));
    rows[6].add(std::string_view(snapshot->state));
    rows[7].add(std::string_view(snapshot->data_json));
    rows[8].add_time(snapshot->at);
  }
  rows.queue(pipeline, kInsertSnapshots, false, written);
}

}  // namespace pawl
