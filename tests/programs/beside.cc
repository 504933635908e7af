// Two processes on one store, for tests that kill either at any moment.
//
//   beside engine STORE                 runs the executions, until it is killed
//   beside client STORE JOURNAL         starts them and sends them items; writes what it was told to
//                                       the journal; begins again where the journal ends
//
// An execution Collect takes items until it is told to stop, and gives them back in their order.

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "pawl/client.h"
#include "pawl/pawl.h"
#include "pawl/workflow_runtime.h"

namespace {

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

int run_engine(const std::string& store) {
  pawl::WorkflowRuntimeOptions options;
  options.store = "sqlite:" + store;
  options.log = [](const pawl::LogLine&) {};
  auto runtime = pawl::WorkflowRuntime::open(options);
  if (!runtime) {
    fmt::print(stderr, "engine: {}\n", runtime.error().message);
    return 1;
  }
  if (!runtime->register_workflow("Collect", &collect)) return 1;
  fmt::print("ready\n");
  std::fflush(stdout);
  while (true) std::this_thread::sleep_for(std::chrono::hours(1));
}

// What was acknowledged, one line each, since SIGKILL loses nothing of a file.
class Journal {
 public:
  explicit Journal(const std::string& path) {
    std::ifstream before(path);
    for (std::string line; std::getline(before, line);) lines_ += line.empty() ? 0 : 1;
    file_ = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  }
  // Counts over all lives of the client.
  int lines() const { return lines_; }
  void note(const std::string& line) {
    const std::string text = line + "\n";
    if (write(file_, text.data(), text.size()) != static_cast<ssize_t>(text.size())) std::abort();
    ++lines_;
  }

 private:
  int file_ = -1;
  int lines_ = 0;
};

int run_client(const std::string& store, const std::string& journal_path) {
  constexpr int kItemsEach = 8;
  auto client = pawl::Client::open("sqlite:" + store);
  if (!client) {
    fmt::print(stderr, "client: {}\n", client.error().message);
    return 1;
  }
  Journal journal(journal_path);
  fmt::print("ready\n");
  std::fflush(stdout);
  // One line of the journal is one step: what was not noted is done again, under the same id or key.
  while (true) {
    const int step = journal.lines();
    const std::string id = fmt::format("wf-{}", step / (kItemsEach + 1));
    const int item = step % (kItemsEach + 1);
    if (item == 0) {
      pawl::StartRequest start;
      start.workflow = "Collect";
      start.tenant = kTenant;
      start.execution_id = id;
      const auto started = client->start_workflow(std::move(start));
      if (!started) {
        fmt::print(stderr, "start of {}: {}\n", id, started.error().message);
        return 2;
      }
      journal.note(fmt::format("start {}", id));
      continue;
    }
    pawl::EventRequest event;
    event.tenant = kTenant;
    event.execution_id = id;
    event.name = "Item";
    event.payload = pawl::Payload::json(std::to_string(item));
    event.idempotency_key = fmt::format("item-{}", item);
    const auto sent = client->enqueue_event(std::move(event));
    if (!sent) {
      fmt::print(stderr, "item {} for {}: {}\n", item, id, sent.error().message);
      return 3;
    }
    journal.note(fmt::format("item {} {} {}", id, item, sent->event_id));
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() == 2 && arguments[0] == "engine") return run_engine(arguments[1]);
  if (arguments.size() == 3 && arguments[0] == "client") {
    return run_client(arguments[1], arguments[2]);
  }
  fmt::print(stderr, "usage: beside engine STORE | beside client STORE JOURNAL\n");
  return 64;
}
