// SPDX-License-Identifier: MIT
// What the environment asks for, read once.
#pragma once

#include "godwit.h"

namespace godwit::blas {

struct Settings {
  godwit_offload offload = GODWIT_OFFLOAD_AUTO;  // GODWIT_OFFLOAD
  bool explain = false;                          // GODWIT_EXPLAIN
};
[[nodiscard]] const Settings& settings() noexcept;

/// Writes one line to standard error, with "godwit: " before it, in one piece.
void say(const char* format, ...) noexcept __attribute__((format(printf, 1, 2)));

}  // namespace godwit::blas
