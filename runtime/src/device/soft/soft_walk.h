// SPDX-License-Identifier: MIT
// Walks through linked lists.
#pragma once

#include <atomic>
#include <cstdint>

#include "runtime/src/device/device.h"

namespace godwit {

/// 0 or -EINVAL: offsets, alignment, and every frame of the memory.
[[nodiscard]] int check_walk(const WalkCommand& command, std::uint64_t vram_bytes) noexcept;

/// Runs a checked command; gives up within some nodes once `lost` is set.
void run_walk(const WalkCommand& command, std::byte* vram,
              const std::atomic<bool>& lost) noexcept;

}  // namespace godwit
