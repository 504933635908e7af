#pragma once

// The database of a store in PostgreSQL as that of actions: their outcomes are rows of the store's own, and what they
// write is the owner's of their execution.

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "postgres/outcome_rows.h"
#include "postgres/postgres_database.h"
#include "postgres/store/sent_commits.h"

namespace pawl {

class PostgresStoreDatabase final : public PostgresDatabase {
 public:
  // `idle_max`: a transaction that is silent for longer is ended by the server.
  PostgresStoreDatabase(const std::string& conninfo, PostgresDatabaseOptions options,
                        std::chrono::milliseconds idle_max, std::shared_ptr<SentCommits> sent)
      : PostgresDatabase(conninfo, options), idle_max_(idle_max), sent_(std::move(sent)) {}

  void commit_begins(const ActionTask& task) override { sent_->add(task); }
  void commit_ended(const ActionTask& task) override { sent_->remove(task); }

 protected:
  SqlResult<void> prepare_outcomes(const std::stop_token& stop) override;
  std::unique_ptr<OutcomeRow> outcome_row(PostgresSession& session,
                                          const ActionTask& task) override;
  void look_for_outcomes_again() override;

 private:
  const std::chrono::milliseconds idle_max_;
  const std::shared_ptr<SentCommits> sent_;

  std::mutex mutex_;
  std::optional<std::string> schema_;  // as it is written in statements; under mutex_
};

}  // namespace pawl
