// SPDX-License-Identifier: MIT
// Matrix multiplication over chunk tables.
#pragma once

#include <atomic>
#include <cstdint>

#include "runtime/src/device/device.h"
#include "runtime/src/device/soft/soft_pool.h"

namespace godwit {

/// 0 or -EINVAL: shapes, leading dimensions, alignment, and every frame that will be touched.
[[nodiscard]] int check_gemm(const GemmCommand& command, std::uint64_t vram_bytes) noexcept;

/// Runs a checked command; gives up within a block (about a millisecond) once `lost` is set.
void run_gemm(const GemmCommand& command, std::byte* vram, SoftPool& pool,
              const std::atomic<bool>& lost) noexcept;

/// Floating-point operations of the command, for the rates in DeviceInfo.
[[nodiscard]] double gemm_flops(const GemmCommand& command) noexcept;

}  // namespace godwit
