// SPDX-License-Identifier: MIT
#pragma once

namespace godwit {

/// The same descriptor with a number that programs leave alone: shells and daemons close or
/// reuse the low ones without looking. -1 stays -1, with errno.
[[nodiscard]] int out_of_the_way(int fd) noexcept;

}  // namespace godwit
