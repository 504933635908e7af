#pragma once

// The way into the inbox for those who have no engine: rows that are addressed by tenant and id, each
// in a synced commit of its own.

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/store.h"
#include "model/execution_record.h"
#include "pawl/error.h"
#include "store/sqlite_connection.h"
#include "store/sqlite_store.h"

namespace pawl {

// The numbers of rows from here on are given out under SQLite's write lock, those below by the engine
// out of its memory. JavaScript and JSON can carry them (2⁵² is below 2⁵³).
inline constexpr InboxId kMailSlotIdFirst = InboxId{1} << 52;

// What the store knows of whom mail is for.
struct Addressee {
  std::optional<ExecutionRecord> execution;
  std::optional<InboxRecord> start;  // that waits in the inbox
};

// What there is under the idempotency key of a row.
struct KnownMail {
  InboxId id = 0;
  std::string event_id;
};

// What one that puts in one thing after the other leaves the engine to get in between.
inline constexpr std::chrono::milliseconds kMailGap{2};

// One thread at a time.
class MailSlot {
 public:
  // The file is there, and a store of this version. Errors: store_unavailable, store_invalid.
  static Result<std::unique_ptr<MailSlot>> open(const SqliteStoreOptions& options);

  // Puts the row there unless `judge`, which sees whom it is for within the same transaction, gives an
  // error, or there is one with its idempotency key. Answers with the row that is there now.
  using Judge = std::function<std::optional<Error>(const Addressee&)>;
  Result<KnownMail> put(InboxRecord row, const Judge& judge);
  // Anything else, in a transaction of its own.
  Result<void> write(const std::function<Result<void>(SqliteConnection&)>& work);

 private:
  explicit MailSlot(SqliteConnection connection) : connection_{std::move(connection)} {}

  Result<KnownMail> end(Result<KnownMail> known);
  Result<KnownMail> put_within(InboxRecord& row, const Judge& judge);
  Result<Addressee> find(const InboxRecord& row);
  Result<SqliteStatement*> statement(SqliteStatement& statement, std::string_view sql);
  Error failed(int code, std::string_view doing) const;

  SqliteConnection connection_;
  std::chrono::steady_clock::time_point ended_{};  // the last transaction
  SqliteStatement execution_, start_, key_, last_, insert_;
};

}  // namespace pawl
