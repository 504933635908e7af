#include "pawl/builtin_actions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <future>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "pawl/pawl.h"
#include "tests/support/temporary_folder.h"

namespace builtin_shapes {

pawl::Workflow<std::string> listen(pawl::Context& ctx, pawl::Json input) {
  const auto hello = co_await ctx.wait_for("Hello");
  co_return input.dump().value() + " " + hello.payload.bytes;
}

// Starts another one, which is nobody's child.
pawl::Workflow<std::string> start(pawl::Context& ctx) {
  const std::vector<int> numbers{1, 2};
  const auto started = co_await ctx.run<pawl::actions::StartWorkflow>(
      {.workflow = "Echo", .input = pawl::to_json(numbers)});
  co_return started.value().executionId;
}

pawl::Workflow<std::string> echo(pawl::Context& ctx, std::optional<std::vector<int>> input) {
  if (input) co_return std::to_string(input->size()) + " numbers";
  const auto sent = co_await ctx.run<pawl::actions::SendNotification>(
      {.recipient = "ann", .message = "hello", .channel = "mail"});
  co_return sent ? sent->receipt.value().as_string()
                 : std::string(to_string(sent.error().failure_class)) + ": " + sent.error().message;
}

pawl::Workflow<std::int64_t> pause(pawl::Context& ctx, std::int64_t ms) {
  const auto waited =
      co_await ctx.run<pawl::actions::Wait>({.duration = std::chrono::milliseconds(ms)});
  co_return waited.value().waited;
}

}  // namespace builtin_shapes

namespace pawl {
namespace {

using namespace std::chrono_literals;
using namespace actions;
using testing::ElementsAre;
using testing::HasSubstr;

class BuiltinActionsTest : public testing::Test {
 protected:
  void SetUp() override { open(); }

  void open() {
    runtime_.reset();
    runtime_.emplace(WorkflowRuntime::open({.store = "sqlite:" + folder_.file("store.db"),
                                            .log =
                                                [this](const LogLine& line) {
                                                  const std::lock_guard lock(mutex_);
                                                  lines_.push_back(line);
                                                }})
                         .value());
    register_builtin_actions(*runtime_, builtins_).value();
    runtime_->register_workflow("Listen", &builtin_shapes::listen).value();
    runtime_->register_workflow("Start", &builtin_shapes::start).value();
    runtime_->register_workflow("Echo", &builtin_shapes::echo).value();
    runtime_->register_workflow("Pause", &builtin_shapes::pause).value();
  }

  ExecuteOptions key(std::string key = {}) {
    if (key.empty()) key = "key-" + std::to_string(++keys_);
    return {.tenant = "acme", .idempotency_key = std::move(key)};
  }
  template <class A>
  auto run(const typename A::Parameters& parameters) {
    return runtime_->execute_action<A>(parameters, key());
  }
  // As other languages call it.
  Result<Payload> run_json(const std::string& name, const std::string& parameters) {
    ExecuteActionRequest request;
    request.tenant = "acme";
    request.idempotency_key = "key-" + std::to_string(++keys_);
    request.name = name;
    request.parameters = Payload::json(parameters);
    std::promise<Result<Payload>> answer;
    runtime_->engine().execute_action(
        std::move(request), [&answer](Result<Payload> result) { answer.set_value(result); });
    return answer.get_future().get();
  }
  std::vector<LogLine> lines() {
    const std::lock_guard lock(mutex_);
    return lines_;
  }
  std::string result_of(const std::string& id) {
    const auto done =
        runtime_->wait_for_workflow_completion<std::string>(id, {.tenant = "acme"}).value();
    return done.result.value_or(done.status);
  }

  TemporaryFolder folder_;
  BuiltinOptions builtins_;
  std::mutex mutex_;
  std::vector<LogLine> lines_;
  std::optional<WorkflowRuntime> runtime_;
  int keys_ = 0;
};

TEST_F(BuiltinActionsTest, AreDescribedAsInTypeScript) {
  std::vector<std::string> names;
  for (const ActionMetadata& action : runtime_->actions()) {
    names.push_back(action.name);
    EXPECT_TRUE(action.built_in) << action.name;
    EXPECT_FALSE(action.description.empty()) << action.name;
    EXPECT_FALSE(action.result.empty()) << action.name;
  }
  EXPECT_THAT(names, ElementsAre("create_database_record", "delete_database_record", "emit_event",
                                 "log_audit_event", "log_event", "send_notification",
                                 "start_workflow", "update_database_record", "wait"));
  const auto create = runtime_->action_metadata("CreateDatabaseRecord");
  EXPECT_EQ(create->isolation, IsolationLevel::read_committed);
  EXPECT_THAT(create->parameters, ElementsAre(ActionMember{"table", "string", true},
                                              ActionMember{"record", "object", true}));
  const auto log = runtime_->action_metadata("log_event");
  EXPECT_TRUE(log->other_parameters);
  EXPECT_THAT(log->parameters, ElementsAre(ActionMember{"message", "string", true},
                                           ActionMember{"level", "string", false}));
  EXPECT_THAT(runtime_->action_metadata("wait")->parameters,
              ElementsAre(ActionMember{"duration", "any", true}));
  EXPECT_EQ(runtime_->actions("workflow").size(), 2U);
}

TEST_F(BuiltinActionsTest, LinesAreLogged) {
  EXPECT_EQ(run_json("logEvent", R"({"message":"paid","amount":5})").value().bytes,
            R"({"logged":true})");
  EXPECT_EQ(run_json("log_audit_event", R"({"message":"approved","level":"warn","by":"ann"})")
                .value()
                .bytes,
            R"({"recorded":true,"message":"approved","level":"warn","by":"ann"})");
  const auto logged = lines();
  ASSERT_EQ(logged.size(), 2U);
  EXPECT_EQ(logged[0].message, "paid");
  EXPECT_EQ(logged[0].level, LogLevel::info);
  EXPECT_EQ(logged[0].details.bytes, R"([{"amount":5}])");
  EXPECT_EQ(logged[0].tenant, "acme");
  EXPECT_EQ(logged[1].level, LogLevel::warn);

  const auto refused = run_json("log_event", R"({"message":"m","level":"loud"})");
  EXPECT_EQ(refused.error().code, ErrorCode::validation);
  EXPECT_THAT(refused.error().message, HasSubstr("none of debug, info, warn, error"));
  EXPECT_EQ(run_json("log_audit_event", R"({"message":"m","recorded":false})").error().code,
            ErrorCode::validation);
}

// rules: 14, 15
TEST_F(BuiltinActionsTest, ANotificationGoesThroughItsChannel) {
  std::vector<std::string> keys;
  builtins_.channels
      .register_notification_channel(
          "mail",
          [&keys](const Notification& sent, const ActionContext& context) {
            keys.push_back(context.idempotency_key);
            if (context.attempt == 1) throw std::runtime_error("busy");
            return sent.recipient + " has it";
          })
      .value();
  const std::string id = runtime_->start_workflow("Echo", {.tenant = "acme"}).value();
  EXPECT_EQ(result_of(id), "ann has it");
  ASSERT_EQ(keys.size(), 2U);
  EXPECT_EQ(keys[0], keys[1]);

  std::string subject;
  builtins_.channels
      .register_notification_channel("pager",
                                     [&subject](const Notification& sent, const ActionContext&) {
                                       subject = sent.more.members.at(0).value.as_string();
                                     })
      .value();
  EXPECT_EQ(run_json("sendNotification",
                     R"({"recipient":"bob","message":"m","channel":"pager","subject":"fire"})")
                .value()
                .bytes,
            R"({"sent":true,"channel":"pager"})");
  EXPECT_EQ(subject, "fire");
  EXPECT_EQ(run<SendNotification>({.recipient = "bob", .message = "hi"}).value().channel, "log");
  EXPECT_EQ(lines().back().message, "Notification to bob: hi");
  EXPECT_EQ(builtins_.channels.register_notification_channel("", [](auto&, auto&) {}).error().code,
            ErrorCode::invalid_argument);
}

// rule: 15
TEST_F(BuiltinActionsTest, AChannelThatNobodyRegisteredIsNotTriedAgain) {
  builtins_.channels.register_notification_channel("mails", [](auto&, auto&) {}).value();
  const std::string id = runtime_->start_workflow("Echo", {.tenant = "acme"}).value();
  EXPECT_EQ(result_of(id),
            "permanent: No notification channel 'mail' is registered. Did you mean 'mails'?");
}

// rules: 9, 14, 24
TEST_F(BuiltinActionsTest, AnExecutionIsStartedAndSentAnEventOnceEach) {
  StartWorkflow::Parameters listener;
  listener.workflow = "Listen";
  listener.input = Json::object({{"n", 1}});
  const auto started = runtime_->execute_action<StartWorkflow>(listener, key("start")).value();
  EXPECT_EQ(runtime_->execute_action<StartWorkflow>(listener, key("start")).value().executionId,
            started.executionId);
  const auto named = run_json(
      "startWorkflow", R"({"workflow":"Listen","executionId":"listener-1","version":"1.0.0"})");
  EXPECT_EQ(named.value().bytes, R"({"executionId":"listener-1"})");

  EmitEvent::Parameters hello;
  hello.executionId = started.executionId;
  hello.name = "Hello";
  hello.payload = Json::object({{"from", "ann"}});
  EXPECT_FALSE(run<EmitEvent>(hello).value().eventId.empty());
  EXPECT_EQ(result_of(started.executionId), R"({"n":1} {"from":"ann"})");

  const std::vector<std::array<std::string, 3>> refusals{
      {"start_workflow", R"({"workflow":"Nobody"})", "unknown_workflow"},
      {"emit_event", R"({"executionId":"nobody","name":"Hello"})", "unknown_execution"},
      {"emit_event", R"({"executionId":")" + started.executionId + R"(","name":"Hello"})",
       "execution_ended"}};
  for (const auto& [name, parameters, code] : refusals) {
    const auto refused = run_json(name, parameters);
    ASSERT_FALSE(refused) << code;
    EXPECT_EQ(refused.error().code, ErrorCode::action_failed);
    EXPECT_THAT(refused.error().subject, HasSubstr("\"" + code + "\""));
  }
  EXPECT_EQ(runtime_->list_executions({.tenant = "acme"}).value().executions.size(), 2U);
}

// rule: 14
TEST_F(BuiltinActionsTest, AWorkflowStartsAnotherOne) {
  const std::string id = runtime_->start_workflow("Start", {.tenant = "acme"}).value();
  EXPECT_EQ(result_of(result_of(id)), "2 numbers");
}

// rule: 12
TEST_F(BuiltinActionsTest, AWaitCountsFromWhenItWasAskedForAndHoldsNoThread) {
  const std::string id =
      runtime_->start_workflow("Pause", std::int64_t{1'500}, {.tenant = "acme"}).value();
  const auto begun = std::chrono::steady_clock::now();
  std::vector<std::string> others;
  for (int i = 0; i < 20; ++i) {
    others.push_back(
        runtime_->start_workflow("Pause", std::int64_t{3'600'000}, {.tenant = "acme"}).value());
  }
  // More of them than threads: an action goes on all the same.
  EXPECT_TRUE(run_json("log_event", R"({"message":"m"})"));
  for (const std::string& other : others) {
    EXPECT_TRUE(runtime_->terminate_workflow(other, {.tenant = "acme"}));
  }
  const std::string left =
      runtime_->start_workflow("Pause", std::int64_t{3'600'000}, {.tenant = "acme"}).value();
  const auto closing = std::chrono::steady_clock::now();
  open();
  EXPECT_LT(std::chrono::steady_clock::now() - closing, 4s) << "closing waited for it";
  const auto done =
      runtime_->wait_for_workflow_completion<std::int64_t>(id, {.tenant = "acme"}).value();
  EXPECT_EQ(done.result, 1'500);
  EXPECT_GE(std::chrono::steady_clock::now() - begun, 1'400ms);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 30s);
  EXPECT_EQ(runtime_->get_execution_state(left, {.tenant = "acme"}).value().status, "running");
}

TEST_F(BuiltinActionsTest, AWaitTakesTextAndRefusesWhatIsNoDuration) {
  EXPECT_EQ(run_json("wait", R"({"duration":"1.5ms"})").value().bytes, R"({"waited":2})");
  EXPECT_EQ(run_json("wait", R"({"duration":0})").value().bytes, R"({"waited":0})");
  for (const char* const wrong : {R"({"duration":"soon"})", R"({"duration":-1})", "{}",
                                  R"({"duration":"9999999999999d"})", R"({"duration":null})"}) {
    EXPECT_EQ(run_json("wait", wrong).error().code, ErrorCode::validation) << wrong;
  }
}

TEST_F(BuiltinActionsTest, AUsersOwnTakesThePlaceOfOne) {
  const auto own = [](const LogEvent::Parameters&) { return LogEvent::Result{.logged = false}; };
  const auto refused = runtime_->register_action<LogEvent>(own);
  EXPECT_EQ(refused.error().code, ErrorCode::already_exists);
  EXPECT_THAT(refused.error().message, HasSubstr("'log_event' is a built-in action"));
  runtime_->register_action<LogEvent>(own, {}, true).value();
  EXPECT_FALSE(run<LogEvent>({.message = "m", .level = {}, .more = {}}).value().logged);
  EXPECT_FALSE(runtime_->action_metadata("log_event")->built_in);
  runtime_
      ->register_action<actions::Wait>(
          [](const actions::Wait::Parameters&) { return actions::Wait::Result{-1}; }, {}, true)
      .value();
  EXPECT_EQ(run<actions::Wait>({1h}).value().waited, -1);

  auto other =
      WorkflowRuntime::open({.store = "sqlite:" + folder_.file("other.db"), .log = [](auto&) {}})
          .value();
  other.register_action<LogEvent>(own).value();
  register_builtin_actions(other).value();
  EXPECT_FALSE(other.action_metadata("log_event")->built_in);
  EXPECT_TRUE(other.action_metadata("wait")->built_in);
  EXPECT_EQ(register_builtin_actions(other).error().code, ErrorCode::already_exists);
}

TEST_F(BuiltinActionsTest, TheRuntimeMayBeMoved) {
  WorkflowRuntime moved = std::move(*runtime_);
  runtime_.reset();
  StartWorkflow::Parameters parameters;
  parameters.workflow = "Listen";
  EXPECT_TRUE(moved.execute_action<StartWorkflow>(parameters, key()));
}

TEST(ActionDurationTest, IsReadAsInTypeScript) {
  const auto ms = [](const char* const text) { return ActionDuration::parse(text).value().ms(); };
  EXPECT_EQ(ms("500ms"), 500ms);
  EXPECT_EQ(ms(" 1.5 h "), 90min);
  EXPECT_EQ(ms("3d"), 72h);
  EXPECT_EQ(ms("0.2ms"), 1ms);
  for (const char* const wrong :
       {"", "5", "h", "-1s", "1.s", ".5s", "1e3s", "5 weeks", "1s 1s", "99999999999999999d"}) {
    EXPECT_EQ(ActionDuration::parse(wrong).error().code, ErrorCode::invalid_argument) << wrong;
  }
  EXPECT_EQ(ActionDuration(std::chrono::microseconds(1)).ms(), 1ms);
}

}  // namespace
}  // namespace pawl
