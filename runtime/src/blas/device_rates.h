// SPDX-License-Identifier: MIT
// How fast the device multiplies matrices, as measured: by the products that it was given, or by
// one that is made up for the purpose when nothing else is known.
#pragma once

#include <mutex>

#include "runtime/src/blas/cost_model.h"
#include "runtime/src/engine/engine.h"

namespace godwit {

/// Thread-safe.
class DeviceRates {
 public:
  /// Products below this teach nothing: their time is mostly that of the launch.
  static constexpr double kLeastFlops = 5e7;

  /// A command on the device took that long, without copies.
  void learn(bool double_precision, double flops, double seconds);
  /// What is known now; cpu_flops is left at 0.
  [[nodiscard]] GemmRates rates(bool double_precision, const DeviceInfo& info) const;
  /// Multiplies zeros, once for each precision, whatever the outcome. Holds up whoever asks at the
  /// same time.
  void probe(Engine& engine, Device& device, bool double_precision);

 private:
  struct Precision {
    double flops = 0;
    bool probed = false;
  };
  mutable std::mutex mutex_;
  std::mutex probing_;
  Precision precisions_[2];
  double launch_seconds_ = 0;
};

/// Waits for a command; bounded by its size. A device that does not answer is declared lost, since
/// nothing it may still be writing to could be released otherwise.
[[nodiscard]] int wait_for_gemm(Device& device, Ticket ticket, double flops) noexcept;

}  // namespace godwit
