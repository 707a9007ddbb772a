// SPDX-License-Identifier: MIT
// Makes room in VRAM: the chunks that were used least recently come home, or are dropped where
// RAM has an identical copy.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/src/transfer/block_mover.h"

namespace godwit {

class Evictor {
 public:
  Evictor(Core& core, BlockMover& mover) : core_(core), mover_(mover) {}

  /// Fills the reserve up to `wanted` frames, evicting chunks that were last used before `before`
  /// (a VramFrames clock) where free frames run out. The caller holds no block's lock.
  /// Returns how many frames are still lacking.
  [[nodiscard]] std::size_t fill(FrameReserve& reserve, std::size_t wanted,
                                 std::uint64_t before) noexcept;

  static constexpr std::uint64_t kAny = ~std::uint64_t{0};

 private:
  enum class Outcome : std::uint8_t {
    kEvicted,
    kBusy,  // none, but somebody had the block of a candidate locked
    kNone,
  };
  [[nodiscard]] Outcome evict_one(std::uint64_t before) noexcept;

  Core& core_;
  BlockMover& mover_;
};

}  // namespace godwit
