#include "runtime/lent_work_codec.h"

#include <fmt/format.h>

#include <boost/interprocess/streams/bufferstream.hpp>
#include <cereal/archives/portable_binary.hpp>
#include <cereal/types/optional.hpp>
#include <cereal/types/string.hpp>
#include <cereal/types/variant.hpp>
#include <cereal/types/vector.hpp>
#include <mutex>
#include <set>

#include <sstream>

#include "model/attributes.h"
#include "model/history_event.h"
#include "model/json_members.h"
#include "model/json_object.h"

// How each struct is sent: all of its members, in their order. Found by cereal in the namespace of the struct.
namespace pawl {

template <class Archive>
void serialize(Archive& archive, Payload& value) {
  archive(value.bytes, value.encoding);
}
template <class Archive>
void serialize(Archive& archive, Failure& value) {
  archive(value.name, value.message, value.stack, value.code, value.details_json, value.causes,
          value.failure_class);
}
template <class Archive>
void serialize(Archive& archive, ReceivedEvent& value) {
  archive(value.id, value.name, value.payload, value.user_id, value.timestamp, value.sequence);
}
template <class Archive>
void serialize(Archive& archive, StartJob& value) {
  archive(value.tenant, value.execution_id, value.workflow, value.version, value.user_id,
          value.correlation_id, value.input, value.seed, value.first_position);
}
template <class Archive>
void serialize(Archive& archive, EventJob& value) {
  archive(value.position, value.event);
}
template <class Archive>
void serialize(Archive& archive, WaitTimedOutJob& value) {
  archive(value.position);
}
template <class Archive>
void serialize(Archive& archive, TimerJob& value) {
  archive(value.position);
}
template <class Archive>
void serialize(Archive& archive, ActionJob& value) {
  archive(value.position, value.outcome);
}
template <class Archive>
void serialize(Archive& archive, ChildJob& value) {
  archive(value.position, value.outcome);
}
template <class Archive>
void serialize(Archive& archive, CancelJob& value) {
  archive(value.reason, value.keeps_children);
}
template <class Archive>
void serialize(Archive& archive, EventOffer& value) {
  archive(value.position, value.event);
}
template <class Archive>
void serialize(Archive& archive, Activation& value) {
  archive(value.execution, value.now, value.sequence, value.replaying, value.jobs,
          value.execution_id, value.generation, value.patches, value.offers);
}
template <class Archive>
void serialize(Archive& archive, RetryPolicy& value) {
  archive(value.max_attempts, value.initial_interval, value.backoff, value.max_interval,
          value.jitter, value.non_retryable);
}
template <class Archive>
void serialize(Archive& archive, RateLimit& value) {
  archive(value.max, value.per);
}
template <class Archive>
void serialize(Archive& archive, ActionOptions& value) {
  archive(value.retry, value.timeout, value.total_timeout, value.heartbeat_timeout,
          value.concurrency_max, value.rate_limit, value.fail_after, value.idempotency_key,
          value.in_place);
}
template <class Archive>
void serialize(Archive& archive, ScheduleActionCommand& value) {
  archive(value.position, value.name, value.parameters, value.options);
}
template <class Archive>
void serialize(Archive& archive, Compensation& value) {
  archive(value.name, value.parameters, value.options);
}
template <class Archive>
void serialize(Archive& archive, GraphAction& value) {
  archive(value.id, value.name, value.parameters, value.options, value.depends_on, value.group,
          value.sync_point, value.on_error, value.retries, value.compensations);
}
template <class Archive>
void serialize(Archive& archive, StartGraphCommand& value) {
  archive(value.position, value.actions, value.concurrency_max);
}
template <class Archive>
void serialize(Archive& archive, WaitCommand& value) {
  archive(value.position, value.names, value.timeout, value.filtered);
}
template <class Archive>
void serialize(Archive& archive, WithdrawCommand& value) {
  archive(value.position);
}
template <class Archive>
void serialize(Archive& archive, StartTimerCommand& value) {
  archive(value.position, value.duration);
}
template <class Archive>
void serialize(Archive& archive, SetStateCommand& value) {
  archive(value.state);
}
template <class Archive>
void serialize(Archive& archive, SetDataCommand& value) {
  archive(value.key, value.value);
}
template <class Archive>
void serialize(Archive& archive, EmitCommand& value) {
  archive(value.name, value.payload, value.execution_id);
}
template <class Archive>
void serialize(Archive& archive, StartChildCommand& value) {
  archive(value.position, value.workflow, value.version, value.execution_id, value.input,
          value.user_id, value.correlation_id, value.parent_close);
}
template <class Archive>
void serialize(Archive& archive, CancelChildCommand& value) {
  archive(value.position);
}
template <class Archive>
void serialize(Archive& archive, LogCommand& value) {
  archive(value.level, value.message, value.details);
}
template <class Archive>
void serialize(Archive& archive, PatchedCommand& value) {
  archive(value.change_id);
}
template <class Archive>
void serialize(Archive& archive, CompleteCommand& value) {
  archive(value.result);
}
template <class Archive>
void serialize(Archive& archive, FailCommand& value) {
  archive(value.failure);
}
template <class Archive>
void serialize(Archive& archive, CancelCommand& value) {
  archive(value.failure);
}
template <class Archive>
void serialize(Archive& archive, ContinueAsNewCommand& value) {
  archive(value.input);
}

// Places in the source of workflows live as long as the process; there are only so many.
CallSite kept_site(std::string text) {
  static std::mutex mutex;
  static std::set<std::string> sites;
  const std::lock_guard lock(mutex);
  return *sites.insert(std::move(text)).first;
}

template <class Archive>
void save(Archive& archive, const ActivationResult& value) {
  archive(value.execution, value.sequence, value.commands, value.violation, value.taken, value.lost,
          std::vector<std::string>(value.sites.begin(), value.sites.end()));
}
template <class Archive>
void load(Archive& archive, ActivationResult& value) {
  std::vector<std::string> sites;
  archive(value.execution, value.sequence, value.commands, value.violation, value.taken, value.lost,
          sites);
  for (std::string& site : sites) value.sites.push_back(kept_site(std::move(site)));
}
template <class Archive>
void serialize(Archive& archive, ActionTask& value) {
  archive(value.id, value.tenant, value.execution_id, value.execution, value.position, value.name,
          value.parameters, value.attempt, value.idempotency_key, value.event_id,
          value.correlation_id, value.scheduled_at, value.timeout, value.heartbeat_timeout,
          value.progress, value.in_place, value.generation, value.seed, value.parameters_digest,
          value.partition, value.epoch);
}
template <class Archive>
void serialize(Archive& archive, RunCode& value) {
  archive(value.instance, value.activation);
}
template <class Archive>
void serialize(Archive& archive, DropInstance& value) {
  archive(value.instance, value.execution);
}
template <class Archive>
void serialize(Archive& archive, RunAttempt& value) {
  archive(value.task);
}
template <class Archive>
void serialize(Archive& archive, AbortAttempt& value) {
  archive(value.attempt);
}
template <class Archive>
void serialize(Archive& archive, CodeRan& value) {
  archive(value.instance, value.result);
}
template <class Archive>
void serialize(Archive& archive, AttemptBegan& value) {
  archive(value.attempt);
}
template <class Archive>
void serialize(Archive& archive, AttemptAlive& value) {
  archive(value.attempt, value.progress);
}
template <class Archive>
void serialize(Archive& archive, AttemptEnded& value) {
  archive(value.attempt, value.outcome, value.deferred, value.begun);
}
template <class Archive>
void serialize(Archive& /*archive*/, AllLost& /*value*/) {}
template <class Archive>
void serialize(Archive& /*archive*/, StillThere& /*value*/) {}

namespace {

Error unreadable(const std::string_view what, const std::string_view why) {
  return {
      ErrorCode::internal, fmt::format("{} of another worker can't be read: {}", what, why), {}};
}

}  // namespace

std::string encode_lent_work(const std::vector<LentWork>& work) {
  std::ostringstream bytes;
  {
    cereal::PortableBinaryOutputArchive archive(bytes);
    archive(work);
  }
  return std::move(bytes).str();
}

Result<std::vector<LentWork>> decode_lent_work(const std::string_view bytes) {
  try {
    boost::interprocess::ibufferstream stream(bytes.data(), bytes.size());
    cereal::PortableBinaryInputArchive archive(stream);
    std::vector<LentWork> work;
    archive(work);
    return work;
  } catch (const std::exception& wrong) {
    return unreadable("a message", wrong.what());
  }
}

std::string encode_offer(const WorkOffer& offer) {
  const auto list = [](const auto& items, const auto& write) {
    std::string text = "[";
    for (const auto& item : items) {
      if (text.size() > 1) text += ',';
      ObjectWriter each;
      write(each, item);
      text += std::move(each).finish();
    }
    return text + ']';
  };
  ObjectWriter writer;
  writer.number("layout", kLentWorkLayout, 0);
  writer.raw("workflows",
             list(offer.workflows, [](ObjectWriter& each, const OfferedWorkflow& workflow) {
               each.text("name", workflow.name);
               each.text("version", workflow.version);
               each.text("build", workflow.build);
             }));
  writer.raw("actions", list(offer.actions, [](ObjectWriter& each, const OfferedAction& action) {
               each.text("name", action.name);
               const std::string options = encode(ScheduledAttributes{action.options});
               if (!options.empty()) each.raw("options", options);
             }));
  return std::move(writer).finish();
}

Result<WorkOffer> decode_offer(const std::string_view text) {
  WorkOffer offer;
  std::string wrong;
  auto members = member_views_of_valid(text);
  if (!members) return unreadable("the offer", members.error().message);
  ObjectReader reader(std::move(*members), wrong);
  int layout = 0;
  reader.number("layout", layout);
  if (layout != kLentWorkLayout) return offer;
  const auto workflows = elements_of_valid(reader.raw("workflows"));
  const auto actions = elements_of_valid(reader.raw("actions"));
  if (!workflows) return unreadable("the offer", workflows.error().message);
  if (!actions) return unreadable("the offer", actions.error().message);
  for (const std::string_view element : *workflows) {
    auto each = member_views_of_valid(element);
    if (!each) return unreadable("the offer", each.error().message);
    ObjectReader workflow(std::move(*each), wrong);
    OfferedWorkflow& offered = offer.workflows.emplace_back();
    workflow.text("name", offered.name);
    workflow.text("version", offered.version);
    workflow.text("build", offered.build);
  }
  for (const std::string_view element : *actions) {
    auto each = member_views_of_valid(element);
    if (!each) return unreadable("the offer", each.error().message);
    ObjectReader action(std::move(*each), wrong);
    OfferedAction& offered = offer.actions.emplace_back();
    action.text("name", offered.name);
    if (!action.has("options")) continue;
    auto options = decode<ScheduledAttributes>(action.raw("options"), kHistoryCodec);
    if (!options) return unreadable("the offer", options.error().message);
    offered.options = std::move(options->options);
  }
  if (!wrong.empty()) return unreadable("the offer", wrong);
  return offer;
}

}  // namespace pawl
