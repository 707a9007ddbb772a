// SPDX-License-Identifier: MIT
#include "bindings/blas/next_blas.h"

#include <dlfcn.h>
#include <link.h>

#include <string>
#include <vector>

namespace godwit::blas {
namespace {

const void* base_of(const void* address) noexcept {
  Dl_info info{};
  return ::dladdr(address, &info) != 0 ? info.dli_fbase : nullptr;
}

/// The base address of the object that this code is in.
const void* our_base() noexcept {
  static const void* const base = base_of(reinterpret_cast<const void*>(&base_of));
  return base;
}

/// Keeps the object of a function loaded for good.
void pin(const void* function) noexcept {
  Dl_info info{};
  if (::dladdr(function, &info) != 0 && info.dli_fname != nullptr) {
    (void)::dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
  }
}

unsigned long long objects_loaded() noexcept {
  unsigned long long loads = 0;
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* out) {
        *static_cast<unsigned long long*>(out) = info->dlpi_adds;
        return 1;
      },
      &loads);
  return loads;
}

/// Python loads extension modules, and with them their BLAS, where RTLD_NEXT does not look.
void* search_all_objects(const char* name) {
  std::vector<std::string> files;
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* out) {
        // The program itself has no name here, and RTLD_NEXT has seen it.
        if (info->dlpi_name != nullptr && info->dlpi_name[0] != '\0') {
          static_cast<std::vector<std::string>*>(out)->emplace_back(info->dlpi_name);
        }
        return 0;
      },
      &files);
  for (const std::string& file : files) {
    void* handle = ::dlopen(file.c_str(), RTLD_LAZY | RTLD_NOLOAD);
    if (handle == nullptr) continue;
    void* function = ::dlsym(handle, name);
    // The search goes through what the object depends on, and that may be us.
    const bool found = function != nullptr && base_of(function) != our_base();
    if (found) pin(function);
    ::dlclose(handle);
    if (found) return function;
  }
  return nullptr;
}

}  // namespace

void* NextSymbol::address() noexcept {
  void* known = address_.load(std::memory_order_acquire);
  if (known != nullptr) return known;
  const unsigned long long loads = objects_loaded();
  if (loads == loads_seen_.load(std::memory_order_relaxed)) return nullptr;
  void* function = ::dlsym(RTLD_NEXT, name_);
  if (function != nullptr) {
    pin(function);
  } else {
    try {
      function = search_all_objects(name_);
    } catch (...) {
      return nullptr;  // out of memory: the next call tries again
    }
  }
  if (function == nullptr) loads_seen_.store(loads, std::memory_order_relaxed);
  address_.store(function, std::memory_order_release);
  return function;
}

}  // namespace godwit::blas
