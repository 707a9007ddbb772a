// SPDX-License-Identifier: MIT
// The small class: mimalloc, and the answer to "is this one of its blocks?".
//
// mi_is_in_heap_region() of mimalloc 2.0 knows only addresses below 20 TiB, and whatever mimalloc
// maps above (blocks over 1 GiB; anything, once its address hints are used up) it does not
// recognise. free() needs a certain answer, so mimalloc gets its address space from here: one range
// inside a window that the kernel and other allocators do not use by themselves. mimalloc's own
// hints fall into the same window. What still comes from elsewhere is written into a table.
#pragma once

#include <cstddef>
#include <cstdint>

namespace godwit::preload {

/// 2 TiB to 32 TiB: above the heap of programs at fixed addresses, far below those of others.
inline constexpr uintptr_t kWindowBase = uintptr_t{2} << 40;
inline constexpr uintptr_t kWindowBytes = uintptr_t{30} << 40;

/// Reserves mimalloc's address space; the first call does, others return at once. Before any block.
void small_heap_prepare() noexcept;

/// Notes a block of mimalloc's that may lie outside of the window: any of 64 KiB or more.
void small_heap_note(const void* block) noexcept;
/// To be called before such a block is freed: its addresses may then belong to anyone.
void small_heap_forget(const void* block) noexcept;

[[nodiscard]] bool small_heap_noted(const void* block) noexcept;

/// True when mi_free() is the function for this block. Never for NULL.
[[nodiscard]] inline bool small_heap_owns(const void* block) noexcept {
  if (reinterpret_cast<uintptr_t>(block) - kWindowBase < kWindowBytes) [[likely]]
    return true;
  return small_heap_noted(block);
}

}  // namespace godwit::preload
