#include "postgres/store/side_pipeline.h"

#include <string>

namespace pawl {
namespace {

constexpr std::string_view kUniqueViolation = "23505";

}  // namespace

Result<std::vector<PgResult>> SidePipeline::run(const std::function<void(PgPipeline&)>& queue,
                                                const std::string_view doing) {
  const std::lock_guard lock(mutex_);
  const auto closed = [] { return Error{ErrorCode::closed, "the store is closed", {}}; };
  if (closed_) return closed();
  if (!pipeline_.is_connected()) {
    const auto connected = pipeline_.connect(
        parameters_,
        {"SET jit = off", "SET plan_cache_mode = force_generic_plan", "SET enable_seqscan = off",
         "SELECT set_config('synchronous_commit', 'on', false) "
         "WHERE current_setting('synchronous_commit') = 'off'"},
        statements_, answer_max_);
    if (!connected) {
      if (closed_) return closed();
      return error_of(connected.error(), "connecting to the store");
    }
  }
  queue(pipeline_);
  auto answers = pipeline_.run();
  if (answers) return std::move(*answers);
  if (closed_) return closed();
  Error error = error_of(answers.error(), doing);
  if (answers.error().connection) {
    pipeline_.close();
    error.code = ErrorCode::outcome_unknown;
  }
  if (answers.error().state == kUniqueViolation) error.code = ErrorCode::already_exists;
  return error;
}

Result<std::vector<PgResult>> SidePipeline::read(const std::function<void(PgPipeline&)>& queue,
                                                 const std::string_view doing) {
  auto answers = run(queue, doing);
  if (answers || answers.error().code != ErrorCode::outcome_unknown) return answers;
  answers = run(queue, doing);
  if (answers || answers.error().code != ErrorCode::outcome_unknown) return answers;
  Error error = answers.error();
  error.code = ErrorCode::store_unavailable;
  return error;
}

void SidePipeline::close() {
  if (closed_.exchange(true)) return;
  pipeline_.give_up();
  const std::lock_guard lock(mutex_);
  pipeline_.close();
}

}  // namespace pawl
