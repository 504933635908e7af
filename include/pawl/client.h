#pragma once

// A process beside the engine: it reads the store that an engine has open, here or in another process,
// and needs none of the code of its workflows. What it reads is committed.
//
//   auto client = pawl::Client::open("sqlite:pawl.db").value();
//   auto state = client.get_execution_state("order-7", "acme");
//
// Threads: every member may be called from any thread, and waits for a free connection.

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
  // is no such file, it can't be read); store_invalid (it is no store, or one of another version).
  static Result<Client> open(const std::string& store);

  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  ~Client();

  // As those of the runtime. Errors: unknown_execution, invalid_argument, closed.
  Result<ExecutionState> get_execution_state(
      std::string_view execution_id, std::string_view tenant,
      std::optional<std::int64_t> at_sequence = std::nullopt);
  Result<std::vector<HistoryRecord>> get_history(std::string_view execution_id,
                                                 std::string_view tenant);
  Result<ListPage> list_executions(const ListQuery& query);

  // Waits for calls under way; later ones answer `closed`. Idempotent.
  void close();

 private:
  class Impl;
  explicit Client(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace pawl
