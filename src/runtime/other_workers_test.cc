#include "runtime/other_workers.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <utility>

#include "runtime/lent_work_codec.h"

namespace pawl {
namespace {

class OtherWorkersTest : public ::testing::Test {
 protected:
  std::vector<std::string> see(const std::vector<Peer>& peers) { return workers_.see(peers, true); }
  // What was posted to the shard since, and sent to the workers.
  std::vector<Input> posted() {
    std::vector<Input> inputs;
    if (!mailbox_->is_empty()) mailbox_->take(inputs, std::nullopt);
    return inputs;
  }
  std::vector<LentWork> sent_to(const std::string& worker) {
    return std::exchange(sent_[worker], {});
  }

  static Peer peer(const std::string& worker, const std::vector<std::string>& actions,
                   const std::vector<std::string>& workflows = {}, const std::string& build = "") {
    WorkOffer offer;
    for (const std::string& name : actions) offer.actions.push_back({name, {}});
    for (const std::string& name : workflows) offer.workflows.push_back({name, "1.0.0", build});
    return {worker, encode_offer(offer)};
  }
  static ActionTask task(const AttemptId id, const ExecutionRef execution = 7) {
    ActionTask made;
    made.id = id;
    made.execution = execution;
    made.position = 1;
    made.name = "charge";
    return made;
  }
  static Activation first_activation() {
    Activation activation;
    activation.execution = 7;
    activation.sequence = 1;
    StartJob start;
    start.workflow = "Order";
    start.version = "1.0.0";
    activation.jobs.emplace_back(std::move(start));
    return activation;
  }
  static CodeRan ran(const LentInstance instance, const std::int64_t sequence,
                     std::vector<Command> commands = {}) {
    CodeRan answer{instance, {}};
    answer.result.execution = 7;
    answer.result.sequence = sequence;
    answer.result.commands = std::move(commands);
    return answer;
  }

  const std::shared_ptr<Mailbox> mailbox_ = std::make_shared<Mailbox>();
  std::map<std::string, std::vector<LentWork>> sent_;
  std::string refused_;
  // Attempts whose writes somebody else may commit.
  std::set<AttemptId> may_commit_;
  OtherWorkers workers_{
      mailbox_,
      {[this](const std::vector<Parcel>& parcels) {
         for (const Parcel& parcel : parcels) {
           for (LentWork& work : decode_lent_work(parcel.body).value()) {
             sent_[parcel.worker].push_back(std::move(work));
           }
         }
       },
       [this](const std::string& worker, const std::string&) { refused_ = worker; },
       [this](const ActionTask& lent) { may_commit_.insert(lent.id); },
       [this](const ActionTask& answered) { may_commit_.erase(answered.id); }}};
};

TEST_F(OtherWorkersTest, WhatTheyHaveIsRegisteredOnceAndWithdrawnWithTheLast) {
  EXPECT_TRUE(see({peer("w1", {"charge"}, {"Order"}), peer("w2", {"charge"})}).empty());
  std::vector<Input> told = posted();
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(std::get<WorkflowRegistered>(told[0]).host, kOtherWorkers);
  EXPECT_EQ(std::get<ActionRegistered>(told[1]).host, kOtherWorkers);
  see({peer("w1", {"charge"}, {"Order"}), peer("w2", {"charge"})});
  EXPECT_TRUE(posted().empty()) << "nothing has changed";
  EXPECT_EQ(see({peer("w2", {"charge"})}), std::vector<std::string>{"w1"});
  told = posted();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(std::get<WorkflowWithdrawn>(told[0]).name, "Order");
  see({{"w2", "{\"layout\":1"}});
  EXPECT_EQ(refused_, "w2") << "its offer can't be read";
  told = posted();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(std::get<ActionWithdrawn>(told[0]).name, "charge");
}

// What is stuck is tried again with code that may have been mended.
TEST_F(OtherWorkersTest, AnotherRegistrationIsTold) {
  see({peer("w1", {}, {"Order"}, "a")});
  posted();
  see({peer("w1", {}, {"Order"}, "b")});
  EXPECT_TRUE(std::holds_alternative<WorkflowRegistered>(posted().at(0)));
  see({peer("w1", {}, {"Order"}, "b"), peer("w2", {}, {"Order"}, "c")});
  EXPECT_TRUE(std::holds_alternative<WorkflowRegistered>(posted().at(0)));
  see({peer("w2", {}, {"Order"}, "c")});
  EXPECT_TRUE(posted().empty());
}

TEST_F(OtherWorkersTest, AnInstanceStaysWhereItWasBegun) {
  see({peer("w1", {}, {"Order"}), peer("w2", {}, {"Order"})});
  posted();
  workers_.activate({first_activation()}, mailbox_);
  const std::vector<LentWork> asked = sent_to("w1");
  ASSERT_EQ(asked.size(), 1U);
  const LentInstance instance = std::get<RunCode>(asked[0]).instance;
  EXPECT_EQ(workers_.owed(), 1U);
  workers_.take("w2", ran(instance, 1));
  EXPECT_TRUE(posted().empty()) << "it is not there";
  workers_.take("w1", ran(instance, 1));
  EXPECT_EQ(std::get<ActivationResult>(posted().at(0)).sequence, 1);
  Activation second;
  second.execution = 7;
  second.sequence = 4;
  workers_.activate({second}, mailbox_);
  EXPECT_EQ(sent_to("w1").size(), 1U);
  workers_.take("w1", ran(instance, 4, {CompleteCommand{}}));
  EXPECT_FALSE(std::get<ActivationResult>(posted().at(0)).lost);
  EXPECT_EQ(workers_.owed(), 0U);
  // It is at its end: nothing is left that could be asked.
  second.sequence = 5;
  workers_.activate({second}, mailbox_);
  EXPECT_TRUE(std::get<ActivationResult>(posted().at(0)).lost);
}

// Each activation is answered once, and who comes back is to forget.
TEST_F(OtherWorkersTest, WhoIsGoneOwesNothing) {
  see({peer("w1", {"charge"}, {"Order"})});
  posted();
  workers_.activate({first_activation()}, mailbox_);
  workers_.run({task(40)}, mailbox_);
  const LentInstance instance = std::get<RunCode>(sent_to("w1").at(0)).instance;
  see({});
  const std::vector<Input> told = posted();
  ASSERT_EQ(told.size(), 4U);
  EXPECT_TRUE(std::holds_alternative<WorkflowWithdrawn>(told[0]));
  EXPECT_TRUE(std::holds_alternative<ActionWithdrawn>(told[1]));
  EXPECT_TRUE(std::get<ActivationResult>(told[2]).lost);
  EXPECT_EQ(std::get<AttemptsGone>(told[3]).attempts.at(0).id, 40);
  const std::vector<LentWork> last = sent_to("w1");
  ASSERT_EQ(last.size(), 1U);
  EXPECT_TRUE(std::holds_alternative<AllLost>(last[0]));
  workers_.take("w1", ran(instance, 1));
  workers_.take("w1", AttemptEnded{40, Payload{}});
  EXPECT_TRUE(posted().empty());
  EXPECT_EQ(workers_.owed(), 0U);
}

TEST_F(OtherWorkersTest, AnAttemptGoesToOneThatTakesIt) {
  see({peer("w1", {"charge"}), peer("w2", {"charge"})});
  posted();
  workers_.run({task(40)}, mailbox_);
  ASSERT_EQ(sent_to("w1").size(), 1U);
  workers_.take("w1", AttemptEnded{40, Payload{}, false, false});
  EXPECT_TRUE(posted().empty());
  ASSERT_EQ(sent_to("w2").size(), 1U);
  workers_.take("w2", AttemptBegan{40});
  workers_.take("w2", AttemptAlive{40, Payload::json("1")});
  EXPECT_EQ(may_commit_, std::set<AttemptId>{40});
  workers_.take("w2", AttemptEnded{40, Payload::json("2")});
  EXPECT_TRUE(may_commit_.empty());
  const std::vector<Input> told = posted();
  ASSERT_EQ(told.size(), 3U);
  EXPECT_EQ(std::get<ActionBegun>(told[0]).execution, 7);
  EXPECT_EQ(std::get<ActionHeartbeat>(told[1]).progress, Payload::json("1"));
  EXPECT_EQ(std::get<Payload>(std::get<ActionOutcome>(told[2]).outcome), Payload::json("2"));
}

// Its handler is where its instance is, which that worker has not any more.
TEST_F(OtherWorkersTest, AnAttemptInPlaceThatIsRefusedHasItsInstanceBuiltAgain) {
  see({peer("w1", {std::string(kInPlaceAction)}, {"Order"})});
  posted();
  workers_.activate({first_activation()}, mailbox_);
  workers_.take("w1", ran(std::get<RunCode>(sent_to("w1").at(0)).instance, 1));
  posted();
  ActionTask in_place = task(40);
  in_place.in_place = true;
  workers_.run({in_place}, mailbox_);
  EXPECT_EQ(sent_to("w1").size(), 1U);
  workers_.take("w1", AttemptEnded{40, Payload{}, false, false});
  const std::vector<LentWork> sent = sent_to("w1");
  ASSERT_EQ(sent.size(), 1U) << "it is not asked again";
  EXPECT_TRUE(std::holds_alternative<DropInstance>(sent[0]));
  const std::vector<Input> told = posted();
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(std::get<InstancesGone>(told[0]).executions, std::vector<ExecutionRef>{7});
  EXPECT_EQ(std::get<AttemptsGone>(told[1]).attempts.at(0).id, 40);
}

// A worker that closes waits for what has begun, and for nothing else.
TEST_F(OtherWorkersTest, WhatHasNotBegunIsTakenBack) {
  see({peer("w1", {"charge"})});
  posted();
  workers_.run({task(40), task(41)}, mailbox_);
  workers_.take("w1", AttemptBegan{40});
  sent_to("w1");
  EXPECT_EQ(workers_.hold(), std::vector<AttemptId>{41});
  EXPECT_EQ(std::get<AbortAttempt>(sent_to("w1").at(0)).attempt, 41);
  EXPECT_TRUE(may_commit_.contains(41)) << "it may have begun since";
}

TEST_F(OtherWorkersTest, WhatWaitsComesBackWhenItIsRegisteredHere) {
  workers_.run({task(40, 0)}, mailbox_);
  EXPECT_TRUE(posted().empty());
  workers_.registered_here("refund");
  EXPECT_TRUE(posted().empty());
  workers_.registered_here("charge");
  EXPECT_EQ(std::get<AttemptsGone>(posted().at(0)).attempts.at(0).id, 40);
}

// Whoever is alone with it is asked again when it is looked around again; where nobody has it, the shard is told.
TEST_F(OtherWorkersTest, AnAttemptWaitsForOneThatTakesIt) {
  see({peer("w1", {"charge"})});
  posted();
  workers_.run({task(40)}, mailbox_);
  sent_to("w1");
  workers_.take("w1", AttemptEnded{40, Payload{}, false, false});
  EXPECT_TRUE(sent_to("w1").empty());
  see({peer("w1", {"charge"})});
  EXPECT_EQ(sent_to("w1").size(), 1U);
  workers_.take("w1", AttemptEnded{40, Payload{}, false, false});
  see({peer("w1", {})});
  const std::vector<Input> told = posted();
  ASSERT_EQ(told.size(), 2U);
  EXPECT_TRUE(std::holds_alternative<ActionWithdrawn>(told[0]));
  EXPECT_EQ(std::get<AttemptsGone>(told[1]).attempts.at(0).id, 40);
  // Outside of executions there is nothing that would show it: it waits here.
  workers_.run({task(41, 0)}, mailbox_);
  EXPECT_TRUE(posted().empty());
  see({peer("w1", {"charge"})});
  EXPECT_EQ(std::get<RunAttempt>(sent_to("w1").at(0)).task.id, 41);
  workers_.abort(41);
  EXPECT_TRUE(std::holds_alternative<AbortAttempt>(sent_to("w1").at(0)));
}

}  // namespace
}  // namespace pawl
