// SPDX-License-Identifier: MIT
#include "bindings/malloc/foreign.h"

#include <dlfcn.h>
#include <mimalloc.h>

#include <atomic>

#include "bindings/malloc/process_context.h"

namespace godwit::preload {
namespace {

using Free = void (*)(void*);
using UsableSize = size_t (*)(void*);

constinit std::atomic<Free> next_free{nullptr};
constinit std::atomic<UsableSize> next_usable_size{nullptr};

const void* object_of(const void* symbol) noexcept {
  Dl_info info{};
  return symbol != nullptr && dladdr(symbol, &info) != 0 ? info.dli_fbase : nullptr;
}

// libmimalloc.so exports the names of malloc as well, and may come next in the order of lookup; its
// blocks never get here. glibc's are then asked for by glibc's own handle.
void* find_symbol(const char* name) noexcept {
  void* next = dlsym(RTLD_NEXT, name);
  const void* object = object_of(next);
  if (object != nullptr && object != object_of(reinterpret_cast<const void*>(&mi_free))) {
    return next;
  }
  void* libc = dlopen("libc.so.6", RTLD_NOLOAD | RTLD_LAZY | RTLD_LOCAL);
  return libc == nullptr ? nullptr : dlsym(libc, name);
}

}  // namespace

void foreign_resolve() noexcept {
  // What the dynamic loader allocates meanwhile is small.
  const BusyScope busy;
  if (next_usable_size.load(std::memory_order_acquire) == nullptr) {
    next_usable_size.store(reinterpret_cast<UsableSize>(find_symbol("malloc_usable_size")),
                           std::memory_order_release);
  }
  if (next_free.load(std::memory_order_acquire) == nullptr) {
    next_free.store(reinterpret_cast<Free>(find_symbol("free")), std::memory_order_release);
  }
}

void foreign_free(void* block) noexcept {
  Free function = next_free.load(std::memory_order_acquire);
  if (function == nullptr) {
    foreign_resolve();
    function = next_free.load(std::memory_order_acquire);
  }
  // Without an allocator behind this one the block is left where it is.
  if (function != nullptr) function(block);
}

size_t foreign_usable_size(void* block) noexcept {
  UsableSize function = next_usable_size.load(std::memory_order_acquire);
  if (function == nullptr) {
    foreign_resolve();
    function = next_usable_size.load(std::memory_order_acquire);
  }
  return function == nullptr ? 0 : function(block);
}

}  // namespace godwit::preload
