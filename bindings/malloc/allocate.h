// SPDX-License-Identifier: MIT
// What the exported names of the malloc family have in common.
#pragma once

#include <atomic>
#include <cstddef>

namespace godwit::preload {

/// Requests below are for the small heap. 0 until the library's constructor has run, so that until
/// then every request takes the slow path.
extern constinit std::atomic<size_t> small_limit;

/// Requests of small_limit bytes and more, and all before the constructor. `alignment` is 0 or a
/// power of two. Null with errno set.
[[nodiscard]] void* allocate_slow(size_t bytes, size_t alignment) noexcept;
[[nodiscard]] void* allocate_zeroed_slow(size_t bytes) noexcept;

/// Any size; `alignment` is a power of two. Null with errno set.
[[nodiscard]] void* allocate_aligned(size_t bytes, size_t alignment) noexcept;

/// The rest of realloc(): a block that is managed, foreign, or to become managed.
[[nodiscard]] void* reallocate_slow(void* block, size_t bytes) noexcept;

/// free() of what is not an ordinary block of the small heap; NULL is allowed.
void free_slow(void* block) noexcept;

[[nodiscard]] size_t usable_size(void* block) noexcept;

}  // namespace godwit::preload
