#include "harness/options.h"

#include <charconv>
#include <limits>

#include <fmt/format.h>

#include "harness/give_up.h"

namespace bench {

namespace {

constexpr std::int64_t kCountMax = 1'000'000'000;
constexpr std::int64_t kPayloadMin = 16;
constexpr std::int64_t kPayloadMax = 2'000'000;  // within the engine's own bound
constexpr std::int64_t kSecondsMax = 86'400;
constexpr std::int64_t kConcurrencyMax = 16'384;  // well within the bound on requests under way

std::int64_t number(const std::string& option, const std::string& text, const std::int64_t most,
                    const std::int64_t least = 1) {
  std::int64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || stopped != end || value < least || value > most) {
    give_up(fmt::format("{} takes a number from {} to {}, not '{}'", option, least, most, text));
  }
  return value;
}

const Case& case_of(const Workload& workload, const int concurrency) {
  for (const Case& known : workload.cases) {
    if (known.concurrency == concurrency) return known;
  }
  return workload.cases.back();
}

}  // namespace

const Workload& find_workload(const std::string& name, const std::vector<Workload>& workloads) {
  std::string names;
  for (const Workload& workload : workloads) {
    if (workload.name == name) return workload;
    names += fmt::format("{}{}", names.empty() ? "" : ", ", workload.name);
  }
  give_up(fmt::format("there is no workload '{}'; there are {}", name, names));
}

Run parse_run(const std::vector<std::string>& arguments, const std::vector<Workload>& workloads) {
  const Workload& workload = find_workload(arguments.front(), workloads);
  Run run{.workload = arguments.front(), .concurrency = workload.cases.front().concurrency};
  for (std::size_t at = 1; at < arguments.size(); at += 2) {
    const std::string& option = arguments[at];
    if (at + 1 == arguments.size()) give_up(option + " takes a value; see --help");
    const std::string& value = arguments[at + 1];
    if (option == "--n") {
      run.n = number(option, value, kCountMax);
    } else if (option == "--concurrency") {
      run.concurrency = static_cast<int>(number(option, value, kConcurrencyMax));
      if (!workload.any_concurrency && run.concurrency != workload.cases.front().concurrency) {
        give_up(fmt::format("{} takes no other --concurrency than {}", workload.name,
                            workload.cases.front().concurrency));
      }
    } else if (option == "--payload") {
      if (!workload.any_payload) give_up(fmt::format("{} takes no --payload", workload.name));
      run.payload = number(option, value, kPayloadMax, kPayloadMin);
    } else if (option == "--seconds") {
      if (workload.seconds == 0) give_up(fmt::format("{} takes no --seconds", workload.name));
      run.seconds = number(option, value, kSecondsMax);
    } else if (option == "--folder") {
      run.folder = value;
    } else if (option == "--lose") {
      run.lose = value;
    } else if (option == "--part") {
      run.part = value;
    } else {
      give_up(
          fmt::format("there is no option '{}'; there are --concurrency, --n, --payload, --seconds "
                      "and --folder; "
                      "see --help",
                      option));
    }
  }
  if (run.n == 0) run.n = case_of(workload, run.concurrency).n;
  if (run.seconds == 0) run.seconds = workload.seconds;
  std::error_code error;
  std::filesystem::create_directories(run.folder, error);
  if (!std::filesystem::is_directory(run.folder)) {
    give_up(fmt::format("--folder takes a folder, and '{}' can't be one: {}", run.folder.string(),
                        error.message()));
  }
  return run;
}

std::string help(const std::vector<Workload>& workloads) {
  std::string text =
      "Measures the engine on an SQLite store with full sync at every commit, and prints lines of\n"
      "JSON. `make bench` runs everything, and prints a table.\n\n"
      "  pawl_bench WORKLOAD [--concurrency C] [--n N] [--payload BYTES] [--seconds S]\n"
      "             [--folder DIR]\n"
      "                        one run, in a process of its own: C clients at once, each of which\n"
      "                        waits for its answer before it asks again, until there were N; the\n"
      "                        store lies in DIR (build/bench) and is deleted at the end;\n"
      "                        --payload (three-step): of the input, and of the first result;\n"
      "                        --seconds (idle): that it is watched\n"
      "  pawl_bench --list     what `make bench` runs, a line of JSON each\n"
      "  pawl_bench --machine [--folder DIR]\n"
      "                        the machine, its disk, and the settings of a store there\n"
      "  pawl_bench --check FILE [completed=N] [running=N] [actions=N] [events=N]\n"
      "                        opens the store in FILE and fails unless it has exactly that many\n"
      "                        completed and running executions, results of actions and received\n"
      "                        events\n\n"
      "After a run the store is closed, opened again and its rows are counted: where anything is\n"
      "missing that was acknowledged, the run fails. `n` and `per_s` are in `unit`; `p50_ms` and\n"
      "`p99_ms` are what a client waited; `cpu_us` is the time of all threads for one, `rss_mib` "
      "the\n"
      "most memory that was resident, `disk_bytes_each` the store's size by n, `syncs` how often "
      "a\n"
      "commit was synced. What a workload has no figure for is null.\n\nWorkloads:\n\n";
  for (const Workload& workload : workloads) {
    text += fmt::format("  {:<18}{}\n", workload.name, workload.about);
  }
  return text;
}

std::string list(const std::vector<Workload>& workloads) {
  std::string text;
  for (const Workload& workload : workloads) {
    for (const Case& one : workload.cases) {
      text += fmt::format(R"({{"workload":"{}","concurrency":{},"n":{},"any_concurrency":{}}})"
                          "\n",
                          workload.name, one.concurrency, one.n, workload.any_concurrency);
    }
  }
  return text;
}

}  // namespace bench
