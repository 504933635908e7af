#include "pawl/compensations.h"

#include <fmt/format.h>

#include <boost/json/serialize.hpp>
#include <iterator>
#include <stdexcept>
#include <utility>

#include "host/compensation_list.h"
#include "host/instance.h"

namespace pawl {

namespace detail {

std::shared_ptr<CompensationBatch> CompensationList::run() {
  auto batch = std::make_shared<CompensationBatch>();
  batch->actions.assign(std::make_move_iterator(added_.rbegin()),
                        std::make_move_iterator(added_.rend()));
  added_.clear();
  batches_.push_back(batch);
  if (batches_.size() == 1) worker_.emplace(work());
  return batch;
}

Task<void> CompensationList::work() {
  while (!batches_.empty()) {
    CompensationBatch& batch = *batches_.front();
    for (const Compensation& each : batch.actions) {
      std::optional<Failure> failure;
      ActionCall<void> call(
          instance_.schedule(each.action, each.parameters, each.options, each.site));
      try {
        const Result<void, Failure> outcome = co_await call;
        if (!outcome) failure = outcome.error();
      } catch (const Cancelled& cancelled) {
        failure = failure_of(cancelled);
      }
      if (failure) batch.failed.push_back({each.action, each.parameters, std::move(*failure)});
    }
    batch.done = true;
    batch.order = instance_.next_order();
    if (batch.waiter != nullptr) std::exchange(batch.waiter, nullptr)->notify();
    batches_.pop_front();
  }
}

}  // namespace detail

bool CompensationRun::ready() const {
  if (!batch_ || batch_->taken) detail::throw_awaited_twice();
  return batch_->done;
}

std::uint64_t CompensationRun::order() const { return batch_->order; }

void CompensationRun::subscribe(detail::Waiter* waiter) {
  if (!batch_) return;
  if (waiter != nullptr && batch_->waiter != nullptr && batch_->waiter != waiter) {
    throw std::logic_error("two coroutines await the same awaitable: await it in one of them");
  }
  batch_->waiter = waiter;
}

Result<void, CompensationFailure> CompensationRun::take() {
  batch_->taken = true;
  if (batch_->failed.empty()) return {};
  return CompensationFailure{std::move(batch_->failed), batch_->actions.size()};
}

void Compensations::add_action(std::string_view name, Payload parameters, ActionOptions options,
                               Here here) const {
  if (!instance_.may_ask("ctx.compensations()")) return;
  instance_.check_action(name, parameters);
  instance_.compensations.add(
      {std::string(name), std::move(parameters), std::move(options), call_site(here)});
}

CompensationRun Compensations::run() const {
  if (!instance_.may_ask("ctx.compensations()")) {
    // While the frame is destroyed: it never becomes ready.
    return CompensationRun(std::make_shared<detail::CompensationBatch>());
  }
  return CompensationRun(instance_.compensations.run());
}

std::string CompensationFailure::message() const {
  std::string text = fmt::format("{} of {} compensations failed", failed.size(), ran);
  const char* before = ": ";
  for (const FailedCompensation& each : failed) {
    text += fmt::format("{}{}: {}", std::exchange(before, "; "), each.action, each.failure.message);
  }
  return text;
}

namespace {

std::string quoted(const std::string& text) { return boost::json::serialize(text); }

// {"failed":[{"action":…,"parameters":…,"message":…}]}, as in TypeScript.
std::string details_of(const std::vector<FailedCompensation>& failed) {
  std::string text;
  for (const FailedCompensation& each : failed) {
    if (!text.empty()) text += ',';
    text += R"({"action":)" + quoted(each.action);
    if (!each.parameters.is_none()) text += R"(,"parameters":)" + each.parameters.bytes;
    text += R"(,"message":)" + quoted(each.failure.message) + '}';
  }
  return R"({"failed":[)" + text + "]}";
}

}  // namespace

Failure CompensationFailure::as_failure() const {
  Failure failure{.name = "CompensationError",
                  .message = message(),
                  .code = "compensation_failed",
                  .details_json = details_of(failed)};
  if (!failed.empty()) {
    failure.causes.push_back(failed.front().failure);
    failure.failure_class = failed.front().failure.failure_class;
  }
  return failure;
}

void throw_exception_from_error(const CompensationFailure& failure, const boost::source_location&) {
  throw FailureException(failure.as_failure());
}

}  // namespace pawl
