// SPDX-License-Identifier: MIT
// madvise(), munmap() and mremap() of managed addresses. The kernel would take the pages away below
// libgodwit, which then no longer knew what is where; so each is done through the library. For all
// other addresses these are the system calls, and nothing else: mimalloc and the dynamic loader get
// here before anything is initialised.
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "bindings/malloc/process_context.h"

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

namespace {

using namespace godwit::preload;

constexpr size_t kPageBytes = 4096;

size_t whole_pages(size_t bytes) noexcept { return (bytes + kPageBytes - 1) & ~(kPageBytes - 1); }

// libgodwit itself gets the system calls.
bool ours(const void* address) noexcept { return is_managed(address) && !thread_is_inside(); }

bool range_is_bad(const void* address, size_t bytes) noexcept {
  const uintptr_t base = reinterpret_cast<uintptr_t>(address);
  return base % kPageBytes != 0 || whole_pages(bytes) < bytes || base + whole_pages(bytes) < base;
}

int fail(int code) noexcept {
  if (code == 0) return 0;
  errno = code;
  return -1;
}

void* failed_map(int code) noexcept {
  errno = code;
  return MAP_FAILED;
}

// The addresses remain the arena's, and read as zeros.
int give_back(void* address, size_t bytes) noexcept {
  return managed_discard(address, whole_pages(bytes));
}

// Pages cannot leave the arena, and addresses cannot leave it either: what moves is a copy, in a
// mapping that is the caller's alone.
void* remap_managed(void* old, size_t old_bytes, size_t bytes, int flags, void* wanted) noexcept {
  constexpr int kKnown = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
  const bool fixed = (flags & MREMAP_FIXED) != 0;
  const bool stays = (flags & MREMAP_DONTUNMAP) != 0;
  if ((flags & ~kKnown) != 0 || range_is_bad(old, old_bytes) || bytes == 0 || old_bytes == 0 ||
      whole_pages(bytes) < bytes) {
    return failed_map(EINVAL);
  }
  old_bytes = whole_pages(old_bytes);
  bytes = whole_pages(bytes);
  if ((fixed || stays) && (flags & MREMAP_MAYMOVE) == 0) return failed_map(EINVAL);
  if (stays && old_bytes != bytes) return failed_map(EINVAL);
  if (!fixed && !stays && bytes <= old_bytes) {
    char* tail = static_cast<char*>(old) + bytes;
    const int code = bytes == old_bytes ? 0 : give_back(tail, old_bytes - bytes);
    return code == 0 ? old : failed_map(code);
  }
  // What follows in the arena is not the caller's to grow into.
  if ((flags & MREMAP_MAYMOVE) == 0) return failed_map(ENOMEM);
  if (fixed) {
    const uintptr_t from = reinterpret_cast<uintptr_t>(old);
    const uintptr_t to = reinterpret_cast<uintptr_t>(wanted);
    const bool overlap = to < from + old_bytes && from < to + bytes;
    if (range_is_bad(wanted, bytes) || overlap || is_managed(wanted)) return failed_map(EINVAL);
  }
  void* moved = mmap(fixed ? wanted : nullptr, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | (fixed ? MAP_FIXED : 0), -1, 0);
  if (moved == MAP_FAILED) return MAP_FAILED;
  // In bulk where it can be; what is not home by then comes as the copy touches it.
  if (godwit_context* context = process_context_get(false)) {
    godwit_prefetch(context, old, std::min(old_bytes, bytes), GODWIT_HOST, nullptr);
  }
  memcpy(moved, old, std::min(old_bytes, bytes));
  if (const int code = give_back(old, old_bytes); code != 0) {
    munmap(moved, bytes);
    return failed_map(code);
  }
  return moved;
}

}  // namespace

extern "C" {

GODWIT_API int madvise(void* address, size_t bytes, int advice) noexcept {
  if (ours(address)) [[unlikely]] {
    switch (advice) {
      case MADV_DONTNEED:
      case MADV_DONTNEED_LOCKED:
      case MADV_FREE:
        if (range_is_bad(address, bytes)) return fail(EINVAL);
        return bytes == 0 ? 0 : fail(give_back(address, bytes));
      case MADV_REMOVE:
        // As for all private memory.
        return fail(EINVAL);
      case MADV_NORMAL:
      case MADV_RANDOM:
      case MADV_SEQUENTIAL:
      case MADV_WILLNEED:
      case MADV_HUGEPAGE:
      case MADV_NOHUGEPAGE:
      case MADV_MERGEABLE:
      case MADV_UNMERGEABLE:
      case MADV_COLD:
      case MADV_PAGEOUT:
      case MADV_COLLAPSE:
        // Hints to the kernel about pages that libgodwit places. They would cut the arena into
        // pieces, between which no move can go in one call.
        return range_is_bad(address, bytes) ? fail(EINVAL) : 0;
      default:
        break;
    }
  }
  return static_cast<int>(syscall(SYS_madvise, address, bytes, advice));
}

GODWIT_API int munmap(void* address, size_t bytes) noexcept {
  if (ours(address)) [[unlikely]] {
    if (bytes == 0 || range_is_bad(address, bytes)) return fail(EINVAL);
    return fail(give_back(address, bytes));
  }
  return static_cast<int>(syscall(SYS_munmap, address, bytes));
}

GODWIT_API void* mremap(void* old, size_t old_bytes, size_t bytes, int flags, ...) noexcept {
  void* wanted = nullptr;
  if ((flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) != 0) {
    va_list arguments;
    va_start(arguments, flags);
    wanted = va_arg(arguments, void*);
    va_end(arguments);
  }
  if (ours(old)) [[unlikely]]
    return remap_managed(old, old_bytes, bytes, flags, wanted);
  return reinterpret_cast<void*>(syscall(SYS_mremap, old, old_bytes, bytes, flags, wanted));
}

}  // extern "C"
