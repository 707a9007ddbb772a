// SPDX-License-Identifier: MIT
// For the address sanitizer: LLVM, in lavapipe, leaks a few hundred bytes each time it is loaded.
// A suppression needs the name of the library, so it must still be loaded at exit. Linked into the
// tests of Vulkan; does nothing in other builds.
#if defined(__SANITIZE_ADDRESS__)
#include <dlfcn.h>

namespace {
[[maybe_unused]] void* const kept =
    dlopen("libvulkan_lvp.so", RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE);
}  // namespace

extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() {
  return "leak:libLLVM\nleak:libvulkan_\nleak:libVkLayer_\n";
}
#endif
