// SPDX-License-Identifier: MIT
// Sizes as people write them.
#pragma once

#include <cstdint>
#include <string_view>

#include "godwit/result.h"

namespace godwit {

/// "65536", "64K", "64KiB", "1.5G", "2 MiB": binary units, case does not matter. Errors:
/// kInvalidArgument, naming the value and giving an example.
[[nodiscard]] Result<std::uint64_t> parse_size(std::string_view text);

}  // namespace godwit
