#pragma once

// What is checked of a request before anything is done about it, whoever takes it: an engine, or a
// client beside one.

#include <optional>
#include <string>
#include <vector>

#include "core/store.h"
#include "pawl/error.h"
#include "pawl/runtime.h"

namespace pawl {

std::optional<Error> check_start(const StartRequest& request, const Limits& limits);
std::optional<Error> check_event(const EventRequest& request, const Limits& limits);
// Of whom, by whom and why.
std::optional<Error> check_operator(const std::string& tenant, const std::string& execution_id,
                                    const std::string& by, const std::string& reason,
                                    const Limits& limits);

Result<ExecutionQuery> list_query_of(const ListQuery& query, const Limits& limits);
ListPage list_page_of(const std::vector<ExecutionRecord>& records, const ExecutionQuery& query);

}  // namespace pawl
