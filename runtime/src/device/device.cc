// SPDX-License-Identifier: MIT
#include "runtime/src/device/device.h"

#include <cerrno>

namespace godwit {

int Device::finish(Ticket ticket, std::chrono::nanoseconds patience) noexcept {
  const int error = wait(ticket, patience);
  if (error != -ETIMEDOUT) return error;
  lose();
  // Ends once nothing of a lost device's commands runs.
  (void)wait(ticket, std::chrono::nanoseconds::max());
  return error;
}

}  // namespace godwit
