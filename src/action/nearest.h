#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/name.h"

namespace pawl {

// ". Did you mean 'x'?", or nothing.
inline std::string did_you_mean(const std::string_view name,
                                const std::vector<std::string>& known) {
  const std::vector<std::string> nearest = nearest_names(name, known, 1);
  return nearest.empty() ? "" : ". Did you mean '" + nearest.front() + "'?";
}

}  // namespace pawl
