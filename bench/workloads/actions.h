#pragma once

#include <pawl/pawl.h>

namespace bench {

// The action that most workloads run: it does nothing.
struct Step {
  struct Parameters {
    int number = 0;
  };
  struct Result {
    int number = 0;
  };
};
PAWL_DESCRIBE(Step::Parameters, number);
PAWL_DESCRIBE(Step::Result, number);

inline void register_step(pawl::WorkflowRuntime& runtime) {
  runtime.register_action<Step>([](Step::Parameters p) { return Step::Result{p.number}; }).value();
}

}  // namespace bench
