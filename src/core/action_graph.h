#pragma once

// The actions of a graph and what became of them: which may begin, and when all is over. It only decides;
// whoever asks it records what was decided.
//
// A step is an action or a compensation:
//
//   waiting --what it depends on is done--> ready --begin--> running --end--> succeeded | failed

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "pawl/error.h"
#include "pawl/host.h"

namespace pawl {

class ActionGraph {
 public:
  // First the actions, in the order given, then their compensations.
  using Step = std::size_t;

  struct Outcome {
    bool succeeded = false;
    int attempts = 1;
    std::string json;  // the result, empty for none; or the failure
  };

  // Errors: invalid_argument, where there is no action, an id is missing or comes twice, a dependency is
  // unknown, or they make a cycle.
  static Result<ActionGraph> make(StartGraphCommand command);
  // Whether one could be made of it.
  static Result<void> check(const StartGraphCommand& command);

  const StartGraphCommand& command() const { return command_; }
  std::size_t steps() const { return steps_.size(); }
  const std::string& name(Step step) const;
  const Payload& parameters(Step step) const;
  const ActionOptions& options(Step step) const;
  // Attempts after the first that are made whatever the failure; none: the action's own policy counts.
  std::optional<int> retries(Step step) const;
  int generation(Step step) const { return steps_[step].generation; }

  // What may begin now, in order: as many as there is room for.
  std::vector<Step> to_begin() const;
  bool is_running(Step step) const { return steps_[step].state == State::running; }
  void begin(Step step);
  void end(Step step, Outcome outcome);
  // Nothing runs, and nothing is to begin.
  bool is_done() const { return running_ == 0 && to_begin().empty(); }

  // The actions whose failure stopped the graph: they can be tried again, unless compensations have begun.
  std::vector<Step> retriable() const;
  void try_again(Step step);

  // Those that did not run, where all is over.
  std::vector<Step> skipped() const;

  // Names of its sync points, in the order in which they are first named.
  std::vector<std::string> sync_points() const;
  // Ids of the actions that one joins.
  std::vector<std::string> joined_by(std::string_view sync_point) const;
  // In the order in which they were.
  const std::vector<std::string>& reached() const { return reached_; }
  // See StartGraphCommand.
  std::string outcomes() const;
  // Of results and failures so far.
  std::size_t outcome_bytes() const { return outcome_bytes_; }

 private:
  enum class State : std::uint8_t { waiting, ready, running, succeeded, failed };
  struct StepState {
    std::size_t action = 0;                   // its own index, or that of the action it undoes
    std::optional<std::size_t> compensation;  // index among those of the action
    State state = State::waiting;
    Outcome outcome;
    int generation = 0;
  };
  // What is waited for: an action, or the actions of a group or sync point together.
  struct Vertex {
    std::size_t waits_for = 0;
    std::vector<std::size_t> unblocks;
  };

  struct Connections {
    std::vector<Vertex> vertices;    // actions, then joins
    std::vector<std::string> joins;  // names, of the vertices behind the actions
    std::size_t sync_points = 0;     // so many of the joins, from the first; the others are groups
  };

  explicit ActionGraph(StartGraphCommand command) : command_(std::move(command)) {}
  static Result<Connections> connect(const StartGraphCommand& command);
  static Error cycle(const std::vector<GraphAction>& actions, const Connections& connections);
  void unblock(std::size_t vertex);
  void plan_compensations();
  void append_outcome(std::string& out, const StepState& step) const;

  StartGraphCommand command_;
  std::vector<StepState> steps_;
  std::vector<Vertex> vertices_;    // actions, then joins
  std::vector<std::string> joins_;  // names, of the vertices behind the actions
  std::size_t sync_points_ = 0;     // so many of them, from the first
  std::vector<std::string> reached_;
  std::set<Step> ready_;                         // actions
  std::vector<Step> succeeded_;                  // actions, in the order in which they did
  std::deque<Step> compensations_;               // that are to run
  std::vector<std::size_t> first_compensation_;  // by action: its first step
  std::optional<Step> stopped_by_;
  bool compensates_ = false;
  bool compensated_ = false;  // compensations were planned
  std::size_t running_ = 0;
  std::size_t outcome_bytes_ = 0;
};

}  // namespace pawl
