#include "pawl/client.h"

#include <fmt/format.h>

#include <utility>

#include "core/time_travel.h"
#include "runtime/request_checks.h"
#include "runtime/store_address.h"
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

// A history as it is over one connection. Snapshots are for the engine to keep.
class ReaderSource final : public HistorySource {
 public:
  explicit ReaderSource(SqliteReader& reader) : reader_{reader} {}

  Result<std::vector<HistoryEvent>> read_history(ExecutionRef ref, std::int64_t after,
                                                 int limit) override {
    return reader_.read_history(ref, after, limit);
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
  explicit Impl(SqliteStoreOptions file) : readers{std::move(file)} {}

  SqliteReaderPool readers;
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

Result<ExecutionState> Client::get_execution_state(const std::string_view execution_id,
                                                   const std::string_view tenant,
                                                   const std::optional<std::int64_t> at_sequence) {
  return impl_->readers.with([&](SqliteReader& reader) -> Result<ExecutionState> {
    const auto found = reader.find_execution(tenant, execution_id, false);
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
    const auto found = reader.find_execution(tenant, execution_id, true);
    if (!found) return found.error();
    if (!*found) return unknown_execution(tenant, execution_id);
    std::vector<HistoryRecord> records;
    records.reserve((*found)->history.size());
    for (const HistoryEvent& event : (*found)->history) records.push_back(describe(event));
    return records;
  });
}

Result<ListPage> Client::list_executions(const ListQuery& query) {
  const auto wanted = list_query_of(query, Limits{});
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
}

}  // namespace pawl
