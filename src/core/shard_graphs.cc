// Graphs of actions: their steps are begun in the transition that lets them, without code in between; their
// end wakes the code.

#include <utility>

#include "core/shard.h"
#include "core/shard_execution.h"

namespace pawl {

// As many as may begin now.
void Shard::begin_steps(Execution& execution, const Position graph) {
  if (execution.fold.record().status != ExecutionStatus::running) return;
  if (execution.fold.cancel_due()) return;
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
  put_in_front(execution.work, std::exchange(execution.steps_ended, {}));
}

namespace {

std::string_view text_of(const ErrorStrategy strategy) {
  switch (strategy) {
    case ErrorStrategy::stop: return "stop";
    case ErrorStrategy::go_on: return "continue";
    case ErrorStrategy::retry: return "retry";
    case ErrorStrategy::compensate: return "compensate";
  }
  return "stop";
}

}  // namespace

void Shard::show_graph(Execution& execution, const Position position) {
  const ActionGraph& graph = execution.fold.graphs().at(position).actions;
  Position next = position;
  const auto add = [&](const GraphAction& action, const std::string& name,
                       const bool compensation) {
    GraphActionRecord row;
    row.graph = position;
    row.position = ++next;
    row.action_id = action.id;
    row.action = name;
    row.compensation = compensation;
    row.error_strategy = text_of(action.on_error);
    if (!compensation) {
      row.depends_on = action.depends_on;
      row.group = action.group;
      row.sync_point = action.sync_point;
    }
    execution.open.graph_actions_added.push_back(std::move(row));
  };
  const std::vector<GraphAction>& actions = graph.command().actions;
  execution.open.graph_actions_added.reserve(graph.steps());
  for (const GraphAction& action : actions) add(action, action.name, false);
  for (const GraphAction& action : actions) {
    for (const Compensation& each : action.compensations) add(action, each.name, true);
  }
  for (std::string& name : graph.sync_points()) {
    auto ids = graph.joined_by(name);
    execution.open.sync_points_set.push_back({position, std::move(name), std::move(ids), 0});
  }
}

// Those that were reached beyond the ones that are shown.
void Shard::show_reached(Execution& execution, const Position graph, std::size_t shown) {
  const auto found = execution.fold.graphs().find(graph);
  if (found == execution.fold.graphs().end()) return;
  const ActionGraph& actions = found->second.actions;
  for (; shown < actions.reached().size(); ++shown) {
    const std::string& name = actions.reached()[shown];
    execution.open.sync_points_set.push_back(
        {graph, name, actions.joined_by(name), activation_time(execution)});
  }
}

void Shard::deliver_graph(Execution& execution, const Position position) {
  const PendingGraph& graph = execution.fold.graphs().at(position);
  HistoryEvent completed;
  completed.type = EventType::graph_completed;
  completed.position = position;
  completed.cause = graph.cause;
  completed.payload = Payload::json(graph.actions.outcomes());
  execution.cause = completed.cause;
  for (const ActionGraph::Step step : graph.actions.skipped()) {
    execution.open.graph_actions_changed.push_back(
        {position, position + 1 + static_cast<Position>(step), true});
  }
  ActionJob job{position, completed.payload};
  add_job(execution, std::move(completed), std::move(job));
  activate(execution);
}

}  // namespace pawl
