#pragma once

// Dead letters of an SQLite store, for the engine and for those beside it.

#include "core/dead_letter_rows.h"
#include "store/side_transactions.h"
#include "store/sqlite_connection.h"

namespace pawl {

Result<DeadLetterRows::Page> list_dead_letters(SqliteConnection& connection,
                                               const DeadLetterSearch& search);
// Both within a transaction.
Result<DeadLetter> retry_dead_letter(SqliteConnection& connection, std::string_view tenant,
                                     InboxId id);
Result<DeadLetter> drop_dead_letter(SqliteConnection& connection, std::string_view tenant,
                                    InboxId id);

class SqliteDeadLetters final : public DeadLetterRows {
 public:
  // `transactions` outlives it.
  explicit SqliteDeadLetters(SideTransactions& transactions) : transactions_(transactions) {}

  Result<Page> list(const DeadLetterSearch& search) override;
  Result<DeadLetter> retry(std::string_view tenant, InboxId id) override;
  Result<DeadLetter> drop(std::string_view tenant, InboxId id) override;

 private:
  SideTransactions& transactions_;
};

}  // namespace pawl
