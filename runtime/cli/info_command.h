// SPDX-License-Identifier: MIT
// `godwit info`.
#pragma once

#include <string>
#include <vector>

namespace godwit::cli {

/// `arguments`: what follows "info". Returns the exit status: 0 also where nothing is usable.
[[nodiscard]] int info_command(const std::vector<std::string>& arguments);

}  // namespace godwit::cli
