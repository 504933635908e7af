#pragma once

// Turns transitions into rows. Knows the tables; nothing of transactions, batches or threads.

#include <array>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "core/store.h"
#include "store/sqlite_connection.h"

namespace pawl {

// Why the rows of a transition were not all written. The transaction is still open, unless the code
// is one at which SQLite ends it by itself.
struct ApplyError {
  int code = 0;  // SQLite's, or 0: the rows do not fit what is stored
  Error error;
  // The fault lies with these rows; others of the transaction are not concerned.
  bool refused_rows() const { return code == 0 || is_refused_row(code); }
};

class SqliteTransitions {
 public:
  // `connection` must outlive the statements of this object and stay where its handle is.
  static Result<SqliteTransitions> prepare(SqliteConnection& connection);

  std::optional<ApplyError> apply(SqliteConnection& connection, const Transition& transition);
  // One that is there stays.
  std::optional<ApplyError> keep(SqliteConnection& connection, const StateSnapshot& snapshot);
  // To be called when something that was applied is undone.
  void undone() { ends_.clear(); }

 private:
  using Step = std::optional<ApplyError>;

  Step create(SqliteConnection& connection, const ExecutionRecord& record);
  Step change(SqliteConnection& connection, const Transition& transition);
  Step append(SqliteConnection& connection, const Transition& transition);
  Step set_timers(SqliteConnection& connection, const Transition& transition);
  Step record_results(SqliteConnection& connection, const Transition& transition);
  Step show_graphs(SqliteConnection& connection, const Transition& transition);
  Step fill_inbox(SqliteConnection& connection, const Transition& transition);
  static void bind_result(SqliteStatement& statement, const ActionResultRecord& result);
  Result<SqliteStatement*> update_of(SqliteConnection& connection, unsigned columns);

  SqliteStatement insert_execution_, last_event_, insert_event_, delete_timer_, insert_timer_,
      insert_result_, confirm_result_, insert_inbox_, complete_inbox_, insert_snapshot_,
      insert_graph_action_, change_graph_action_, set_sync_point_;
  // By the set of columns that change, so that indexes of others are not touched; prepared at first
  // use.
  std::array<SqliteStatement, 256> updates_;
  // The last sequences of histories that grew lately: a cache, so that the index need not be asked.
  std::unordered_map<ExecutionRef, std::int64_t> ends_;
};

}  // namespace pawl
