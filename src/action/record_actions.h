#pragma once

#include "action/builtin_registration.h"

namespace pawl {

// create_database_record, update_database_record and delete_database_record.
void add_record_actions(detail::BuiltinRegistration& builtins);

}  // namespace pawl
