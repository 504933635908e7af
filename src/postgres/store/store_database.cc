#include "postgres/store/store_database.h"

#include <fmt/format.h>

#include <cstring>
#include <utility>
#include <vector>

#include "model/failure_codec.h"

namespace pawl {
namespace {

// Handlers may change where tables are looked for.
const std::string kFindSchema =
    "SELECT pg_catalog.quote_ident(n.nspname) FROM pg_catalog.pg_class c "
    "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.oid = to_regclass('workflow_action_results')";

// What the row is before there is a result: whatever commits it without one has done so behind the handler's back.
#define CLAIM_COLUMNS                                                                             \
  "(execution, position, generation, seed, tenant, execution_id, action_name, status, attempts, " \
  "cause, error, user_key, parameters_digest, recorded, created_at) "
#define CLAIM_ROW                                                                           \
  "SELECT $1::bigint, $2::integer, $3::integer, $4::bigint, $5::text, $6::text, $7::text, " \
  "'failed', $8::integer, 0, $9::text, $10::text, $11::text, false, clock_timestamp() "
// A transaction that is silent for too long is ended by the server: it keeps others from the partition.
#define CLAIMED                                                                 \
  "ON CONFLICT DO NOTHING RETURNING ctid) "                                     \
  "SELECT set_config('idle_in_transaction_session_timeout', $12::text, true), " \
  "(SELECT ctid::text FROM claimed), "
// {0} is the schema. The lease is read first, and kept until the end: a claim of the partition waits for it, and
// behind a claim it is not found. An epoch is one worker's: this one's, or that of the one it is run for.
constexpr std::string_view kClaim =
    "WITH lease AS MATERIALIZED (SELECT partition FROM {0}.workflow_partitions "
    "WHERE partition = $13::integer AND owner IS NOT NULL AND epoch = $14::bigint "
    "FOR KEY SHARE), claimed AS (INSERT INTO {0}.workflow_action_results" CLAIM_COLUMNS CLAIM_ROW
    "FROM lease " CLAIMED "(SELECT count(*) FROM lease)";
// Outside of executions a key is unique in the store, and nobody's.
constexpr std::string_view kClaimKey =
    "WITH claimed AS (INSERT INTO {0}.workflow_action_results" CLAIM_COLUMNS CLAIM_ROW CLAIMED
    "1::bigint";
#undef CLAIMED
#undef CLAIM_ROW
#undef CLAIM_COLUMNS
// Found by where it lies, which is cheaper than to read all of a table that is small: at SERIALIZABLE that would be a
// conflict with all others. Of the number of a transaction a row keeps the lower half.
constexpr std::string_view kRecord =
    "UPDATE {0}.workflow_action_results SET status = 'succeeded', error = NULL, result = "
    "$1::bytea, "
    "encoding = $2::smallint WHERE ctid = $3::tid AND NOT recorded AND "
    "xmin::text = (txid_current() % 4294967296)::text AND "
    "(execution, position, generation) = ($4::bigint, $5::integer, $6::integer)";
#define OUTCOME \
  "SELECT status, result, encoding, error, action_name FROM {0}.workflow_action_results "
constexpr std::string_view kFind = OUTCOME
    "WHERE execution = $1::bigint AND position = $2::integer AND generation = $3::integer AND "
    "execution > 0";
constexpr std::string_view kFindKey = OUTCOME "WHERE tenant = $1::text AND user_key = $2::text";
#undef OUTCOME

SqlValue optional_text(const std::string& text) {
  return text.empty() ? SqlValue{} : SqlValue(text);
}

SqlValue blob_of(const Payload& payload) {
  if (payload.is_none()) return {};
  Blob blob(payload.bytes.size());
  std::memcpy(blob.data(), payload.bytes.data(), blob.size());
  return blob;
}

class StoreOutcomeRow final : public OutcomeRow {
 public:
  StoreOutcomeRow(PostgresSession& session, std::string schema, const ActionTask& task,
                  const std::chrono::milliseconds idle_max)
      : session_(session), schema_(std::move(schema)), task_(task), idle_max_(idle_max) {}

  SqlResult<RowClaim> claim(const std::optional<SteadyTime> until) override {
    const std::string key = is_keyed() ? task_.idempotency_key : std::string{};
    std::vector<SqlValue> parameters{
        task_.execution,
        std::int64_t{position()},
        std::int64_t{task_.generation},
        static_cast<std::int64_t>(task_.seed),
        task_.tenant,
        optional_text(is_keyed() ? task_.execution_id : std::string{}),
        task_.name,
        std::int64_t{task_.attempt},
        encode_failure(transaction_ended(fmt::format("The handler of '{}'", task_.name))),
        optional_text(key),
        optional_text(is_keyed() ? task_.parameters_digest : std::string{}),
        std::to_string(idle_max_.count())};
    if (!is_keyed()) {
      parameters.emplace_back(std::int64_t{task_.partition});
      parameters.emplace_back(task_.epoch);
    }
    auto claimed = session_.run_own(
        fmt::format(fmt::runtime(is_keyed() ? kClaimKey : kClaim), schema_), parameters, until);
    if (!claimed) return claimed.error();
    const std::vector<SqlValue>& row = claimed->rows.at(0);
    if (std::get<std::int64_t>(row[2]) == 0) return RowClaim::not_owner;
    const auto* const place = std::get_if<std::string>(&row[1]);
    if (place == nullptr) return RowClaim::taken;
    place_ = *place;
    return RowClaim::mine;
  }

  SqlResult<void> record(const Payload& result) override {
    SqlValue encoding;
    if (!result.is_none()) encoding = static_cast<std::int64_t>(result.encoding);
    auto updated = session_.run_own(fmt::format(fmt::runtime(kRecord), schema_),
                                    {blob_of(result), encoding, place_, task_.execution,
                                     std::int64_t{position()}, std::int64_t{task_.generation}});
    if (!updated) return updated.error();
    if (updated->changed != 1) {
      return transaction_ended(fmt::format("The handler of '{}'", task_.name));
    }
    return {};
  }

  SqlResult<Payload> recorded() override {
    std::vector<SqlValue> key{task_.tenant, task_.idempotency_key};
    if (!is_keyed()) {
      key = {task_.execution, std::int64_t{position()}, std::int64_t{task_.generation}};
    }
    auto found =
        session_.run_own(fmt::format(fmt::runtime(is_keyed() ? kFindKey : kFind), schema_), key);
    if (!found) return found.error();
    if (found->rows.empty()) return outcome_deleted(task_);
    const std::vector<SqlValue>& row = found->rows.front();
    if (auto other =
            used_for_another(task_, std::get<std::string>(row[4]), "workflow_action_results")) {
      return *other;
    }
    if (std::get<std::string>(row[0]) == "succeeded") {
      const auto* const blob = std::get_if<Blob>(&row[1]);
      if (blob == nullptr) return Payload{};
      return Payload{std::string(reinterpret_cast<const char*>(blob->data()), blob->size()),
                     static_cast<Encoding>(std::get<std::int64_t>(row[2]))};
    }
    Failure failure = decode_failure(std::get<std::string>(row[3]));
    // It is over: nobody waits for this attempt, or another one would find the same.
    failure.failure_class = FailureClass::permanent;
    return failure;
  }

 private:
  bool is_keyed() const { return task_.execution == 0; }
  // Outside of executions a task's is a number of the engine's.
  Position position() const { return is_keyed() ? 0 : task_.position; }

  PostgresSession& session_;
  const std::string schema_;
  const ActionTask& task_;
  const std::chrono::milliseconds idle_max_;
  std::string place_;  // ctid
};

}  // namespace

SqlResult<void> PostgresStoreDatabase::prepare_outcomes(const std::stop_token& stop) {
  {
    const std::lock_guard lock(mutex_);
    if (schema_) return {};
  }
  auto connection = acquire(stop);
  if (!connection) return connection.error();
  PostgresSession session(shared_from_this(), *connection);
  const std::stop_callback on_stop(stop, [&session] { session.break_off(); });
  auto found = session.run_own(kFindSchema, {});
  if (!found) return found.error();
  if (found->rows.empty()) {
    return postgres_failure("the tables of the store are not found", "42P01",
                            FailureClass::external);
  }
  const std::lock_guard lock(mutex_);
  schema_ = std::get<std::string>(found->rows.front().front());
  return {};
}

std::unique_ptr<OutcomeRow> PostgresStoreDatabase::outcome_row(PostgresSession& session,
                                                               const ActionTask& task) {
  std::string schema;
  {
    const std::lock_guard lock(mutex_);
    schema = schema_.value_or("public");
  }
  return std::make_unique<StoreOutcomeRow>(session, std::move(schema), task, idle_max_);
}

void PostgresStoreDatabase::look_for_outcomes_again() {
  const std::lock_guard lock(mutex_);
  schema_.reset();
}

}  // namespace pawl
