// SPDX-License-Identifier: MIT
#include "tests/kernel/system_sleep.h"

#include <string>

#include "tests/kernel/guest.h"
#include "tests/kernel/settings.h"

namespace godwit::guest {

SystemSleep::SystemSleep() : status_(write_file("/sys/power/pm_test", "freezer")) {}

SystemSleep::~SystemSleep() { (void)write_file("/sys/power/pm_test", "none"); }

int SystemSleep::enter(const char* state, unsigned seconds) {
  const Settings delay({{"/sys/module/suspend/parameters/pm_test_delay", std::to_string(seconds)}});
  return write_file("/sys/power/state", state);
}

}  // namespace godwit::guest
