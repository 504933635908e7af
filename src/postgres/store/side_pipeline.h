#pragma once

// A connection to the store for statements that belong to no execution, each a transaction of its own: connected when
// it is first used, and again after it was lost.

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <string_view>
#include <utility>
#include <vector>

#include "postgres/store/pipeline.h"

namespace pawl {

// Any thread; one call at a time.
class SidePipeline {
 public:
  SidePipeline(PostgresParameters parameters, std::vector<PgStatement> statements,
               std::chrono::milliseconds answer_max)
      : parameters_(std::move(parameters)),
        statements_(std::move(statements)),
        answer_max_(answer_max) {}

  // What `queue` adds; `doing` is for messages: "looking for dead letters". Errors: store_unavailable: it could not be sent; outcome_unknown: the answer was lost, and
  // it may have been done; already_exists: a unique index says no; closed.
  Result<std::vector<PgResult>> run(const std::function<void(PgPipeline&)>& queue,
                                    std::string_view doing);
  // As run(), and once more where the connection turns out to be lost: of what only reads.
  Result<std::vector<PgResult>> read(const std::function<void(PgPipeline&)>& queue,
                                     std::string_view doing);
  // What is under way is given up; later calls answer `closed`. Idempotent.
  void close();

 private:
  const PostgresParameters parameters_;
  const std::vector<PgStatement> statements_;
  const std::chrono::milliseconds answer_max_;
  std::atomic<bool> closed_ = false;
  std::mutex mutex_;
  PgPipeline pipeline_;  // under mutex_, but for giving it up
};

}  // namespace pawl
