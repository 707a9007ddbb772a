// SPDX-License-Identifier: MIT
#include "tests/kernel/settings.h"

#include "tests/kernel/guest.h"

namespace godwit::guest {

Settings::Settings(List settings) {
  for (const Setting& setting : settings) {
    before_.push_back({setting.path, read_file(setting.path)});
    EXPECT_EQ(write_file(setting.path, setting.value), 0) << setting.path;
  }
}

Settings::~Settings() {
  for (const Setting& setting : before_) EXPECT_EQ(write_file(setting.path, setting.value), 0) << setting.path;
}

}  // namespace godwit::guest
