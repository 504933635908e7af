#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/hint_bus.h"
#include "pawl/redis.h"
#include "redis/redis_connection.h"

namespace pawl {

// A dead letter as the fields of an entry, behind the XADD of `command`.
void add_fields(const DeadLetterNote& letter, std::vector<std::string>& command);

// Of an entry [id, [field, value, …]]. None: it is no dead letter.
std::optional<RedisDeadLetter> dead_letter_of(const RedisValue& entry);

}  // namespace pawl
