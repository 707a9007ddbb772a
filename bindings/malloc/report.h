// SPDX-License-Identifier: MIT
#pragma once

namespace godwit::preload {

/// One line on stderr, with "godwit: " before it. Allocates nothing and keeps errno.
[[gnu::format(printf, 1, 2)]] void report_line(const char* format, ...) noexcept;

}  // namespace godwit::preload
