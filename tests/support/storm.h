#pragma once

// What storms of processes have in common: starting them, what they acknowledged, and whether it is true.

#include <sys/types.h>

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/store.h"

namespace pawl::testing {

inline constexpr const char* kStormTenant = "storm";

// A child with these standard input and output (-1: as they are here), and these variables of the environment.
using Environment = std::vector<std::pair<std::string, std::string>>;
pid_t spawn(const std::vector<std::string>& arguments, int input, int output,
            const Environment& environment = {});
// Its status, as waitpid gives it.
int wait_for(pid_t child);

struct Acknowledged {
  std::set<std::string> started;
  std::set<std::pair<std::string, std::string>> events;             // execution, key
  std::map<std::pair<std::string, Position>, std::string> results;  // as first seen
  int kills = 0;
  int kills_with_actions = 0;  // that met attempts under way
  int kills_with_calls = 0;    // that met calls not yet answered
};

// What a process of tests/programs/storm.cc has told.
Acknowledged read_log(const std::string& path);

// All of it is in the store, every execution is completed, and what the store has fits together.
void expect_all_of(const Acknowledged& acknowledged, Store& store);

}  // namespace pawl::testing
