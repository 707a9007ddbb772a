// SPDX-License-Identifier: MIT
// How much to bring home for one fault: little for a lone touch, the whole block once its
// neighbourhood turns out to be in use.
#pragma once

#include <algorithm>
#include <cstddef>

#include "godwit/units.h"

namespace godwit {

/// Bounds in pages, powers of two, 1 <= least <= most <= kPagesPerBlock.
struct FaultAround {
  std::size_t least = kPagesPerChunk;
  std::size_t most = kPagesPerBlock;
};

struct FaultWindow {
  std::size_t first;  // page within the block
  std::size_t count;
};

/// The window for the (streak + 1)-th fault in a block since pages were last demoted from it:
/// doubled with every fault, aligned to its own size, so that windows never straddle.
[[nodiscard]] constexpr FaultWindow fault_window(std::size_t page_in_block, unsigned streak,
                                                 FaultAround bounds) {
  std::size_t count = bounds.least;
  for (unsigned step = 0; step < streak && count < bounds.most; ++step) count *= 2;
  count = std::min(count, bounds.most);
  return {align_down(page_in_block, count), count};
}

}  // namespace godwit
