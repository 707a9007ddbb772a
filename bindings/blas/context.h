// SPDX-License-Identifier: MIT
// The Godwit context that products run in: the malloc replacement's where it is loaded, since the
// operands live there, or one of our own.
#pragma once

#include "godwit.h"

namespace godwit::blas {

/// Null where there is none, with the reason in *why (a constant string, or this thread's last
/// error). `create` false: only one that exists already.
[[nodiscard]] godwit_context* context(bool create, const char** why) noexcept;

}  // namespace godwit::blas
