// SPDX-License-Identifier: MIT
#include "runtime/src/transfer/frame_reserve.h"

#include <algorithm>
#include <span>

namespace godwit {

std::size_t FrameReserve::fill(std::size_t wanted) noexcept {
  wanted = std::min(wanted, frames_.size());
  // Compact: what was popped leaves room at the front.
  std::copy(frames_.begin() + static_cast<std::ptrdiff_t>(next_),
            frames_.begin() + static_cast<std::ptrdiff_t>(next_ + count_), frames_.begin());
  next_ = 0;
  if (count_ < wanted) {
    count_ += core_.frames->take(std::span(frames_).subspan(count_, wanted - count_));
  }
  return wanted - std::min(wanted, count_);
}

std::uint32_t FrameReserve::pop() noexcept {
  --count_;
  return frames_[next_++];
}

}  // namespace godwit
