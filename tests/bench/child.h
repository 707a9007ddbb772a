// SPDX-License-Identifier: MIT
// A program that is run for its output.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace godwit::bench {

/// Runs arguments[0] with `preload` in LD_PRELOAD (none when empty) and returns what it prints;
/// nothing when it cannot be started or fails.
[[nodiscard]] std::optional<std::string> output_of(const std::vector<std::string>& arguments,
                                                   const std::string& preload);

}  // namespace godwit::bench
