// SPDX-License-Identifier: MIT
// Repetitions of one measurement: median and quartiles, because the cores are rarely ours alone.
#pragma once

#include <time.h>

#include <algorithm>
#include <cstddef>
#include <vector>

namespace godwit::bench {

class Samples {
 public:
  void add(double value) { values_.push_back(value); }
  [[nodiscard]] bool empty() const { return values_.empty(); }
  [[nodiscard]] std::size_t count() const { return values_.size(); }
  [[nodiscard]] double median() const { return quantile(0.5); }
  [[nodiscard]] double lower() const { return quantile(0.25); }
  [[nodiscard]] double upper() const { return quantile(0.75); }

  /// By linear interpolation; 0 where there are no values.
  [[nodiscard]] double quantile(double part) const {
    if (values_.empty()) return 0;
    std::vector<double> sorted = values_;
    std::sort(sorted.begin(), sorted.end());
    const double at = part * static_cast<double>(sorted.size() - 1);
    const auto below = static_cast<std::size_t>(at);
    const std::size_t above = std::min(below + 1, sorted.size() - 1);
    return sorted[below] + (sorted[above] - sorted[below]) * (at - static_cast<double>(below));
  }

 private:
  std::vector<double> values_;
};

/// CLOCK_MONOTONIC, or CLOCK_THREAD_CPUTIME_ID to see through other load on the machine: then rows
/// with several threads mean nothing.
inline clockid_t the_clock = CLOCK_MONOTONIC;

[[nodiscard]] inline double seconds_now() {
  timespec now{};
  (void)::clock_gettime(the_clock, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

/// Seconds that `work` takes.
template <typename Work>
[[nodiscard]] double seconds_of(Work&& work) {
  const double start = seconds_now();
  work();
  return seconds_now() - start;
}

}  // namespace godwit::bench
