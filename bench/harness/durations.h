#pragma once

#include <chrono>
#include <cstddef>
#include <vector>

namespace bench {

class Stopwatch {
 public:
  double ms() const {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begun_)
        .count();
  }
  double seconds() const { return ms() / 1'000; }

 private:
  std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
};

template <class F>
double milliseconds(const F& work) {
  const Stopwatch watch;
  work();
  return watch.ms();
}

// Of values in ascending order, at least one.
inline double quantile(const std::vector<double>& sorted, const double q) {
  return sorted[static_cast<std::size_t>(q * static_cast<double>(sorted.size() - 1))];
}

}  // namespace bench
