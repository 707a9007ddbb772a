// SPDX-License-Identifier: MIT
// The kernel's thread that makes small pages into huge ones, in a hurry.
#pragma once

#include <array>
#include <string>

namespace godwit::guest {

// As long as it lives all memory that may have huge pages is looked at a hundred times a second.
class Khugepaged {
 public:
  Khugepaged();
  ~Khugepaged();
  Khugepaged(const Khugepaged&) = delete;
  Khugepaged& operator=(const Khugepaged&) = delete;

  // How many huge pages it has made since the kernel began.
  static unsigned long collapsed();

 private:
  struct Setting {
    const char* name;
    const char* value;
    std::string before;
  };
  std::array<Setting, 3> settings_;
};

}  // namespace godwit::guest
