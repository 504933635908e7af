#pragma once

// Everything for workflows and actions in C++, but for what is a library of its own: pawl/http_request.h.

#include <pawl/action.h>
#include <pawl/action_metadata.h>
#include <pawl/awaitable.h>
#include <pawl/builtin_actions.h>
#include <pawl/compensations.h>
#include <pawl/database.h>
#include <pawl/describe.h>
#include <pawl/error.h>
#include <pawl/graph.h>
#include <pawl/json.h>
#include <pawl/lock.h>
#include <pawl/workflow.h>
#include <pawl/workflow_runtime.h>
