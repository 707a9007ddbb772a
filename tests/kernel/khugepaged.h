// SPDX-License-Identifier: MIT
// The kernel's thread that makes small pages into huge ones, in a hurry.
#pragma once

#include "tests/kernel/settings.h"

namespace godwit::guest {

// As long as it lives all memory that may have huge pages is looked at a hundred times a second.
class Khugepaged {
 public:
  Khugepaged();

  // How many huge pages it has made since the kernel began.
  static unsigned long collapsed();
  // How often it has looked at all memory since then.
  static unsigned long rounds();

 private:
  Settings settings_;
};

}  // namespace godwit::guest
