#pragma once

#include "pawl/error.h"

namespace pawl {

// What the exception that is being handled says: the name of its type, what(), its code, and what it
// was thrown within (std::throw_with_nested). A FailureException is the failure that it carries. To be
// called in a catch block.
//
// The class follows from the type: std::system_error by its code (a refused connection is external, a
// busy resource contention, a missing file permanent …), std::invalid_argument, std::domain_error,
// std::length_error and std::out_of_range are permanent; all else is transient.
Failure failure_from_current_exception();

}  // namespace pawl
