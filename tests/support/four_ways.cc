#include "tests/support/four_ways.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <map>
#include <set>
#include <stdexcept>

#include "core/execution_fold.h"
#include "core/history_cut.h"
#include "core/replay.h"
#include "core/time_travel.h"
#include "model/attributes.h"
#include "tests/support/plain_state.h"

namespace pawl::testing {
namespace {

class ResultCollector final : public ActivationSink {
 public:
  void activations_completed(std::vector<ActivationResult> results) override {
    for (ActivationResult& result : results) collected.push_back(std::move(result));
  }
  std::vector<ActivationResult> collected;
};

// What has to come out the same: how each execution ended, and what its code asked for.
std::string essence(const World& world) {
  std::string text;
  std::map<std::string, std::string> by_id;
  for (const auto& [ref, execution] : world.data().executions) {
    const ExecutionState state =
        state_at(execution.record, execution.history, std::nullopt).value();
    std::string& about = by_id[execution.record.tenant + "/" + execution.record.execution_id];
    about =
        fmt::format("{} {} data {} result {} error {}\n", state.status, state.current_state,
                    state.data.bytes, state.result.bytes, state.error ? state.error->message : "");
    for (const HistoryEvent& event : execution.history) {
      if (role_of(event.type) != RecordRole::command) continue;
      about += fmt::format("  {} {} {} {}\n", to_string(event.type), event.position, event.name,
                           event.payload.bytes);
    }
  }
  for (const auto& [id, about] : by_id) text += id + ": " + about;
  return text;
}

void expect_sound(const World& world, const Story& story) {
  const auto fault = find_fault(world.data());
  EXPECT_FALSE(fault) << *fault;
  for (const auto& [ref, execution] : world.data().executions) {
    const auto misfit = find_misfit(story.make_host, execution.record, execution.history);
    EXPECT_FALSE(misfit) << *misfit;
  }
  story.check(world);
}

}  // namespace

std::string start_until_told(World& world, const StartRequest& request) {
  constexpr int kTriesMax = 100;
  for (int tries = 0; tries < kTriesMax; ++tries) {
    const auto answer = world.start(request);
    if (answer && *answer) return **answer;
    if (answer && answer->error().code != ErrorCode::store_unavailable &&
        answer->error().code != ErrorCode::outcome_unknown) {
      throw std::runtime_error(answer->error().message);
    }
    world.advance(1'000);
  }
  throw std::runtime_error("the start was never acknowledged");
}

EventReply submit_until_told(World& world, const EventRequest& request, const bool enqueue) {
  constexpr int kTriesMax = 100;
  for (int tries = 0; tries < kTriesMax; ++tries) {
    const auto answer = world.submit(request, enqueue);
    if (answer && *answer) return **answer;
    if (answer && answer->error().code != ErrorCode::store_unavailable &&
        answer->error().code != ErrorCode::outcome_unknown) {
      throw std::runtime_error(answer->error().message);
    }
    world.advance(1'000);
  }
  throw std::runtime_error("the event was never acknowledged");
}

std::optional<std::string> find_misfit(const World::HostMaker& make_host,
                                       const ExecutionRecord& execution,
                                       const std::vector<HistoryEvent>& history) {
  ExecutionFold fold{execution};
  fold.record().status = ExecutionStatus::running;
  if (const auto folded = fold_history(fold, history); !folded) return folded.error().message;
  auto steps = split_into_activations(execution, history);
  if (!steps) return steps.error().message;
  const auto host = make_host();
  const auto sink = std::make_shared<ResultCollector>();
  for (const ReplayStep& step : *steps) {
    host->activate({step.activation}, sink);
    if (sink->collected.size() != 1) return "the host did not answer at once";
    const ActivationResult result = std::move(sink->collected.back());
    sink->collected.clear();
    if (result.violation) return result.violation;
    if (auto departure = find_departure(execution, step, result)) return departure;
  }
  return std::nullopt;
}

std::optional<std::string> find_fault(const MemoryStoreData& data) {
  for (const auto& [ref, execution] : data.executions) {
    const auto at = [&](const HistoryEvent& event, const std::string_view why) {
      return fmt::format("{} record {} ({}): {}", execution.record.execution_id, event.sequence,
                         to_string(event.type), why);
    };
    std::int64_t last = 0;
    std::set<std::int64_t> received;
    std::set<std::string> event_ids;
    std::set<std::int64_t> taken;
    std::set<std::pair<Position, int>> outcomes;
    std::map<Position, int> generations;
    bool open = false;
    const VoidRecords no_more(execution.history);
    // A fork has rows of its own for what counts of the history that it has of another one.
    std::int64_t forked = 0;
    std::map<Position, std::int64_t> last_outcomes;
    for (const HistoryEvent& event : execution.history) {
      if (event.type == EventType::execution_forked) forked = event.sequence;
    }
    for (const HistoryEvent& event : execution.history) {
      if (event.sequence < forked && !no_more.contains(event)) {
        last_outcomes.insert_or_assign(event.position, event.sequence);
      }
    }
    for (const HistoryEvent& event : execution.history) {
      if (event.sequence != last + 1) return at(event, fmt::format("follows {}", last));
      last = event.sequence;
      if (event.cause < 1 || event.cause > event.sequence) return at(event, "has no cause");
      const bool buffered = event.type == EventType::event_received && event.position == 0;
      const bool alone = role_of(event.type) == RecordRole::bookkeeping || buffered;
      if (alone && open) return at(event, "stands inside an activation");
      if (!alone) open = !event.ends_activation;
      if (no_more.contains(event)) continue;
      if (event.type == EventType::execution_retried) {
        const auto attributes = decode<RetriedAttributes>(event.attributes, event.codec).value();
        for (const Position position : attributes.actions) ++generations[position];
      }
      if (event.type == EventType::event_received) {
        const auto attributes = decode<ReceivedAttributes>(event.attributes, event.codec).value();
        if (!event_ids.insert(attributes.event_id).second) return at(event, "came twice");
        received.insert(event.sequence);
        if (!buffered) taken.insert(event.sequence);
      }
      if (event.type == EventType::event_delivered || event.type == EventType::event_discarded) {
        const auto attributes = decode<DeliveredAttributes>(event.attributes, event.codec).value();
        if (!taken.insert(attributes.event).second) return at(event, "takes an event again");
      }
      const bool outcome = event.type == EventType::action_completed ||
                           event.type == EventType::action_failed ||
                           event.type == EventType::graph_action_completed ||
                           event.type == EventType::graph_action_failed;
      if (outcome) {
        if (!outcomes.insert({event.position, generations[event.position]}).second) {
          return at(event, "is a second outcome");
        }
        const bool before = event.sequence < forked;
        if (before && role_of(event.type) == RecordRole::bookkeeping &&
            last_outcomes.at(event.position) != event.sequence) {
          continue;
        }
        const auto row =
            data.results.find({ref, event.position, before ? 0 : generations[event.position]});
        if (row == data.results.end()) return at(event, "has no row among the results");
        const bool same = row->second.succeeded ? row->second.result == event.payload
                                                : row->second.error_json == event.payload.bytes;
        if (!same) return at(event, "differs from its row among the results");
      }
    }
    if (open)
      return fmt::format("{}: the last activation has no end", execution.record.execution_id);
    if (is_terminal(execution.record.status) && taken != received) {
      return fmt::format("{}: it ended with events that were neither taken nor discarded",
                         execution.record.execution_id);
    }
    ExecutionFold fold{execution.record};
    fold.record().status = ExecutionStatus::running;
    fold.record().state = "initial";
    if (const auto folded = fold_history(fold, execution.history); !folded) {
      return folded.error().message;
    }
    if (execution.record.status != ExecutionStatus::stuck &&
        fold.record().status != execution.record.status) {
      return fmt::format("{}: the row says {}, the history {}", execution.record.execution_id,
                         to_string(execution.record.status), to_string(fold.record().status));
    }
    if (fold.record().state != execution.record.state) {
      return fmt::format("{}: the row says '{}', the history '{}'", execution.record.execution_id,
                         execution.record.state, fold.record().state);
    }
    std::size_t timers = 0;
    for (const auto& [key, timer] : data.timers) timers += key.first == ref ? 1U : 0U;
    const auto expected = fold.timers();
    bool same = timers == expected.size();
    for (const TimerRecord& timer : expected) {
      const auto row = data.timers.find({ref, timer.position});
      same = same && row != data.timers.end() && row->second.fire_at == timer.fire_at;
    }
    if (!same) {
      return fmt::format("{}: {} timers in the store, {} by the history",
                         execution.record.execution_id, timers, expected.size());
    }
  }
  for (const auto& [key, timer] : data.timers) {
    if (!data.executions.contains(key.first)) return "a timer belongs to no execution";
  }
  return std::nullopt;
}

void tell_four_ways(const Story& story) {
  const auto run = [&](const WorldOptions& options) {
    auto world = std::make_unique<World>(options, story.make_host);
    story.prepare(*world);
    story.tell(*world);
    world->run_out();
    return world;
  };
  std::string live;
  std::uint64_t commits = 0;
  {
    SCOPED_TRACE("live, and replayed from the start");
    const auto world = run({});
    live = essence(*world);
    commits = world->commits();
    expect_sound(*world, story);
    for (const auto& [ref, execution] : world->data().executions) {
      const auto untrue = find_untrue_state(execution.record, execution.history);
      EXPECT_FALSE(untrue) << *untrue;
    }
  }
  {
    SCOPED_TRACE("evicted after each activation");
    WorldOptions options;
    options.limits.executions_cached_max = 0;
    const auto world = run(options);
    EXPECT_EQ(essence(*world), live);
    expect_sound(*world, story);
  }
  for (const std::size_t records : {1, 3}) {
    SCOPED_TRACE(fmt::format("evicted after each activation, its history read by {}", records));
    WorldOptions options;
    options.limits.executions_cached_max = 0;
    options.limits.history_page_records_max = records;
    const auto world = run(options);
    EXPECT_EQ(essence(*world), live);
    expect_sound(*world, story);
  }
  for (std::uint64_t commit = 1; commit <= commits; ++commit) {
    for (const bool before : {true, false}) {
      SCOPED_TRACE(fmt::format("crashed {} commit {}", before ? "before" : "after", commit));
      WorldOptions options;
      (before ? options.crash_before_commit : options.crash_after_commit) = commit;
      const auto world = run(options);
      EXPECT_EQ(world->crashes(), 1U);
      EXPECT_EQ(essence(*world), live);
      expect_sound(*world, story);
    }
    for (const std::optional<bool> applied :
         {std::optional<bool>{}, std::optional{true}, std::optional{false}}) {
      SCOPED_TRACE(fmt::format("commit {} failed, {}", commit,
                               !applied   ? "and said so"
                               : *applied ? "but was applied"
                                          : "unknown"));
      WorldOptions options;
      options.fail_commit = commit;
      options.unknown_applied = applied;
      const auto world = run(options);
      EXPECT_EQ(essence(*world), live);
      expect_sound(*world, story);
    }
  }
}

}  // namespace pawl::testing
