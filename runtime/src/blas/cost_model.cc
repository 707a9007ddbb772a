// SPDX-License-Identifier: MIT
#include "runtime/src/blas/cost_model.h"

#include <algorithm>
#include <cstdio>

namespace godwit {
namespace {

// A link that nobody measured: PCIe 3 with eight lanes.
constexpr double kAssumedLink = 6e9;
// An AVX-512 core with two units at 3 GHz; single precision does twice that.
constexpr double kAssumedCoreFlops = 96e9;

std::string text(const char* format, double value, const char* unit) {
  char buffer[48];
  std::snprintf(buffer, sizeof buffer, format, value, unit);
  return buffer;
}

double transfer_seconds(std::uint64_t bytes, double rate) {
  return static_cast<double>(bytes) / (rate > 0 ? rate : kAssumedLink);
}

}  // namespace

double gemm_flops(bool complex, std::uint64_t m, std::uint64_t n, std::uint64_t k) {
  const double elements = static_cast<double>(m) * static_cast<double>(n);
  const double steps = static_cast<double>(std::max<std::uint64_t>(k, 1));
  return (complex ? 8.0 : 2.0) * elements * steps;
}

double assumed_cpu_flops(bool double_precision, unsigned cpus) {
  return kAssumedCoreFlops * (double_precision ? 1 : 2) * std::max(1U, cpus);
}

GemmDecision decide_gemm(double flops, const GemmTraffic& traffic, const GemmRates& rates,
                         double assumed) {
  GemmDecision decision;
  const bool known = rates.cpu_flops > 0;
  const double cpu_flops = known ? rates.cpu_flops : assumed;
  decision.cpu_seconds =
      flops / cpu_flops + transfer_seconds(traffic.home, rates.from_device);
  const std::string cpu = "CPU " + text_seconds(decision.cpu_seconds) + " at " +
                          (known ? "measured " : "assumed ") + text_rate(cpu_flops) +
                          (traffic.home != 0 ? " with " + text_bytes(traffic.home) + " to fetch"
                                             : "");
  const std::string moves = "moves " + text_bytes(traffic.to_device) + " there and " +
                            text_bytes(traffic.from_device) + " back";
  if (rates.device_flops <= 0) {
    decision.why = moves + "; the device's rate is not known; " + cpu;
    return decision;
  }
  decision.device_seconds = rates.launch_seconds + flops / rates.device_flops +
                            transfer_seconds(traffic.to_device, rates.to_device) +
                            transfer_seconds(traffic.from_device, rates.from_device);
  decision.offload = decision.device_seconds < decision.cpu_seconds;
  decision.why = moves + "; device " + text_seconds(decision.device_seconds) + " at " +
                 text_rate(rates.device_flops) + ", " + cpu;
  return decision;
}

std::string text_bytes(std::uint64_t bytes) {
  const double value = static_cast<double>(bytes);
  if (bytes < (std::uint64_t{1} << 10)) return std::to_string(bytes) + " B";
  if (bytes < (std::uint64_t{1} << 20)) return text("%.1f %s", value / 1024, "KiB");
  if (bytes < (std::uint64_t{1} << 30)) return text("%.1f %s", value / (1 << 20), "MiB");
  return text("%.2f %s", value / (1 << 30), "GiB");
}

std::string text_seconds(double seconds) {
  if (seconds < 1e-3) return text("%.1f %s", seconds * 1e6, "us");
  if (seconds < 1) return text("%.1f %s", seconds * 1e3, "ms");
  return text("%.2f %s", seconds, "s");
}

std::string text_rate(double flops) { return text("%.1f %s", flops / 1e9, "GFLOP/s"); }

}  // namespace godwit
