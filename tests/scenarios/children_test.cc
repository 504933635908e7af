// Executions that start others, told four ways: what a parent gets of a child, what becomes of a child
// whose parent ends, and what operators do to either.

#include <gtest/gtest.h>

#include <algorithm>

#include "core/time_travel.h"
#include "tests/support/four_ways.h"
#include "tests/support/story_parts.h"

namespace pawl::testing {
namespace {

using Functions = std::map<std::string, ScriptFunction>;

World::HostMaker family(Functions functions) {
  return [functions = std::move(functions)] {
    auto host = std::make_unique<ScriptHost>();
    for (const auto& [name, function] : functions) host->define(name, function);
    return host;
  };
}

void register_family(World& world) {
  world.register_workflow("Parent");
  world.register_workflow("Child");
  world.register_action("echo", echo);
}

StartRequest parent_of(const std::string& id) {
  StartRequest request = start_of(id);
  request.workflow = "Parent";
  return request;
}

std::string outcome_text(const std::variant<Payload, Failure>& outcome) {
  if (const auto* const failure = std::get_if<Failure>(&outcome)) {
    std::string text = failure->code;
    for (const Failure& cause : failure->causes) text += " < " + cause.message;
    return '"' + text + '"';
  }
  return std::get<Payload>(outcome).bytes;
}

std::string asks_one(Script& script) {
  return outcome_text(script.action(script.start_child("Child", "{\"n\":1}")));
}

std::string works(Script& script) {
  script.set_state("working");
  return script.run("echo", script.started().input.bytes);
}

int count(const std::vector<HistoryEvent>& history, const EventType type) {
  return static_cast<int>(std::count_if(history.begin(), history.end(),
                                        [&](const auto& event) { return event.type == type; }));
}

// rule: 23
TEST(Children, AChildHasAnIdOfItsParentsAndAPositionAndItsResultComesBack) {
  tell_four_ways({family({{"Parent", asks_one}, {"Child", works}}), register_family,
                  [](World& world) { start_until_told(world, parent_of("p")); },
                  [](const World& world) {
                    EXPECT_EQ(world.state(kTenant, "p").result.bytes, "{\"n\":1}");
                    EXPECT_EQ(world.state(kTenant, "p/1").status, "completed");
                    EXPECT_EQ(count(world.history(kTenant, "p"), EventType::child_completed), 1);
                  }});
}

// rule: 23
TEST(Children, AFailureOfAChildIsAChildFailedErrorWithItsCause) {
  tell_four_ways({family({{"Parent", asks_one},
                          {"Child",
                           [](Script&) -> std::string {
                             throw Failure{.name = "Broken", .message = "no stock"};
                           }}}),
                  register_family, [](World& world) { start_until_told(world, parent_of("p")); },
                  [](const World& world) {
                    EXPECT_EQ(world.state(kTenant, "p").result.bytes,
                              "\"child_failed < no stock\"");
                    EXPECT_EQ(world.state(kTenant, "p/1").status, "failed");
                  }});
}

TEST(Children, ManyRunSideBySide) {
  tell_four_ways(
      {family({{"Parent",
                [](Script& script) {
                  std::vector<Position> children;
                  for (int n = 0; n < 3; ++n) {
                    children.push_back(script.start_child("Child", std::to_string(n)));
                  }
                  std::string all;
                  for (const Position child : children) {
                    all += outcome_text(script.action(child));
                  }
                  return all;
                }},
               {"Child", works}}),
       register_family, [](World& world) { start_until_told(world, parent_of("p")); },
       [](const World& world) { EXPECT_EQ(world.state(kTenant, "p").result.bytes, "012"); }});
}

// A parent that ends while its children wait for events.
World::HostMaker parent_that_leaves(const ParentClose close) {
  return family({{"Parent",
                  [close](Script& script) {
                    script.start_child("Child", "1", close);
                    script.wait_for({"End"});
                    return std::string("\"left\"");
                  }},
                 {"Child", [](Script& script) {
                    script.wait_for({"Go"});
                    return std::string("\"gone\"");
                  }}});
}

// rule: 23
TEST(Children, WhenTheParentEndsTheyAreCancelled) {
  tell_four_ways({parent_that_leaves(ParentClose::cancel), register_family,
                  [](World& world) {
                    start_until_told(world, parent_of("p"));
                    submit_until_told(world, event_of("p", "End", "k"));
                  },
                  [](const World& world) {
                    EXPECT_EQ(world.state(kTenant, "p").status, "completed");
                    EXPECT_EQ(world.state(kTenant, "p/1").status, "cancelled");
                  }});
}

// rule: 23
TEST(Children, TheyAreTerminatedOrLeftAloneWhereTheParentSaidSo) {
  tell_four_ways(
      {parent_that_leaves(ParentClose::terminate), register_family,
       [](World& world) {
         start_until_told(world, parent_of("p"));
         submit_until_told(world, event_of("p", "End", "k"));
       },
       [](const World& world) { EXPECT_EQ(world.state(kTenant, "p/1").status, "terminated"); }});
  tell_four_ways({parent_that_leaves(ParentClose::abandon), register_family,
                  [](World& world) {
                    start_until_told(world, parent_of("p"));
                    submit_until_told(world, event_of("p", "End", "k"));
                    world.advance(1'000);
                    submit_until_told(world, event_of("p/1", "Go", "k"));
                  },
                  [](const World& world) {
                    EXPECT_EQ(world.state(kTenant, "p/1").result.bytes, "\"gone\"");
                  }});
}

TEST(Children, CancellingTheParentCancelsThem) {
  tell_four_ways({family({{"Parent", asks_one},
                          {"Child",
                           [](Script& script) {
                             script.wait_for({"Go"});
                             return std::string("1");
                           }}}),
                  register_family,
                  [](World& world) {
                    start_until_told(world, parent_of("p"));
                    control_until_told(world, ControlVerb::cancel, "p");
                  },
                  [](const World& world) {
                    EXPECT_EQ(world.state(kTenant, "p").status, "completed")
                        << "the code takes the rejection for an outcome";
                    EXPECT_EQ(world.state(kTenant, "p/1").status, "cancelled");
                  }});
}

// A child that takes its time to end: it runs an action when it is cancelled.
std::string tidies_up(Script& script) {
  try {
    script.wait_for({"Go"});
  } catch (const Failure& cancelled) {
    if (script.run("echo", "\"tidied\"") != "\"tidied\"") return "1";
    throw cancelled;
  }
  return "1";
}

// rule: 23
TEST(Children, ACancelledParentHearsHowTheyEnd) {
  tell_four_ways({family({{"Parent",
                           [](Script& script) {
                             const Position child = script.start_child("Child", "1");
                             const std::string first = outcome_text(script.action(child));
                             return first + outcome_text(script.action_again(child));
                           }},
                          {"Child", tidies_up}}),
                  register_family,
                  [](World& world) {
                    start_until_told(world, parent_of("p"));
                    control_until_told(world, ControlVerb::cancel, "p", "enough");
                  },
                  [](const World& world) {
                    EXPECT_EQ(world.state(kTenant, "p/1").status, "cancelled");
                    EXPECT_EQ(world.state(kTenant, "p").result.bytes.substr(0, 29),
                              "\"cancelled\"\"child_cancelled <");
                    EXPECT_EQ(count(world.history(kTenant, "p"), EventType::child_failed), 1);
                    EXPECT_EQ(count(world.history(kTenant, "p/1"), EventType::cancel_requested), 1);
                  }});
}

// rule: 23
TEST(Children, ACancelledParentStillEndsOneThatItAbandons) {
  tell_four_ways(
      {family({{"Parent",
                [](Script& script) {
                  const Position child = script.start_child("Child", "1", ParentClose::abandon);
                  script.action(child);
                  script.set_state("told");
                  script.wait_for({"Enough"});
                  script.cancel_child(child);
                  return outcome_text(script.action_again(child));
                }},
               {"Child", tidies_up}}),
       register_family,
       [](World& world) {
         start_until_told(world, parent_of("p"));
         control_until_told(world, ControlVerb::cancel, "p");
         world.advance(1'000);
         EXPECT_EQ(world.state(kTenant, "p/1").status, "running");
         submit_until_told(world, event_of("p", "Enough", "k"));
       },
       [](const World& world) {
         EXPECT_EQ(world.state(kTenant, "p/1").status, "cancelled");
         EXPECT_EQ(world.state(kTenant, "p").result.bytes.substr(0, 16), "\"child_cancelled");
       }});
}

// rule: 23
TEST(Children, ACancelledParentNeedNotWaitForThemAndTellsThemOnce) {
  tell_four_ways({family({{"Parent",
                           [](Script& script) {
                             script.action(script.start_child("Child", "1"));
                             script.run("echo", "1");
                             script.wait_for({"Enough"});
                             return std::string("2");
                           }},
                          {"Child",
                           [](Script& script) {
                             try {
                               script.wait_for({"Go"});
                             } catch (const Failure&) {
                               script.set_state("told");
                             }
                             script.wait_for({"Go"});
                             return std::string("3");
                           }}}),
                  register_family,
                  [](World& world) {
                    start_until_told(world, parent_of("p"));
                    control_until_told(world, ControlVerb::cancel, "p");
                    submit_until_told(world, event_of("p", "Enough", "k"));
                    world.advance(1'000);
                    submit_until_told(world, event_of("p/1", "Go", "k"));
                  },
                  [](const World& world) {
                    EXPECT_EQ(world.state(kTenant, "p").result.bytes, "2");
                    EXPECT_EQ(world.state(kTenant, "p/1").result.bytes, "3");
                    const auto& inbox = world.data().inbox;
                    EXPECT_EQ(std::count_if(inbox.begin(), inbox.end(),
                                            [](const auto& entry) {
                                              return entry.second.kind == InboxKind::cancel;
                                            }),
                              1);
                  }});
}

TEST(Children, TheParentCancelsOneAndHearsHowItEnded) {
  tell_four_ways({family({{"Parent",
                           [](Script& script) {
                             const Position child = script.start_child("Child", "1");
                             script.wait_for({"Enough"});
                             script.cancel_child(child);
                             return outcome_text(script.action(child));
                           }},
                          {"Child",
                           [](Script& script) {
                             script.wait_for({"Go"});
                             return std::string("1");
                           }}}),
                  register_family,
                  [](World& world) {
                    start_until_told(world, parent_of("p"));
                    submit_until_told(world, event_of("p", "Enough", "k"));
                  },
                  [](const World& world) {
                    EXPECT_EQ(world.state(kTenant, "p/1").status, "cancelled");
                    EXPECT_EQ(world.state(kTenant, "p").result.bytes.substr(0, 16),
                              "\"child_cancelled");
                  }});
}

TEST(Children, ATerminatedChildIsHeardOf) {
  tell_four_ways({family({{"Parent", asks_one},
                          {"Child",
                           [](Script& script) {
                             script.wait_for({"Go"});
                             return std::string("1");
                           }}}),
                  register_family,
                  [](World& world) {
                    start_until_told(world, parent_of("p"));
                    world.advance(1);
                    control_until_told(world, ControlVerb::terminate, "p/1");
                  },
                  [](const World& world) {
                    EXPECT_EQ(world.state(kTenant, "p").result.bytes.substr(0, 17),
                              "\"child_terminated");
                  }});
}

TEST(Children, AChildUnderAnIdThatIsTakenFails) {
  tell_four_ways({family({{"Parent",
                           [](Script& script) {
                             return outcome_text(script.action(
                                 script.start_child("Child", "1", ParentClose::cancel, "taken")));
                           }},
                          {"Child",
                           [](Script& script) {
                             script.wait_for({"Go"});
                             return std::string("1");
                           }}}),
                  register_family,
                  [](World& world) {
                    StartRequest other = start_of("taken", "1");
                    other.workflow = "Child";
                    start_until_told(world, other);
                    start_until_told(world, parent_of("p"));
                    submit_until_told(world, event_of("taken", "Go", "k"));
                  },
                  [](const World& world) {
                    EXPECT_NE(world.state(kTenant, "p").result.bytes.find("already"),
                              std::string::npos);
                    EXPECT_EQ(world.state(kTenant, "taken").status, "completed");
                  }});
}

TEST(Children, AStrangerUnderTheIdOfAChildIsLeftAlone) {
  for (const ParentClose close : {ParentClose::cancel, ParentClose::terminate}) {
    tell_four_ways(
        {family({{"Parent",
                  [close](Script& script) {
                    script.cancel_child(script.start_child("Child", "9", close, "own"));
                    return std::string("1");
                  }},
                 {"Child",
                  [](Script& script) {
                    script.wait_for({"Go"});
                    return std::string("1");
                  }}}),
         register_family,
         [](World& world) {
           StartRequest other = start_of("own", "1");
           other.workflow = "Child";
           start_until_told(world, other);
           start_until_told(world, parent_of("p"));
           world.advance(1'000);
           submit_until_told(world, event_of("own", "Go", "k"));
         },
         [](const World& world) { EXPECT_EQ(world.state(kTenant, "own").status, "completed"); }});
  }
}

// rule: 21
TEST(Children, OneWhoseWorkflowNobodyHasIsSeenAndWaitsUntilSomebodyDoes) {
  tell_four_ways({family({{"Parent", asks_one}, {"Child", works}}),
                  [](World& world) {
                    world.register_workflow("Parent");
                    world.register_action("echo", echo);
                  },
                  [](World& world) {
                    start_until_told(world, parent_of("p"));
                    world.advance(1'000);
                    EXPECT_EQ(world.state(kTenant, "p/1").status, "running");
                    EXPECT_EQ(world.state(kTenant, "p/1").condition, "no_worker");
                    EXPECT_EQ(world.state(kTenant, "p/1").condition_detail, "Child");
                    EXPECT_EQ(world.state(kTenant, "p/1").version, "") << "it has none yet";
                    world.register_workflow("Child", "3.0.0");
                    world.advance(1'000);
                    world.register_workflow("Child", "4.0.0");
                  },
                  [](const World& world) {
                    EXPECT_EQ(world.state(kTenant, "p").result.bytes, "{\"n\":1}");
                    EXPECT_EQ(world.state(kTenant, "p/1").version, "3.0.0")
                        << "the highest there was";
                    EXPECT_EQ(world.state(kTenant, "p/1").condition, "");
                  }});
}

// rule: 22
TEST(Children, OneWhoseWorkflowNobodyHasIsEndedWithItsParentAndByOperators) {
  for (const ControlVerb verb : {ControlVerb::cancel, ControlVerb::terminate}) {
    for (const std::string id : {"p", "p/1"}) {
      tell_four_ways(
          {family({{"Parent", asks_one}}), [](World& world) { world.register_workflow("Parent"); },
           [&](World& world) {
             start_until_told(world, parent_of("p"));
             world.advance(1'000);
             control_until_told(world, verb, id);
             world.advance(1'000);
           },
           [&](const World& world) {
             const bool cancelled = verb == ControlVerb::cancel || id == "p";
             EXPECT_EQ(world.state(kTenant, "p/1").status, cancelled ? "cancelled" : "terminated");
             EXPECT_NE(world.state(kTenant, "p").status, "running");
             EXPECT_EQ(count(world.history(kTenant, "p/1"), EventType::execution_started), 0);
           }});
    }
  }
}

TEST(Children, ARetryOfTheParentTriesTheChildThatFailedAgain) {
  tell_four_ways(
      {family({{"Parent",
                [](Script& script) {
                  auto outcome = script.action(script.start_child("Child", "1"));
                  if (auto* const failure = std::get_if<Failure>(&outcome)) throw *failure;
                  return std::get<Payload>(outcome).bytes;
                }},
               {"Child", [](Script& script) { return script.run("once", "{}"); }}}),
       [](World& world) {
         world.register_workflow("Parent");
         world.register_workflow("Child");
         // Its first generation fails, whatever is crashed in between.
         world.register_action(
             "once", [](const ActionTask& task) -> std::optional<std::variant<Payload, Failure>> {
               const auto colons =
                   std::count(task.idempotency_key.begin(), task.idempotency_key.end(), ':');
               if (colons > 2) return Payload::json("\"second\"");
               Failure failure{.name = "Broken", .message = "the first time"};
               failure.failure_class = FailureClass::permanent;
               return failure;
             });
       },
       [](World& world) {
         start_until_told(world, parent_of("p"));
         world.advance(10'000);
         control_until_told(world, ControlVerb::retry, "p");
       },
       [](const World& world) {
         EXPECT_EQ(world.state(kTenant, "p").result.bytes, "\"second\"");
         EXPECT_EQ(world.state(kTenant, "p/1").status, "completed");
       }});
}

// A parent that starts a child, under that id or a derived one, in the activation in which it fails.
World::HostMaker parent_that_fails_once(const std::string& id, const ParentClose close) {
  return family({{"Parent",
                  [id, close](Script& script) {
                    const auto outcome = script.action(script.start_action("once", "{}"));
                    const Position child = script.start_child("Child", "1", close, id);
                    if (const auto* const failure = std::get_if<Failure>(&outcome)) throw *failure;
                    return outcome_text(script.action(child));
                  }},
                 {"Child", [](Script& script) {
                    script.wait_for({"Go"});
                    return std::string("\"gone\"");
                  }}});
}

// Its first generation fails, whatever is crashed in between.
void register_family_and_once(World& world) {
  register_family(world);
  world.register_action(
      "once", [](const ActionTask& task) -> std::optional<std::variant<Payload, Failure>> {
        if (std::count(task.idempotency_key.begin(), task.idempotency_key.end(), ':') > 2) {
          return Payload::json("1");
        }
        Failure failure{.name = "Broken", .message = "the first time"};
        failure.failure_class = FailureClass::permanent;
        return failure;
      });
}

void fail_and_retry(World& world) {
  start_until_told(world, parent_of("p"));
  world.advance(10'000);
  control_until_told(world, ControlVerb::retry, "p");
  world.advance(10'000);
}

// rule: 23
TEST(Children, ARetryStartsOthersThanTheActivationThatFailedDid) {
  tell_four_ways({parent_that_fails_once({}, ParentClose::cancel), register_family_and_once,
                  [](World& world) {
                    fail_and_retry(world);
                    submit_until_told(world, event_of("p/2:1", "Go", "k"));
                  },
                  [](const World& world) {
                    EXPECT_EQ(world.state(kTenant, "p").result.bytes, "\"gone\"");
                    EXPECT_EQ(world.state(kTenant, "p/2").status, "cancelled");
                    EXPECT_EQ(world.state(kTenant, "p/2:1").status, "completed");
                  }});
}

// rule: 23
TEST(Children, ARetryFindsTheChildAgainThatItGaveAnId) {
  tell_four_ways(
      {parent_that_fails_once("mine", ParentClose::abandon), register_family_and_once,
       [](World& world) {
         fail_and_retry(world);
         submit_until_told(world, event_of("mine", "Go", "k"));
       },
       [](const World& world) { EXPECT_EQ(world.state(kTenant, "p").result.bytes, "\"gone\""); }});
  tell_four_ways(
      {parent_that_fails_once("mine", ParentClose::abandon), register_family_and_once,
       [](World& world) {
         start_until_told(world, parent_of("p"));
         world.advance(10'000);
         submit_until_told(world, event_of("mine", "Go", "k"));
         world.advance(10'000);
         control_until_told(world, ControlVerb::retry, "p");
       },
       [](const World& world) { EXPECT_EQ(world.state(kTenant, "p").result.bytes, "\"gone\""); }});
  tell_four_ways({parent_that_fails_once("mine", ParentClose::cancel), register_family_and_once,
                  fail_and_retry, [](const World& world) {
                    EXPECT_EQ(world.state(kTenant, "p").result.bytes.substr(0, 16),
                              "\"child_cancelled");
                  }});
}

// rule: 22
TEST(Children, AForkIsToldThatItsChildrenStayWithTheOriginal) {
  World world({}, family({{"Parent", asks_one}, {"Child", [](Script& script) {
                                                   script.wait_for({"Go"});
                                                   return std::string("1");
                                                 }}}));
  register_family(world);
  start_until_told(world, parent_of("p"));
  const auto forked = world.fork("p", "f");
  ASSERT_TRUE(forked && *forked) << (forked ? forked->error().message : "");
  ASSERT_EQ(world.state(kTenant, "f").status, "completed")
      << ::testing::PrintToString(types_of(world.history(kTenant, "f")))
      << (world.logs().empty() ? "" : world.logs().back().message);
  EXPECT_EQ(world.state(kTenant, "f").result.bytes, "\"child_left_behind\"");
  EXPECT_EQ(world.state(kTenant, "p/1").status, "running");
  submit_until_told(world, event_of("p/1", "Go", "k"));
  EXPECT_EQ(world.state(kTenant, "p").result.bytes, "1");
}

// ---- events to others

// rule: 11
TEST(EmitToOthers, TheEventIsDeliveredOnceThroughTheSendersCommit) {
  tell_four_ways({family({{"Parent",
                           [](Script& script) {
                             script.emit_event("Go", "{\"from\":\"p\"}", "c");
                             script.emit_event("Go", "2", "c");
                             return std::string("1");
                           }},
                          {"Child",
                           [](Script& script) {
                             const ReceivedEvent one = script.wait_for({"Go"});
                             const ReceivedEvent two = script.wait_for({"Go"});
                             script.set_state(one.id + " " + two.id);
                             return one.payload.bytes + two.payload.bytes;
                           }}}),
                  register_family,
                  [](World& world) {
                    StartRequest child = start_of("c");
                    child.workflow = "Child";
                    start_until_told(world, child);
                    start_until_told(world, parent_of("p"));
                  },
                  [](const World& world) {
                    EXPECT_EQ(world.state(kTenant, "c").result.bytes, "{\"from\":\"p\"}2");
                    EXPECT_EQ(world.state(kTenant, "c").current_state, "p/2 p/3");
                    for (const auto& [id, row] : world.data().inbox) {
                      EXPECT_NE(row.execution, 0) << "mail " << id << " is still there";
                    }
                  }});
}

// rule: 11
TEST(EmitToOthers, WhereThereIsNobodyAWarningSaysSo) {
  World world({}, family({{"Parent", [](Script& script) {
                             script.emit_event("Go", "1", "nobody");
                             return std::string("1");
                           }}}));
  world.register_workflow("Parent");
  start_until_told(world, parent_of("p"));
  EXPECT_EQ(world.state(kTenant, "p").status, "completed");
  ASSERT_EQ(world.logs().size(), 1U);
  EXPECT_NE(world.logs()[0].message.find("'nobody'"), std::string::npos);
  const auto& [id, row] = *world.data().inbox.rbegin();
  EXPECT_EQ(row.status, InboxStatus::failed);
}

// rule: 11
TEST(EmitToOthers, APausedExecutionGetsItWhenItIsResumed) {
  tell_four_ways(
      {family({{"Parent",
                [](Script& script) {
                  script.emit_event("Go", "1", "c");
                  return std::string("1");
                }},
               {"Child", [](Script& script) { return script.wait_for({"Go"}).payload.bytes; }}}),
       register_family,
       [](World& world) {
         StartRequest child = start_of("c");
         child.workflow = "Child";
         start_until_told(world, child);
         control_until_told(world, ControlVerb::pause, "c");
         start_until_told(world, parent_of("p"));
         world.advance(1'000);
         EXPECT_EQ(world.state(kTenant, "c").status, "paused");
         control_until_told(world, ControlVerb::resume, "c");
       },
       [](const World& world) { EXPECT_EQ(world.state(kTenant, "c").result.bytes, "1"); }});
}

// rule: 7
TEST(EmitToOthers, WhatWaitsTogetherHasItsTurnAsItWasAcceptedWhoeverSentIt) {
  tell_four_ways(
      {family({{"Parent",
                [](Script& script) {
                  script.emit_event("Go", script.started().input.bytes, "c");
                  return std::string("1");
                }},
               {"Child",
                [](Script& script) {
                  std::string taken;
                  for (int n = 0; n < 5; ++n) taken += script.wait_for({"Go"}).payload.bytes;
                  return taken;
                }}}),
       register_family,
       [](World& world) {
         StartRequest child = start_of("c");
         child.workflow = "Child";
         start_until_told(world, child);
         control_until_told(world, ControlVerb::pause, "c");
         for (int n = 1; n <= 5; ++n) {
           world.advance(10);
           const std::string number = std::to_string(n);
           if (n % 2 == 0) {
             submit_until_told(world, event_of("c", "Go", number, number), true);
           } else {
             StartRequest parent = parent_of("p" + number);
             parent.input = Payload::json(number);
             start_until_told(world, parent);
           }
         }
         world.advance(10);
         control_until_told(world, ControlVerb::resume, "c");
       },
       [](const World& world) { EXPECT_EQ(world.state(kTenant, "c").result.bytes, "12345"); }});
}

// ---- continue as new

std::string counts_to_three(Script& script) {
  const int n = std::stoi(script.started().input.bytes);
  script.set_state("run " + std::to_string(n));
  script.run("echo", std::to_string(n));
  const ReceivedEvent event = script.wait_for({"Next"});
  if (n < 3) script.continue_as_new(std::to_string(n + 1));
  return event.payload.bytes;
}

// rule: 23
TEST(ContinueAsNew, KeepsTheIdAndTheNumberingAndCarriesEventsOver) {
  tell_four_ways({family({{"Parent", counts_to_three}}), register_family,
                  [](World& world) {
                    StartRequest request = parent_of("p");
                    request.input = Payload::json("1");
                    start_until_told(world, request);
                    submit_until_told(world, event_of("p", "Next", "\"a\"", "a"), true);
                    submit_until_told(world, event_of("p", "Next", "\"b\"", "b"), true);
                    submit_until_told(world, event_of("p", "Next", "\"c\"", "c"), true);
                  },
                  [](const World& world) {
                    const ExecutionState state = world.state(kTenant, "p");
                    EXPECT_EQ(state.result.bytes, "\"c\"");
                    EXPECT_EQ(state.current_state, "run 3");
                    const auto& history = world.history(kTenant, "p");
                    EXPECT_EQ(count(history, EventType::continued_as_new), 2);
                    std::vector<Position> positions;
                    for (const HistoryEvent& event : history) {
                      if (event.type == EventType::action_scheduled) {
                        positions.push_back(event.position);
                      }
                    }
                    EXPECT_EQ(positions, (std::vector<Position>{1, 3, 5}))
                        << "so that no key of an action comes twice";
                  }});
}

// rule: 23
TEST(ContinueAsNew, TheDeadlineIsTheExecutions) {
  tell_four_ways({family({{"Parent",
                           [](Script& script) {
                             if (script.started().input.bytes == "1") script.continue_as_new("2");
                             script.wait_for({"End"});
                             return std::string("1");
                           }}}),
                  register_family,
                  [](World& world) {
                    StartRequest request = parent_of("p");
                    request.input = Payload::json("1");
                    request.deadline = 1'500'000;
                    start_until_told(world, request);
                    world.advance(1'000'000);
                  },
                  [](const World& world) {
                    EXPECT_EQ(world.state(kTenant, "p").status, "cancelled");
                    EXPECT_TRUE(world.data().timers.empty());
                  }});
}

TEST(ContinueAsNew, StateAndDataAreOfOneRunAtEveryPoint) {
  World world({}, family({{"Parent", [](Script& script) {
                             script.set_state("state of " + script.started().input.bytes);
                             if (script.started().input.bytes == "{\"n\":1}") {
                               script.continue_as_new("{\"n\":2}");
                             }
                             script.wait_for({"End"});
                             return std::string("1");
                           }}}));
  register_family(world);
  StartRequest request = parent_of("p");
  request.input = Payload::json("{\"n\":1}");
  start_until_told(world, request);
  const auto& stored = world.data().executions.at(world.data().by_id.at({kTenant, "p"}));
  for (std::int64_t at = 2; at <= static_cast<std::int64_t>(stored.history.size()); ++at) {
    const ExecutionState state = state_at(stored.record, stored.history, at).value();
    if (state.current_state == "initial") continue;
    EXPECT_EQ(state.current_state, "state of " + state.data.bytes) << at;
  }
}

// Code that always has something to do: an operator's call that comes in the middle has its turn.
TEST(ContinueAsNew, OperatorsAreHeardBetweenTheRounds) {
  bool asked = false;
  World* world_ptr = nullptr;
  World world({}, family({{"Parent", [&](Script& script) -> std::string {
                             if (!asked && world_ptr != nullptr) {
                               asked = true;
                               world_ptr->ask_for(ControlVerb::terminate, "p");
                             }
                             script.emit_event("Own", "1");
                             script.wait_for({"Own"});
                             script.continue_as_new("1");
                           }}}));
  register_family(world);
  world_ptr = &world;
  ASSERT_TRUE(world.start(parent_of("p")));
  EXPECT_EQ(world.state(kTenant, "p").status, "terminated");
}

TEST(ContinueAsNew, DropsTimersAndResetsData) {
  tell_four_ways(
      {family({{"Parent",
                [](Script& script) {
                  if (script.started().input.bytes == "{\"n\":1}") {
                    script.set_data("seen", "true");
                    script.start_sleep(1'000'000);
                    script.run("echo", "1");
                    script.continue_as_new("{\"n\":2}");
                  }
                  script.wait_for({"End"});
                  return std::string("1");
                }}}),
       register_family,
       [](World& world) {
         StartRequest request = parent_of("p");
         request.input = Payload::json("{\"n\":1}");
         start_until_told(world, request);
         world.advance(1'000);
         EXPECT_TRUE(world.data().timers.empty());
         EXPECT_EQ(world.state(kTenant, "p").data.bytes, "{\"n\":2}");
         submit_until_told(world, event_of("p", "End", "k"));
       },
       [](const World& world) { EXPECT_EQ(world.state(kTenant, "p").status, "completed"); }});
}

// ---- filters

std::string takes_even(Script& script) {
  std::string taken;
  for (int n = 0; n < 2; ++n) {
    const Position wait = script.start_filtered("Number", [](const ReceivedEvent& event) {
      return std::stoi(event.payload.bytes) % 2 == 0;
    });
    taken += script.event(wait)->payload.bytes;
  }
  return taken + script.wait_for({"Number"}).payload.bytes;
}

// rule: 7
TEST(Filters, AnEventThatAFilterRefusesStaysForOthers) {
  for (const bool before : {false, true}) {
    tell_four_ways({family({{"Parent",
                             [before](Script& script) {
                               if (before) script.wait_for({"Begin"});
                               return takes_even(script);
                             }}}),
                    register_family,
                    [&](World& world) {
                      start_until_told(world, parent_of("p"));
                      for (const char* const n : {"1", "2", "3", "4"}) {
                        submit_until_told(world, event_of("p", "Number", n, n));
                      }
                      if (before) submit_until_told(world, event_of("p", "Begin", "k"));
                    },
                    [](const World& world) {
                      EXPECT_EQ(world.state(kTenant, "p").result.bytes, "241");
                      EXPECT_EQ(count(world.history(kTenant, "p"), EventType::event_discarded), 1);
                    }});
  }
}

TEST(Filters, WhoSubmitsIsToldWhetherItWasTaken) {
  World world({}, family({{"Parent", takes_even}}));
  world.register_workflow("Parent");
  start_until_told(world, parent_of("p"));
  EXPECT_FALSE(submit_until_told(world, event_of("p", "Number", "1", "a")).consumed);
  EXPECT_EQ(world.state(kTenant, "p").condition, "waiting") << "nothing moves it by itself";
  EXPECT_TRUE(submit_until_told(world, event_of("p", "Number", "2", "b")).consumed);
  EXPECT_EQ(world.state(kTenant, "p").condition, "waiting");
}

// rule: 7
TEST(Filters, AWaitBehindOneThatRefusesGetsTheEvent) {
  tell_four_ways(
      {family({{"Parent",
                [](Script& script) {
                  const Position big =
                      script.start_filtered("Number", [](const ReceivedEvent& event) {
                        return std::stoi(event.payload.bytes) > 10;
                      });
                  const Position any = script.start_wait({"Number"});
                  const std::string first = script.event(any)->payload.bytes;
                  return first + "," + script.event(big)->payload.bytes;
                }}}),
       register_family,
       [](World& world) {
         start_until_told(world, parent_of("p"));
         submit_until_told(world, event_of("p", "Number", "1", "a"));
         submit_until_told(world, event_of("p", "Number", "11", "b"));
       },
       [](const World& world) { EXPECT_EQ(world.state(kTenant, "p").result.bytes, "1,11"); }});
}

}  // namespace
}  // namespace pawl::testing
