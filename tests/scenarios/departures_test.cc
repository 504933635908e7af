// Code that departs from its history: what the report of it names.

#include <gtest/gtest.h>

#include <source_location>

#include "host/coroutine_host.h"
#include "pawl/workflow.h"
#include "tests/support/four_ways.h"
#include "tests/support/story_parts.h"

namespace pawl::testing {
namespace {

World::HostMaker host_of(Workflow<> (*const& deployed)(Context&)) {
  return [&deployed] {
    auto host = std::make_unique<CoroutineHost>();
    host->register_workflow("Story", "1.0.0", detail::make_workflow_function(deployed));
    return host;
  };
}

std::string site(const unsigned line) {
  return "scenarios/departures_test.cc:" + std::to_string(line) + ":";
}

constexpr unsigned kFirst = std::source_location::current().line() + 2;
Workflow<> before(Context& ctx) {
  ctx.set_state("open");
  ctx.set_state("checked");
  co_await ctx.wait_for("Go");
}

constexpr unsigned kSecond = std::source_location::current().line() + 2;
Workflow<> changed(Context& ctx) {
  ctx.set_state("open");
  ctx.set_state("audited");
  co_await ctx.wait_for("Go");
}

Workflow<> shorter(Context& ctx) {
  ctx.set_state("open");  // kSecond + 7
  co_return;
}

struct Departure {
  Departure() : world({}, host_of(deployed)) {
    world.register_workflow("Story");
    start_until_told(world, start_of("a"));
  }
  std::string report() {
    world.deploy();
    submit_until_told(world, event_of("a", "Go", "k-1"));
    const ExecutionState state = world.state(kTenant, "a");
    EXPECT_EQ(state.status, "stuck");
    return state.error ? state.error->message : "";
  }

  Workflow<> (*deployed)(Context&) = before;
  World world;
};

// rule: 20
TEST(Departures, TheReportNamesTheLineOfWhatIsRecordedAndOfWhatTheCodeDid) {
  Departure story;
  const auto& history = story.world.history(kTenant, "a");
  ASSERT_EQ(history.size(), 4U);
  EXPECT_EQ(history[2].site.find(site(kFirst + 1)), 0U) << history[2].site;
  story.deployed = changed;
  const std::string report = story.report();
  EXPECT_NE(report.find("record 3: StateChanged 'checked' at " + site(kFirst + 1)),
            std::string::npos)
      << report;
  EXPECT_NE(report.find("StateChanged 'audited' at " + site(kSecond + 1)), std::string::npos)
      << report;
}

// rule: 20
TEST(Departures, OfCodeThatDoesLessItNamesTheLastLineThatWasRight) {
  Departure story;
  story.deployed = shorter;
  const std::string report = story.report();
  EXPECT_NE(report.find("record 3: StateChanged 'checked' at " + site(kFirst + 1)),
            std::string::npos)
      << report;
  EXPECT_NE(report.find("ExecutionCompleted"), std::string::npos) << report;
}

// rule: 4
TEST(Departures, AForkKeepsTheLinesOfWhatItHasOfTheOther) {
  Departure story;
  ASSERT_TRUE(story.world.fork("a", "b"));
  const auto& original = story.world.history(kTenant, "a");
  const auto& fork = story.world.history(kTenant, "b");
  ASSERT_GT(fork.size(), original.size());
  for (std::size_t index = 0; index < original.size(); ++index) {
    EXPECT_EQ(fork[index].site, original[index].site);
  }
}

}  // namespace
}  // namespace pawl::testing
