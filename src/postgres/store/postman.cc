#include "postgres/store/postman.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "base/crash_point.h"
#include "postgres/store/columns.h"

namespace pawl {
namespace {

using namespace std::chrono_literals;

constexpr auto kAnswerMax = 5s;
constexpr std::chrono::milliseconds kPauseMin = 20ms;
constexpr std::chrono::milliseconds kPauseMax = 500ms;

#define INBOX_OPEN "status IN ('pending', 'published', 'processing', 'retrying')"

// In the order of the numbers that what one sender put there one after the other has: each is drawn when the one
// before is durable.
constexpr PgStatement kNumbers{
    "mail_numbers", "SELECT nextval('workflow_mail_ids') FROM generate_series(1, $1::bigint)"};

// Each look is a subquery of its own that gives one row at most: joined, or as EXISTS, a plan that was made while the tables
// were small goes through all of them for each row that is put there.
//
// Not there: who sends to an execution that is unknown, or has ended; a second one under a key. Twice, where it is not
// known whether the first time worked: the number is there already.
constexpr PgStatement kPut{
    "put_mail",
    "INSERT INTO workflow_event_processing(id, execution, partition, tenant, execution_id, kind, "
    "event_id, event_name, status, attempts, payload, encoding, attributes, user_id, "
    "idempotency_key, reply_to, created_at) "
    "SELECT u.id, 0, u.partition, u.tenant, u.execution_id, u.kind, u.event_id, u.event_name, "
    "'pending', 0, u.payload, u.encoding, u.attributes, u.user_id, u.key, u.reply_to, u.created_at "
    "FROM unnest($1::bigint[], $2::integer[], $3::text[], $4::text[], $5::text[], $6::text[], "
    "$7::text[], $8::bytea[], $9::smallint[], $10::text[], $11::text[], $12::text[], $13::text[], "
    "$14::timestamptz[], $15::boolean[]) AS u(id, partition, tenant, execution_id, kind, event_id, "
    "event_name, payload, encoding, attributes, user_id, key, reply_to, created_at, to_known) "
    "LEFT JOIN LATERAL (SELECT execution, status FROM workflow_executions e WHERE "
    "e.tenant = u.tenant AND e.execution_id = u.execution_id LIMIT 1) x ON true "
    "WHERE CASE WHEN NOT u.to_known THEN x.execution IS NULL "
    "WHEN x.execution IS NULL THEN coalesce((SELECT true FROM workflow_event_processing s WHERE "
    "s.execution = 0 AND s.tenant = u.tenant AND s.execution_id = u.execution_id AND "
    "s.kind = 'start' AND s." INBOX_OPEN
    " LIMIT 1), false) ELSE x.status IN ('running', 'paused', 'stuck') OR "
    "u.kind = 'try_again' AND x.status = 'failed' END "
    "AND (u.key IS NULL OR (SELECT true FROM workflow_event_processing k WHERE "
    "k.execution = x.execution AND k.execution > 0 AND k.idempotency_key = u.key LIMIT 1) IS NULL) "
    "ORDER BY u.id ON CONFLICT DO NOTHING RETURNING id"};

// Those under whose key another one came before: its row may have been taken into a history, and with that out of the
// index that tells of it, while this one was put there. The owner refuses it; the first one's answer is what counts.
constexpr PgStatement kFirst{
    "first_of_key",
    "SELECT u.id, k.id, k.event_id, k.status, k.answer "
    "FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) AS u(id, tenant, execution_id, "
    "key) CROSS JOIN LATERAL (SELECT execution FROM workflow_executions e WHERE "
    "e.tenant = u.tenant AND e.execution_id = u.execution_id LIMIT 1) x "
    "CROSS JOIN LATERAL (SELECT * FROM workflow_event_processing a WHERE "
    "a.execution = x.execution AND a.execution > 0 AND a.idempotency_key = u.key LIMIT 1) k "
    "WHERE k.id <> u.id"};

// Why they are not there.
constexpr PgStatement kWhy{
    "why_no_mail",
    "SELECT u.id, x.status, x.input_digest, k.id, k.event_id, k.status, k.answer, "
    "coalesce((SELECT true FROM workflow_event_processing own WHERE own.id = u.id LIMIT 1), false) "
    "FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) "
    "AS u(id, tenant, execution_id, key) "
    "LEFT JOIN LATERAL (SELECT execution, status, input_digest FROM workflow_executions e WHERE "
    "e.tenant = u.tenant AND e.execution_id = u.execution_id LIMIT 1) x ON true "
    "LEFT JOIN LATERAL (SELECT * FROM (SELECT * FROM workflow_event_processing a WHERE "
    "a.execution = x.execution AND a.execution > 0 AND a.idempotency_key = u.key UNION ALL "
    "SELECT * FROM workflow_event_processing b WHERE b.execution = 0 AND b.tenant = u.tenant AND "
    "b.execution_id = u.execution_id AND b.idempotency_key = u.key) both_kinds "
    "ORDER BY execution DESC LIMIT 1) k ON true"};

#undef INBOX_OPEN

const std::vector<PgStatement>& all_statements() {
  static const std::vector<PgStatement> all{kNumbers, kPut, kFirst, kWhy};
  return all;
}

// An execution of that id.
bool begins(const InboxKind kind) { return kind == InboxKind::start || kind == InboxKind::fork; }

Error closed() { return {ErrorCode::closed, "the store is closed", {}}; }

Error unknown(const InboxRecord& row) {
  return {ErrorCode::unknown_execution,
          fmt::format("There is no execution '{}' in tenant '{}'.", row.execution_id, row.tenant),
          row.execution_id};
}

// Id, event, status and answer of one that was there, from that column on.
MailPut put_before(const PgRow& row, const int column) {
  MailPut put{row.integer(column), row.text(column + 1), false, {}, {}};
  const auto status = inbox_status_from(row.view(column + 2));
  if (status == InboxStatus::completed || status == InboxStatus::failed) {
    put.answer = row.text(column + 3);
  }
  return put;
}

}  // namespace

void PostgresPostman::start() {
  thread_ = std::thread([this] { run(); });
}

void PostgresPostman::settle(Letter& letter, Result<MailPut> put) {
  letter.settled = true;
  letter.done(std::move(put));
}

void PostgresPostman::put(MailRequest mail, Done done) {
  {
    const std::lock_guard lock(mutex_);
    if (!closing_ && queue_.size() < kMailQueuedMax) {
      queue_.push_back(std::make_unique<Letter>(Letter{std::move(mail), std::move(done)}));
      wake_.notify_one();
      return;
    }
    if (closing_) return done(closed());
  }
  done(
      Error{ErrorCode::overloaded,
            fmt::format("{} rows wait to be put into the inbox, the most that do. Try again later.",
                        kMailQueuedMax),
            {}});
}

void PostgresPostman::run() {
  for (;;) {
    std::vector<std::unique_ptr<Letter>> taken;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return !queue_.empty() || closing_; });
      if (queue_.empty()) break;
      const std::size_t count = std::min(queue_.size(), kMailBatchMax);
      const auto end = queue_.begin() + static_cast<std::ptrdiff_t>(count);
      taken.assign(std::make_move_iterator(queue_.begin()), std::make_move_iterator(end));
      queue_.erase(queue_.begin(), end);
    }
    // Of two under one key, the second is told about the first.
    std::vector<Letters> rounds;
    for (const auto& letter : taken) {
      const InboxRecord& row = letter->mail.row;
      const auto is_same = [&row](const Letter* const other) {
        const InboxRecord& known = other->mail.row;
        return known.tenant == row.tenant && known.execution_id == row.execution_id &&
               (begins(known.kind) || known.idempotency_key == row.idempotency_key);
      };
      std::size_t round = 0;
      if (!row.idempotency_key.empty() || begins(row.kind)) {
        while (round < rounds.size() &&
               std::any_of(rounds[round].begin(), rounds[round].end(), is_same)) {
          ++round;
        }
      } else if (!rounds.empty()) {
        round = rounds.size() - 1;
      }
      if (round == rounds.size()) rounds.emplace_back();
      rounds[round].push_back(letter.get());
    }
    for (const Letters& letters : rounds) deliver(letters);
  }
  pipeline_.close();
}

bool PostgresPostman::pause(const std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  return !wake_.wait_for(lock, time, [this] { return closing_; });
}

void PostgresPostman::deliver(const Letters& letters) {
  const SteadyTime until = std::chrono::steady_clock::now() + retry_max_;
  std::chrono::milliseconds wait = kPauseMin;
  bool numbered = false;
  bool sent = false;
  for (;;) {
    PgOutcome<void> done = {};
    if (!pipeline_.is_connected()) {
      done = pipeline_.connect(
          parameters_,
          {"SET jit = off", "SET plan_cache_mode = force_generic_plan", "SET enable_seqscan = off",
           "SET enable_hashjoin = off", "SET enable_mergejoin = off",
           ("SELECT set_config('synchronous_commit', 'on', false) "
            "WHERE current_setting('synchronous_commit') = 'off'")},
          all_statements(), kAnswerMax);
    }
    if (done && !numbered) done = draw_numbers(letters);
    if (done) {
      numbered = true;
      sent = true;
      done = insert(letters);
      if (done) return;
    }
    const PgFailure& failure = done.error();
    if (failure.connection || failure.state.starts_with("57") || failure.state.starts_with("53") ||
        failure.state.starts_with("40")) {
      if (!failure.connection) pipeline_.close();
      if (std::chrono::steady_clock::now() < until && pause(wait)) {
        wait = std::min(2 * wait, kPauseMax);
        continue;
      }
    } else if (letters.size() > 1) {
      // One of them is refused.
      for (Letter* const letter : letters) {
        if (!letter->settled) deliver({letter});
      }
      return;
    }
    Error error = error_of(failure, "putting a row into the inbox");
    if (sent && failure.connection) error.code = ErrorCode::outcome_unknown;
    for (Letter* const letter : letters) {
      if (!letter->settled) settle(*letter, error);
    }
    return;
  }
}

PgOutcome<void> PostgresPostman::draw_numbers(const Letters& letters) {
  pipeline_.add(kNumbers.name, PgParameters().add(static_cast<std::int64_t>(letters.size())));
  const auto answers = pipeline_.run();
  if (!answers) return answers.error();
  for (std::size_t at = 0; at < letters.size(); ++at) {
    letters[at]->mail.row.id = PgRow(answers->front().get(), static_cast<int>(at)).integer(0);
  }
  return {};
}

PgOutcome<void> PostgresPostman::insert(const Letters& letters) {
  PgColumn id(PgType::int8), partition(PgType::int4), tenant(PgType::text), execution(PgType::text),
      kind(PgType::text), event(PgType::text), name(PgType::text), payload(PgType::bytes),
      encoding(PgType::int2), attributes(PgType::text), user(PgType::text), key(PgType::text),
      reply_to(PgType::text), at(PgType::time), known(PgType::boolean);
  for (const Letter* const letter : letters) {
    const InboxRecord& row = letter->mail.row;
    id.add(row.id);
    partition.add(std::int32_t{partition_of(row.tenant, row.execution_id, partitions_)});
    tenant.add(std::string_view(row.tenant));
    execution.add(std::string_view(row.execution_id));
    kind.add(to_string(row.kind));
    event.add(std::string_view(row.event_id));
    name.add(std::string_view(row.event_name));
    add_payload(payload, encoding, row.payload);
    attributes.add_optional(row.attributes);
    user.add_optional(row.user_id);
    key.add_optional(row.idempotency_key);
    reply_to.add_optional(row.reply_to);
    at.add_time(row.accepted_at);
    known.add(letter->mail.to_known);
  }
  pipeline_.add(kPut.name, PgParameters()
                               .add_array(id.bytes())
                               .add_array(partition.bytes())
                               .add_array(tenant.bytes())
                               .add_array(execution.bytes())
                               .add_array(kind.bytes())
                               .add_array(event.bytes())
                               .add_array(name.bytes())
                               .add_array(payload.bytes())
                               .add_array(encoding.bytes())
                               .add_array(attributes.bytes())
                               .add_array(user.bytes())
                               .add_array(key.bytes())
                               .add_array(reply_to.bytes())
                               .add_array(at.bytes())
                               .add_array(known.bytes()));
  const bool keyed = std::any_of(letters.begin(), letters.end(), [](const Letter* const letter) {
    return !letter->mail.row.idempotency_key.empty();
  });
  if (keyed) {
    pipeline_.add(kFirst.name, PgParameters()
                                   .add_array(id.bytes())
                                   .add_array(tenant.bytes())
                                   .add_array(execution.bytes())
                                   .add_array(key.bytes()));
  }
  crash_point("mail.before_commit");
  const auto answers = pipeline_.run();
  if (!answers) return answers.error();
  crash_point("mail.after_commit");
  std::unordered_map<InboxId, Letter*> open;
  for (Letter* const letter : letters) open.emplace(letter->mail.row.id, letter);
  const PGresult* const first = keyed ? answers->back().get() : nullptr;
  for (int place = 0; first != nullptr && place < PQntuples(first); ++place) {
    const PgRow row(first, place);
    const auto letter = open.extract(row.integer(0));
    if (!letter.empty()) settle(*letter.mapped(), put_before(row, 1));
  }
  const PGresult* const put = answers->front().get();
  for (int row = 0; row < PQntuples(put); ++row) {
    const auto letter = open.extract(PgRow(put, row).integer(0));
    if (letter.empty()) continue;
    const InboxRecord& there = letter.mapped()->mail.row;
    settle(*letter.mapped(), MailPut{there.id, there.event_id, true, {}, {}});
  }
  Letters missing;
  for (Letter* const letter : letters) {
    if (!letter->settled) missing.push_back(letter);
  }
  return missing.empty() ? PgOutcome<void>{} : look_up(missing);
}

PgOutcome<void> PostgresPostman::look_up(const Letters& letters) {
  PgColumn id(PgType::int8), tenant(PgType::text), execution(PgType::text), key(PgType::text);
  for (const Letter* const letter : letters) {
    const InboxRecord& row = letter->mail.row;
    id.add(row.id);
    tenant.add(std::string_view(row.tenant));
    execution.add(std::string_view(row.execution_id));
    key.add_optional(row.idempotency_key);
  }
  pipeline_.add(kWhy.name, PgParameters()
                               .add_array(id.bytes())
                               .add_array(tenant.bytes())
                               .add_array(execution.bytes())
                               .add_array(key.bytes()));
  const auto answers = pipeline_.run();
  if (!answers) return answers.error();
  const PGresult* const why = answers->front().get();
  for (int at = 0; at < PQntuples(why); ++at) {
    const PgRow row(why, at);
    const auto found = std::find_if(letters.begin(), letters.end(), [&](const Letter* const one) {
      return one->mail.row.id == row.integer(0);
    });
    if (found == letters.end() || (*found)->settled) continue;
    Letter& letter = **found;
    const InboxRecord& sent = letter.mail.row;
    const auto status = execution_status_from(row.view(1));
    if (row.flag(7)) {
      // By the first time, whose answer was lost.
      settle(letter, MailPut{sent.id, sent.event_id, true, {}, {}});
    } else if (!row.is_null(3)) {
      settle(letter, put_before(row, 3));
    } else if (!status) {
      settle(letter, unknown(sent));
    } else if (!letter.mail.to_known) {
      settle(letter, MailPut{0, {}, false, {}, row.text(2)});
    } else {
      settle(letter, Error{ErrorCode::execution_ended,
                           fmt::format("Execution '{}' has ended ({}).", sent.execution_id,
                                       to_string(*status)),
                           sent.execution_id});
    }
  }
  // It came to be, or ended, in between.
  for (Letter* const letter : letters) {
    if (!letter->settled) settle(*letter, unknown(letter->mail.row));
  }
  return {};
}

void PostgresPostman::close() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    wake_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

}  // namespace pawl
