// Processes beside the engine on one store: what they are told is durable, and the engine takes it up
// once, whichever of them is killed at whatever moment.

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "pawl/client.h"
#include "pawl/pawl.h"
#include "pawl/workflow_runtime.h"
#include "tests/support/child_program.h"
#include "tests/support/temporary_folder.h"

namespace pawl {
namespace {

using namespace std::chrono_literals;

constexpr const char* kTenant = "acme";

pawl::Workflow<std::vector<int>> collect(pawl::Context& ctx) {
  std::vector<int> items;
  while (true) {
    const auto event = co_await ctx.wait_for("Item", "Stop");
    if (event.name == "Stop") co_return items;
    items.push_back(event.payload_as<int>().value());
    ctx.data().set("items", items);
  }
}

class BesideProcesses : public ::testing::Test {
 protected:
  WorkflowRuntime open_engine() {
    WorkflowRuntimeOptions options;
    options.store = store_;
    options.log = [](const LogLine&) {};
    auto runtime = WorkflowRuntime::open(options).value();
    EXPECT_TRUE(runtime.register_workflow("Collect", &collect));
    return runtime;
  }
  Client open_client() {
    auto client = Client::open(store_);
    if (!client) throw std::runtime_error(client.error().message);
    return std::move(*client);
  }
  static StartRequest start(const std::string& id) {
    StartRequest request;
    request.workflow = "Collect";
    request.tenant = kTenant;
    request.execution_id = id;
    return request;
  }
  static EventRequest item(const std::string& id, const int number, const std::string& key = "") {
    EventRequest request;
    request.tenant = kTenant;
    request.execution_id = id;
    request.name = "Item";
    request.payload = Payload::json(std::to_string(number));
    request.idempotency_key = key;
    return request;
  }
  static EventRequest stop(const std::string& id) {
    EventRequest request = item(id, 0);
    request.name = "Stop";
    return request;
  }
  // Until the engine has taken up the start, which whoever sent it does not wait for.
  static void until_there(WorkflowRuntime& runtime, const std::string& id) {
    for (int look = 0; look < 6'000; ++look) {
      if (runtime.get_execution_state(id, {.tenant = kTenant})) return;
      std::this_thread::sleep_for(10ms);
    }
    FAIL() << id << " is never started";
  }
  static std::vector<int> result_of(WorkflowRuntime& runtime, const std::string& id) {
    until_there(runtime, id);
    const auto done = runtime.wait_for_workflow_completion<std::vector<int>>(
        id, {.tenant = kTenant, .wait_max = 60s});
    if (!done || !done->result) return {-1};
    return *done->result;
  }
  void expect_all_acknowledged_once(WorkflowRuntime& runtime, const std::string& journal);
  static void expect_sound(WorkflowRuntime& runtime) {
    const auto report = runtime.check_integrity();
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_TRUE(report->sound()) << report->findings.front().execution_id << ": "
                                 << report->findings.front().what;
  }

  TemporaryFolder folder_;
  const std::string path_ = folder_.file("pawl.db");
  const std::string store_ = "sqlite:" + path_;
};

TEST_F(BesideProcesses, AClientStartsSendsAndReadsWhileAnEngineRuns) {
  WorkflowRuntime runtime = open_engine();
  Client client = open_client();
  ASSERT_EQ(client.start_workflow(start("a")).value(), "a");
  for (const int number : {1, 2, 3}) ASSERT_TRUE(client.enqueue_event(item("a", number)));
  ASSERT_TRUE(client.enqueue_event(stop("a")));
  EXPECT_EQ(result_of(runtime, "a"), (std::vector<int>{1, 2, 3})) << "in the order of sending";
  const auto state = client.get_execution_state("a", kTenant);
  ASSERT_TRUE(state) << state.error().message;
  EXPECT_EQ(state->status, "completed");
  EXPECT_EQ(state->data.bytes, R"({"items":[1,2,3]})");
  const auto history = client.get_history("a", kTenant);
  ASSERT_TRUE(history);
  EXPECT_EQ(static_cast<std::int64_t>(history->size()), state->sequence);
  EXPECT_EQ(client.get_execution_state("a", kTenant, 1)->status, "running");
  EXPECT_EQ(client.list_executions({.tenant = kTenant})->executions.size(), 1U);
  EXPECT_EQ(client.enqueue_event(item("a", 4)).error().code, ErrorCode::execution_ended);
  EXPECT_EQ(client.enqueue_event(item("nobody", 4)).error().code, ErrorCode::unknown_execution);
  EXPECT_EQ(client.get_execution_state("a", "other").error().code, ErrorCode::unknown_execution);
  EXPECT_EQ(client.start_workflow(start("a")).value(), "a") << "the same start again";
  StartRequest other = start("a");
  other.input = Payload::json("7");
  EXPECT_EQ(client.start_workflow(std::move(other)).error().code, ErrorCode::already_exists);

  ASSERT_TRUE(client.start_workflow(start("b")));
  ASSERT_TRUE(client.cancel_workflow({kTenant, "b", "ann", "enough"}));
  until_there(runtime, "b");
  const auto cancelled =
      runtime.wait_for_workflow_completion<Json>("b", {.tenant = kTenant, .wait_max = 60s});
  ASSERT_TRUE(cancelled) << cancelled.error().message;
  EXPECT_EQ(cancelled->status, "cancelled");
  expect_sound(runtime);
  client.close();
  EXPECT_EQ(client.enqueue_event(item("a", 4)).error().code, ErrorCode::closed);
}

// rules: 9, 24
TEST_F(BesideProcesses, IdempotencyKeysHoldAgainstEachOtherAndTheEngine) {
  WorkflowRuntime runtime = open_engine();
  Client client = open_client();
  Client other = open_client();
  StartRequest keyed = start("");
  keyed.idempotency_key = "order 7";
  const std::string id = client.start_workflow(keyed).value();
  EXPECT_EQ(other.start_workflow(keyed).value(), id);
  const auto first = client.enqueue_event(item(id, 1, "k1"));
  ASSERT_TRUE(first);
  const auto again = other.enqueue_event(item(id, 2, "k1"));
  ASSERT_TRUE(again);
  EXPECT_EQ(again->event_id, first->event_id);
  EXPECT_EQ(again->processing_id, first->processing_id);
  // Through the engine first, then beside it; and the other way around. Many times, since it is the
  // engine's commit that they race with.
  for (int number = 10; number < 60; ++number) {
    const std::string key = fmt::format("k{}", number);
    std::thread beside([&] { EXPECT_TRUE(client.enqueue_event(item(id, number, key))); });
    const auto sent = runtime.submit_event(
        id, "Item", number, {.tenant = kTenant, .user_id = {}, .idempotency_key = key});
    beside.join();
    // It may come before the engine has taken up the start.
    EXPECT_TRUE(sent || sent.error().code == ErrorCode::unknown_execution);
  }
  ASSERT_TRUE(client.enqueue_event(stop(id)));
  std::vector<int> items = result_of(runtime, id);
  std::sort(items.begin(), items.end());
  std::vector<int> expected{1};
  for (int number = 10; number < 60; ++number) expected.push_back(number);
  EXPECT_EQ(items, expected);
  expect_sound(runtime);
}

TEST_F(BesideProcesses, WhatIsSentWhileNoEngineRunsIsTakenUpByTheNext) {
  EXPECT_EQ(Client::open(store_).error().code, ErrorCode::store_unavailable) << "there is no file";
  open_engine().close();
  {
    Client client = open_client();
    ASSERT_TRUE(client.start_workflow(start("a")));
    ASSERT_TRUE(client.enqueue_event(item("a", 1)));
    ASSERT_TRUE(client.enqueue_event(stop("a")));
  }
  WorkflowRuntime runtime = open_engine();
  EXPECT_EQ(result_of(runtime, "a"), std::vector<int>{1});
  // The engine's own numbers go on from its own.
  StartOptions own;
  own.tenant = kTenant;
  own.execution_id = "b";
  ASSERT_TRUE(runtime.start_workflow("Collect", own));
  const auto sent = runtime.enqueue_event("b", "Stop", {.tenant = kTenant});
  ASSERT_TRUE(sent);
  EXPECT_LT(std::stoll(sent->processing_id), std::int64_t{1} << 52);
  expect_sound(runtime);
}

TEST_F(BesideProcesses, AStartThatWaitsForItsWorkflowGoesBeforeWhatWasSentAfterIt) {
  open_engine().close();
  for (int round = 0; round < 30; ++round) {
    const std::string id = fmt::format("wf-{}", round);
    {
      Client client = open_client();
      ASSERT_TRUE(client.start_workflow(start(id)));
      ASSERT_TRUE(client.enqueue_event(item(id, 1)));
      ASSERT_TRUE(client.enqueue_event(stop(id)));
    }
    WorkflowRuntimeOptions options;
    options.store = store_;
    options.log = [](const LogLine&) {};
    auto runtime = WorkflowRuntime::open(options).value();
    // The workflow is registered while the engine looks for whom the mail is.
    std::this_thread::sleep_for(std::chrono::microseconds(200 * (round % 20)));
    ASSERT_TRUE(runtime.register_workflow("Collect", &collect));
    ASSERT_EQ(result_of(runtime, id), std::vector<int>{1}) << round;
  }
}

// Kills one, the other, or both, again and again.
void kill_again_and_again(const std::string& path, const std::string& journal, const int kills) {
  std::mt19937 random(7);
  std::optional<test::ChildProgram> engine;
  std::optional<test::ChildProgram> client;
  const auto engine_up = [&] {
    engine.emplace("beside", std::vector<std::string>{"engine", path});
    ASSERT_EQ(engine->line(), "ready");
  };
  const auto client_up = [&] {
    client.emplace("beside", std::vector<std::string>{"client", path, journal});
    ASSERT_EQ(client->line(), "ready");
  };
  engine_up();
  client_up();
  for (int kill = 0; kill < kills; ++kill) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5 + random() % 60));
    const auto which = random() % 3;
    if (which != 0) {
      EXPECT_TRUE(client->kill_now()) << "it ended by itself";
    }
    if (which != 1) {
      EXPECT_TRUE(engine->kill_now()) << "it ended by itself";
      engine_up();
    }
    if (which != 0) client_up();
  }
  EXPECT_TRUE(client->kill_now());
  EXPECT_TRUE(engine->kill_now());
}

// What is sent last, by the same way, comes after all that was sent before.
void BesideProcesses::expect_all_acknowledged_once(WorkflowRuntime& runtime,
                                                   const std::string& journal) {
  Client client = open_client();
  std::map<std::string, int> acknowledged;  // items by execution
  std::ifstream file(journal);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string what;
    std::string id;
    words >> what >> id;
    if (what == "start") acknowledged.try_emplace(id, 0);
    if (what == "item") words >> acknowledged[id];
  }
  ASSERT_GT(acknowledged.size(), 3U);
  for (const auto& [id, items] : acknowledged) {
    ASSERT_TRUE(client.enqueue_event(stop(id))) << id;
    until_there(runtime, id);
    const auto done = runtime.wait_for_workflow_completion<std::vector<int>>(
        id, {.tenant = kTenant, .wait_max = 60s});
    ASSERT_TRUE(done && done->result) << id;
    // The last one may have been durable without having been acknowledged.
    const auto count = static_cast<int>(done->result->size());
    EXPECT_TRUE(count == items || count == items + 1) << id << ": " << count << " of " << items;
    for (int number = 0; number < count; ++number) {
      EXPECT_EQ((*done->result)[static_cast<std::size_t>(number)], number + 1) << id;
    }
  }
}

// rules: 1, 9
TEST_F(BesideProcesses, NothingAcknowledgedIsLostOrDoubledWhoeverIsKilled) {
  const std::string journal = folder_.file("journal");
  kill_again_and_again(path_, journal, 12);
  WorkflowRuntime runtime = open_engine();
  expect_all_acknowledged_once(runtime, journal);
  expect_sound(runtime);
}

class BesideProcessesLong : public BesideProcesses {};

TEST_F(BesideProcessesLong, NothingAcknowledgedIsLostOrDoubledInTwoHundredKills) {
  const std::string journal = folder_.file("journal");
  kill_again_and_again(path_, journal, 200);
  WorkflowRuntime runtime = open_engine();
  expect_all_acknowledged_once(runtime, journal);
  expect_sound(runtime);
}

}  // namespace
}  // namespace pawl
