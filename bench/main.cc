// pawl_bench: see --help.

#include <charconv>
#include <cstdio>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "harness/give_up.h"
#include "harness/machine.h"
#include "harness/options.h"
#include "harness/store_file.h"
#include "workloads/workloads.h"

namespace {

// FILE [completed=N] …
void check(const std::vector<std::string>& arguments) {
  if (arguments.size() < 2) bench::give_up("--check takes a file; see --help");
  bench::Acknowledged acknowledged;
  std::string lose;
  for (std::size_t at = 2; at < arguments.size(); ++at) {
    const std::size_t equals = arguments[at].find('=');
    const std::string name = arguments[at].substr(0, equals);
    const std::string value = equals < arguments[at].size() ? arguments[at].substr(equals + 1) : "";
    if (name == "lose") {
      lose = value;
      continue;
    }
    std::int64_t* const field = name == "completed" ? &acknowledged.completed
                                : name == "running" ? &acknowledged.running
                                : name == "actions" ? &acknowledged.actions
                                : name == "events"  ? &acknowledged.events
                                                    : nullptr;
    const char* const end = value.data() + value.size();
    if (field == nullptr || value.empty() ||
        std::from_chars(value.data(), end, *field).ptr != end) {
      bench::give_up("--check does not take '" + arguments[at] + "'; see --help");
    }
  }
  bench::StoreFile(arguments[1], lose).check(acknowledged);
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const std::vector<bench::Workload> workloads = {
      bench::three_step(),   bench::approval(),     bench::event(),
      bench::fan_out(),      bench::start(),        bench::replay(),
      bench::parked(),       bench::graphs(),       bench::database_actions(),
      bench::store_commit(), bench::long_history(), bench::idle(),
      bench::full_store(),   bench::raw_append()};
  if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h") {
    fmt::print("{}", bench::help(workloads));
  } else if (arguments[0] == "--list") {
    fmt::print("{}", bench::list(workloads));
  } else if (arguments[0] == "--check") {
    check(arguments);
  } else if (arguments[0] == "--machine") {
    if (arguments.size() == 1) {
      bench::report_machine("build/bench");
    } else if (arguments.size() == 3 && arguments[1] == "--folder") {
      bench::report_machine(arguments[2]);
    } else {
      bench::give_up("--machine takes --folder DIR, and nothing else");
    }
  } else {
    const bench::Run run = bench::parse_run(arguments, workloads);
    bench::find_workload(run.workload, workloads).run(run);
  }
  return 0;
}
