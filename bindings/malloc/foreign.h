// SPDX-License-Identifier: MIT
// Blocks of other allocators: of glibc's, from before this library was there or from its internal
// names, and of whatever allocator comes after this library in the order of symbol lookup.
#pragma once

#include <cstddef>

namespace godwit::preload {

/// Looks the next allocator up now rather than at the first foreign block.
void foreign_resolve() noexcept;

void foreign_free(void* block) noexcept;
[[nodiscard]] size_t foreign_usable_size(void* block) noexcept;

}  // namespace godwit::preload
