// SPDX-License-Identifier: MIT
// Whether a matrix product should go to the device: seconds against seconds. Pure functions; the
// rates come from whoever measured them.
#pragma once

#include <cstdint>
#include <string>

namespace godwit {

/// Bytes that cross the link on either choice.
struct GemmTraffic {
  std::uint64_t to_device = 0;  // operands that are not in VRAM
  std::uint64_t from_device = 0;  // the result, where the CPU is expected to want it next
  std::uint64_t home = 0;  // operands that are only in VRAM: the CPU would have to fetch them
};

/// Zero means not known.
struct GemmRates {
  double to_device = 0;    // bytes a second
  double from_device = 0;
  double launch_seconds = 0;
  double device_flops = 0;  // flop a second
  double cpu_flops = 0;
};

struct GemmDecision {
  bool offload = false;
  double device_seconds = 0;
  double cpu_seconds = 0;
  std::string why;  // one clause with the numbers that it rests on
};

/// Floating-point operations of a product; k == 0 stands for C := beta * C.
[[nodiscard]] double gemm_flops(bool complex, std::uint64_t m, std::uint64_t n, std::uint64_t k);

/// What a CPU is assumed to reach while nobody has measured it: more than most BLAS do, so that a
/// product is left where it is in doubt.
[[nodiscard]] double assumed_cpu_flops(bool double_precision, unsigned cpus);

/// `assumed`: used in place of an unknown cpu_flops.
[[nodiscard]] GemmDecision decide_gemm(double flops, const GemmTraffic& traffic,
                                       const GemmRates& rates, double assumed);

/// "12.5 MiB", "3.2 ms", "41.0 GFLOP/s": for people.
[[nodiscard]] std::string text_bytes(std::uint64_t bytes);
[[nodiscard]] std::string text_seconds(double seconds);
[[nodiscard]] std::string text_rate(double flops);

}  // namespace godwit
