// SPDX-License-Identifier: MIT
// Walks through lists, trees and rows by a program's pointers.
#pragma once

#include <atomic>
#include <cstdint>

#include "runtime/src/device/device.h"

namespace godwit {

/// 0 or -EINVAL: check_walk(), and every frame of the memory.
[[nodiscard]] int check_soft_walk(const WalkCommand& command, std::uint64_t vram_bytes) noexcept;

/// Runs a checked command; gives up within some nodes once `lost` is set.
void run_walk(const WalkCommand& command, std::byte* vram, const std::atomic<bool>& lost) noexcept;

}  // namespace godwit
