#pragma once

// What is registered in this process: which host has the code of which workflow and action.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pawl/host.h"

namespace pawl {

// An index into the runtime's table of hosts.
using HostId = std::uint32_t;

class Catalog {
 public:
  struct Workflow {
    std::string version;
    HostId host = 0;
  };
  struct Action {
    std::string name;  // as registered
    ActionOptions options;
    HostId host = 0;
  };

  void add_workflow(const std::string& name, const std::string& version, HostId host);
  void add_action(const std::string& name, const ActionOptions& options, HostId host);

  // An empty version asks for the highest one.
  const Workflow* find_workflow(std::string_view name, std::string_view version) const;
  // By any casing.
  const Action* find_action(std::string_view name) const;

  std::vector<std::string> workflow_names() const;
  std::vector<std::string> action_names() const;
  std::vector<std::string> versions_of(std::string_view workflow) const;

 private:
  std::map<std::string, std::vector<Workflow>, std::less<>> workflows_;  // versions ascending
  std::map<std::string, Action, std::less<>> actions_;                   // by meeting name
};

// Orders versions as people write them: runs of digits by value, the rest by character, and one with
// a pre-release part ("1.0.0-beta") before the one without.
bool version_less(std::string_view left, std::string_view right);

}  // namespace pawl
