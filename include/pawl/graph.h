#pragma once

// Actions that depend on one another, run as parallel as that allows, without code of the workflow in
// between; see Context::execute_actions.
//
//   pawl::Graph graph;
//   graph.add<CheckStock>("stock", {order.id});
//   graph.add<CheckBudget>("budget", {order.id});
//   graph.add<ChargeCard>("charge", {order.id}, {.depends_on = {"stock", "budget"}})
//       .compensate_with<RefundCard>({order.id});
//   graph.add<BookCourier>("courier", {order.id},
//                          {.depends_on = {"charge"}, .on_error = pawl::ErrorStrategy::compensate});
//   pawl::GraphOutcomes outcomes = co_await ctx.execute_actions(graph);
//   if (!outcomes.succeeded()) co_return Receipt::failed(outcomes.at("courier").error->message);

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <pawl/action.h>
#include <pawl/error.h>
#include <pawl/host.h>
#include <pawl/json.h>
#include <pawl/payload.h>

namespace pawl {

// Of one action in a graph.
struct GraphOptions {
  // Ids of actions, groups and sync points: it begins when all of them are done.
  std::vector<std::string> depends_on = {};
  std::string group = {};       // others can depend on all that are in it
  std::string sync_point = {};  // the same
  ErrorStrategy on_error = ErrorStrategy::stop;
  int retries = 0;      // with ErrorStrategy::retry: attempts after the first, whatever the failure
  RunOptions run = {};  // of its attempts
};

// What an action did to undo another one.
struct CompensationOutcome {
  std::string action;
  bool succeeded = false;
  std::optional<Failure> error;
  int attempts = 0;  // 0: it did not run
};

struct GraphOutcome {
  std::string id;
  std::string action;
  bool succeeded = false;
  Payload result;                // of one that succeeded
  std::optional<Failure> error;  // of one that failed, or did not run ("skipped" is its code)
  int attempts = 0;              // 0: it did not run
  std::vector<CompensationOutcome> compensations;  // that ran for it, in their order

  // Its result as what that action returns.
  template <class A>
  Result<ActionResult<A>, Failure> as() const {
    if (error) return *error;
    if constexpr (std::is_void_v<ActionResult<A>>) {
      return {};
    } else {
      Result<ActionResult<A>> value = from_payload<ActionResult<A>>(result);
      if (value) return {boost::system::in_place_value, std::move(*value)};
      return detail::validation_failure("the action's result is of another shape: " +
                                        value.error().message);
    }
  }
};

// What became of a graph, in the order in which its actions were added.
class GraphOutcomes {
 public:
  GraphOutcomes() = default;
  explicit GraphOutcomes(std::vector<GraphOutcome> all) : all_(std::move(all)) {}
  // As an activation hands it over. Errors: payload_refused.
  static Result<GraphOutcomes> read(const Payload& payload);

  const std::vector<GraphOutcome>& all() const { return all_; }
  // Throws std::out_of_range for an id that is not in the graph.
  const GraphOutcome& at(std::string_view id) const;
  bool succeeded() const;  // all of them

 private:
  std::vector<GraphOutcome> all_;
};

class Graph {
 public:
  // For compensations of the action that was added.
  class Added {
   public:
    Added(Graph& graph, std::size_t index) : graph_(graph), index_(index) {}
    // Undoes it, should an action with ErrorStrategy::compensate fail. Several run one after the other.
    // Throws ErrorException for parameters that can't be carried.
    template <class A>
    Added& compensate_with(const typename A::Parameters& parameters,
                           const RunOptions& options = {}) {
      assert_action_type<A>();
      graph_.actions_[index_].compensations.push_back(
          {std::string(action_name<A>()), to_payload(parameters).value(), action_options(options)});
      return *this;
    }

   private:
    Graph& graph_;
    std::size_t index_;
  };

  Graph() = default;
  explicit Graph(int concurrency_max) : concurrency_max_(concurrency_max) {}

  // Throws ErrorException for parameters that can't be carried.
  template <class A>
  Added add(std::string id, const typename A::Parameters& parameters,
            const GraphOptions& options = {}) {
    assert_action_type<A>();
    GraphAction action;
    action.id = std::move(id);
    action.name = std::string(action_name<A>());
    action.parameters = to_payload(parameters).value();
    action.options = action_options(options.run);
    action.depends_on = options.depends_on;
    action.group = options.group;
    action.sync_point = options.sync_point;
    action.on_error = options.on_error;
    action.retries = options.retries;
    actions_.push_back(std::move(action));
    return Added(*this, actions_.size() - 1);
  }

  const std::vector<GraphAction>& actions() const { return actions_; }
  int concurrency_max() const { return concurrency_max_; }  // so many run at once

 private:
  std::vector<GraphAction> actions_;
  int concurrency_max_ = 10;
};

}  // namespace pawl
