// SPDX-License-Identifier: MIT
// A context's device: Context::walk, which is a shader where the device is a Vulkan driver.
#pragma once

#include <string>

#include "godwit/context.h"
#include "samples/06_pointers/structures.h"

namespace pointers {

/// As on_queue().
Sums on_walks(godwit::Context& context, World& world, bool changes, std::string* problem);

}  // namespace pointers
