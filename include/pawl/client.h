#pragma once

// A process beside the engine: it reads the store that an engine has open, and starts executions and
// sends events by putting them into the inbox, where the engine finds them within 50 ms. It runs no
// workflow and no action, and needs none of their code. What it is told is durable, also while no engine
// runs: the next one takes it up.
//
//   auto client = pawl::Client::open("sqlite:pawl.db").value();
//   client.enqueue_event({.tenant = "acme", .execution_id = "order-7", .name = "Paid"});
//
// Threads: every member may be called from any thread, and waits: reads for a free connection, writes
// for one another and for the engine's commit under way.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <pawl/error.h>
#include <pawl/runtime.h>

namespace pawl {

class Client {
 public:
  // `store` is sqlite:FILE, which an engine has made. Errors: invalid_argument; store_unavailable (there
  // is no such file, it can't be read); store_invalid (no store, or one of another version).
  static Result<Client> open(const std::string& store);

  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  ~Client();

  // Gives the execution's id once the start is durable; its code runs when an engine that has it takes
  // it up. With an id or an idempotency key, the same again is the same execution, whoever starts it.
  // Errors: invalid_argument, payload_too_large (over the default Limits), already_exists (that id or
  // key, other input); store_unavailable (the file is read-only, the disk full …); outcome_unknown.
  Result<std::string> start_workflow(StartRequest request);
  // Answers once the event is durable. The same idempotency key again: the first one's answer, and no
  // second effect. Errors: invalid_argument, payload_too_large, unknown_execution, execution_ended;
  // store_unavailable, outcome_unknown.
  Result<EnqueueReply> enqueue_event(EventRequest request);
  // Answer once the wish is durable; the status is that of now. Errors: as above.
  Result<ControlReply> cancel_workflow(ControlRequest request);
  Result<ControlReply> terminate_workflow(ControlRequest request);
  // What became of an action that is completed from elsewhere, by its token; answers once that is durable. The
  // first outcome counts: of several that come while no engine takes them up, the one that came first.
  // Errors: invalid_argument (no token), payload_too_large, unknown_execution, execution_ended, wrong_status (it
  // has an outcome already); store_unavailable, outcome_unknown.
  Result<ControlReply> complete_action(CompleteActionRequest request);

  // As those of the runtime.
  Result<ExecutionState> get_execution_state(
      std::string_view execution_id, std::string_view tenant,
      std::optional<std::int64_t> at_sequence = std::nullopt);
  Result<std::vector<HistoryRecord>> get_history(std::string_view execution_id,
                                                 std::string_view tenant);
  Result<ListPage> list_executions(const ListQuery& query);

  // As those of the runtime; a letter that is retried is taken up by the engine, or the next one that opens.
  Result<DeadLetterPage> list_dead_letters(const DeadLetterQuery& query);
  Result<DeadLetter> retry_dead_letter(const DeadLetterRequest& request);
  Result<DeadLetter> drop_dead_letter(const DeadLetterRequest& request);

  // Waits for calls under way; later ones answer `closed`. Idempotent.
  void close();

 private:
  class Impl;
  explicit Client(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace pawl
