// Code that changes while executions of it are under way, told four ways: patches within one version,
// and versions side by side.

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/four_ways.h"
#include "tests/support/story_parts.h"

namespace pawl::testing {
namespace {

// The code that is deployed: the same for every host that is made, until a story changes it.
using Deployed = std::shared_ptr<ScriptFunction>;

World::HostMaker host_of(const Deployed& deployed) {
  return host_with([deployed](Script& script) { return (*deployed)(script); });
}

void deploy(World& world, const Deployed& deployed, ScriptFunction function) {
  world.advance(1'000);
  *deployed = std::move(function);
  world.deploy();
}

std::vector<std::string> patches_in(const std::vector<HistoryEvent>& history) {
  std::vector<std::string> patches;
  for (const HistoryEvent& event : history) {
    if (event.type == EventType::patched) patches.push_back(event.name);
  }
  return patches;
}

using Texts = std::vector<std::string>;

std::string ships_unaudited(Script& script) {
  script.run("echo", "\"pack\"");
  script.wait_for({"Go"});
  return script.run("echo", "\"ship\"");
}

std::string ships_audited(Script& script) {
  if (script.patched("audit")) script.run("echo", "\"audit\"");
  script.run("echo", "\"pack\"");
  script.wait_for({"Go"});
  if (script.patched("courier")) return script.run("echo", "\"courier\"");
  return script.run("echo", "\"ship\"");
}

// rule: 21
TEST(Patched, HistoriesOfBeforeGoOnByTheOldWayUntilTheyReachAPlaceThatIsNewToThem) {
  const auto deployed = std::make_shared<ScriptFunction>();
  tell_four_ways({host_of(deployed),
                  [&](World& world) {
                    *deployed = ships_unaudited;
                    world.register_workflow("Story");
                    world.register_action("echo", echo);
                  },
                  [&](World& world) {
                    start_until_told(world, start_of("old"));
                    deploy(world, deployed, ships_audited);
                    start_until_told(world, start_of("new"));
                    submit_until_told(world, event_of("old", "Go", "k-1"));
                    submit_until_told(world, event_of("new", "Go", "k-1"));
                  },
                  [](const World& world) {
                    EXPECT_EQ(world.state(kTenant, "old").result.bytes, "\"courier\"");
                    EXPECT_EQ(world.state(kTenant, "new").result.bytes, "\"courier\"");
                    EXPECT_EQ(patches_in(world.history(kTenant, "old")), (Texts{"courier"}))
                        << "it passed the audit before there was one";
                    EXPECT_EQ(patches_in(world.history(kTenant, "new")),
                              (Texts{"audit", "courier"}));
                  }});
}

ScriptFunction loop(const bool patched) {
  return [patched](Script& script) {
    std::string ways;
    for (int n = 0; n < 3; ++n) {
      const bool new_way = patched && script.patched("way");
      ways += script.run("echo", new_way ? "2" : "1");
      script.wait_for({"Next"});
    }
    return ways;
  };
}

// rule: 21
TEST(Patched, ALoopKeepsToTheWayThatItBeganWith) {
  const auto deployed = std::make_shared<ScriptFunction>();
  tell_four_ways({host_of(deployed),
                  [&](World& world) {
                    *deployed = loop(false);
                    world.register_workflow("Story");
                    world.register_action("echo", echo);
                  },
                  [&](World& world) {
                    start_until_told(world, start_of("old"));
                    submit_until_told(world, event_of("old", "Next", "k-0"));
                    deploy(world, deployed, loop(true));
                    start_until_told(world, start_of("new"));
                    for (const char* const key : {"k-1", "k-2", "k-3"}) {
                      submit_until_told(world, event_of("new", "Next", key));
                    }
                    submit_until_told(world, event_of("old", "Next", "k-1"));
                    submit_until_told(world, event_of("old", "Next", "k-2"));
                  },
                  [](const World& world) {
                    EXPECT_EQ(world.state(kTenant, "old").result.bytes, "111");
                    EXPECT_EQ(world.state(kTenant, "new").result.bytes, "222");
                    EXPECT_TRUE(patches_in(world.history(kTenant, "old")).empty());
                    EXPECT_EQ(patches_in(world.history(kTenant, "new")), (Texts{"way"}))
                        << "once per execution";
                  }});
}

// Two calls in one activation, the first of which lies before what the history begins with: an
// activation is all of one making, so both agree.
TEST(Patched, AllCallsOfAnActivationAgree) {
  const auto deployed = std::make_shared<ScriptFunction>([](Script& script) {
    const bool first = script.patched("x");
    script.set_state(first ? "new" : "old");
    const bool second = script.patched("x");
    script.wait_for({"Go"});
    return std::to_string(int{first} + int{second} + int{script.patched("x")});
  });
  tell_four_ways({host_of(deployed), [](World& world) { world.register_workflow("Story"); },
                  [](World& world) {
                    start_until_told(world, start_of("a"));
                    submit_until_told(world, event_of("a", "Go", "k-1"));
                  },
                  [](const World& world) {
                    EXPECT_EQ(world.state(kTenant, "a").result.bytes, "3");
                    EXPECT_EQ(patches_in(world.history(kTenant, "a")), (Texts{"x"}));
                  }});
}

// rule: 20
TEST(Patched, AHistoryWithAPatchThatTheCodeDoesNotAskForAnyMoreIsADeparture) {
  const auto deployed = std::make_shared<ScriptFunction>(ships_audited);
  World world({}, host_of(deployed));
  world.register_workflow("Story");
  world.register_action("echo", echo);
  start_until_told(world, start_of("a"));
  deploy(world, deployed, ships_unaudited);
  submit_until_told(world, event_of("a", "Go", "k-1"));
  const ExecutionState stuck = world.state(kTenant, "a");
  EXPECT_EQ(stuck.status, "stuck");
  ASSERT_TRUE(stuck.error);
  EXPECT_NE(stuck.error->message.find("Patched 'audit'"), std::string::npos)
      << stuck.error->message;
  EXPECT_NE(stuck.error->message.find("began with a patch"), std::string::npos);
  deploy(world, deployed, ships_audited);
  world.run_out();
  EXPECT_EQ(world.state(kTenant, "a").result.bytes, "\"courier\"") << "put back, it goes on";
}

// ---- versions

std::string tells_its_version(Script& script) {
  script.wait_for({"Go"});
  return "\"" + script.started().version + "\"";
}

// rule: 21
TEST(Versions, AnExecutionStaysOnItsOwnAndANewOneBeginsOnTheHighest) {
  const auto deployed = std::make_shared<ScriptFunction>(tells_its_version);
  tell_four_ways({host_of(deployed),
                  [](World& world) { world.register_workflow("Story", "9.0.0"); },
                  [](World& world) {
                    start_until_told(world, start_of("first"));
                    // Higher by value, though not by its first character.
                    world.register_workflow("Story", "10.0.0");
                    world.register_workflow("Story", "10.0.0-beta");
                    start_until_told(world, start_of("second"));
                    StartRequest chosen = start_of("chosen");
                    chosen.version = "9.0.0";
                    start_until_told(world, chosen);
                    for (const char* const id : {"first", "second", "chosen"}) {
                      submit_until_told(world, event_of(id, "Go", "k-1"));
                    }
                  },
                  [](const World& world) {
                    EXPECT_EQ(world.state(kTenant, "first").result.bytes, "\"9.0.0\"");
                    EXPECT_EQ(world.state(kTenant, "second").result.bytes, "\"10.0.0\"");
                    EXPECT_EQ(world.state(kTenant, "chosen").result.bytes, "\"9.0.0\"");
                    EXPECT_EQ(world.state(kTenant, "first").version, "9.0.0");
                  }});
}

// rule: 21
TEST(Versions, WithoutItsVersionAnExecutionWaitsVisiblyUntilThatIsRegistered) {
  const auto deployed = std::make_shared<ScriptFunction>(tells_its_version);
  tell_four_ways({host_of(deployed), [](World& world) { world.register_workflow("Story"); },
                  [](World& world) {
                    start_until_told(world, start_of("a"));
                    world.advance(1'000);
                    world.forget_registrations();
                    world.deploy();
                    world.register_workflow("Story", "2.0.0");
                    world.settle();
                    EXPECT_EQ(world.state(kTenant, "a").condition, "waiting")
                        << "nothing has asked for its code yet";
                    EXPECT_FALSE(submit_until_told(world, event_of("a", "Go", "k-1")).consumed);
                    world.advance(1'000);
                    EXPECT_EQ(world.state(kTenant, "a").status, "running");
                    EXPECT_EQ(world.state(kTenant, "a").condition, "no_worker");
                    EXPECT_EQ(world.state(kTenant, "a").condition_detail, "Story 1.0.0");
                    world.register_workflow("Story", "1.0.0");
                    world.settle();
                  },
                  [](const World& world) {
                    const ExecutionState state = world.state(kTenant, "a");
                    EXPECT_EQ(state.result.bytes, "\"1.0.0\"");
                    EXPECT_EQ(state.condition, "");
                    EXPECT_EQ(state.condition_detail, "");
                  }});
}

}  // namespace
}  // namespace pawl::testing
