#include "tests/support/storm.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <sstream>

#include "store/memory_store.h"
#include "tests/support/four_ways.h"

namespace pawl::testing {
namespace {

class NoReports final : public CommitSink {
 public:
  void commits_finished(const std::vector<CommitOutcome>&) override {}
};

}  // namespace

pid_t spawn(const std::vector<std::string>& arguments, const int input, const int output,
            const Environment& environment) {
  const pid_t child = fork();
  if (child != 0) return child;
  for (const auto& [name, value] : environment) setenv(name.c_str(), value.c_str(), 1);
  if (input >= 0) dup2(input, STDIN_FILENO);
  if (output >= 0) dup2(output, STDOUT_FILENO);
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  execv(argv[0], argv.data());
  _exit(127);
}

int wait_for(const pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

Acknowledged read_log(const std::string& path) {
  Acknowledged all;
  std::ifstream log(path);
  std::string line;
  int running = 0;
  int asked = 0;
  while (std::getline(log, line)) {
    std::istringstream words(line);
    std::string kind;
    std::string id;
    words >> kind >> id;
    if (kind == "started") {
      all.started.insert(id);
    } else if (kind == "accepted") {
      std::string key;
      words >> key;
      all.events.emplace(id, key);
    } else if (kind == "seen") {
      Position position = 0;
      std::string result;
      words >> position >> result;
      const auto [known, fresh] = all.results.try_emplace({id, position}, result);
      EXPECT_EQ(known->second, result) << id << " at " << position << " changed while it stormed";
    } else if (kind == "running") {
      running = std::stoi(id);
    } else if (kind == "asked") {
      asked = std::stoi(id);
    } else if (kind == "killed") {
      ++all.kills;
      all.kills_with_actions += running > 0 ? 1 : 0;
      all.kills_with_calls += asked > 0 ? 1 : 0;
      running = 0;
      asked = 0;
    }
  }
  return all;
}

void expect_all_of(const Acknowledged& acknowledged, Store& store) {
  NoReports sink;
  store.start(sink);

  // Everything in the store, as one set of data that is checked like that of any story.
  MemoryStoreData data;
  ExecutionQuery query;
  query.tenant = kStormTenant;
  query.limit = 1'000;
  for (;;) {
    const auto page = store.list_executions(query).value();
    if (page.empty()) break;
    for (const ExecutionRecord& record : page) {
      auto found = store.load_execution(record.ref, kWholeHistory).value();
      ASSERT_TRUE(found);
      EXPECT_TRUE(found->inbox.empty()) << record.execution_id << " has events that wait";
      for (ActionResultRecord& result : store.action_results(record.ref).value()) {
        data.results.emplace(std::tuple{record.ref, result.position, result.generation},
                             std::move(result));
      }
      data.by_id.emplace(std::pair{record.tenant, record.execution_id}, record.ref);
      data.executions.emplace(record.ref, MemoryStoreData::Execution{std::move(found->record),
                                                                     std::move(found->history)});
    }
    query.before = page.back().ref;
  }
  const auto fault = find_fault(data);
  EXPECT_FALSE(fault) << *fault;

  for (const auto& [ref, execution] : data.executions) {
    EXPECT_EQ(execution.record.status, ExecutionStatus::completed) << execution.record.execution_id;
    EXPECT_EQ(execution.record.state, "done");
  }
  for (const std::string& id : acknowledged.started) {
    EXPECT_TRUE(data.by_id.contains({kStormTenant, id})) << id << " was acknowledged and is gone";
  }
  for (const auto& [id, key] : acknowledged.events) {
    const auto ref = data.by_id.find({kStormTenant, id});
    ASSERT_NE(ref, data.by_id.end()) << id;
    const auto row = store.find_inbox(ref->second, key).value();
    ASSERT_TRUE(row) << id << " " << key << " was acknowledged and is gone";
    int received = 0;
    for (const HistoryEvent& event : data.executions.at(ref->second).history) {
      const bool same = event.type == EventType::event_received &&
                        event.attributes.find(row->event_id) != std::string::npos;
      received += same ? 1 : 0;
    }
    EXPECT_EQ(received, 1) << id << " " << key;
  }
  for (const auto& [where, result] : acknowledged.results) {
    const ExecutionRef ref = data.by_id.at({kStormTenant, where.first});
    const auto row = data.results.find({ref, where.second, 0});
    ASSERT_NE(row, data.results.end()) << where.first << " at " << where.second;
    EXPECT_EQ(row->second.result.bytes, result) << where.first << " at " << where.second;
  }
  store.close();
}

}  // namespace pawl::testing
