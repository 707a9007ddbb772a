// SPDX-License-Identifier: MIT
// What the environment says about the malloc replacement. Each bad value is one line on stderr, and
// the default is used.
#pragma once

#include <cstddef>

namespace godwit::preload {

inline constexpr size_t kDefaultMinBlock = size_t{256} * 1024;

/// GODWIT_MIN_BLOCK: requests of that many bytes and more go to managed memory.
[[nodiscard]] size_t min_block_setting() noexcept;

/// GODWIT_MALLOC_CACHE: bytes of freed blocks in RAM that are kept for later requests.
[[nodiscard]] size_t cache_setting() noexcept;

/// GODWIT_CHAOS: true when it is "evict".
[[nodiscard]] bool chaos_setting() noexcept;

/// Bytes of "4096", "64K", "1M" or "2G"; false when it is none of these or does not fit.
[[nodiscard]] bool parse_bytes(const char* text, size_t* bytes) noexcept;

}  // namespace godwit::preload
