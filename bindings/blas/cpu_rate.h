// SPDX-License-Identifier: MIT
// How fast the next BLAS multiplies matrices, learned from the calls that it was given.
#pragma once

#include <atomic>

namespace godwit::blas {

/// Thread-safe; one for each precision. A call can be slow for reasons that say nothing about the
/// BLAS (operands come home, another thread has the CPU), so the estimate rises at once and falls
/// slowly.
class CpuRate {
 public:
  /// Calls below this say more about their overhead.
  static constexpr double kLeastFlops = 1e6;
  static constexpr double kFall = 0.05;

  constexpr CpuRate() noexcept = default;
  void learn(double flops, double seconds) noexcept {
    if (flops < kLeastFlops || seconds <= 0) return;
    const double now = flops / seconds;
    double known = flops_.load(std::memory_order_relaxed);
    double next = 0;
    do {
      next = now >= known ? now : known + kFall * (now - known);
    } while (!flops_.compare_exchange_weak(known, next, std::memory_order_relaxed));
  }
  /// flop/s; 0 while nothing is known.
  [[nodiscard]] double flops() const noexcept { return flops_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> flops_{0};
};

}  // namespace godwit::blas
