#pragma once

// Rebuilding an instance from its history: the activations that were delivered, one by one as they
// were marked, and for each the commands that the code gave then.

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "model/execution_record.h"
#include "model/history_event.h"
#include "pawl/error.h"
#include "pawl/host.h"

namespace pawl {

struct ReplayStep {
  Activation activation;
  std::vector<HistoryEvent> commands;  // as recorded, in order
};

// Cuts a history at its marks. An error where the records don't make whole activations.
Result<std::deque<ReplayStep>> split_into_activations(const ExecutionRecord& execution,
                                                      const std::vector<HistoryEvent>& history);

// The job that a record of role `job` delivers. `received` is the EventReceived record that an
// EventDelivered points at, null for all others.
Result<Job> job_of(const ExecutionRecord& execution, const HistoryEvent& event,
                   const ReceivedEvent* received);

// The record of a command, without sequence, time and cause; none for those that leave no record.
std::optional<HistoryEvent> record_of(const Command& command, CallSite site = {});

// None if the code did what the history says; else a report for a person: what the history expects,
// what the code did, where in the source each is, and the usual causes.
std::optional<std::string> find_departure(const ExecutionRecord& execution, const ReplayStep& step,
                                          const ActivationResult& result);

// Of the command at that index.
CallSite site_of(const ActivationResult& result, std::size_t command);

}  // namespace pawl
