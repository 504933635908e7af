#pragma once

// Rebuilding an instance from its history: the activations that were delivered, one by one as they
// were marked, and for each the commands that the code gave then.

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/queue.h"
#include "core/history_cut.h"
#include "model/execution_record.h"
#include "model/history_event.h"
#include "pawl/error.h"
#include "pawl/host.h"

namespace pawl {

struct ReplayStep {
  Activation activation;
  std::vector<HistoryEvent> commands;  // as recorded, in order
};

// From which record on its code is rebuilt, and what has to be known for that of the other records.
struct ReplayStart {
  std::int64_t after = 0;  // the code has no part in the records up to there
  int generation = 0;      // then
  std::map<std::int64_t, ReceivedEvent> buffered;  // by sequence: what lay in the buffer then
  VoidRecords void_records;                        // of the whole history
  // The ExecutionForked records of the whole history: sequence, and the id that it went by before.
  std::deque<std::pair<std::int64_t, std::string>> forks;
};

// Of a history that is at hand from its first record.
ReplayStart start_of_replay(std::span<const HistoryEvent> history);

// Cuts a history at its marks, as its records come.
class ActivationSplitter {
 public:
  ActivationSplitter(const ExecutionRecord& execution, ReplayStart start);

  // Adds the activations that are whole by then; the content of their commands is taken out of `records`.
  // Where a run begins as new, `steps` is emptied first: the code has no part in what was before. An error
  // where the records don't make whole activations; the splitter is not to be used after that.
  Result<void> add(std::span<HistoryEvent> records, Queue<ReplayStep>& steps);
  // An error if the last activation has no end.
  Result<void> finish() const;

 private:
  Result<void> add(HistoryEvent& event, Queue<ReplayStep>& steps);
  Error broken(std::string_view why) const;

  const ExecutionRecord execution_;
  ReplayStart start_;
  const bool forked_;
  Timestamp now_ = 0;
  std::optional<ReplayStep> open_;
};

// The whole of it at once.
Result<Queue<ReplayStep>> split_into_activations(const ExecutionRecord& execution,
                                                 std::vector<HistoryEvent> history);

// The job that a record of role `job` delivers. `received` is the EventReceived record that an
// EventDelivered points at, null for all others.
Result<Job> job_of(const ExecutionRecord& execution, const HistoryEvent& event,
                   const ReceivedEvent* received);

// The record of a command, without sequence, time and cause; none for those that leave no record.
std::optional<HistoryEvent> record_of(const Command& command, CallSite site = {});
// The same without its site, of what the command had.
std::optional<HistoryEvent> record_of(Command&& command);

// None if the code did what the history says; else a report for a person: what the history expects,
// what the code did, where in the source each is, and the usual causes.
std::optional<std::string> find_departure(const ExecutionRecord& execution, const ReplayStep& step,
                                          ActivationResult result);

// Of the command at that index.
CallSite site_of(const ActivationResult& result, std::size_t command);

}  // namespace pawl
