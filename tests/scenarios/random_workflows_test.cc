// Workflows made up from a seed, told four ways, with results that come in any order.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <utility>
#include <vector>

#include "base/random.h"
#include "core/completion_token.h"
#include "tests/support/four_ways.h"
#include "tests/support/plain_state.h"
#include "tests/support/script_host.h"

namespace pawl::testing {
namespace {

constexpr const char* kTenant = "acme";
constexpr int kPartsMax = 6;

class Dice {
 public:
  explicit Dice(const std::uint64_t seed) : state_(seed) {}
  std::uint64_t roll(const std::uint64_t sides) { return (state_ = mix_bits(state_)) % sides; }

 private:
  std::uint64_t state_;
};

// Actions that depend on one another at random, with every strategy, some under a key that others have too.
std::string random_graph(Script& script, Dice& dice) {
  constexpr std::array kNames{"echo", "flaky", "increment", "later"};
  constexpr std::array kStrategies{ErrorStrategy::stop, ErrorStrategy::go_on, ErrorStrategy::retry,
                                   ErrorStrategy::compensate};
  std::vector<GraphAction> actions(1 + dice.roll(5));
  for (std::size_t index = 0; index < actions.size(); ++index) {
    GraphAction& action = actions[index];
    action.id = std::to_string(index);
    action.name = kNames[dice.roll(kNames.size())];
    action.parameters = Payload::json(action.id);
    if (index > 0 && dice.roll(2) == 0) action.depends_on = {std::to_string(dice.roll(index))};
    action.on_error = kStrategies[dice.roll(kStrategies.size())];
    action.retries = action.on_error == ErrorStrategy::retry ? static_cast<int>(dice.roll(4)) : 0;
    if (dice.roll(3) == 0) action.compensations = {{"increment", Payload::json("-1"), {}}};
    if (dice.roll(4) == 0) {
      action.name = "echo";
      action.parameters = Payload::json("7");
      action.options.idempotency_key = "seven";
    }
  }
  const int at_once = 1 + static_cast<int>(dice.roll(3));
  return fmt::format(
      "g{}", std::get<Payload>(script.action(script.start_graph(actions, at_once))).bytes.size());
}

// The same seed is the same program: it draws nothing from elsewhere.
std::string random_workflow(Script& script, const std::uint64_t seed) {
  Dice dice(seed);
  std::string log;
  const std::uint64_t parts = 2 + dice.roll(kPartsMax - 1);
  for (std::uint64_t part = 0; part < parts; ++part) {
    switch (dice.roll(10)) {
      case 0: log += script.run("echo", std::to_string(part)); break;
      case 1: {
        std::vector<Position> positions;
        for (std::uint64_t count = 1 + dice.roll(4); count > 0; --count) {
          positions.push_back(script.start_action("echo", std::to_string(count)));
        }
        for (const Position position : positions) {
          log += std::get<Payload>(script.action(position)).bytes;
        }
        break;
      }
      case 2: {
        const auto event = script.event(script.start_wait({"A", "B"}, 1 + dice.roll(3) * 10'000));
        log += event ? event->name : "-";
        break;
      }
      case 3: {
        const Position event = script.start_wait({"A"});
        const Position sleep = script.start_sleep(static_cast<DurationMs>(dice.roll(30'000)));
        const Position first = script.first({event, sleep});
        script.withdraw(first == event ? sleep : event);
        log += first == event ? "e" : "s";
        break;
      }
      case 4:
        script.emit_event("A", std::to_string(part));
        script.set_data(fmt::format("part{}", part), std::to_string(part));
        break;
      case 5: script.slept(script.start_sleep(static_cast<DurationMs>(dice.roll(5'000)))); break;
      case 6: log += random_graph(script, dice); break;
      case 7: log += script.run("increment", std::to_string(part)); break;
      case 8: {
        ActionOptions options;
        if (dice.roll(2) == 0) options.idempotency_key = "seven";
        const std::string name = options.idempotency_key.empty() ? "later" : "echo";
        log += std::get<Payload>(script.action(script.start_action(name, "7", options))).bytes;
        break;
      }
      default: {
        const auto outcome = script.action(script.start_action("flaky", std::to_string(part)));
        log += std::holds_alternative<Payload>(outcome) ? "f" : "x";
        break;
      }
    }
    script.set_state(fmt::format("part-{}", part));
  }
  return "\"" + log + "\"";
}

class RandomWorkflows : public ::testing::TestWithParam<std::uint64_t> {};

// rules: 1, 2
TEST_P(RandomWorkflows, EndTheSameWhicheverWayTheyGo) {
  const std::uint64_t seed = GetParam();
  const auto make_host = [seed] {
    auto host = std::make_unique<ScriptHost>();
    host->define("Random", [seed](Script& script) { return random_workflow(script, seed); });
    return host;
  };
  // Attempts that are to be completed from elsewhere.
  std::vector<ActionTask> later;
  const auto prepare = [seed, &later](World& world) {
    later.clear();
    world.register_workflow("Random");
    world.register_deferred_action("later",
                                   [&later](const ActionTask& task) { later.push_back(task); });
    // Its own transaction; every run of it comes to something else.
    world.register_action(
        "increment",
        [&world, runs = 0](const ActionTask& task) mutable -> std::variant<Payload, Failure> {
          const Payload result = Payload::json(std::to_string(++runs));
          if (world.write_ahead(task, result)) return result;
          return world.data().results.at({task.execution, task.position, task.generation}).result;
        });
    world.register_action("echo", [](const ActionTask& task) { return task.parameters; });
    world.register_action("flaky",
                          [seed](const ActionTask& task) -> std::variant<Payload, Failure> {
                            // Decided by where it stands, not by when it runs.
                            const std::uint64_t fails =
                                mix_bits(seed + static_cast<std::uint64_t>(task.position)) % 6;
                            if (static_cast<std::uint64_t>(task.attempt) > fails)
                              return task.parameters;
                            return Failure{};
                          });
  };
  const auto tell = [seed](World& world) {
    StartRequest start;
    start.workflow = "Random";
    start.tenant = kTenant;
    start.execution_id = "a";
    start.input = Payload::json("{}");
    start_until_told(world, start);
    Dice dice(seed ^ 0x5eedU);
    for (std::uint64_t count = dice.roll(4); count > 0; --count) {
      const std::string name = dice.roll(2) == 0 ? "A" : "B";
      const EventRequest event{kTenant, "a",
                               name,    Payload::json(std::to_string(count)),
                               "",      fmt::format("{}{}", name, count)};
      const auto told = world.submit(event, dice.roll(2) == 0);
      // It may have ended by itself; a crash may have kept the answer from us.
      if (told && !*told) {
        EXPECT_EQ((*told).error().code, ErrorCode::execution_ended);
      }
    }
  };
  // Until nothing waits to be completed.
  const auto end = [&later](World& world) {
    world.run_out();
    constexpr int kRoundsMax = 1'000;
    for (int round = 0; !later.empty(); ++round) {
      ASSERT_LT(round, kRoundsMax);
      const std::vector<ActionTask> waiting = std::exchange(later, {});
      for (const ActionTask& task : waiting) {
        const auto told = world.complete(completion_token(task), Payload::json("8"));
        // A crash kept the answer from us: asked again.
        if (!told) later.push_back(task);
      }
      world.run_out();
    }
  };
  // Live, each in another order of results: the log is sound, and the code fits its history.
  for (std::uint64_t order = 0; order < 5; ++order) {
    WorldOptions options;
    options.seed = order;
    options.limits.executions_cached_max = order % 2;
    options.limits.history_page_records_max = 1 + order % 3 * 5;
    World world(options, make_host);
    prepare(world);
    tell(world);
    end(world);
    const auto fault = find_fault(world.data());
    EXPECT_FALSE(fault) << *fault;
    for (const auto& [ref, execution] : world.data().executions) {
      const auto misfit = find_misfit(make_host, execution.record, execution.history);
      EXPECT_FALSE(misfit) << *misfit;
      EXPECT_NE(execution.record.status, ExecutionStatus::stuck);
      const auto untrue = find_untrue_state(execution.record, execution.history);
      EXPECT_FALSE(untrue) << *untrue;
    }
  }
  // Crashed before and after each commit: nothing is lost, doubled or stuck.
  World counted({}, make_host);
  prepare(counted);
  tell(counted);
  end(counted);
  for (std::uint64_t commit = 1; commit <= counted.commits(); ++commit) {
    for (const bool before : {true, false}) {
      SCOPED_TRACE(fmt::format("crashed {} commit {}", before ? "before" : "after", commit));
      WorldOptions options;
      (before ? options.crash_before_commit : options.crash_after_commit) = commit;
      World world(options, make_host);
      prepare(world);
      tell(world);
      end(world);
      const auto fault = find_fault(world.data());
      EXPECT_FALSE(fault) << *fault;
      for (const auto& [ref, execution] : world.data().executions) {
        EXPECT_NE(execution.record.status, ExecutionStatus::stuck);
        EXPECT_FALSE(find_misfit(make_host, execution.record, execution.history));
        // What it waits for now is an event that never came, and nothing else.
        EXPECT_FALSE(execution.record.in_flight);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomWorkflows, ::testing::Range<std::uint64_t>(1, 61));

}  // namespace
}  // namespace pawl::testing
