#pragma once

// Values on their way to JavaScript are written as JSON text: payloads are JSON already and are
// copied in as they are, and one JSON.parse is cheaper than building objects through Node-API.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <pawl/error.h>
#include <pawl/host.h>
#include <pawl/payload.h>
#include <pawl/runtime.h>

namespace pawl::node {

void append_number(std::string& out, std::int64_t value);
void append_string(std::string& out, std::string_view text);
// [value], or [] for a payload that is none: JavaScript tells undefined from null.
void append_payload(std::string& out, const Payload& payload);
// {"name","message","stack","code","details","causes","class"}
void append_failure(std::string& out, const Failure& failure);
// [execution, sequence, now, replaying, [job, …]]
void append_activation(std::string& out, const Activation& activation);
void append_task(std::string& out, const ActionTask& task);
void append_state(std::string& out, const ExecutionState& state);
// {"eventId","processingId"}
void append_enqueue_reply(std::string& out, const EnqueueReply& reply);
// {"executionId","status","currentState"}
void append_control_reply(std::string& out, const ControlReply& reply);
void append_history(std::string& out, const std::vector<HistoryRecord>& records);
// {"executions":[state, …],"cursor"}
void append_list_page(std::string& out, const ListPage& page);
// {"id","tenant","executionId","kind","eventId","name","userId","idempotencyKey","error",
// "payload":[value],"attempts","acceptedAt"}
void append_dead_letter(std::string& out, const DeadLetter& letter);
// {"letters":[letter, …],"cursor"}
void append_dead_letter_page(std::string& out, const DeadLetterPage& page);
// {"findings":[{"tenant","executionId","sequence","what"}, …],"more","executions","records"}
void append_integrity_report(std::string& out, const IntegrityReport& report);
// {"status","troubles":["…", …],"works","partitions","partitionsOwned","storeSilentForMs", …}
void append_health(std::string& out, const Health& health);

}  // namespace pawl::node
