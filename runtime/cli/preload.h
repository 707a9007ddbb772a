// SPDX-License-Identifier: MIT
// The libraries that `godwit run` puts in front of a program's own.
#pragma once

#include <string>
#include <vector>

#include "godwit/result.h"

namespace godwit::cli {

/// Absolute paths of libgodwit_malloc.so and libgodwit_blas.so, in this order. GODWIT_LIBRARY_PATH
/// (folders between colons), where set, is the only place that is searched. Errors: kUnavailable
/// with the folders that were searched, kInvalidArgument for a path that LD_PRELOAD cannot hold.
[[nodiscard]] Result<std::vector<std::string>> find_libraries();

/// The value of LD_PRELOAD: `libraries`, then what `existing` (may be nullptr) holds.
[[nodiscard]] std::string preload_value(const std::vector<std::string>& libraries,
                                        const char* existing);

}  // namespace godwit::cli
