#pragma once

#include <cstdint>

// What this process has taken so far.

namespace bench {

double cpu_seconds();             // of all threads
std::int64_t context_switches();  // of all threads, asked for and not
double rss_mib();                 // resident now
double peak_rss_mib();            // the most so far
void forget_peak_rss();           // from here on it is counted anew

}  // namespace bench
