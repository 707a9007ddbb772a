// SPDX-License-Identifier: MIT
// The three sizes that memory is counted in, and page arithmetic on them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace godwit {

/// A page: the unit of residency. The CPU's MMU cannot do less.
inline constexpr std::size_t kPageBytes = 4096;
/// A chunk: the unit of VRAM (one frame holds one chunk) and of allocation in the arena.
inline constexpr std::size_t kChunkBytes = std::size_t{64} << 10;
/// A block: the unit of locking, of arming and of bulk transfer; one huge page.
inline constexpr std::size_t kBlockBytes = std::size_t{2} << 20;

inline constexpr std::size_t kPagesPerChunk = kChunkBytes / kPageBytes;
inline constexpr std::size_t kPagesPerBlock = kBlockBytes / kPageBytes;
inline constexpr std::size_t kChunksPerBlock = kBlockBytes / kChunkBytes;

[[nodiscard]] constexpr std::size_t align_down(std::size_t value, std::size_t unit) {
  return value / unit * unit;
}
[[nodiscard]] constexpr std::size_t align_up(std::size_t value, std::size_t unit) {
  return (value + unit - 1) / unit * unit;
}

}  // namespace godwit
