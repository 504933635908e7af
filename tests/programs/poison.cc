// A worker that an event ends: code of its workflow Order exits when it is told "poison".
//
//   poison STORE

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <string>
#include <thread>

#include "pawl/pawl.h"
#include "pawl/postgres.h"

namespace {

constexpr const char* kTenant = "acme";

pawl::Workflow<std::string> order(pawl::Context& ctx) {
  while (true) {
    const auto event = co_await ctx.wait_for("Told");
    const auto text = event.payload_as<std::string>().value();
    if (text == "poison") _exit(1);
    co_return text;
  }
}

}  // namespace

int main(const int argc, char** const argv) {
  if (argc < 2) return 2;
  pawl::use_postgres_stores();
  pawl::WorkflowRuntimeOptions options;
  options.store = argv[1];
  options.lease = std::chrono::milliseconds(300);
  options.begin_at_once = false;
  options.log = [](const pawl::LogLine&) {};
  auto runtime = pawl::WorkflowRuntime::open(options);
  if (!runtime || !runtime->register_workflow("Order", &order)) return 2;
  runtime->begin();
  fmt::print("begins\n");
  std::fflush(stdout);
  while (true) std::this_thread::sleep_for(std::chrono::hours(1));
}
