// SPDX-License-Identifier: MIT
#include "runtime/src/residency/vram_frames.h"

#include <algorithm>

namespace godwit {

VramFrames::VramFrames(std::uint64_t vram_bytes)
    : frames_(vram_bytes / kChunkBytes), free_(frames_.size()) {}

std::size_t VramFrames::free_count() const {
  const std::lock_guard guard(mutex_);
  return free_;
}

std::size_t VramFrames::take(std::span<std::uint32_t> out) noexcept {
  const std::lock_guard guard(mutex_);
  const std::size_t wanted = std::min(out.size(), free_);
  if (wanted == 0) return 0;
  const std::size_t total = frames_.size();
  while (!frames_[lowest_free_].free) ++lowest_free_;
  // One pass for a run of the wanted length, from the bottom: frames that were used before are
  // used again, and the rest of VRAM is not touched before it is needed.
  std::size_t run = 0;
  std::size_t found = total;
  for (std::size_t at = lowest_free_; at < total; ++at) {
    run = frames_[at].free ? run + 1 : 0;
    if (run == wanted) {
      found = at + 1 - wanted;
      break;
    }
  }
  std::size_t taken = 0;
  std::size_t at = found == total ? lowest_free_ : found;
  for (; taken < wanted && at < total; ++at) {
    if (!frames_[at].free) continue;
    frames_[at].free = false;
    out[taken++] = static_cast<std::uint32_t>(at);
  }
  free_ -= taken;
  return taken;
}

void VramFrames::give_back(std::uint32_t frame) noexcept {
  const std::lock_guard guard(mutex_);
  if (frames_[frame].bound) unlink(frame);
  frames_[frame] = Frame{};
  lowest_free_ = std::min<std::size_t>(lowest_free_, frame);
  ++free_;
}

void VramFrames::bind(std::uint32_t frame, std::size_t chunk) noexcept {
  const std::lock_guard guard(mutex_);
  frames_[frame].chunk = chunk;
  frames_[frame].bound = true;
  append(frame);
}

void VramFrames::touch(std::uint32_t frame) noexcept {
  const std::lock_guard guard(mutex_);
  unlink(frame);
  append(frame);
}

void VramFrames::hold(std::uint32_t frame, bool write) noexcept {
  const std::lock_guard guard(mutex_);
  ++(write ? frames_[frame].writers : frames_[frame].readers);
  unlink(frame);
  append(frame);
}

void VramFrames::release(std::uint32_t frame, bool write) noexcept {
  const std::lock_guard guard(mutex_);
  --(write ? frames_[frame].writers : frames_[frame].readers);
}

VramFrames::Holds VramFrames::holds(std::uint32_t frame) const noexcept {
  const std::lock_guard guard(mutex_);
  return {frames_[frame].readers, frames_[frame].writers};
}

std::uint64_t VramFrames::now() const noexcept {
  const std::lock_guard guard(mutex_);
  return clock_;
}

std::size_t VramFrames::victim(std::uint64_t before, std::size_t skip) const noexcept {
  const std::lock_guard guard(mutex_);
  for (std::uint32_t at = oldest_; at != kNone; at = frames_[at].next) {
    const Frame& frame = frames_[at];
    if (frame.used >= before) return kNoVictim;  // the list is ordered by use
    if (frame.readers + frame.writers != 0) continue;
    if (skip == 0) return frame.chunk;
    --skip;
  }
  return kNoVictim;
}

void VramFrames::unlink(std::uint32_t index) noexcept {
  Frame& frame = frames_[index];
  (frame.previous == kNone ? oldest_ : frames_[frame.previous].next) = frame.next;
  (frame.next == kNone ? newest_ : frames_[frame.next].previous) = frame.previous;
  frame.previous = frame.next = kNone;
}

void VramFrames::append(std::uint32_t index) noexcept {
  Frame& frame = frames_[index];
  frame.previous = newest_;
  frame.next = kNone;
  (newest_ == kNone ? oldest_ : frames_[newest_].next) = index;
  newest_ = index;
  frame.used = clock_++;
}

}  // namespace godwit
