// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "runtime/src/transfer/core.h"

namespace godwit {

/// Frames that were taken for an operation before it took the block's lock. Returns the rest.
class FrameReserve {
 public:
  explicit FrameReserve(Core& core) : core_(core) {}
  ~FrameReserve() {
    while (count_ != 0) core_.frames->give_back(pop());
  }
  FrameReserve(const FrameReserve&) = delete;
  FrameReserve& operator=(const FrameReserve&) = delete;

  [[nodiscard]] std::size_t count() const noexcept { return count_; }
  /// Takes free frames until there are `wanted` (at most a block's worth); returns how many lack.
  [[nodiscard]] std::size_t fill(std::size_t wanted) noexcept;
  /// Frames go out in the order they were taken, so that contiguous ones stay contiguous.
  [[nodiscard]] std::uint32_t pop() noexcept;

 private:
  Core& core_;
  std::size_t count_ = 0;
  std::size_t next_ = 0;
  std::array<std::uint32_t, kChunksPerBlock> frames_{};
};

}  // namespace godwit
