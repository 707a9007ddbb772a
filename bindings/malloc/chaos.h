// SPDX-License-Identifier: MIT
// GODWIT_CHAOS=evict: a thread that pushes every region to VRAM, again and again, so that a program
// meets evictions wherever it is. A test aid.
#pragma once

#include "godwit.h"

namespace godwit::preload {

/// Starts the thread; the first call does, others return at once.
void chaos_start(godwit_context* context) noexcept;

/// A forked child has no such thread and gets none.
void chaos_after_fork_in_child() noexcept;

}  // namespace godwit::preload
