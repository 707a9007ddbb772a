// SPDX-License-Identifier: MIT
// Fill, add and sum over the 32-bit words of a span.
#pragma once

#include <atomic>
#include <cstdint>

#include "runtime/src/device/device.h"
#include "runtime/src/device/soft/soft_pool.h"

namespace godwit {

/// 0 or -EINVAL; `span` must cover whole words and lie in VRAM.
[[nodiscard]] int check_words(const DeviceSpan& span, std::uint64_t vram_bytes) noexcept;

/// Each gives up between two chunks once `lost` is set.
void run_fill(const FillCommand& command, std::byte* vram, SoftPool& pool,
              const std::atomic<bool>& lost) noexcept;
void run_add(const AddCommand& command, std::byte* vram, SoftPool& pool,
             const std::atomic<bool>& lost) noexcept;
void run_sum(const SumCommand& command, std::byte* vram, SoftPool& pool,
             const std::atomic<bool>& lost) noexcept;

}  // namespace godwit
