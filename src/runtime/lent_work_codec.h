#pragma once

// What workers send each other, as bytes. It lives for moments, between processes that may be of different builds:
// only those of one layout work for each other.

#include <string>
#include <string_view>
#include <vector>

#include "core/lent_work.h"
#include "pawl/error.h"

namespace pawl {

// One more with each change of a struct that is sent.
inline constexpr int kLentWorkLayout = 1;

std::string encode_lent_work(const std::vector<LentWork>& work);
// Errors: internal, for what encode_lent_work() of this layout did not write.
Result<std::vector<LentWork>> decode_lent_work(std::string_view bytes);

// As a column that people read: {"layout":1,"workflows":[{"name","version","build"}],"actions":[{"name","options"}]}
std::string encode_offer(const WorkOffer& offer);
// Nothing is offered by one of another layout.
Result<WorkOffer> decode_offer(std::string_view text);

}  // namespace pawl
