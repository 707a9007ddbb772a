// SPDX-License-Identifier: MIT
// operator new and delete. libstdc++'s would come through malloc(), but libmimalloc.so has its own,
// and where libstdc++ comes after that in the order of symbol lookup they would be used instead.
#include <stdlib.h>

#include <cstddef>
#include <new>

#include "godwit.h"

namespace {

// Calls the new-handler as long as there is one; null when there is none.
template <typename Allocate>
void* with_handler(Allocate allocate) {
  for (;;) {
    if (void* block = allocate()) [[likely]]
      return block;
    const std::new_handler handler = std::get_new_handler();
    if (handler == nullptr) return nullptr;
    handler();
  }
}

void* throwing_new(std::size_t bytes) {
  void* block = with_handler([bytes] { return malloc(bytes); });
  if (block == nullptr) [[unlikely]]
    throw std::bad_alloc();
  return block;
}

void* throwing_new(std::size_t bytes, std::align_val_t alignment) {
  void* block =
      with_handler([=] { return aligned_alloc(static_cast<std::size_t>(alignment), bytes); });
  if (block == nullptr) [[unlikely]]
    throw std::bad_alloc();
  return block;
}

template <typename... Alignment>
void* quiet_new(std::size_t bytes, Alignment... alignment) noexcept {
  // The handler may throw bad_alloc, which means null here.
  try {
    return throwing_new(bytes, alignment...);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

}  // namespace

GODWIT_API void* operator new(std::size_t bytes) {
  if (void* block = malloc(bytes)) [[likely]]
    return block;
  return throwing_new(bytes);
}
GODWIT_API void* operator new[](std::size_t bytes) {
  if (void* block = malloc(bytes)) [[likely]]
    return block;
  return throwing_new(bytes);
}
GODWIT_API void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return quiet_new(bytes);
}
GODWIT_API void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept {
  return quiet_new(bytes);
}
GODWIT_API void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return throwing_new(bytes, alignment);
}
GODWIT_API void* operator new[](std::size_t bytes, std::align_val_t alignment) {
  return throwing_new(bytes, alignment);
}
GODWIT_API void* operator new(std::size_t bytes, std::align_val_t alignment,
                              const std::nothrow_t&) noexcept {
  return quiet_new(bytes, alignment);
}
GODWIT_API void* operator new[](std::size_t bytes, std::align_val_t alignment,
                                const std::nothrow_t&) noexcept {
  return quiet_new(bytes, alignment);
}

GODWIT_API void operator delete(void* block) noexcept { free(block); }
GODWIT_API void operator delete[](void* block) noexcept { free(block); }
GODWIT_API void operator delete(void* block, std::size_t) noexcept { free(block); }
GODWIT_API void operator delete[](void* block, std::size_t) noexcept { free(block); }
GODWIT_API void operator delete(void* block, const std::nothrow_t&) noexcept { free(block); }
GODWIT_API void operator delete[](void* block, const std::nothrow_t&) noexcept { free(block); }
GODWIT_API void operator delete(void* block, std::align_val_t) noexcept { free(block); }
GODWIT_API void operator delete[](void* block, std::align_val_t) noexcept { free(block); }
GODWIT_API void operator delete(void* block, std::size_t, std::align_val_t) noexcept {
  free(block);
}
GODWIT_API void operator delete[](void* block, std::size_t, std::align_val_t) noexcept {
  free(block);
}
GODWIT_API void operator delete(void* block, std::align_val_t, const std::nothrow_t&) noexcept {
  free(block);
}
GODWIT_API void operator delete[](void* block, std::align_val_t, const std::nothrow_t&) noexcept {
  free(block);
}
