// Workflows made up from a seed, told four ways, with results that come in any order.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/random.h"
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

// The same seed is the same program: it draws nothing from elsewhere.
std::string random_workflow(Script& script, const std::uint64_t seed) {
  Dice dice(seed);
  std::string log;
  const std::uint64_t parts = 2 + dice.roll(kPartsMax - 1);
  for (std::uint64_t part = 0; part < parts; ++part) {
    switch (dice.roll(7)) {
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
  const auto prepare = [seed](World& world) {
    world.register_workflow("Random");
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
  // Live, each in another order of results: the log is sound, and the code fits its history.
  for (std::uint64_t order = 0; order < 5; ++order) {
    WorldOptions options;
    options.seed = order;
    options.limits.executions_cached_max = order % 2;
    options.limits.history_page_records_max = 1 + order % 3 * 5;
    World world(options, make_host);
    prepare(world);
    tell(world);
    world.run_out();
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
  counted.run_out();
  for (std::uint64_t commit = 1; commit <= counted.commits(); ++commit) {
    for (const bool before : {true, false}) {
      SCOPED_TRACE(fmt::format("crashed {} commit {}", before ? "before" : "after", commit));
      WorldOptions options;
      (before ? options.crash_before_commit : options.crash_after_commit) = commit;
      World world(options, make_host);
      prepare(world);
      tell(world);
      world.run_out();
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
