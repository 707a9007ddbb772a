// SPDX-License-Identifier: MIT
// The soft device: a process of its own, which has views of this program's memory at this program's
// addresses, and runs the same C++ code on the same pointers.
#pragma once

#include <string>

#include "godwit/context.h"
#include "samples/06_pointers/structures.h"

namespace pointers {

/// One run of it over the world: sums_of(), with `changes` after change(). `problem`: as in
/// queue.h.
Sums on_process(godwit::Context& context, World& world, bool changes, std::string* problem);

/// What that process does when it is started; its exit status.
int process_main();

}  // namespace pointers
