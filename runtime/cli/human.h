// SPDX-License-Identifier: MIT
// Sizes, counts and times as people read them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace godwit::cli {

/// "0 B", "4.0 KiB", "1.5 GiB".
[[nodiscard]] std::string size_text(std::uint64_t bytes);

/// "850 ns", "12.3 us", "4.56 ms", "1.23 s".
[[nodiscard]] std::string duration_text(std::uint64_t nanoseconds);

/// "12345 pages", "1 page".
[[nodiscard]] std::string count_text(std::uint64_t count, std::string_view noun);

}  // namespace godwit::cli
