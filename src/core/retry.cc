#include "core/retry.h"

#include <algorithm>
#include <cmath>

#include "base/random.h"

namespace pawl {

std::optional<DurationMs> retry_delay(const RetryPolicy& policy, const Failure& failure,
                                      const int attempt, const std::uint64_t seed) {
  if (attempt >= policy.max_attempts || !is_retryable(failure.failure_class)) return std::nullopt;
  const bool refused = std::any_of(
      policy.non_retryable.begin(), policy.non_retryable.end(),
      [&](const std::string& name) { return name == failure.name || name == failure.code; });
  if (refused) return std::nullopt;
  constexpr double kDelayMaxMs = 0x1.0p62;  // what surely is a DurationMs still
  if (policy.initial_interval <= 0) return 0;
  const double grown = static_cast<double>(policy.initial_interval) *
                       std::pow(policy.backoff, static_cast<double>(attempt - 1));
  const double capped = std::min(grown, static_cast<double>(policy.max_interval));
  // Uniform in [-1, 1), from the upper 53 bits.
  const std::uint64_t bits = mix_bits(seed + static_cast<std::uint64_t>(attempt));
  const double share = static_cast<double>(bits >> 11) * 0x1.0p-52 - 1.0;
  const double spread = capped * (1.0 + policy.jitter * share);
  return std::max<DurationMs>(0, std::llround(std::min(spread, kDelayMaxMs)));
}

}  // namespace pawl
