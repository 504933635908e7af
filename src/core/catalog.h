#pragma once

// What is registered, in this process or at other workers: which host has the code of which workflow and action.

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
    bool withdrawn = false;
  };

  // False: it is registered in this process, which goes before what other workers have.
  bool add_workflow(const std::string& name, const std::string& version, HostId host);
  bool add_action(const std::string& name, const ActionOptions& options, HostId host);
  // No other worker has it any more.
  void withdraw_workflow(std::string_view name, std::string_view version);
  void withdraw_action(std::string_view name);

  // An empty version asks for the highest one.
  const Workflow* find_workflow(std::string_view name, std::string_view version) const;
  // By any casing. What is withdrawn is not found.
  const Action* find_action(std::string_view name) const;
  // How it was registered last. It stays where it is.
  const Action* find_known_action(std::string_view name) const;

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
