// What a C++ program can hand to the runtime and get back: for each an error that says what was wrong
// with what, and a runtime that goes on.

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "pawl/pawl.h"
#include "store/sqlite_connection.h"
#include "tests/support/faulty_disk.h"
#include "tests/support/temporary_folder.h"

namespace bad_input_shapes {

struct Item {
  std::string name;
  double price = 0;
};
PAWL_DESCRIBE(Item, name, price);

struct Order {
  std::string id;
  std::vector<Item> items;
};
PAWL_DESCRIBE(Order, id, items);

struct Ship {
  struct Parameters {
    std::string order_id;
    int parcels = 0;
  };
};
PAWL_DESCRIBE(Ship::Parameters, order_id, parcels);

// The same action, as others misremember it.
struct ShipWithoutParcels {
  struct Parameters {
    std::string order_id;
  };
  static constexpr std::string_view name = "ship";
};
PAWL_DESCRIBE(ShipWithoutParcels::Parameters, order_id);

struct ShipWithText {
  struct Parameters {
    std::string order_id;
    std::string parcels;
  };
  static constexpr std::string_view name = "Ship";
};
PAWL_DESCRIBE(ShipWithText::Parameters, order_id, parcels);

struct ShipWithMore {
  struct Parameters {
    std::string order_id;
    int parcels = 0;
    int parcel = 0;
  };
  static constexpr std::string_view name = "Ship";
};
PAWL_DESCRIBE(ShipWithMore::Parameters, order_id, parcels, parcel);

struct Wasteful {
  struct Parameters {
    std::string id;
    std::vector<Item> items;
  };
  using Result = std::string;
};
PAWL_DESCRIBE(Wasteful::Parameters, id, items);

struct Shipp {
  struct Parameters {};
};
PAWL_DESCRIBE(Shipp::Parameters);

}  // namespace bad_input_shapes

namespace pawl {
namespace {

using namespace bad_input_shapes;

constexpr std::size_t kPayloadMax = 4'000;

Workflow<std::string> fulfil(Context& ctx, Json) {
  const auto go = co_await ctx.wait_for("Go");
  co_return go.name;
}

Workflow<> other(Context&) { co_return; }

struct Case {
  std::string what;
  std::function<Error()> attempt;
  ErrorCode code;
  std::vector<std::string> told;  // parts of the message
};

template <class T>
Error error_of(const Result<T>& result) {
  return result ? Error{ErrorCode::internal, "it succeeded", {}} : result.error();
}

void expect_told(const Case& bad) {
  const Error error = bad.attempt();
  EXPECT_EQ(to_string(error.code), to_string(bad.code)) << bad.what << ": " << error.message;
  for (const std::string& part : bad.told) {
    EXPECT_NE(error.message.find(part), std::string::npos)
        << bad.what << ": '" << part << "' is not in: " << error.message;
  }
}

class BadInput : public ::testing::Test {
 protected:
  WorkflowRuntimeOptions options() const {
    WorkflowRuntimeOptions options;
    options.store = "sqlite:" + path;
    options.action_threads = 1;
    options.limits.payload_bytes_max = kPayloadMax;
    options.log = [](const LogLine&) {};
    return options;
  }
  static void prepare(WorkflowRuntime& runtime) {
    ASSERT_TRUE(runtime.register_workflow("Fulfil", &fulfil));
    ASSERT_TRUE(runtime.register_action<Ship>([](const Ship::Parameters&) {}));
  }
  Error refusal() const { return error_of(WorkflowRuntime::open(options())); }

  // From the start to the end of an execution.
  static void expect_working(WorkflowRuntime& runtime) {
    const auto id = runtime.start_workflow("Fulfil", Order{"o", {}}, {.tenant = "acme"});
    ASSERT_TRUE(id) << id.error().message;
    const auto submitted = runtime.submit_event(*id, "Go", {.tenant = "acme"});
    ASSERT_TRUE(submitted) << submitted.error().message;
    const auto done =
        runtime.wait_for_workflow_completion<std::string>(*id, {.tenant = "acme"}).value();
    EXPECT_EQ(done.result, "Go");
  }
  void expect_opens_and_works() const {
    auto runtime = WorkflowRuntime::open(options());
    ASSERT_TRUE(runtime) << runtime.error().message;
    prepare(*runtime);
    expect_working(*runtime);
  }

  TemporaryFolder folder;
  const std::string path = folder.file("pawl.db");
};

// rule: 26
TEST_F(BadInput, OfCallsIsRefusedWithAClearError) {
  WorkflowRuntime runtime = WorkflowRuntime::open(options()).value();
  prepare(runtime);
  const std::string running =
      runtime.start_workflow("Fulfil", Order{}, {.tenant = "acme", .execution_id = "wf-1"}).value();
  const std::string ended =
      runtime.start_workflow("Fulfil", Order{}, {.tenant = "acme", .execution_id = "wf-0"}).value();
  runtime.submit_event(ended, "Go", {.tenant = "acme"}).value();
  runtime.wait_for_workflow_completion(ended, {.tenant = "acme"}).value();

  const EventOptions acme{.tenant = "acme"};
  const EventOptions globex{.tenant = "globex"};
  const Order unpriced{"o", {{"a", 1}, {"b", 2}, {"c", std::nan("")}}};
  const std::string large(2 * kPayloadMax, 'x');
  const std::string long_name(256, 'n');
  const auto start = [&](const std::string& workflow, const StartOptions& how) {
    return [&runtime, workflow, how] {
      return error_of(runtime.start_workflow(workflow, Order{}, how));
    };
  };
  const auto submit = [&](const std::string& id, const std::string& name, const EventOptions& how) {
    return [&runtime, id, name, how] { return error_of(runtime.submit_event(id, name, how)); };
  };
  using enum ErrorCode;
  const std::vector<Case> cases = {
      {"an unknown workflow",
       start("Fulfill", {.tenant = "acme"}),
       unknown_workflow,
       {"No workflow 'Fulfill' is registered", "did you mean Fulfil?"}},
      {"an unknown version",
       start("Fulfil", {.tenant = "acme", .version = "9.0.0"}),
       unknown_workflow,
       {"'Fulfil' is registered here as 1.0.0, not as 9.0.0"}},
      {"a workflow without a name",
       start("", {.tenant = "acme"}),
       invalid_argument,
       {"The workflow name is missing", "1 to 255 bytes"}},
      {"a start without a tenant",
       start("Fulfil", {}),
       invalid_argument,
       {"The tenant is missing"}},
      {"a long tenant",
       start("Fulfil", {.tenant = long_name}),
       invalid_argument,
       {"The tenant 'nnn", "256 bytes long", "255 (name_bytes_max)"}},
      {"a long id",
       start("Fulfil", {.tenant = "acme", .execution_id = long_name}),
       invalid_argument,
       {"The execution id 'nnn", "256 bytes long"}},
      {"a name that is no text",
       start("Ful\xff", {.tenant = "acme"}),
       invalid_argument,
       {"The workflow name", "UTF-8"}},
      {"an id that is taken",
       [&] {
         return error_of(runtime.start_workflow("Fulfil", Order{"another", {}},
                                                {.tenant = "acme", .execution_id = running}));
       },
       already_exists,
       {"Execution 'wf-1' exists with another", "input"}},
      {"an input that JSON can't carry",
       [&] { return error_of(runtime.start_workflow("Fulfil", unpriced, {.tenant = "acme"})); },
       payload_refused,
       {"items[2].price", "NaN"}},
      {"an input that is too large",
       [&] { return error_of(runtime.start_workflow("Fulfil", large, {.tenant = "acme"})); },
       payload_too_large,
       {"8002 bytes of JSON are too many for the input", "4000 (payload_bytes_max)"}},

      {"an event for an unknown execution",
       submit("wf-2", "Go", acme),
       unknown_execution,
       {"no execution 'wf-2' in tenant 'acme'"}},
      {"an event from another tenant",
       submit(running, "Go", globex),
       unknown_execution,
       {"no execution 'wf-1' in tenant 'globex'"}},
      {"an event for one that has ended",
       submit(ended, "Go", acme),
       execution_ended,
       {"Execution 'wf-0' has ended (completed)"}},
      {"an event without a name",
       submit(running, "", acme),
       invalid_argument,
       {"The event name is missing"}},
      {"a long name of an event",
       submit(running, long_name, acme),
       invalid_argument,
       {"The event name 'nnn", "256 bytes long"}},
      {"an event without an execution",
       submit("", "Go", acme),
       invalid_argument,
       {"The execution id is missing"}},
      {"an event without a tenant",
       submit(running, "Go", {.tenant = ""}),
       invalid_argument,
       {"The tenant is missing"}},
      {"a long key",
       submit(running, "Go", {.tenant = "acme", .idempotency_key = long_name}),
       invalid_argument,
       {"The idempotency key 'nnn", "256 bytes long"}},
      {"a payload that JSON can't carry",
       [&] { return error_of(runtime.submit_event(running, "Go", unpriced, acme)); },
       payload_refused,
       {"items[2].price", "NaN"}},
      {"a payload that is no text",
       [&] { return error_of(runtime.submit_event(running, "Go", Item{"\xff", 1}, acme)); },
       payload_refused,
       {"name", "UTF-8"}},
      {"a payload that is too large",
       [&] { return error_of(runtime.submit_event(running, "Go", large, acme)); },
       payload_too_large,
       {"8002 bytes of JSON are too many for the payload of event 'Go'", "payload_bytes_max"}},
      {"an enqueued event for an unknown execution",
       [&] { return error_of(runtime.enqueue_event("wf-2", "Go", acme)); },
       unknown_execution,
       {"no execution 'wf-2'"}},
      {"an enqueued event for one that has ended",
       [&] { return error_of(runtime.enqueue_event(ended, "Go", acme)); },
       execution_ended,
       {"'wf-0' has ended"}},
      {"an enqueued payload that is too large",
       [&] { return error_of(runtime.enqueue_event(running, "Go", large, acme)); },
       payload_too_large,
       {"payload of event 'Go'"}},

      {"the state of an unknown execution",
       [&] { return error_of(runtime.get_execution_state("wf-2", {.tenant = "acme"})); },
       unknown_execution,
       {"no execution 'wf-2' in tenant 'acme'"}},
      {"the state of another tenant's",
       [&] { return error_of(runtime.get_execution_state(running, {.tenant = "globex"})); },
       unknown_execution,
       {"no execution 'wf-1' in tenant 'globex'"}},
      {"the state before the beginning",
       [&] {
         return error_of(
             runtime.get_execution_state(running, {.tenant = "acme", .at_sequence = 0}));
       },
       invalid_argument,
       {"0"}},
      {"the history of an unknown execution",
       [&] { return error_of(runtime.get_history("wf-2", "acme")); },
       unknown_execution,
       {"no execution 'wf-2'"}},
      {"the history of another tenant's",
       [&] { return error_of(runtime.get_history(running, "globex")); },
       unknown_execution,
       {"in tenant 'globex'"}},
      {"the end of an unknown execution",
       [&] { return error_of(runtime.wait_for_workflow_completion("wf-2", {.tenant = "acme"})); },
       unknown_execution,
       {"no execution 'wf-2'"}},
      {"a result of another type",
       [&] {
         return error_of(runtime.wait_for_workflow_completion<Order>(ended, {.tenant = "acme"}));
       },
       validation,
       {"should be an object"}},
      {"a list without a tenant",
       [&] { return error_of(runtime.list_executions({})); },
       invalid_argument,
       {"The tenant is missing"}},
      {"a list of nothing",
       [&] { return error_of(runtime.list_executions({.tenant = "acme", .limit = 0})); },
       invalid_argument,
       {"The limit 0 is not between 1 and 1000"}},
      {"a status that there is not",
       [&] { return error_of(runtime.list_executions({.tenant = "acme", .status = "done"})); },
       invalid_argument,
       {"no status 'done'", "completed"}},
      {"a cursor of somebody's own",
       [&] { return error_of(runtime.list_executions({.tenant = "acme", .cursor = "5x"})); },
       invalid_argument,
       {"cursor"}},

      {"an unknown action",
       [&] {
         return error_of(
             runtime.execute_action<Shipp>({}, {.tenant = "acme", .idempotency_key = "k-0"}));
       },
       unknown_action,
       {"No action 'Shipp' is registered", "did you mean Ship?"}},
      {"a missing parameter",
       [&] {
         return error_of(runtime.execute_action<ShipWithoutParcels>(
             {"o"}, {.tenant = "acme", .idempotency_key = "k-1"}));
       },
       validation,
       {"Ship", "parcels: is required and missing"}},
      {"a wrong parameter",
       [&] {
         return error_of(runtime.execute_action<ShipWithText>(
             {"o", "two"}, {.tenant = "acme", .idempotency_key = "k-2"}));
       },
       validation,
       {"Ship", "parcels: is a string and should be an integer"}},
      {"an unknown parameter",
       [&] {
         return error_of(runtime.execute_action<ShipWithMore>(
             {"o", 2, 3}, {.tenant = "acme", .idempotency_key = "k-3"}));
       },
       validation,
       {"Ship", "parcel: is not declared; did you mean 'parcels'?"}},
      {"parameters that are too large",
       [&] {
         return error_of(runtime.execute_action<Ship>(
             {large, 1}, {.tenant = "acme", .idempotency_key = "k-4"}));
       },
       payload_too_large,
       {"too many for the parameters", "payload_bytes_max"}},
      {"an action without a key",
       [&] {
         return error_of(
             runtime.execute_action<Ship>({"o", 1}, {.tenant = "acme", .idempotency_key = ""}));
       },
       invalid_argument,
       {"The idempotency key is missing"}},

      {"another workflow under a name",
       [&] { return error_of(runtime.register_workflow("Fulfil", &other)); },
       already_exists,
       {"workflow 'Fulfil' version '1.0.0' is registered already", "another version"}},
      {"a workflow registered without a name",
       [&] { return error_of(runtime.register_workflow("", &other)); },
       invalid_argument,
       {"The workflow name is missing"}},
      {"a workflow registered under a long name",
       [&] { return error_of(runtime.register_workflow(long_name, &other)); },
       invalid_argument,
       {"The workflow name 'nnn", "256 bytes long"}},
      {"a workflow registered without a version",
       [&] {
         return error_of(
             runtime.register_workflow(WorkflowDescription{.name = "New", .version = ""}, &other));
       },
       invalid_argument,
       {"The workflow version is missing"}},
      {"an action twice",
       [&] { return error_of(runtime.register_action<Ship>([](const Ship::Parameters&) {})); },
       already_exists,
       {"'Ship' is registered already"}},
      {"an action under a name that meets another's",
       [&] {
         return error_of(runtime.register_action<ShipWithoutParcels>(
             [](const ShipWithoutParcels::Parameters&) {}));
       },
       already_exists,
       {"'ship' is registered already"}},
  };
  for (const Case& bad : cases) expect_told(bad);
  EXPECT_EQ(runtime.get_execution_state(running, {.tenant = "acme"}).value().status, "running");
  EXPECT_EQ(runtime.list_executions({.tenant = "acme"}).value().executions.size(), 2U)
      << "nothing else was begun";
  expect_working(runtime);
}

// Tries one thing after the other, and gives what it was told.
Workflow<std::vector<std::string>> careless(Context& ctx) {
  std::vector<std::string> told;
  const auto attempt = [&told](const std::function<void()>& what) {
    try {
      what();
      told.emplace_back("accepted");
    } catch (const ErrorException& refused) {
      told.push_back(std::string(to_string(refused.error().code)) + ": " + refused.what());
    }
  };
  const std::string large(2 * kPayloadMax, 'x');
  const std::string long_name(256, 'n');
  attempt([&] { ctx.set_state(""); });
  attempt([&] { ctx.set_state(long_name); });
  attempt([&] { ctx.data().set(long_name, 1); });
  attempt([&] { ctx.data().set("order", large); });
  attempt([&] { ctx.emit(""); });
  attempt([&] { ctx.emit("Go", large); });
  attempt([&] { static_cast<void>(ctx.wait_for("Go", "")); });
  attempt([&] { static_cast<void>(ctx.run_named("", 1)); });
  attempt([&] { static_cast<void>(ctx.run_named("ship", large)); });
  attempt([&] { static_cast<void>(ctx.run_named("ship", std::nan(""))); });
  const Order order;
  const auto wasteful = co_await ctx.run_named<std::string>("wasteful", order);
  told.push_back(wasteful ? "accepted" : wasteful.error().message);
  const auto unfit = co_await ctx.run_named("ship", order);
  told.push_back(unfit ? "accepted" : unfit.error().message);
  co_return told;
}

TEST_F(BadInput, OfWorkflowCodeIsToldToIt) {
  WorkflowRuntime runtime = WorkflowRuntime::open(options()).value();
  prepare(runtime);
  ASSERT_TRUE(runtime.register_workflow("Careless", &careless));
  ASSERT_TRUE(runtime.register_action<Wasteful>(
      [](const Wasteful::Parameters&) { return std::string(2 * kPayloadMax, 'x'); }));
  const std::string id = runtime.start_workflow("Careless", {.tenant = "acme"}).value();
  const auto done =
      runtime.wait_for_workflow_completion<std::vector<std::string>>(id, {.tenant = "acme"})
          .value();
  ASSERT_TRUE(done.result) << done.error->message;
  const std::string more = "the most is 4000 (payload_bytes_max)";
  const std::vector<std::vector<std::string>> expected = {
      {"invalid_argument: The state is missing"},
      {"invalid_argument: The state 'nnn", "256 bytes long"},
      {"invalid_argument: The key of data 'nnn"},
      {"payload_too_large: 8002 bytes of JSON are too many for the data 'order'", more},
      {"invalid_argument: The name of an event to emit is missing"},
      {"payload_too_large: 8002 bytes of JSON are too many for the payload of event 'Go'", more},
      {"invalid_argument: The name of an event to wait for is missing"},
      {"invalid_argument: The action name is missing"},
      {"payload_too_large: 8002 bytes of JSON are too many for the parameters of action 'ship'",
       more},
      {"payload_refused: ", "NaN"},
      {"the result can't be recorded", "8002 bytes", more},
      {"parameters of Ship", "id: is not declared; there are 'order_id', 'parcels'"},
  };
  ASSERT_EQ(done.result->size(), expected.size());
  for (std::size_t index = 0; index < expected.size(); ++index) {
    for (const std::string& part : expected[index]) {
      EXPECT_NE((*done.result)[index].find(part), std::string::npos)
          << "'" << part << "' is not in: " << (*done.result)[index];
    }
  }
  expect_working(runtime);
}

// rules: 9, 25
TEST_F(BadInput, AWrongTenantLearnsNothing) {
  WorkflowRuntime runtime = WorkflowRuntime::open(options()).value();
  prepare(runtime);
  runtime.start_workflow("Fulfil", Order{}, {.tenant = "acme", .execution_id = "x"}).value();
  const EventOptions globex{.tenant = "globex"};
  Error foreign = error_of(runtime.submit_event("x", "Go", globex));
  const Error unknown = error_of(runtime.submit_event("y", "Go", globex));
  foreign.message.replace(foreign.message.find("'x'"), 3, "'y'");
  EXPECT_EQ(foreign.code, unknown.code);
  EXPECT_EQ(foreign.message, unknown.message);
}

TEST_F(BadInput, OfAStoreIsRefusedWithAClearError) {
  const auto store = [](const std::string& address) {
    return [address] {
      WorkflowRuntimeOptions options;
      options.store = address;
      return error_of(WorkflowRuntime::open(options));
    };
  };
  const std::string diary = folder.file("diary.txt");
  std::ofstream(diary) << "Dear diary, this is no database.\n" << std::string(500, '.');
  const Case cases[] = {
      {"a store of another kind",
       store("mysql:x"),
       ErrorCode::invalid_argument,
       {"'mysql:x'", "sqlite:FILE"}},
      {"no file", store("sqlite:"), ErrorCode::invalid_argument, {"path is empty"}},
      {"memory", store("sqlite::memory:"), ErrorCode::invalid_argument, {":memory:"}},
      {"a folder",
       store("sqlite:" + folder.path().string()),
       ErrorCode::store_invalid,
       {"is a folder"}},
      {"a folder that is not there",
       store("sqlite:" + folder.file("none/pawl.db")),
       ErrorCode::store_unavailable,
       {"none/pawl.db"}},
      {"a file that is no database",
       store("sqlite:" + diary),
       ErrorCode::store_invalid,
       {"diary.txt", "not a database"}},
  };
  for (const Case& bad : cases) expect_told(bad);
  expect_opens_and_works();
}

TEST_F(BadInput, AFileThatIsOpenAlreadyIsRefused) {
  WorkflowRuntime runtime = WorkflowRuntime::open(options()).value();
  prepare(runtime);
  expect_told({"a second runtime",
               [this] { return refusal(); },
               ErrorCode::store_in_use,
               {"pawl.db", std::to_string(::getpid())}});
  expect_working(runtime);
}

TEST_F(BadInput, AFileFromANewerVersionIsRefused) {
  expect_opens_and_works();
  const auto add_to_version = [this](const int difference) {
    auto shell =
        SqliteConnection::open(path, SqliteConnection::Mode::read_write_create, "", 1'000).value();
    const std::int64_t version = shell.query_int("PRAGMA user_version").value();
    shell.execute("PRAGMA user_version = " + std::to_string(version + difference)).value();
  };
  add_to_version(1);
  expect_told({"a newer version",
               [this] { return refusal(); },
               ErrorCode::store_invalid,
               {"pawl.db", "newer version"}});
  add_to_version(-1);
  expect_opens_and_works();
}

TEST_F(BadInput, AReadOnlyFileIsRefused) {
  expect_opens_and_works();
  ASSERT_EQ(::chmod(folder.path().c_str(), 0777), 0);
  ASSERT_EQ(::chmod(path.c_str(), 0444), 0);
  ASSERT_TRUE(std::filesystem::remove(path + "-lock"));
  // Tests may run as root, who may write to everything: this thread opens files as nobody.
  ::setfsuid(65'534);
  expect_told({"a read-only file",
               [this] { return refusal(); },
               ErrorCode::store_unavailable,
               {"pawl.db", "read-only"}});
  ::setfsuid(::geteuid());
  ASSERT_EQ(::chmod(path.c_str(), 0644), 0);
  std::filesystem::remove(path + "-lock");
  expect_opens_and_works();
}

// While it lives, SQLite takes this disk for the platform's.
class AsDefaultDisk {
 public:
  explicit AsDefaultDisk(const FaultyDisk& disk) : former_(sqlite3_vfs_find(nullptr)) {
    sqlite3_vfs_register(sqlite3_vfs_find(disk.vfs().c_str()), 1);
  }
  ~AsDefaultDisk() { sqlite3_vfs_register(former_, 1); }
  AsDefaultDisk(const AsDefaultDisk&) = delete;
  AsDefaultDisk& operator=(const AsDefaultDisk&) = delete;

 private:
  sqlite3_vfs* const former_;
};

TEST_F(BadInput, AFullDiskIsAnErrorUntilThereIsSpace) {
  FaultyDisk disk(1);
  const AsDefaultDisk installed(disk);
  WorkflowRuntime runtime = WorkflowRuntime::open(options()).value();
  prepare(runtime);
  expect_working(runtime);
  disk.fail_at(disk.operations() + 1, FaultyDisk::Fault::full, true);
  std::optional<Error> refused;
  // The log may have room for a few more.
  for (int tries = 0; tries < 10'000 && !refused; ++tries) {
    const auto started =
        runtime.start_workflow("Fulfil", Order{std::string(500, 'x'), {}}, {.tenant = "acme"});
    if (!started) refused = started.error();
  }
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->code, ErrorCode::store_unavailable);
  EXPECT_NE(refused->message.find("full"), std::string::npos) << refused->message;
  EXPECT_NE(refused->message.find("pawl.db"), std::string::npos) << refused->message;
  disk.heal();
  expect_working(runtime);
}

}  // namespace
}  // namespace pawl
