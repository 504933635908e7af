#include "harness/requests.h"

#include <optional>
#include <utility>

#include <fmt/format.h>

#include "harness/give_up.h"
#include "harness/store_file.h"

namespace bench {

void start(pawl::Runtime& engine, const char* workflow, std::string execution_id,
           pawl::Payload input, std::function<void(const std::string& id)> done) {
  pawl::StartRequest request;
  request.workflow = workflow;
  request.tenant = kTenant;
  request.execution_id = std::move(execution_id);
  request.input = std::move(input);
  engine.start_workflow(std::move(request),
                        [done = std::move(done)](const pawl::Result<std::string>& id) {
                          if (!id) give_up("a start was refused: " + id.error().message);
                          done(*id);
                        });
}

void start(pawl::Runtime& engine, const char* workflow,
           std::function<void(const std::string& id)> done) {
  start(engine, workflow, {}, {}, std::move(done));
}

void submit(pawl::Runtime& engine, const std::string& id, const char* event,
            std::function<void()> done) {
  pawl::EventRequest request;
  request.tenant = kTenant;
  request.execution_id = id;
  request.name = event;
  engine.submit_event(std::move(request),
                      [done = std::move(done)](const pawl::Result<pawl::EventReply>& reply) {
                        if (!reply) give_up("an event was refused: " + reply.error().message);
                        done();
                      });
}

void await_completion(pawl::Runtime& engine, const std::string& id, std::string result,
                      std::function<void()> done) {
  engine.wait_for_completion(kTenant, id, std::nullopt,
                             [result = std::move(result), done = std::move(done)](
                                 const pawl::Result<pawl::ExecutionState>& state) {
                               if (!state) give_up("waiting for an end: " + state.error().message);
                               if (state->status != "completed" || state->result.bytes != result) {
                                 give_up(fmt::format("{} with '{}', and not completed with '{}'",
                                                     state->status, state->result.bytes, result));
                               }
                               done();
                             });
}

}  // namespace bench
