// SPDX-License-Identifier: MIT
#include "runtime/src/engine/kernel/known_ranges.h"

#include <algorithm>

#include "godwit/units.h"

namespace godwit::kernel {

bool KnownRanges::in_vram(std::uintptr_t addr, std::size_t bytes) noexcept {
  const std::lock_guard guard(mutex_);
  for (Range& range : ranges_) {
    if (!range.known || addr < range.addr || addr - range.addr > range.bytes ||
        bytes > range.bytes - (addr - range.addr)) {
      continue;
    }
    if (ring_.generation(range.word) == range.generation) {
      range.used = ++clock_;
      return true;
    }
    range.known = false;
  }
  return false;
}

KnownRanges::Range* KnownRanges::room(std::uintptr_t addr, std::size_t bytes) noexcept {
  for (Range& range : ranges_) {
    if (range.addr == addr && range.bytes == bytes) return &range;
  }
  Range* oldest = &*std::min_element(
      ranges_.begin(), ranges_.end(),
      [](const Range& a, const Range& b) { return a.used < b.used; });
  if (oldest->bytes != 0) ring_.unwatch(oldest->word);
  *oldest = {};
  const int word = ring_.watch(addr, bytes);
  if (word < 0) return nullptr;
  *oldest = {addr, bytes, static_cast<std::uint32_t>(word), 0, 0, false};
  return oldest;
}

void KnownRanges::learn(std::uintptr_t addr, std::size_t bytes) noexcept {
  if (bytes < kLeastBytes) return;
  const std::lock_guard guard(mutex_);
  Range* range = room(addr, bytes);
  if (range == nullptr) return;
  range->used = ++clock_;
  // First the word, then the question: a page that moves in between changes the word.
  range->generation = ring_.generation(range->word);
  drm_godwit_residency answer = {};
  answer.addr = addr;
  answer.length = bytes;
  range->known = driver_.call(DRM_IOCTL_GODWIT_RESIDENCY, &answer) == 0 &&
                 answer.in_vram == bytes / kPageBytes;
}

void KnownRanges::forget() noexcept {
  const std::lock_guard guard(mutex_);
  for (Range& range : ranges_) range.known = false;
}

}  // namespace godwit::kernel
