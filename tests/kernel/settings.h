// SPDX-License-Identifier: MIT
// Settings of the kernel that a test needs to have otherwise.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

namespace godwit::guest {

// Has files of /proc and /sys say something else for as long as it lives.
class Settings {
 public:
  struct Setting {
    std::string path;
    std::string value;
  };
  using List = std::initializer_list<Setting>;
  Settings(List settings);
  ~Settings();
  Settings(const Settings&) = delete;
  Settings& operator=(const Settings&) = delete;

 private:
  std::vector<Setting> before_;
};

}  // namespace godwit::guest
