#include "runtime/lent_work_codec.h"

#include <gtest/gtest.h>

namespace pawl {
namespace {

template <class T>
T sent(T work) {
  const auto read = decode_lent_work(encode_lent_work({std::move(work)}));
  EXPECT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->size(), 1U);
  return std::get<T>(read->front());
}

TEST(LentWorkCodec, CodeIsAskedForWithAllThatHappened) {
  RunCode asked;
  asked.instance = 7;
  asked.activation.execution = (std::int64_t{1023} << 43) | 5;
  asked.activation.now = 1'700'000'000'000;
  asked.activation.sequence = 12;
  asked.activation.replaying = true;
  asked.activation.execution_id = "order-1";
  asked.activation.generation = 2;
  asked.activation.patches = {"tax", "fee"};
  StartJob start;
  start.tenant = "acme";
  start.workflow = "Order";
  start.version = "1.0.0";
  start.input = Payload::json("{\"text\":\"\u00e4\\u0000\"}");
  start.seed = 0xFFFF'FFFF'FFFF'FFFF;
  start.first_position = 3;
  Failure failure;
  failure.name = "CardError";
  failure.causes.emplace_back().message = "no funds";
  failure.failure_class = FailureClass::external;
  asked.activation.jobs = {start,
                           EventJob{4, {"e1", "Go", Payload::json("1"), "ann", 5, 6}},
                           WaitTimedOutJob{5},
                           TimerJob{6},
                           ActionJob{7, failure},
                           CancelJob{"enough", true},
                           ChildJob{8, Payload{}}};
  asked.activation.offers = {EventOffer{9, {"e2", "Stop", {}, "", 7, 8}}};
  const RunCode read = sent(asked);
  EXPECT_EQ(read.instance, 7U);
  EXPECT_EQ(read.activation.execution, asked.activation.execution);
  EXPECT_TRUE(read.activation.replaying);
  EXPECT_EQ(read.activation.patches, asked.activation.patches);
  EXPECT_EQ(read.activation.execution_id, "order-1");
  EXPECT_EQ(read.activation.generation, 2);
  ASSERT_EQ(read.activation.jobs.size(), 7U);
  const auto& began = std::get<StartJob>(read.activation.jobs[0]);
  EXPECT_EQ(began.seed, start.seed);
  EXPECT_EQ(began.input, start.input);
  EXPECT_EQ(began.first_position, 3);
  EXPECT_EQ(std::get<EventJob>(read.activation.jobs[1]).event.user_id, "ann");
  EXPECT_EQ(std::get<Failure>(std::get<ActionJob>(read.activation.jobs[4]).outcome), failure);
  EXPECT_TRUE(std::get<CancelJob>(read.activation.jobs[5]).keeps_children);
  EXPECT_TRUE(std::get<Payload>(std::get<ChildJob>(read.activation.jobs[6]).outcome).is_none());
  ASSERT_EQ(read.activation.offers.size(), 1U);
  EXPECT_EQ(read.activation.offers[0].event.name, "Stop");
}

TEST(LentWorkCodec, CommandsComeBackInTheirOrder) {
  CodeRan ran;
  ran.instance = 1;
  ran.result.execution = 5;
  ran.result.sequence = 6;
  ScheduleActionCommand action{1, "charge", Payload::json("{}"), {}};
  action.options.retry = RetryPolicy{2, 10, 1.5, 100, 0.0, {"CardError"}};
  action.options.timeout = 5'000;
  action.options.in_place = true;
  StartGraphCommand graph;
  graph.position = 2;
  graph.actions.push_back(
      {"a", "charge", {}, {}, {"b"}, "g", "s", ErrorStrategy::compensate, 3, {{"refund", {}, {}}}});
  ran.result.commands = {
      action,
      WaitCommand{3, {"Go", "Stop"}, 1'000, true},
      WithdrawCommand{3},
      StartTimerCommand{4, 50},
      SetStateCommand{"done"},
      SetDataCommand{"key", Payload::json("1")},
      EmitCommand{"Told", {}, "other"},
      LogCommand{LogLevel::warn, "hm", Payload::json("[1]")},
      FailCommand{},
      CancelCommand{},
      PatchedCommand{"tax"},
      StartChildCommand{5, "Leaf", "", "child", {}, "ann", "c", ParentClose::abandon},
      CancelChildCommand{5},
      ContinueAsNewCommand{Payload::json("2")},
      graph,
      CompleteCommand{Payload::json("3")}};
  ran.result.sites = {"order.cc:1:2", "order.cc:3:4"};
  ran.result.taken = 2;
  const CodeRan read = sent(ran);
  ASSERT_EQ(read.result.commands.size(), ran.result.commands.size());
  for (std::size_t at = 0; at < ran.result.commands.size(); ++at) {
    EXPECT_EQ(read.result.commands[at].index(), ran.result.commands[at].index());
  }
  EXPECT_EQ(std::get<ScheduleActionCommand>(read.result.commands[0]).options, action.options);
  EXPECT_EQ(std::get<WaitCommand>(read.result.commands[1]).timeout, 1'000);
  const auto& drawn = std::get<StartGraphCommand>(read.result.commands[14]);
  EXPECT_EQ(drawn.actions.at(0).on_error, ErrorStrategy::compensate);
  EXPECT_EQ(drawn.actions.at(0).compensations.at(0).name, "refund");
  EXPECT_EQ(read.result.sites, ran.result.sites);
  EXPECT_EQ(read.result.taken, 2U);
  EXPECT_FALSE(read.result.violation);
  EXPECT_FALSE(read.result.lost);
}

TEST(LentWorkCodec, AttemptsAndWhatBecomesOfThem) {
  RunAttempt run;
  run.task.id = 9;
  run.task.name = "charge";
  run.task.seed = 0xF000'0000'0000'0001;
  run.task.heartbeat_timeout = 7;
  run.task.partition = 3;
  run.task.epoch = 44;
  const RunAttempt read = sent(run);
  EXPECT_EQ(read.task.id, 9);
  EXPECT_EQ(read.task.seed, run.task.seed);
  EXPECT_EQ(read.task.epoch, 44);
  EXPECT_EQ(std::get<Payload>(sent(AttemptEnded{9, Payload::json("1")}).outcome),
            Payload::json("1"));
  EXPECT_FALSE(sent(AttemptEnded{9, Payload{}, false, false}).begun);
  EXPECT_EQ(sent(AttemptAlive{9, Payload::json("0.5")}).progress, Payload::json("0.5"));
}

TEST(LentWorkCodec, WhatIsCutOffIsRefused) {
  const std::string whole = encode_lent_work({AttemptAlive{9, Payload::json("0.5")}, AllLost{}});
  for (std::size_t length = 0; length < whole.size(); ++length) {
    const auto read = decode_lent_work(std::string_view(whole).substr(0, length));
    ASSERT_FALSE(read) << length;
    EXPECT_EQ(read.error().code, ErrorCode::internal);
  }
}

TEST(LentWorkCodec, AnOfferIsReadable) {
  WorkOffer offer;
  offer.workflows = {{"Order", "1.0.0", "a1"}, {"Order", "2.0.0", ""}};
  offer.actions = {{"charge", {}}, {"send_mail", {}}};
  offer.actions[1].options.timeout = 500;
  const std::string text = encode_offer(offer);
  EXPECT_EQ(text, R"({"layout":1,"workflows":[{"name":"Order","version":"1.0.0","build":"a1"},)"
                  R"({"name":"Order","version":"2.0.0"}],"actions":[{"name":"charge"},)"
                  R"({"name":"send_mail","options":{"timeout":500}}]})");
  EXPECT_EQ(decode_offer(text).value(), offer);
  EXPECT_EQ(decode_offer(R"({"layout":2,"workflows":7})").value(), WorkOffer{});
  EXPECT_FALSE(decode_offer("{\"layout\":1"));
}

}  // namespace
}  // namespace pawl
