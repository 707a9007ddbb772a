// SPDX-License-Identifier: MIT
// Managed blocks that were freed with all of their pages in RAM, kept for the next request of about
// their size: a program that allocates, fills and frees its buffers again and again pays for their
// pages once. What was in VRAM is given back at once, so that VRAM is never held for nobody; what is
// lent to a peer too, since its device may still write there.
#pragma once

#include <cstddef>

namespace godwit::preload {

/// Before the first managed block. `bytes`: how much is kept at most; 0 keeps nothing.
void region_cache_start(size_t bytes) noexcept;

/// A kept block of at least `bytes`, at most a quarter more, aligned to `alignment` (0 or a power of
/// two); null where there is none. Its bytes are what they were at its free.
[[nodiscard]] void* region_cache_take(size_t bytes, size_t alignment) noexcept;

/// Keeps a block of `bytes`, and puts out in `victims` the older blocks that have to go for it.
/// Answers how many these are, or -1: it is not kept.
inline constexpr int kMostVictims = 32;
[[nodiscard]] int region_cache_put(void* block, size_t bytes,
                                   void* (&victims)[kMostVictims]) noexcept;

/// True while the block is kept: freeing it again is the caller's mistake.
[[nodiscard]] bool region_cache_holds(const void* block) noexcept;

/// Takes any one block out, for malloc_trim(); null where there is none.
[[nodiscard]] void* region_cache_take_any() noexcept;

/// Around a fork, in this order with the other locks of the library: last locked, first unlocked.
void region_cache_fork_prepare() noexcept;
void region_cache_fork_parent() noexcept;
void region_cache_fork_child() noexcept;

}  // namespace godwit::preload
