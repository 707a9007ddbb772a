// SPDX-License-Identifier: MIT
#include "runtime/src/blas/device_rates.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>

#include "runtime/src/blas/staging.h"
#include "runtime/src/stats/telemetry.h"

namespace godwit {
namespace {

constexpr double kAssumedLaunch = 50e-6;
constexpr std::uint64_t kProbeSize = 512;
constexpr double kNewest = 0.3;  // weight of the newest of the rates that are learned

/// Multiplies zeros of size^3 and returns the seconds, or a negative errno.
double time_of(Device& device, const Hold& hold, bool double_precision, std::uint64_t size) {
  GemmCommand command;
  command.type = double_precision ? ScalarType::kDouble : ScalarType::kFloat;
  command.m = command.n = command.k = size;
  command.lda = command.ldb = command.ldc = size;
  const std::uint64_t bytes = size * size * scalar_bytes(command.type);
  command.a = subspan(hold.span(0), 0, bytes);
  command.b = subspan(hold.span(0), bytes, bytes);
  command.c = subspan(hold.span(0), 2 * bytes, bytes);
  const std::uint64_t start = monotonic_ns();
  Ticket ticket = 0;
  int error = device.submit(command, &ticket);
  const double flops = gemm_flops(false, size, size, size);
  if (error == 0) error = wait_for_gemm(device, ticket, flops);
  return error != 0 ? error : static_cast<double>(monotonic_ns() - start) * 1e-9;
}

}  // namespace

int wait_for_gemm(Device& device, Ticket ticket, double flops) noexcept {
  // A device of 10 MFLOP/s is slower than any that exists.
  const double bound = std::min(60 + flops / 1e7, 1e6);
  return device.finish(ticket, std::chrono::nanoseconds(static_cast<std::int64_t>(bound * 1e9)));
}

void DeviceRates::learn(bool double_precision, double flops, double seconds) {
  if (flops < kLeastFlops || seconds <= 0) return;
  const std::lock_guard lock(mutex_);
  double& known = precisions_[double_precision ? 1 : 0].flops;
  const double now = flops / seconds;
  known = known <= 0 ? now : known + kNewest * (now - known);
}

GemmRates DeviceRates::rates(bool double_precision, const DeviceInfo& info) const {
  GemmRates rates;
  rates.to_device = info.to_device_rate;
  rates.from_device = info.to_host_rate;
  const std::lock_guard lock(mutex_);
  rates.launch_seconds = launch_seconds_ > 0 ? launch_seconds_ : kAssumedLaunch;
  rates.device_flops = precisions_[double_precision ? 1 : 0].flops;
  if (rates.device_flops <= 0) {
    rates.device_flops = double_precision ? info.double_rate : info.float_rate;
  }
  return rates;
}

void DeviceRates::probe(Engine& engine, Device& device, bool double_precision) {
  const std::lock_guard probing(probing_);
  Precision& precision = precisions_[double_precision ? 1 : 0];
  {
    const std::lock_guard lock(mutex_);
    if (precision.probed || precision.flops > 0) return;
    precision.probed = true;
  }
  const std::size_t element = double_precision ? sizeof(double) : sizeof(float);
  Result<std::unique_ptr<Hold>> hold = engine.scratch(3 * kProbeSize * kProbeSize * element);
  if (!hold) return;
  // The first of each also pays for compiling and for the first touch of memory.
  if (time_of(device, **hold, double_precision, 16) < 0) return;
  const double launch = time_of(device, **hold, double_precision, 16);
  double seconds = time_of(device, **hold, double_precision, kProbeSize);
  if (launch < 0 || seconds < 0) return;
  if (seconds < 0.5) {
    const double again = time_of(device, **hold, double_precision, kProbeSize);
    if (again > 0) seconds = std::min(seconds, again);
  }
  learn(double_precision, gemm_flops(false, kProbeSize, kProbeSize, kProbeSize), seconds);
  const std::lock_guard lock(mutex_);
  launch_seconds_ = launch_seconds_ > 0 ? std::min(launch_seconds_, launch) : launch;
}

}  // namespace godwit
