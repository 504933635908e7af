// Graphs of actions: their steps are begun in the transition that lets them, without code in between; their
// end wakes the code.

#include <iterator>

#include "core/shard.h"
#include "core/shard_execution.h"

namespace pawl {

// As many as may begin now.
void Shard::begin_steps(Execution& execution, const Position graph) {
  if (execution.fold.record().status != ExecutionStatus::running) return;
  const PendingGraph& pending = execution.fold.graphs().at(graph);
  for (const ActionGraph::Step step : pending.actions.to_begin()) {
    HistoryEvent scheduled;
    scheduled.type = EventType::graph_action_scheduled;
    scheduled.name = pending.actions.name(step);
    scheduled.position = graph + 1 + static_cast<Position>(step);
    scheduled.cause = pending.cause;
    execution.effects.actions.push_back(scheduled.position);
    append(execution, std::move(scheduled));
  }
}

// Of what was held back while it was paused, and of what a retry runs again.
void Shard::begin_all_steps(Execution& execution) {
  std::vector<Position> graphs;
  for (const auto& [position, graph] : execution.fold.graphs()) graphs.push_back(position);
  for (const Position graph : graphs) begin_steps(execution, graph);
}

// Those that had to wait go before what came later.
void Shard::take_up_steps(Execution& execution) {
  execution.work.insert(execution.work.begin(),
                        std::make_move_iterator(execution.steps_ended.begin()),
                        std::make_move_iterator(execution.steps_ended.end()));
  execution.steps_ended.clear();
}

void Shard::deliver_graph(Execution& execution, const Position position) {
  const PendingGraph& graph = execution.fold.graphs().at(position);
  HistoryEvent completed;
  completed.type = EventType::graph_completed;
  completed.position = position;
  completed.cause = graph.cause;
  completed.payload = Payload::json(graph.actions.outcomes());
  execution.cause = completed.cause;
  ActionJob job{position, completed.payload};
  add_job(execution, std::move(completed), std::move(job));
  activate(execution);
}

}  // namespace pawl
