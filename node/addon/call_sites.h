#pragma once

// Places in the source of workflows, which JavaScript tells once and then names by a number
// (node/src/call_sites.ts). One table for the process; any thread.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <pawl/host.h>

namespace pawl::node {

inline constexpr std::size_t kCallSitesMax = 65'536;

// 1, 2, 3 …; 0 when there are kCallSitesMax.
std::int64_t define_call_site(std::string_view site);
// Empty for a number that was never given.
CallSite call_site(std::int64_t number);

}  // namespace pawl::node
