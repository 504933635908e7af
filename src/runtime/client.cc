#include "pawl/client.h"

#include <fmt/format.h>

#include <mutex>
#include <utility>

#include "base/clock.h"
#include "base/random.h"
#include "core/completion_token.h"
#include "core/dead_letter_rows.h"
#include "core/history_reading.h"
#include "core/start_options.h"
#include "core/time_travel.h"
#include "model/attributes.h"
#include "model/failure_codec.h"
#include "model/limit_checks.h"
#include "pawl/json.h"
#include "runtime/request_checks.h"
#include "runtime/store_address.h"
#include "store/mail_slot.h"
#include "store/sqlite_dead_letters.h"
#include "store/sqlite_reader.h"
#include "store/sqlite_schema.h"
#include "store/store_file.h"

namespace pawl {
namespace {

Error unknown_execution(const std::string_view tenant, const std::string_view id) {
  return Error{ErrorCode::unknown_execution,
               fmt::format("There is no execution '{}' in tenant '{}'.", id, tenant),
               std::string{id}};
}

Error ended(const ExecutionRecord& execution) {
  return Error{ErrorCode::execution_ended,
               fmt::format("Execution '{}' has ended ({}).", execution.execution_id,
                           to_string(execution.status)),
               execution.execution_id};
}

// Whoever takes it up could do nothing with what is none.
std::optional<Error> check_json(const std::string_view what, const Payload& payload) {
  if (payload.is_none()) return std::nullopt;
  const auto json = Json::parse(payload.bytes);
  if (json) return std::nullopt;
  return Error{ErrorCode::payload_refused,
               fmt::format("the {} is no JSON: {}", what, json.error().message),
               {}};
}

// A history as it is over one connection. Snapshots are for the engine to keep.
class ReaderSource final : public HistorySource {
 public:
  explicit ReaderSource(SqliteReader& reader) : reader_{reader} {}

  Result<std::vector<HistoryEvent>> read_history(ExecutionRef ref, std::int64_t after,
                                                 HistoryBounds most) override {
    return reader_.read_history(ref, after, most);
  }
  Result<std::optional<StateSnapshot>> find_snapshot(ExecutionRef execution,
                                                     std::int64_t at) override {
    return reader_.find_snapshot(execution, at);
  }
  void keep_snapshot(StateSnapshot) override {}

 private:
  SqliteReader& reader_;
};

}  // namespace

class Client::Impl {
 public:
  explicit Impl(SqliteStoreOptions options) : file{std::move(options)}, readers{file} {}

  // A row for it, with an id and the time.
  InboxRecord row_for(InboxKind kind, std::string tenant, std::string execution_id);
  Result<KnownMail> put(InboxRecord row, const MailSlot::Judge& judge);
  // On the slot, which is opened where it is not yet.
  Result<void> with_slot(const std::function<Result<void>(MailSlot&)>& work);
  using DeadLetterChange = Result<DeadLetter> (*)(SqliteConnection&, std::string_view, InboxId);
  Result<DeadLetter> change(const DeadLetterRequest& request, DeadLetterChange to);
  Result<ControlReply> control(InboxKind kind, const ControlRequest& request);
  Result<ExecutionRecord> find_open(const ActionCompletionGiven& given);
  std::string new_id() { return uuid_v7(clock.now(), random_bits(), random_bits()); }

  const SqliteStoreOptions file;
  const Limits limits;
  SystemClock clock;
  SqliteReaderPool readers;
  std::mutex mutex;
  std::unique_ptr<MailSlot> mail;  // under mutex; opened by the first that writes
  bool closed = false;             // under mutex
};

Client::Client(std::unique_ptr<Impl> impl) : impl_{std::move(impl)} {}
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;
Client::~Client() { close(); }

Result<Client> Client::open(const std::string& store) {
  auto file = sqlite_options_of(store);
  if (!file) return file.error();
  auto path = resolve_store_path(file->path);
  if (!path) return path.error();
  file->path = std::move(*path);
  if (auto there = check_readable_store(*file); !there) return there.error();
  return Client(std::make_unique<Impl>(std::move(*file)));
}

// ---- writing

InboxRecord Client::Impl::row_for(const InboxKind kind, std::string tenant,
                                  std::string execution_id) {
  InboxRecord row;
  row.kind = kind;
  row.tenant = std::move(tenant);
  row.execution_id = std::move(execution_id);
  row.event_id = new_id();
  row.accepted_at = clock.now();
  return row;
}

Result<void> Client::Impl::with_slot(const std::function<Result<void>(MailSlot&)>& work) {
  const std::lock_guard lock(mutex);
  if (closed) return Error{ErrorCode::closed, "The client is closed. Open a new one to go on.", {}};
  if (!mail) {
    auto opened = MailSlot::open(file);
    if (!opened) return opened.error();
    mail = std::move(*opened);
  }
  return work(*mail);
}

Result<KnownMail> Client::Impl::put(InboxRecord row, const MailSlot::Judge& judge) {
  KnownMail known;
  auto done = with_slot([&](MailSlot& slot) -> Result<void> {
    auto put = slot.put(std::move(row), judge);
    if (!put) return put.error();
    known = std::move(*put);
    return {};
  });
  if (!done) return done.error();
  return known;
}

Result<std::string> Client::start_workflow(StartRequest request) {
  if (auto error = check_start(request, impl_->limits)) return std::move(*error);
  if (auto error = check_json("initial data", request.input)) return std::move(*error);
  if (!request.idempotency_key.empty()) {
    request.execution_id =
        keyed_execution_id(request.tenant, request.workflow, request.idempotency_key);
  }
  if (request.execution_id.empty()) request.execution_id = impl_->new_id();
  InboxRecord row = impl_->row_for(InboxKind::start, request.tenant, request.execution_id);
  row.event_name = request.workflow;
  row.payload = request.input;
  row.user_id = request.user_id;
  StartedAttributes attributes;
  attributes.version = request.version;
  attributes.user_id = request.user_id;
  attributes.correlation_id = request.correlation_id;
  attributes.seed = random_bits();
  attributes.idempotency_key = request.idempotency_key;
  attributes.start_at = request.start_at.value_or(0);
  attributes.deadline = request.deadline.value_or(0);
  row.attributes = encode(attributes);
  const std::string digest = start_digest(request);
  const auto put = impl_->put(std::move(row), [&](const Addressee& addressee) {
    std::optional<std::string> known;
    if (addressee.execution) {
      known = addressee.execution->input_digest;
    } else if (addressee.start) {
      StartRequest waiting;
      waiting.workflow = addressee.start->event_name;
      waiting.input = addressee.start->payload;
      if (const auto began =
              decode<StartedAttributes>(addressee.start->attributes, kHistoryCodec)) {
        waiting.version = began->version;
      }
      known = start_digest(waiting);
    }
    if (!known || *known == digest) return std::optional<Error>{};
    return std::optional{start_clash(request)};
  });
  if (!put) return put.error();
  return request.execution_id;
}

Result<EnqueueReply> Client::enqueue_event(EventRequest request) {
  if (auto error = check_event(request, impl_->limits)) return std::move(*error);
  if (auto error = check_json("payload of the event", request.payload)) return std::move(*error);
  InboxRecord row = impl_->row_for(InboxKind::event, request.tenant, request.execution_id);
  row.event_name = request.name;
  row.payload = std::move(request.payload);
  row.user_id = request.user_id;
  row.idempotency_key = request.idempotency_key;
  const auto put =
      impl_->put(std::move(row), [&](const Addressee& addressee) -> std::optional<Error> {
        if (!addressee.execution && !addressee.start) {
          return unknown_execution(request.tenant, request.execution_id);
        }
        if (addressee.execution && is_terminal(addressee.execution->status)) {
          return ended(*addressee.execution);
        }
        return std::nullopt;
      });
  if (!put) return put.error();
  return EnqueueReply{put->event_id, std::to_string(put->id)};
}

Result<ControlReply> Client::Impl::control(const InboxKind kind, const ControlRequest& request) {
  if (auto error = check_operator(request.tenant, request.execution_id, request.by, request.reason,
                                  limits)) {
    return std::move(*error);
  }
  InboxRecord row = row_for(kind, request.tenant, request.execution_id);
  row.attributes = encode(OperatorAttributes{request.by, request.reason});
  ControlReply reply{request.execution_id, std::string(to_string(ExecutionStatus::running)),
                     "initial"};
  const auto known = put(std::move(row), [&](const Addressee& addressee) -> std::optional<Error> {
    if (addressee.execution) {
      if (is_terminal(addressee.execution->status)) return ended(*addressee.execution);
      reply.status = to_string(addressee.execution->status);
      reply.current_state = addressee.execution->state;
      return std::nullopt;
    }
    if (addressee.start) return std::nullopt;
    return unknown_execution(request.tenant, request.execution_id);
  });
  if (!known) return known.error();
  return reply;
}

Result<ControlReply> Client::cancel_workflow(ControlRequest request) {
  return impl_->control(InboxKind::cancel, request);
}

Result<ControlReply> Client::terminate_workflow(ControlRequest request) {
  return impl_->control(InboxKind::terminate, request);
}

// The execution, whose history says that this action is open.
Result<ExecutionRecord> Client::Impl::find_open(const ActionCompletionGiven& given) {
  return readers.with([&](SqliteReader& reader) -> Result<ExecutionRecord> {
    const HistoryBounds page{static_cast<int>(limits.history_page_records_max),
                             kHistoryPageBytesMax};
    auto found = reader.load_execution(given.execution, page);
    if (!found) return found.error();
    if (!*found || (*found)->record.tenant != given.tenant) return unknown_token();
    ExecutionRecord execution = (*found)->record;
    if (is_terminal(execution.status)) return ended_before_completion(execution);
    auto first = std::exchange((*found)->history, {});
    HistoryReading reading(std::move(**found), HistoryReading::Wanted::nothing);
    auto added = reading.add(std::move(first));
    while (added && !reading.is_complete()) {
      auto next = reader.read_history(given.execution, reading.last_sequence(), page);
      if (!next) return next.error();
      added = reading.add(std::move(*next));
    }
    if (!added) return added.error();
    const ExecutionFold fold = reading.take_fold();
    if (fold.seed() != given.seed) return unknown_token();
    const auto action = fold.actions().find(given.position);
    const bool open = action != fold.actions().end() && !action->second.held &&
                      action->second.generation == given.generation;
    if (!open) return completed_before(execution);
    return execution;
  });
}

Result<ControlReply> Client::complete_action(CompleteActionRequest request) {
  const auto given = read_completion_token(request.token);
  if (!given) return given.error();
  const auto* const failure = std::get_if<Failure>(&request.outcome);
  Payload outcome = failure != nullptr ? Payload::json(encode_failure(*failure))
                                       : std::move(std::get<Payload>(request.outcome));
  if (auto error = check_payload("result of the action", outcome, impl_->limits)) return *error;
  if (auto error = check_json("result of the action", outcome)) return *error;
  const auto execution = impl_->find_open(*given);
  if (!execution) return execution.error();
  InboxRecord row =
      impl_->row_for(InboxKind::completion, execution->tenant, execution->execution_id);
  row.payload = std::move(outcome);
  row.attributes = encode(
      CompletionAttributes{given->position, given->generation, given->seed, failure != nullptr});
  ControlReply reply{execution->execution_id, {}, {}};
  const auto known =
      impl_->put(std::move(row), [&](const Addressee& addressee) -> std::optional<Error> {
        if (!addressee.execution) return unknown_token();
        if (is_terminal(addressee.execution->status)) {
          return ended_before_completion(*addressee.execution);
        }
        reply.status = to_string(addressee.execution->status);
        reply.current_state = addressee.execution->state;
        return std::nullopt;
      });
  if (!known) return known.error();
  return reply;
}

// ---- dead letters

Result<DeadLetterPage> Client::list_dead_letters(const DeadLetterQuery& query) {
  const auto search = dead_letter_search_of(query, impl_->limits);
  if (!search) return search.error();
  return impl_->readers.with([&](SqliteReader& reader) -> Result<DeadLetterPage> {
    auto page = pawl::list_dead_letters(reader.connection(), *search);
    if (!page) return page.error();
    return dead_letter_page_of(std::move(*page));
  });
}

Result<DeadLetter> Client::Impl::change(const DeadLetterRequest& request,
                                        const DeadLetterChange to) {
  const auto id = dead_letter_id_of(request, limits);
  if (!id) return id.error();
  DeadLetter letter;
  auto done = with_slot([&](MailSlot& slot) {
    return slot.write([&](SqliteConnection& connection) -> Result<void> {
      auto changed = to(connection, request.tenant, *id);
      if (!changed) return changed.error();
      letter = std::move(*changed);
      return {};
    });
  });
  if (!done) return done.error();
  return letter;
}

Result<DeadLetter> Client::retry_dead_letter(const DeadLetterRequest& request) {
  return impl_->change(request, &pawl::retry_dead_letter);
}

Result<DeadLetter> Client::drop_dead_letter(const DeadLetterRequest& request) {
  return impl_->change(request, &pawl::drop_dead_letter);
}

// ---- reading

Result<ExecutionState> Client::get_execution_state(const std::string_view execution_id,
                                                   const std::string_view tenant,
                                                   const std::optional<std::int64_t> at_sequence) {
  return impl_->readers.with([&](SqliteReader& reader) -> Result<ExecutionState> {
    const auto found = reader.find_execution(tenant, execution_id, kNoHistory);
    if (!found) return found.error();
    if (!*found) return unknown_execution(tenant, execution_id);
    ReaderSource source{reader};
    auto read = read_state(source, **found, at_sequence);
    if (!read) return read.error();
    return std::move(read->state);
  });
}

Result<std::vector<HistoryRecord>> Client::get_history(const std::string_view execution_id,
                                                       const std::string_view tenant) {
  return impl_->readers.with([&](SqliteReader& reader) -> Result<std::vector<HistoryRecord>> {
    const auto found = reader.find_execution(tenant, execution_id, kWholeHistory);
    if (!found) return found.error();
    if (!*found) return unknown_execution(tenant, execution_id);
    std::vector<HistoryRecord> records;
    records.reserve((*found)->history.size());
    for (const HistoryEvent& event : (*found)->history) records.push_back(describe(event));
    return records;
  });
}

Result<ListPage> Client::list_executions(const ListQuery& query) {
  const auto wanted = list_query_of(query, impl_->limits);
  if (!wanted) return wanted.error();
  return impl_->readers.with([&](SqliteReader& reader) -> Result<ListPage> {
    const auto records = reader.list_executions(*wanted);
    if (!records) return records.error();
    return list_page_of(*records, *wanted);
  });
}

void Client::close() {
  if (!impl_) return;
  impl_->readers.close();
  const std::lock_guard lock(impl_->mutex);
  impl_->closed = true;
  impl_->mail.reset();
}

}  // namespace pawl
