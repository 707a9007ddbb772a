// SPDX-License-Identifier: MIT
#include "tests/kernel/settings.h"

#include "tests/kernel/guest.h"

namespace godwit::guest {

namespace {

// Some say all that they could say, with brackets around what they do.
std::string value_of(const std::string& text) {
  const size_t open = text.find('['), close = text.find(']');
  return open == std::string::npos || close == std::string::npos ? text : text.substr(open + 1, close - open - 1);
}

}  // namespace

Settings::Settings(List settings) {
  for (const Setting& setting : settings) {
    before_.push_back({setting.path, value_of(read_file(setting.path))});
    EXPECT_EQ(write_file(setting.path, setting.value), 0) << setting.path;
  }
}

Settings::~Settings() {
  for (const Setting& setting : before_) EXPECT_EQ(write_file(setting.path, setting.value), 0) << setting.path;
}

}  // namespace godwit::guest
