#pragma once

// Tells a story four ways: live, replayed from the start, evicted after each activation, and crashed
// before and after each commit. Each has to end the same.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/execution_record.h"
#include "model/history_event.h"
#include "tests/support/world.h"

namespace pawl::testing {

struct Story {
  World::HostMaker make_host;
  // Registers workflows and actions.
  std::function<void(World&)> prepare;
  // What clients do. Told again and again with crashes in between, so by ask_until_told below.
  std::function<void(World&)> tell;
  // What must be true at the end, whichever way it went; gtest expectations.
  std::function<void(const World&)> check;
};

// Runs the story all four ways and expects (by gtest) that each ends as the live one did.
void tell_four_ways(const Story& story);

// Replays a history on a fresh host and compares what the code does. None if it fits.
std::optional<std::string> find_misfit(const World::HostMaker& make_host,
                                       const ExecutionRecord& execution,
                                       const std::vector<HistoryEvent>& history);

// What is wrong with the log as such: gaps, unmarked activations, an event taken twice, two outcomes
// of one action, rows that do not follow from the history. None if it is sound.
std::optional<std::string> find_fault(const MemoryStoreData& data);

// As a client does that does not know whether its call got through: the same again until it is told.
std::string start_until_told(World& world, const StartRequest& request);
EventReply submit_until_told(World& world, const EventRequest& request, bool enqueue = false);

}  // namespace pawl::testing
