#pragma once

// Dead letters of a store in PostgreSQL.

#include "core/dead_letter_rows.h"
#include "postgres/store/side_pipeline.h"

namespace pawl {

class PostgresDeadLetters final : public DeadLetterRows {
 public:
  explicit PostgresDeadLetters(PostgresParameters parameters);

  Result<Page> list(const DeadLetterSearch& search) override;
  Result<DeadLetter> retry(std::string_view tenant, InboxId id) override;
  Result<DeadLetter> drop(std::string_view tenant, InboxId id) override;
  void close() { pipeline_.close(); }

 private:
  Result<DeadLetter> change(const PgStatement& statement, std::string_view doing,
                            std::string_view tenant, InboxId id);
  Result<DeadLetter> refuse(std::string_view tenant, InboxId id);

  SidePipeline pipeline_;
};

}  // namespace pawl
