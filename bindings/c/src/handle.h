// SPDX-License-Identifier: MIT
// What the opaque handle is.
#pragma once

#include <memory>

#include "godwit/context.h"

struct godwit_context {
  std::unique_ptr<godwit::Context> context;
};
