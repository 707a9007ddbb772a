// SPDX-License-Identifier: MIT
// `godwit run`.
#pragma once

#include <string>
#include <vector>

namespace godwit::cli {

/// godwit's own failures, as env(1) and timeout(1) count them; 126 and 127 are the program's start.
inline constexpr int kOwnFailure = 125;

/// `arguments`: what follows "run". Returns the exit status.
[[nodiscard]] int run_command(const std::vector<std::string>& arguments);

}  // namespace godwit::cli
