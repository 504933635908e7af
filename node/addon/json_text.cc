#include "json_text.h"

#include <algorithm>
#include <charconv>

namespace pawl::node {

namespace {

// The first element of a job: which kind it is. node/src/host.ts reads them.
enum class JobKind : int {
  start = 0,
  event = 1,
  wait_timed_out = 2,
  timer = 3,
  action_completed = 4,
  action_failed = 5,
  cancel = 6,
  child_completed = 7,
  child_failed = 8,
};

void open_job(std::string& out, JobKind kind) {
  out += '[';
  append_number(out, static_cast<int>(kind));
  out += ',';
}

// The rest of a job or an offer: its position and the event, and the bracket at its end.
void append_event(std::string& out, Position position, const ReceivedEvent& event) {
  append_number(out, position);
  out += ',';
  append_string(out, event.id);
  out += ',';
  append_string(out, event.name);
  out += ',';
  append_payload(out, event.payload);
  out += ',';
  append_string(out, event.user_id);
  out += ',';
  append_number(out, event.timestamp);
  out += ',';
  append_number(out, event.sequence);
  out += ']';
}

struct AppendJob {
  std::string& out;

  void operator()(const StartJob& job) const {
    open_job(out, JobKind::start);
    for (const auto* text : {&job.tenant, &job.execution_id, &job.workflow, &job.version,
                             &job.user_id, &job.correlation_id}) {
      append_string(out, *text);
      out += ',';
    }
    append_payload(out, job.input);
    // A number of JavaScript has 53 bits.
    out += ',';
    append_number(out, static_cast<std::int64_t>(job.seed >> 32));
    out += ',';
    append_number(out, static_cast<std::int64_t>(job.seed & 0xffff'ffffU));
    out += ',';
    append_number(out, job.first_position);
    out += ']';
  }

  void operator()(const EventJob& job) const {
    open_job(out, JobKind::event);
    append_event(out, job.position, job.event);
  }

  void operator()(const WaitTimedOutJob& job) const {
    open_job(out, JobKind::wait_timed_out);
    append_number(out, job.position);
    out += ']';
  }

  void operator()(const CancelJob& job) const {
    open_job(out, JobKind::cancel);
    append_string(out, job.reason);
    out += job.keeps_children ? ",1]" : ",0]";
  }

  void operator()(const TimerJob& job) const {
    open_job(out, JobKind::timer);
    append_number(out, job.position);
    out += ']';
  }

  void operator()(const ActionJob& job) const {
    append_outcome(job, JobKind::action_completed, JobKind::action_failed);
  }

  void operator()(const ChildJob& job) const {
    append_outcome(job, JobKind::child_completed, JobKind::child_failed);
  }

  template <class EndedJob>
  void append_outcome(const EndedJob& job, JobKind completed, JobKind failed) const {
    const auto* result = std::get_if<Payload>(&job.outcome);
    open_job(out, result != nullptr ? completed : failed);
    append_number(out, job.position);
    out += ',';
    if (result != nullptr) {
      append_payload(out, *result);
    } else {
      append_failure(out, std::get<Failure>(job.outcome));
    }
    out += ']';
  }
};

void append_field(std::string& out, std::string_view name) {
  if (out.back() != '{') out += ',';
  out += '"';
  out += name;
  out += "\":";
}

void append_text_field(std::string& out, std::string_view name, std::string_view text) {
  append_field(out, name);
  append_string(out, text);
}

void append_number_field(std::string& out, std::string_view name, std::int64_t value) {
  append_field(out, name);
  append_number(out, value);
}

// The attributes of a record. Whole numbers that JavaScript would round (seeds have 64 bits) become texts.
void append_attributes(std::string& out, const std::string_view json) {
  constexpr std::size_t kDigitsSafe = 15;
  if (json.empty()) {
    out += "{}";
    return;
  }
  bool in_text = false;
  for (std::size_t at = 0; at < json.size();) {
    const std::size_t digits = in_text ? 0 : json.substr(at).find_first_not_of("0123456789");
    const std::size_t length = std::min(digits, json.size() - at);
    if (length > kDigitsSafe) {
      out += '"';
      out += json.substr(at, length);
      out += '"';
    } else if (length > 0) {
      out += json.substr(at, length);
    } else if (in_text && json[at] == '\\') {
      out += json.substr(at, 2);
    } else {
      if (json[at] == '"') in_text = !in_text;
      out += json[at];
    }
    at += length > 0 ? length : (in_text && json[at] == '\\') ? 2 : 1;
  }
}

void append_history_record(std::string& out, const HistoryRecord& record) {
  out += '{';
  append_number_field(out, "sequence", record.sequence);
  append_text_field(out, "type", record.type);
  append_number_field(out, "at", record.at);
  append_number_field(out, "cause", record.cause);
  append_number_field(out, "position", record.position);
  append_field(out, "endsActivation");
  out += record.ends_activation ? "true" : "false";
  append_text_field(out, "name", record.name);
  append_field(out, "payload");
  append_payload(out, record.payload);
  append_field(out, "attributes");
  append_attributes(out, record.attributes_json);
  if (!record.site.empty()) append_text_field(out, "site", record.site);
  out += '}';
}

}  // namespace

void append_number(std::string& out, std::int64_t value) {
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  out.append(digits, end);
}

void append_string(std::string& out, std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  std::size_t copied = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    out.append(text.substr(copied, i - copied));
    copied = i + 1;
    out += '\\';
    if (c == '"' || c == '\\') {
      out += static_cast<char>(c);
    } else {
      out += "u00";
      out += kHex[c >> 4];
      out += kHex[c & 0xf];
    }
  }
  out.append(text.substr(copied));
  out += '"';
}

void append_payload(std::string& out, const Payload& payload) {
  out += '[';
  out += payload.bytes;
  out += ']';
}

void append_failure(std::string& out, const Failure& failure) {
  out += '{';
  append_text_field(out, "name", failure.name);
  append_text_field(out, "message", failure.message);
  if (!failure.stack.empty()) append_text_field(out, "stack", failure.stack);
  if (!failure.code.empty()) append_text_field(out, "code", failure.code);
  if (!failure.details_json.empty()) {
    append_field(out, "details");
    out += failure.details_json;
  }
  if (!failure.causes.empty()) {
    append_field(out, "causes");
    out += '[';
    for (const auto& cause : failure.causes) {
      if (&cause != failure.causes.data()) out += ',';
      append_failure(out, cause);
    }
    out += ']';
  }
  append_text_field(out, "class", to_string(failure.failure_class));
  out += '}';
}

void append_activation(std::string& out, const Activation& activation) {
  out += '[';
  append_number(out, activation.execution);
  out += ',';
  append_number(out, activation.sequence);
  out += ',';
  append_number(out, activation.now);
  out += activation.replaying ? ",true,[" : ",false,[";
  for (const auto& job : activation.jobs) {
    if (&job != activation.jobs.data()) out += ',';
    std::visit(AppendJob{out}, job);
  }
  out += ']';
  // What most activations don't have stands behind, and is left out from the end.
  const bool forked = !activation.execution_id.empty();
  const bool asks = !activation.offers.empty();
  const bool retried = activation.generation != 0;
  if (!activation.patches.empty() || asks || forked || retried) {
    out += ",[";
    for (const auto& change_id : activation.patches) {
      if (&change_id != activation.patches.data()) out += ',';
      append_string(out, change_id);
    }
    out += ']';
  }
  if (asks || forked || retried) {
    // Offers are told of in the form of the jobs that they may become.
    out += ",[";
    for (const auto& offer : activation.offers) {
      if (&offer != activation.offers.data()) out += ',';
      open_job(out, JobKind::event);
      append_event(out, offer.position, offer.event);
    }
    out += ']';
  }
  if (forked) {
    out += ',';
    append_string(out, activation.execution_id);
  } else if (retried) {
    out += ",null";
  }
  if (retried) {
    out += ',';
    append_number(out, activation.generation);
  }
  out += ']';
}

void append_task(std::string& out, const ActionTask& task) {
  out += '{';
  append_number_field(out, "id", task.id);
  append_text_field(out, "tenant", task.tenant);
  append_text_field(out, "executionId", task.execution_id);
  append_number_field(out, "execution", task.execution);
  append_number_field(out, "position", task.position);
  append_text_field(out, "name", task.name);
  append_field(out, "parameters");
  append_payload(out, task.parameters);
  append_number_field(out, "attempt", task.attempt);
  append_text_field(out, "idempotencyKey", task.idempotency_key);
  append_text_field(out, "eventId", task.event_id);
  append_text_field(out, "correlationId", task.correlation_id);
  append_number_field(out, "scheduledAt", task.scheduled_at);
  append_number_field(out, "timeout", task.timeout);
  if (!task.progress.is_none()) {
    append_field(out, "progress");
    append_payload(out, task.progress);
  }
  append_number_field(out, "inPlace", std::int64_t{task.in_place});
  // Comes back as it is, with the outcome of a database action: see task_of in database_object.cc.
  append_field(out, "row");
  out += '"';
  append_number(out, task.generation);
  out += ':';
  out += std::to_string(task.seed);
  out += ':';
  append_number(out, std::int64_t{task.partition});
  out += ':';
  append_number(out, task.epoch);
  out += ':';
  out += task.parameters_digest;  // hexadecimal
  out += "\"}";
}

void append_state(std::string& out, const ExecutionState& state) {
  out += '{';
  append_text_field(out, "executionId", state.execution_id);
  append_text_field(out, "tenant", state.tenant);
  append_text_field(out, "workflowName", state.workflow);
  append_text_field(out, "version", state.version);
  append_text_field(out, "status", state.status);
  append_text_field(out, "condition", state.condition);
  append_text_field(out, "conditionDetail", state.condition_detail);
  append_text_field(out, "currentState", state.current_state);
  append_field(out, "data");
  append_payload(out, state.data);
  append_field(out, "result");
  append_payload(out, state.result);
  if (state.error) {
    append_field(out, "error");
    append_failure(out, *state.error);
  }
  append_field(out, "isComplete");
  out += state.is_complete ? "true" : "false";
  append_number_field(out, "sequence", state.sequence);
  append_text_field(out, "userId", state.user_id);
  append_text_field(out, "correlationId", state.correlation_id);
  append_number_field(out, "createdAt", state.created_at);
  append_number_field(out, "updatedAt", state.updated_at);
  out += '}';
}

void append_enqueue_reply(std::string& out, const EnqueueReply& reply) {
  out += R"({"eventId":)";
  append_string(out, reply.event_id);
  out += R"(,"processingId":)";
  append_string(out, reply.processing_id);
  out += '}';
}

void append_control_reply(std::string& out, const ControlReply& reply) {
  out += R"({"executionId":)";
  append_string(out, reply.execution_id);
  out += R"(,"status":)";
  append_string(out, reply.status);
  out += R"(,"currentState":)";
  append_string(out, reply.current_state);
  out += '}';
}

void append_history(std::string& out, const std::vector<HistoryRecord>& records) {
  out += '[';
  for (const auto& record : records) {
    if (&record != records.data()) out += ',';
    append_history_record(out, record);
  }
  out += ']';
}

void append_list_page(std::string& out, const ListPage& page) {
  out += R"({"executions":[)";
  for (const auto& execution : page.executions) {
    if (&execution != page.executions.data()) out += ',';
    append_state(out, execution);
  }
  out += R"(],"cursor":)";
  append_string(out, page.cursor);
  out += '}';
}

void append_dead_letter(std::string& out, const DeadLetter& letter) {
  out += '{';
  append_text_field(out, "id", letter.id);
  append_text_field(out, "tenant", letter.tenant);
  append_text_field(out, "executionId", letter.execution_id);
  append_text_field(out, "kind", letter.kind);
  append_text_field(out, "eventId", letter.event_id);
  append_text_field(out, "name", letter.name);
  append_text_field(out, "userId", letter.user_id);
  append_text_field(out, "idempotencyKey", letter.idempotency_key);
  append_text_field(out, "error", letter.error);
  append_number_field(out, "attempts", letter.attempts);
  append_number_field(out, "acceptedAt", letter.accepted_at);
  append_field(out, "payload");
  append_payload(out, letter.payload);
  out += '}';
}

void append_dead_letter_page(std::string& out, const DeadLetterPage& page) {
  out += R"({"letters":[)";
  for (const auto& letter : page.letters) {
    if (&letter != page.letters.data()) out += ',';
    append_dead_letter(out, letter);
  }
  out += R"(],"cursor":)";
  append_string(out, page.cursor);
  out += '}';
}

void append_integrity_report(std::string& out, const IntegrityReport& report) {
  out += R"({"findings":[)";
  for (const auto& finding : report.findings) {
    if (&finding != report.findings.data()) out += ',';
    out += '{';
    append_text_field(out, "tenant", finding.tenant);
    append_text_field(out, "executionId", finding.execution_id);
    append_number_field(out, "sequence", finding.sequence);
    append_text_field(out, "what", finding.what);
    out += '}';
  }
  out += ']';
  append_field(out, "more");
  out += report.more ? "true" : "false";
  append_number_field(out, "executions", static_cast<std::int64_t>(report.executions));
  append_number_field(out, "records", static_cast<std::int64_t>(report.records));
  out += '}';
}

void append_health(std::string& out, const Health& health) {
  out += '{';
  append_text_field(out, "status", health.status);
  append_field(out, "troubles");
  out += '[';
  for (const std::string& trouble : health.troubles) {
    if (&trouble != health.troubles.data()) out += ',';
    append_string(out, trouble);
  }
  out += ']';
  append_field(out, "works");
  out += health.works ? "true" : "false";
  append_number_field(out, "partitions", health.partitions);
  append_number_field(out, "partitionsOwned", health.partitions_owned);
  append_number_field(out, "storeSilentForMs", health.store_silent_for.count());
  append_number_field(out, "callsWaiting", static_cast<std::int64_t>(health.calls_waiting));
  append_number_field(out, "commitsWaiting", static_cast<std::int64_t>(health.commits_waiting));
  append_number_field(out, "actionsInFlight", static_cast<std::int64_t>(health.actions_in_flight));
  append_number_field(out, "actionsWaiting", static_cast<std::int64_t>(health.actions_waiting));
  out += '}';
}

}  // namespace pawl::node
