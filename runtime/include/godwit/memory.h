// SPDX-License-Identifier: MIT
// The words in which a program speaks of its memory: where pages are, where they should be, and
// what became of a request to move them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "godwit/statistics.h"

namespace godwit {

enum class Place : std::uint8_t { kHost, kDevice };

/// Where a page IS, not where it was last asked to be.
enum class Residency : std::uint8_t {
  kUntouched,  // never written, or discarded: reads as zero (or as the file), takes no memory
  kHost,       // in RAM
  kDevice,     // in VRAM
  kBoth,       // in RAM, and an identical copy in VRAM
  kMoving,     // under way at the moment of the question
  kLost,       // its only copy was on a device that was lost
};

/// What the program knows about how a region will be used. Applies to the whole region.
enum class Advice : std::uint8_t {
  kNormal,
  kReadMostly,  // the device mostly reads: VRAM gets copies, pages stay in RAM
  kKeepHost,    // pages never leave RAM; the device works on copies
};

enum class Sharing : std::uint8_t {
  kPrivate,  // stores stay in this process's memory
  kShared,   // sync() and the region's end write pages back whose bytes differ from the file's
};

/// A part of a file as managed memory.
struct MapOptions {
  std::uint64_t offset = 0;  // bytes into the file; need not be aligned
  std::size_t bytes = 0;     // 0: up to the file's end
  Sharing sharing = Sharing::kPrivate;
};

/// A run of pages that could not be moved, and why.
struct Stay {
  void* address = nullptr;
  std::size_t pages = 0;
  StayReason reason = StayReason::kRaced;
};

/// What became of a request to move pages. moved + already + stayed = pages of the range.
struct MoveReport {
  std::size_t moved = 0;    // including those that needed no copy
  std::size_t already = 0;  // were there, or have no contents
  std::size_t stayed = 0;
  std::array<std::size_t, kStayReasonCount> stayed_for{};  // by StayReason
  std::vector<Stay> stays;  // the first kMaxStays runs
  static constexpr std::size_t kMaxStays = 64;
};

}  // namespace godwit
