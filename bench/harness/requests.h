#pragma once

// Requests of clients that do not wait on a thread. Where one is refused, the benchmark gives up.

#include <functional>
#include <string>

#include <pawl/runtime.h>

namespace bench {

void start(pawl::Runtime& engine, const char* workflow, std::string execution_id,
           pawl::Payload input, std::function<void(const std::string& id)> done);
void start(pawl::Runtime& engine, const char* workflow,
           std::function<void(const std::string& id)> done);

// The answer comes when the event was processed.
void submit(pawl::Runtime& engine, const std::string& id, const char* event,
            std::function<void()> done);

// Until it has completed, with that result.
void await_completion(pawl::Runtime& engine, const std::string& id, std::string result,
                      std::function<void()> done);

}  // namespace bench
