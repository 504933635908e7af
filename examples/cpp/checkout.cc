// A checkout as a durable workflow in C++: a file to copy and begin your own with.
//
//   example_checkout                 the demo: serves it, kills it in the middle, looks at what is left
//   example_checkout serve FILE      serves it on that SQLite file; takes commands on standard input:
//                                    start ID AMOUNT · approve ID · reject ID · show ID

#include <pawl/pawl.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <thread>

using namespace std::chrono_literals;

// --- what the workflow speaks of ---------------------------------------------------------------

struct Order {
  std::string id;
  double amount = 0;
};
PAWL_DESCRIBE(Order, id, amount);

struct Receipt {
  std::string outcome;
  std::optional<std::string> charge;
  std::optional<std::string> courier;
};
PAWL_DESCRIBE(Receipt, outcome, charge, courier);

struct Decision {
  std::string by;
};
PAWL_DESCRIBE(Decision, by);

// --- its actions: what it asks of the outside --------------------------------------------------

struct ChargeCard {
  struct Parameters {
    std::string order_id;
    double amount = 0;
  };
  struct Result {
    std::string charge;
  };
};
PAWL_DESCRIBE(ChargeCard::Parameters, order_id, amount);
PAWL_DESCRIBE(ChargeCard::Result, charge);

struct Refund {
  struct Parameters {
    std::string order_id;
  };
};
PAWL_DESCRIBE(Refund::Parameters, order_id);

struct Pack {
  struct Parameters {
    std::string order_id;
  };
};
PAWL_DESCRIBE(Pack::Parameters, order_id);

struct BookCourier {
  struct Parameters {
    std::string order_id;
  };
  struct Result {
    std::string courier;
  };
};
PAWL_DESCRIBE(BookCourier::Parameters, order_id);
PAWL_DESCRIBE(BookCourier::Result, courier);

// --- the workflow ------------------------------------------------------------------------------

// From the charge to the courier. Kill the process anywhere in here: it goes on where it was.
pawl::Task<Receipt> sell(pawl::Context& ctx, Order order) {
  // Before the charge: one that failed, by a time-out, may have gone through all the same.
  ctx.compensations().add<Refund>({.order_id = order.id});
  ctx.set_state("charging");
  auto paid = co_await ctx.run<ChargeCard>({.order_id = order.id, .amount = order.amount},
                                           {.retry = {.max_attempts = 5}});
  if (!paid) {
    ctx.log.warn("{} was not paid: {}", order.id, paid.error().message);
    co_return Receipt{.outcome = "not paid"};
  }
  ctx.data().set("charge", paid->charge);

  ctx.set_state("awaiting_approval");
  auto decision = co_await ctx.wait_for("Approve", "Reject").within(72h);
  if (!decision || decision->name == "Reject") {
    co_return Receipt{.outcome = "rejected", .charge = paid->charge};
  }
  ctx.log.info("{} approved by {}", order.id, decision->payload_as<Decision>().value().by);

  ctx.set_state("shipping");
  auto [packed, booked] = co_await pawl::all(ctx.run<Pack>({.order_id = order.id}),
                                             ctx.run<BookCourier>({.order_id = order.id}));
  if (!packed || !booked) co_return Receipt{.outcome = "not shipped", .charge = paid->charge};
  co_return Receipt{.outcome = "shipped", .charge = paid->charge, .courier = booked->courier};
}

// Who gets no parcel gets the money back, also where somebody cancels it.
pawl::Workflow<Receipt> checkout(pawl::Context& ctx, Order order) {
  Receipt receipt;
  std::exception_ptr thrown;
  try {
    receipt = co_await sell(ctx, order);
  } catch (...) {
    thrown = std::current_exception();  // no co_await can stand in here
  }
  if (receipt.outcome != "shipped") {
    auto undone = co_await ctx.compensations().run();
    undone.value();  // a refund that fails for good ends it as failed, so that somebody looks at it
  }
  if (thrown) std::rethrow_exception(thrown);
  ctx.set_state(receipt.outcome);
  co_return receipt;
}

// --- the outside: a bank that takes its time, and notes what it was asked ------------------------

class Bank {
 public:
  explicit Bank(std::filesystem::path ledger) : ledger_(std::move(ledger)) {}

  // What was paid under a key once is not paid again: that is what the key is for.
  std::string charge(const ChargeCard::Parameters& wanted, const pawl::ActionContext& context) {
    note("began", wanted.order_id, context);
    std::this_thread::sleep_for(500ms);
    if (context.stop.stop_requested()) return {};  // cancelled meanwhile: nobody listens any more
    if (!has("charged", "key " + context.idempotency_key)) {
      note("charged", wanted.order_id, context);
    }
    return "ch-" + wanted.order_id;
  }

  // Gives back what was paid for an order, where it was, once.
  void refund(const std::string& order_id, const pawl::ActionContext& context) {
    if (has("charged", order_id) && !has("refunded", order_id)) note("refunded", order_id, context);
  }

  static constexpr const char* kEntry = "{:<8} {:<8} key {}  attempt {}  process {}\n";

 private:
  void note(const char* what, const std::string& order_id, const pawl::ActionContext& context) {
    const std::string line =
        fmt::format(kEntry, what, order_id, context.idempotency_key, context.attempt, getpid());
    std::ofstream(ledger_, std::ios::app) << line << std::flush;
  }
  bool has(const std::string& what, const std::string& about) const {
    std::ifstream lines(ledger_);
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with(what + ' ') && line.find(' ' + about + ' ') != std::string::npos) {
        return true;
      }
    }
    return false;
  }

  std::filesystem::path ledger_;
};

// --- the process that serves it ------------------------------------------------------------------

pawl::WorkflowRuntime open(const std::filesystem::path& file) {
  pawl::WorkflowRuntimeOptions options;
  options.store = "sqlite:" + file.string();
  return pawl::WorkflowRuntime::open(options).value();
}

int serve(const std::filesystem::path& file) {
  auto bank = std::make_shared<Bank>(file.string() + ".bank");
  pawl::WorkflowRuntime runtime = open(file);

  runtime
      .register_action<ChargeCard>([bank](ChargeCard::Parameters p, const pawl::ActionContext& c) {
        return ChargeCard::Result{bank->charge(p, c)};
      })
      .value();
  runtime
      .register_action<Refund>([bank](Refund::Parameters p, const pawl::ActionContext& c) {
        bank->refund(p.order_id, c);
      })
      .value();
  runtime.register_action<Pack>([](Pack::Parameters) {}).value();
  runtime
      .register_action<BookCourier>(
          [](BookCourier::Parameters) { return BookCourier::Result{"Swift & Sons"}; })
      .value();
  // What was under way when the last process ended goes on from here.
  runtime.register_workflow("Checkout", &checkout).value();

  std::cout << "serving" << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string command;
    std::string id;
    words >> command >> id;
    if (command == "start") {
      Order order{.id = id};
      words >> order.amount;
      auto started =
          runtime.start_workflow("Checkout", order, {.tenant = "shop", .execution_id = id});
      std::cout << (started ? "started" : started.error().message) << std::endl;
    } else if (command == "approve" || command == "reject") {
      const char* event = command == "approve" ? "Approve" : "Reject";
      auto reply = runtime.submit_event(id, event, Decision{.by = "mia"}, {.tenant = "shop"});
      std::cout << (reply ? reply->current_state : reply.error().message) << std::endl;
    } else if (command == "show") {
      auto state = runtime.get_execution_state(id, {.tenant = "shop"});
      std::cout << (state ? state->status + " " + state->current_state : state.error().message)
                << std::endl;
    } else {
      std::cout << "start ID AMOUNT, approve ID, reject ID, show ID" << std::endl;
    }
  }
  return 0;
}

// --- the demo --------------------------------------------------------------------------------------

// A server as a process of its own, spoken to over its standard input and output.
class Server {
 public:
  Server(const char* program, const std::filesystem::path& file) {
    int to[2];
    int from[2];
    if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0)
      throw std::runtime_error("no pipe");
    pid_ = fork();
    if (pid_ < 0) throw std::runtime_error("no process");
    if (pid_ == 0) {
      dup2(to[0], STDIN_FILENO);
      dup2(from[1], STDOUT_FILENO);
      execl(program, program, "serve", file.c_str(), nullptr);
      _exit(127);
    }
    close(to[0]);
    close(from[1]);
    to_ = fdopen(to[1], "w");
    from_ = fdopen(from[0], "r");
    if (answer() != "serving") throw std::runtime_error("the server did not come up");
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server() { end(SIGKILL); }

  pid_t pid() const { return pid_; }

  std::string ask(const std::string& command) {
    std::fprintf(to_, "%s\n", command.c_str());
    std::fflush(to_);
    return answer();
  }

  // Asks until that is the answer.
  void wait_until(const std::string& command, const std::string& wanted) {
    std::string got;
    for (int i = 0; i < 1'000; ++i) {
      got = ask(command);
      if (got == wanted) return;
      std::this_thread::sleep_for(10ms);
    }
    throw std::runtime_error(command + " still says '" + got + "', not '" + wanted + "'");
  }

  // With signal 0 it is told that no more commands come, and ends by itself.
  void end(int signal) {
    if (pid_ == 0) return;
    if (signal != 0) kill(pid_, signal);
    std::fclose(to_);
    waitpid(std::exchange(pid_, 0), nullptr, 0);
    std::fclose(from_);
  }

 private:
  std::string answer() {
    char line[4'096];
    if (std::fgets(line, sizeof line, from_) == nullptr)
      throw std::runtime_error("the server is gone");
    std::string text = line;
    text.pop_back();
    return text;
  }

  pid_t pid_ = 0;
  FILE* to_ = nullptr;
  FILE* from_ = nullptr;
};

void heading(const char* text) { fmt::print("\n\033[1m{}\033[0m\n\n", text); }

std::string read(const std::filesystem::path& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

void expect(bool right, const std::string& what) {
  if (!right) throw std::runtime_error("not as it should be: " + what);
}

void demo(const char* program) {
  const std::filesystem::path folder = std::filesystem::temp_directory_path() / "pawl-checkout";
  const std::filesystem::path file = folder / "orders.db";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  fmt::print("\n\033[1mPawl\033[0m  a checkout that is killed while it works\n\n");
  fmt::print("  The workflow is one coroutine: examples/cpp/checkout.cc\n  Its store: {}\n",
             file.string());
  std::fflush(stdout);

  heading("A process serves it. Two orders come in.");
  std::string killed;
  {
    Server server(program, file);
    killed = std::to_string(server.pid());
    expect(server.ask("start order-1 49.90") == "started", "order-1 starts");
    server.wait_until("show order-1", "running awaiting_approval");
    fmt::print("  order-1 was charged, and is waiting for approval\n");
    expect(server.ask("start order-2 12.50") == "started", "order-2 starts");
    while (read(file.string() + ".bank").find("began    order-2") == std::string::npos) {
      std::this_thread::sleep_for(5ms);
    }
    fmt::print("  order-2 is being charged …\n");
    std::fflush(stdout);

    heading("kill -9");
    server.end(SIGKILL);
    fmt::print("  process {} is gone, in the middle of the charge\n", killed);
    std::fflush(stdout);
  }

  heading("It is started again.");
  {
    Server server(program, file);
    fmt::print("  process {} serves the same file\n", server.pid());
    server.wait_until("show order-2", "running awaiting_approval");
    fmt::print("  order-2 has been charged by itself, and is waiting for approval\n");
    server.ask("approve order-1");
    server.ask("approve order-2");
    for (const char* id : {"order-1", "order-2"}) {
      server.wait_until(std::string("show ") + id, "completed shipped");
      fmt::print("  {} is approved and shipped\n", id);
    }
    expect(server.ask("start order-3 99.00") == "started", "order-3 starts");
    server.wait_until("show order-3", "running awaiting_approval");
    server.ask("reject order-3");
    server.wait_until("show order-3", "completed rejected");
    fmt::print("  order-3 came in, was charged, rejected, and paid back\n");
    server.end(0);
  }

  heading("What the bank saw");
  const std::string ledger = read(file.string() + ".bank");
  fmt::print("{}", ledger);
  std::istringstream entries(ledger);
  std::vector<std::string> began;
  std::vector<std::string> keys;
  int charged = 0;
  int refunded = 0;
  for (std::string line; std::getline(entries, line);) {
    charged += line.starts_with("charged") ? 1 : 0;
    refunded += line.starts_with("refunded order-3") ? 1 : 0;
    if (!line.starts_with("began")) continue;
    began.push_back(line);
    const std::size_t key = line.find("key ") + 4;
    keys.push_back(line.substr(key, line.find(' ', key) - key));
  }
  expect(began.size() == 4, "order-2 was asked for twice, the others once");
  expect(keys[1] == keys[2] && keys[0] != keys[1], "again under the same key");
  expect(charged == 3, "each order is charged once");
  expect(refunded == 1, "order-3 is paid back once");
  fmt::print("\n  the interrupted charge was asked for again, under the same key\n");

  // What follows is read from the store alone: the workflow is not even registered here.
  pawl::WorkflowRuntime runtime = open(file);
  heading("The history of order-2");
  const auto history = runtime.get_history("order-2", "shop").value();
  for (const pawl::HistoryRecord& record : history) {
    fmt::print("  {:>3}  {:>6} ms  {:<20} {:<20} {}\n", record.sequence,
               record.at - history.front().at, record.type, record.name, record.payload.bytes);
    if (record.ends_activation) fmt::print("\n");
  }

  heading("State and data at three earlier points");
  std::vector<std::string> states;
  std::vector<std::int64_t> points;
  for (const pawl::HistoryRecord& record : history) {
    if (record.ends_activation && points.size() < 3) points.push_back(record.sequence);
  }
  for (const std::int64_t point : points) {
    const auto state =
        runtime.get_execution_state("order-2", {.tenant = "shop", .at_sequence = point}).value();
    fmt::print("  after {:>3}  {:<20} {}\n", point, state.current_state, state.data.bytes);
    states.push_back(state.current_state);
  }
  expect(states == std::vector<std::string>{"charging", "awaiting_approval", "shipping"},
         "the states that it went through");

  heading("Look for yourself");
  fmt::print("  sqlite3 -box {}\n", file.string());
  fmt::print("    SELECT execution_id, status, current_state FROM executions;\n");
  fmt::print("    SELECT sequence, event_type, event_name, payload FROM history\n");
  fmt::print("      WHERE execution_id = 'order-2';\n");
  fmt::print(
      "    SELECT action_name, idempotency_key, attempts, result FROM "
      "workflow_action_results;\n\n");
}

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);  // a server that is gone is seen in its answer
  try {
    if (argc == 3 && std::string_view(argv[1]) == "serve") return serve(argv[2]);
    demo("/proc/self/exe");
    return 0;
  } catch (const std::exception& problem) {
    fmt::print(stderr, "example_checkout: {}\n", problem.what());
    return 1;
  }
}
