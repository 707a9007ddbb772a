// SPDX-License-Identifier: MIT
// The module's execution queue as a device: commands that reach memory through the device's own
// page table. Each page that they reach goes to VRAM.
#pragma once

#include <string>

#include "samples/06_pointers/structures.h"

namespace pointers {

/// Follows every pointer by what the device reads there, and sums what it finds. With `changes` the
/// device also does what change() does. `problem`: empty, or why it could not; the sums mean
/// nothing then.
Sums on_queue(World& world, bool changes, std::string* problem);

}  // namespace pointers
