// SPDX-License-Identifier: MIT
// Sleep of the system, as far as its processes being frozen (/sys/power/pm_test): all of what the module does for it.
#pragma once

namespace godwit::guest {

// While there is one, the system sleeps no deeper than that.
class SystemSleep {
 public:
  SystemSleep();
  ~SystemSleep();
  SystemSleep(const SystemSleep&) = delete;
  SystemSleep& operator=(const SystemSleep&) = delete;

  // -ENOENT on a kernel without PM_DEBUG.
  int status() const { return status_; }
  // Sleeps, and wakes up after so many seconds. 0 or a negative errno.
  int once(unsigned seconds = 0) const { return enter("mem", seconds); }
  // The same of hibernation. -EINVAL on a kernel without it.
  int hibernate() const { return enter("disk", 0); }

 private:
  static int enter(const char* state, unsigned seconds);
  int status_;
};

}  // namespace godwit::guest
