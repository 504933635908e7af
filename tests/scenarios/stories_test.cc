// What an execution goes through, told four ways.

#include <gtest/gtest.h>

#include "tests/support/four_ways.h"
#include "tests/support/story_parts.h"

namespace pawl::testing {
namespace {

Failure failure_of(const std::string& message, const FailureClass failure_class) {
  Failure failure;
  failure.message = message;
  failure.failure_class = failure_class;
  return failure;
}

// rules: 2, 5
TEST(Stories, ThreeActionsOneAfterTheOther) {
  tell_four_ways({host_with([](Script& script) {
                    script.set_state("working");
                    const std::string first = script.run("echo", "1");
                    const std::string second = script.run("Echo", first + "2");
                    script.set_data("seen", second);
                    script.set_state("done");
                    return script.run("ECHO", second + "3");
                  }),
                  [](World& world) {
                    world.register_workflow("Story");
                    world.register_action("echo", echo);
                  },
                  [](World& world) { start_until_told(world, start_of("a", R"({"given":true})")); },
                  [](const World& world) {
                    const ExecutionState state = world.state(kTenant, "a");
                    EXPECT_EQ(state.status, "completed");
                    EXPECT_EQ(state.current_state, "done");
                    EXPECT_EQ(state.data.bytes, R"({"given":true,"seen":12})");
                    EXPECT_EQ(state.result.bytes, "123");
                  }});
}

// rules: 2, 7
TEST(Stories, AnApprovalWaitsForOneOfTwoEvents) {
  tell_four_ways({host_with([](Script& script) {
                    script.set_state("draft");
                    script.wait_for({"Submit"});
                    script.run("notify", "\"manager\"");
                    script.set_state("submitted");
                    const ReceivedEvent decision = script.wait_for({"Approve", "Reject"});
                    script.run("notify", "\"" + decision.name + "\"");
                    script.set_state(decision.name == "Approve" ? "approved" : "rejected");
                    return decision.payload.bytes;
                  }),
                  [](World& world) {
                    world.register_workflow("Story");
                    world.register_action("notify", echo);
                  },
                  [](World& world) {
                    start_until_told(world, start_of("a"));
                    start_until_told(world, start_of("b"));
                    const EventReply submitted =
                        submit_until_told(world, event_of("a", "Submit", "{}", "a-submit"));
                    EXPECT_TRUE(submitted.consumed);
                    // Comes before anyone waits for it, and is kept.
                    submit_until_told(world, event_of("b", "Reject", "[7]", "b-reject"));
                    submit_until_told(world, event_of("b", "Submit", "{}", "b-submit"), true);
                    const EventReply approved =
                        submit_until_told(world, event_of("a", "Approve", "[8]", "a-approve"));
                    // The same again has the same answer and no second effect.
                    const EventReply again =
                        submit_until_told(world, event_of("a", "Approve", "[8]", "a-approve"));
                    EXPECT_EQ(again.event_id, approved.event_id);
                    EXPECT_EQ(again.consumed, approved.consumed);
                  },
                  [](const World& world) {
                    EXPECT_EQ(world.state(kTenant, "a").current_state, "approved");
                    EXPECT_EQ(world.state(kTenant, "a").result.bytes, "[8]");
                    EXPECT_EQ(world.state(kTenant, "b").current_state, "rejected");
                    EXPECT_EQ(world.state(kTenant, "b").result.bytes, "[7]");
                  }});
}

// rule: 2
TEST(Stories, ParallelActionsJoin) {
  tell_four_ways({host_with([](Script& script) {
                    std::vector<Position> positions;
                    for (int index = 0; index < 5; ++index) {
                      positions.push_back(script.start_action("echo", std::to_string(index)));
                    }
                    std::string joined = "[";
                    for (const Position position : positions) {
                      if (joined.size() > 1) joined += ',';
                      joined += std::get<Payload>(script.action(position)).bytes;
                    }
                    return joined + "]";
                  }),
                  [](World& world) {
                    world.register_workflow("Story");
                    world.register_action("echo", echo);
                  },
                  [](World& world) { start_until_told(world, start_of("a")); },
                  [](const World& world) {
                    EXPECT_EQ(world.state(kTenant, "a").result.bytes, "[0,1,2,3,4]");
                  }});
}

// rules: 14, 15
TEST(Stories, AFailingActionIsTriedAgainAfterAWhile) {
  tell_four_ways({host_with([](Script& script) { return script.run("flaky", "1"); }),
                  [](World& world) {
                    world.register_workflow("Story");
                    world.register_action(
                        "flaky", [](const ActionTask& task) -> std::variant<Payload, Failure> {
                          if (task.attempt < 3)
                            return failure_of("not yet", FailureClass::transient);
                          return task.parameters;
                        });
                  },
                  [](World& world) { start_until_told(world, start_of("a")); },
                  [](const World& world) {
                    EXPECT_EQ(world.state(kTenant, "a").result.bytes, "1");
                    EXPECT_GE(world.actions_run().size(), 3U);
                    for (const ActionTask& task : world.actions_run()) {
                      EXPECT_EQ(task.idempotency_key, world.actions_run().front().idempotency_key);
                    }
                  }});
}

// rules: 5, 15, 19
TEST(Stories, AnActionThatKeepsFailingFailsTheExecution) {
  tell_four_ways({host_with([](Script& script) { return script.run("broken", "1"); }),
                  [](World& world) {
                    world.register_workflow("Story");
                    world.register_action(
                        "broken", [](const ActionTask&) -> std::variant<Payload, Failure> {
                          return failure_of("it is broken", FailureClass::transient);
                        });
                  },
                  [](World& world) { start_until_told(world, start_of("a")); },
                  [](const World& world) {
                    const ExecutionState state = world.state(kTenant, "a");
                    EXPECT_EQ(state.status, "failed");
                    EXPECT_EQ(state.error->message, "it is broken");
                    EXPECT_GE(world.actions_run().size(), 4U);
                  }});
}

// rule: 15
TEST(Stories, APermanentFailureIsNotTriedAgain) {
  tell_four_ways(
      {host_with([](Script& script) -> std::string {
         try {
           return script.run("refuses", "1");
         } catch (const Failure& failure) {
           return "\"" + failure.message + "\"";
         }
       }),
       [](World& world) {
         world.register_workflow("Story");
         world.register_action("refuses",
                               [](const ActionTask& task) -> std::variant<Payload, Failure> {
                                 EXPECT_EQ(task.attempt, 1);
                                 return failure_of("never", FailureClass::permanent);
                               });
       },
       [](World& world) { start_until_told(world, start_of("a")); },
       [](const World& world) { EXPECT_EQ(world.state(kTenant, "a").result.bytes, "\"never\""); }});
}

// rule: 12
TEST(Stories, AWaitRunsOutOfTime) {
  tell_four_ways({host_with([](Script& script) -> std::string {
                    const auto event = script.event(script.start_wait({"Pay"}, 5'000));
                    script.set_state(event ? "paid" : "expired");
                    script.slept(script.start_sleep(1'000));
                    return event ? "true" : "false";
                  }),
                  [](World& world) { world.register_workflow("Story"); },
                  [](World& world) {
                    start_until_told(world, start_of("late"));
                    start_until_told(world, start_of("paid"));
                    submit_until_told(world, event_of("paid", "Pay", "1", "p"));
                  },
                  [](const World& world) {
                    EXPECT_EQ(world.state(kTenant, "late").current_state, "expired");
                    EXPECT_EQ(world.state(kTenant, "paid").current_state, "paid");
                  }});
}

// rule: 8
TEST(Stories, ARaceWithdrawsTheLoser) {
  tell_four_ways({host_with([](Script& script) -> std::string {
                    const Position event = script.start_wait({"Go"});
                    const Position sleep = script.start_sleep(3'000);
                    const Position first = script.first({event, sleep});
                    script.withdraw(first == event ? sleep : event);
                    // What the loser would have taken is there for another.
                    script.wait_for({"Go"});
                    return first == event ? "\"event\"" : "\"sleep\"";
                  }),
                  [](World& world) { world.register_workflow("Story"); },
                  [](World& world) {
                    start_until_told(world, start_of("slept"));
                    world.advance(60'000);
                    submit_until_told(world, event_of("slept", "Go", "1", "k1"));
                    start_until_told(world, start_of("went"));
                    submit_until_told(world, event_of("went", "Go", "1", "k2"));
                    submit_until_told(world, event_of("went", "Go", "2", "k3"));
                  },
                  [](const World& world) {
                    EXPECT_EQ(world.state(kTenant, "slept").result.bytes, "\"sleep\"");
                    EXPECT_EQ(world.state(kTenant, "slept").status, "completed");
                  }});
}

// rule: 11
TEST(Stories, WhatIsEmittedComesBackInOrder) {
  tell_four_ways(
      {host_with([](Script& script) -> std::string {
         script.emit_event("Tick", "1");
         script.emit_event("Tick", "2");
         const std::string first = script.wait_for({"Tick"}).payload.bytes;
         const std::string second = script.wait_for({"Tick"}).payload.bytes;
         return first + second;
       }),
       [](World& world) { world.register_workflow("Story"); },
       [](World& world) { start_until_told(world, start_of("a")); },
       [](const World& world) { EXPECT_EQ(world.state(kTenant, "a").result.bytes, "12"); }});
}

// rule: 7
TEST(Stories, WhatIsLeftAtTheEndIsDiscarded) {
  tell_four_ways({host_with([](Script& script) -> std::string {
                    script.wait_for({"End"});
                    return "true";
                  }),
                  [](World& world) { world.register_workflow("Story"); },
                  [](World& world) {
                    start_until_told(world, start_of("a"));
                    submit_until_told(world, event_of("a", "Other", "1", "k1"));
                    submit_until_told(world, event_of("a", "Other", "2", "k2"), true);
                    submit_until_told(world, event_of("a", "End", "3", "k3"));
                  },
                  [](const World& world) {
                    int discarded = 0;
                    for (const HistoryEvent& event : world.history(kTenant, "a")) {
                      discarded += event.type == EventType::event_discarded ? 1 : 0;
                    }
                    EXPECT_EQ(discarded, 2);
                  }});
}

// rules: 1, 2
TEST(Stories, LogLinesComeOnceAndNotOnReplay) {
  const auto make_host = host_with([](Script& script) -> std::string {
    script.log("begun");
    script.wait_for({"Go"});
    script.log("going");
    return "true";
  });
  WorldOptions options;
  options.limits.executions_cached_max = 0;
  World world(options, make_host);
  world.register_workflow("Story");
  start_until_told(world, start_of("a"));
  submit_until_told(world, event_of("a", "Go", "1", "k"));
  ASSERT_EQ(world.logs().size(), 2U);
  EXPECT_EQ(world.logs()[0].message, "begun");
  EXPECT_EQ(world.logs()[1].message, "going");
}

// ---- the helper itself

class PlantedFaults : public ::testing::Test {
 protected:
  PlantedFaults() : world_({}, make_host_) {
    world_.register_workflow("Story");
    world_.register_action("echo", echo);
    start_until_told(world_, start_of("a"));
    submit_until_told(world_, event_of("a", "Go", "{}", "k"));
    world_.run_out();
    history_ = world_.history(kTenant, "a");
    record_ = world_.data().executions.begin()->second.record;
  }

  std::optional<std::string> misfit() const { return find_misfit(make_host_, record_, history_); }

  // The first record of that type.
  std::size_t index_of(const EventType type) const {
    for (std::size_t index = 0; index < history_.size(); ++index) {
      if (history_[index].type == type) return index;
    }
    throw std::logic_error("the history has no such record");
  }
  void number_anew() {
    for (std::size_t index = 0; index < history_.size(); ++index) {
      history_[index].sequence = static_cast<std::int64_t>(index) + 1;
    }
  }

  const World::HostMaker make_host_ = host_with([](Script& script) -> std::string {
    script.set_state("begun");
    const Position left = script.start_action("echo", "1");
    const Position right = script.start_action("echo", "2");
    script.action(left);
    script.set_state("left");
    script.action(right);
    script.set_state("right");
    script.wait_for({"Go"});
    return "true";
  });
  World world_;
  std::vector<HistoryEvent> history_;
  ExecutionRecord record_;
};

TEST_F(PlantedFaults, NoneIsFoundWhereNoneIs) { EXPECT_FALSE(misfit()); }

TEST_F(PlantedFaults, ASkippedRecordIsFound) {
  for (std::size_t index = 0; index < history_.size(); ++index) {
    const std::vector<HistoryEvent> whole = history_;
    history_.erase(history_.begin() + static_cast<std::ptrdiff_t>(index));
    number_anew();
    // Without its last record alone a history is simply shorter, if that record is an activation.
    const bool prefix = index + 1 == whole.size() && whole[index - 1].ends_activation;
    EXPECT_EQ(misfit().has_value(), !prefix) << "record " << index + 1;
    history_ = whole;
  }
}

TEST_F(PlantedFaults, ASwappedOrderOfCommandsIsFound) {
  const std::size_t scheduled = index_of(EventType::action_scheduled);
  std::swap(history_[scheduled], history_[scheduled + 1]);
  number_anew();
  EXPECT_TRUE(misfit());
}

TEST_F(PlantedFaults, AResultDeliveredTwiceIsFound) {
  const std::size_t completed = index_of(EventType::action_completed);
  history_.insert(history_.begin() + static_cast<std::ptrdiff_t>(completed), history_[completed]);
  number_anew();
  EXPECT_TRUE(misfit());
}

TEST_F(PlantedFaults, AMovedBoundaryIsFound) {
  int moved = 0;
  for (std::size_t index = 0; index < history_.size(); ++index) {
    const std::vector<HistoryEvent> whole = history_;
    history_[index].ends_activation = !history_[index].ends_activation;
    const auto found = misfit();
    // Whether the mark is lost or one too many, the code no longer does what the history says.
    EXPECT_TRUE(found) << "record " << index + 1;
    ++moved;
    history_ = whole;
  }
  EXPECT_GT(moved, 5);
}

TEST_F(PlantedFaults, AnotherResultIsFound) {
  const std::size_t changed = index_of(EventType::state_changed);
  history_[changed].name = "other";
  EXPECT_TRUE(misfit());
}

}  // namespace
}  // namespace pawl::testing
