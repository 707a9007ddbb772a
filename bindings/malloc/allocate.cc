// SPDX-License-Identifier: MIT
#include "bindings/malloc/allocate.h"

#include <errno.h>
#include <mimalloc.h>
#include <stdint.h>
#include <string.h>

#include <algorithm>

#include "bindings/malloc/foreign.h"
#include "bindings/malloc/process_context.h"
#include "bindings/malloc/region_cache.h"
#include "bindings/malloc/settings.h"
#include "bindings/malloc/small_heap.h"

namespace godwit::preload {

constinit std::atomic<size_t> small_limit{0};

namespace {

constexpr size_t kPageBytes = 4096;
// A managed block that shrinks by less keeps its pages.
constexpr size_t kShrinkWorthIt = size_t{256} * 1024;
// mimalloc 2.0 cannot align small blocks to more than half a segment; it gets blocks of this size
// and more instead, which have segments of their own.
constexpr size_t kLargestSmallAlignment = size_t{16} << 20;

bool too_large(size_t bytes) noexcept {
  if (bytes <= PTRDIFF_MAX) return false;
  errno = ENOMEM;
  return true;
}

bool wants_managed(size_t bytes) noexcept {
  const size_t limit = small_limit.load(std::memory_order_relaxed);
  return limit != 0 && bytes >= limit;
}

void* checked(void* block) noexcept {
  if (block == nullptr) errno = ENOMEM;
  small_heap_note(block);
  return block;
}

void* move(void* block, size_t old_bytes, size_t bytes) noexcept {
  void* moved = bytes < small_limit.load(std::memory_order_relaxed) ? mi_malloc(bytes)
                                                                    : allocate_slow(bytes, 0);
  if (moved == nullptr) return nullptr;
  memcpy(moved, block, std::min(old_bytes, bytes));
  return moved;
}

void* reallocate_managed(void* block, size_t bytes) noexcept {
  const size_t old_bytes = managed_size(block);
  if (old_bytes == 0) {
    errno = EINVAL;
    return nullptr;
  }
  if (bytes <= old_bytes && wants_managed(bytes)) {
    const size_t kept = (bytes + kPageBytes - 1) & ~(kPageBytes - 1);
    if (old_bytes >= kept + kShrinkWorthIt) {
      // Gives the pages back; the addresses stay the block's, so that it can grow again.
      const int saved = errno;
      [[maybe_unused]] const int code =
          managed_discard(static_cast<char*>(block) + kept, old_bytes - kept);
      errno = saved;
    }
    return block;
  }
  void* moved = move(block, old_bytes, bytes);
  // What only failed to become smaller is still large enough.
  if (moved == nullptr) return bytes <= old_bytes ? block : nullptr;
  managed_free(block);
  return moved;
}

}  // namespace

void* allocate_slow(size_t bytes, size_t alignment) noexcept {
  if (too_large(bytes)) return nullptr;
  if (wants_managed(bytes)) {
    if (void* block = managed_allocate(bytes, alignment)) return block;
  } else {
    small_heap_prepare();
  }
  return checked(alignment == 0 ? mi_malloc(bytes) : mi_malloc_aligned(bytes, alignment));
}

void* allocate_zeroed_slow(size_t bytes) noexcept {
  if (too_large(bytes)) return nullptr;
  if (wants_managed(bytes)) {
    if (void* block = managed_allocate_zeroed(bytes)) return block;
  } else {
    small_heap_prepare();
  }
  return checked(mi_zalloc(bytes));
}

void* allocate_aligned(size_t bytes, size_t alignment) noexcept {
  if (too_large(bytes)) return nullptr;
  if (bytes >= small_limit.load(std::memory_order_relaxed)) return allocate_slow(bytes, alignment);
  if (alignment > kLargestSmallAlignment) {
    if (alignment > PTRDIFF_MAX / 2) {
      errno = ENOMEM;
      return nullptr;
    }
    if (void* block = managed_allocate(std::max(bytes, size_t{1}), alignment)) return block;
  }
  return checked(mi_malloc_aligned(bytes, alignment));
}

void* reallocate_slow(void* block, size_t bytes) noexcept {
  if (too_large(bytes)) return nullptr;
  if (is_managed(block)) return reallocate_managed(block, bytes);
  if (small_heap_owns(block)) {
    const size_t old_bytes = mi_usable_size(block);
    if (wants_managed(bytes) && bytes > old_bytes) {
      // Only if it really becomes managed; otherwise mimalloc may grow it where it is.
      if (void* moved = managed_allocate(bytes, 0)) {
        memcpy(moved, block, old_bytes);
        small_heap_forget(block);
        mi_free(block);
        return moved;
      }
    }
    if (!small_heap_noted(block)) return checked(mi_realloc(block, bytes));
    // mi_realloc() would free the block without its note being taken away.
    void* moved = checked(mi_malloc(bytes));
    if (moved == nullptr) return nullptr;
    memcpy(moved, block, std::min(old_bytes, bytes));
    small_heap_forget(block);
    mi_free(block);
    return moved;
  }
  const size_t old_bytes = foreign_usable_size(block);
  void* moved = move(block, old_bytes, bytes);
  if (moved != nullptr) foreign_free(block);
  return moved;
}

void free_slow(void* block) noexcept {
  if (block == nullptr) return;
  const int saved = errno;
  if (is_managed(block)) {
    managed_free(block);
  } else if (small_heap_owns(block)) {
    small_heap_forget(block);
    mi_free(block);
  } else {
    foreign_free(block);
  }
  errno = saved;
}

size_t usable_size(void* block) noexcept {
  if (block == nullptr) return 0;
  if (is_managed(block)) return managed_size(block);
  if (small_heap_owns(block)) return mi_usable_size(block);
  return foreign_usable_size(block);
}

}  // namespace godwit::preload

namespace {

// libgodwit.so and what it needs are initialised before this library, and programs after it.
[[gnu::constructor]] void start() noexcept {
  using namespace godwit::preload;
  small_heap_prepare();
  foreign_resolve();
  region_cache_start(cache_setting());
  process_context_start(chaos_setting());
  small_limit.store(min_block_setting(), std::memory_order_release);
}

}  // namespace
