#include "core/action_graph.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <boost/json.hpp>
#include <map>
#include <unordered_map>
#include <utility>

#include "base/name.h"
#include "model/failure_codec.h"

namespace pawl {
namespace {

Error invalid(std::string message) { return {ErrorCode::invalid_argument, std::move(message), {}}; }

void append_text(std::string& out, const std::string_view text) {
  out += boost::json::serialize(boost::json::string_view(text.data(), text.size()));
}

}  // namespace

Result<void> ActionGraph::check(const StartGraphCommand& command) {
  const auto connections = connect(command);
  if (!connections) return connections.error();
  return {};
}

Result<ActionGraph> ActionGraph::make(StartGraphCommand command) {
  auto connections = connect(command);
  if (!connections) return connections.error();
  ActionGraph graph(std::move(command));
  graph.vertices_ = std::move(connections->vertices);
  graph.joins_ = std::move(connections->joins);
  graph.sync_points_ = connections->sync_points;
  const std::vector<GraphAction>& actions = graph.command_.actions;
  for (std::size_t index = 0; index < actions.size(); ++index) {
    graph.steps_.push_back({index, std::nullopt, State::waiting, {}, 0});
  }
  for (std::size_t index = 0; index < actions.size(); ++index) {
    graph.first_compensation_.push_back(graph.steps_.size());
    for (std::size_t which = 0; which < actions[index].compensations.size(); ++which) {
      graph.steps_.push_back({index, which, State::waiting, {}, 0});
    }
  }
  for (std::size_t index = 0; index < actions.size(); ++index) {
    if (graph.vertices_[index].waits_for > 0) continue;
    graph.steps_[index].state = State::ready;
    graph.ready_.insert(graph.ready_.end(), index);
  }
  return graph;
}

Result<ActionGraph::Connections> ActionGraph::connect(const StartGraphCommand& command) {
  const std::vector<GraphAction>& actions = command.actions;
  if (actions.empty()) return invalid("A graph needs an action at least.");
  if (command.concurrency_max < 1) {
    return invalid(fmt::format("At least 1 action of a graph must run at once, not {}.",
                               command.concurrency_max));
  }
  Connections connections;
  std::vector<Vertex>& vertices = connections.vertices;
  std::unordered_map<std::string_view, std::size_t> found;
  found.reserve(actions.size());
  for (std::size_t index = 0; index < actions.size(); ++index) {
    const std::string& id = actions[index].id;
    if (id.empty()) return invalid(fmt::format("Action {} of the graph has no id.", index + 1));
    if (!found.emplace(id, index).second) {
      return invalid(fmt::format("Two actions of the graph have the id '{}'.", id));
    }
  }
  vertices.resize(actions.size());
  const auto join = [&](const std::string& name, const char* const kind,
                        std::map<std::string_view, std::size_t>& own,
                        const std::size_t member) -> Result<void> {
    if (name.empty()) return {};
    const auto [known, fresh] = own.try_emplace(name, vertices.size());
    if (fresh) {
      if (!found.emplace(name, vertices.size()).second) {
        return invalid(
            fmt::format("'{}' is a {} of the graph and something else, too: what depends "
                        "on it could mean either.",
                        name, kind));
      }
      vertices.emplace_back();
      connections.joins.push_back(name);
    }
    vertices[member].unblocks.push_back(known->second);
    ++vertices[known->second].waits_for;
    return {};
  };
  std::map<std::string_view, std::size_t> sync_points;
  std::map<std::string_view, std::size_t> groups;
  for (std::size_t index = 0; index < actions.size(); ++index) {
    auto joined = join(actions[index].sync_point, "sync point", sync_points, index);
    if (!joined) return joined.error();
  }
  connections.sync_points = sync_points.size();
  for (std::size_t index = 0; index < actions.size(); ++index) {
    auto joined = join(actions[index].group, "group", groups, index);
    if (!joined) return joined.error();
  }
  for (std::size_t index = 0; index < actions.size(); ++index) {
    std::set<std::size_t> wanted;
    for (const std::string& name : actions[index].depends_on) {
      const auto known = found.find(name);
      if (known == found.end()) {
        std::vector<std::string> names;
        for (const auto& [there, vertex] : found) names.emplace_back(there);
        const auto nearest = nearest_names(name, names);
        return invalid(fmt::format(
            "Action '{}' depends on '{}', which is no action, sync point or group of the graph{}",
            actions[index].id, name,
            nearest.empty() ? std::string{"."}
                            : fmt::format("; did you mean {}?", fmt::join(nearest, ", "))));
      }
      wanted.insert(known->second);
    }
    vertices[index].waits_for = wanted.size();
    for (const std::size_t vertex : wanted) vertices[vertex].unblocks.push_back(index);
  }

  std::vector<std::size_t> open;
  std::vector<std::size_t> left;
  for (const Vertex& vertex : vertices) left.push_back(vertex.waits_for);
  for (std::size_t vertex = 0; vertex < left.size(); ++vertex) {
    if (left[vertex] == 0) open.push_back(vertex);
  }
  std::size_t reached = 0;
  for (; !open.empty(); ++reached) {
    const std::size_t vertex = open.back();
    open.pop_back();
    for (const std::size_t next : vertices[vertex].unblocks) {
      if (--left[next] == 0) open.push_back(next);
    }
  }
  if (reached < vertices.size()) return cycle(actions, connections);
  return connections;
}

// One of them, as a path: depth first, without recursion, since a graph may be one long chain.
Error ActionGraph::cycle(const std::vector<GraphAction>& actions, const Connections& connections) {
  const std::vector<Vertex>& vertices = connections.vertices;
  const auto name_of = [&](const std::size_t vertex) {
    return vertex < actions.size() ? actions[vertex].id
                                   : connections.joins[vertex - actions.size()];
  };
  enum class Mark : std::uint8_t { unseen, open, done };
  std::vector<Mark> marks(vertices.size(), Mark::unseen);
  for (std::size_t root = 0; root < vertices.size(); ++root) {
    std::vector<std::pair<std::size_t, std::size_t>> path;  // vertex, and its next edge
    if (marks[root] == Mark::unseen) path.emplace_back(root, 0);
    while (!path.empty()) {
      auto& [vertex, edge] = path.back();
      marks[vertex] = Mark::open;
      if (edge == vertices[vertex].unblocks.size()) {
        marks[vertex] = Mark::done;
        path.pop_back();
        continue;
      }
      const std::size_t next = vertices[vertex].unblocks[edge++];
      if (marks[next] == Mark::open) {
        const auto begin = std::find_if(path.begin(), path.end(),
                                        [next](const auto& entry) { return entry.first == next; });
        std::string text = fmt::format("'{}'", name_of(next));
        for (auto entry = path.end(); entry != begin; --entry) {
          text += fmt::format(" waits for '{}'", name_of(std::prev(entry)->first));
          text += std::prev(entry) == begin ? "" : ", which";
        }
        return invalid(fmt::format("The actions of the graph wait for one another: {}.", text));
      }
      if (marks[next] == Mark::unseen) path.emplace_back(next, 0);
    }
  }
  return invalid("The actions of the graph wait for one another.");
}

const std::string& ActionGraph::name(const Step step) const {
  const StepState& state = steps_[step];
  const GraphAction& action = command_.actions[state.action];
  return state.compensation ? action.compensations[*state.compensation].name : action.name;
}

const Payload& ActionGraph::parameters(const Step step) const {
  const StepState& state = steps_[step];
  const GraphAction& action = command_.actions[state.action];
  return state.compensation ? action.compensations[*state.compensation].parameters
                            : action.parameters;
}

const ActionOptions& ActionGraph::options(const Step step) const {
  const StepState& state = steps_[step];
  const GraphAction& action = command_.actions[state.action];
  return state.compensation ? action.compensations[*state.compensation].options : action.options;
}

std::optional<int> ActionGraph::retries(const Step step) const {
  const StepState& state = steps_[step];
  const GraphAction& action = command_.actions[state.action];
  if (state.compensation || action.on_error != ErrorStrategy::retry) return std::nullopt;
  return action.retries;
}

std::vector<ActionGraph::Step> ActionGraph::to_begin() const {
  std::vector<Step> steps;
  if (stopped_by_) {
    if (running_ == 0 && !compensations_.empty()) steps.push_back(compensations_.front());
    return steps;
  }
  const auto room = static_cast<std::size_t>(command_.concurrency_max);
  for (auto next = ready_.begin(); next != ready_.end() && running_ + steps.size() < room; ++next) {
    steps.push_back(*next);
  }
  return steps;
}

void ActionGraph::begin(const Step step) {
  StepState& state = steps_[step];
  state.state = State::running;
  ++running_;
  if (state.compensation) {
    std::erase(compensations_, step);
  } else {
    ready_.erase(step);
  }
}

void ActionGraph::end(const Step step, Outcome outcome) {
  StepState& state = steps_[step];
  state.state = outcome.succeeded ? State::succeeded : State::failed;
  state.outcome = std::move(outcome);
  outcome_bytes_ += state.outcome.json.size();
  --running_;
  if (!state.compensation) {
    const ErrorStrategy strategy = command_.actions[state.action].on_error;
    if (state.outcome.succeeded) {
      succeeded_.push_back(step);
      unblock(step);
    } else if (strategy == ErrorStrategy::go_on) {
      unblock(step);
    } else {
      if (!stopped_by_) stopped_by_ = step;
      compensates_ = compensates_ || strategy == ErrorStrategy::compensate;
    }
  }
  if (stopped_by_ && running_ == 0 && compensates_ && !compensated_) plan_compensations();
}

void ActionGraph::unblock(const std::size_t vertex) {
  std::vector<std::size_t> done{vertex};
  while (!done.empty()) {
    const std::size_t next = done.back();
    done.pop_back();
    for (const std::size_t waiting : vertices_[next].unblocks) {
      if (--vertices_[waiting].waits_for > 0) continue;
      if (waiting >= command_.actions.size()) {
        const std::size_t join = waiting - command_.actions.size();
        if (join < sync_points_) reached_.push_back(joins_[join]);
        done.push_back(waiting);
      } else {
        steps_[waiting].state = State::ready;
        ready_.insert(waiting);
      }
    }
  }
}

void ActionGraph::plan_compensations() {
  for (auto action = succeeded_.rbegin(); action != succeeded_.rend(); ++action) {
    for (std::size_t which = 0; which < command_.actions[*action].compensations.size(); ++which) {
      compensations_.push_back(first_compensation_[*action] + which);
    }
  }
  compensated_ = !compensations_.empty();
}

std::vector<ActionGraph::Step> ActionGraph::retriable() const {
  std::vector<Step> steps;
  if (!stopped_by_ || compensated_) return steps;
  for (Step step = 0; step < command_.actions.size(); ++step) {
    if (steps_[step].state == State::failed &&
        command_.actions[step].on_error != ErrorStrategy::go_on) {
      steps.push_back(step);
    }
  }
  return steps;
}

void ActionGraph::try_again(const Step step) {
  StepState& state = steps_[step];
  state.state = State::ready;
  outcome_bytes_ -= state.outcome.json.size();
  state.outcome = {};
  ++state.generation;
  ready_.insert(step);
  stopped_by_.reset();
  compensates_ = false;
}

std::vector<ActionGraph::Step> ActionGraph::skipped() const {
  std::vector<Step> steps;
  for (Step step = 0; step < steps_.size(); ++step) {
    const State state = steps_[step].state;
    if (state != State::succeeded && state != State::failed) steps.push_back(step);
  }
  return steps;
}

std::vector<std::string> ActionGraph::sync_points() const {
  return {joins_.begin(), joins_.begin() + static_cast<std::ptrdiff_t>(sync_points_)};
}

std::vector<std::string> ActionGraph::joined_by(const std::string_view sync_point) const {
  std::vector<std::string> ids;
  for (const GraphAction& action : command_.actions) {
    if (action.sync_point == sync_point) ids.push_back(action.id);
  }
  return ids;
}

void ActionGraph::append_outcome(std::string& out, const StepState& step) const {
  out += step.state == State::succeeded ? R"(,"success":true)" : R"(,"success":false)";
  if (step.state == State::succeeded) {
    if (!step.outcome.json.empty()) {
      out += R"(,"result":)";
      out += step.outcome.json;
    }
  } else if (step.state == State::failed) {
    out += R"(,"error":)";
    out += step.outcome.json;
  } else {
    Failure skipped;
    skipped.name = "ActionSkippedError";
    skipped.code = "skipped";
    skipped.message = fmt::format("it did not run, since '{}' failed",
                                  stopped_by_ ? command_.actions[*stopped_by_].id : std::string{});
    skipped.failure_class = FailureClass::permanent;
    out += R"(,"error":)";
    out += encode_failure(skipped);
  }
  const bool ran = step.state == State::succeeded || step.state == State::failed;
  out += fmt::format(R"(,"attempts":{})", ran ? step.outcome.attempts : 0);
}

std::string ActionGraph::outcomes() const {
  std::string out = "[";
  for (std::size_t index = 0; index < command_.actions.size(); ++index) {
    const GraphAction& action = command_.actions[index];
    if (index > 0) out += ',';
    out += R"({"actionId":)";
    append_text(out, action.id);
    out += R"(,"actionName":)";
    append_text(out, action.name);
    append_outcome(out, steps_[index]);
    // Where it was to be undone: how that went.
    if (compensated_ && steps_[index].state == State::succeeded && !action.compensations.empty()) {
      out += R"(,"compensations":[)";
      for (std::size_t which = 0; which < action.compensations.size(); ++which) {
        if (which > 0) out += ',';
        out += R"({"actionName":)";
        append_text(out, action.compensations[which].name);
        append_outcome(out, steps_[first_compensation_[index] + which]);
        out += '}';
      }
      out += ']';
    }
    out += '}';
  }
  out += ']';
  return out;
}

}  // namespace pawl
