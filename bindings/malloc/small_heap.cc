// SPDX-License-Identifier: MIT
#include "bindings/malloc/small_heap.h"

#include <mimalloc.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

namespace godwit::preload {
namespace {

// mimalloc 2.0's segments, the unit of its address space.
constexpr size_t kSegmentShift = 26;
constexpr size_t kSegmentBytes = size_t{1} << kSegmentShift;
// Only address space. Where this much cannot be had (RLIMIT_AS), mimalloc maps as it needs.
constexpr size_t kReserveBytes = size_t{512} << 30;
constexpr int kReserveTries = 8;

// One bit for each segment of the 47-bit address space: 256 KiB of which pages exist when touched.
constexpr size_t kTableBits = size_t{1} << (47 - kSegmentShift);
constinit std::atomic<uint64_t> table[kTableBits / 64];

constinit std::atomic<bool> prepared{false};

// mimalloc finds a block's segment by (block - 1), since a block with a large alignment may start
// where its segment ends.
size_t segment_index(const void* block) noexcept {
  return (reinterpret_cast<uintptr_t>(block) - 1) >> kSegmentShift;
}

bool in_window(const void* block) noexcept {
  return reinterpret_cast<uintptr_t>(block) - kWindowBase < kWindowBytes;
}

// 40 bits that differ from process to process, without a system call that could block.
uint64_t random_bits() noexcept {
  uint64_t bits = reinterpret_cast<uintptr_t>(&bits) >> 4;
  if (const unsigned long seed = getauxval(AT_RANDOM); seed != 0) {
    uint64_t word;
    memcpy(&word, reinterpret_cast<const void*>(seed), sizeof word);
    bits ^= word;
  }
  // These bytes also make the stack protector's canary: an address must not tell them.
  bits *= 0x9e3779b97f4a7c15u;
  bits ^= bits >> 29;
  bits *= 0xbf58476d1ce4e5b9u;
  return bits >> 24;
}

}  // namespace

void small_heap_prepare() noexcept {
  if (prepared.exchange(true, std::memory_order_acq_rel)) return;
  const uint64_t random = random_bits();
  for (int attempt = 0; attempt < kReserveTries; ++attempt) {
    // 8 to 24 TiB: mimalloc's own hints start at 2 to 6 TiB.
    const uintptr_t base =
        (uintptr_t{8} << 40) +
        ((random + static_cast<uint64_t>(attempt) * 8191) % (uint64_t{16} << 14)) * kSegmentBytes;
    void* reserved = mmap(reinterpret_cast<void*>(base), kReserveBytes, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (reserved == MAP_FAILED) continue;
    // Kernels before 4.17 take the address as a wish.
    const bool where_asked = reinterpret_cast<uintptr_t>(reserved) == base;
    if (where_asked &&
        mi_manage_os_memory_ex(reserved, kReserveBytes, false, false, true, -1, false, nullptr)) {
      return;
    }
    munmap(reserved, kReserveBytes);
    if (where_asked) return;
  }
}

void small_heap_note(const void* block) noexcept {
  if (block == nullptr || in_window(block)) [[likely]]
    return;
  const size_t index = segment_index(block);
  if (index >= kTableBits) return;
  table[index / 64].fetch_or(uint64_t{1} << (index % 64), std::memory_order_release);
}

void small_heap_forget(const void* block) noexcept {
  if (in_window(block)) [[likely]]
    return;
  // Half a segment and more has segments of its own; the others share theirs.
  if (mi_usable_size(block) <= kSegmentBytes / 2) return;
  const size_t index = segment_index(block);
  if (index >= kTableBits) return;
  table[index / 64].fetch_and(~(uint64_t{1} << (index % 64)), std::memory_order_release);
}

bool small_heap_noted(const void* block) noexcept {
  const size_t index = segment_index(block);
  if (block == nullptr || index >= kTableBits) return false;
  return (table[index / 64].load(std::memory_order_acquire) >> (index % 64) & 1) != 0;
}

}  // namespace godwit::preload
