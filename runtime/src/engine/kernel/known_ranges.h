// SPDX-License-Identifier: MIT
// Ranges that were found to be in VRAM as a whole, each with a generation word of the kernel's: as long
// as the word has not changed, none of its pages has moved, and asking that costs one load.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>

#include "runtime/src/engine/kernel/event_ring.h"

namespace godwit::kernel {

/// Thread-safe. The kernel's answers are the truth; this only tells when they need not be repeated.
class KnownRanges {
 public:
  /// Smaller ranges cost less to ask about than to keep.
  static constexpr std::size_t kLeastBytes = std::size_t{256} << 10;
  static constexpr std::size_t kRanges = 64;

  KnownRanges(const Driver& driver, const EventRing& ring) : driver_(driver), ring_(ring) {}

  /// True where every page of the page range is in VRAM, and was when the kernel was asked.
  [[nodiscard]] bool in_vram(std::uintptr_t addr, std::size_t bytes) noexcept;
  /// The range was just brought to VRAM: asks the kernel whether all of it is there, and keeps the
  /// answer. The range that was used least recently makes room.
  void learn(std::uintptr_t addr, std::size_t bytes) noexcept;
  /// Nothing is known any more: events were lost, or the ranges may be others' now.
  void forget() noexcept;

 private:
  struct Range {
    std::uintptr_t addr = 0;
    std::size_t bytes = 0;  // 0: free
    std::uint32_t word = 0;
    std::uint64_t generation = 0;
    std::uint64_t used = 0;
    bool known = false;
  };
  [[nodiscard]] Range* room(std::uintptr_t addr, std::size_t bytes) noexcept;

  const Driver& driver_;
  const EventRing& ring_;
  std::mutex mutex_;  // guards what follows; a leaf
  std::array<Range, kRanges> ranges_;
  std::uint64_t clock_ = 0;
};

}  // namespace godwit::kernel
