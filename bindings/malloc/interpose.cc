// SPDX-License-Identifier: MIT
// The malloc family as programs see it. malloc() of a small block is one comparison and mimalloc.
//
// libmimalloc.so exports these names too and is behind this library in the order of symbol lookup:
// each name that it has and this file lacked would be served by it, without managed blocks.
#include <errno.h>
#include <malloc.h>
#include <mimalloc.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/malloc/allocate.h"
#include "bindings/malloc/godwit_malloc.h"
#include "bindings/malloc/process_context.h"
#include "bindings/malloc/small_heap.h"

namespace {

using namespace godwit::preload;

constexpr size_t kPageBytes = 4096;

bool is_power_of_two(size_t value) noexcept { return value != 0 && (value & (value - 1)) == 0; }

bool is_small(size_t bytes) noexcept { return bytes < small_limit.load(std::memory_order_relaxed); }

// As glibc: an alignment that is no power of two is rounded up to one.
void* memalign_as_glibc(size_t alignment, size_t bytes) noexcept {
  if (alignment > SIZE_MAX / 2 + 1) {
    errno = EINVAL;
    return nullptr;
  }
  if (alignment <= alignof(max_align_t)) alignment = alignof(max_align_t);
  if (!is_power_of_two(alignment)) alignment = size_t{1} << (64 - __builtin_clzl(alignment));
  return allocate_aligned(bytes, alignment);
}

size_t managed_bytes() noexcept {
  godwit_context* context = process_context_get(false);
  godwit_statistics statistics{};
  if (context == nullptr || godwit_statistics_get(context, &statistics) != GODWIT_OK) return 0;
  return statistics.managed_bytes;
}

}  // namespace

extern "C" {

GODWIT_API void* malloc(size_t bytes) noexcept {
  if (is_small(bytes)) [[likely]]
    return mi_malloc(bytes);
  return allocate_slow(bytes, 0);
}

GODWIT_API void* calloc(size_t count, size_t each) noexcept {
  size_t bytes;
  if (__builtin_mul_overflow(count, each, &bytes)) [[unlikely]] {
    errno = ENOMEM;
    return nullptr;
  }
  if (is_small(bytes)) [[likely]]
    return mi_zalloc(bytes);
  return allocate_zeroed_slow(bytes);
}

GODWIT_API void free(void* block) noexcept {
  if (is_managed(block) || reinterpret_cast<uintptr_t>(block) - kWindowBase >= kWindowBytes)
      [[unlikely]] {
    free_slow(block);
    return;
  }
  const int saved = errno;
  mi_free(block);
  errno = saved;
}

GODWIT_API void* realloc(void* block, size_t bytes) noexcept {
  if (block == nullptr) return malloc(bytes);
  if (bytes == 0) {
    free(block);
    return nullptr;
  }
  if (is_small(bytes) && !is_managed(block) &&
      reinterpret_cast<uintptr_t>(block) - kWindowBase < kWindowBytes) [[likely]] {
    return mi_realloc(block, bytes);
  }
  return reallocate_slow(block, bytes);
}

GODWIT_API void* reallocarray(void* block, size_t count, size_t each) noexcept {
  size_t bytes;
  if (__builtin_mul_overflow(count, each, &bytes)) {
    errno = ENOMEM;
    return nullptr;
  }
  return realloc(block, bytes);
}

GODWIT_API int posix_memalign(void** block, size_t alignment, size_t bytes) noexcept {
  if (!is_power_of_two(alignment) || alignment % sizeof(void*) != 0) return EINVAL;
  const int saved = errno;
  void* made = allocate_aligned(bytes, alignment);
  errno = saved;
  if (made == nullptr) return ENOMEM;
  *block = made;
  return 0;
}

GODWIT_API void* memalign(size_t alignment, size_t bytes) noexcept {
  return memalign_as_glibc(alignment, bytes);
}

GODWIT_API void* aligned_alloc(size_t alignment, size_t bytes) noexcept {
  return memalign_as_glibc(alignment, bytes);
}

GODWIT_API void* valloc(size_t bytes) noexcept { return allocate_aligned(bytes, kPageBytes); }

GODWIT_API void* pvalloc(size_t bytes) noexcept {
  if (bytes > PTRDIFF_MAX) {
    errno = ENOMEM;
    return nullptr;
  }
  return allocate_aligned((bytes + kPageBytes - 1) & ~(kPageBytes - 1), kPageBytes);
}

GODWIT_API size_t malloc_usable_size(void* block) noexcept { return usable_size(block); }

GODWIT_API int malloc_trim(size_t) noexcept {
  managed_free_deferred();
  (void)managed_trim();
  mi_collect(true);
  return 1;
}

// Its settings are glibc's own: accepted, without effect.
GODWIT_API int mallopt(int, int) noexcept { return 1; }

// uordblks: bytes in the small heap; hblkhd: bytes in managed blocks.
GODWIT_API struct mallinfo2 mallinfo2(void) noexcept {
  size_t time, user, system, rss, peak_rss, commit, peak_commit, faults;
  mi_process_info(&time, &user, &system, &rss, &peak_rss, &commit, &peak_commit, &faults);
  struct mallinfo2 info {};
  info.hblkhd = managed_bytes();
  info.arena = commit;
  info.uordblks = commit;
  info.usmblks = peak_commit;
  return info;
}

GODWIT_API struct mallinfo mallinfo(void) noexcept {
  const struct mallinfo2 wide = mallinfo2();
  const auto narrow = [](size_t value) {
    return static_cast<int>(value > INT32_MAX ? INT32_MAX : value);
  };
  struct mallinfo info {};
  info.hblkhd = narrow(wide.hblkhd);
  info.arena = narrow(wide.arena);
  info.uordblks = narrow(wide.uordblks);
  info.usmblks = narrow(wide.usmblks);
  return info;
}

GODWIT_API void cfree(void* block) noexcept { free(block); }

// glibc's internal names, which some programs use to get past a replacement: a block of the one
// must be one of the other, since programs mix them.
GODWIT_API void* __libc_malloc(size_t bytes) noexcept { return malloc(bytes); }
GODWIT_API void* __libc_calloc(size_t count, size_t each) noexcept { return calloc(count, each); }
GODWIT_API void* __libc_realloc(void* block, size_t bytes) noexcept {
  return realloc(block, bytes);
}
GODWIT_API void __libc_free(void* block) noexcept { free(block); }
GODWIT_API void __libc_cfree(void* block) noexcept { free(block); }
GODWIT_API void* __libc_valloc(size_t bytes) noexcept { return valloc(bytes); }
GODWIT_API void* __libc_pvalloc(size_t bytes) noexcept { return pvalloc(bytes); }
GODWIT_API void* __libc_memalign(size_t alignment, size_t bytes) noexcept {
  return memalign_as_glibc(alignment, bytes);
}
GODWIT_API int __posix_memalign(void** block, size_t alignment, size_t bytes) noexcept {
  return posix_memalign(block, alignment, bytes);
}

// Names of other systems that libmimalloc.so has as well.
GODWIT_API size_t malloc_size(void* block) noexcept { return usable_size(block); }
GODWIT_API size_t malloc_good_size(size_t bytes) noexcept {
  return is_small(bytes) ? mi_good_size(bytes) : (bytes + kPageBytes - 1) & ~(kPageBytes - 1);
}
GODWIT_API void vfree(void* block) noexcept { free(block); }
GODWIT_API void* _aligned_malloc(size_t alignment, size_t bytes) noexcept {
  return memalign_as_glibc(alignment, bytes);
}
GODWIT_API void* reallocf(void* block, size_t bytes) noexcept {
  void* moved = realloc(block, bytes);
  if (moved == nullptr && bytes != 0) free(block);
  return moved;
}
// `block` points to the pointer that is replaced.
GODWIT_API int reallocarr(void* block, size_t count, size_t each) noexcept {
  const int saved = errno;
  void* old;
  memcpy(&old, block, sizeof old);
  void* moved = reallocarray(old, count, each);
  const int code = moved == nullptr && count != 0 && each != 0 ? errno : 0;
  errno = saved;
  if (code == 0) memcpy(block, &moved, sizeof moved);
  return code;
}

GODWIT_API godwit_context* godwit_malloc_context(int create) {
  return create != 0 ? process_context_wait() : process_context_get(false);
}

}  // extern "C"
